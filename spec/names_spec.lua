-- saros.get, saros.list: operations by the name given when they were started.
local helper = require "spec.helper"
local saros, gate, core = helper.saros, helper.gate, helper.core

describe("a name", function()
  it("finds a pending operation, and one that has ended", function()
    local g, op = gate { name = "names.a" }
    assert.equal(op, saros.get "names.a")
    assert.equal(op, saros.list()["names.a"])
    assert.equal("names.a", op:status().label)
    g:finish(0)
    assert.equal(op, saros.get "names.a")
    op:close()
    assert.is_nil(saros.get "names.a")
    assert.is_nil(saros.list()["names.a"])
  end)

  it("that nobody has is nil; what is no name raises", function()
    assert.is_nil(saros.get "names.nobody")
    assert.has_error(function() saros.get() end)
    assert.has_error(function() saros.get {} end)
  end)

  it("is taken while its operation is pending, and free afterwards", function()
    local g, op = gate { name = "names.b" }
    assert.is_nil(helper.testmod.gate { name = "names.b" })
    g:finish(0)
    local g2, op2 = gate { name = "names.b" }
    assert.equal(op2, saros.get "names.b")
    assert.not_equal(op, op2)
    op:close() -- the old one does not take the new one's name away
    assert.equal(op2, saros.get "names.b")
    g2:finish(0)
    op2:close()
  end)

  it("keeps an operation alive that nobody holds", function()
    saros.sleep(0, { name = "names.sleep" })
    collectgarbage()
    collectgarbage()
    local op = saros.get "names.sleep"
    assert.is_true(op:wait())
    op:close()
  end)

  it("of a task finds its results, too, when nobody holds it", function()
    core.spawn_named("names.task", function() return "a result", 2 end)
    collectgarbage()
    helper.settle()
    collectgarbage()
    assert.same({ "a result", 2 }, { saros.get("names.task"):wait() })
    saros.get("names.task"):close()
    assert.is_nil(saros.get "names.task")
  end)

  it("of a task that is taken raises, and the first keeps its results", function()
    core.spawn_named("names.first", function()
      saros.sleep(0):wait()
      return "first"
    end)
    local ok, err = pcall(core.spawn_named, "names.first", function() return "second" end)
    assert.is_false(ok)
    assert.equal(saros.code.SAROS_E_BUSY_NAME, err.code)
    assert.equal("first", saros.get("names.first"):wait())
    collectgarbage()
    assert.equal("first", saros.get("names.first"):wait())
    saros.get("names.first"):close()
  end)

  it("of an old task does not take away the results of a new one", function()
    local old = core.spawn_named("names.again", function() return "old" end)
    old:wait()
    core.spawn_named("names.again", function() return "new" end)
    old:close()
    helper.settle()
    collectgarbage()
    assert.equal("new", saros.get("names.again"):wait())
    saros.get("names.again"):close()
  end)

  it("may be any string without a NUL", function()
    for _, name in ipairs { "", " ", "ünïcode", ("x"):rep(10000) } do
      local op = saros.sleep(0, { name = name })
      assert.equal(op, saros.get(name))
      op:close()
    end
    assert.has_error(function() saros.sleep(0, { name = "a\0b" }) end)
    assert.has_error(function() saros.sleep(0, { name = 7 }) end)
  end)

  it("many of them are listed", function()
    for i = 1, 200 do saros.sleep(1000, { name = "names." .. i }) end
    local list = saros.list()
    for i = 1, 200 do
      local op = list["names." .. i]
      assert.is_false(op:done())
      op:close()
    end
    for name in pairs(saros.list()) do assert.is_nil(name:match "^names%.%d") end
  end)
end)
