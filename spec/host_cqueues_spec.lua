-- op:wait() in coroutines of a cqueues controller.
local found = pcall(require, "cqueues")

describe("saros.host.cqueues", function()
  if not found then
    it("suspends", function() pending "lua-cqueues is not installed" end)
    return
  end
  local cqueues = require "cqueues"
  local helper = require "spec.helper"
  require "saros.host.cqueues"
  local saros, gate = helper.saros, helper.gate

  -- Each f in a coroutine of one controller, until all have ended.
  local function loop(...)
    local cq = cqueues.new()
    for i = 1, select("#", ...) do cq:wrap((select(i, ...))) end
    assert(cq:loop())
    assert.is_true(cq:empty())
  end

  it("suspends a coroutine while the others go on", function()
    local g, op = gate()
    g:output '"result"'
    local result
    loop(function() result = op:wait() end, function()
      assert.is_nil(result)
      g:finish(0) -- nobody else could
    end)
    assert.equal("result", result)
  end)

  it("hands out failures, and keeps the time limit of a wait", function()
    local g, op = gate()
    local at_once, late, err
    loop(function()
      at_once = select(2, op:wait(0))
      late = select(2, op:wait(0.01))
      g:finish(0x80070005, "no")
      err = select(2, op:wait())
    end)
    assert.is_true(at_once.timeout)
    assert.is_true(late.timeout)
    assert.equal(0x80070005, err.code)
  end)

  it("does not disturb a generator", function()
    local g, op = gate { run = "lane" }
    local got = {}
    loop(function()
      for value in coroutine.wrap(function()
        coroutine.yield "first"
        coroutine.yield(op:wait())
        coroutine.yield "last"
      end) do
        got[#got + 1] = value
        if value == "first" then g:finish(0) end
      end
    end)
    assert.same({ "first", true, "last" }, got)
  end)

  it("wakes each of many for its own operation", function()
    local gates, order, waiters = {}, {}, {}
    for i = 1, 50 do
      local g, op = gate()
      gates[i] = g
      waiters[i] = function()
        op:wait()
        order[#order + 1] = i
        if i > 1 then gates[i - 1]:finish(0) end
      end
    end
    waiters[51] = function() gates[50]:finish(0) end
    loop(table.unpack(waiters))
    for i = 1, 50 do assert.equal(51 - i, order[i]) end
  end)

  it("turns tasks while somebody waits, and runs saros.run", function()
    local g, op = gate()
    local result
    loop(function()
      result = saros.run(function() return op:wait() and "task" end)
    end, function() g:finish_later(0) end)
    assert.equal("task", result)
  end)

  it("serves two controllers of one state", function()
    local g, op = gate()
    local inner, outer
    local cq = cqueues.new()
    cq:wrap(function() inner = op:wait() end)
    loop(function() assert(cq:loop()) end, function()
      outer = op:wait()
    end, function() g:finish_later(0) end)
    assert.is_true(inner)
    assert.is_true(outer)
  end)

  it("goes on after a coroutine that failed", function()
    local cq = cqueues.new()
    cq:wrap(function()
      saros.sleep(0.001):wait()
      error "on purpose"
    end)
    local ok, why = cq:loop()
    assert.is_falsy(ok)
    assert.matches("on purpose", tostring(why))
    local result
    cq:wrap(function() result = saros.sleep(0.001):wait() end)
    assert(cq:loop())
    assert.is_true(result)
  end)
end)
