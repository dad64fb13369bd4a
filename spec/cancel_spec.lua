-- also under valgrind
-- Cancel: what it answers, what it does to a task (3.3.1), and what a wait
-- says meanwhile (3.3.2).
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task
local code = saros.code

describe("cancel", function()
  it("of a pending operation answers 0, and again 0", function()
    local _, op = gate()
    assert.equal(0, op:cancel())
    assert.equal(0, op:cancel())
    assert.equal(code.SAROS_E_CANCELLED, (op:query()))
    local no, err = op:wait()
    assert.is_nil(no)
    assert.is_true(err.cancelled)
    assert.equal(0x800704C7, err.code)
    assert.equal("cancelled", op:status().state)
  end)

  it("of one that has ended answers the final code", function()
    local g, op = gate()
    g:finish(0)
    assert.equal(0, op:cancel())
    assert.equal(0, (op:query()))
    g, op = gate()
    g:finish(code.SAROS_E_FAIL)
    assert.equal(code.SAROS_E_FAIL, op:cancel())
    assert.equal(code.SAROS_E_FAIL, (op:query()))
    g, op = gate()
    g:finish(code.SAROS_S_PARTIAL)
    assert.equal(code.SAROS_S_PARTIAL, op:cancel())
  end)

  it("of what cannot be cancelled is refused, and it goes on", function()
    local g, op = gate { fixed = true }
    assert.equal(0x80070032, op:cancel())
    assert.equal("running", op:status().state)
    g:finish(0)
    assert.is_true(op:wait())
    g, op = gate()
    assert.is_true(g:no_return())
    assert.equal(0x80070032, op:cancel())
    g:finish(0)
    assert.is_true(op:wait())
  end)

  it("of a sleep ends it at once", function()
    local op = saros.sleep(1000)
    assert.equal(0, op:cancel())
    assert.is_true(select(2, op:wait()).cancelled)
  end)
end)

describe("while a cancelled operation unwinds", function()
  it("query says cancelled at once, and done says no", function()
    local g, op = gate { holds = true, facade = "vss" }
    assert.equal(0, op:cancel())
    assert.equal(1, g:cancels())
    assert.equal(code.VSS_S_ASYNC_CANCELLED, (op:query()))
    assert.is_false(op:done())
    assert.is_false(op:ok())
    assert.equal("unwinding", op:status().phase)
    assert.equal("cancelled", op:status().state)
    assert.match("unwinding", tostring(op))
    g:finish(0)
    assert.is_true(op:done())
    assert.is_nil(op:status().phase)
  end)

  it("a wait with a time has err.timeout and the terminal code", function()
    for facade, terminal in pairs {
      saros = "SAROS_E_CANCELLED", vss = "VSS_S_ASYNC_CANCELLED",
      wsb = "SAROS_E_CANCELLED", vds = "VDS_E_OPERATION_CANCELED",
    } do
      local g, op = gate { holds = true, facade = facade }
      op:cancel()
      for _, wait in ipairs { function() return op:wait(0) end, function()
        return table.unpack(task(function() return { [2] = select(2, op:wait(0.001)) } end), 1, 2)
      end } do
        local no, err = wait()
        assert.is_nil(no)
        assert.is_true(err.timeout)
        assert.equal(code[terminal], err.code)
      end
      g:finish(0)
      local _, err = op:wait()
      assert.is_nil(err.timeout)
      assert.is_true(err.cancelled)
      assert.equal(code[terminal], err.code)
    end
  end)

  it("a wait without one goes on until nothing of it runs", function()
    local g, op = gate { holds = true }
    local over = false
    local waiter = saros.spawn(function()
      op:wait()
      over = true
    end)
    helper.settle()
    op:cancel()
    helper.settle()
    assert.is_false(over)
    g:finish(0)
    waiter:wait()
    assert.is_true(over)
  end)

  it("what could not be undone is in its status, and not in its code", function()
    local g, op = gate { holds = true }
    op:cancel()
    g:cleanup "a file stays"
    g:finish(code.SAROS_E_FAIL)
    assert.same({ "a file stays" }, op:status().cleanup)
    assert.equal(code.SAROS_E_CANCELLED, (op:query()))
  end)
end)

