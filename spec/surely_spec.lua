-- saros.surely: what is taken away whoever is cancelled meanwhile.
local helper = require "spec.helper"
local outside = require "spec.outside"

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  return pipe:read "a"
end

-- Programs that tell when they have begun (`begun`), and wait until they may go
-- on (`on`): before they do anything, or when they have done it.
local before <const> = [[echo >D/begun; read -r x <D/on; exec REAL "$@"]]
local behind <const> = [[REAL "$@" || exit; echo >D/begun; read -r x <D/on]]

local function gate(d, name, script)
  local real = sh("command -v " .. name):match "%S+"
  outside.write(d .. "/bin/" .. name, "#!/bin/sh\n"
    .. script:gsub("%u+", { D = d, REAL = real }) .. "\n")
  sh("chmod 755 %s/bin/%s", d, name)
end

-- Runs a task in a process of its own, cancelled while such a program waits; what
-- the task's wait says then, and what lies in the directory `at` afterwards.
local function cancelled(name, script, task)
  local said, left
  outside.directory(function(d)
    sh("cd %s; mkdir bin at; chmod 755 . at; mkfifo begun on", d)
    gate(d, name, script)
    local how, code
    said, how, code = outside.run("env", ("PATH=%s/bin:%s"):format(d,
      os.getenv "PATH"), "TMPDIR=" .. d .. "/at", outside.lua, "-e", ([[
      local saros, d = require "saros", %q
      local at = d .. "/at"
      local t = saros.spawn(function() %s end)
      saros.run(function()
        local begun <close> = saros.process { argv = { "cat", d .. "/begun" } }
        saros.any { begun, t }:wait() -- it may have failed before
        if begun:done() then
          t:cancel()
          saros.process { argv = { "sh", "-c", "echo >$0/on", d } }:wait()
        end
        local good, err = t:wait()
        print(good, err and (err.cancelled or err))
      end)]]):format(d, task))
    assert.same({ "exit", 0 }, { how, code }, said)
    left = sh("ls -A %s/at", d)
  end)
  return said, left
end

describe("a cancel", function()
  it("that comes while something is taken away leaves nothing of it", function()
    assert.same({ "nil\ttrue\n", "" }, { cancelled("rm", before, [[
      io.open(at .. "/file", "w"):close()
      require "saros.surely".remove(at .. "/file") ]]) })
  end)

  it("that comes when a directory has been made leaves none", function()
    assert.same({ "nil\ttrue\n", "" }, { cancelled("mktemp", behind, [[
      require "saros.surely".directory(at .. "/one-") ]]) })
  end)

  it("that comes then leaves nothing of doctor's", function()
    assert.same({ "nil\ttrue\n", "" }, { cancelled("mktemp", behind, [[
      local op <close> = require "saros.doctor".start { quick = true,
        state_dir = d .. "/state" }
      assert(op:wait()) ]]) })
  end)

  it("that comes when a database has been checked leaves no copy", function()
    if not pcall(require, "saros.client.sqlite") then
      return pending "this build has no SQLite"
    end
    assert.same({ "nil\ttrue\n", "" }, { cancelled("rm", before, [[
      local sqlite = require "saros.client.sqlite"
      local db <close> = sqlite.open { path = d .. "/db", create = true }
      assert(db:exec "CREATE TABLE t (n)":wait())
      local op <close> = require "saros.writers.sqlite".check(d .. "/db")
      assert(op:wait()) ]]) })
  end)

  it("is raised when it is known how that ended, as is what failed", function()
    assert.same({ "nil\ttrue\n", "" }, { cancelled("rm", before, [[
      local surely = require "saros.surely"
      local result, err, cancel = surely.wait(saros.process { argv = { "rm",
        at .. "/none" } })
      assert(result == nil and err.name == "SAROS_E_EXIT" and cancel.cancelled)
      error(cancel, 0) ]]) })
  end)
end)

describe("what ends by itself", function()
  it("is as a wait would have it", function()
    helper.task(function()
      local surely = require "saros.surely"
      local process = helper.saros.process
      assert.equal("x\n", surely.finish(process { argv = { "echo", "x" } }).stdout)
      local result, err, cancel = surely.wait(process { argv = { "false" } })
      assert.same({ nil, "SAROS_E_EXIT", nil }, { result, err.name, cancel })
      local path, why = surely.directory "/nowhere/at-all-"
      assert.is_nil(path)
      assert.matches("mktemp", why.message)
    end)
  end)
end)
