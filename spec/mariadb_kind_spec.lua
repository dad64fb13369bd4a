-- What is known of MariaDB without its live writer: copies of its files are made
-- to start elsewhere, damaged ones are found, and what could not be looked at is
-- not called damaged.
local helper = require "spec.helper"
local outside = require "spec.outside"
local mariadb = require "spec.servers.mariadb"

if mariadb.missing then
  describe("the kind mariadb", function() pending(mariadb.missing) end)
  return
end

local kind = assert(require "saros.writers.kind".of "mariadb")
local place = require "saros.place"
local saros = helper.saros
local code = saros.code

-- A server that was killed while it had things of every sort in it.
local function crashed()
  -- Nobody writes the log of the engine to the disk behind our back.
  local m = mariadb.start { binlog = true,
    args = { "--innodb-flush-log-at-timeout=2700" } }
  m:sql [[
    CREATE TABLE t (n INT PRIMARY KEY AUTO_INCREMENT, x INT, b LONGBLOB, KEY (x));
    INSERT INTO t (x, b) SELECT seq, REPEAT('x', seq * 20) FROM seq_1_to_1500;
    CREATE TABLE m (n INT) ENGINE=MyISAM; INSERT INTO m VALUES (1), (2);
    CREATE VIEW broken AS SELECT * FROM m; ALTER TABLE m RENAME TO n;
    CREATE TABLE e (n INT);
    CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO e VALUES (1);
    INSERT INTO e VALUES (0)]]
  m:kill()
  return m
end

local function component(m, more)
  local c = { type = "database", name = "data", files = { m.data },
    said = { server = "MariaDB 10.11.1", settings = { datadir = m.data,
      innodb_page_size = "16384", innodb_data_file_path =
        "ibdata1:12M:autoextend", log_bin = m.data .. "/binlog" } } }
  for name, item in pairs(more or {}) do c[name] = item end
  return c
end

local function copied(c)
  return place.of_shadow { paths = c.files, scratch = "/tmp",
    at = function(path) return path end }
end

-- What a check of a copy says, after `change` had its way with that.
local function checked(c, change)
  return saros.spawn(function()
    local p <close> = copied(c)
    if change then change(p) end
    local ok, err = kind.settle(c, p)
    if not ok then return ok, err end
    return kind.check(c, p)
  end):wait()
end

local function sh(text, ...)
  local said, _, status = outside.run("sh", "-ec", text:format(...))
  assert(status == 0, said)
end

local function garbage(path, offset)
  sh("printf garbage | env -u LD_PRELOAD dd of='%s' bs=1 seek=%d conv=notrunc status=none", path,
    offset)
end

