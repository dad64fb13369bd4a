-- also under valgrind
-- close and __close: cancel, wait until unwound, let go.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

describe("close", function()
  it("cancels what is pending and waits until it is unwound", function()
    local g, op = gate { holds = true }
    local closed = false
    local t = saros.spawn(function()
      op:close()
      closed = true
    end)
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(closed)
    g:finish(0)
    assert.is_true(t:wait())
    assert.is_true(closed)
  end)

  it("waits at most so many seconds", function()
    for _, run in ipairs { function(f) return f() end, task } do
      local g, op = gate { holds = true }
      run(function() op:close(0.001) end)
      assert.equal(1, g:cancels())
      assert.has_error(function() op:query() end, "the operation's handle was closed")
      assert.is_false(g:op():done())
      g:finish(0)
    end
    local _, op = gate { holds = true }
    op:close(0)
    _, op = gate { holds = true }
    op:close(-1)
  end)

  it("of one that has ended only lets go", function()
    local g, op = gate()
    g:finish(0)
    op:close()
    assert.equal(0, g:cancels())
    assert.is_true(g:op():ok())
  end)

  it("waits for what cannot be cancelled", function()
    local g, op = gate { fixed = true }
    g:finish_later(0)
    op:close()
    assert.is_true(g:op():ok())
  end)

  it("may be called again", function()
    local _, op = gate()
    op:close()
    op:close()
    op:close(1)
    assert.equal("saros.operation: closed", tostring(op))
  end)

  it("takes seconds, and nothing else", function()
    local g, op = gate()
    assert.has_error(function() op:close "soon" end)
    assert.has_error(function() op:close(0 / 0) end)
    assert.equal(0, g:cancels())
    op:close()
  end)

  it("makes every method of that handle raise, clearly", function()
    local g, op = gate()
    local other = g:op()
    op:close()
    for _, method in ipairs { "query", "status", "done", "ok", "wait", "result",
      "cancel", "progress", "pause", "resume" } do
      assert.has_error(function() op[method](op) end,
        "the operation's handle was closed")
    end
    assert.has_error(function() op:on_done(print) end,
      "the operation's handle was closed")
    assert.equal("cancelled", other:status().state) -- other handles stay
    assert.is_false(op == other)
  end)

  it("of a task that is waited for by others lets them go on", function()
    local _, never = gate()
    local t = saros.spawn(function() never:wait() end)
    local seen
    local w = saros.spawn(function() seen = table.pack(t:wait()) end)
    helper.settle()
    t:close()
    w:wait()
    assert.is_nil(seen[1])
    assert.equal(saros.code.SAROS_E_CLOSED, seen[2].code)
  end)

  it("of a task by itself is refused", function()
    local t
    t = saros.spawn(function() return pcall(t.close, t) end)
    local _, ok, err = t:wait()
    assert.is_false(ok)
    assert.match("cannot close itself", err)
  end)

  it("lets results of a task go", function()
    local weak = setmetatable({}, { __mode = "v" })
    local t = saros.spawn(function()
      weak[1] = {}
      return weak[1]
    end)
    t:wait()
    collectgarbage()
    assert.is_table(weak[1])
    t:close()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("in a place that cannot yield blocks", function()
    local g, op = gate { run = "lane" }
    g:entered()
    task(function()
      table.sort({ 2, 1 }, function(a, b) op:close() return a < b end)
    end)
    assert.equal(1, g:cancels())
  end)
end)

describe("<close>", function()
  local function exits(name, leave)
    it("cancels and unwinds at " .. name, function()
      for _, run in ipairs { function(f) return f() end, task,
        function(f) return coroutine.wrap(f)() end } do
        local g, op = gate { run = "lane" }
        g:entered()
        run(function() leave(g:op()) end)
        assert.equal(1, g:cancels())
        assert.is_true(op:done())
        assert.equal("cancelled", op:status().state)
      end
    end)
  end

  exits("the end of a block", function(op)
    do local x <close> = op end -- luacheck: ignore
  end)
  exits("return", function(op)
    local x <close> = op -- luacheck: ignore
    return 1
  end)
  exits("break", function(op)
    for _ = 1, 2 do
      local x <close> = op -- luacheck: ignore
      break
    end
  end)
  exits("goto", function(op)
    do
      local x <close> = op -- luacheck: ignore
      goto out
    end
    ::out::
  end)
  exits("an error", function(op)
    assert.is_false((pcall(function()
      local x <close> = op -- luacheck: ignore
      error "on purpose"
    end)))
  end)
  for _, value in ipairs { 0, -1, 0 / 0, 5 } do
    exits("an error that is the number " .. tostring(value), function(op)
      pcall(function()
        local x <close> = op -- luacheck: ignore
        error(value)
      end)
    end)
  end
  exits("coroutine.close", function(op)
    local co = coroutine.create(function()
      local x <close> = op -- luacheck: ignore
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert(coroutine.close(co))
  end)
  exits("the end of a generic for", function(op)
    for _ in function(_, i) return not i or nil end, nil, nil, op do end
  end)

  it("at the end of a cancelled task waits for the unwinding", function()
    local g, op = gate { holds = true }
    local t = saros.spawn(function()
      local x <close> = op -- luacheck: ignore
      saros.sleep(1000):wait()
    end)
    helper.settle()
    t:cancel()
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(t:done())
    g:finish(0)
    t:wait()
    assert.is_true(g:op():done())
  end)
end)
