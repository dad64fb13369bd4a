-- A Redis backed up, drilled and brought back: everything that saros does with
-- it, one after the other.
require "spec.volumes" -- first: before there are threads
local app = require "spec.backup_app"
local case = require "spec.redis_case"
local server = require "spec.servers.redis"

if server.missing or app.missing then
  describe("a backup of Redis", function()
    pending(server.missing or app.missing)
  end)
  return
end

local saros, outside, wsb = app.saros, app.outside, app.wsb
local cell = require "saros.cell"
local helper = require "spec.helper"
local redis = require "saros.writers.redis"

describe("a backup of Redis", function()
  for _, mode in ipairs { { "with its log", "yes" },
    { "with dumps alone", "no" } }
  do
    it("is checked, drilled, and comes back whole, " .. mode[1], function()
      app.with(function(t)
        local r <close> = server.start { config = { appendonly = mode[2] } }
        local _ <close> = redis.writer { socket = r.socket, name = "cache",
          staging = t.scratch }
        local keys = {}
        for i = 1, 50 do
          keys[2 * i - 1], keys[2 * i] = "key" .. i, tostring(i)
        end
        r:cli("MSET", table.unpack(keys))
        local v = t.backup { paths = { r.root } }
        local c = app.component(v, "redis")
        assert.equal("redis", c.kind)
        assert.equal("application", c.consistency)
        assert.equal("passed", c.check.state, c.check.message)
        assert.is_true(c.recoverable, c.why)
        r:cli("SET", "key1", "later")

        -- Restored and started where it can do no harm.
        local seen
        local report = assert(saros.drill { repository = t.repo,
          component = "redis", scratch = t.scratch,
          verify = function(db)
            seen = case.get(db, "GET", "key1")
            return case.get(db, "DBSIZE") == 50
          end,
          extract = { { to = t.root .. "/all.rdb" } } }:wait())
        assert.is_true(report.ok, tostring(report))
        assert.equal("1", seen)
        assert.equal("REDIS", outside.content(t.root .. "/all.rdb"):sub(1, 5))

        -- Where there is no cell nothing is started, for a check neither.
        local why = cell.why
        cell.why = function() return { message = "there is none" } end
        local fine, failed = saros.drill { repository = t.repo,
          component = "redis", scratch = t.scratch }:wait()
        cell.why = why
        assert.is_nil(fine)
        helper.contains({ failed_at = "check", state = "untried" },
          failed.report.components[1])

        -- Not while it runs.
        local function recover()
          return wsb.recover { repository = t.repo, version = v.id,
            component = "redis" }:wait()
        end
        local ok, err = recover()
        assert.is_nil(ok)
        assert.match("a Redis server .* runs on", err.message)

        r:cli "FLUSHALL"
        r:stop()
        assert(recover())
        r:go_on()
        assert.equal("50", r:cli "DBSIZE")
        assert.equal("1", r:cli("GET", "key1"))
        assert.equal("OK", r:cli("SET", "key1", "after"))
        assert.match("^OK", r:cli "SAVE") -- its owner owns it again
      end)
    end)
  end
end)
