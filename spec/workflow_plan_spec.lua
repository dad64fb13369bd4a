-- A dry run of a workflow: it says what would be done, and does none of it.
local case = require "spec.workflow_case"
local vss_case = require "spec.vss"
local record = require "saros.record"

local app, outside = case.app, case.outside

if case.missing then
  describe("a dry run", function()
    it("says what would be done", function() pending(case.missing) end)
  end)
  return
end

-- A writer that concerns the data, and what it hears.
local function writer(t)
  return vss_case.writer(1, { components = { { type = "filegroup",
    name = "files", files = { t.data } } } })
end

-- All that there is, and when it was changed last.
local function tree(t)
  return (outside.run("find", t.root, "-printf", "%p %y %m %s %T@\n"))
end

describe("a dry run", function()
  it("says what it would do, and does nothing", function()
    case.with(function(t)
      local called
      local _ <close>, log = writer(t)
      local plan = assert(t.workflow { keep = { last = 1 }, verify = "10%",
        to = { t.a, { location = t.root .. "/new", init = true },
          t.root .. "/nowhere" },
        before = function() called = true end, drill = true }:plan():wait())
      local text = tostring(plan)
      for _, part in ipairs { "call a function, before the run",
        "hold app1 files still", "take a shadow of " .. t.data,
        "store a version in " .. t.a .. ", which has 0", "and read 10%",
        "make a repository in " .. t.root .. "/new", "as a drill",
        "BUT " .. t.root .. "/nowhere: there is no repository" }
      do
        assert.truthy(text:find(part, 1, true), text)
      end
      assert.is_nil(called)
      assert.equal("identify", table.concat(log, " "))
      assert.equal(0, #t.versions(t.a))
      assert.equal("", t.left())
      assert.same({}, record.list { state_dir = t.state })
      plan = assert(t.workflow { sources = { t.root .. "/gone" } }:plan():wait())
      assert.match("is not there", tostring(plan))
    end)
  end)

  it("makes no directory of a state that is not there", function()
    case.with(function(t)
      t.db = t.data .. "/app.db"
      app.database(t.db, 5)
      local before = tree(t)
      for _, state in ipairs { t.state, t.root .. "/new", t.root .. "/a/b/c" } do
        local plan = assert(t.workflow { state_dir = state, drill = "weekly",
          keep = { last = 1 }, prune = true,
          writers = { sqlite = { databases = { t.db } } } }:plan():wait())
        assert.match("hold sqlite ", tostring(plan))
        assert.same({}, plan.warnings)
        assert.equal(before, tree(t))
        assert.same({}, record.list { state_dir = state })
        assert.equal(before, tree(t))
      end
    end)
  end)

  it("asks who listens there", function()
    case.with(function(t)
      local p <close> = outside.start(outside.lua, "-e", ([[
        local saros = require "saros"
        saros.run(function()
          local w <close> = saros.vss.writer { name = "far",
            id = "99999999-1111-4111-8111-111111111111", listen = true,
            state_dir = %q, components = { { type = "filegroup",
              name = "files", files = { %q } } } }
          io.stdout:setvbuf "no"
          print "listens"
          saros.sleep(1000):wait()
        end)]]):format(t.state, t.data))
      p:expect "listens"
      local before = tree(t)
      local plan = assert(t.workflow():plan():wait())
      assert.match("hold far files still", tostring(plan))
      assert.equal(before, tree(t))
    end)
  end)
end)
