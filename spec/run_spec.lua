-- also under valgrind
-- saros.run: f as a task, and the loop until f and all it spawned are done.
local helper = require "spec.helper"
local saros, gate, in_sort = helper.saros, helper.gate, helper.in_sort

local places = {
  ["on the main thread"] = function(f) return f() end,
  ["in a task"] = function(f)
    local op = saros.spawn(f)
    op:wait()
    return op:result()
  end,
  ["in a coroutine"] = function(f) return coroutine.wrap(f)() end,
  ["in a generator in a task"] = function(f)
    local op = saros.spawn(function() return coroutine.wrap(f)() end)
    op:wait()
    return op:result()
  end,
  ["in a sort"] = in_sort,
  ["in a sort in a task"] = function(f)
    local op = saros.spawn(in_sort, f)
    op:wait()
    return op:result()
  end,
}

for name, place in pairs(places) do
  describe("run " .. name, function()
    it("returns f's results exactly", function()
      local function f(...)
        saros.sleep(0):wait()
        return ...
      end
      assert.same({ n = 4, "x", nil, false, nil }, place(function()
        return table.pack(saros.run(f, "x", nil, false, nil))
      end))
      assert.same({ n = 0 }, place(function() return table.pack(saros.run(f)) end))
      assert.same({ n = 1 }, place(function() return table.pack(saros.run(f, nil)) end))
      assert.same({ n = 2, false, 1 },
        place(function() return table.pack(saros.run(f, false, 1)) end))
    end)

    it("raises f's error as it was", function()
      local reason = {}
      for _, value in ipairs { "text", 12, reason, false } do
        local seen = place(function()
          return table.pack(pcall(saros.run, function()
            saros.sleep(0):wait()
            error(value, 0)
          end))
        end)
        assert.is_false(seen[1])
        assert.equal(value, seen[2])
      end
      local seen = place(function()
        return table.pack(pcall(saros.run, function() return nil, reason end))
      end)
      assert.equal(reason, seen[2])
    end)
  end)
end

describe("run", function()
  it("waits for all that f spawned, grandchildren and callbacks", function()
    local done = {}
    local function note(name)
      saros.sleep(0):wait()
      done[#done + 1] = name
    end
    local result = saros.run(function()
      saros.spawn(function()
        saros.spawn(function()
          note "grandchild"
          saros.spawn(note, "great-grandchild")
        end)
        note "child"
      end)
      saros.sleep(0):on_done(function() note "callback" end)
      return "first"
    end)
    assert.equal("first", result)
    table.sort(done)
    assert.same({ "callback", "child", "grandchild", "great-grandchild" }, done)
  end)

  it("waits for them also when f fails", function()
    local ended
    assert.has_error(function()
      saros.run(function()
        saros.spawn(function() saros.sleep(0):wait() ended = true end)
        error "on purpose"
      end)
    end)
    assert.is_true(ended)
  end)

  it("does not wait for what others spawned", function()
    local g, op = gate()
    local other = saros.spawn(function() op:wait() end)
    saros.run(function() saros.sleep(0):wait() end)
    assert.is_false(other:done())
    g:finish(0)
    other:wait()
  end)

  it("lets other tasks go on meanwhile", function()
    local ran
    saros.spawn(function() ran = true end)
    saros.run(function() saros.sleep(0):wait() end)
    assert.is_true(ran)
  end)

  it("in a run in a run", function()
    assert.equal(3, saros.run(function()
      return 1 + saros.run(function()
        return 1 + saros.run(function() return 1 end)
      end)
    end))
  end)

  it("inside a generator leaves its values alone", function()
    local values = {}
    saros.run(function()
      for v in coroutine.wrap(function()
        for i = 1, 3 do
          saros.run(function() saros.sleep(0):wait() end)
          coroutine.yield(i)
        end
      end) do values[#values + 1] = v end
    end)
    assert.same({ 1, 2, 3 }, values)
  end)

  it("ends when all its tasks were cancelled", function()
    local ok, err = pcall(saros.run, function()
      local _, never = gate()
      local child = saros.spawn(function() never:wait() end)
      saros.spawn(function() child:cancel() end)
      child:wait()
      error(select(2, child:wait()))
    end)
    assert.is_false(ok)
    assert.is_true(err.cancelled)
  end)

  for name, within in pairs { ["in a task"] = function(f) f() end,
    ["in a sort in a task"] = in_sort }
  do
    it("is cancelled with the task that waits for it, and unwound: " .. name,
      function()
        local g, never = gate()
        local h, slow = gate()
        local order = {}
        local t
        t = saros.spawn(function()
          local ok, err = pcall(within, function()
            saros.run(function()
              local _ <close> = setmetatable({}, { __close = function()
                order[#order + 1] = "undoes"
                h:finish_later(0)
                slow:wait()
                order[#order + 1] = "undone"
              end })
              t:cancel() -- it waits for this one
              never:wait()
            end)
          end)
          order[#order + 1] = not ok and err.cancelled
        end)
        t:wait()
        assert.same({ "undoes", "undone", true }, order)
        g:finish(0)
      end)
  end

  it("a thousand times", function()
    for i = 1, 1000 do assert.equal(i, saros.run(function() return i end)) end
    assert.equal(0, helper.core.counts().tasks)
  end)

  it("does not end before an error in a child is warned of", function()
    local said = helper.warnings(function()
      saros.run(function()
        saros.spawn(function() error "in a child" end)
      end)
    end)
    assert.match("in a child", said)
  end)
end)
