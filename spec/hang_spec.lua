-- Servers that hang on a copy: a check says that nothing was found out, a drill
-- fails, each within its time, and nothing of them is left.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local wsb = require "saros.wsb"
local system = outside.system

local lacking = require "spec.lacking"

-- How a server of each kind is had: its files, what its writer says of it, and
-- how to shut it down.
local kinds = {
  postgres = { id = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01",
    lacks = lacking("spec.servers.postgres", "saros.client.postgres"),
    question = "SELECT 1",
    made = function()
      local pg = require "spec.servers.postgres".start()
      pg:stop()
      return pg, { data_directory = pg.data, superuser = "pg" }
    end },
  mariadb = { id = "2f6d1c1b-0b5e-4b5c-9a9e-3d5e7c2a4b02",
    lacks = lacking("spec.servers.mariadb", "saros.client.mariadb"),
    question = "SELECT 1",
    made = function()
      local m = require "spec.servers.mariadb".start()
      m:stop()
      return m, { settings = { datadir = m.data } }
    end },
  redis = { id = "9e8b7a54-3c1d-4e2f-8a6b-1f0e2d3c4b03",
    lacks = lacking("spec.servers.redis", "saros.client.redis"),
    question = "PING",
    made = function()
      local r = require "spec.servers.redis".start()
      r:cli("SAVE")
      r:stop()
      return r, { consistency = "application", layout = { dir = r.data,
        rdb = "dump.rdb", appendonly = false } }
    end },
}

-- Servers that run below a directory: their numbers.
local function servers(directory)
  local pipe <close> = assert(io.popen(("find /proc/[0-9]*/cwd -lname '%s/*' "
    .. "2>/dev/null"):format(directory)))
  local list = {}
  for pid in pipe:read "a":gmatch "/proc/(%d+)/" do
    local name = outside.content("/proc/" .. pid .. "/comm") or ""
    if name:find "^postgres" or name:find "^mariadbd" or name:find "^redis" then
      list[#list + 1] = tonumber(pid)
    end
  end
  return list
end

-- Stops each where it is.
local function freeze(directory)
  local list = servers(directory)
  for _, pid in ipairs(list) do system.kill(pid, 19) end
  return #list
end

-- Why f(seconds) failed, while a server that begins there stands still as soon as
-- it is seen; the time may be over before there is one, or one that was quick may
-- be seen too late.
local function until_caught(directory, f)
  for _, seconds in ipairs { 1, 1, 1, 4, 4, 4, 16, 16, 64 } do
    local op <close> = saros.spawn(function()
      while freeze(directory) == 0 do saros.sleep(0.002):wait() end
      return true
    end)
    local err = f(seconds)
    if err and op:done() then return err end
  end
  error "no server was seen"
end

local function until_gone(directory)
  outside.eventually("the server's end", function()
    return #servers(directory) == 0
  end)
end

for name, k in pairs(kinds) do
  describe("a server that hangs: " .. name, function()
    if k.lacks then
      pending(k.lacks)
      return
    end
    local shared = require "spec.drill"
    local made, said

    setup(function() made, said = k.made() end)
    teardown(function() getmetatable(made).__close(made) end)

    it("is no check, and is taken down", function()
      outside.directory(function(d)
        assert(os.execute(("chmod 755 '%s'"):format(d)))
        local err = until_caught(d, function(seconds)
          local _, why = assert(wsb.check_consistency { writer = k.id,
            component = "main", sources = { made.data },
            snapshots = { made.data }, scratch = d, timeout = seconds,
            metadata = { components = { { type = "database", name = "main",
              files = { made.data } } } },
            said = { components = { main = said } } }):wait()
          return why
        end)
        assert.is_true(err.untried, err.message)
        assert.is_true(err.timeout)
        assert.match("the check of .* did not end within", err.message)
        until_gone(d)
        assert.is_nil(outside.content "/proc/mounts":find(d, 1, true))
        local pipe <close> = io.popen("ls -A '" .. d .. "'")
        assert.equal("", pipe:read "a")
      end)
    end)

    -- Drills it, with these options; why it failed.
    local function drilled(p, more)
      shared.store(p, { { path = made.data } }, { { kind = name, name = "main",
        type = "database", files = { made.data }, said = said,
        writer = { id = k.id, instance = shared.id, name = name } } })
      local o = { repository = p.repo, scratch = p.scratch, learn = false }
      for key, item in pairs(more) do o[key] = item end
      local err
      helper.warnings(function()
        local ok
        ok, err = saros.drill(o):wait()
        assert.is_nil(ok)
      end)
      until_gone(p.scratch)
      assert.equal("", p.left())
      assert.is_table(err.report, err.message)
      assert.equal("untried", err.report.components[1].state)
      return err
    end

    it("fails a drill when it is asked, and is taken down", function()
      shared.with(function(p)
        local err = drilled(p, { timeout = { verify = 0.5, stop = 0.5 },
          verify = function(db)
            assert(freeze(p.scratch) > 0)
            return db[name == "redis" and "command" or "query"](db, k.question)
          end })
        assert.match("verify: it did not end within 0.5 seconds", err.message)
        assert.match("timeout = { verify = …", err.message)
      end)
    end)

    if name == "mariadb" then
      it("fails a drill when it starts, and is taken down", function()
        shared.with(function(p)
          -- The check is not what hangs here.
          local kind = assert(require "saros.writers.kind".of(name))
          local check <const> = kind.check
          local _ <close> = setmetatable({}, { __close = function()
            kind.check = check
          end })
          kind.check = nil
          local err = until_caught(p.scratch, function(seconds)
            return drilled(p, { timeout = { start = seconds, stop = 0.5 } })
          end)
          assert.match("start: it did not end within", err.message)
        end)
      end)
    end
  end)
end
