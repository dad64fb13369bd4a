-- Workflows: their options, a run from its first hook to its last, and what is
-- left when a part of it fails.
local helper = require "spec.helper"
local volumes = require "spec.volumes"
local vss_case = require "spec.vss"
local case = require "spec.workflow_case"
local record = require "saros.record"

local saros, app, outside = helper.saros, case.app, case.outside

if case.missing then
  describe("saros.workflow", function()
    it("runs", function() pending(case.missing) end)
  end)
  return
end

local function raises(message, options)
  local ok, err = pcall(saros.workflow, options)
  assert.is_false(ok)
  assert.truthy(tostring(err):find(message, 1, true), tostring(err))
  return err
end

local function last(t)
  return record.read(record.list { state_dir = t.state }[1].path)
end

local function op_of(run, name, lane)
  for _, op in ipairs(run.ops) do
    if op.name == name and (not lane or op.lane == lane) then return op end
  end
end

-- A writer that concerns the data, and what it hears.
local function writer(t, more)
  local o = { components = { { type = "filegroup", name = "files",
    files = { t.data } } } }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss_case.writer(1, o)
end

describe("saros.workflow's options", function()
  local good = { name = "n", sources = "/srv", to = "/mnt",
    password = { file = "/p" } }
  local function with(more)
    local o = {}
    for name, item in pairs(good) do o[name] = item end
    for name, item in pairs(more) do o[name] = item end
    return o
  end

  it("are checked when it is made, and named by their paths", function()
    raises("option 'name' is missing", {})
    raises("option 'sources' is missing", { name = "n" })
    raises("option 'to' is missing", { name = "n", sources = "/srv" })
    raises("no option 'tos'; 'to' perhaps?", with { tos = {} })
    raises("writers.sqlite has no option 'database'; 'databases' perhaps?",
      with { writers = { sqlite = { database = {} } } })
    raises("writers.sqlite: option 'databases': table expected, got string",
      with { writers = { sqlite = { databases = "/x" } } })
    raises("writers has no option 'sqlit'; 'sqlite' perhaps?",
      with { writers = { sqlit = {} } })
    raises("writers[1]: { kind = ", with { writers = { {} } })
    raises("sources[2]: an absolute path without '..' and line breaks "
      .. "expected, got etc",
      with { sources = { "/srv", "etc" } })
    raises("sources[1] has no option 'paths'; 'path' perhaps?",
      with { sources = { { paths = "/" } } })
    raises("sources: nothing is to be", with { sources = {} })
    raises("to[2] has no option 'passwort'; 'password' perhaps?",
      with { to = { "/a", { location = "/b", passwort = "x" } } })
    raises("to: /a is there twice", with { to = { "/a", "/a" } })
    raises("to[1].keep has no option 'weakly'; 'weekly' perhaps?",
      with { to = { { location = "/a", keep = { weakly = 1 } } } })
    raises("keep: no rule", with { keep = {} })
    raises("prune: true, false", with { prune = "sometimes" })
    raises("timeout.shadow: seconds, or a time such as \"5m\" expected, got",
      with { timeout = { shadow = "soon" } })
    for _, more in ipairs { { prune = 86400 }, { prune = "10d" },
      { drill = "1d12h" }, { drill = { every = 60, timeout = { start = 60 } } },
      { timeout = { shadow = "5m", hook = 60 }, patience = "1h" } } do
      assert(saros.workflow(with(more)))
    end
    raises("drill.every: true, false", with { drill = "often" })
    raises("verify: true, a share", with { verify = "most" })
    raises("retry has no option 'trys'; 'tries' perhaps?",
      with { retry = { trys = 1 } })
    raises("timeout has no option 'shadows'; 'shadow' perhaps?",
      with { timeout = { shadows = 1 } })
    raises("before: a program expected", with { before = {} })
    raises("notify: option 'on': there is no 'fail'",
      with { notify = { mail = "root", on = "fail" } })
    raises("sources[1].failed[2]: string expected",
      with { sources = { { path = "/", failed = { "a", 1 } } } })
    raises("name: a short name", with { name = "a/b" })
    raises("name: a short name", with { name = "a\27b" })
    for _, share in ipairs { "0%", "101%", "0/7", "8/7", "0", -1 } do
      raises("verify: true, a share", with { verify = share })
    end
    for _, share in ipairs { "100%", "0.5%", "7/7", "5G", 4096, true } do
      assert(saros.workflow(with { verify = share }))
    end
    raises("keep.weekly: a number of versions", with { keep = { weekly = "x" } })
    raises("keep.daily: a number of versions", with { keep = { daily = -2 } })
    raises("to[1].keep.within_daily: a span such as", with { to = {
      { location = "/a", keep = { within_daily = "3x" } } } })
    assert(saros.workflow(with { keep = { last = "unlimited", daily = 0,
      within = "1y5m7d2h" } }))
    raises("timeout.shadow: more than 0", with { timeout = { shadow = 0 } })
    raises("timeout.shadow: seconds", with { timeout = { shadow = -1 } })
    raises("patience: seconds", with { patience = -1 })
    raises("retry.delay: 0 or more", with { retry = { delay = -1 } })
    raises("retry.factor: 0 or more", with { retry = { factor = 0 / 0 } })
    raises("password has no option 'fil'; 'file' perhaps?",
      with { password = { fil = "/p" } })
    raises("to[1].password: a text, or one of", with { to = {
      { location = "/a", password = {} } } })
    raises("password: a text, or one of",
      with { password = { file = "/p", env = "P" } })
    raises("to: /a is there twice", with { to = { "/a", "/a/" } })
    raises("notify: option 'url': http://", with { notify = { url = "x.org" } })
    assert(saros.workflow(with { notify = { url = "https://x.org/hook" } }))
    local _, err = pcall(function() saros.workflow {} end)
    assert.match("workflow_spec.lua:%d+:", err)
    assert.equal("saros.workflow: n, 1 sources to 1 repositories",
      tostring(saros.workflow(good)))
  end)

  it("show no password of a location", function()
    case.with(function(t)
      local _, err = t.run { to = { "rest:http://u:geheim@127.0.0.1:9/x" },
        timeout = { open = "1s" } }
      assert.is_nil(tostring(err):find "geheim")
      local text = outside.content(record.list { state_dir = t.state }[1].path)
      assert.is_nil(text:find "geheim")
      assert.truthy(text:find("rest:http://127.0.0.1:9/x", 1, true))
    end)
  end)
end)

