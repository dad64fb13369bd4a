-- saros.process from Lua. What is measured in descriptors, signals and memory
-- is in spec/c/test_process*.c; here is what a script sees.

local helper = require "spec.helper"
local outside = require "spec.outside"
local saros = helper.saros

local function sh(text, options)
  local o = { argv = { "sh", "-c", text } }
  for k, v in pairs(options or {}) do o[k] = v end
  return saros.process(o)
end

-- A grandchild that was killed is a zombie until init has seen to it.
local function lives(pid)
  local file = io.open(("/proc/%s/status"):format(pid))
  if not file then return false end
  local state = file:read("a"):match "State:%s*(%a)"
  file:close()
  return state ~= "Z" and state ~= "X" and state ~= nil
end

describe("saros.process", function()
  it("gives what it wrote and how it ended", function()
    local r = assert(sh("echo out; echo err >&2"):wait())
    assert.equal(0, r.status)
    assert.equal("out\n", r.stdout)
    assert.equal("err\n", r.stderr)
  end)

  it("takes bytes for standard input, and /dev/null without", function()
    local bytes = ("\0\n\255x"):rep(100000)
    local op = saros.process {
      argv = { "cat" }, stdin = bytes, limit = #bytes
    }
    assert.is_true(bytes == assert(op:wait()).stdout)
    assert.equal("", assert(sh("cat"):wait()).stdout)
  end)

  it("fails with the status, and says what stderr said last", function()
    local op = sh "echo first >&2; echo 'no such table' >&2; exit 3"
    local result, err = op:wait()
    assert.is_nil(result)
    assert.equal(saros.code.SAROS_E_EXIT, err.code)
    assert.truthy(err.message:find("no such table", 1, true))
    assert.equal(3, op:status().status)
    assert.equal(3, assert(sh("exit 3", { any_status = true }):wait()).status)
  end)

  it("says which signal killed it", function()
    local op = sh "kill -9 $$"
    local _, err = op:wait()
    assert.equal(saros.code.SAROS_E_SIGNAL, err.code)
    assert.equal(9, op:status().signal)
  end)

  it("fails, and does not raise, when there is no such program", function()
    local op = saros.process { argv = { "/nowhere/at/all" } }
    local result, err = op:wait()
    assert.is_nil(result)
    assert.equal(0x80070002, err.code)
    assert.truthy(tostring(err):find("/nowhere/at/all", 1, true))
  end)

  it("changes the environment as told", function()
    local r = assert(sh("echo $A-${HOME-none}-${PATH+path}",
      { env = { A = "b", HOME = false } }):wait())
    assert.equal("b-none-path\n", r.stdout)
    r = assert(saros.process {
      argv = { "/usr/bin/env" }, clear_env = true, env = { X = "1" }
    }:wait())
    assert.equal("X=1\n", r.stdout)
  end)

  it("runs in a directory", function()
    assert.equal("/\n", assert(sh("pwd", { cwd = "/" }):wait()).stdout)
    local _, err = sh("pwd", { cwd = "/nowhere/at/all" }):wait()
    assert.equal(0x80070002, err.code)
  end)

  it("keeps no more than the limit, and says so", function()
    local r = assert(sh("seq 1 100000; seq 1 100000 >&2",
      { limit = 100 }):wait())
    assert.equal(100, #r.stdout)
    assert.equal("1\n2\n3\n", r.stdout:sub(1, 6))
    assert.equal("100000\n", r.stderr:sub(-7))
    assert.is_true(r.stdout_truncated)
    assert.is_true(r.stderr_truncated)
  end)

  it("is read line by line while it runs", function()
    local lines = {}
    saros.run(function()
      local op <close> = sh("echo a; echo; printf 'no newline'",
        { stdout = "lines" })
      for line in op:lines() do lines[#lines + 1] = line end
      assert(op:wait())
    end)
    assert.same({ "a", "", "no newline" }, lines)
  end)

  it("may be read by hand", function()
    local op <close> = sh("echo a; echo b", { stdout = "lines" })
    local lines = op:lines()
    assert.equal("a", lines())
    assert.equal("b", lines(op)) -- whatever it is given
    assert.is_nil(lines(1, 2))
    assert(op:wait())
    local progress = op:progress()
    assert.equal("succeeded", progress().state)
  end)

  it("is held up by a reader who is slow, and loses nothing", function()
    local op <close> = sh("seq 1 50000", { stdout = "lines" })
    local sum, other = 0, 0
    saros.run(function()
      saros.spawn(function()
        while not op:done() do
          other = other + 1
          saros.sleep(0):wait()
        end
      end)
      for line in op:lines() do sum = sum + tonumber(line) end
    end)
    assert.equal(50000 * 50001 // 2, sum)
    assert.is_true(other > 0)
  end)

  it("hands stdout and stderr out apart", function()
    local op <close> = sh("echo o1; echo e1 >&2; echo o2; echo e2 >&2",
      { stdout = "lines", stderr = "lines" })
    local out, err = {}, {}
    saros.run(function()
      saros.spawn(function()
        for line in op:lines "stderr" do err[#err + 1] = line end
      end)
      for line in op:lines() do out[#out + 1] = line end
    end)
    assert.same({ "o1", "o2" }, out)
    assert.same({ "e1", "e2" }, err)
  end)

  it("is the standard input of another", function()
    local from = sh("seq 1 100000", { stdout = "stream" })
    local to = saros.process { argv = { "wc", "-l" }, stdin = from }
    local results = assert(saros.all { from, to }:wait())
    assert.equal("100000\n", results[2].stdout)
    assert.has_error(function()
      saros.process { argv = { "cat" }, stdin = from }
    end)
  end)

  it("is ended after its time, with all it has started", function()
    local timeout, child = 0.2, nil
    repeat -- until it had the time to start something
      local op = sh("sleep 1000 & echo $!; wait",
        { timeout = timeout, stdout = "lines" })
      for line in op:lines() do child = line end
      local _, err = op:wait()
      assert.equal(saros.code.SAROS_E_TIMEOUT, err.code)
      timeout = timeout * 2
    until child or timeout > 30
    assert.is_false(lives(child))
  end)

  it("is gone when the wait for its cancel is over", function()
    local op = sh("trap '' TERM; echo ready; while :; do sleep 0.01; done",
      { stdout = "lines", grace = 0.2 })
    for _ in op:lines() do break end
    local pid = op:status().pid
    assert.equal(0, op:cancel())
    local _, err = op:wait()
    assert.is_true(err.cancelled)
    assert.is_nil(io.open(("/proc/%d/status"):format(pid)))
  end)

  it("does not outlive a clean exit, not even when it ignores TERM", function()
    local output = helper.script [[
      local saros = require "saros"
      local op = saros.process {
        argv = { "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.01; done" },
        stdout = "lines",
      }
      for line in op:lines() do print(line) break end
    ]]
    local pid = output:match "^(%d+)"
    assert.is_truthy(pid, output)
    -- At the latest the kernel ends it with its parent.
    outside.eventually("its end", function() return not lives(pid) end)
  end)

  it("refuses what it does not understand", function()
    for _, bad in ipairs {
      {}, { argv = {} }, { argv = { 1, {} } }, { argv = "ls" },
      { argv = { "ls" }, cmd = "x" }, { argv = { "ls" }, stdout = "file" },
      { argv = { "ls" }, stdin = 5 }, { argv = { "ls" }, timeout = -1 },
      { argv = { "ls" }, env = 5 }, { argv = { "l\0s" } },
      { argv = { "ls" }, stdin = saros.sleep(0) },
    } do
      assert.has_error(function() saros.process(bad) end)
    end
  end)

  it("is found by its name", function()
    local op <close> = sh("exec sleep 1000", { name = "spec.sleeper" })
    assert.equal(op, saros.get "spec.sleeper")
    assert.has_error(function() sh("true", { name = "spec.sleeper" }) end)
  end)
end)
