-- also under valgrind
-- Garbage never cancels; leaving is clean in every way there is (3.3.5).
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

describe("the collector", function()
  it("never cancels: work that nobody holds goes on", function()
    local g = gate()
    g:op()
    collectgarbage()
    collectgarbage()
    assert.equal(0, g:cancels())
    assert.equal("running", g:op():status().state)
    g:finish(0)
  end)

  it("leaves a task alone that nobody holds", function()
    local g, op = gate()
    local went_on
    saros.spawn(function()
      op:wait()
      went_on = true
    end)
    helper.settle()
    collectgarbage()
    collectgarbage()
    g:finish(0)
    helper.settle()
    assert.is_true(went_on)
  end)

  it("takes thousands of handles of pending, ended and cancelled ones", function()
    for round = 1, 3 do
      for i = 1, 3000 do
        local op = saros.sleep(i % 3 == 0 and 0 or 0.001 * (i % 3))
        if i % 7 == round then op:cancel() end
        local g = gate()
        g:op()
        if i % 2 == 0 then g:finish(0) end
      end
      collectgarbage()
      collectgarbage()
    end
  end)

  it("may run in every mode at any time", function()
    local function mixed()
      task(function()
        local ops = {}
        for i = 1, 20 do
          ops[i] = saros.spawn(function()
            local g, op = gate()
            g:finish_later(0)
            saros.any { op, saros.sleep(0) }:wait()
            for _ in op:progress() do end
            pcall(function()
              saros.scope(function(scope)
                scope:spawn(function() error { i } end)
              end)
            end)
            return tostring(op), op:status()
          end)
          ops[i]:on_done(function() local _ = { i } end)
        end
        assert(saros.all(ops):wait())
      end)
    end
    mixed()
    local mode = collectgarbage "generational"
    mixed()
    collectgarbage(mode == "generational" and "incremental" or mode)
    local pause, step = collectgarbage("setpause", 0), collectgarbage("setstepmul", 1000)
    mixed()
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", step)
    -- A finalizer in each allocation: everything is collected and waits.
    local runs = true
    local function again()
      setmetatable({}, { __gc = function()
        saros.sleep(0):wait()
        if runs then again() end
      end })
    end
    again()
    for _ = 1, 3 do mixed() end
    runs = false
    collectgarbage()
  end)

  it("keeps what a waiting task needs, and nothing when it has ended", function()
    local weak = setmetatable({}, { __mode = "k" })
    local g, op = gate()
    do
      local t = saros.spawn(function()
        local big = {}
        weak[big] = true
        op:wait()
        return #big
      end)
      helper.settle()
      t = nil -- luacheck: ignore
    end
    collectgarbage()
    assert.is_table((next(weak)))
    g:finish(0)
    helper.settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil((next(weak)))
  end)
end)

