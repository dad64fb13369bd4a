-- Waiting for jobs and being told of them: the one rule for all waits, events,
-- progress; hosts; and that nothing grows.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros, testmod = helper.saros, helper.testmod
local code = saros.code

if shared.lacks(_ENV, "waiting for a job") then return end

local raised = shared.raised
local server, fresh = shared.server, shared.fresh

local function job_of(p, size, more, properties)
  return shared.job_of(p, fresh(), size, more, properties)
end

-- In a task: another one that waits for the job, and has begun to. (A sleep that
-- is over when it is waited for lets nobody else go on.)
local function waiting_for(job)
  local begun = false
  local op = saros.spawn(function()
    begun = true
    return assert(job:wait())
  end)
  repeat saros.sleep(0):wait() until begun
  return op
end

describe("a job is waited for", function()
  shared.serve(_ENV)

  it("in a task, which yields", function()
    shared.with(function(p)
      local order = {}
      saros.run(function()
        local job = job_of(p, 1000, "plan=stall:10"):resume()
        local other = saros.spawn(function()
          order[#order + 1] = "other"
          server:stalled(1)
          server:release()
        end)
        assert(job:wait())
        order[#order + 1] = "job"
        other:wait()
        assert.equal(0, job:complete())
      end)
      assert.same({ "other", "job" }, order)
    end)
  end)

  it("in plain code, while tasks go on", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10"):resume()
      local ran
      saros.spawn(function()
        server:stalled(1)
        ran = true
        server:release()
      end)
      assert(job:wait())
      assert.is_true(ran)
    end)
  end)

  it("in table.sort and in a generator, with all that is done with it",
    function()
      shared.with(function(p)
        for _, place in ipairs { helper.in_sort, helper.in_generator } do
          local state = place(function()
            local job = job_of(p, 1000)
            job:resume()
            assert(job:wait())
            assert(job:complete() == 0)
            p.q:set { connections = 5 }
            return job:status().state
          end)
          assert.equal("acknowledged", state)
        end
        -- and in such a place of a task
        saros.run(function()
          assert.equal("transferred", helper.in_sort(function()
            local job = job_of(p, 1000):resume()
            assert(job:wait())
            return job:status().state
          end))
        end)
      end)
    end)

  it("for some time", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10"):resume()
      shared.reach(job, "transferring") -- which it stays
      local ok, err = job:wait(0.01)
      assert.is_nil(ok)
      assert.is_true(err.timeout)
      ok, err = job:wait(0)
      assert.is_nil(ok)
      assert.is_true(err.timeout)
      assert.equal("transferring", job:status().state)
      assert.is_false(job:done())
      server:stalled(1)
      server:release()
      assert(job:wait(60))
    end)
  end)

  it("with others, and given up with them", function()
    shared.with(function(p)
      local a = job_of(p, 1000):resume()
      local b = job_of(p, 1000):resume()
      assert(saros.all { a:run(), b:run() }:wait())
      local c = job_of(p, 1000, "plan=stall:10"):resume()
      local ok, err = saros.timeout(c:run(), 0.05):wait()
      assert.is_nil(ok)
      assert.is_true(err.timeout)
      assert.equal("cancelled", c:status().state)
      server:release()
    end)
  end)

  it("and a wait that was begun goes on over a suspension", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10,ok"):resume()
      saros.run(function()
        local waits = waiting_for(job)
        server:stalled(1)
        job:suspend()
        assert.equal(code.BG_E_INVALID_STATE, select(2, job:wait()).code)
        assert.is_false(waits:done())
        job:resume()
        assert.equal(1, assert(waits:wait()).files)
      end)
    end)
  end)

  it("and a task that is cancelled meanwhile leaves it going", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10"):resume()
      saros.run(function()
        local waits = waiting_for(job)
        server:stalled(1)
        waits:cancel()
        waits:wait()
      end)
      shared.reach(job, "transferring")
      server:release()
      assert(job:wait())
    end)
  end)
end)

