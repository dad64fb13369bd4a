-- op:wait() in threads of copas. Debian has it for older Luas only, and too
-- old: one that a person has installed from elsewhere is tested here.
local found, copas = pcall(require, "copas")

describe("saros.host.copas", function()
  if not found then
    it("suspends", function() pending "there is no copas for this Lua" end)
    return
  end
  if not copas.wakeup then
    it("suspends", function()
      pending((copas._VERSION or "copas") .. " is too old: it has no wakeup")
    end)
    return
  end
  local helper = require "spec.helper"
  require "saros.host.copas"
  local saros, gate = helper.saros, helper.gate

  it("suspends a thread while the others go on", function()
    local g, op = gate()
    local result
    copas.addthread(function() result = op:wait() end)
    copas.addthread(function() g:finish(0) end)
    copas.loop()
    assert.is_true(result)
  end)

  it("keeps the time limit of a wait, and generators whole", function()
    local g, op = gate { run = "lane" }
    local err
    local got = {}
    copas.addthread(function()
      err = select(2, op:wait(0.01))
      for value in coroutine.wrap(function()
        coroutine.yield "first"
        coroutine.yield(op:wait())
      end) do
        got[#got + 1] = value
        if value == "first" then g:finish(0) end
      end
    end)
    copas.loop()
    assert.is_true(err.timeout)
    assert.same({ "first", true }, got)
  end)

  it("wakes each of many for its own operation", function()
    local gates, order = {}, {}
    for i = 1, 20 do
      local g, op = gate()
      gates[i] = g
      copas.addthread(function()
        op:wait()
        order[#order + 1] = i
        if i > 1 then gates[i - 1]:finish(0) end
      end)
    end
    copas.addthread(function() gates[20]:finish(0) end)
    copas.loop()
    for i = 1, 20 do assert.equal(21 - i, order[i]) end
  end)

  it("runs tasks for saros.run", function()
    local result
    copas.addthread(function()
      result = saros.run(function() return saros.sleep(0.001):wait() end)
    end)
    copas.loop()
    assert.is_true(result)
  end)
end)
