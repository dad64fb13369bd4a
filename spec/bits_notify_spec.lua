-- Who is told how a job ended: by flags, once, whatever else happens meanwhile;
-- what went wrong; and what an observer sees of the owner's settings, and takes over.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.lacks(_ENV, "who is told") then return end

local server, fresh = shared.server, shared.fresh

local function job_of(p, more, properties)
  return shared.job_of(p, fresh(), 10, more, properties)
end

-- Turns the loop until f says so.
local function turn(f)
  saros.run(function()
    while not f() do saros.sleep(0.002):wait() end
  end)
end

describe("a function that is told of a job", function()
  shared.serve(_ENV)

  it("hears what notify_flags say", function()
    shared.with(function(p)
      local told = {}
      local function notify(job, event)
        table.insert(told, event.what)
        assert.equal(job, event.job)
      end
      local job = job_of(p, "plan=404,ok", { notify = notify,
        notify_flags = { "transferred" } })
      local last
      p.q:on_event(function(event) last = event.what end)
      job:resume()
      turn(function() return last == "error" end)
      helper.settle()
      assert.same({}, told)
      job:set { notify_flags = { "transferred", "file" } }
      job:resume()
      turn(function() return last == "transferred" and #told > 1 end)
      assert.same({ "file", "transferred" }, told)
    end)
  end)

  it("hears nothing when that is disabled, or it is taken away", function()
    shared.with(function(p)
      local told, last = {}, nil
      local function notify(_, event) table.insert(told, event.what) end
      p.q:on_event(function(event) last = event.what end)
      local job = job_of(p, "plan=404,404,ok", { notify = { error = notify },
        notify_flags = { "disable" } })
      job:resume()
      turn(function() return last == "error" end)
      helper.settle()
      assert.same({}, told)
      job:set { notify_flags = 3 }
      job:resume()
      turn(function() return last == "error" and #told > 0 end)
      assert.same({ "error" }, told)
      job:set { notify = false }
      job:resume()
      turn(function() return last == "transferred" end)
      helper.settle()
      assert.same({ "error" }, told)
    end)
  end)

  it("hears of a job that has left the queue meanwhile", function()
    shared.with(function(p)
      local told = {}
      local job = job_of(p, nil, { notify = function(own, event)
        table.insert(told, event.what .. " " .. own:status().state)
      end })
      helper.in_sort(function() -- where nobody is told anything
        job:resume()
        assert(job:wait())
        job:complete()
      end)
      turn(function() return told[1] end)
      assert.same({ "transferred acknowledged" }, told)
      turn(function() return next(p.q._listeners.all) == nil end) -- forgotten
    end)
  end)

  it("hears it once though there were more events than are kept", function()
    shared.with(function(p)
      local told, missed = {}, nil
      local function notify(_, event) table.insert(told, event.what) end
      local one = job_of(p, nil, { notify = notify })
      local two = job_of(p, "plan=404", { notify = notify })
      local other = p.q:create_job()
      p.q:on_event(function(event)
        if event.what == "missed" then missed = event.missed end
      end)
      turn(function() return p.q._listeners.seen > 0 end)
      helper.in_sort(function()
        one:resume()
        assert(one:wait())
        two:resume()
        two:wait()
        local ops = {}
        for i = 1, 1100 do
          ops[i] = other._core:call("set", { description = tostring(i) })
        end
        for _, op in ipairs(ops) do op:wait() end
      end)
      turn(function() return missed and #told == 2 end)
      helper.settle()
      table.sort(told)
      assert.same({ "error", "transferred" }, told)
    end)
  end)

  it("as on_status is asked again until the queue is closed", function()
    shared.with(function(p)
      local group = p.q:create_group()
      group:create_job():add_files { { remote_file = server:url(fresh(), 1,
        "plan=404"), local_file = p.path "x" } }
      local calls = 0
      group:set_notification_pointer(function()
        calls = calls + 1
        return code.E_FAIL
      end)
      group:resume_group()
      saros.run(function()
        saros.spawn(function()
          while calls < 2 do saros.sleep(0.002):wait() end
          p.q:close()
        end)
      end)
      while saros.step() do end -- or there is still one who asks
      assert.is_true(calls >= 2)
    end)
  end)
end)

describe("what went wrong", function()
  shared.serve(_ENV)

  local function count(text, word)
    return select(2, text:gsub(word, ""))
  end

  it("is said once, with what can be done", function()
    shared.with(function(p)
      local job = p.q:create_job():add_file { url = server:url(fresh(), 1),
        path = p.path "none/x" }
      job:resume()
      local _, err = job:wait()
      assert.equal(1, count(err.message, "none/x"), err.message)
      assert.equal(1, count(err.message, "resume"), err.message)
      job = job_of(p, "plan=404"):resume()
      _, err = job:wait()
      assert.matches("%? resume tries again; set_url", err.message)
    end)
  end)
end)

describe("an observer", function()
  shared.serve(_ENV)

  it("is told how the owner's jobs end", function()
    shared.with(function(p)
      local job = job_of(p, "plan=404,ok")
      local told = {}
      local q <close> = shared.bits.manager { path = p.path "queue.db" }
      local seen = q:job(job.id)
      seen:set { notify = function(one, event)
        assert.equal(seen, one)
        told[event.what] = event.file or true
      end }
      job:resume()
      turn(function() return told.error end)
      job:resume()
      turn(function() return told.transferred end)
      assert.same({ error = 1, transferred = true }, told)
      local there, r = assert(job:wait()), assert(seen:wait())
      assert.same({ there.files, there.bytes, tostring(there) },
        { r.files, r.bytes, tostring(r) })
      assert.equal(1, r.files)
    end)
  end)

  it("cannot wait for what the owner runs, and is told who can", function()
    shared.with(function(p)
      local job = job_of(p, "plan=stall:5")
      local q <close> = shared.bits.manager { path = p.path "queue.db" }
      local seen = q:job(job.id)
      job:resume()
      turn(function() return seen:status().state ~= "suspended" end)
      for _, seconds in ipairs { 0, 1000 } do
        local value, err = seen:wait(seconds)
        assert.is_nil(value)
        assert.equal(code.SAROS_E_LOCKED, err.code)
        assert.matches("owns its queue %(pid %d+ .*job:status%(%)", err.message)
      end
      server:stalled(1)
      server:release()
      assert(job:wait())
    end)
  end)

  it("sees the owner's settings, and takes them over with his own", function()
    outside.directory(function(root)
      local path = root .. "/queue.db"
      local p <close> = shared.start(root, ([[
        say "open"
        repeat saros.sleep(0.01):wait() until io.open(%q)
        q:set { limit_download = "2M", connections = 3 }
        say "set"
        saros.sleep(1000):wait()
      ]]):format(root .. "/go"))
      p:expect "open\n"
      local err = shared.raises(code.E_INVALIDARG, shared.bits.manager,
        { path = path, limits = { "always" } })
      assert.matches("always", err.message)
      do
        local q <close> = shared.bits.manager { path = path,
          limit_upload = "1M", connections = 5 }
        assert.is_false(q:is_owner())
        assert.same({}, q:status().settings)
        outside.write(root .. "/go", "")
        p:expect "set\n"
        outside.eventually("the owner's settings are seen", function()
          return q:status().settings.connections == 3
        end)
        shared.kill(p)
        outside.eventually("it is taken over", function()
          return q:is_owner()
        end)
        assert.same({ limit_download = 2 << 20, limit_upload = 1 << 20,
          connections = 5 }, q:status().settings)
      end
      local q <close> = shared.bits.manager { path = path }
      assert.same({ limit_download = 2 << 20, limit_upload = 1 << 20,
        connections = 5 }, q:status().settings)
    end)
  end)
end)