describe("a job tells", function()
  shared.serve(_ENV)

  it("how far it is", function()
    shared.with(function(p)
      local job = job_of(p, 4000, "plan=stall:1000"):resume()
      local seen = {}
      saros.run(function()
        saros.spawn(function()
          server:stalled(1)
          repeat saros.sleep(0.005):wait() until seen[#seen].bytes == 1000
          server:release()
        end)
        for s in job:progress() do seen[#seen + 1] = s end
      end)
      local last = seen[#seen]
      assert.equal("transferred", last.state)
      assert.equal(4000, last.bytes)
      for i = 2, #seen do assert.is_true(seen[i].bytes >= seen[i - 1].bytes) end
      local once = 0
      for s in p.q:create_job():progress() do
        once = once + 1
        assert.equal("suspended", s.state)
      end
      assert.equal(1, once)
    end)
  end)

  it("that its run is over", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=404,ok")
      assert.matches("resume it first", raised(job.on_done, job, print))
      local told = {}
      saros.run(function()
        job:resume()
        job:on_done(function(...) told[1] = table.pack(...) end)
        job:wait()
        job:resume()
        job:on_done(function(...) told[2] = table.pack(...) end)
        job:wait()
      end)
      helper.settle()
      assert.is_nil(told[1][1])
      assert.equal(0x80190194, told[1][2].code)
      assert.equal(job, told[1][3])
      assert.equal(1, told[2][1].files)
      assert.equal(job, told[2][3])
    end)
  end)

  it("functions that it is transferred, or in error", function()
    shared.with(function(p)
      local told = {}
      local function notify(job, event)
        told[#told + 1] = event.what
        if event.what == "transferred" then job:complete() end
      end
      saros.run(function()
        local job = job_of(p, 1000, "plan=404,ok", { notify = notify })
        job:resume()
        repeat saros.sleep(0.005):wait() until told[1]
        assert.same({ "error" }, told)
        job:resume()
        repeat saros.sleep(0.005):wait() until #p.q:jobs() == 0
        assert.same({ "error", "transferred" }, told)
      end)
    end)
  end)

  it("functions that are set later, each event its own", function()
    shared.with(function(p)
      local told = {}
      saros.run(function()
        local job = job_of(p, 1000, "plan=404,ok")
        job:set { notify = {
          file = function(j, event)
            told.file = event.file
            assert.equal(job, j)
          end,
          transferred = function() told.transferred = true end,
        } }
        job:resume()
        job:wait()
        job:resume()
        job:wait()
        repeat saros.sleep(0.005):wait() until told.transferred
      end)
      assert.same({ file = 1, transferred = true }, told)
    end)
  end)

  it("whoever listens to the queue, until he does not", function()
    shared.with(function(p)
      local told, count = {}, 0
      saros.run(function()
        local listener <close> = p.q:on_event(function(event)
          count = count + 1
          told[event.what .. " " .. event.id] = true
        end)
        local a, b = job_of(p, 10):resume(), job_of(p, 10):resume()
        a:wait()
        b:wait()
        repeat saros.sleep(0.005):wait()
        until told["transferred " .. a.id] and told["transferred " .. b.id]
        assert.is_true(told["file " .. a.id])
        assert.is_true(told["state " .. a.id])
        listener:close()
        helper.core.poke()
        local before = count
        b:complete()
        saros.sleep(0.02):wait()
        assert.equal(before, count)
      end)
      assert.matches("function expected", raised(p.q.on_event, p.q, 1))
    end)
  end)

  it("and that keeps no script from ending", function()
    shared.with(function(p)
      local job = job_of(p, 10, nil, { notify = print })
      p.q:on_event(print)
      saros.run(function() saros.sleep(0):wait() end)
      while saros.step() do end
      assert.equal("suspended", job:status().state)
    end)
  end)
end)

describe("in a program with a loop of its own", function()
  shared.serve(_ENV)

  it("luv lets timers go on", function()
    local found, uv = pcall(require, "luv")
    if not found then return pending "lua-luv is not installed" end
    local luv = require "saros.host.luv"
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10")
      local ticks, stalled, r = 0, false, nil
      local timer = uv.new_timer()
      timer:start(1, 1, function()
        if stalled then ticks = ticks + 1 end
        if ticks == 5 then server:release() end
        if r then timer:close() end
      end)
      luv.spawn(function()
        job:resume()
        server:stalled(1)
        stalled = true
        r = assert(job:wait())
      end)
      uv.run()
      assert.is_true(ticks >= 5)
      assert.equal(1, r.files)
    end)
  end)
end)

describe("nothing grows", function()
  shared.serve(_ENV)

  local function collect()
    collectgarbage()
    collectgarbage()
    return collectgarbage "count"
  end

  -- What grows grows each time: a few that only now are there are no growth.
  local FEW = 10

  -- Threads may have some for a moment, and those that leave have not closed
  -- theirs yet.
  local function no_more_than(fds)
    outside.eventually("the descriptors are closed", function()
      return testmod.fds() <= fds
    end)
  end

  it("by asking ten thousand times (A26)", function()
    shared.with(function(p)
      local job = job_of(p, 1000, "plan=stall:10"):resume()
      server:stalled(1)
      local function ask(times)
        for _ = 1, times do
          job:get_status()
          job:query()
          job:status()
          p.q:job(job.id)
        end
      end
      ask(100)
      local memory, fds = collect(), testmod.fds()
      ask(2500)
      assert.is_true(collect() < memory + 20)
      no_more_than(fds + FEW)
      server:release()
      job:wait()
    end)
  end)

  it("by jobs that come and go", function()
    shared.with(function(p)
      local function turn()
        local job = p.q:create_job { name = "x" }
        job:add_file { url = server:url("turn", 10), path = p.path "turn" }
        job:cancel()
      end
      for _ = 1, 5 do turn() end
      local memory, fds = collect(), testmod.fds()
      for _ = 1, 30 do turn() end
      assert.is_true(collect() < memory + 20)
      no_more_than(fds + FEW)
      assert.same({}, p.q:jobs())
    end)
  end)

  it("by queues that are opened and forgotten", function()
    outside.directory(function(root)
      local function turn()
        shared.bits.manager { path = root .. "/queue.db" }:close()
      end
      turn()
      local fds = testmod.fds()
      for _ = 1, 15 do turn() end
      no_more_than(fds + FEW)
      -- Without a close the collector lets go of it, and waits for nothing.
      fds = testmod.fds()
      shared.bits.manager { path = root .. "/queue.db" }
      collect()
      outside.eventually("its owner has let go", function()
        helper.settle()
        local q <close> = shared.bits.manager { path = root .. "/queue.db" }
        return q:is_owner()
      end)
      no_more_than(fds)
    end)
  end)
end)
