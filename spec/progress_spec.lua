-- also under valgrind
-- for s in op:progress(): conflated, the terminal one always and last.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

local function collect(op)
  local list = {}
  for s in op:progress() do list[#list + 1] = s end
  return list
end

-- In a task, on the main thread, in a coroutine of the user's own, blocking.
local places = {
  ["in a task"] = task,
  ["on the main thread"] = function(f) return f() end,
  ["in a coroutine"] = function(f) return coroutine.wrap(f)() end,
  ["in a sort in a task"] = function(f)
    local result
    task(function()
      table.sort({ 2, 1 }, function() result = result or f() return false end)
    end)
    return result
  end,
}

for name, run in pairs(places) do
  describe("progress " .. name, function()
    it("gives the terminal one alone when it had ended before", function()
      for _, code in ipairs { 0, saros.code.SAROS_E_FAIL } do
        local g, op = gate()
        g:progress(1, 4)
        g:finish(code)
        local list = run(function() return collect(op) end)
        assert.equal(1, #list)
        assert.equal(code, list[1].code)
        if code == 0 then assert.equal(100, list[1].percent) end
      end
    end)

    it("may be called by hand, with anything", function()
      local g, op = gate()
      local following = op:progress()
      run(function()
        assert.equal("running", following().state)
        g:finish(0)
        assert.equal("succeeded", following(io.stdout, 1).state)
        assert.is_nil(following "x")
      end)
    end)

    it("ends with the terminal one when it ends meanwhile", function()
      for _ = 1, 50 do
        local g, op = gate()
        local list = run(function()
          g:finish_later(0)
          return collect(op)
        end)
        assert.is_true(#list >= 1)
        assert.equal("succeeded", list[#list].state)
        for i = 1, #list - 1 do assert.equal("running", list[i].state) end
      end
    end)

    it("gives what happened between two looks as one", function()
      local g, op = gate()
      local seen = run(function()
        local percents = {}
        for s in op:progress() do
          percents[#percents + 1] = s.percent
          if #percents == 1 then
            for i = 1, 50 do g:progress(i, 100) end
          elseif #percents == 2 then
            g:phase "last"
            g:progress(60, 100)
            g:finish(0)
          end
        end
        return percents
      end)
      assert.same({ 0, 50, 100 }, seen)
    end)

    it("shows cancelled, unwinding, and then the end", function()
      local g, op = gate { holds = true }
      op:cancel()
      local list = run(function()
        local all = {}
        for s in op:progress() do
          all[#all + 1] = s
          if #all == 1 then g:finish(0) end
        end
        return all
      end)
      assert.equal("unwinding", list[1].phase)
      assert.equal("cancelled", list[#list].state)
      assert.is_nil(list[#list].phase)
    end)
  end)
end

describe("progress", function()
  it("may be left at any time", function()
    local g, op = gate()
    for _ in op:progress() do break end
    task(function()
      for _ in op:progress() do break end
      local iterate, state = op:progress()
      iterate(state)
      iterate, state = nil, nil -- luacheck: ignore
      collectgarbage()
    end)
    g:progress(1, 2)
    g:finish(0)
    collectgarbage()
    assert.equal(1, #collect(op))
  end)

  it("runs other tasks in between", function()
    local g, op = gate()
    saros.spawn(function()
      for i = 1, 3 do
        g:progress(i, 4)
        saros.spawn(function() end):wait() -- the others go on
      end
      g:finish(0)
    end)
    local list = collect(op)
    assert.equal("succeeded", list[#list].state)
    assert.is_true(#list >= 3)
  end)

  it("may be watched by many at once", function()
    local g, op = gate()
    local ends = 0
    local watchers = {}
    for i = 1, 20 do
      watchers[i] = saros.spawn(function()
        local list = collect(op)
        if list[#list].state == "succeeded" then ends = ends + 1 end
      end)
    end
    helper.settle()
    g:progress(1, 2)
    helper.settle()
    g:finish(0)
    saros.all(watchers):wait()
    assert.equal(20, ends)
  end)

  it("of a task has its end", function()
    local list = collect(saros.spawn(function() saros.sleep(0):wait() return 1 end))
    assert.equal("succeeded", list[#list].state)
  end)

  it("raises in a task that is cancelled", function()
    local g, op = gate()
    local seen
    local t = saros.spawn(function()
      local _, err = pcall(collect, op)
      seen = err
    end)
    helper.settle()
    t:cancel()
    t:wait()
    assert.is_true(seen.cancelled)
    g:finish(0)
  end)

  it("in one iterator belongs to one task", function()
    local g, op = gate()
    local iterate, state = op:progress()
    iterate(state)
    local first = saros.spawn(function() return iterate(state).state end)
    local second = saros.spawn(function() return iterate(state).state end)
    helper.settle()
    g:finish(0)
    assert.equal("succeeded", first:wait())
    assert.match("another task", select(2, second:wait()).message)
  end)

  it("whose iterator is closed by somebody else ends there", function()
    local g, op = gate()
    local iterate, state = op:progress()
    iterate(state)
    local t = saros.spawn(function() return iterate(state) == nil end)
    helper.settle()
    getmetatable(state).__close(state)
    helper.settle()
    assert.is_true(t:done())
    assert.is_true(t:wait())
    g:finish(0)
  end)

  it("never goes back, and reads at most 99 until the end", function()
    local g, op = gate()
    local last = 0
    for _, step in ipairs { { 50, 100 }, { 30, 100 }, { 50, 1000 }, { 100, 100 }, { 7, 0 } } do
      g:progress(step[1], step[2])
      local percent = op:status().percent
      assert.equal("integer", math.type(percent))
      assert.is_true(percent >= last and percent <= 99)
      last = percent
    end
    g:finish(0)
    assert.equal(100, op:status().percent)
  end)

  it("that is abandoned leaves nothing behind", function()
    local g, op = gate()
    local function round()
      for _ = 1, 200 do
        for _ in op:progress() do break end
        op:progress()
      end
      collectgarbage()
      collectgarbage()
    end
    round()
    local before = collectgarbage "count"
    for _ = 1, 5 do round() end
    assert.is_true(collectgarbage "count" - before < 4)
    g:finish(0)
  end)
end)