describe("the kind mariadb", function()
  local m

  setup(function() m = crashed() end)
  teardown(function() m:__close() end)

  it("finds that a whole copy is whole, and says what it saw", function()
    local r = assert(checked(component(m)))
    assert.is_true(r.tables > 20)
    assert.equal("looked at", r.sums)
    -- Of tables without transactions the crash is told, and is no damage; a
    -- view that leads nowhere is nobody's damage.
    for _, line in ipairs(r.warnings or {}) do
      assert.match("client is using or hasn't closed the table properly", line)
    end
  end)

  local function found(pattern, change)
    local ok, err = checked(component(m), change)
    assert.is_nil(ok)
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.is_nil(err.untried)
    assert.match(pattern, table.concat(err.problems, "\n"))
  end

  it("finds a page that was flipped", function()
    found("t.ibd", function(p)
      garbage(p.root .. m.data .. "/app/t.ibd", 5 * 16384 + 500)
    end)
  end)

  it("finds a lost log, a lost table, a broken index", function()
    found("ib_logfile0 was not found", function(p)
      sh("rm '%s/ib_logfile0'", p.root .. m.data)
    end)
    found("not found at ./app/t.ibd", function(p)
      sh("rm '%s/app/t.ibd'", p.root .. m.data)
    end)
    found("app.n: .*corrupt", function(p)
      sh("truncate -s 100 '%s/app/n.MYI'", p.root .. m.data)
    end)
  end)

  it("finds a log that begins with zeros, or with something else", function()
    for _, from in ipairs { "/dev/zero", "/proc/self/exe" } do
      found("log", function(p)
        sh("env -u LD_PRELOAD dd if=%s of='%s/ib_logfile0' bs=4096 count=4 conv=notrunc "
          .. "status=none", from, p.root .. m.data)
      end)
    end
  end)

  local function not_tried(pattern, more, change)
    local ok, err = checked(component(m, more), change)
    assert.is_nil(ok)
    assert.is_true(err.untried, err.message)
    assert.match(pattern, err.message)
  end

  it("does not call damaged what it could not look at", function()
    not_tried("its files are encrypted", { said = { settings = {
      datadir = m.data, encrypted = "innodb_encrypt_tables" } } })
    not_tried("of MariaDB 99.1.1, and the server here is 10", { said = {
      server = "MariaDB 99.1.1", settings = { datadir = m.data } } })
    not_tried("innodb_undo_directory is /nowhere, which is not in the copy",
      { said = { settings = { datadir = m.data,
        innodb_undo_directory = "/nowhere" } } })
    -- It was not held still, and its last transaction is only prepared.
    not_tried("in its binary log, which is not in the copy",
      { said = { settings = { datadir = m.data } } })
  end)

  it("calls damaged what only looks like something else", function()
    -- A server starts there, but not on these files.
    found("Permission denied", function(p)
      sh("chown 0:0 '%s/aria_log_control'; chmod 600 '%s/aria_log_control'",
        p.root .. m.data, p.root .. m.data)
    end)
    -- They were there when they were held.
    found("is not there", function(p) sh("rm -r '%s'", p.root .. m.data) end)
    found("there is no table at all", function(p)
      sh("rm -r '%s'/*", p.root .. m.data)
    end)
  end)

  it("tells a log of another release from one that is nobody's", function()
    local older = { said = { server = "MariaDB 10.4.1", settings = {
      datadir = m.data } } }
    local function with_head(head)
      return function(p)
        outside.write(p.root .. "/head", head)
        sh("env -u LD_PRELOAD dd if='%s/head' of='%s/ib_logfile0' conv=notrunc "
          .. "status=none", p.root, p.root .. m.data)
      end
    end
    local head = string.pack(">I4I4I8z", 5, 0, 8204, "MySQL 8.0.30")
    head = head .. ("\0"):rep(508 - #head)
    local crc = 0xffffffff -- CRC-32C
    for byte in head:gmatch "." do
      crc = crc ~ byte:byte()
      for _ = 1, 8 do crc = crc >> 1 ~ (crc & 1) * 0x82f63b78 end
    end
    not_tried("created with MySQL 8.0.30", older, with_head(head .. (">I4"):pack(crc ~ 0xffffffff)))
    local _, err = checked(component(m, older),
      with_head(("garbage!"):rep(64)))
    assert.is_nil(err.untried, err.message)
    assert.match("log", table.concat(err.problems, "\n"))
  end)

  it("does not blame the files where no server starts at all", function()
    local quiet = require "saros.writers.mariadb_copy".quiet
    local _ <close> = setmetatable({}, { __close = function()
      table.remove(quiet)
    end })
    table.insert(quiet, "--no-such-option")
    not_tried("unknown option", {})
  end)

  it("starts nothing of a version outside of a cell", function()
    local cell = require "saros.cell"
    local why <const> = cell.why
    local _ <close> = setmetatable({}, { __close = function()
      cell.why = why
    end })
    cell.why = function() return { message = "there is none" } end
    not_tried("outside of one", {}, function(p) p.drilled = true end)
  end)

  it("believes no option that it does not know the form of", function()
    local r = assert(checked(component(m, { said = { server = "MariaDB",
      settings = { datadir = m.data, log_bin = m.data .. "/binlog",
        innodb_page_size = "16384 --init-file=/x", lower_case_table_names = 0,
        init_file = "/etc/passwd" } } })))
    assert.is_true(r.tables > 20)
    not_tried("not all of that is in the copy", { said = { settings = {
      datadir = m.data, innodb_data_file_path = "../../x:12M:autoextend" } } })
  end)

  it("leaves the option files alone", function()
    local c = { type = "filegroup", name = "x", files = { "/etc/mysql" } }
    assert.is_true(saros.run(kind.check, c))
    assert.is_true(saros.run(kind.settle, c))
    assert.is_nil(saros.run(kind.busy, c))
  end)

  it("starts one for a drill, without events and network", function()
    if not pcall(require, "saros.client.mariadb") then
      pending "saros.client.mariadb was left out of this build"
      return
    end
    local c = component(m)
    saros.run(function()
      local p <close> = copied(c)
      assert(kind.settle(c, p))
      local s <close> = assert(kind.start(c, p))
      local function one(sql) return assert(s.db:query(sql):wait())[1].r end
      assert.equal("1500", one "SELECT count(*) AS r FROM app.t")
      assert.equal("OFF", one "SELECT @@event_scheduler AS r":gsub("DISABLED", "OFF"))
      assert.equal("1", one "SELECT @@skip_networking AS r")
    end)
  end)

  it("finds a page that no table reads", function()
    m:go_on()
    m:stop() -- so that nothing is recovered, which would read it
    local size = #outside.content(m.data .. "/app/t.ibd")
    assert(size > 10 * 16384)
    found("t.ibd: Fail", function(p)
      local path, at = p.root .. m.data .. "/app/t.ibd", nil
      local bytes = outside.content(path)
      for page = size // 16384 - 1, 0, -1 do
        local kind_of = bytes:byte(page * 16384 + 26)
        if kind_of == 10 then at = page break end -- FIL_PAGE_TYPE_BLOB
      end
      assert(at, "there is no such page")
      garbage(path, at * 16384 + 500)
    end)
  end)

  it("says who runs there", function()
    local c = component(m)
    local here = { root = "", at = function(_, path) return path end }
    assert.is_nil(saros.run(kind.busy, c, here))
    m:go_on()
    assert.match("process id " .. m.pid .. " runs on " .. m.data,
      saros.run(kind.busy, c, here), 1, true)
    m:kill()
  end)

  it("plans a restore that can be carried out by hand", function()
    local r = crashed()
    local _ <close> = r
    local c = component(r)
    c.said.position = "GTID 0-1-1"
    outside.directory(function(root)
      sh("mkdir -p '%s%s'; cp -a '%s/.' '%s%s'", root, r.data, r.data, root,
        r.data)
      outside.write(r.data .. "/new", "")
      local function quote(word)
        return "'" .. word:gsub("'", "'\\''") .. "'"
      end
      local commands = {}
      for _, line in ipairs(kind.plan(c, { root = "$ROOT", quote = quote,
        at = function(_, path) return '"$ROOT"' .. quote(path) end }))
      do
        commands[#commands + 1] = line:match "^    (.*)"
      end
      -- What a crash has left needs its binary log.
      local text = "ROOT=" .. root .. "\nset -eu\nPATH=$PATH:/usr/sbin\n"
        .. table.concat(commands, "\n")
          :gsub("%-%-skip%-log%-bin", "--log-bin=binlog --server-id=1")
      outside.write(root .. "/plan.sh", text)
      sh("sh '%s/plan.sh'; ls '%s%s'/*.pid && exit 1 || true", root, root,
        r.data)
      garbage(root .. r.data .. "/app/t.ibd", 5 * 16384 + 500)
      local said, _, status = outside.run("sh", root .. "/plan.sh")
      assert.not_equal(0, status, said)
    end)
  end)
end)

describe("what leads out of the data directory", function()
  it("leads into the copy, or is refused", function()
    local m <close> = mariadb.start()
    local other = m.root .. "/other"
    sh("mkdir '%s'; chown --reference='%s' '%s'", other, m.data, other)
    m:sql(([[
      CREATE TABLE far (n INT PRIMARY KEY) DATA DIRECTORY='%s';
      INSERT INTO far VALUES (1), (2);
      CREATE DATABASE linked; CREATE TABLE linked.t (n INT);
      INSERT INTO linked.t VALUES (3)]]):format(other))
    m:stop()
    sh("mv '%s/linked' '%s/there'; ln -s '%s/there' '%s/linked'", m.data, other,
      other, m.data)
    m:go_on()
    m:kill()
    local c = component(m, { files = { m.data, other } })
    c.said.settings.log_bin = nil
    saros.run(function()
      local p <close> = copied(c)
      assert(kind.settle(c, p))
      -- Whatever is done to the original now, the copy does not see it.
      sh("mv '%s' '%s.away'", other, other)
      local r, err = kind.check(c, p)
      sh("mv '%s.away' '%s'", other, other)
      assert(r, err)
    end)
    for _, what in ipairs { "app/far.isl", "linked" } do
      local only = component(m, { files = { m.data } })
      local ok, err = checked(only, function(p)
        local gone = what == "linked" and "app/far.isl" or "linked"
        sh("rm '%s/%s'", p.root .. m.data, gone)
      end)
      assert.is_nil(ok)
      assert.equal(code.SAROS_E_REFUSED, err.code)
      assert.match(what, err.message, 1, true)
    end
  end)

  it("is refused also where one link goes through another", function()
    local m <close> = mariadb.start()
    m:kill()
    local ok, err = checked(component(m, { files = { m.data } }), function(p)
      local data = p.root .. m.data
      local _, up = data:gsub("/", "")
      local dots = ("../"):rep(up)
      sh("mkdir -p '%s/%s'; ln -s '%s' '%s/%sb'", data, ("d/"):rep(up), m.data,
        data, ("d/"):rep(up))
      sh("ln -s '%sb/%setc' '%s/out'", ("d/"):rep(up), dots, data)
      -- It comes to where it came from, by its names; and out, in truth.
    end)
    assert.is_nil(ok)
    assert.equal(code.SAROS_E_REFUSED, err.code)
    assert.match("is a link that ends at /etc", err.message)
  end)
end)
