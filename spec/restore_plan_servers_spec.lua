-- The restore plans of servers: each comes back by its text alone, with stock
-- restic and its own tools.
local volumes = require "spec.volumes" -- first: before there are threads
local app = require "spec.backup_app"

local outside = app.outside

if app.missing or not outside.installed "restic" then
  describe("the restore plan of a server", function()
    pending(app.missing or "needs restic")
  end)
  return
end

local follow = require "spec.restore_plan"
local with = app.with

local function usable(name)
  local ok, servers = pcall(require, "spec.servers." .. name)
  if not ok then return nil, tostring(servers):match "^[^\n]*" end
  if servers.missing then return nil, servers.missing end
  local there, writer = pcall(require, "saros.writers." .. name)
  if not there then return nil, tostring(writer):match "^[^\n]*" end
  return servers, writer
end

-- f(t, home): home is a directory that all may come through, on btrfs when the
-- shadow is to be of one instant.
local function with_home(provider, f)
  return with(function(t)
    if provider ~= "btrfs" then
      return f(t, t.data, { paths = { t.data }, provider = provider })
    end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(tostring(why)) end
    local text, good = volumes.run("btrfs subvolume create %s/home && "
      .. "chmod 755 %s/home %s/..", v.path, v.path, v.path)
    assert(good, text)
    return f(t, v.path .. "/home", { paths = { v.path .. "/home" },
      provider = "btrfs", scratch = v.path })
  end)
end

local function postgres(provider, mode)
  local servers, writer = usable "postgres"
  if not servers then return pending(writer) end
  with_home(provider, function(t, home, options)
    local pg <close> = servers.start { at = home .. "/pg",
      wal = home .. "/wal" }
    pg:tablespace("space", home .. "/space")
    pg:must "CREATE TABLE t (n int) TABLESPACE space"
    pg:must "INSERT INTO t SELECT generate_series(1, 1000)"
    local w <close> = writer.writer { conninfo = pg.conninfo }
    local v = t.backup(options)
    assert.equal(1, #v.components)
    assert.is_true(v.components[1].recoverable, v.components[1].why)
    assert.equal(mode, v.components[1].said.mode)
    if provider ~= "live" then
      assert.equal("passed", v.components[1].check.state,
        v.components[1].check.message)
    end
    w:close()
    pg:must "DROP TABLE t"
    pg:stop()
    local said = follow(t, v)
    assert.matches("template1", said)
    pg:run()
    assert.equal("1000|500500\n", pg:must "SELECT count(*), sum(n) FROM t")
    pg:stop()
  end)
end

describe("the restore plan of PostgreSQL", function()
  it("starts a shadow of one instant", function() postgres("btrfs", "atomic") end)
  it("starts a copy in backup mode", function() postgres("copy", "backup") end)
  it("starts what was read live", function() postgres("live", "backup") end)
end)

describe("the restore plan of Redis", function()
  local function redis(provider, config)
    local servers, writer = usable "redis"
    if not servers then return pending(writer) end
    with_home(provider, function(t, home, options)
      local r <close> = servers.start { at = home .. "/r", config = config }
      for i = 1, 50 do r:cli("SET", "k" .. i, "value") end
      local w <close> = writer.writer { socket = r.socket }
      local v = t.backup(options)
      for _, c in ipairs(v.components) do
        assert.is_true(c.recoverable, c.why)
      end
      w:close()
      r:cli "FLUSHALL"
      r:cli("SHUTDOWN", "NOSAVE")
      r:stop()
      follow(t, v)
      r:go_on()
      assert.equal("50", r:cli "DBSIZE")
      r:cli("SHUTDOWN", "NOSAVE")
    end)
  end

  it("starts a shadow of one instant", function()
    redis("btrfs", { appendonly = "yes" })
  end)
  it("starts a copy", function() redis("copy", { appendonly = "yes" }) end)
  it("starts what was read live", function() redis("live") end)
end)

describe("the restore plan of MariaDB", function()
  local function mariadb(provider)
    local servers, writer = usable "mariadb"
    if not servers then return pending(writer) end
    with_home(provider, function(t, home, options)
      local m <close> = servers.start { at = home .. "/m" }
      m:sql "CREATE TABLE app.t (n INT PRIMARY KEY)"
      m:sql "INSERT INTO app.t SELECT seq FROM seq_1_to_1000"
      local w <close> = writer.writer { socket = m.socket, user = "root" }
      local v = t.backup(options)
      for _, c in ipairs(v.components) do
        assert.is_true(c.recoverable, c.why)
      end
      w:close()
      m:sql "DROP TABLE app.t"
      m:stop()
      follow(t, v)
      m:go_on()
      assert.equal("1000", (m:sql "SELECT count(*) FROM app.t"
        :gsub("%s", "")))
      m:stop()
    end)
  end

  it("starts a shadow of one instant", function() mariadb "btrfs" end)
end)
