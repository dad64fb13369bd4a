-- Copies of a MariaDB that are torn are found, whatever it is that is torn.
local helper = require "spec.helper"
local outside = require "spec.outside"
local case = require "spec.mariadb_case"

if case.missing then
  describe("saros.writers.mariadb", function() pending(case.missing) end)
  return
end

local saros = helper.saros
local code = saros.code

local start = case.writable

describe("a copy that is torn", function()
  local m, why

  setup(function()
    m, why = start { args = { "--innodb-max-dirty-pages-pct=0" } }
    if m then
      m:sql [[CREATE TABLE t (n INT PRIMARY KEY, x VARCHAR(200), KEY (x));
        INSERT INTO t SELECT seq, MD5(seq) FROM seq_1_to_3000;
        CREATE TABLE my (n INT PRIMARY KEY, x VARCHAR(200)) ENGINE=MyISAM;
        INSERT INTO my SELECT seq, MD5(seq) FROM seq_1_to_500;
        CREATE TABLE ar (n INT PRIMARY KEY, x VARCHAR(200)) ENGINE=Aria;
        INSERT INTO ar SELECT seq, MD5(seq) FROM seq_1_to_500;
        CREATE TABLE al (n INT PRIMARY KEY, a INT); INSERT INTO al VALUES (1, 1)
      ]]
    end
  end)
  teardown(function() if m then getmetatable(m).__close() end end)

  local function sh(text, ...)
    local said, _, status = outside.run("sh", "-ec", text:format(...))
    assert(status == 0, said)
    return said
  end

  it("comes of any that takes its time, whatever is locked", function()
    if not m then pending(why) return end
    local function sums()
      return sh("cd '%s' && sha256sum ib_logfile0 ibdata1 app/t.ibd", m.data)
    end
    for _, lock in ipairs { "BACKUP STAGE START; BACKUP STAGE FLUSH;"
      .. "BACKUP STAGE BLOCK_DDL; BACKUP STAGE BLOCK_COMMIT",
      "FLUSH TABLES WITH READ LOCK" }
    do
      -- Somebody is in the middle of something; purge has work to do.
      m:sql "DELETE FROM t WHERE n % 3 = 0"
      local p <close> = m:begin(lock .. "; SELECT 'held'; SELECT SLEEP(1000)")
      local before = sums()
      local q <close> = m:begin [[BEGIN; UPDATE t SET x = MD5(x);
        SELECT 'updated'; SELECT SLEEP(1000)]]
      p:expect "held\n"
      outside.eventually("InnoDB writes: " .. lock, function()
        return sums() ~= before
      end)
      assert.is_false(case.commits(m, 1))
      case.throw_out(m)
      q:finish()
    end
  end)

  it("is found: files of two instants", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m)
    local top = m.volume.path
    local function at(set, name)
      return set[top].path .. m.data:sub(#top + 1) .. "/" .. name
    end
    local one <close> = assert(case.shadow(m):wait())
    m:sql [[INSERT INTO t SELECT seq, MD5(seq) FROM seq_3001_to_9000;
      DELETE FROM t WHERE n < 500; ALTER TABLE al ADD b INT, ALGORITHM=COPY;
      INSERT INTO my SELECT seq, MD5(seq) FROM seq_501_to_1500;
      INSERT INTO ar SELECT seq, MD5(seq) FROM seq_501_to_1500;
      UPDATE ar SET x = 'x' WHERE n < 100]]
    -- Whatever the log had, it is in the tables now, and the log is past it.
    m:restart()
    m:sql "INSERT INTO w VALUES ()"
    local two <close> = assert(case.shadow(m):wait())
    local said = two:said(w.instance).components.data
    assert(case.checked(m, one, said))
    assert(case.checked(m, two, said))

    local function found(what, change, pattern)
      local ok, err = case.checked(m, two, said, change)
      assert.is_nil(ok, what)
      assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
      assert.is_nil(err.untried)
      assert.is_true(#err.problems > 0)
      assert.match(pattern or "", err.message)
    end
    -- These are older than all the others.
    for _, names in ipairs {
      { "ib_logfile0" }, -- copied first, the tables later
      { "ibdata1" }, { "ibdata1", "ib_logfile0" },
      { "app/al.ibd" }, { "app/al.frm" }, -- another table by that name
      { "app/my.MYI" }, { "app/my.MYD" }, { "app/ar.MAI" }, { "app/ar.MAD" },
      { "aria_log.00000001", "aria_log_control" },
    } do
      found(table.concat(names, " "), function(p)
        for _, name in ipairs(names) do
          sh("cp -a '%s' '%s/%s'", at(one, name), p.root .. m.data, name)
        end
      end)
    end
    -- A table was copied while its pages were written.
    found("pages", function(p)
      sh("env -u LD_PRELOAD dd if='%s' of='%s/app/t.ibd' bs=16384 skip=4 seek=4 count=12 "
        .. "conv=notrunc status=none", at(one, "app/t.ibd"), p.root .. m.data)
    end)
    -- Files that are not there, or not all of them.
    found("end", function(p)
      sh("truncate -s 200k '%s/app/t.ibd'", p.root .. m.data)
    end)
    for _, names in ipairs { "t.ibd", "t.frm", "t.ibd t.frm", "my.*" } do
      found(names, function(p)
        sh("cd '%s/app' && rm %s", p.root .. m.data, names)
      end, names == "my.*" and "tables are defined in it, and there were")
    end
  end)
end)
