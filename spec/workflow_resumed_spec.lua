-- What a run that was killed at a known place has finished is not done again,
-- and nothing else is taken for that.
local app = require "spec.backup_app"
local case = require "spec.workflow_case"
local child = require "spec.workflow_child"
local core = require "saros.core"
local record = require "saros.record"

local outside = case.outside

if case.missing then
  describe("a workflow that goes on", function()
    it("goes on", function() pending(case.missing) end)
  end)
  return
end

-- f(t) with a run that was killed when this was begun: `n` times before it was
-- not. t.more are its options, as Lua has them.
local function killed(at, more, f)
  return case.with(function(t)
    t.db = t.data .. "/app.db"
    app.database(t.db, 50)
    t.more = more
    function t.kill(name, n)
      local p <close> = child.start(t, { DIES_ON = ('"name":"%s"'):format(name),
        DIES_AFTER = tostring(n or 1) })
      local said, how = p:finish()
      assert.equal("signal", how, said)
    end
    function t.again(how)
      return child.workflow(t):run(how):wait()
    end
    t.kill(at, 1)
    t.first = record.list { state_dir = t.state }[1]
    assert.equal("interrupted", t.first.state)
    return f(t)
  end)
end

-- What a run did, by name: how often.
local function done(run)
  local count = {}
  for _, s in ipairs(run.steps) do count[s.name] = (count[s.name] or 0) + 1 end
  return count
end

local ALL <const> = "verify = true, keep = { last = 5 }, prune = true"

-- A line of the newest record, as something else.
local function edited(t, path, f)
  local text = assert(outside.content(path or t.first.path))
  os.remove(path or t.first.path)
  outside.write(path or t.first.path, f(text))
end

