-- Cycles of waits are found and named, and never hang (3.3.3).
local helper = require "spec.helper"
local saros, gate = helper.saros, helper.gate
local CYCLE = saros.code.SAROS_E_CYCLE

-- Some of `ops` fail with a cycle; all end. The errors.
local function cycles(ops)
  local found = {}
  for _, op in ipairs(ops) do
    local _, err = op:wait()
    if err and err.code == CYCLE then found[#found + 1] = err end
  end
  return found
end

local ways = {
  ["a wait that yields"] = function(f) return f() end,
  ["a sort"] = helper.in_sort,
  ["a generator"] = helper.in_generator,
}

for name, way in pairs(ways) do
  describe("through " .. name .. ", a cycle", function()
    for _, size in ipairs { 1, 2, 3, 10, 40 } do
      it(("of %d tasks fails and names both ends"):format(size), function()
        local ops = {}
        for i = 1, size do
          ops[i] = saros.spawn(function()
            local ok, err = way(function() return ops[i % size + 1]:wait() end)
            return ok, err -- no tail call, which would hide this function
          end)
        end
        local found = cycles(ops)
        assert.is_true(#found >= 1)
        local message = found[1].message
        assert.equal("SAROS_E_CYCLE", found[1].name)
        assert.match("saros.task: pending %(.-nested_spec.lua:%d+%) would wait "
          .. "for itself: it waits for saros.task: pending "
          .. "%(.-nested_spec.lua:%d+%)", message)
      end)
    end

    it("through all{} fails", function()
      for _, place in ipairs { 1, 2 } do
        local a, all
        local others = { saros.spawn(function() end) }
        a = saros.spawn(function()
          return way(function() return all:wait() end)
        end)
        table.insert(others, place, a)
        all = saros.all(others)
        local ok, err = all:wait()
        assert.is_nil(ok)
        local _, mine = a:wait()
        assert.is_true(mine.code == CYCLE or err.code == CYCLE)
      end
    end)

    it("through any{} of that alone fails", function()
      local a, any
      a = saros.spawn(function() return way(function() return any:wait() end) end)
      any = saros.any { a }
      local _, err = any:wait()
      local _, mine = a:wait()
      assert.is_true(mine.code == CYCLE or err.code == CYCLE)
    end)

    it("through progress() fails", function()
      local ops = {}
      for i = 1, 2 do
        ops[i] = saros.spawn(function()
          return way(function()
            for _ in ops[i % 2 + 1]:progress() do end
          end)
        end)
      end
      assert.is_true(#cycles(ops) >= 1)
    end)

    it("through run() fails", function()
      local a
      a = saros.spawn(function()
        return way(function()
          return saros.run(function() error((select(2, a:wait()))) end)
        end)
      end)
      local ok, err = a:wait()
      assert.is_nil(ok)
      assert.equal(CYCLE, err.code)
    end)
  end)
end

describe("no cycle is", function()
  it("a member of any{} when another may end it", function()
    local g, op = gate()
    local a, any
    a = saros.spawn(function() return any:wait() end)
    any = saros.any { a, op }
    helper.settle()
    g:finish(0)
    assert.equal(2, any:wait())
    assert.equal(2, a:wait())
  end)

  it("closing a task that waits for us: it is cancelled", function()
    local a, b
    a = saros.spawn(function()
      b = saros.spawn(function() a:wait() end)
      saros.spawn(function() end):wait() -- b waits now
      local handle = b
      b:close()
      assert(not pcall(handle.query, handle))
      return "closed"
    end)
    assert.equal("closed", a:wait())
  end)
end)

describe("a cycle", function()
  it("of 1,000 tasks fails", function()
    local ops = {}
    for i = 1, 1000 do
      ops[i] = saros.spawn(function() return ops[i % 1000 + 1]:wait() end)
    end
    assert.is_true(#cycles(ops) >= 1)
  end)

  it("is found although a member of all{} is ready", function()
    local a, all
    local b = saros.spawn(function() saros.sleep(0):wait() end)
    a = saros.spawn(function() return all:wait() end)
    all = saros.all { b, a }
    all:wait()
    a:wait()
    assert.is_true(a:done() and all:done())
  end)

  it("is found in a wait with a time, too", function()
    local a
    a = saros.spawn(function() return a:wait(1000) end)
    assert.equal(CYCLE, select(2, a:wait()).code)
  end)

  it("may be caught, and the task goes on", function()
    local a
    a = saros.spawn(function()
      local no, err = a:wait()
      assert(no == nil and err.code == CYCLE)
      return "on"
    end)
    assert.equal("on", a:wait())
  end)
end)

describe("an on_done callback", function()
  it("is a task of its own and may wait for anything", function()
    local result
    local op = saros.spawn(function() return "first" end)
    local done = op:on_done(function(r)
      result = r .. saros.spawn(function() return " second" end):wait()
    end)
    assert.is_true(done:wait())
    assert.equal("first second", result)
  end)
end)
