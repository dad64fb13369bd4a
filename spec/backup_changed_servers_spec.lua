-- Databases that are copied file by file while they work: what is written to all
-- the same is what they mend, and bars nothing.
local app = require "spec.backup_app"
local outside = app.outside
local postgres_server = require "spec.servers.postgres"
local redis_server = require "spec.servers.redis"

if app.missing then
  describe("a database that is copied", function() pending(app.missing) end)
  return
end

local helper = require "spec.helper"
local busy = require "spec.sqlite_busy"
local steps = require "saros.wsb.steps"

-- Shadows of a path, and what would be known of each; f(m, snapshot) says
-- whether that was enough.
local function each(t, path, f)
  helper.task(function()
    for n = 1, math.huge do
      local job <close> = steps.shadow { paths = { path }, provider = "copy",
        state_dir = t.state, type = "copy", host = "here", exclude = {},
        tags = {}, scratch = t.scratch }
      for _, c in ipairs(job.m.components) do
        assert.is_nil(c.why)
        assert.is_true(c.recoverable)
        assert.not_equal("none", c.consistency)
      end
      if f(job.m, job.set[job.o.paths[1]], n) then return end
    end
  end)
end

describe("a PostgreSQL in backup mode", function()
  it("is not barred by what its log mends, but by all else", function()
    local missing = postgres_server.missing
      or not pcall(require, "saros.client.postgres") and "no client"
    if missing then return pending(missing) end
    local postgres = require "saros.writers.postgres"
    app.with(function(t)
      local pg <close> = postgres_server.start { at = t.data .. "/pg",
        settings = { shared_buffers = "1MB", synchronous_commit = "off" } }
      pg:must [[CREATE TABLE t AS SELECT n, repeat('x', 1000) AS t
        FROM generate_series(1, 20000) n]]
      local _ <close> = outside.start("sh", "-c", ("yes 'UPDATE t SET n = -n; "
        .. "CHECKPOINT; VACUUM t;' | %s/psql -XAtq '%s' >/dev/null 2>&1")
        :format(pg.bin, pg.conninfo))
      local _ <close> = postgres.writer { conninfo = pg.conninfo }
      each(t, pg.at, function(_, snapshot)
        for _, path in ipairs(snapshot.torn or {}) do
          assert.equal("fuzzy", snapshot.consistency)
          if path:find(pg.data .. "/base/", 1, true) then return true end
        end
      end)
    end)
  end)

  -- By its components alone: what of a cluster is said to be mended.
  it("does not say that it mends what people write", function()
    local missing = postgres_server.missing
      or not pcall(require, "saros.client.postgres") and "no client"
    if missing then return pending(missing) end
    local files = require "saros.wsb.files"
    local postgres = require "saros.writers.postgres"
    app.with(function(t)
      local pg <close> = postgres_server.start { at = t.data .. "/pg",
        wal = t.data .. "/wal", config = t.data .. "/etc/postgresql/15/x" }
      pg:tablespace("space", t.data .. "/space")
      local w <close> = postgres.writer { conninfo = pg.conninfo }
      local s <close> = require "saros.vss".components { state_dir = t.state }
      s:initialize_for_backup()
      assert(s:gather_writer_metadata():wait())
      local c = s:writers()[1].components[1]
      local function mended(path)
        for _, pattern in ipairs(c.mends) do
          if files.matches(pattern, path) then return true end
        end
        return false
      end
      for path, expected in pairs {
        [pg.data .. "/base/1/1259"] = true,
        [pg.data .. "/base/1/pg_internal.init"] = true,
        [pg.data .. "/pg_xact/0000"] = true,
        [pg.data .. "/pg_multixact/offsets/0000"] = true,
        [pg.data .. "/global/1262_fsm"] = true,
        [pg.data .. "/global/pg_filenode.map"] = true,
        [t.data .. "/wal/pg_wal/000000010000000000000001"] = true,
        [t.data .. "/space/PG_15_202209061/5/1"] = true,
        [pg.data .. "/global/pg_control"] = false,
        [pg.data .. "/postgresql.auto.conf"] = false,
        [pg.data .. "/PG_VERSION"] = false,
        [t.data .. "/etc/postgresql/15/x/postgresql.conf"] = false,
      } do
        assert.equal(expected, mended(path), path)
      end
      assert(w)
    end)
  end)
end)

describe("a SQLite database", function()
  for _, mode in ipairs { "delete", "wal" } do
    it("is not barred by those who wait and read, in mode " .. mode, function()
      app.with(function(t)
        local path = t.data .. "/app.db"
        busy.make(path, mode)
        local load <close> = busy.start(path, t.state .. "/notes")
        load.until_said("done", 5)
        -- Readers come and go, which is to be seen in the shared memory.
        outside.write(t.scratch .. "/read.lua", [[
          local sqlite = require "saros.client.sqlite"
          print "reads" io.stdout:flush()
          while true do
            local db = sqlite.open { path = arg[1], readonly = true,
              busy_timeout = 1000 }
            db:query "SELECT count(*) FROM t":wait()
            db:close()
          end]])
        local reader <close> = outside.start(outside.lua, t.scratch
          .. "/read.lua", path)
        reader:expect "reads"
        local _ <close> = app.sqlite.writer { databases = { path } }
        each(t, t.data, function(_, _, n)
          load.until_said("done", load.said "done" + 1)
          return n == 8
        end)
      end)
    end)
  end
end)

describe("a Redis", function()
  for _, log in ipairs { "yes", "no" } do
    it("is not barred by the dump it makes, with appendonly " .. log, function()
      local missing = redis_server.missing
        or not pcall(require, "saros.client.redis") and "no client"
      if missing then return pending(missing) end
      local redis = require "saros.writers.redis"
      app.with(function(t)
        local r <close> = redis_server.start { at = t.data .. "/r",
          config = { appendonly = log, ["enable-debug-command"] = "yes" } }
        assert.match("OK", r:cli("DEBUG", "POPULATE", "100000", "k", "300"))
        local _ <close> = outside.start("sh", "-c", ("exec redis-benchmark -s "
          .. "'%s' -c 2 -l -q -t set -d 300 -r 20000 -n 100000 >/dev/null 2>&1")
          :format(r.socket))
        local _ <close> = redis.writer { socket = r.socket,
          staging = t.scratch }
        each(t, r.data, function(_, snapshot, n)
          -- It writes the dump while its directory is copied.
          return n >= 3 and (n == 12 or snapshot.torn)
        end)
      end)
    end)
  end
end)
