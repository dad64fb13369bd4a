-- What a child of a fork sees of saros, and that its parent is not
-- disturbed.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros, gate, core = helper.saros, helper.gate, helper.core
local system = outside.system
local FORKED = saros.code.SAROS_E_FORKED

-- Forks; f runs in the child. What it raises is raised here. Returns what it
-- returned, as text.
local function fork(f)
  local from, to = system.pipe()
  local pid = system.fork()
  if pid == 0 then
    system.close(from)
    local ok, err = xpcall(f, function(e)
      return debug.traceback("in the child: " .. tostring(e))
    end)
    system.write(to, (ok and "+" or "-") .. tostring(err))
    system.exit(ok and 0 or 1)
  end
  system.close(to)
  local text, ended = "", false
  local _ <close> = setmetatable({}, { __close = function()
    system.close(from)
    if ended then return end
    system.kill(pid, 9)
    system.wait(pid, outside.patience * 1000)
  end })
  repeat
    local bytes = system.read(from, outside.patience * 1000)
    if not bytes then error("the child hangs", 2) end
    text = text .. bytes
  until bytes == ""
  local how, code = system.wait(pid, outside.patience * 1000)
  ended = how ~= nil
  if text:sub(1, 1) ~= "+" or how ~= "exit" or code ~= 0 then
    error(("%s %s: %s"):format(how, code, text:sub(2)), 2)
  end
  return text:sub(2)
end

local function inert(op)
  local result, err = op:wait()
  assert.is_nil(result)
  assert.equal(FORKED, err.code)
  assert.is_true(op:done())
  assert.is_false(op:ok())
  assert.equal(FORKED, (op:query()))
  assert.equal(FORKED, op:cancel())
  local _, why = op:result()
  assert.equal(FORKED, why.code)
  assert.is_string(tostring(op))
  assert.is_table(op:status())
end

