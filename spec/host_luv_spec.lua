-- op:wait() in coroutines of a luv program.
local found = pcall(require, "luv")

describe("saros.host.luv", function()
  if not found then
    it("suspends", function() pending "lua-luv is not installed" end)
    return
  end
  local uv = require "luv"
  local helper = require "spec.helper"
  local luv = require "saros.host.luv"
  local saros, gate = helper.saros, helper.gate

  -- Turns the loop until nothing keeps it.
  local function run() uv.run() end

  -- Calls f in the loop's next turn.
  local function soon(f)
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      f()
    end)
  end

  it("suspends a coroutine while the loop goes on", function()
    local g, op = gate()
    g:output '"result"'
    local result
    luv.spawn(function() result = op:wait() end)
    assert.is_nil(result)
    soon(function() g:finish(0) end) -- only the loop can open it
    run()
    assert.equal("result", result)
  end)

  it("is kept by a waiting coroutine, and not by saros itself", function()
    run() -- returns: nobody waits
    local g, op = gate()
    local over = false
    luv.spawn(function()
      op:wait()
      over = true
    end)
    g:finish_later(0) -- no handle of luv is there to keep the loop
    run()
    assert.is_true(over)
    run()
  end)

  it("hands out failures as ever", function()
    local g, op = gate()
    local result, err
    luv.spawn(function() result, err = op:wait() end)
    soon(function() g:finish(0x80070005, "no") end)
    run()
    assert.is_nil(result)
    assert.equal(0x80070005, err.code)
  end)

  it("keeps the time limit of a wait", function()
    local g, op = gate()
    local result, err, at_once
    luv.spawn(function()
      at_once = select(2, op:wait(0))
      result, err = op:wait(0.01)
    end)
    run()
    assert.is_true(at_once.timeout)
    assert.is_nil(result)
    assert.is_true(err.timeout)
    assert.is_false(op:done())
    g:finish(0)
  end)

  it("does not disturb a generator", function()
    local g, op = gate { run = "lane" }
    local got = {}
    luv.spawn(function()
      for value in coroutine.wrap(function()
        coroutine.yield "first"
        coroutine.yield(op:wait()) -- blocks: nobody here may yield for it
        coroutine.yield "last"
      end) do
        got[#got + 1] = value
        if value == "first" then g:finish(0) end
      end
    end)
    run()
    assert.same({ "first", true, "last" }, got)
  end)

  it("blocks in a sort", function()
    local _, op = helper.gate()
    local g2, op2 = gate { run = "lane" }
    g2:finish(0)
    local done
    luv.spawn(function()
      table.sort({ 2, 1 }, function(a, b)
        done = op2:wait()
        return a < b
      end)
    end)
    assert.is_true(done)
    op:cancel()
    run()
  end)

  it("wakes each of many for its own operation", function()
    local gates, order = {}, {}
    for i = 1, 50 do
      local g, op = gate()
      gates[i] = g
      luv.spawn(function()
        op:wait()
        order[#order + 1] = i
        if i > 1 then gates[i - 1]:finish(0) end
      end)
    end
    soon(function() gates[50]:finish(0) end)
    run()
    for i = 1, 50 do assert.equal(51 - i, order[i]) end
  end)

  it("turns tasks while the loop runs", function()
    local g, op = gate()
    local task = saros.spawn(function() return op:wait() and "task" end)
    local result
    luv.spawn(function() result = task:wait() end)
    soon(function() g:finish(0) end)
    run()
    assert.equal("task", result)
  end)

  it("gives saros.run and saros.scope to a coroutine", function()
    local g, op = gate()
    local a, b, ok, err, members
    luv.spawn(function()
      a, b = saros.run(function(x)
        op:wait()
        return x, 2
      end, 1)
      ok, err = pcall(saros.run, function() error "raised again" end)
      saros.scope(function(scope)
        for i = 1, 3 do
          scope:spawn(function()
            saros.sleep(0.001):wait()
            members = (members or 0) + i
          end)
        end
      end)
    end)
    soon(function() g:finish(0) end)
    run()
    assert.same({ 1, 2, false, 6 }, { a, b, ok, members })
    assert.matches("raised again", err)
  end)

  it("lets a callback wait through wrap", function()
    local timer, seen = uv.new_timer(), {}
    timer:start(0, 0, luv.wrap(function()
      timer:close()
      seen[1] = saros.sleep(0.001):wait()
    end))
    run()
    assert.same({ true }, seen)
  end)

  it("adopts a coroutine, and stands being resumed in between", function()
    local g, op = gate()
    local result
    local co = coroutine.create(function()
      luv.adopt()
      result = op:wait()
    end)
    assert(coroutine.resume(co))
    assert(coroutine.resume(co)) -- a callback that came late
    assert.is_nil(result)
    soon(function() g:finish(0) end)
    run()
    assert.is_true(result)
  end)

  it("forgets a coroutine that was closed", function()
    local g, op = gate()
    local co = luv.spawn(function() op:wait() end)
    assert(coroutine.close(co))
    run() -- nothing keeps it any more
    g:finish(0)
    assert(helper.warnings(function() run() end) == "")
  end)

  it("says once what nobody hears", function()
    local said = helper.warnings(function()
      luv.spawn(function()
        saros.sleep(0.001):wait()
        error "nobody is there"
      end)
      run()
    end)
    assert.matches("nobody is there", said)
  end)

  it("runs inside a task, where the dispatcher is busy", function()
    local result, outer
    saros.spawn(function() end) -- something is ready, and must not spin
    local g, op = gate()
    luv.spawn(function() outer = op:wait() end)
    saros.run(function()
      luv.spawn(function()
        saros.sleep(0.001):wait()
        soon(function() soon(function() g:finish_later(0) end) end)
        result = op:wait() and saros.sleep(0.01):wait()
      end)
      run()
    end)
    assert.is_true(result)
    assert.is_true(outer)
  end)

  it("watches anew after a shutdown", function()
    saros.shutdown()
    local result
    luv.spawn(function() result = saros.sleep(0.001):wait() end)
    run()
    assert.is_true(result)
  end)

  it("comes back after its handles were closed by the program", function()
    uv.walk(function(handle)
      if not handle:is_closing() then handle:close() end
    end)
    run()
    local result
    luv.spawn(function() result = saros.sleep(0.001):wait() end)
    run()
    assert.is_true(result)
  end)
end)