describe("cancel of a task", function()
  it("raises at the wait it is in", function()
    local g, op = gate()
    local seen
    local t = saros.spawn(function()
      local ok, err = pcall(op.wait, op)
      seen = err
      assert(not ok)
      error(err)
    end)
    helper.settle()
    assert.equal(0, t:cancel())
    assert.equal(code.SAROS_E_CANCELLED, (t:query()))
    local _, err = t:wait()
    assert.is_true(seen.cancelled)
    assert.equal(code.SAROS_E_CANCELLED, seen.code)
    assert.is_true(err.cancelled)
    assert.equal("running", op:status().state) -- not the awaited one
    g:finish(0)
  end)

  it("raises at its next wait when it is running, also one that is over", function()
    local done = saros.sleep(0)
    done:wait()
    local seen
    local t
    t = saros.spawn(function()
      t:cancel()
      seen = select(2, pcall(done.wait, done))
    end)
    t:wait()
    assert.is_true(seen.cancelled)
  end)

  it("raises once: cleanup may wait", function()
    local g, op = gate()
    local order = {}
    local t = saros.spawn(function()
      local ok = pcall(op.wait, op)
      order[1] = ok
      order[2] = saros.spawn(function() return "cleanup" end):wait()
      order[3] = saros.sleep(0):wait()
      return "a result"
    end)
    helper.settle()
    t:cancel()
    local no, err = t:wait()
    assert.same({ false, "cleanup", true }, order)
    assert.is_nil(no)
    assert.is_true(err.cancelled) -- it was caught, and stays cancelled
    assert.equal("cancelled", t:status().state)
    g:finish(0)
  end)

  it("a second time raises again", function()
    local g, op = gate()
    local seen = {}
    local t = saros.spawn(function()
      for i = 1, 3 do
        local _, err = pcall(op.wait, op)
        seen[i] = err
      end
    end)
    helper.settle()
    for i = 1, 3 do
      assert.equal(0, t:cancel())
      helper.settle()
      assert.equal(i, #seen)
      assert.is_true(seen[i].cancelled)
    end
    t:wait()
    g:finish(0)
  end)

  it("that has not begun means that it never begins", function()
    local began = false
    local t = saros.spawn(function() began = true end)
    t:cancel()
    assert.is_true(select(2, t:wait()).cancelled)
    assert.is_false(began)
  end)

  it("that never waits is at its end", function()
    local t, came
    t = saros.spawn(function()
      t:cancel()
      came = true
      return "a result"
    end)
    local no, err = t:wait()
    assert.is_true(came)
    assert.is_nil(no)
    assert.is_true(err.cancelled)
  end)

  it("keeps what was noted in its error on the way out", function()
    local g, op = gate()
    local t = saros.spawn(function()
      local _, err = pcall(op.wait, op)
      err.noted, err.code, err.message = { "so far" }, 7, "mine"
      error(err, 0)
    end)
    helper.settle()
    t:cancel()
    for _ = 1, 2 do
      local _, err = t:wait()
      assert.is_true(err.cancelled)
      assert.same({ "so far" }, err.noted)
      assert.equal(code.SAROS_E_CANCELLED, err.code)
      assert.equal(t, err.op)
      assert.is_not.equal("mine", err.message)
    end
    local good, err = pcall(saros.run, function()
      local _, inner = t:wait()
      error(inner, 0)
    end)
    assert.is_false(good)
    assert.same({ "so far" }, err.noted)
    -- Any other error is not the outcome, nor is a result.
    for _, f in ipairs { function() error({ noted = true }, 0) end,
      function() error "x" end, function() return { noted = true } end } do
      local other = saros.spawn(function()
        pcall(op.wait, op)
        return f()
      end)
      helper.settle()
      other:cancel()
      local _, why = other:wait()
      assert.is_true(why.cancelled)
      assert.is_nil(why.noted)
      assert.is_nil(why.value)
    end
    g:finish(0)
  end)

  it("raises in a wait that blocks inside it: in a sort, in a generator", function()
    for _, within in ipairs {
      function(wait) table.sort({ 2, 1 }, function() wait() return false end) end,
      function(wait) for _ in coroutine.wrap(function() wait() end) do end end,
    } do
      local never_gate, never = gate()
      local t, helpful, seen
      t = saros.spawn(function()
        within(function()
          local ok, err = pcall(helpful.wait, helpful)
          seen = err
          if not ok then error(err, 0) end
        end)
      end)
      helpful = saros.spawn(function()
        t:cancel() -- the awaited task cancels the one that waits
        never:wait()
      end)
      local _, err = t:wait()
      assert.is_true(err.cancelled)
      assert.is_true(type(seen) == "table" and seen.cancelled)
      never_gate:finish(0)
      helpful:wait()
    end
  end)

  it("is not lost in a finalizer that happens to run", function()
    local t, seen
    t = saros.spawn(function()
      t:cancel()
      setmetatable({}, { __gc = function() saros.sleep(0):wait() end })
      collectgarbage()
      seen = select(2, pcall(function() saros.sleep(0):wait() end))
    end)
    t:wait()
    assert.is_true(seen.cancelled)
  end)

  it("from another thread reaches it wherever it waits", function()
    -- A named task is found and cancelled by another Lua state in C; here by
    -- an operation of C that ends and lets on_done do it.
    local g, trigger = gate()
    local _, never = gate()
    local t = saros.spawn(function() never:wait() end)
    trigger:on_done(function() t:cancel() end)
    g:finish_later(0)
    assert.is_true(select(2, t:wait()).cancelled)
  end)

  it("keeps what went wrong in its cleanup, in status().cleanup", function()
    local _, never = gate()
    local t = saros.spawn(function()
      local x <close> = setmetatable({}, { __close = function() -- luacheck: ignore
        error "the file could not be removed"
      end })
      never:wait()
    end)
    helper.settle()
    t:cancel()
    local _, err = t:wait()
    assert.is_true(err.cancelled)
    assert.match("the file could not be removed", t:status().cleanup[1])
  end)

  it("by itself says the truth afterwards", function()
    local t = saros.spawn(function() return 1 end)
    t:wait()
    assert.equal(0, t:cancel())
    assert.equal(1, t:wait())
    t = saros.spawn(function() error "x" end)
    t:wait()
    assert.equal(code.SAROS_E_LUA, t:cancel())
  end)

  it("in a wait for a task that ends in the same breath has one outcome", function()
    for _ = 1, 100 do
      local g, op = gate()
      local t = saros.spawn(function() return op:wait() end)
      helper.settle()
      g:finish_later(0)
      local answer = t:cancel()
      local ok, err = t:wait()
      if answer == 0 and not ok then assert.is_true(err.cancelled) end
      assert.equal(t:status().state == "cancelled", not ok)
    end
  end)
end)