describe("in the child of a fork", function()
  it("what was pending answers SAROS_E_FORKED", function()
    local g, op = gate()
    local worker = gate { run = "lane" }
    local task = saros.spawn(function() return op:wait() end)
    local sleep = saros.sleep(1000)
    local all = saros.all { op, sleep }
    helper.settle()
    worker:entered()
    fork(function()
      for _, inherited in ipairs { op, worker:op(), task, sleep, all } do
        inert(inherited)
      end
    end)
    assert.is_false(op:done())
    g:finish(0)
    worker:finish(0)
    assert.is_true(task:wait())
    assert.is_true(worker:op():wait())
    sleep:cancel()
    assert.is_nil(all:wait())
  end)

  it("every facade's operation answers so", function()
    for _, facade in ipairs { "saros", "vss", "wsb", "vds", "bits" } do
      local g, op = gate { facade = facade, reopenable = facade == "bits" }
      fork(function()
        local result, err = op:wait()
        assert.is_nil(result)
        assert.is_table(err)
        assert.is_true(op:done())
        op:query()
        op:cancel()
        op:close()
      end)
      assert.is_false(op:done())
      g:finish(facade == "bits" and 4 or 0)
      op:wait()
    end
  end)

  it("what was terminal keeps its answer", function()
    local g, good = gate()
    g:output '{"a":[1,2]}'
    g:finish(0)
    local h, bad = gate()
    h:finish(0x80070005, "no")
    local task = saros.spawn(function() return 1, nil, "three" end)
    task:wait()
    local cancelled = saros.sleep(1000)
    cancelled:cancel()
    cancelled:wait()
    fork(function()
      assert.same({ a = { 1, 2 } }, good:wait())
      local _, err = bad:wait()
      assert.equal(0x80070005, err.code)
      assert.same({ 1, nil, "three" }, { task:result() })
      local _, why = cancelled:wait()
      assert.is_true(why.cancelled)
    end)
  end)

  it("everything new works", function()
    saros.sleep(0):wait()
    fork(function()
      assert.is_true(saros.sleep(0.001):wait())
      assert.equal("a", saros.run(function()
        saros.sleep(0.001):wait()
        return saros.spawn(function() return "a" end):wait()
      end))
      local g, op = gate { run = "cpu" }
      g:finish(0)
      assert.is_true(op:wait())
      assert.equal("out\n", saros.process { argv = { "echo", "out" } }:wait().stdout)
      local seen
      saros.sleep(0):on_done(function() seen = true end)
      while not seen do saros.step(1) end
      assert.equal(2, (saros.any { saros.sleep(1000), saros.sleep(0), cancel = true }:wait()))
    end)
  end)

  it("the descriptor is another one", function()
    helper.settle()
    local fd, serial = core.fd()
    assert.equal(serial, select(2, core.fd()))
    assert.is_false(helper.testmod.poll(fd))
    fork(function()
      local _, now = core.fd()
      assert.not_equal(serial, now)
      -- And nothing that happens here is heard by the parent.
      for _ = 1, 20 do saros.sleep(0):wait() end
      saros.spawn(function() end)
    end)
    assert.equal(fd, (core.fd()))
    assert.is_false(helper.testmod.poll(fd))
  end)

  it("inherited names are free, and do not lead to the parent's work", function()
    local g = gate { name = "both" }
    fork(function()
      inert(saros.get "both")
      local op = saros.sleep(0, { name = "both" })
      assert.equal(op, saros.get "both")
      assert.is_true(op:wait())
    end)
    assert.is_false(saros.get "both":done())
    g:finish(0)
    saros.get "both":close()
  end)

  it("its garbage and its closing cancel nothing of the parent's", function()
    local g, op = gate()
    local sleep = saros.sleep(1000)
    local dir_sleep = saros.process { argv = { "sleep", "1000" } }
    fork(function()
      op:close()
      sleep:close()
      do
        local _ <close> = dir_sleep
      end
      g, op, sleep, dir_sleep = nil, nil, nil, nil
      collectgarbage()
      collectgarbage()
      saros.shutdown()
      saros.sleep(0):wait()
      saros.shutdown()
    end)
    assert.equal(0, g:cancels())
    for _, mine in ipairs { op, sleep, dir_sleep } do
      assert.is_false(mine:done())
      mine:cancel()
      mine:wait()
    end
  end)

  it("a lua_close there and here", function()
    local output, how, code = helper.script [[
      local saros = require "saros"
      local testmod = require "testmod"
      local long = saros.sleep(1000)
      local process = saros.process { argv = { "sleep", "1000" } }
      local task = saros.spawn(function() saros.sleep(1000):wait() end)
      saros.step(0)
      for _, close in ipairs { true, true, false } do
        local pid = testmod.system.fork()
        if pid == 0 then
          if close then saros.sleep(0):wait() end -- with and without an engine
          os.exit(5, true)
        end
        local how, code = testmod.system.wait(pid, 60000)
        assert(how == "exit" and code == 5)
      end
      assert(not long:done() and not task:done() and not process:done())
      print "both"
    ]]
    assert.same({ "both\n", "exit", 0 }, { output, how, code })
  end)

  it("a fork inside a running task", function()
    local result, after = saros.run(function()
      local g, op = gate()
      local other = saros.spawn(function() return op:wait() and "other" end)
      saros.sleep(0):wait()
      fork(function()
        -- The child is in the task, too, and goes on with it.
        local _, err = other:wait()
        assert.equal(FORKED, err.code)
        assert.is_true(saros.sleep(0.001):wait())
        assert.equal(3, saros.spawn(function() return 3 end):wait())
        inert(op)
      end)
      g:finish(0)
      return other:wait(), saros.sleep(0.001):wait()
    end)
    assert.same({ "other", true }, { result, after })
  end)

  it("a task that forks and lets the child run to its end", function()
    local output, how, code = helper.script [[
      local saros = require "saros"
      local system = require "testmod".system
      io.stdout:setvbuf "no"
      local pid
      local ok, err = pcall(saros.run, function()
        local other = saros.spawn(function() saros.sleep(0.01):wait() end)
        saros.sleep(0):wait()
        pid = system.fork()
        saros.sleep(0.01):wait()
        local ok, why = other:wait()
        return pid == 0 and why.name or ok
      end)
      if pid == 0 then
        print("child", ok, type(err) == "table" and err.name or err)
        print(saros.sleep(0.001):wait())
        os.exit(0, true)
      end
      print(system.wait(pid, 60000))
      print("parent", ok, err)
    ]]
    -- The task itself is inherited, too: the child's saros.run says so.
    assert.equal("child\tfalse\tSAROS_E_FORKED\ntrue\nexit\t0\nparent\ttrue\ttrue\n",
      output)
    assert.same({ "exit", 0 }, { how, code })
  end)

  it("a daemon's double fork", function()
    local g, op = gate()
    local text = fork(function()
      return fork(function()
        inert(op)
        assert.is_true(saros.sleep(0.001):wait())
        return fork(function()
          saros.sleep(0):wait()
          return "grandchild"
        end)
      end)
    end)
    assert.equal("grandchild", text)
    g:finish(0)
    assert.is_true(op:wait())
  end)

  it("an operation of the child's is the grandchild's to answer FORKED", function()
    fork(function()
      local sleep = saros.sleep(1000)
      fork(function() inert(sleep) end)
      assert.is_false(sleep:done())
      sleep:cancel()
      sleep:wait()
    end)
  end)

  it("a progress iterator that was open ends", function()
    local g, op = gate()
    g:progress(1, 2)
    local next, state = op:progress()
    assert.is_table(next(state))
    fork(function()
      local last = next(state)
      assert.is_table(last)
      assert.is_nil((next(state)))
    end)
    g:finish(0)
    assert.equal("succeeded", next(state).state)
  end)

  it("callbacks of the parent are not called in the child", function()
    local called = 0
    local g, op = gate()
    op:on_done(function() called = called + 1 end)
    fork(function()
      saros.sleep(0.001):wait()
      helper.settle()
      assert.equal(0, called)
    end)
    g:finish(0)
    op:wait()
    while called == 0 do saros.step(1) end
    assert.equal(1, called)
  end)

  it("many forks while operations come and go", function()
    if os.getenv "SAROS_SANITIZER" == "address" then
      pending "its allocator's locks stay as other threads had them"
    end
    local count = os.getenv "SAROS_LONG" and 500 or 50
    local stop = false
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = saros.spawn(function()
        while not stop do
          helper.testmod.work():wait()
          saros.sleep(0):wait()
        end
      end)
    end
    for _ = 1, count do
      saros.step(0.001)
      fork(function() assert(saros.sleep(0):wait()) end)
    end
    stop = true
    for i = 1, 4 do assert(tasks[i]:wait()) end
  end)

  it("the log function is the parent's", function()
    saros.config { log = function() end }
    fork(function()
      saros.sleep(0):wait()
      saros.config { log = function() end }
      saros.config { log = false }
    end)
    saros.config { log = false }
  end)
end)