describe("a workflow", function()
  it("stores one shadow in several repositories", function()
    case.with(function(t)
      local _ <close>, log = writer(t)
      local run = assert(t.run { verify = true })
      helper.contains({ state = "succeeded", partial = false, name = "nightly",
        consistency = "application" }, run)
      assert.equal(2, #run.targets)
      assert.equal(run.targets[1].guid, run.targets[2].guid)
      for i, location in ipairs { t.a, t.b } do
        helper.contains({ location = location, state = "succeeded",
          verified = true }, run.targets[i])
        local versions = t.versions(location)
        assert.equal(1, #versions)
        assert.equal(run.targets[i].version, versions[1].id)
      end
      assert.equal(1, select(2, table.concat(log, " "):gsub("%f[%w]freeze", "")))
      assert.match("backup_complete", table.concat(log, " "))
      assert.equal("", t.left())
      local r = last(t)
      helper.contains({ id = run.id, state = "succeeded", name = "nightly",
        kind = "workflow", host = "here" }, r)
      assert.equal(2, #r.result.versions)
      helper.contains({ state = "succeeded" }, op_of(r, "shadow", "step"))
      helper.contains({ state = "succeeded" },
        op_of(r, "backup", "target:" .. t.b))
      assert.equal("app1", r.held[1].writers[1].name)
      assert.equal(t.data, r.held[1].volumes[1].path)
      assert.is_true(r.held[1].from <= r.held[1].to)
      assert.match("nightly: succeeded, application%-consistent", tostring(run))
      local s = t.workflow():status()
      helper.contains({ name = "nightly", failures = 0 }, s)
      assert.equal(run.id, s.last_success.id)
    end)
  end)

  it("says which writers and volumes were held, on btrfs", function()
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(tostring(why)) end
    volumes.run("btrfs subvolume create '%s/data'", v.path)
    case.with(function(t)
      app.database(t.data .. "/app.db", 100)
      volumes.run("btrfs subvolume create '%s/inner'", t.data)
      local o = { provider = "btrfs", verify = true,
        writers = { sqlite = { databases = { t.data .. "/app.db" } } },
        drill = { verify = function(db)
          local rows = assert(db:query "SELECT count(*) AS n FROM t":wait())
          return rows[1].n == 100
        end } }
      local run = assert(t.run(o))
      helper.contains({ state = "succeeded", consistency = "application" }, run)
      if require "saros.cell".why() == nil then
        helper.contains({ state = "passed", location = t.a }, run.drill)
        assert.is_true(run.drill.seconds > 0)
      end
      assert.equal(1, #last(t).held[1].writers)
      assert.match("nested subvolume .*inner is not in the shadow",
        table.concat(run.warnings, "\n"))
      assert.equal("", t.left())
      assert.equal("passed", run.components[1].check.state)
    end, { data = v.path .. "/data" })
  end)

  it("forgets by its rules, and prunes when that is due", function()
    case.with(function(t)
      for i = 1, 3 do
        outside.write(t.data .. "/file", "version " .. i)
        local run = assert(t.run { keep = { last = 2 } })
        assert.equal(i == 3 and 1 or 0, run.targets[1].removed)
        assert.equal(i == 1 and true or nil, run.targets[1].pruned)
      end
      assert.equal(2, #t.versions(t.a))
      local run = assert(t.run { keep = { last = 1 }, prune = true,
        name = "other" })
      assert.is_true(run.targets[1].pruned)
      assert.equal(3, #t.versions(t.a)) -- of the other one nothing goes
    end)
  end)

  it("knows what it did in this same second", function()
    case.with(function(t)
      local o <const> = { keep = { last = 2 }, to = { t.a } }
      assert.is_true(assert(t.run(o)).targets[1].pruned)
      local begun = record.list { state_dir = t.state }[1].time
      local time <const> = os.time
      local _ <close> = setmetatable({}, { __close = function()
        os.time = time -- luacheck: ignore
      end })
      function os.time(of) -- luacheck: ignore
        return of and time(of) or math.floor(begun)
      end
      assert.is_nil(assert(t.run(o)).targets[1].pruned)
    end)
  end)

  it("goes on without a target that fails", function()
    case.with(function(t)
      local run = assert(t.run { to = { t.root .. "/nowhere", t.a } })
      helper.contains({ state = "partial", partial = true }, run)
      helper.contains({ state = "failed" }, run.targets[1])
      assert.match("there is no repository", tostring(run.targets[1].error))
      helper.contains({ state = "succeeded" }, run.targets[2])
      assert.equal(1, #t.versions(t.a))
      local plain = helper.core.json_read(helper.core.json_write(run))
      assert.match("there is no repository", plain.targets[1].error.message)
      helper.contains({ state = "partial" }, last(t))
      local s = t.workflow():status()
      assert.is_nil(s.last_success)
      assert.equal(1, s.failures)
    end)
  end)

  it("makes a repository where it may", function()
    case.with(function(t)
      local run = assert(t.run { to = { { location = t.root .. "/new",
        init = true } } })
      assert.equal("succeeded", run.state)
      assert.equal(1, #t.versions(t.root .. "/new"))
    end)
  end)

  it("holds nobody when no target can be opened", function()
    case.with(function(t)
      local _ <close>, log = writer(t)
      local run, err = t.run { to = { t.root .. "/nowhere" } }
      assert.is_nil(run)
      assert.match("there is no repository", err.message)
      assert.equal("failed", err.run.state)
      assert.equal("", table.concat(log, " "))
      helper.contains({ state = "failed" }, last(t))
    end)
  end)

  it("fails and leaves nothing when a writer says no", function()
    case.with(function(t)
      local _ <close> = writer(t, { freeze = function()
        return nil, "not now"
      end })
      local run, err = t.run()
      assert.is_nil(run)
      assert.match("not now", err.message)
      assert.equal("", t.left())
      assert.equal(0, #t.versions(t.a))
    end)
  end)

  it("forgets nothing for a version that is barred", function()
    case.with(function(t)
      local db = t.data .. "/app.db"
      app.database(db, 100)
      local o = { keep = { last = 1 }, verify = true,
        writers = { sqlite = { databases = { db } } } }
      assert.equal("succeeded", assert(t.run(o)).state)
      local file <close> = assert(io.open(db, "r+b"))
      file:seek("set", 4096)
      file:write(("\xff"):rep(4096))
      file:close()
      local run = assert(t.run(o))
      assert.equal("partial", run.state)
      assert.match("cannot be recovered", table.concat(run.warnings, "\n"))
      local _, times = tostring(run):gsub("is malformed", "")
      assert.equal(1, times)
      assert.equal(2, #t.versions(t.a))
    end)
  end)

  it("runs once at a time", function()
    case.with(function(t)
      saros.run(function()
        local gate, op = helper.gate()
        local first = t.workflow { before = function() return op end }:run()
        while #record.list { state_dir = t.state } == 0 do
          saros.sleep(0.005):wait()
        end
        local _, err = t.run()
        assert.equal("SAROS_E_LOCKED", err.name)
        gate:finish(0)
        assert(first:wait())
      end)
    end)
  end)

  it("is for some of its targets when it is told so", function()
    case.with(function(t)
      assert(t.run({}, { only = t.b }))
      assert.equal(0, #t.versions(t.a))
      assert.equal(1, #t.versions(t.b))
      local _, err = t.run({}, { only = { t.b, "/c" } })
      assert.match("no such target: /c", err.message)
      local plan = assert(t.workflow {}:plan { only = t.b }:wait())
      assert.same({ t.b }, { plan.targets[1].location,
        plan.targets[2] and plan.targets[2].location })
      _, err = t.workflow {}:plan { only = "/c" }:wait()
      assert.match("no such target: /c", err.message)
    end)
  end)

  it("stores what lies in another source once", function()
    case.with(function(t)
      os.execute(("mkdir %s/d; echo 3 >%s/d/three"):format(t.data, t.data))
      local run = assert(t.run { to = { t.a }, sources = { t.data,
        { path = t.data .. "/d", exclude = "*.o" }, t.data .. "/" } })
      assert.equal("succeeded", run.state)
      local repo <close> = case.shared.repository.open { location = t.a,
        password = case.shared.PASSWORD }
      local seen = 0
      for _, item in ipairs(assert(repo:ls { path = t.data }:wait()).items) do
        seen = seen + (item.path == t.data .. "/d/three" and 1 or 0)
      end
      assert.equal(1, seen)
    end)
  end)

  it("does not pass over a file system in another source", function()
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(tostring(why)) end
    volumes.run("btrfs subvolume create '%s/data'; btrfs subvolume create "
      .. "'%s/data/inner'", v.path, v.path)
    case.with(function(t)
      local run, err = t.run { provider = false, to = { t.a },
        sources = { t.data, t.data .. "/inner" } }
      assert.is_nil(run)
      assert.match("inner lies in .* and is a file system of its own",
        err.message)
    end, { data = v.path .. "/data" })
  end)

  it("leaves a prune to the host that does it", function()
    case.with(function(t)
      assert(t.run { to = { t.a }, prune = true, host = "first" })
      local run = assert(t.run { to = { t.a }, prune = true, host = "second" })
      helper.contains({ state = "succeeded" }, run)
      assert.is_false(run.targets[1].pruned)
      helper.contains({ state = "skipped" }, op_of(last(t), "prune"))
      run = assert(t.run { to = { t.a }, prune = true, host = "first" })
      assert.is_true(run.targets[1].pruned)
    end)
  end)

  it("tells who is to be told, after its end", function()
    case.with(function(t)
      local o = { to = { t.root .. "/nowhere" }, notify = { command = { "sh",
        "-c", "echo $SAROS_EVENT $SAROS_NAME $SAROS_STATE >>" .. t.root
          .. "/told" } } }
      assert.is_nil((t.run(o)))
      assert.equal("failed nightly failed\n",
        outside.content(t.root .. "/told"))
      o.notify = { command = { "/nowhere/at/all" } }
      o.to = { t.a }
      local run = assert(t.run(o))
      assert.equal("succeeded", run.state)
      assert.match("nobody could be told", run.warnings[1])
    end)
  end)
end)

describe("a workflow's hooks", function()
  it("are called in order, and their results are in the result", function()
    case.with(function(t)
      local log = {}
      local function hooks(of, o)
        for _, name in ipairs { "before", "after", "failed", "finally" } do
          o[name] = function()
            log[#log + 1] = of .. "." .. name
            return #log
          end
        end
        return o
      end
      local o = hooks("run", { sources = { hooks("source", {
        path = function()
          log[#log + 1] = "resolved"
          return { t.data }
        end }) }, to = { hooks("target", { location = t.a }) } })
      local run = assert(t.run(o))
      assert.equal("run.before target.before source.before resolved "
        .. "source.after source.finally target.after target.finally run.after "
        .. "run.finally", table.concat(log, " "))
      assert.equal(9, #run.hooks)
      helper.contains({ of = "run", name = "before", result = 1 }, run.hooks[1])
      helper.contains({ of = "target:" .. t.a, result = 2 }, run.hooks[2])
      assert.equal(9, #last(t).result.hooks)
    end)
  end)

  it("may be programs, which are told what it is about", function()
    case.with(function(t)
      local run = assert(t.run { to = { { location = t.a, after = { "sh", "-c",
        "echo $SAROS_WORKFLOW $SAROS_OF $SAROS_STATE" } } } })
      assert.equal("nightly target:" .. t.a .. " succeeded\n",
        run.hooks[1].result.stdout)
    end)
  end)

  it("end what they belong to when they fail before it", function()
    case.with(function(t)
      local said = {}
      local function failed(_, _, err) said[#said + 1] = err.message end
      local run, err = t.run { before = { "sh", "-c", "echo oh >&2; exit 3" },
        failed = failed, finally = failed }
      assert.is_nil(run)
      assert.match("the hook 'before' of the run failed: .*oh", err.message)
      assert.equal(2, #said)
      assert.equal(0, #t.versions(t.a))
      run = assert(t.run { to = { { location = t.a, failed = failed,
        before = function() return nil, "not mounted" end }, t.b } })
      assert.equal("partial", run.state)
      assert.match("not mounted", said[3])
      assert.equal(0, #t.versions(t.a))
      assert.equal(1, #t.versions(t.b))
      run, err = t.run { sources = { { path = t.data, finally = failed,
        before = function() error "no dump" end } } }
      assert.is_nil(run)
      assert.match("no dump", err.message)
      assert.match("no dump", said[4])
    end)
  end)

  it("leave what was done as it is when they fail after it", function()
    case.with(function(t)
      local run = assert(t.run { after = function() error "oh" end })
      assert.equal("partial", run.state)
      assert.match("the hook 'after' of the run failed: .*oh",
        run.warnings[1])
      assert.equal(1, #t.versions(t.a))
    end)
  end)
end)

describe("what a workflow was told", function()
  it("and could not be had is said as it was said", function()
    case.with(function(t)
      local _, err = t.run { sources = function() return nil, "no lunch" end }
      assert.equal("no lunch", err.message)
      _, err = t.run { writers = { redis = function()
        return nil, "not here"
      end } }
      assert.equal("not here", err.message)
      _, err = t.run { writers = { sqlite = {} } }
      assert.equal("saros.workflow: writers.sqlite: sqlite.writer: option "
        .. "'databases': a list of paths expected", err.message)
      assert.same({}, t.versions(t.a))
    end)
  end)

  it("of a database that is stored nowhere is not all right", function()
    case.with(function(t)
      local path = t.root .. "/beside.db"
      outside.write(path, "")
      local run = assert(t.run { drill = true,
        writers = { sqlite = { databases = { path } } } })
      assert.equal("partial", run.state)
      assert.match("^the writer sqlite has nothing in the sources",
        run.warnings[1])
      assert.match("^no drill: there is no application", run.warnings[2])
      assert.is_nil(run.drill)
      assert.equal(1, #t.versions(t.a))
      run = assert(t.run { drill = true })
      assert.equal("succeeded", run.state)
      assert.match("^no drill", run.warnings[1])
    end)
  end)
end)

describe("a workflow's steps", function()
  it("are tried again when that may help", function()
    case.with(function(t)
      os.rename(t.a, t.a .. "-")
      local run = assert(t.run { to = { t.a }, retry = { tries = 3, delay = 0,
        on = function() return os.rename(t.a .. "-", t.a) end } })
      assert.equal("succeeded", run.state)
      local r = last(t)
      assert.equal(2, op_of(r, "open").detail.tries)
      assert.match("is tried again: there is no repository", r.log[1].text)
    end)
  end)

  it("are given up when their time is over, and unwound", function()
    case.with(function(t)
      local _ <close>, log = writer(t, { freeze = function()
        saros.sleep(1000):wait()
      end })
      -- The time may be over before it is asked to hold still.
      local run, err
      for _, seconds in ipairs { 0.3, 3, 30 } do
        run, err = t.run { timeout = { shadow = seconds } }
        assert.is_nil(run)
        assert.is_true(err.timeout)
        if table.concat(log, " "):find "freeze" then break end
      end
      assert.match("freeze.* abort", table.concat(log, " "))
      assert.match("^the step 'shadow' did not end within", err.message)
      assert.match("the step 'shadow' did", op_of(last(t), "shadow").error.message)
      assert.equal("", t.left())
      run, err = t.run { before = function() return saros.sleep(1000) end,
        timeout = { hook = 0.05 } }
      assert.is_nil(run)
      assert.match("did not end within", err.message)
    end)
  end)

  -- Noise of two packs, for a repository that takes minutes after the first.
  local function slow(t)
    local random <close> = assert(io.open "/dev/urandom")
    outside.write(t.data .. "/noise", random:read(20 << 20))
    return { location = t.b, limit_upload = "60K" }
  end

  it("of one target fail alone, and no log is cut then", function()
    case.with(function(t)
      local succeeded
      local _ <close> = writer(t, { backup_complete = function(e)
        succeeded = e.succeeded and #e.succeeded or 0
      end })
      assert(os.execute(("rm -r %s/data && echo >%s/data"):format(t.b, t.b)))
      local run = assert(t.run { to = { t.a, t.b }, type = "full" })
      helper.contains({ state = "partial" }, run)
      helper.contains({ state = "succeeded" }, run.targets[1])
      helper.contains({ state = "failed" }, run.targets[2])
      assert.is_string(run.targets[2].error.message)
      assert.equal(1, #t.versions(t.a))
      assert.equal(0, #t.versions(t.b))
      -- Nobody cuts his log while a repository has no version.
      assert.equal(0, succeeded)
      assert.equal("", t.left())
      assert(t.run { to = { t.a }, type = "full" })
      assert.equal(1, succeeded)
    end)
  end)

  it("store nothing when it is cancelled meanwhile", function()
    case.with(function(t)
      saros.run(function()
        local op = t.workflow { to = { slow(t) } }:run()
        repeat
          saros.sleep(0.01):wait()
        until op:status().phase == "backup"
        op:cancel()
        local run, err = op:wait()
        assert.is_nil(run)
        assert.is_true(err.cancelled)
      end)
      assert.equal(0, #t.versions(t.b))
      assert.equal("", t.left())
      local repo <close> = case.shared.repository.open { location = t.b,
        password = case.shared.PASSWORD }
      assert.equal(0, #repo:locks())
      helper.contains({ state = "cancelled" }, last(t))
      helper.contains({ state = "cancelled" }, op_of(last(t), "backup"))
    end)
  end)

  it("are unwound in order when it is cancelled", function()
    case.with(function(t)
      local log = {}
      local function note(name)
        return function() log[#log + 1] = name end
      end
      local _ <close>, heard = writer(t, { freeze = function()
        saros.sleep(1000):wait()
      end })
      saros.run(function()
        local op = t.workflow { finally = note "run", failed = note "failed",
          sources = { { path = t.data, finally = note "source" } },
          to = { { location = t.a, finally = note "target" } } }:run()
        while not table.concat(heard, " "):find " freeze" do
          saros.sleep(0.005):wait()
        end
        op:cancel()
        local run, err = op:wait()
        assert.is_nil(run)
        assert.is_true(err.cancelled)
      end)
      assert.equal("source target failed run", table.concat(log, " "))
      assert.match("abort", table.concat(heard, " "))
      assert.equal("", t.left())
      helper.contains({ state = "cancelled" }, last(t))
      assert.equal("cancelled", op_of(last(t), "shadow").state)
    end)
  end)
end)
