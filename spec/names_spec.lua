-- saros.get, saros.list: operations by the name given when they were started.
local helper = require "spec.helper"
local saros, gate = helper.saros, helper.gate

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
    saros.spawn({ name = "names.task" }, function() return "a result", 2 end)
    collectgarbage()
    helper.settle()
    collectgarbage()
    assert.same({ "a result", 2 }, { saros.get("names.task"):wait() })
    saros.get("names.task"):close()
    assert.is_nil(saros.get "names.task")
  end)

  it("of a task that is taken raises, and the first keeps its results", function()
    saros.spawn({ name = "names.first" }, function()
      saros.sleep(0):wait()
      return "first"
    end)
    local ok, err = pcall(saros.spawn, { name = "names.first" }, function() return "second" end)
    assert.is_false(ok)
    assert.equal(saros.code.SAROS_E_BUSY_NAME, err.code)
    assert.match("has the name 'names.first' already", err.message)
    assert.equal("first", saros.get("names.first"):wait())
    collectgarbage()
    assert.equal("first", saros.get("names.first"):wait())
    saros.get("names.first"):close()
  end)

  it("of an old task does not take away the results of a new one", function()
    local old = saros.spawn({ name = "names.again" }, function() return "old" end)
    old:wait()
    saros.spawn({ name = "names.again" }, function() return "new" end)
    old:close()
    helper.settle()
    collectgarbage()
    assert.equal("new", saros.get("names.again"):wait())
    saros.get("names.again"):close()
  end)

  it("is taken by everything that starts something", function()
    local op
    local function wait() return op:wait() end
    local starters = {
      spawn = function(o) return saros.spawn(o, wait) end,
      timeout = function(o) return saros.timeout(op, 1000, o) end,
      run = function(o)
        return saros.spawn(function() saros.run(o, wait) end)
      end,
      scope = function(o)
        return saros.spawn(function() saros.scope(o, wait) end)
      end,
      ["scope:spawn"] = function(o)
        return saros.spawn(function()
          saros.scope(function(scope) scope:spawn(o, wait) end)
        end)
      end,
      sleep = function(o) return saros.sleep(1000, o) end,
      all = function(o) return saros.all { op, name = o.name } end,
      any = function(o) return saros.any { op, name = o.name } end,
      retry = function(o) return saros.retry(o, wait) end,
      process = function(o)
        return saros.process { argv = { "sleep", "1000" }, name = o.name }
      end,
      copy = function(o)
        return saros.copy { from = "/nowhere", to = "/nowhere/else", name = o.name }
      end,
    }
    for what, start in pairs(starters) do
      local name, _ = "names." .. what
      _, op = gate()
      local whole = start { name = name }
      helper.settle()
      local found = assert(saros.get(name), what)
      assert.equal(name, found:status().label)
      found:close()
      whole:close()
      op:close()
    end
  end)

  it("of a task leaves its arguments and results as they are", function()
    local options = { name = "names.exact" }
    local function f(...) return select("#", ...), ... end
    assert.same({ n = 4, 3, nil, 2, nil },
      table.pack(saros.run(options, f, nil, 2, nil)))
    assert.same({ n = 3, 2, nil, nil },
      table.pack(saros.spawn(options, f, nil, nil):wait()))
    assert.same({ n = 1, 0 }, table.pack(saros.spawn({}, f):wait()))
    assert.equal("x", saros.scope(options, function() return "x" end))
    saros.get("names.exact"):close()
    assert.same({ name = "names.exact" }, options)
  end)

  it("is no name of what can be called: that is the task", function()
    local f = setmetatable({ name = "names.callable" },
      { __call = function(self, x) return self.name, x end })
    assert.same({ "names.callable", 2 }, { saros.spawn(f, 2):wait() })
    assert.same({ "names.callable", 2 }, { saros.run(f, 2) })
    assert.is_nil(saros.get "names.callable")
    local named = saros.spawn({ name = "names.callable" }, f, 2)
    assert.same({ "names.callable", 2 }, { named:wait() })
    named:close()
  end)

  it("that is none, and other options, are misuse", function()
    local function f() end
    local _, op = gate()
    for _, wrong in ipairs { { name = 7 }, { nam = "x" }, { f }, { name = "a\0b" } } do
      for _, start in ipairs { saros.spawn, saros.run, saros.scope } do
        assert.has_error(function() start(wrong, f) end)
      end
      assert.has_error(function() saros.timeout(op, 1, wrong) end)
    end
    for _, start in ipairs { saros.spawn, saros.run, saros.scope } do
      assert.has_error(function() start { name = "x" } end)
      assert.has_error(function() start({ name = "x" }, 1) end)
    end
    local _, err = pcall(saros.spawn, { name = "x", f })
    assert.match("saros.spawn has no option '1'", err)
    op:close()
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
