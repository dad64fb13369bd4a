-- also under valgrind
-- all, any, timeout, retry, scope.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task
local code = saros.code

local function value(v) return saros.spawn(function() return v end) end
local function failing(text)
  return saros.spawn(function() error(text, 0) end)
end

describe("all", function()
  it("gives the first results in order, whoever ends first", function()
    local g1, a = gate()
    local g2, b = gate()
    local all = saros.all { a, value "x", b, saros.spawn(function() return false, 9 end) }
    helper.settle()
    g2:output "2"
    g2:finish(0)
    helper.settle()
    assert.is_false(all:done())
    g1:output "1"
    g1:finish(0)
    assert.same({ 1, "x", 2, true }, (all:wait()))
  end)

  it("of nothing is an empty table, at once", function()
    assert.same({}, (saros.all {}:wait()))
  end)

  it("of the same one twice is fine", function()
    local op = value(1)
    assert.same({ 1, 1 }, (saros.all { op, op }:wait()))
  end)

  it("fails with the first failure, when the others are unwound", function()
    local g, slow = gate { holds = true }
    local all = saros.all { slow, failing "broken" }
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(all:done())
    g:finish(0)
    local no, err = all:wait()
    assert.is_nil(no)
    assert.equal("broken", err.message)
    assert.equal("cancelled", slow:status().state)
  end)

  it("that is cancelled cancels and unwinds them", function()
    local g, slow = gate { holds = true }
    local _, quick = gate()
    local all = saros.all { slow, quick }
    helper.settle()
    all:cancel()
    helper.settle()
    assert.equal("cancelled", quick:status().state)
    assert.is_false(all:done())
    g:finish(0)
    assert.is_true(select(2, all:wait()).cancelled)
  end)

  it("keeps its own list", function()
    local ops = { value(1), value(2) }
    local all = saros.all(ops)
    ops[1], ops[2] = nil, nil
    assert.same({ 1, 2 }, (all:wait()))
  end)

  it("may be of many, and nested", function()
    local ops = {}
    for i = 1, 1000 do ops[i] = value(i) end
    local results = saros.all(ops):wait()
    for i = 1, 1000 do assert.equal(i, results[i]) end
    local nested = value "core"
    for _ = 1, 20 do nested = saros.all { nested } end
    local result = nested:wait()
    for _ = 1, 20 do result = result[1] end
    assert.equal("core", result)
  end)

  it("refuses what is no list of operations", function()
    assert.has_error(function() saros.all(1) end)
    assert.has_error(function() saros.all() end)
    assert.has_error(function() saros.all { 1 } end)
    assert.has_error(function() saros.all { value(1), "x" } end)
    assert.has_error(function() saros.all { value(1), tries = 1 } end)
    assert.has_error(function() saros.all { io.stdout } end)
  end)

  it("fails when a member's handle is closed, and cancels the others", function()
    local _, a = gate()
    local g, b = gate()
    local all = saros.all { a, b }
    helper.settle()
    a:close()
    local no, err = all:wait()
    assert.is_nil(no)
    assert.match("closed", err.message)
    assert.equal(1, g:cancels())
    all = saros.all { b, a } -- no one that is closed already
    assert.match("number 2 of the list", select(2, all:wait()).message)
  end)
end)

describe("any", function()
  it("gives the index and the results of the first that is over", function()
    local g, a = gate()
    local b = saros.spawn(function() return 7, nil, 8 end)
    assert.same({ n = 4, 2, 7, nil, 8 }, table.pack(saros.any { a, b }:wait()))
    assert.equal("running", a:status().state) -- the loser goes on
    assert.equal(0, g:cancels())
    g:finish(0)
  end)

  it("cancels and unwinds the losers only when asked", function()
    local g, slow = gate { holds = true }
    local any = saros.any { slow, value "first", cancel = true }
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(any:done())
    g:finish(0)
    assert.same({ 2, "first" }, { any:wait() })
  end)

  it("fails when the first that is over has failed", function()
    local g, a = gate()
    local no, err = saros.any { a, failing "broken" }:wait()
    assert.is_nil(no)
    assert.equal("broken", err.message)
    g:finish(0)
  end)

  it("that is cancelled leaves them, or cancels them if asked", function()
    local g, a = gate()
    local any = saros.any { a }
    helper.settle()
    any:cancel()
    any:wait()
    assert.equal(0, g:cancels())
    any = saros.any { a, cancel = true }
    helper.settle()
    any:cancel()
    assert.is_true(select(2, any:wait()).cancelled)
    assert.equal(1, g:cancels())
  end)

  it("refuses an empty list, and other things", function()
    assert.has_error(function() saros.any {} end)
    assert.has_error(function() saros.any { 1 } end)
    assert.has_error(function() saros.any { value(1), canel = true } end)
  end)
end)

