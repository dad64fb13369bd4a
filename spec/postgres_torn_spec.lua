-- Copies of a cluster whose files are of several instants, as a broken provider
-- makes them: each is found by the check, though most of them start.
local helper = require "spec.helper"
local servers = require "spec.servers.postgres"
local shared = require "spec.vss"

local there = pcall(require, "saros.client.postgres")
local missing = servers.missing
  or not there and "saros.client.postgres was left out of this build" or nil
if missing then
  describe("copies of PostgreSQL that are torn", function() pending(missing) end)
  return
end

local code = helper.saros.code
local kind = require "saros.writers.kind"
local place = require "saros.place"
local postgres = require "saros.writers.postgres"

local function sh(command, ...)
  command = select("#", ...) > 0 and command:format(...) or command
  assert(os.execute("set -e; " .. command), command)
end

local function word(pg, sql) return (pg:must(sql):gsub("\n$", "")) end

describe("copies of PostgreSQL that are torn", function()
  local d, pg, said, old, new

  -- A copy that is whole: nobody writes, and its log has it all.
  local function copy(name)
    local to = d.root .. "/" .. name
    sh("mkdir -m 700 %s; cp -a %s/. %s/", to, pg.data, to)
    return to
  end

  local function path_of(name)
    return word(pg, ("SELECT pg_relation_filepath('%s')"):format(name))
  end

  -- All of `old` is in the files, and no log speaks of it: so it is with what
  -- is written between the two.
  setup(function()
    d = shared.directory()
    sh("chmod 711 %s", d.root)
    pg = servers.start()
    pg:must [[CREATE TABLE t (n bigint PRIMARY KEY, t text);
      INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 4000) n;
      CREATE TABLE big (n int PRIMARY KEY, t text);
      ALTER TABLE big ALTER t SET STORAGE EXTERNAL;
      INSERT INTO big SELECT n, repeat(md5(n::text), 200)
        FROM generate_series(1, 20) n]]
    pg:must "CHECKPOINT"
    old = copy "old"
    pg:must [[UPDATE t SET n = n + 100000 WHERE n % 3 = 0;
      INSERT INTO t SELECT n + 500000, repeat('y', 200)
        FROM generate_series(1, 4000) n;
      UPDATE big SET t = repeat(md5((n + 1)::text), 200);
      CREATE TABLE fresh (n int PRIMARY KEY); INSERT INTO fresh VALUES (1)]]
    pg:must "SELECT pg_switch_wal(); CHECKPOINT"
    pg:must "SELECT pg_switch_wal()"
    local number = word(pg, "SELECT txid_current()")
    pg:must "CHECKPOINT"
    new = copy "new"
    said = { superuser = "pg", mode = "atomic", data_directory = pg.data,
      transaction = number }
  end)

  teardown(function()
    if pg then pg:__close() end
    if d then getmetatable(d).__close() end
  end)

  local function checked(change, more)
    local to = d.root .. "/copy"
    sh("mkdir -m 700 %s; cp -a --reflink=auto %s/. %s/", to, new, to)
    local _ <close> = setmetatable({}, { __close = function()
      sh("rm -rf %s", to)
    end })
    change(to)
    sh("chown --reference=%s %s", pg.data, to)
    local told = {}
    for name, item in pairs(said) do told[name] = item end
    for name, item in pairs(more or {}) do told[name] = item end
    return helper.task(function()
      local c = { name = "t", files = { pg.data }, said = told }
      local p <close> = place.of_shadow { paths = c.files,
        at = function() return to end }
      local k = kind.of(postgres.id)
      assert(k.settle(c, p))
      return { k.check(c, p) }
    end)
  end

  local function finds(pattern, change, more)
    local found = checked(change, more)
    local err = found[2]
    assert.is_nil(found[1])
    assert.is_nil(err.untried, err.message)
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.match(pattern, err.message)
    return err
  end

  local function older(name)
    return function(to)
      sh("rm -rf %s/%s; cp -a %s/%s %s/%s", to, name, old, name, to, name)
    end
  end

  it("are those, and not the whole ones", function()
    local found = checked(function() end)
    helper.contains({ amcheck = "passed", indexes = "passed" },
      assert(found[1], found[2]))
  end)

  it("are found where they do not start", function()
    for _, change in ipairs {
      older "pg_wal", older "global/pg_control",
      function(to) sh("find %s/pg_wal -type f -delete", to) end,
    } do
      local err = finds("does not start on the copy", change)
      assert.match("checkpoint record", table.concat(err.problems, "\n"))
    end
  end)

  it("are found by an index that does not have what its table has", function()
    finds("amcheck found", older(path_of "t_pkey"))
  end)

  for what, of in pairs { ["a table"] = "t", ["the catalogue"] = "pg_class" } do
    it("are found by an index that has what is not there: " .. what,
      function()
        local err = finds("are not those of their indexes", older(path_of(of)))
        assert.match("postgres: .*" .. of .. ": its page %d+ has nothing where",
          err.problems[1])
      end)
  end

  it("are found by a table that has lost a page, or its end", function()
    local path = path_of "t"
    finds("public.t: its page 3 has nothing where public.t_pkey leads to",
      function(to)
        sh("env -u LD_PRELOAD dd if=/dev/zero of=%s/%s bs=8192 seek=3 count=1 "
          .. "conv=notrunc status=none", to, path)
      end)
    finds("are not those of their indexes", function(to)
      sh("truncate -s 81920 %s/%s", to, path)
    end)
    finds("amcheck found", function(to) sh("rm %s/%s", to, path) end)
  end)

  it("are found by what is too long for a row", function()
    -- By pg_amcheck, or, where that is none, by what leads to nothing.
    finds("the copy of .*: ", older(word(pg, [[SELECT pg_relation_filepath(
      reltoastrelid) FROM pg_class WHERE relname = 'big']])))
  end)

  it("are found by a commit that is not there", function()
    finds("which the cluster had committed, is not in the copy",
      older "pg_xact")
    -- All that the log does not speak of is older than it.
    finds("which the cluster had committed, is not in the copy", function(to)
      sh([[cd %s; for one in *; do
        case $one in pg_wal|global) ;; *) rm -rf %s/"$one"; cp -a "$one" %s/ ;;
        esac; done]], old, to, to)
    end)
  end)

  it("are found by a log that has lost its end", function()
    local at, low
    repeat -- until that is somewhere in the middle of a page
      pg:must [[INSERT INTO t SELECT n + (SELECT max(n) FROM t), 'z'
        FROM generate_series(1, 1000) n]]
      at = word(pg, "SELECT pg_current_wal_flush_lsn()")
      low = tonumber(at:match "/(%x+)$", 16) % (1 << 20)
    until low % 8192 > 1024 and low % 1024 ~= 0
    local name = word(pg, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    finds("what was committed last is not in it", function(to)
      sh("rm -rf %s; mkdir -m 700 %s; cp -a %s/. %s/", to, to, pg.data, to)
      sh("truncate -s %d %s/pg_wal/%s; truncate -s 1M %s/pg_wal/%s",
        low - 100, to, name, to, name)
    end, { position = at })
  end)
end)
