-- What may go wrong around a run: a cancel at any step, hooks of all kinds, who
-- else is there, a state that cannot be written.
local helper = require "spec.helper"
local volumes = require "spec.volumes"
local vss_case = require "spec.vss"
local case = require "spec.workflow_case"
local record = require "saros.record"

local saros, app, outside = helper.saros, case.app, case.outside

if case.missing then
  describe("a workflow", function()
    it("withstands what goes wrong", function() pending(case.missing) end)
  end)
  return
end

local function last(t)
  return record.read(record.list { state_dir = t.state }[1].path)
end

-- Runs it; before a step is done, f(name, lane) is called in its task.
local function stepwise(t, more, f)
  local op
  op = t.workflow(more):run { on_begin = function(run)
    local take = run.step
    function run.step(self, o, work)
      return take(self, o, function(at)
        f(o.name, o.lane, op)
        return work(at)
      end)
    end
  end }
  return op:wait()
end

local function locks(location)
  local repo <close> = case.shared.repository.open { location = location,
    password = case.shared.PASSWORD }
  return #repo:locks()
end

-- Who is told writes it down.
local function listener(t)
  return { command = { "sh", "-c",
    'echo "$SAROS_EVENT" >>"$0/told"; cat >>"$0/text"', t.root } }
end

describe("a workflow that is cancelled", function()
  local function sqlite(t)
    local db = t.data .. "/app.db"
    if not outside.content(db) then app.database(db, 20) end
    return { verify = true, keep = { last = 3 }, prune = true,
      writers = { sqlite = { databases = { db } } } }
  end

  for _, name in ipairs { "open", "sources", "writers", "shadow", "check",
    "backup", "complete", "late", "verify", "forget", "prune" } do
    it("in its step '" .. name .. "' leaves nothing, and the next one is whole",
      function()
        case.with(function(t)
          local more = sqlite(t)
          saros.run(function()
            local run, err = stepwise(t, more, function(at, _, op)
              if at == name then op:cancel() end
            end)
            assert.is_nil(run)
            assert.is_true(err.cancelled)
            helper.contains({ state = "cancelled", id = last(t).id }, err.run)
            local at = err.run.steps[#err.run.steps]
            assert.same({ name, "cancelled" }, { at.name, at.state })
          end)
          assert.equal("cancelled", last(t).state)
          assert.equal("", t.left())
          assert.equal(0, locks(t.a))
          app.execute(t.data .. "/app.db", "INSERT INTO t VALUES (99)")
          assert.equal("succeeded", assert(t.run(more)).state)
        end)
      end)
  end

  it("when it has a shadow, and does not know it, lets that go", function()
    case.with(function(t)
      local steps = require "saros.wsb.steps"
      local shadow, op = steps.shadow, nil
      local _ <close> = setmetatable({}, { __close = function()
        steps.shadow = shadow
      end })
      function steps.shadow(o)
        local job = shadow(o)
        op:cancel()
        return job
      end
      saros.run(function()
        op = t.workflow():run()
        local _, err = op:wait()
        assert.is_true(err.cancelled)
        assert.equal("", t.left())
      end)
    end)
  end)

  it("when all is done, says what it came to", function()
    case.with(function(t)
      saros.run(function()
        local op
        op = t.workflow { notify = { on = "recovered", command = "true" },
          finally = function()
            -- Who tells is waited for behind the end of the record.
            saros.spawn(function()
              while last(t).state == "running" do saros.sleep(0.001):wait() end
              op:cancel()
            end)
          end }:run()
        local notify = require "saros.notify"
        local check, gate, never = notify.check, helper.gate()
        local _ <close> = setmetatable({}, { __close = function()
          notify.check = check
          gate:finish(0)
        end })
        function notify.check() return never end
        local _, err = op:wait()
        assert.is_true(err.cancelled)
        assert.equal("succeeded", err.run.state)
        assert.equal("succeeded", last(t).state)
        assert.equal(2, #err.run.targets)
      end)
    end)
  end)

  it("in a hook has the other targets' ends all the same", function()
    case.with(function(t)
      local log = {}
      saros.run(function()
        local op
        op = t.workflow { to = {
          { location = t.a, finally = function() log[#log + 1] = "a" end },
          { location = t.b, finally = function() log[#log + 1] = "b" end,
            after = function()
              op:cancel()
              saros.sleep(1000):wait()
            end } } }:run()
        local _, err = op:wait()
        assert.is_true(err.cancelled)
      end)
      assert.same({ "b", "a" }, log)
    end)
  end)
end)

describe("a workflow's hook", function()
  -- Whether somebody reads there, and does not for ever: a program waits for
  -- nobody.
  local function is_read(path)
    return outside.run("env", "-u", "LD_PRELOAD", "dd", "if=/dev/null",
      "of=" .. path, "oflag=nonblock", "conv=notrunc"):find "No such device"
      == nil
  end

  it("may say very much, and leave a service behind, but no child", function()
    case.with(function(t)
      local child, service = t.root .. "/child", t.root .. "/service"
      assert(os.execute(("mkfifo %s %s"):format(child, service)))
      local _ <close> = setmetatable({}, { __close = function()
        os.execute(("echo | env -u LD_PRELOAD dd of='%s' oflag=nonblock "
          .. "conv=notrunc 2>/dev/null"):format(service))
      end })
      local run = assert(t.run { to = { t.a }, before = { "sh", "-c", ([[
        head -c 50000000 /dev/zero
        setsid sh -c 'exec 3<>"$0"; echo >"$0".begun; read line <&3' '%s' &
        until test -e '%s.begun'; do sleep 0.01; done
        exec 3<>'%s'; cat <&3 & exit 0]]):format(service, service, child) },
        after = function() return ("x"):rep(1 << 20) end })
      assert.equal("succeeded", run.state)
      assert.is_true(#outside.content(last(t).path) < 65536)
      assert.is_false(is_read(child))
      assert.is_true(is_read(service))
    end)
  end)

  it("that fails with very much is told in short", function()
    case.with(function(t)
      local run = assert(t.run { to = { t.a }, after = { "sh", "-c",
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1" },
        finally = { "sh", "-c", 'echo "${#SAROS_ERROR} $SAROS_STATE"' } })
      assert.equal("partial", run.state)
      assert.is_true(#run.warnings[1] < 20000)
      assert.equal("0 succeeded\n", run.hooks[2].result.stdout)
    end)
  end)

  it("that hangs is ended when its time is over, with all that it began",
    function()
      case.with(function(t)
        local mark = t.root .. "/gate"
        assert(os.execute("mkfifo " .. mark))
        local run, err = t.run { timeout = { hook = 0.2 }, before = { "sh", "-c",
          "exec 3<>'" .. mark .. "'; cat <&3 & cat <&3" } }
        assert.is_nil(run)
        assert.match("did not end within 0.2 seconds", err.message)
        assert.is_false(is_read(mark))
      end)
    end)

  it("knows how it ended, and what is partial has failed", function()
    case.with(function(t)
      local state = { "sh", "-c", 'echo "$SAROS_STATE $SAROS_ERROR"' }
      local o = { after = state, failed = state, finally = state,
        to = { { location = t.a, after = state, failed = state },
          { location = t.b, after = state, failed = state } } }
      local said = {}
      local function read(run)
        said = {}
        for _, h in ipairs(run.hooks) do
          said[#said + 1] = h.name .. " " .. h.result.stdout:gsub("\n$", "")
        end
        return table.concat(said, "|")
      end
      assert.equal("after succeeded |after succeeded |after succeeded |"
        .. "finally succeeded ", read(assert(t.run(o))))
      o.to[2].location = t.root .. "/nowhere"
      local text = read(assert(t.run(o)))
      assert.match("^failed failed there is no repository[^|]*|"
        .. "after succeeded |failed partial there is no repository[^|]*|"
        .. "finally partial there is no repository", text)
    end)
  end)

  it("knows what was stored", function()
    case.with(function(t)
      local said
      local run = assert(t.run { after = function(run)
        said = run.targets[2].version
      end })
      assert.equal(run.targets[2].version, said)
    end)
  end)

  it("that says the password is not told, nor kept", function()
    case.with(function(t)
      local secret = "Xq7-vault-9f3e-Zk2"
      os.execute(("rm -r %s"):format(t.a))
      case.shared.cheap_at(t.a, secret)
      outside.write(t.password, secret .. "\n")
      local run, err = t.run { to = { t.a }, notify = listener(t),
        before = { "sh", "-c", "echo oh $(cat " .. t.password .. ") >&2; exit 3" },
        finally = function() return "it is " .. secret end }
      assert.is_nil(run)
      assert.is_nil(tostring(err):find(secret, 1, true), tostring(err))
      local told = outside.content(t.root .. "/text")
      assert.match("oh …", told)
      assert.is_nil(told:find(secret, 1, true))
      assert.is_nil(outside.content(last(t).path):find(secret, 1, true))
      assert.equal("it is …", err.run.hooks[2].result)
    end)
  end)

  it("goes to the source, not to what its function returns", function()
    case.with(function(t)
      local _, err = t.run { to = { t.a }, sources = { function()
        return { path = t.data, before = { "true" } }
      end } }
      assert.match("'before' goes to the source itself", err.message)
    end)
  end)
end)

describe("a workflow's repository", function()
  it("that is gone before it is verified fails alone", function()
    case.with(function(t)
      local run = assert(stepwise(t, { verify = true, keep = { last = 1 } },
        function(name, lane)
          if name == "verify" and lane == "target:" .. t.b then
            assert(os.rename(t.b, t.b .. "-gone"))
          end
        end))
      assert.equal("partial", run.state)
      assert.equal("succeeded", run.targets[1].state)
      assert.equal("partial", run.targets[2].state)
      assert.is_string(run.targets[2].version)
      assert.is_string(run.targets[2].error.message)
      assert.is_nil(run.targets[2].removed)
      assert(os.rename(t.b .. "-gone", t.b))
      assert.equal("succeeded", assert(t.run()).state)
    end)
  end)

  it("is open, whatever becomes of the password's file meanwhile", function()
    case.with(function(t)
      local run = assert(t.run { verify = true, sources = { { path = t.data,
        before = function() outside.write(t.password, "other\n") end } } })
      assert.equal("succeeded", run.state)
      local _, err = t.run()
      assert.equal("SAROS_E_WRONG_PASSWORD", err.name)
    end)
  end)

  it("may be that of several at once", function()
    case.with(function(t)
      saros.run(function()
        local ops = {}
        for i = 1, 3 do
          ops[i] = t.workflow { name = "w" .. i, to = { t.a }, verify = true,
            keep = { last = 1 }, prune = true }:run()
        end
        for i = 1, 3 do
          assert.equal("succeeded", assert(ops[i]:wait()).state)
        end
      end)
      assert.equal(3, #t.versions(t.a))
    end)
  end)

  it("is not waited for by who has no patience", function()
    case.with(function(t)
      saros.run(function()
        local gate, held = helper.gate()
        local entered, inside = helper.gate()
        local _ <close> = vss_case.writer(1, { components = { {
          type = "filegroup", name = "files", files = { t.data } } },
          freeze = function()
            entered:finish(0)
            held:wait()
          end })
        local first = t.workflow { name = "first" }:run()
        inside:wait()
        local _, err = t.run { name = "second", patience = 0 }
        assert.equal("VSS_E_SNAPSHOT_SET_IN_PROGRESS", err.name)
        gate:finish(0)
        assert(first:wait())
      end)
    end)
  end)

  it("that has no version lets no log be cut, asked for or not", function()
    case.with(function(t)
      local succeeded
      local _ <close> = vss_case.writer(1, { components = { {
        type = "filegroup", name = "files", files = { t.data } } },
        backup_complete = function(e)
          succeeded = e.succeeded and #e.succeeded or 0
        end })
      assert(t.run({ type = "full" }, { only = t.b }))
      assert.equal(0, succeeded)
      assert(t.run { type = "full" })
      assert.equal(1, succeeded)
    end)
  end)
end)

-- f(t) with a state on a disk of its own, of 64 KiB.
local function small(f)
  local why
  case.with(function(t)
    local said, good = volumes.run("mount -t tmpfs -o size=64k,mode=700 none '%s'",
      t.state)
    if not good then
      why = "no tmpfs: " .. said
      return
    end
    local _ <close> = setmetatable({}, { __close = function()
      volumes.run("umount '%s'", t.state)
    end })
    f(t)
  end)
  return why
end

describe("a state that cannot be written", function()
  local function said(t)
    local text = outside.content(t.root .. "/told") or ""
    os.remove(t.root .. "/told")
    return text
  end

  it("because its disk is full is told", function()
    local why = small(function(t)
      local o = { to = { t.a }, notify = listener(t) }
      assert.equal("succeeded", assert(t.run(o)).state)
      volumes.run("head -c 100000 /dev/zero >'%s/fill' 2>/dev/null", t.state)
      local _, err = t.run(o)
      assert.match("no space left", err.message)
      assert.equal("failed\n", said(t))
      assert.match("no space left", outside.content(t.root .. "/text"))
      os.remove(t.state .. "/fill")
      assert.equal("succeeded", assert(t.run(o)).state)
      assert.equal(2, #t.versions(t.a))
    end)
    if why then return pending(why) end
  end)

  it("because that becomes full meanwhile fails no run", function()
    local why = small(function(t)
      local full
      local run = assert(stepwise(t, { verify = true, to = { t.a } },
        function(name)
          if name == "backup" and not full then
            full = true
            volumes.run("head -c 100000 /dev/zero >'%s/fill' 2>/dev/null",
              t.state)
          end
        end))
      assert.equal("succeeded", run.state)
      assert.equal(1, #t.versions(t.a))
      os.remove(t.state .. "/fill")
      assert.equal("succeeded", assert(t.run()).state)
    end)
    if why then return pending(why) end
  end)

  it("because it is read-only is told", function()
    local why = small(function(t)
      local o = { to = { t.a }, notify = listener(t) }
      for _, before in ipairs { false, true } do
        if before then assert(t.run(o)) end
        local text, good = volumes.run("mount -o remount,ro '%s'", t.state)
        assert(good, text)
        local _, err = t.run(o)
        assert.match("[Rr]ead%-only file system", err.message)
        assert.equal("failed\n", said(t))
        assert.is_not_nil(t.workflow():plan():wait())
        volumes.run("mount -o remount,rw '%s'", t.state)
      end
    end)
    if why then return pending(why) end
  end)
end)

describe("a dry run", function()
  it("touches nothing", function()
    case.with(function(t)
      local db = t.data .. "/app.db"
      app.database(db, 20)
      local o = { keep = { last = 1 }, prune = true, drill = true,
        verify = true, writers = { sqlite = { databases = { db } } },
        before = { "touch", t.root .. "/called" } }
      local function everything()
        return (outside.run("sh", "-c", [[cd "$1" && find . ! -path './state*' \
          -printf '%p %i %s %T@ %C@\n' | sort; find state -type f]], "sh",
          t.root))
      end
      local before = everything()
      assert.equal("", before:match "state/[^\n]*" or "")
      local text = tostring(assert(t.workflow(o):plan():wait()))
      for _, part in ipairs { "call touch, before the run",
        "hold sqlite app.db still", "verify " .. t.a, "prune " .. t.b,
        "as a drill" } do
        assert.truthy(text:find(part, 1, true), text)
      end
      assert.equal(before, everything())
      assert(t.run { to = { t.a } })
      before = everything()
      assert(t.workflow(o):plan():wait())
      assert.equal(before, everything())
    end)
  end)
end)