describe("timeout", function()
  it("passes on the results exactly when it is in time", function()
    local op = saros.spawn(function() return nil, nil, 3 end)
    local t = saros.timeout(op, 1000)
    assert.same({ n = 4, true, nil, nil, 3 }, table.pack(t:wait()))
    assert.same({ n = 3, nil, nil, 3 }, table.pack(t:result()))
  end)

  it("passes on the error when it is in time", function()
    local _, err = saros.timeout(failing "broken", 1000):wait()
    assert.equal("broken", err.message)
    assert.is_nil(err.timeout)
  end)

  it("cancels it, waits for its unwinding, and has err.timeout", function()
    local g, op = gate { holds = true }
    local t = saros.timeout(op, 0)
    while g:cancels() == 0 do saros.step(0.01) end
    helper.settle()
    assert.is_false(t:done())
    g:finish(0)
    local no, err = t:wait()
    assert.is_nil(no)
    assert.is_true(err.timeout)
    assert.equal(op, err.op)
    assert.equal(code.SAROS_E_TIMEOUT, err.code)
    assert.equal("cancelled", op:status().state)
    assert.match("did not end within 0 seconds", tostring(err))
  end)

  it("leaves alone the timeout of what it waits for", function()
    local _, op = gate()
    local _, err = saros.timeout(saros.timeout(op, 0), 1000):wait()
    assert.is_true(err.timeout)
    assert.match("within 0 seconds", err.message)
    assert.equal(op, err.op)
  end)

  it("of what cannot be cancelled has its result", function()
    local g, op = gate { fixed = true }
    local t = saros.timeout(op, 0)
    saros.sleep(0):wait()
    helper.settle()
    assert.is_false(t:done())
    g:output "5"
    g:finish(0)
    assert.equal(5, t:wait())
  end)

  it("that is cancelled cancels it", function()
    local g, op = gate()
    local t = saros.timeout(op, 1000)
    helper.settle()
    t:cancel()
    t:wait()
    assert.equal(1, g:cancels())
  end)

  it("refuses what is no operation and no time", function()
    assert.has_error(function() saros.timeout(1, 1) end)
    assert.has_error(function() saros.timeout(value(1)) end)
    assert.has_error(function() saros.timeout(value(1), "1") end)
    assert.has_error(function() saros.timeout(value(1), 0 / 0) end)
  end)
end)

