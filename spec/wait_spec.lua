-- also under valgrind
-- One wait for everyone, right everywhere.
local helper = require "spec.helper"
local contexts = require "spec.contexts"

local saros, testmod, gate = helper.saros, helper.testmod, helper.gate
local task = helper.task

-- Waits in a context for a task that has not begun; a witness that was
-- spawned before it tells whether the loop turned meanwhile.
local function try(context)
  local turned = false
  local witness = saros.spawn(function() turned = true end)
  local op = saros.spawn(function() return "value", 2 end)
  local seen
  local a, b = context.run(function()
    local x, y = op:wait()
    seen = turned
    return x, y
  end, op)
  if seen == nil then seen = turned end -- the context called op.wait itself
  assert.equal("value", a)
  assert.equal(2, b)
  return seen, witness
end

-- What was left lying is done before the next test.
local function finish(witness) assert(witness:wait()) end

describe("wait in a task", function()
  for _, context in ipairs(contexts) do
    local what = context.yields and "yields" or "blocks, and runs nothing else"
    it(("%s in %s"):format(what, context.name), function()
      local turned, witness
      task(function()
        turned, witness = try(context)
        finish(witness)
      end)
      assert.equal(context.yields, turned)
    end)
  end
end)

describe("wait on the main thread", function()
  for _, context in ipairs(contexts) do
    local what = context.yields and "turns the loop" or "runs nothing else"
    it(("%s in %s"):format(what, context.name), function()
      local turned, witness = try(context)
      finish(witness)
      assert.equal(context.yields, turned)
    end)
  end
end)

describe("wait in a coroutine of the user's own", function()
  for _, context in ipairs(contexts) do
    it("blocks, and runs nothing else, in " .. context.name, function()
      local turned, witness
      local co = coroutine.create(function()
        turned, witness = try(context)
        return "end"
      end)
      local ok, value = coroutine.resume(co)
      assert.is_true(ok, value)
      assert.equal("end", value) -- nothing was yielded to us
      assert.equal("dead", coroutine.status(co))
      finish(witness)
      assert.is_false(turned)
    end)
  end
end)

