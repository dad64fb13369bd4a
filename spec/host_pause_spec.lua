-- saros.config{ pause = f }: a host whose coroutines may only sleep as the
-- host does (HAProxy's core.msleep), here a small one of our own.
local helper = require "spec.helper"
local saros, gate = helper.saros, helper.gate

-- A scheduler of coroutines with a clock of its own: msleep yields, and any
-- other yield is an error, as it is one in HAProxy.
local function scheduler()
  local s = { now = 0, sleeping = {}, slept = 0 }
  local asleep = {}

  function s.msleep(ms)
    s.slept = s.slept + 1
    coroutine.yield(asleep, ms)
  end

  function s.start(f)
    s.sleeping[#s.sleeping + 1] = { at = 0, co = coroutine.create(f) }
  end

  local function resume(entry)
    local ok, what, ms = coroutine.resume(entry.co)
    if not ok then error(what, 0) end
    if coroutine.status(entry.co) == "dead" then return end
    if what ~= asleep then error "a yield that is not the host's" end
    s.sleeping[#s.sleeping + 1] = { at = s.now + ms, co = entry.co }
  end

  -- Runs until all have ended; real time passes only in `idle`.
  function s.run(idle)
    while #s.sleeping > 0 do
      table.sort(s.sleeping, function(a, b) return a.at < b.at end)
      local entry = table.remove(s.sleeping, 1)
      s.now = math.max(s.now, entry.at)
      resume(entry)
      if idle then idle() end
    end
  end

  return s
end

describe("saros.config{ pause = f }", function()
  local s
  before_each(function()
    s = scheduler()
    saros.config { pause = s.msleep }
  end)
  after_each(function() saros.config { pause = false } end)

  it("sleeps as the host does while others go on", function()
    local g, op = gate()
    local result
    s.start(function() result = op:wait() end)
    s.start(function()
      s.msleep(12)
      g:finish(0)
    end)
    s.run()
    assert.is_true(result)
    assert.is_true(s.slept > 1)
  end)

  it("keeps the time limit by the host's own clock", function()
    local g, op = gate()
    local err
    s.start(function() err = select(2, op:wait(0.02)) end)
    s.run()
    assert.is_true(err.timeout)
    assert.equal(20, s.now)
    g:finish(0)
  end)

  it("runs the tasks that the operation needs", function()
    local op = saros.spawn(function() return "task" end)
    local result
    s.start(function() result = op:wait() end)
    s.run()
    assert.equal("task", result)
  end)

  it("blocks in a sort, where the host cannot sleep either", function()
    local g, op = gate { run = "lane" }
    g:finish(0)
    local result
    s.start(function()
      table.sort({ 2, 1 }, function(a, b)
        result = op:wait()
        return a < b
      end)
    end)
    s.run()
    assert.is_true(result)
    assert.equal(0, s.slept)
  end)

  it("lets a task wait as a task does", function()
    local g, op = gate()
    local task = saros.spawn(function() return op:wait() and "yielded" end)
    g:finish_later(0)
    assert.equal("yielded", task:wait())
    assert.equal(0, s.slept)
  end)

  it("is gone when it is taken back", function()
    saros.config { pause = false }
    local g, op = gate()
    g:finish_later(0)
    local result
    s.start(function() result = op:wait() end)
    s.run()
    assert.is_true(result)
    assert.equal(0, s.slept)
  end)
end)
