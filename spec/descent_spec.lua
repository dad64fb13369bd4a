-- What a task has begun, itself or through others: for a prompt, which cancels
-- a line with all of that, and with nothing else.
-- also under valgrind
local core = require "saros.core"
local saros = require "saros"
require "spec.helper"

local function names_of(list)
  local names = {}
  for i, op in ipairs(list) do names[i] = op:status().label or op:status().kind end
  table.sort(names)
  return names
end

describe("the descent of a root task", function()
  it("is what it and its tasks have begun, and nothing before or beside", function()
    local other = saros.spawn({ name = "other" }, function()
      saros.sleep(0):wait()
      saros.sleep(1000, { name = "of other" }):wait()
    end)
    local before = saros.sleep(1000, { name = "before" })
    local root = core.spawn_root(function()
      local own = saros.sleep(1000, { name = "own" })
      saros.spawn({ name = "child" }, function()
        saros.sleep(0):wait()
        saros.sleep(1000, { name = "of child" }):wait()
      end)
      saros.sleep(0, { name = "over" }):wait()
      own:wait()
    end)
    repeat saros.step(0) until saros.get "of child" and saros.get "of other"
    local list, waits = core.descent(root)
    assert.same({ "child", "of child", "own" }, names_of(list))
    assert.equal("own", waits:status().label)
    for _, op in ipairs(list) do op:cancel() end
    root:cancel()
    root:wait()
    for _, op in ipairs(list) do op:wait() end
    assert.same({}, names_of((core.descent(root))))
    assert.equal("running", before:status().state)
    assert.is_false(other:done())
    -- Another root has a descent of its own.
    local second = core.spawn_root(function() before:wait() end)
    saros.step(0)
    list, waits = core.descent(second)
    assert.same({}, list)
    assert.is_true(waits == before)
    for _, op in ipairs { second, before, other, saros.get "of other" } do
      op:close()
    end
  end)

  it("stays when the root has ended", function()
    local root = core.spawn_root(function() saros.sleep(1000, { name = "left" }) end)
    root:wait()
    local list = core.descent(root)
    assert.same({ "left" }, names_of(list))
    list[1]:close()
    assert.same({}, core.descent(root))
  end)
end)
