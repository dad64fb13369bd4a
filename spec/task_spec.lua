-- also under valgrind
-- Tasks: how they begin, what they give back, how they fail.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

describe("spawn", function()
  it("never starts the task inside spawn", function()
    local began = false
    local op = saros.spawn(function() began = true end)
    assert.is_false(began)
    assert.is_true(op:wait())
    assert.is_true(began)
    task(function()
      began = false
      local inner = saros.spawn(function() began = true end)
      assert.is_false(began)
      inner:wait()
      assert.is_true(began)
    end)
  end)

  it("starts tasks in the order they were spawned", function()
    local order = {}
    local last
    for i = 1, 10 do
      last = saros.spawn(function() order[#order + 1] = i end)
    end
    last:wait()
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
  end)

  it("passes arguments exactly", function()
    local function count(...) return select("#", ...), ... end
    assert.same({ n = 4, 3, nil, "a", nil },
      table.pack(saros.spawn(count, nil, "a", nil):wait()))
    assert.equal(0, (saros.spawn(count):wait()))
    local many = {}
    for i = 1, 5000 do many[i] = i end
    local results = table.pack(saros.spawn(count, table.unpack(many)):wait())
    assert.equal(5001, results.n)
    assert.equal(5000, results[5001])
  end)

  it("takes what can be called, and nothing else", function()
    local callable = setmetatable({}, { __call = function(_, x) return x end })
    assert.equal("x", (saros.spawn(callable, "x"):wait()))
    for _, no in ipairs { 42, "f", {}, true } do
      assert.has_error(function() saros.spawn(no) end)
      assert.has_error(function() saros.run(no) end)
    end
    assert.has_error(function() saros.spawn() end)
    assert.has_error(function() saros.spawn(nil) end)
  end)
end)

describe("the origin of a task", function()
  local function here() return debug.getinfo(2, "l").currentline end

  it("is where its function is written, until it has ended", function()
    local _, g = gate()
    local op = saros.spawn(function() g:wait() end)
    local at = ("task_spec.lua:%d$"):format(here() - 1)
    assert.match(at, op:status().origin)
    helper.settle()
    assert.match(at, op:status().origin)
    local seen
    saros.spawn(function() seen = op:status().origin end):wait()
    assert.match(at, seen)
    op:close()
    op = saros.spawn(function() return 1 end)
    op:wait()
    assert.is_nil(op:status().origin)
  end)

  it("is nobody else's, nor that of a function in C", function()
    assert.is_nil(select(2, gate()):status().origin)
    local op = saros.spawn(print)
    assert.is_nil(op:status().origin)
    op:close()
  end)
end)

describe("the results of a task", function()
  local function results(...)
    local values = table.pack(...)
    return saros.spawn(function() return table.unpack(values, 1, values.n) end)
  end

  local cases = {
    { "nothing", table.pack(), table.pack(true) },
    { "one value", table.pack(7), table.pack(7) },
    { "three values", table.pack(1, 2, 3), table.pack(1, 2, 3) },
    { "a trailing nil", table.pack(1, nil), table.pack(1, nil) },
    { "nil", table.pack(nil), table.pack(true, nil) },
    { "false", table.pack(false), table.pack(true, false) },
    { "false and more", table.pack(false, "x", nil), table.pack(true, false, "x", nil) },
    { "nil, nil", table.pack(nil, nil), table.pack(true, nil, nil) },
    { "nil, nil, 3", table.pack(nil, nil, 3), table.pack(true, nil, nil, 3) },
  }
  for _, case in ipairs(cases) do
    local name, returned, waited = table.unpack(case)
    it(("come from wait and result as they should: %s"):format(name), function()
      local op = results(table.unpack(returned, 1, returned.n))
      assert.same(waited, table.pack(op:wait()))
      assert.same(returned, table.pack(op:result()))
      assert.same(waited, table.pack(op:wait())) -- and again
      assert.is_true(op:ok())
      task(function()
        local inner = results(table.unpack(returned, 1, returned.n))
        assert.same(waited, table.pack(inner:wait()))
        assert.same(returned, table.pack(inner:result()))
      end)
    end)
  end

  it("are the same objects", function()
    local t = {}
    local op = results(t)
    assert.equal(t, op:wait())
    assert.equal(t, op:result())
  end)

  it("may be many", function()
    local op = saros.spawn(function()
      local t = {}
      for i = 1, 20000 do t[i] = i end
      return table.unpack(t)
    end)
    assert.equal(20000, select("#", op:wait()))
    assert.equal(20000, (select(20000, op:result())))
  end)

  it("are not there before the end", function()
    local op = results(1)
    local no, err = op:result()
    assert.is_nil(no)
    assert.is_true(err.timeout)
    assert.equal(saros.code.SAROS_S_PENDING, err.code)
    op:wait()
  end)
end)

describe("a task fails", function()
  local function failure(f, ...)
    local op = saros.spawn(f, ...)
    local no, err = op:wait()
    assert.is_nil(no)
    assert.is_false(op:ok())
    assert.is_true(op:done())
    assert.equal("failed", op:status().state)
    assert.equal(err.code, (op:query()))
    return err, op
  end

  it("when it returns nil and an error", function()
    local err = failure(function() return nil, "no luck" end)
    assert.equal("no luck", err.message)
    assert.equal("no luck", err.value)
    local object = { code = 7 }
    err = failure(function() return nil, object end)
    assert.equal(object, err.value)
  end)

  it("when it raises a string", function()
    local err, op = failure(function() error "on purpose" end)
    assert.match("task_spec.lua:%d+: on purpose", err.message)
    assert.equal(saros.code.SAROS_E_LUA, err.code)
    assert.equal("SAROS_E_LUA", err.name)
    assert.equal("saros", err.facade)
    assert.match("failed SAROS_E_LUA", tostring(op))
  end)

  it("when it raises a table, nil, a number or nothing", function()
    local t = {}
    assert.equal(t, failure(function() error(t) end).value)
    assert.equal("nil", failure(function() error(nil) end).message)
    assert.equal("nil", failure(function() error() end).message)
    assert.equal(12, failure(function() error(12) end).value)
    assert.equal(false, failure(function() error(false) end).value)
  end)

  it("with an error object, and it goes on as it is", function()
    local _, given = saros.spawn(function() error "first" end):wait()
    assert.equal(given, failure(function() error(given) end))
    assert.equal(given, failure(function() return nil, given end))
    local g, op = gate { facade = "vss" }
    g:finish(saros.code.VSS_E_BAD_STATE)
    local err = failure(function() return op:wait() end)
    assert.equal(saros.code.VSS_E_BAD_STATE, err.code)
    assert.equal("vss", err.facade)
  end)

  it("also with an error whose __tostring fails or waits", function()
    local bad = setmetatable({}, { __tostring = function() error "again" end })
    local err = failure(function() error(bad) end)
    assert.equal(bad, err.value)
    local slow = setmetatable({}, { __tostring = function()
      return (saros.spawn(function() return "slow" end):wait())
    end })
    assert.equal("slow", failure(function() error(slow) end).message)
  end)

  it("and its error object has what an error object has", function()
    local err, op = failure(function() error "on purpose" end)
    assert.equal(op, err.op)
    assert.is_false(err.retryable)
    assert.is_nil(err.cancelled)
    assert.is_nil(err.timeout)
    assert.match("on purpose %[SAROS_E_LUA 0xA5A50007%]", tostring(err))
  end)

  it("when it yields on its own account: it raises there", function()
    local went_on = false
    local err = failure(function()
      coroutine.yield "mine"
      went_on = true
    end)
    assert.match("yield without an operation", err.message)
    assert.is_false(went_on)
    assert.match("task_spec", err.message)
    -- As the last thing it does, and as all it does.
    assert.match("yield without an operation",
      failure(function() return coroutine.yield() end).message)
    assert.match("yield without an operation", failure(coroutine.yield).message)
  end)

  it("when it yields, and may catch that", function()
    local op = saros.spawn(function()
      local ok, err = pcall(function()
        coroutine.yield()
        return "never"
      end)
      assert(saros.spawn(function() end):wait())
      return ok, err
    end)
    local _, ok, err = op:wait()
    assert.is_false(ok)
    assert.match("yield without an operation", err)
  end)

  it("when it yields: its own debug hook stays", function()
    local function yields()
      return pcall(function()
        coroutine.yield()
        return "never"
      end)
    end
    task(function()
      local lines = 0
      local function hook() lines = lines + 1 end
      debug.sethook(hook, "l")
      assert.is_false(yields())
      local before = lines
      local now, mask, count = debug.gethook()
      debug.sethook()
      assert.same({ hook, "l", 0 }, { now, mask, count })
      assert.is_true(lines > before)
    end)
    task(function()
      debug.sethook(error, "", 1000000)
      for _ = 1, 2 do assert.is_false(yields()) end
      local now, mask, count = debug.gethook()
      debug.sethook()
      assert.same({ error, "", 1000000 }, { now, mask, count })
      assert.is_false(yields())
      assert.is_nil((debug.gethook()))
    end)
  end)
end)

describe("an error in a task", function()
  it("that nobody waited for goes to warn, once", function()
    local said = helper.warnings(function()
      saros.spawn(function() error "nobody hears this" end)
      helper.settle()
    end)
    assert.match("^saros: error in a task nobody waited for: ", said)
    assert.match("nobody hears this", said)
    assert.match("traceback", said)
    local _, times = said:gsub("nobody waited", "")
    assert.equal(1, times)
    assert.equal("", helper.warnings(function() end))
  end)

  it("that was returned goes to warn, too", function()
    local said = helper.warnings(function()
      saros.spawn(function() return nil, "returned" end)
      helper.settle()
    end)
    assert.match("returned", said)
  end)

  local function quiet(what, look)
    it("is not warned of when somebody " .. what, function()
      assert.equal("", helper.warnings(function()
        local op = saros.spawn(function() error "on purpose" end)
        look(op)
        helper.settle()
      end))
    end)
  end
  quiet("waited", function(op) op:wait() end)
  quiet("waits in a task", function(op) saros.spawn(function() op:wait() end) end)
  quiet("asked for the result", function(op) helper.settle() op:result() end)
  quiet("looked at the status", function(op) helper.settle() op:status() end)
  quiet("asked whether it is ok", function(op) helper.settle() op:ok() end)
  quiet("queried", function(op) helper.settle() op:query() end)
  quiet("has on_done", function(op) op:on_done(function() end) end)
  quiet("waits for all", function(op) saros.all { op }:wait() end)
  quiet("waits for any", function(op) saros.any { op }:wait() end)

  it("goes to warn in a plain interpreter", function()
    local output = helper.script([[
      local saros = require "saros"
      saros.spawn(function() error "heard" end)
      while saros.step(0) do end
    ]], "-W")
    assert.match("Lua warning: saros: error in a task nobody waited for: .*heard", output)
  end)

  it("does not stop the others", function()
    local ran = false
    helper.warnings(function()
      saros.spawn(function() error "first" end)
      saros.spawn(function() ran = true end)
      helper.settle()
    end)
    assert.is_true(ran)
  end)
end)

describe("the <close> variables of a task", function()
  local function closer(log, name)
    return setmetatable({}, { __close = function(_, err)
      assert(saros.spawn(function() end):wait()) -- it may wait
      log[#log + 1] = name
      log[name] = err
    end })
  end

  it("are closed at its end, in order", function()
    local log = {}
    saros.run(function()
      local a <close>, b = closer(log, "a"), nil -- luacheck: ignore
      local c <close> = closer(log, "c") -- luacheck: ignore
      saros.sleep(0):wait()
    end)
    assert.same({ "c", "a" }, log)
  end)

  it("are closed when it fails, and get the error", function()
    local log = {}
    local _, err = saros.spawn(function()
      local a <close> = closer(log, "a") -- luacheck: ignore
      saros.sleep(0):wait()
      error({ "reason" })
    end):wait()
    assert.equal(err.value, log.a)
  end)

  it("are closed when it is cancelled, and get the reason", function()
    local log = {}
    local _, never = gate()
    local op = saros.spawn(function()
      local a <close> = closer(log, "a") -- luacheck: ignore
      never:wait()
    end)
    helper.settle()
    op:cancel()
    op:wait()
    assert.same("a", log[1])
    assert.is_true(log.a.cancelled)
  end)

  it("are closed when the C stack runs out", function()
    local log = {}
    local function deep()
      local op <close> = saros.spawn(deep) -- luacheck: ignore
      table.sort({ 2, 1 }, function(a, b) op:wait() return a < b end)
    end
    local _, err = saros.spawn(function()
      local a <close> = closer(log, "a") -- luacheck: ignore
      deep()
    end):wait()
    assert.equal("a", log[1])
    assert.is_nil(err)
  end)
end)

describe("many tasks", function()
  it("10,000 that wait for each other in a chain, forwards", function()
    local function chain(n)
      return n == 0 and 0 or saros.spawn(chain, n - 1):wait() + 1
    end
    assert.equal(10000, task(chain, 10000))
  end)

  it("10,000 that wait for each other in a chain, backwards", function()
    local first, op = gate()
    local last = op
    for _ = 1, 10000 do
      local before = last
      last = saros.spawn(function() return before:wait() end)
    end
    helper.settle()
    first:output "42"
    first:finish(0)
    assert.equal(42, last:wait())
  end)

  it("10,000 at once", function()
    task(function()
      local ops = {}
      for i = 1, 10000 do
        ops[i] = saros.spawn(function() saros.sleep(0):wait() return i end)
      end
      for i = 1, 10000 do assert.equal(i, ops[i]:wait()) end
    end)
  end)

  it("leave nothing behind", function()
    local function round()
      task(function()
        for _ = 1, 100 do
          saros.spawn(function()
            saros.sleep(0):wait()
            local op <close> = saros.spawn(function() helper.gate() end)
            op:wait(0)
          end)
        end
      end)
      collectgarbage()
      collectgarbage()
    end
    round()
    round()
    local before, fds = collectgarbage "count", helper.testmod.fds()
    for _ = 1, 20 do round() end
    assert.is_true(collectgarbage "count" - before < 4)
    assert.equal(fds, helper.testmod.fds())
    assert.equal(0, helper.core.counts().tasks)
  end)
end)