describe("leaving a script", function()
  local body = [[
    local saros = require "saros"
    local testmod = require "testmod"
    io.stdout:setvbuf "no"
    local held = saros.sleep(1000)
    saros.sleep(1000)
    local g = testmod.gate { run = "lane" }
    g:op():on_done(print)
    saros.spawn(function() saros.sleep(1000):wait() end)
    local t = saros.spawn(function()
      local x <close> = setmetatable({}, { __close = function() end })
      g:op():wait()
    end)
    for _ = 1, 3 do saros.step(0) end
    saros.all { held, t }
    local w = testmod.work()
    %s
    print "left"
  ]]
  local ways = {
    ["by its end"] = { "", "left\n", 0 },
    ["by an error"] = { "print 'left' error 'on purpose'", "^left\nlua.*on purpose", 1 },
    ["by os.exit()"] = { "print 'left' os.exit(3)", "left\n", 3 },
    ["by os.exit(true, true)"] = { "print 'left' os.exit(3, true)", "left\n", 3 },
    ["by os.exit in a task"] = {
      "saros.run(function() saros.sleep(0):wait() print 'left' os.exit(3, true) end)",
      "left\n", 3 },
    ["by os.exit in a wait that blocks"] = {
      "table.sort({2, 1}, function() saros.spawn(function() print 'left' os.exit(3, true) "
        .. "end):wait() end)", "left\n", 3 },
    ["by os.exit in a finalizer"] = {
      "setmetatable({}, {__gc = function() print 'left' os.exit(3, true) end}) collectgarbage()",
      "left\n", 3 },
    ["by an error in a run"] = {
      "print 'left' saros.run(function() error 'on purpose' end)",
      "^left\nlua.*on purpose", 1 },
    ["after shutdown"] = { "saros.shutdown()", "left\n", 0 },
    ["with <close> pending"] = { "local x <close> = saros.sleep(1000) "
      .. "local y <close> = t", "left\n", 0 },
  }
  for name, way in pairs(ways) do
    it(name .. " is clean, with everything in flight", function()
      for _ = 1, 3 do
        local output, how, status = helper.script(body:format(way[1]))
        assert.match(way[2], output)
        assert.equal("exit", how)
        assert.equal(way[3], status)
      end
    end)
  end

  it("cancels what nobody else holds", function()
    -- The gate's own thread waits in C for its cancel: without one the worker
    -- would hold the engine for ever, and the script its two seconds.
    local output = helper.script [[
      local saros = require "saros"
      saros.sleep(100000)
      saros.spawn(function() saros.sleep(100000):wait() end)
      saros.step(0)
      print "left"
    ]]
    assert.equal("left\n", output)
  end)
end)

describe("shutdown", function()
  it("cancels, unwinds and lets go; and then all may begin again", function()
    local output = helper.script [[
      local saros = require "saros"
      local testmod = require "testmod"
      local counts = require "saros.core".counts
      local threads = testmod.threads()
      local closed
      for round = 1, 3 do
        local t = saros.spawn(function()
          local x <close> = setmetatable({}, { __close = function(_, err)
            closed = err
            saros.sleep(0):wait()
          end })
          saros.sleep(100000):wait()
        end)
        local s = saros.sleep(100000)
        saros.step(0)
        assert(saros.shutdown() == true)
        assert(closed.cancelled)
        assert(t:status().state == "cancelled" and t:done())
        assert(s:status().state == "cancelled", s:status().state)
        assert(counts().tasks == 0)
        repeat until counts().users == 0 -- the last one lets go after the end
        saros.shutdown()
      end
      saros.run(function() saros.sleep(0):wait() end)
      saros.shutdown(1)
      print(pcall(saros.run, function() saros.shutdown() end))
      print "end"
    ]]
    assert.match("false.*shutdown was called inside a task\nend\n$", output)
  end)
end)

describe("after a fork", function()
  it("what was inherited is inert, and a new engine starts", function()
    local g, pending = gate { facade = "vss" }
    local done = saros.sleep(0)
    done:wait()
    local t = saros.spawn(function() pending:wait() end)
    helper.settle()
    local fd = saros.fd()
    local status = helper.testmod.fork(function()
      if pending:query() ~= saros.code.SAROS_E_FORKED then return 1 end
      local no, err = pending:wait()
      if no or err.code ~= saros.code.SAROS_E_FORKED then return 2 end
      if not done:ok() or done:wait() ~= true then return 3 end
      no, err = t:wait()
      if no or err.code ~= saros.code.SAROS_E_FORKED then return 4 end
      if saros.run(function() return saros.sleep(0):wait() end) ~= true then return 5 end
      if saros.spawn(function() return 7 end):wait() ~= 7 then return 6 end
      pending:close()
      t:close()
      collectgarbage()
      if saros.fd() == fd and false then return 8 end
      return 42
    end)
    assert.equal(42, status)
    assert.equal("running", pending:status().state)
    g:finish(0)
    assert.is_true(t:wait())
  end)
end)
