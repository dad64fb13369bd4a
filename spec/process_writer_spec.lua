-- saros.writers.process: shadows of applications that nobody can ask.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"
local process = require "saros.writers.process"

local saros, vss = helper.saros, shared.vss
local code, system = saros.code, outside.system

-- Writes n to `a/first`, then to `b/second`, and again: never is the second
-- ahead. Whatever it does, a copy of both at one instant says so.
local function application(d)
  outside.write(d.root .. "/app.sh", ([[
    n=0
    while :; do
      n=$((n+1))
      echo $n >%s/first
      echo $n >%s/second
    done]]):format(d.a, d.b))
  local p = outside.start("sh", d.root .. "/app.sh")
  shared.until_true(function() return outside.content(d.b .. "/second") end)
  return p
end

local function state(pid)
  local text = outside.content(("/proc/%d/stat"):format(pid))
  return text and text:match "^.*%) (%a)"
end

local function runs(pid)
  local now = state(pid)
  return now == "R" or now == "S" or now == "D"
end

local function shadow(d, more)
  local o = { paths = { d.a, d.b }, provider = "copy", state_dir = d.state }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss.shadow(o)
end

local function writer(d, more)
  local o = { files = { d.a, d.b }, state_dir = d.state }
  for name, item in pairs(more) do o[name] = item end
  return process.writer(o)
end

-- One that is told when all is stopped.
local function witness(freeze)
  return vss.writer { id = shared.id(9), name = "witness", level = "system",
    freeze = freeze }
end

local function root_cause(err)
  while err.cause do err = err.cause end
  return err
end

