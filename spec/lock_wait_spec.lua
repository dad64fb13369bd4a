-- retry_lock: how long a call waits for a repository that somebody else has
-- locked, whom it names meanwhile, and how it is ended.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local code = helper.saros.code

if shared.missing then
  describe("a lock that is waited for", function() pending(shared.missing) end)
  return
end

-- Another process that backs up until its input ends, and holds a lock so long.
local HOLDER <const> = [[
local saros, repository = require "saros", require "saros.repository"
saros.run(function()
  local repo <close> = repository.open { location = %q, password = %q,
    durable = false }
  local cat = saros.process { argv = { "cat", %q }, stdout = "stream" }
  local op = repo:backup { sources = { { name = "x", stream = cat } } }
  print(assert(op:wait()).id)
end)
]]

local holder = {}
holder.__index = holder

local function begin_holding(p)
  local fifo, script = p.root .. "/fifo", p.root .. "/holder.lua"
  assert(os.execute(("mkfifo '%s'"):format(fifo)))
  outside.write(script, HOLDER:format(p.root .. "/r", shared.PASSWORD, fifo))
  local h = setmetatable({ fifo = fifo, process = outside.start("env",
    "LUA_PATH=" .. outside.lua_path, "LUA_CPATH=" .. outside.lua_cpath,
    outside.lua, script) }, holder)
  h.lock = outside.eventually("somebody else holds a lock", function()
    return p.repo:locks()[1]
  end)
  return h
end

-- Its input ends.
function holder:let_go()
  outside.write(self.fifo, "all of it")
  local said, how, status = self.process:finish()
  assert.same({ "exit", 0 }, { how, status }, said)
end

function holder:__close() self.process:__close() end

local function waiting(op)
  return outside.eventually("it waits", function()
    local s = op:status()
    return s.phase == "waiting for a lock" and s.waits_for
  end)
end

local function locked(f)
  shared.with(function(p)
    local h <close> = begin_holding(p)
    f(p, h)
  end)
end

describe("a lock that is waited for", function()
  it("is named, and had when the other lets it go", function()
    locked(function(p, h)
      local op <close> = p.repo:prune { retry_lock = 3600 }
      local why = waiting(op)
      assert.matches(("PID %d on host %s"):format(h.lock.pid, h.lock.hostname),
        why, 1, true)
      assert.matches("since %d+%-%d+%-%d+T", why)
      assert.is_false(op:done())
      h:let_go()
      assert(op:wait())
      assert.same({}, p.repo:locks())
      assert.equal(1, #p.repo:versions())
    end)
  end)

  it("is waited for by each call that needs it, and by none longer than it"
    .. " says", function()
    locked(function(p, h)
      for _, one in ipairs { { "prune" }, { "prune", { retry_lock = 0 } },
        { "prune", { retry_lock = 0.01 } },
        { "repair", { what = "index", retry_lock = 0 } },
        { "forget", { keep_last = 1, retry_lock = 0 } } }
      do
        local ok, err = p.repo[one[1]](p.repo, one[2]):wait()
        assert.is_nil(ok)
        assert.equal(code.SAROS_E_LOCKED, err.code)
        assert.is_true(err.retryable)
        assert.matches(("PID %d on host"):format(h.lock.pid), err.message, 1,
          true)
        assert.matches("retry_lock", err.message)
      end
      -- What shares it waits for nobody.
      p.put("a", "b")
      assert(p.repo:backup { paths = { p.src }, retry_lock = 0 }:wait())
      assert(p.repo:check { retry_lock = 0 }:wait())
      assert(p.repo:restore { target = p.root .. "/t", retry_lock = 1 }:wait())
      -- One that was opened to be patient need not be.
      local patient <close> = shared.repository.open { durable = false,
        location = p.root .. "/r", password = shared.PASSWORD,
        retry_lock = 3600 }
      local op <close> = patient:prune()
      waiting(op)
      local _, err = patient:prune { retry_lock = 0 }:wait()
      assert.equal(code.SAROS_E_LOCKED, err.code)
      op:cancel()
    end)
  end)

  it("can be given up, and leaves no lock of ours", function()
    locked(function(p)
      local op <close> = p.repo:prune { retry_lock = 3600 }
      waiting(op)
      assert.equal(0, op:cancel())
      local _, err = op:wait()
      assert.is_true(err.cancelled)
      assert.equal(1, #p.repo:locks())
    end)
  end)

  it("of one who is killed is had as soon as that is seen", function()
    locked(function(p, h)
      local op <close> = p.repo:prune { retry_lock = 3600 }
      waiting(op)
      outside.system.kill(-h.process.pid, 9)
      h.process:finish()
      assert(op:wait())
      assert.same({}, p.repo:locks())
    end)
  end)

  it("has a patience that is one", function()
    shared.with(function(p)
      for _, wrong in ipairs { -1, 0 / 0, 1e10, math.huge } do
        local _, err = p.repo:prune { retry_lock = wrong }:wait()
        assert.matches("retry_lock: seconds expected", err.message)
      end
      assert.has_error(function() p.repo:prune { retry_lock = "soon" } end)
      assert.has_error(function() p.repo:backup { paths = { p.src },
        retry_locks = 1 } end)
    end)
  end)
end)