describe("wait in a generator", function()
  for _, context in ipairs(contexts) do
    it("leaves its values alone: in " .. context.name, function()
      local values, turned, witness = {}, nil, nil
      task(function()
        local generator = coroutine.wrap(function()
          coroutine.yield "first"
          turned, witness = try(context)
          coroutine.yield "second"
          return nil
        end)
        for v in generator do values[#values + 1] = v end
        finish(witness)
      end)
      assert.same({ "first", "second" }, values)
      assert.is_false(turned)
    end)
  end

  it("leaves a generator in a generator alone", function()
    local values = {}
    task(function()
      local outer = coroutine.wrap(function()
        local inner = coroutine.wrap(function()
          for i = 1, 3 do
            saros.spawn(function() end):wait()
            coroutine.yield(i)
          end
        end)
        for i in inner do
          saros.spawn(function() end):wait()
          coroutine.yield(i * 10)
        end
      end)
      for v in outer do values[#values + 1] = v end
    end)
    assert.same({ 10, 20, 30 }, values)
  end)
end)

describe("wait in the main chunk", function()
  -- Each context in a script of its own, where no test runner lies below.
  it("is right in every context", function()
    local output = helper.script [[
      local saros = require "saros"
      local contexts = require "spec.contexts"
      for _, context in ipairs(contexts) do
        local turned, seen = false, nil
        local witness = saros.spawn(function() turned = true end)
        local op = saros.spawn(function() return "value", 2 end)
        local a, b = context.run(function()
          local x, y = op:wait()
          seen = turned
          return x, y
        end, op)
        if seen == nil then seen = turned end
        if a ~= "value" or b ~= 2 or seen ~= context.yields then
          print(context.name, a, b, seen)
        end
        assert(witness:wait())
      end
      print "end"
    ]]
    assert.equal("end\n", output)
  end)

  it("is right in print, whose __tostring waits", function()
    local output = helper.script [[
      local saros = require "saros"
      print(setmetatable({}, { __tostring = function()
        return (saros.spawn(function() return "value" end):wait())
      end }))
      saros.run(function()
        print(setmetatable({}, { __tostring = function()
          return (saros.spawn(function() return "in a task" end):wait())
        end }))
      end)
    ]]
    assert.equal("value\nin a task\n", output)
  end)

  it("is right in a __close that lua_close runs", function()
    for _, way in ipairs { "", "os.exit(true, true)", "error 'left'" } do
      local output = helper.script(([[
        local saros = require "saros"
        io.stdout:setvbuf "no"
        local op = saros.spawn(function() return "value" end)
        local x <close> = setmetatable({}, { __close = function()
          print(op:wait())
          print(saros.sleep(0):wait())
        end })
        %s
      ]]):format(way))
      assert.match("value\ntrue\n", output)
    end
  end)

  it("is right in a __gc that lua_close runs", function()
    local output = helper.script [[
      local saros = require "saros"
      io.stdout:setvbuf "no"
      setmetatable({}, { __gc = function() print(saros.sleep(0):wait()) end })
    ]]
    assert.equal("true\n", output)
  end)
end)

describe("waits inside waits", function()
  local blocking = helper.in_sort -- nothing can yield in there

  it("nest twice, three times and ten times", function()
    local function nested(depth)
      if depth == 0 then return saros.sleep(0):wait() and "bottom" end
      local op = saros.spawn(nested, depth - 1)
      return (blocking(function() return op:wait() end))
    end
    for _, depth in ipairs { 1, 2, 3, 10 } do
      assert.equal("bottom", nested(depth))
      assert.equal("bottom", task(nested, depth))
    end
  end)

  it("that are nested too deeply fail and say so", function()
    local function nested(depth)
      if depth == 0 then return "bottom" end
      local op = saros.spawn(nested, depth - 1)
      return blocking(function() return assert(op:wait()) end)
    end
    local ok, err = pcall(task, nested, 1000)
    assert.is_false(ok)
    assert.match("C stack overflow", tostring(err))
  end)

  it("run a chain of 10,000 tasks that only one of them needs", function()
    local function chain(n)
      if n == 0 then return 0 end
      return saros.spawn(chain, n - 1):wait() + 1
    end
    local op = saros.spawn(chain, 10000)
    assert.equal(10000, blocking(function() return op:wait() end))
  end)

  it("do not resume a task that is not needed, however often they turn", function()
    local turned = 0
    local other = saros.spawn(function()
      for _ = 1, 3 do
        turned = turned + 1
        saros.sleep(0):wait()
      end
    end)
    local op = saros.spawn(function()
      for _ = 1, 20 do saros.sleep(0):wait() end
      return turned
    end)
    assert.equal(true, (blocking(function() return op:wait() end)) == 0)
    other:wait()
  end)

  it("run what the members of an all{} need", function()
    local a = saros.spawn(function() return "a" end)
    local b = saros.spawn(function() return "b" end)
    local both = saros.all { a, b }
    assert.same({ "a", "b" }, (blocking(function() return both:wait() end)))
  end)

  it("run what one of an any{} needs", function()
    local g, never = gate()
    local a = saros.spawn(function() return "a" end)
    local one = saros.any { never, a }
    assert.same({ 2, "a" }, { blocking(function() return one:wait() end) })
    g:finish(0)
  end)
end)

describe("a wait with a time", function()
  it("that has run out leaves the operation alone", function()
    local g, op = gate()
    for _, wait in ipairs {
      function(s) return op:wait(s) end,
      function(s) return task(function() return table.pack(op:wait(s)) end) end,
      function(s) return coroutine.wrap(function() return op:wait(s) end)() end,
    } do
      local no, err = wait(0)
      if type(no) == "table" then no, err = no[1], no[2] end
      assert.is_nil(no)
      assert.is_true(err.timeout)
      assert.equal(saros.code.SAROS_S_PENDING, err.code)
      assert.equal(op, err.op)
      no, err = wait(0.001)
      if type(no) == "table" then no, err = no[1], no[2] end
      assert.is_nil(no)
      assert.is_true(err.timeout)
    end
    assert.equal("running", op:status().state)
    assert.equal(0, g:cancels())
    g:finish(0)
    assert.is_true(op:wait(0))
  end)

  it("has the pending code of the facade", function()
    local pending = {
      saros = "SAROS_S_PENDING", vss = "VSS_S_ASYNC_PENDING",
      wsb = "WSBAPP_ASYNC_IN_PROGRESS", vds = "VDS_E_OPERATION_PENDING",
      bits = "BG_E_PENDING",
    }
    for facade, name in pairs(pending) do
      local g, op = gate { facade = facade }
      local _, err = op:wait(0)
      assert.equal(saros.code[name], err.code)
      assert.equal(name, err.name)
      assert.equal(facade, err.facade)
      assert.is_true(err.timeout)
      g:finish(0)
    end
  end)

  it("takes numbers of any size, and nothing that is none", function()
    local g, op = gate()
    assert.is_true(select(2, op:wait(-1)).timeout)
    assert.is_true(select(2, op:wait(-math.huge)).timeout)
    assert.has_error(function() op:wait "soon" end)
    assert.has_error(function() op:wait {} end)
    assert.has_error(function() op:wait(0 / 0) end)
    g:finish_later(0)
    assert.is_true(op:wait(math.huge))
    assert.is_true(op:wait(nil))
    assert.has_error(function() op:wait "soon" end)
  end)

  it("is in time when the operation ends on another thread", function()
    for _ = 1, 200 do
      local g, op = gate()
      g:finish_later(0)
      assert.is_true(op:wait(30))
    end
    task(function()
      for _ = 1, 200 do
        local g, op = gate()
        g:finish_later(0)
        assert.is_true(op:wait(30))
      end
    end)
  end)
end)

describe("many waits for one operation", function()
  it("all end, whatever they are", function()
    local g, op = gate { facade = "vss" }
    local results = {}
    for i = 1, 50 do
      saros.spawn(function() results[i] = op:wait() end)
    end
    for i = 51, 60 do
      saros.spawn(function()
        results[i] = coroutine.wrap(function() return select(2, op:wait(0)) end)().timeout
      end)
    end
    helper.settle()
    g:output '"done"'
    g:finish(0)
    assert.equal("done", op:wait())
    helper.settle()
    for i = 1, 50 do assert.equal("done", results[i]) end
    for i = 51, 60 do assert.is_true(results[i]) end
  end)

  it("end also on a worker's work", function()
    task(function()
      local ops = {}
      for i = 1, 100 do ops[i] = testmod.work() end
      for i = 1, 100 do assert.is_true(ops[i]:wait()) end
    end)
  end)
end)