describe("what is composed, and put down before it has begun", function()
  local ways = {
    all = function(op) return saros.all { value(1), op } end,
    any = function(op) return saros.any { op, cancel = true } end,
    timeout = function(op) return saros.timeout(op, 1000) end,
    nested = function(op)
      return saros.timeout(saros.all { saros.any { op, cancel = true } }, 1000)
    end,
  }

  for name, compose in pairs(ways) do
    it("takes its operations with it: " .. name, function()
      for _, put_down in ipairs { "cancel", "close" } do
        local g, op = gate { holds = true }
        local whole = compose(op)
        if put_down == "cancel" then
          assert.equal(0, whole:cancel())
        else
          saros.spawn(function() whole:close() end)
          while g:cancels() == 0 do saros.step(0.01) end
        end
        helper.settle()
        assert.equal(1, g:cancels())
        if put_down == "cancel" then assert.is_false(whole:done()) end
        g:finish(0)
        op:wait()
        if put_down == "cancel" then
          local no, err = whole:wait()
          assert.is_nil(no)
          assert.is_true(err.cancelled)
        end
        assert.equal("cancelled", op:status().state)
      end
    end)

    it("takes them when its block ends, or by its name: " .. name, function()
      local g, op = gate()
      do
        local _ <close> = compose(op)
      end
      assert.equal(1, g:cancels())
      assert.equal("cancelled", op:status().state)
      assert.equal(0, #helper.warnings(function() end))
    end)
  end

  it("is so by a name that others know, too", function()
    local g, op = gate()
    local whole = saros.timeout(op, 1000, { name = "composed" })
    saros.get "composed":cancel()
    assert.is_true(select(2, whole:wait()).cancelled)
    assert.equal(1, g:cancels())
  end)

  it("leaves those of any that shall go on", function()
    local g, op = gate()
    saros.any { op }:close()
    helper.settle()
    assert.equal(0, g:cancels())
    assert.equal("running", op:status().state)
    g:finish(0)
  end)
end)

describe("retry", function()
  local quick = { delay = 0 }
  local function busy() -- an error that is retryable
    return helper.core.failure("saros", 0x800700AA, "it is busy")
  end

  it("tries again what is retryable, until it succeeds", function()
    local tries = {}
    local op = saros.retry(quick, function(try)
      tries[#tries + 1] = try
      if try == 2 then error(busy()) end
      if try < 4 then return nil, busy() end
      return "done", nil, 3
    end)
    assert.same({ n = 3, "done", nil, 3 }, table.pack(op:wait()))
    assert.same({ 1, 2, 3, 4 }, tries)
  end)

  it("gives up after so many tries, with the last error", function()
    local tries, last = 0, nil
    local op = saros.retry({ tries = 3, delay = 0 }, function()
      tries = tries + 1
      last = busy()
      return nil, last
    end)
    local _, err = op:wait()
    assert.equal(3, tries)
    assert.equal(last, err)
  end)

  it("does not try again what is not retryable", function()
    local tries = 0
    local _, err = saros.retry(quick, function()
      tries = tries + 1
      error("broken", 0)
    end):wait()
    assert.equal(1, tries)
    assert.equal("broken", err.message)
  end)

  it("lets `on` decide: a function, codes, names", function()
    local broken = helper.core.failure("saros", code.SAROS_E_DAMAGED, "x")
    for on, wanted in pairs {
      [function(err) return err == broken end] = 3,
      [{ code.SAROS_E_DAMAGED }] = 3, [{ "SAROS_E_DAMAGED" }] = 3,
      [{ "SAROS_E_LOCKED" }] = 1, [{}] = 1, [function() end] = 1,
    } do
      local tries = 0
      saros.retry({ tries = 3, delay = 0, on = on }, function()
        tries = tries + 1
        return nil, broken
      end):wait()
      assert.equal(wanted, tries)
    end
  end)

  it("waits for an operation that f returns, and leaves its handle open", function()
    local ops = {}
    local op = saros.retry(quick, function(try)
      ops[try] = saros.spawn(function()
        if try < 3 then return nil, busy() end
        return false, "x"
      end)
      return ops[try]
    end)
    assert.same({ n = 2, false, "x" }, (function() op:wait() return table.pack(op:result()) end)())
    assert.equal(3, #ops)
    assert.equal("failed", ops[1]:status().state)
    assert.is_true(ops[3]:ok())
  end)

  it("that is cancelled cancels that operation, and does not try again", function()
    local tries = 0
    local g, op = gate { holds = true }
    local r = saros.retry(quick, function()
      tries = tries + 1
      return op
    end)
    helper.settle()
    r:cancel()
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(r:done())
    g:finish(0)
    assert.is_true(select(2, r:wait()).cancelled)
    assert.equal(1, tries)
  end)

  it("that is cancelled between two tries ends", function()
    local r = saros.retry({ delay = 1000 }, function() return nil, busy() end)
    helper.settle()
    assert.is_false(r:done())
    r:cancel()
    assert.is_true(select(2, r:wait()).cancelled)
  end)

  it("succeeds with nothing, nil, or false", function()
    assert.is_true(saros.retry({}, function() end):wait())
    assert.same({ n = 2, true, false },
      table.pack(saros.retry({}, function() return false end):wait()))
  end)

  it("refuses what is not an option, or not of its type", function()
    local function f() end
    for _, options in ipairs { { trys = 1 }, { tries = "x" }, { tries = 0 },
      { delay = {} }, { on = 1 }, { name = 1 }, 3, "x" } do
      assert.has_error(function() saros.retry(options, f) end)
    end
    assert.has_error(function() saros.retry({}) end)
    assert.has_error(function() saros.retry({}, "f") end)
  end)
end)

describe("scope", function()
  it("returns what f returns, exactly, when all has ended", function()
    for _, run in ipairs { function(f) return f() end, task } do
      local g, op = gate()
      local ended = {}
      local results = run(function()
        return table.pack(saros.scope(function(scope)
          scope:spawn(function(n)
            saros.sleep(0):wait()
            ended[1] = n
          end, "argument")
          assert.equal(op, scope:add(op))
          saros.spawn(function() g:finish(0) end)
          return nil, nil, 3
        end))
      end)
      assert.same({ n = 3, nil, nil, 3 }, results)
      assert.equal("argument", ended[1])
      assert.is_true(op:done())
    end
  end)

  it("raises f's error as it was, when the rest is cancelled and unwound", function()
    for _, run in ipairs { function(f) return f() end, task } do
      local g, op = gate { holds = true }
      local reason = { "reason" }
      saros.spawn(function()
        while g:cancels() == 0 do saros.sleep(0):wait() end
        g:finish(0)
      end)
      local ok, err = pcall(run, function()
        saros.scope(function(scope)
          scope:add(op)
          error(reason)
        end)
      end)
      assert.is_false(ok)
      assert.equal(reason, err)
      assert.equal("cancelled", op:status().state)
      assert.is_true(op:done())
    end
  end)

  it("raises a member's error, when f and the rest are cancelled", function()
    local cancelled
    local ok, err = pcall(saros.scope, function(scope)
      scope:spawn(function() error("broken", 0) end)
      local _, never = gate()
      local fine
      fine, cancelled = pcall(never.wait, never)
      assert(fine, cancelled)
    end)
    assert.is_false(ok)
    assert.equal("broken", err)
    assert.is_true(cancelled.cancelled)
  end)

  it("takes members that come while it waits", function()
    local order = {}
    saros.scope(function(scope)
      scope:spawn(function()
        saros.sleep(0):wait()
        scope:spawn(function()
          saros.sleep(0):wait()
          order[#order + 1] = "grandchild"
        end)
        order[#order + 1] = "child"
      end)
    end)
    assert.same({ "child", "grandchild" }, order)
  end)

  it("in a task that is cancelled cancels and unwinds what is in it", function()
    local g, op = gate { holds = true }
    local t = saros.spawn(function()
      saros.scope(function(scope) scope:add(op) end)
    end)
    helper.settle()
    t:cancel()
    helper.settle()
    assert.equal(1, g:cancels())
    assert.is_false(t:done())
    g:finish(0)
    assert.is_true(select(2, t:wait()).cancelled)
    assert.equal("cancelled", op:status().state)
  end)

  it("nests", function()
    local order = {}
    saros.scope(function(outer)
      outer:spawn(function()
        saros.scope(function(inner)
          inner:spawn(function() saros.sleep(0):wait() order[1] = "inner" end)
        end)
        order[2] = "outer"
      end)
    end)
    assert.same({ "inner", "outer" }, order)
  end)

  it("that was left takes no more", function()
    local kept
    saros.scope(function(scope) kept = scope end)
    assert.has_error(function() kept:spawn(function() end) end)
    local g, op = gate()
    assert.has_error(function() kept:add(op) end)
    assert.equal(1, g:cancels())
    assert.has_error(function() kept:add(1) end)
  end)

  it("warns of nothing", function()
    assert.equal("", helper.warnings(function()
      pcall(saros.scope, function(scope)
        scope:spawn(function() error "one" end)
        scope:spawn(function() error "two" end)
      end)
      helper.settle()
    end))
  end)

  it("refuses what is no function", function()
    assert.has_error(function() saros.scope(1) end)
  end)
end)

describe("a name", function()
  it("is taken by all, any and retry", function()
    local _, op = gate()
    assert.equal(saros.all { op, name = "combine.all" }, saros.get "combine.all")
    assert.equal(saros.any { op, name = "combine.any" }, saros.get "combine.any")
    local retry = saros.retry({ name = "combine.retry" }, function() end)
    assert.equal(retry, saros.get "combine.retry")
    op:cancel()
    for _, name in ipairs { "all", "any", "retry" } do
      saros.get("combine." .. name):close()
    end
  end)
end)
