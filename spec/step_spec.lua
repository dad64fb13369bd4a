-- saros.fd and saros.step, as a host's loop with poll(2) uses them.
local helper = require "spec.helper"
local saros, gate, poll = helper.saros, helper.gate, helper.testmod.poll

local function drain()
  while poll(saros.fd()) or saros.step(0) do saros.step(0) end
end

describe("seconds", function()
  it("are refused where they would be for ever", function()
    for _, bad in ipairs { 0 / 0, -1 } do
      assert.has_error(function() saros.shutdown(bad) end)
    end
    assert.has_error(function() saros.step(0 / 0) end)
  end)
end)

describe("the descriptor", function()
  before_each(drain)

  it("is one number, and not readable while nothing is due", function()
    assert.equal(saros.fd(), saros.fd())
    assert.is_false(poll(saros.fd()))
    assert.is_false(saros.step(0))
    assert.is_false(poll(saros.fd()))
  end)

  it("is readable after spawn, on_done and cancel, until step was called", function()
    local _, never = gate()
    local t = saros.spawn(function() never:wait() end)
    assert.is_true(poll(saros.fd()))
    assert.is_true(poll(saros.fd())) -- level-triggered
    saros.step(0)
    assert.is_false(poll(saros.fd()))
    t:cancel()
    assert.is_true(poll(saros.fd()))
    drain()
    assert.is_true(t:done())
    assert.is_false(poll(saros.fd()))
    t:on_done(function() end)
    assert.is_true(poll(saros.fd()))
    drain()
    assert.is_false(poll(saros.fd()))
  end)

  it("becomes readable when an operation ends that a task waits for", function()
    local g, op = gate()
    local result
    saros.spawn(function() result = op:wait() end)
    drain()
    assert.is_false(poll(saros.fd()))
    g:finish_later(0)
    assert.is_true(poll(saros.fd(), -1))
    drain()
    assert.is_true(result)
  end)

  it("is not made readable by what nobody waits for", function()
    local g = gate()
    g:progress(1, 2)
    g:finish(0)
    assert.is_false(poll(saros.fd()))
  end)

  it("stays readable while the budget leaves tasks", function()
    saros.config { budget = 2 }
    local ran = 0
    for _ = 1, 5 do saros.spawn(function() ran = ran + 1 end) end
    local wakes = 0
    while poll(saros.fd()) do
      wakes = wakes + 1
      local more = saros.step(0)
      assert.equal(more, poll(saros.fd()))
    end
    saros.config { budget = 256 }
    assert.equal(5, ran)
    assert.equal(3, wakes)
  end)

  it("loses no wake-up and makes no busy loop", function()
    local rounds, turns = 500, 0
    local ended = false
    saros.spawn(function()
      for _ = 1, rounds do
        local g, op = gate()
        g:finish_later(0)
        assert(op:wait())
      end
      ended = true
    end)
    while not ended do
      assert.is_true(poll(saros.fd(), 60000)) -- a lost one would hang here
      saros.step(0)
      turns = turns + 1
    end
    assert.is_true(turns <= 3 * rounds + 10, turns)
  end)

  it("works as long as many threads finish at once", function()
    local left = 200
    local gates = {}
    for i = 1, left do
      local g, op = gate { run = "cpu" }
      gates[i] = g
      op:on_done(function() left = left - 1 end)
    end
    local turns = 0
    for i = 1, #gates do gates[i]:finish(0) end
    while left > 0 do
      assert.is_true(poll(saros.fd(), 60000))
      saros.step(0)
      turns = turns + 1
    end
    assert.is_true(turns <= 2 * 200 + 10)
    drain()
    assert.is_false(poll(saros.fd()))
  end)

  it("is readable after a blocking wait that left tasks ready", function()
    local ran
    saros.spawn(function() ran = true end)
    table.sort({ 2, 1 }, function()
      saros.sleep(0):wait()
      return false
    end)
    assert.is_nil(ran)
    assert.is_true(poll(saros.fd()))
    saros.step(0)
    assert.is_true(ran)
  end)

  it("is readable after a run that left other tasks", function()
    local g, op = gate()
    local after
    saros.spawn(function()
      op:wait()
      after = true
    end)
    saros.run(function() g:finish_later(0) end)
    while not after do
      assert.is_true(poll(saros.fd(), 60000))
      saros.step(0)
    end
  end)
end)

describe("step", function()
  before_each(drain)

  it("(0) runs what is due and never waits", function()
    local g, op = gate()
    local ended
    saros.spawn(function() op:wait() ended = true end)
    assert.is_false(saros.step(0))
    assert.is_nil(ended)
    g:finish(0)
    saros.step(0)
    assert.is_true(ended)
  end)

  it("(seconds) waits at most so long", function()
    assert.is_false(saros.step(0.001))
    local ran
    saros.spawn(function() saros.sleep(0.001):wait() ran = true end)
    saros.step(0)
    while not ran do saros.step(1000) end
  end)

  it("() waits while there are tasks, and does not when there are none", function()
    assert.is_false(saros.step())
    local g, op = gate()
    local ended
    saros.spawn(function() op:wait() ended = true end)
    saros.step(0)
    g:finish_later(0)
    while not ended do saros.step() end
  end)

  it("inside a task raises", function()
    local ok, err = pcall(saros.run, function() saros.step(0) end)
    assert.is_false(ok)
    assert.match("saros.step was called inside a task", err)
    ok, err = pcall(saros.run, function()
      coroutine.wrap(function() saros.step(0) end)()
    end)
    assert.is_false(ok)
    assert.match("inside a task", err)
  end)

  it("may be called in a coroutine of the user's own", function()
    local ran
    saros.spawn(function() ran = true end)
    coroutine.wrap(function() saros.step(0) end)()
    assert.is_true(ran)
  end)

  it("takes a number", function()
    assert.has_error(function() saros.step "x" end)
    assert.has_error(function() saros.step {} end)
  end)
end)

describe("under luv", function()
  local ok, uv = pcall(require, "luv")
  if not ok then
    pending "luv is not installed"
    return
  end

  it("tasks run, and the loop sleeps in between", function()
    drain()
    local turns, ended = 0, false
    local watcher = uv.new_poll(saros.fd())
    watcher:start("r", function()
      turns = turns + 1
      saros.step(0)
      if ended then watcher:close() end
    end)
    saros.spawn(function()
      for _ = 1, 100 do
        local g, op = gate()
        g:finish_later(0)
        op:wait()
      end
      ended = true
    end)
    uv.run()
    assert.is_true(ended)
    assert.is_true(turns <= 310, turns)
  end)
end)
