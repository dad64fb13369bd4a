-- saros.wsb.recover of a cluster with a log and a tablespace that lie elsewhere:
-- never over a server that runs, and no copy leads into production.
local app = require "spec.backup_app"
local servers = require "spec.servers.postgres"

local there = pcall(require, "saros.client.postgres")
local missing = app.missing or servers.missing
  or not there and "saros.client.postgres was left out of this build"

if missing then
  describe("recovery of PostgreSQL", function() pending(missing) end)
  return
end

local wsb, outside = app.wsb, app.outside
local postgres = require "saros.writers.postgres"
local with = app.with

local function with_cluster(f)
  return with(function(t)
    local pg <close> = servers.start { at = t.data .. "/pg",
      wal = t.data .. "/wal" }
    pg:tablespace("space", t.data .. "/space")
    pg:must "CREATE TABLE t (n int) TABLESPACE space"
    pg:must "INSERT INTO t SELECT generate_series(1, 1000)"
    local w <close> = postgres.writer { conninfo = pg.conninfo }
    t.version = t.backup()
    w:close()
    pg:must "DELETE FROM t"
    function t.count() return pg:must "SELECT count(*) FROM t" end
    function t.begin_recovery(more)
      local o = { repository = t.repo, application = "postgres" }
      for name, item in pairs(more or {}) do o[name] = item end
      return wsb.recover(o)
    end
    return f(t, pg)
  end)
end

describe("recovery of PostgreSQL", function()
  it("is refused while it runs, and brings all of it back then", function()
    with_cluster(function(t, pg)
      for _, mode in ipairs { "overwrite", "frozen" } do
        if mode == "frozen" then pg:freeze() end
        local r, err = t.begin_recovery():wait()
        assert.is_nil(r)
        assert.equal("SAROS_E_LOCKED", err.name)
        assert.matches("PostgreSQL runs on", err.message)
        if mode == "frozen" then pg:go() end
      end
      assert.equal("0\n", t.count())
      pg:stop()
      local r = assert(t.begin_recovery():wait())
      pg:run()
      assert.equal("1000\n", t.count())
      -- Everything that was there is kept, whole.
      assert.equal(3, #r.laid)
      for _, one in ipairs(r.laid) do
        assert.truthy(one.kept)
        assert.equal("", (outside.run("find", one.kept, "-maxdepth", "0",
          "-empty")))
      end
      pg:stop()
    end)
  end)

  it("starts it between, by its application's hooks", function()
    with_cluster(function(t, pg)
      local a <close> = wsb.application { writer = postgres.id,
        name = "the cluster", pre_restore = function() pg:stop() end,
        post_restore = function() pg:run() end }
      assert(t.begin_recovery():wait())
      assert.equal("1000\n", t.count())
      a:close()
    end)
  end)

  it("lays copies beside that lead nowhere else", function()
    with_cluster(function(t, pg)
      local before = outside.run("find", pg.data, t.data .. "/wal", t.data
        .. "/space", "-type", "l", "-printf", "%p %l\n")
      local r = assert(t.begin_recovery { overwrite = "copy" }:wait())
      local links = outside.run("find", r.root, "-type", "l", "-printf",
        "%l\n")
      local n = 0
      for link in links:gmatch "[^\n]+" do
        n = n + 1
        assert.equal(r.root, link:sub(1, #r.root))
        assert.is_true(os.execute(("test -e '%s'"):format(link)))
      end
      assert.equal(2, n)
      -- Production goes on, and has its links.
      assert.equal("0\n", t.count())
      assert.equal(before, (outside.run("find", pg.data, t.data .. "/wal",
        t.data .. "/space", "-type", "l", "-printf", "%p %l\n")))
      pg:stop()
      assert.equal(pg.data, r.laid[1].path)
    end)
  end)

  -- As Debian has it, and with a data directory that is a link.
  it("takes what lies elsewhere, by whatever name it is called", function()
    with(function(t)
      local conf = t.root .. "/etc/postgresql/15/main"
      assert(os.execute(("mkdir -p %s/disk %s/srv && ln -s %s/disk %s/srv/pg")
        :format(t.root, t.root, t.root, t.root)))
      local pg <close> = servers.start { at = t.root .. "/srv/pg",
        config = conf, wal = t.root .. "/wal" }
      pg:must "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"
      local w <close> = postgres.writer { conninfo = pg.conninfo }
      local v = t.backup { paths = { t.root .. "/srv/pg" } }
      local c = app.component(v, "15-main")
      assert.is_nil(c.why)
      assert.equal("passed", c.check.state)
      assert.same({ t.root .. "/wal/pg_wal", conf },
        { v.added[1].path, v.added[2].path })
      w:close()
      pg:stop()
      assert(os.execute(("rm -rf %s %s/wal/pg_wal %s/disk/data"):format(conf,
        t.root, t.root)))
      local r = assert(wsb.recover { repository = t.repo,
        application = "postgres", state_dir = t.state }:wait())
      assert.equal(3, #r.laid)
      pg:run()
      assert.equal("1000\n", pg:must "SELECT count(*) FROM t")
      pg:stop()
    end)
  end)
end)
