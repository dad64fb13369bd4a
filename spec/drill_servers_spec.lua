-- Drills of real servers: what is left when the drill is killed, and a table out
-- of a version.
require "spec.helper"
local outside = require "spec.outside"
local saros = require "saros"

local lacking = require "spec.lacking"

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  return pipe:read "a"
end

local function count(text, pattern)
  local _, n = (text or ""):gsub(pattern, "")
  return n
end

local MARIADB <const> = "2f6d1c1b-0b5e-4b5c-9a9e-3d5e7c2a4b02"

describe("a drill whose process is killed", function()
  local why = lacking("spec.servers.postgres", "saros.client.postgres",
    "saros.writers.postgres_kind", "saros.wsb.lay")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local postgres = require "spec.servers.postgres"

  -- Servers that run in the scratch directory.
  local function servers(p)
    return count(sh("find /proc/[0-9]*/cwd -lname '%s/*' 2>/dev/null",
      p.scratch), "\n")
  end

  for _, phase in ipairs { "recovering", "verifying" } do
    it("leaves no server: " .. phase, function()
      shared.with(function(p)
        local pg <close> = postgres.start()
        pg:stop()
        shared.store(p, { { path = pg.data } }, { { kind = "postgres",
          name = "main", files = { pg.data },
          said = { data_directory = pg.data, superuser = "pg" },
          writer = { id = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01",
            instance = shared.id, name = "postgres" } } })
        local killed <close> = shared.elsewhere(p)
        killed:expect("phase " .. phase .. "\n")
        if phase == "verifying" then assert.is_true(servers(p) > 0) end
        outside.system.kill(killed.pid, 9)
        killed:finish()
        outside.eventually("the servers' end", function()
          return servers(p) == 0
        end)
        assert.is_nil(outside.content "/proc/mounts":find(p.root, 1, true))
        assert.equal(1, saros.drill.reap(p.scratch):wait())
        assert.equal("", p.left())
      end)
    end)
  end
end)

describe("a drill of PostgreSQL", function()
  local why = lacking("spec.servers.postgres", "saros.client.postgres",
    "saros.writers.postgres_kind", "saros.wsb.lay")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local postgres = require "spec.servers.postgres"

  it("gives back one table", function()
    shared.with(function(p)
      local pg <close> = postgres.start()
      pg:must "CREATE DATABASE shop"
      pg:must("CREATE TABLE orders AS SELECT n FROM generate_series(1, 9) n",
        "shop")
      pg:must("CREATE TABLE other (n int)", "shop")
      pg:stop()
      shared.store(p, { { path = pg.data } }, { { kind = "postgres",
        name = "main", files = { pg.data },
        said = { data_directory = pg.data, superuser = "pg" },
        writer = { id = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01",
          instance = shared.id, name = "postgres" } } })
      pg:run()
      pg:must("DROP TABLE orders", "shop")
      assert(saros.drill { repository = p.repo, scratch = p.scratch,
        verify = function(_, _, instance)
          local shop <close> = instance.connect "shop"
          local rows = assert(shop:query
            "SELECT count(*) AS n FROM orders":wait())
          return rows[1].n == "9"
        end,
        extract = { { database = "shop", table = "orders",
          to = p.root .. "/orders.sql" } } }:wait())
      local said, _, status = outside.run(pg.bin .. "/psql", "-XAtq", "-v",
        "ON_ERROR_STOP=1", "-d", pg.conninfo .. " dbname=shop", "-f",
        p.root .. "/orders.sql")
      assert.equal(0, status, said)
      assert.equal("9\n", pg:sql("SELECT count(*) FROM orders", "shop"))
    end)
  end)
end)

describe("a drill of MariaDB", function()
  local why = lacking("spec.servers.mariadb", "saros.client.mariadb",
    "saros.writers.mariadb_kind")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local mariadb = require "spec.servers.mariadb"

  it("gives back one table", function()
    shared.with(function(p)
      local m <close> = mariadb.start()
      m:sql [[CREATE TABLE app.orders (n INT);
        INSERT INTO app.orders VALUES (1), (2); CREATE TABLE app.other (n INT)]]
      m:stop()
      shared.store(p, { { path = m.data } }, { { kind = "mariadb",
        name = "main", type = "database", files = { m.data },
        said = { settings = { datadir = m.data } },
        writer = { id = MARIADB, instance = shared.id, name = "mariadb" } } })
      m:go_on()
      m:sql "DELETE FROM app.orders"
      assert(saros.drill { repository = p.repo, scratch = p.scratch,
        extract = { { database = "app", table = "orders",
          to = p.root .. "/orders.sql" } } }:wait())
      m:sql("source " .. p.root .. "/orders.sql")
      assert.equal("2", m:sql "SELECT count(*) FROM app.orders")
      assert.is_nil(outside.content(p.root .. "/orders.sql"):find "`other`")
    end)
  end)
end)
