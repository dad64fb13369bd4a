-- The plain `lua5.4 -i`, on a terminal of its own. What comes before what is
-- read off the screen.
local outside = require "spec.outside"

local PROMPT = "READY> "

-- A session; f(type, p): type(line) --> what appears until the next prompt.
local function session(f)
  local p <close> = outside.terminal("env", "TERM=dumb", "INPUTRC=/dev/null",
    outside.lua, "-i", "-e", ("_PROMPT = %q"):format(PROMPT), "-l", "saros",
    "-l", "testmod")
  p:expect(PROMPT)
  local function enter(line)
    p:write(line .. "\n")
    p:expect(line)
    p:expect "\n"
    return (p:expect(PROMPT):gsub("\r", ""))
  end
  f(enter, p)
  p:write "os.exit(9, true)\n"
  local _, how, code = p:finish()
  assert.same({ "exit", 9 }, { how, code })
end

describe("the plain REPL", function()
  it("shows what an operation is doing", function()
    session(function(enter)
      enter "g = testmod.gate { kind = 'test.work' } op = g:op()"
      assert.equal("test.work: pending\n", enter "op")
      enter "g:progress(42, 100) g:phase 'counting'"
      assert.equal("test.work: pending 42% (counting)\n", enter "op")
      enter "g:finish(0)"
      assert.matches("^test.work: ", enter "op")
      assert.is_nil(enter "op":find "pending")
      assert.equal("true\n", enter "op:wait()")
    end)
  end)

  it("blocks in a wait while the rest goes on", function()
    session(function(enter)
      enter "g = testmod.gate {}"
      enter "t = saros.spawn(function() print 'task' g:finish(0) end)"
      assert.equal("task\ntrue\n", enter "g:op():wait()")
    end)
  end)

  it("lets C go on between two lines", function()
    session(function(enter, p)
      enter "n = os.tmpname() f = io.open(n, 'w') f:write 'x' f:close()"
      enter "op = saros.copy { from = n, to = n .. '.2' }"
      enter "print 'something else'"
      -- Nobody waits: the copy ends while the prompt is there.
      outside.eventually("the copy's end", function()
        return enter "op:done()" == "true\n"
      end)
      assert.equal("x\n", enter "io.open(n .. '.2'):read 'a'")
      enter "os.remove(n) os.remove(n .. '.2')"
      assert.is_string(p.output)
    end)
  end)

  local function interrupts(line, waiting)
    session(function(enter, p)
      enter "g = testmod.gate {} op = g:op()"
      p:write(line .. "\n")
      p:expect(line)
      p:expect(waiting .. "\r\n")
      p:write "\3"
      p:expect "interrupted!"
      p:expect(PROMPT)
      -- The operation goes on, and so does everything else.
      assert.matches("pending", enter "op")
      assert.equal("true\n", enter "saros.sleep(0.001):wait()")
      assert.equal("1\n", enter "saros.run(function() return 1 end)")
      enter "g:finish(0)"
      assert.equal("true\n", enter "op:wait()")
      -- And again.
      enter "op = saros.sleep(1000)"
      p:write "print(6 * 7) op:wait()\n"
      p:expect "\n42\r\n"
      p:write "\3"
      p:expect "interrupted!"
      p:expect(PROMPT)
      assert.matches("pending", enter "op")
    end)
  end

  it("Ctrl-C ends a wait, not the operation", function()
    interrupts("print('wai' .. 'ting') op:wait()", "waiting")
  end)

  it("Ctrl-C ends a wait with a time limit", function()
    interrupts("print('wai' .. 'ting') op:wait(500)", "waiting")
  end)

  it("Ctrl-C ends saros.run", function()
    interrupts("saros.run(function() print('wai' .. 'ting') op:wait() end)", "waiting")
  end)

  it("Ctrl-C ends saros.step", function()
    interrupts("saros.spawn(op.wait, op) print('wai' .. 'ting') saros.step() saros.step()",
      "waiting")
  end)

  it("Ctrl-C ends a task's wait that blocks", function()
    interrupts("saros.run(function() table.sort({2, 1}, function() " ..
      "print('wai' .. 'ting') return op:wait() end) end)", "waiting")
  end)

  it("Ctrl-C ends a generator's wait", function()
    interrupts("coroutine.wrap(function() print('wai' .. 'ting') op:wait() end)()", "waiting")
  end)

  it("Ctrl-C ends a progress loop", function()
    interrupts("for s in op:progress() do print('wai' .. 'ting') end", "waiting")
  end)

  it("lists what has a name", function()
    session(function(enter)
      enter "g = testmod.gate { name = 'nightly', kind = 'test.backup' }"
      enter "s = saros.sleep(1000, { name = 'alarm' })"
      assert.equal("alarm    saros.sleep: pending\n"
        .. "nightly  test.backup: pending\n", enter "=saros.list()")
    end)
  end)

  it("tells errors in one line", function()
    session(function(enter)
      enter "op = saros.sleep(1000)"
      assert.matches("^saros.sleep has not ended yet; it goes on %[SAROS_S_PENDING[^\n]*\n$",
        enter "select(2, op:wait(0))")
      assert.matches("^saros.sleep has not ended yet", enter "assert(op:wait(0))")
      enter "op:cancel()"
      assert.matches("cancelled", enter "assert(op:wait())")
      assert.matches("on purpose", enter "saros.run(error, 'on purpose')")
      assert.matches("no option 'argb'", enter "saros.process { argb = {} }")
      assert.matches("no such file", enter "assert(saros.copy{from='/no', to='/tmp/x'}:wait())":lower())
    end)
  end)
end)