describe("a shadow of an application that is stopped", function()
  it("is of one instant, and it goes on", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local seen
    local _ <close> = writer(d, { pids = { app.pid } })
    local _ <close> = witness(function() seen = state(app.pid) end)
    for _ = 1, 3 do
      local set <close> = assert(shadow(d):wait())
      assert.equal("T", seen)
      assert.is_true(runs(app.pid))
      local first = outside.content(set[d.a].path .. "/first")
      local second = outside.content(set[d.b].path .. "/second")
      -- It may have been stopped between truncating a file and writing it.
      local a, b = tonumber(first), tonumber(second)
      if a and b then assert.is_true(a == b or a == b + 1) end
      assert.is_true(a ~= nil or b ~= nil)
    end
    assert.equal("", outside.run("find", d.state, "-path", "*/frozen/*"))
  end)

  it("is told by a pidfile, a command or a cgroup", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local pidfile, group = d.root .. "/app.pid", d.root .. "/group"
    outside.write(pidfile, app.pid .. "\n")
    assert(os.execute("mkdir " .. group))
    outside.write(group .. "/cgroup.procs", app.pid .. "\n")
    for _, who in ipairs { { pidfile = pidfile }, { cgroup = group },
      { command = "^sh " .. d.root .. "/app[.]sh$" },
      { pidfile = pidfile, command = "app[.]sh" } }
    do
      local seen
      local _ <close> = writer(d, who)
      local _ <close> = witness(function() seen = state(app.pid) end)
      local set <close> = assert(shadow(d):wait())
      assert.equal("T", seen)
      assert.is_true(runs(app.pid))
      assert(set)
    end
  end)

  -- A real control group, of the one hierarchy or the first there is.
  local function control_group()
    local text = outside.run("sh", "-c", [[
      for d in /sys/fs/cgroup /sys/fs/cgroup/*; do
        at=$d/saros-$$
        test -e $d/cgroup.procs && mkdir $at 2>/dev/null && echo $at && exit
      done]])
    local at = text:match "^(/%S+)\n$"
    return at and setmetatable({ path = at }, { __close = function()
      outside.eventually("the control group is empty", function()
        return os.execute(("find %s -depth -type d -exec rmdir {} \\; 2>/dev/null")
          :format(at)) and not io.open(at .. "/cgroup.procs")
      end)
    end })
  end

  it("is told by a real cgroup, with those below it", function()
    local group <close> = control_group()
    if not group then
      pending "no control group can be made here"
      return
    end
    local d <close> = shared.directory()
    local app <close> = application(d)
    local worker <close> = outside.start("sleep", "1000")
    assert(os.execute(("mkdir %s/below && echo %d >%s/cgroup.procs && "
      .. "echo %d >%s/below/cgroup.procs"):format(group.path, app.pid,
      group.path, worker.pid, group.path)))
    local seen
    local _ <close> = writer(d, { cgroup = group.path })
    local _ <close> = witness(function()
      seen = state(app.pid) .. state(worker.pid)
    end)
    local set <close> = assert(shadow(d):wait())
    assert(set)
    assert.equal("TT", seen)
    assert.is_true(runs(app.pid) and runs(worker.pid))
  end)

  it("may be meant by two writers of one set", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local other <close> = outside.start("sleep", "1000")
    local seen
    local _ <close> = writer(d, { pids = { app.pid }, files = { d.a } })
    local _ <close> = writer(d, { pids = { app.pid, other.pid },
      files = { d.b }, id = shared.id(5), name = "other" })
    local _ <close> = witness(function()
      seen = state(app.pid) .. state(other.pid)
    end)
    for _ = 1, 3 do
      local set <close> = assert(shadow(d):wait())
      assert.equal("TT", seen)
      assert.is_true(runs(app.pid) and runs(other.pid))
      for _, w in ipairs(set.writers) do assert.equal(0, w.failure) end
    end
    assert.equal("", outside.run("find", d.state, "-path", "*/frozen/*"))
  end)

  it("says what it has", function()
    local d <close> = shared.directory()
    local _ <close> = writer(d, { pids = { system.pid() }, name = "mine",
      exclude = { d.a .. "/cache" } })
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    assert(s:gather_writer_metadata():wait())
    local said = s:writers()[1]
    helper.contains({ id = process.id, name = "mine" }, said)
    local c = said.components[1]
    assert.same({ "mine", "filegroup" }, { c.name, c.type })
    assert.same({ d.a, d.b }, c.files)
  end)
end)

describe("what is known of its files", function()
  local wsb = require "saros.wsb"

  it("is that they are there", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local _ <close> = writer(d, { pids = { app.pid },
      files = { d.a, d.b .. "/second" } })
    local set <close> = assert(shadow(d):wait())
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    assert(s:gather_writer_metadata():wait())
    local function checked(snapshots)
      return wsb.check_consistency { writer = process.id,
        component = "process", metadata = s:writers()[1],
        sources = { d.a, d.b }, snapshots = snapshots }:wait()
    end
    assert(checked { set[d.a].path, set[d.b].path })
    local empty = d.root .. "/empty"
    assert(os.execute("mkdir " .. empty))
    local ok, err = checked { set[d.a].path, empty }
    assert.is_nil(ok)
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.match("second is not there", err.message)
    local kind = require "saros.writers.kind".of(process.id)
    assert.equal("process", kind.name)
    local c = { files = { "/x/y" } }
    assert(kind.check(c, { at = function() return d.a end }))
    assert.is_nil((kind.check(c, { at = function() return empty .. "/no" end })))
  end)
end)

describe("process.writer", function()
  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { pids = { 1 } }, { files = { "/x" } },
      { files = { "x" }, pids = { 5 } }, { files = { "/x" }, pids = { "5" } },
      { files = { "/x" }, pids = { 5 }, pidfile = "/x" },
      { files = { "/x" }, pidfile = "x" }, { files = { "/x" }, command = "" },
      { files = { "/x" }, pids = { 5 }, other = 1 } }
    do
      assert.has_error(function() process.writer(bad) end)
    end
    assert.has_error(function() process.writer() end)
  end)

  local function refused(d, who)
    local _ <close> = writer(d, who)
    local set, err = shadow(d):wait()
    assert.is_nil(set)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.equal("", d.left())
    return root_cause(err).message
  end

  it("fails the shadow when they may not be stopped", function()
    local d <close> = shared.directory()
    assert.match("it is this one", refused(d, { pids = { system.pid() } }))
    assert.match("it is init", refused(d, { pids = { 1 } }))
    assert.match("no such process", refused(d, { command = "^none of this$" }))
    assert.match("does the application run",
      refused(d, { pidfile = d.root .. "/none" }))
    outside.write(d.root .. "/pid", "text")
    assert.match("no number", refused(d, { pidfile = d.root .. "/pid" }))
    assert.match("regular expression", refused(d, { command = "((" }))
    local _ <close> = writer(d, { pidfile = d.root .. "/none",
      allow_none = true })
    local set <close> = assert(shadow(d):wait())
    assert(set)
  end)

  it("fails the shadow when one does not stand still to the end", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local _ <close> = writer(d, { pids = { app.pid } })
    do
      local _ <close> = witness(function()
        system.kill(app.pid, 18) -- SIGCONT
        shared.until_true(function() return runs(app.pid) end)
      end)
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.match("somebody else continued it", root_cause(err).message)
    end
    assert.equal("", d.left())
    assert(shadow(d):wait()):close()
    assert.is_true(runs(app.pid))
  end)

  it("fails the shadow when one is continued and stopped again", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local _ <close> = writer(d, { pids = { app.pid } })
    local between
    do
      local _ <close> = witness(function()
        local was = outside.content(d.a .. "/first")
        system.kill(app.pid, 18) -- SIGCONT
        shared.until_true(function()
          between = outside.content(d.a .. "/first")
          return between ~= was
        end)
        system.kill(app.pid, 19) -- SIGSTOP
        shared.until_true(function() return state(app.pid) == "T" end)
      end)
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.match(("process %d %%(sh%%) ran while the shadow was made")
        :format(app.pid), root_cause(err).message)
    end
    assert.is_truthy(between)
    assert.equal("", d.left())
    assert.is_true(runs(app.pid))
    assert(shadow(d):wait()):close()
  end)

  it("fails the shadow when one goes on, and ends", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local _ <close> = writer(d, { pids = { app.pid } })
    local _ <close> = witness(function()
      system.kill(app.pid, 18) -- SIGCONT
      shared.until_true(function() return runs(app.pid) end)
      system.kill(app.pid, 15)
      shared.until_true(function() return (state(app.pid) or "Z") == "Z" end)
    end)
    local set, err = shadow(d):wait()
    assert.is_nil(set)
    assert.match("ended while it should stand still", root_cause(err).message)
    assert.equal("", d.left())
  end)

  it("lets them go when the shadow fails elsewhere, or is cancelled", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local _ <close> = writer(d, { pids = { app.pid } })
    do
      local _ <close> = witness(function() return nil, "no" end)
      assert.is_nil((shadow(d):wait()))
      assert.is_true(runs(app.pid))
    end
    local gate, op = helper.gate()
    local entered = false
    local _ <close> = witness(function()
      entered = true
      op:wait()
    end)
    local run = shadow(d)
    shared.until_true(function() return entered end)
    assert.equal("T", state(app.pid))
    assert.equal(0, run:cancel())
    assert.is_nil((run:wait()))
    assert.is_true(runs(app.pid))
    gate:finish(0)
  end)

  it("lets them go when it is closed", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local w = writer(d, { pids = { app.pid } })
    local _ <close> = witness(function() w:close() end)
    assert.is_nil((shadow(d):wait()))
    shared.until_true(function() return runs(app.pid) end)
  end)
end)

describe("whoever is stopped", function()
  -- A process that holds the application and says so.
  local function holder(d, app)
    local p = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local w = require "saros.writers.process".writer { pids = { %d },
        files = { %q }, state_dir = %q }
      local v = saros.vss.writer { id = %q, name = "witness", level = "system",
        freeze = function()
          print "held"
          io.stdout:flush()
          saros.sleep(1000):wait()
        end }
      saros.vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()]])
      :format(app.pid, d.a, d.state, shared.id(9), d.a, d.state))
    p:expect "held\n"
    return p
  end

  it("goes on when its host is killed", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local p <close> = holder(d, app)
    assert.equal("T", state(app.pid))
    system.kill(p.pid, 9)
    shared.until_true(function() return runs(app.pid) end)
    p:finish()
    assert(vss.reap { state_dir = d.state }:wait())
  end)

  it("goes on with the next reap when the guard was killed, too", function()
    local d <close> = shared.directory()
    local app <close> = application(d)
    local p <close> = holder(d, app)
    local record = outside.run("sh", "-c",
      ("cat $(find %s -path '*/frozen/*.json')"):format(d.state))
    local guard = tonumber(record:match '"guard": {%s*"pid": (%d+)')
    assert(guard, record)
    system.kill(guard, 9)
    shared.until_true(function()
      return (state(guard) or "Z") == "Z"
    end)
    system.kill(p.pid, 9)
    p:finish()
    assert.equal("T", state(app.pid))
    local report = assert(vss.reap { state_dir = d.state }:wait())
    assert.match("was left stopped by a process that was killed",
      table.concat(report.thawed, "\n"))
    shared.until_true(function() return runs(app.pid) end)
    assert.equal("", outside.run("find", d.state, "-path", "*/frozen/*"))
  end)
end)
