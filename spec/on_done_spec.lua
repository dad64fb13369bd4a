-- also under valgrind
-- on_done: f(result, err, op), as a task of its own, once.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

describe("on_done", function()
  it("calls f with the result when it succeeds", function()
    local g, op = gate()
    local seen
    op:on_done(function(...) seen = table.pack(...) end)
    helper.settle()
    assert.is_nil(seen)
    g:output '{"id": 7}'
    g:finish(0)
    helper.settle()
    assert.equal(3, seen.n)
    assert.equal(7, seen[1].id)
    assert.is_nil(seen[2])
    assert.equal(op, seen[3])
  end)

  it("calls f with true when there is no result, with one value of several", function()
    local seen = {}
    for i, f in ipairs { function() end, function() return false end,
      function() return 1, 2, 3 end } do
      saros.spawn(f):on_done(function(...) seen[i] = table.pack(...) end)
    end
    helper.settle()
    assert.same({ true, true, 1 }, { seen[1][1], seen[2][1], seen[3][1] })
    assert.is_nil(seen[3][2])
  end)

  it("calls f with nil and the error when it fails or is cancelled", function()
    local g, op = gate { facade = "vss" }
    local seen
    op:on_done(function(...) seen = table.pack(...) end)
    g:finish(saros.code.VSS_E_BAD_STATE, "out of order")
    helper.settle()
    assert.is_nil(seen[1])
    assert.equal("out of order", seen[2].message)
    op = select(2, gate())
    op:on_done(function(...) seen = table.pack(...) end)
    op:cancel()
    helper.settle()
    assert.is_nil(seen[1])
    assert.is_true(seen[2].cancelled)
    assert.equal(op, seen[3])
  end)

  it("on one that has ended calls f at the next dispatch, not inside on_done", function()
    local g, op = gate()
    g:finish(0)
    local times = 0
    local handle = op:on_done(function() times = times + 1 end)
    assert.equal(0, times)
    assert.is_true(handle:wait())
    assert.equal(1, times)
  end)

  it("calls each f once, in a task that may wait", function()
    local g, op = gate()
    local order = {}
    for i = 1, 5 do
      op:on_done(function()
        saros.sleep(0):wait()
        order[#order + 1] = i
      end)
    end
    g:finish(0)
    while #order < 5 do saros.step() end
    helper.settle()
    assert.equal(5, #order)
  end)

  it("returns an operation: its results are those of the call", function()
    local op = saros.spawn(function() end)
    local handle = op:on_done(function() error("broken", 0) end)
    local no, err = handle:wait()
    assert.is_nil(no)
    assert.equal("broken", err.message)
  end)

  it("whose f fails unheard is warned of", function()
    local said = helper.warnings(function()
      saros.spawn(function() end):on_done(function() error "unheard" end)
      helper.settle()
    end)
    assert.match("unheard", said)
  end)

  it("is forgotten when its handle is closed or cancelled", function()
    local g, op = gate()
    local called = 0
    local first = op:on_done(function() called = called + 1 end)
    local second = op:on_done(function() called = called + 1 end)
    op:on_done(function() called = called + 10 end)
    first:close()
    second:cancel()
    g:finish(0)
    op:wait()
    helper.settle()
    assert.equal(10, called)
    assert.equal(0, g:cancels())
  end)

  it("is called although the operation's own handle was closed", function()
    local seen
    do
      local _, op <close> = gate()
      op:on_done(function(...) seen = table.pack(...) end)
    end
    helper.settle()
    assert.is_nil(seen[1])
    assert.is_true(seen[2].cancelled)
    assert.equal("cancelled", seen[3]:status().state)
    local t = saros.spawn(function() return "result" end)
    t:on_done(function(r) seen = r end)
    t:wait()
    t:close()
    helper.settle()
    assert.equal("result", seen)
  end)

  it("is called when nobody holds the operation or the handle", function()
    local g = gate()
    local called
    g:op():on_done(function() called = true end)
    collectgarbage()
    collectgarbage()
    g:finish(0)
    helper.settle()
    assert.is_true(called)
  end)

  it("observes the failure: it is not warned of", function()
    assert.equal("", helper.warnings(function()
      saros.spawn(function() error "x" end):on_done(function() end)
      helper.settle()
    end))
  end)

  it("that is waited for where nothing can yield brings its operation on", function()
    local op = saros.spawn(function() return "result" end)
    local seen
    local handle = op:on_done(function(r) seen = r end)
    table.sort({ 2, 1 }, function() handle:wait() return false end)
    assert.equal("result", seen)
  end)

  it("takes a function, and nothing else", function()
    local g, op = gate()
    assert.has_error(function() op:on_done() end)
    assert.has_error(function() op:on_done(1) end)
    g:finish(0)
  end)

  it("in a run is waited for by the run", function()
    local called
    task(function()
      saros.spawn(function() saros.sleep(0):wait() end):on_done(function()
        saros.sleep(0):wait()
        called = true
      end)
    end)
    assert.is_true(called)
  end)

  it("in the background (core.attend) is waited for by nobody", function()
    local g, op = gate()
    local called
    task(function() -- it ends, although the other has not
      helper.core.attend(op, function(r) called = r end)
    end)
    assert.is_false(saros.step()) -- nothing is due, and nothing to wait for
    g:finish(0)
    helper.settle()
    assert.is_true(called)
  end)

  it("in the background spawns what is waited for", function()
    local g, op = gate()
    local called
    helper.core.attend(op, function()
      saros.spawn(function()
        saros.sleep(0):wait()
        called = true
      end)
    end)
    g:finish(0)
    while not called do saros.step() end
  end)
end)