describe("a workflow that goes on", function()
  for _, name in ipairs { "open", "sources", "writers", "shadow", "check",
    "backup", "complete", "late", "verify", "forget", "prune" } do
    it("has one version everywhere, killed in its step '" .. name .. "'",
      function()
        killed(name, ALL, function(t)
          local run = assert(t.again())
          assert.equal("succeeded", run.state)
          assert.equal(t.first.id, run.resumes)
          for _, location in ipairs { t.a, t.b } do
            assert.equal(1, #t.versions(location))
          end
          assert.equal("", t.left())
          app.execute(t.db, "INSERT INTO t SELECT max(n) + 1 FROM t")
          -- And it is over: the next one makes new ones.
          run = assert(t.again())
          assert.is_nil(run.resumes)
          assert.equal(2, #t.versions(t.a))
        end)
      end)
  end

  it("does nothing twice that was finished", function()
    killed("finally", ALL .. ", finally = function() end", function(t)
      local count = done(assert(t.again()))
      for _, name in ipairs { "sources", "shadow", "backup", "late", "verify",
        "forget", "prune" } do
        assert.is_nil(count[name], name)
      end
      assert.equal(1, #t.versions(t.a))
    end)
  end)

  it("knows that when it is killed once more, too", function()
    killed("finally", ALL .. ", finally = function() end", function(t)
      t.kill "finally"
      local run = assert(t.again())
      assert.equal(t.first.id, run.resumes)
      local count = done(run)
      assert.is_nil(count.backup)
      assert.is_nil(count.verify)
      assert.is_nil(count.prune)
      assert.is_true(run.targets[1].pruned)
    end)
  end)

  it("says so in a dry run", function()
    killed("finally", ALL .. ", finally = function() end", function(t)
      local text = tostring(assert(child.workflow(t):plan():wait()))
      assert.match("go on with the run " .. t.first.id, text)
      assert.truthy(text:find("store none in " .. t.b, 1, true), text)
      assert.is_nil(text:find("verify", 1, true))
    end)
  end)

  it("does for each repository what it lacks", function()
    -- The first of the two has its version when the second one's is written down.
    killed("late", ALL, function(t)
      t.kill("verify", 2)
      local run = assert(t.again())
      assert.is_nil(done(run).backup)
      local steps = {}
      for _, s in ipairs(run.steps) do
        if s.name == "verify" then steps[#steps + 1] = s.lane end
      end
      assert.is_true(#steps >= 1 and #steps <= 2)
    end)
  end)

  it("makes no drill again that has passed, and the one that was running",
    function()
      local why = require "saros.cell".why()
      if why then return pending(why.message) end
      local more = ALL .. ", drill = true, finally = function() end"
      killed("drill", more, function(t)
        local run = assert(t.again())
        assert.equal("passed", run.drill.state)
        assert.equal(1, done(run).drill)
        assert.is_nil(done(run).backup)
        assert.equal("", t.left())
      end)
      killed("finally", more, function(t)
        local run = assert(t.again())
        assert.equal("passed", run.drill.state)
        assert.is_nil(done(run).drill)
      end)
      -- One that is due weekly is not put off by a week for that, whoever makes
      -- it up; then it is, until the week is over.
      killed("drill", ALL .. ", drill = { every = 'weekly' }", function(t)
        local run = assert(t.again { resume = false })
        assert.is_nil(run.resumes)
        assert.equal("passed", run.drill.state)
        assert.is_nil(assert(t.again()).drill)
      end)
    end)

  it("makes anew what somebody has removed since", function()
    killed("finally", ALL .. ", finally = function() end", function(t)
      do
        local repo <close> = case.shared.repository.open { location = t.b,
          password = case.shared.PASSWORD }
        local op <close> = repo:forget { ids = { t.versions(t.b)[1].id } }
        assert(op:wait())
      end
      local run = assert(t.again())
      assert.equal(1, done(run).backup)
      assert.is_true(run.targets[1].resumed)
      assert.is_nil(run.targets[2].resumed)
      assert.equal(1, #t.versions(t.b))
    end)
  end)

  it("is another one when something else is wanted", function()
    killed("verify", ALL, function(t)
      t.more = ALL .. ", exclude = { '*.tmp' }"
      local run = assert(t.again())
      assert.is_nil(run.resumes)
      assert.equal(2, #t.versions(t.a))
    end)
  end)

  it("is not kept from that by who came while it ran", function()
    killed("verify", ALL, function(t)
      local r = record.begin { kind = "refused", name = "nightly",
        state_dir = t.state }
      r:done "it is running already"
      assert.equal(t.first.id, assert(t.again()).resumes)
    end)
  end)

  it("knows that the machine was started anew", function()
    killed("verify", ALL, function(t)
      -- This process has the same number and the same beginning, in another life
      -- of the machine.
      local owner = core.owner()
      assert.is_string(owner.boot)
      owner.boot = "00000000-0000-4000-8000-000000000000"
      edited(t, nil, function(text)
        return (text:gsub('"owner":%b{}', function()
          return '"owner":' .. core.json_write(owner)
        end, 1))
      end)
      local run = assert(t.again())
      assert.equal(t.first.id, run.resumes)
      assert.is_nil(done(run).backup)
    end)
  end)

  it("does so once, when the clock was ahead", function()
    killed("verify", ALL, function(t)
      -- As if it had been begun in an hour.
      local stamp = os.date("!%Y-%m-%dT%H:%M:%S", os.time() + 3600)
      local path = t.first.path:gsub("%d+T%d+Z", (stamp:gsub("[-:]", "") .. "Z"))
      edited(t, nil, function(text)
        return (text:gsub('"begun":"[^"]*"', ('"begun":"%s.000+00:00"'):format(
          stamp), 1))
      end)
      assert(os.rename(t.first.path, path))
      assert.equal(t.first.id, assert(t.again()).resumes)
      assert.equal(1, #t.versions(t.a))
      for i = 2, 3 do
        local run = assert(t.again())
        assert.is_nil(run.resumes)
        assert.equal(i, #t.versions(t.a))
      end
    end)
  end)

  it("takes no damaged record for one", function()
    killed("verify", ALL, function(t)
      for i, text in ipairs { "", "{", "[]\n", '{"saros_record":1}\n',
        '{"saros_record":1,"name":"nightly","kind":"workflow","begun":7}\n',
        ("\0"):rep(5000) } do
        local path = t.first.path:gsub("%x+%.jsonl$", ("%08x.jsonl"):format(i))
        outside.write(path, text)
      end
      -- And one with lines that are no such lines.
      edited(t, nil, function(text)
        return text .. '{"op":99,"lane":7,"name":{},"at":1}\n{"stored":5}\n'
          .. '{"stored":{"location":false}}\n{"op":{},"ended":1}\n\0\0\n{"op":'
      end)
      local run = assert(t.again())
      assert.equal(t.first.id, run.resumes)
      assert.is_nil(done(run).backup)
    end)
  end)
end)
