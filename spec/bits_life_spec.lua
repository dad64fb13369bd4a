-- A queue outlives its process: killed, left in a hurry, forked, looked at by
-- others; and its secrets do not.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros, system = helper.saros, outside.system
local code = saros.code

if shared.lacks(_ENV, "the life of a queue") then return end

local bits = shared.bits
local raises = shared.raises
local server, fresh = shared.server, shared.fresh

local start, kill = shared.start, shared.kill

describe("a queue whose process is killed", function()
  shared.serve(_ENV)

  it("goes on where it was, and what was suspended stays so", function()
    outside.directory(function(root)
      local one, two, three = fresh(), fresh(), fresh()
      local p <close> = start(root, ([[
        local job = q:create_job { name = "runs" }
        job:add_file { url = %q, path = %q }
        job:add_file { url = %q, path = %q }
        local other = q:create_job { name = "rests" }
        other:add_file { url = %q, path = %q }
        job:resume()
        say "begun"
        local s
        repeat
          saros.sleep(0.01):wait()
          s = job:status()
        until s.bytes >= 201000 and s.files_done == 1
        other:set { description = "x" } -- behind this all is on the disk
        say(job.id)
        job:wait()
      ]]):format(server:url(one, 1000), root .. "/" .. one,
        server:url(two, 400000, "plan=stall:200000,ok"), root .. "/" .. two,
        server:url(three, 10), root .. "/" .. three))
      p:expect "begun\n"
      local id = p:expect "\n"
      kill(p)
      local q <close> = bits.manager { path = root .. "/queue.db" }
      assert.is_nil(q.warning)
      assert.is_true(q:is_owner())
      local jobs = q:jobs()
      assert.equal(2, #jobs)
      assert.equal(id, jobs[1].id)
      assert.equal("rests", jobs[2]:status().name)
      assert.equal("suspended", jobs[2]:status().state)
      assert(jobs[1]:wait())
      assert.equal(0, jobs[1]:complete())
      server:check(root .. "/" .. one, one, 1000)
      server:check(root .. "/" .. two, two, 400000)
      -- Nothing was fetched twice.
      assert.matches("bytes=195904%-", server:ask("!log?of=/f/" .. two))
      assert.equal(1, server:count("/f/" .. one))
    end)
  end)

  it("keeps a group, and what it has finished", function()
    outside.directory(function(root)
      local one, two = fresh(), fresh()
      local p <close> = start(root, ([[
        local group = q:create_group()
        local job = group:create_job()
        job:add_files { { remote_file = %q, local_file = %q },
          { remote_file = %q, local_file = %q } }
        group:resume_group()
        repeat saros.sleep(0.01):wait() until io.open(%q)
        say(group.id)
        saros.sleep(1000):wait()
      ]]):format(server:url(one, 1000), root .. "/" .. one,
        server:url(two, 5000, "plan=stall:1000,ok"), root .. "/" .. two,
        root .. "/" .. one))
      local id = p:expect "\n"
      server:stalled(1) -- or the stall would be the next one's
      kill(p)
      local q <close> = bits.manager { path = root .. "/queue.db" }
      local group = q:get_group(id)
      local job = group:enum_jobs()[1]
      outside.eventually("it is complete", function()
        return job:get_status() == 0x04
      end)
      server:check(root .. "/" .. one, one, 1000)
      server:check(root .. "/" .. two, two, 5000)
      group:cancel_group()
      server:check(root .. "/" .. two, two, 5000)
    end)
  end)

  it("still has what was in error, and what was transferred", function()
    outside.directory(function(root)
      local one, two = fresh(), fresh()
      local p <close> = start(root, ([[
        for i, item in ipairs { { %q, %q }, { %q, %q } } do
          local job = q:create_job()
          job:add_file { url = item[1], path = item[2] }
          job:resume()
          job:wait()
        end
        q:create_job() -- behind this all of it is on the disk
        say "done"
        saros.sleep(1000):wait()
      ]]):format(server:url(one, 1000, "plan=404"), root .. "/" .. one,
        server:url(two, 1000), root .. "/" .. two))
      p:expect "done\n"
      kill(p)
      local q <close> = bits.manager { path = root .. "/queue.db" }
      local failed, done = table.unpack(q:jobs())
      assert.equal("error", failed:status().state)
      assert.equal(404, failed:error().transport)
      local ok, err = failed:wait()
      assert.is_nil(ok)
      assert.equal(0x80190194, err.code)
      assert.is_true(failed:done())
      assert.same({ 0x10, 0, 404, 0 }, { failed:get_status() })
      assert.equal("transferred", done:status().state)
      assert.equal("1 file, 1000 B", tostring(done:wait()))
      assert.same({ 0x04, 100 }, { done:query() })
      assert.equal(0, done:complete())
      server:check(root .. "/" .. two, two, 1000)
      assert.equal(1, server:count("/f/" .. two))
    end)
  end)
end)

describe("the example", function()
  shared.serve(_ENV)

  it("finishes what was left in any state, and says who is at it", function()
    outside.directory(function(root)
      local one, two = fresh(), fresh()
      local function example(...)
        return outside.run(outside.lua, "examples/transfer.lua", root, ...)
      end
      do
        local q <close> = bits.manager { path = root .. "/.queue.db" }
        local job = q:create_job()
        job:add_file { url = server:url(one, 1000), path = root .. "/" .. one }
        job:resume()
        assert(job:wait())
        q:create_job() -- killed before it had any file, or was resumed
        q:create_job():add_file { url = server:url(two, 1000),
          path = root .. "/" .. two }
        local said, how, status = example()
        assert.same({ "exit", 1 }, { how, status }, said)
        assert.matches("owned by pid %d+", said)
      end
      local said, how, status = example(server:url(fresh(), 1, "plan=404"))
      assert.same({ "exit", 1 }, { how, status }, said)
      assert.matches("answers 404", said)
      server:check(root .. "/" .. one, one, 1000)
      server:check(root .. "/" .. two, two, 1000)
      do
        local q <close> = bits.manager { path = root .. "/.queue.db" }
        assert.equal(1, #q:jobs()) -- to be tried again
        assert.equal("error", q:jobs()[1]:status().state)
        q:jobs()[1]:cancel()
      end
      said, how, status = example()
      assert.same({ "exit", 0 }, { how, status }, said)
    end)
  end)
end)

describe("a script that is left", function()
  shared.serve(_ENV)

  for how, leave in pairs {
    ["at its end"] = "", ["by os.exit"] = "os.exit(0)",
    ["by os.exit, closing the state"] = "os.exit(0, true)",
    ["with a task that waits"] =
      "saros.spawn(function() job:wait() end) saros.step(0)",
    ["with somebody who listens"] = "q:on_event(print) saros.step(0)",
    ["with a queue that is closed"] = "q:close()",
  } do
    it(how .. " leaves its queue as it was, and in time", function()
      outside.directory(function(root)
        local name = fresh()
        local p <close> = start(root, ([[
          job = q:create_job()
          job:add_file { url = %q, path = %q }
          job:resume()
          repeat saros.sleep(0.005):wait() until job:status().bytes >= 100000
          %s
        ]]):format(server:url(name, 300000, "plan=stall:100000,ok"),
          root .. "/" .. name, leave))
        local said, way, status = p:finish()
        assert.same({ "", "exit", 0 }, { said, way, status })
        local q <close> = bits.manager { path = root .. "/queue.db" }
        assert.is_true(q:is_owner())
        local job = q:jobs()[1]
        assert(job:wait())
        job:complete()
        server:check(root .. "/" .. name, name, 300000)
      end)
    end)
  end
end)

describe("a queue that somebody has", function()
  shared.serve(_ENV)

  it("is looked at by others, who change nothing", function()
    outside.directory(function(root)
      local name = fresh()
      local p <close> = start(root, ([[
        local job = q:create_job { name = "theirs" }
        job:add_file { url = %q, path = %q }
        job:resume()
        say(job.id)
        job:wait()
        job:complete()
        say "done"
        io.read()
      ]]):format(server:url(name, 3000, "plan=stall:10,ok"),
        root .. "/" .. name))
      local id = p:expect "\n"
      server:stalled(1)
      local q <close> = bits.manager { path = root .. "/queue.db" }
      assert.is_false(q:is_owner())
      assert.matches("owned by .*" .. p.pid, tostring(q))
      local job = q:job(id)
      assert.equal("theirs", job:status().name)
      assert.equal(1, #job:files())
      local err = shared.raised(q.create_job, q)
      assert.matches(tostring(p.pid), tostring(err))
      for _, method in ipairs { "resume", "suspend", "cancel", "complete" } do
        assert.has_error(function() job[method](job) end)
      end
      assert.is_nil((job:wait(1)))
      server:release()
      p:expect "done\n"
      server:check(root .. "/" .. name, name, 3000)
      outside.eventually("it is seen that the job is gone", function()
        return not q:job(id)
      end)
    end)
  end)

  it("is not the child's of a fork", function()
    shared.with(function(p)
      local name = fresh()
      local job = p.q:create_job()
      job:add_file { url = server:url(name, 3000, "plan=stall:10,ok"),
        path = p.path(name) }
      job:resume()
      server:stalled(1)
      local from, to = system.pipe()
      local pid = system.fork()
      if pid == 0 then
        local ok, why = pcall(function()
          for _, f in ipairs {
            function() p.q:jobs() end, function() p.q:create_job() end,
            function() job:resume() end, function() job:status() end,
            function() job:wait() end,
          } do
            assert.matches("parent", tostring(shared.raised(f)))
          end
          assert.is_string(tostring(job))
          assert.is_string(tostring(p.q))
          p.q:close()
          local q <close> = bits.manager { path = p.path "other.db" }
          assert(q:is_owner())
          local own = q:create_job()
          own:add_file { url = server:url(name .. "c", 30),
            path = p.path "child" }
          own:resume()
          assert(own:wait())
          own:complete()
        end)
        system.write(to, ok and "good" or tostring(why))
        system.exit(0)
      end
      system.close(to)
      local said = system.read(from, outside.patience * 1000)
      system.close(from)
      if said ~= "good" then system.kill(pid, 9) end
      system.wait(pid, outside.patience * 1000)
      assert.equal("good", said)
      server:release()
      assert(job:wait())
      job:complete()
      server:check(p.path(name), name, 3000)
      server:check(p.path "child", name .. "c", 30)
    end)
  end)
end)

describe("a command that is to be told", function()
  shared.serve(_ENV)

  it("is run when the job is transferred, and once", function()
    shared.with(function(p)
      local name = fresh()
      local job = p.q:create_job { notify_command = { "sh", "-c",
        "echo told >>" .. p.path "told" } }
      job:add_file { url = server:url(name, 30), path = p.path(name) }
      job:resume()
      assert(job:wait())
      outside.eventually("it was told", function()
        return outside.content(p.path "told") == "told\n"
      end)
      p.reopen()
      assert.equal("told\n", outside.content(p.path "told"))
    end)
  end)
end)

-- ------------------------------------------------------------------
-- Secrets
-- ------------------------------------------------------------------

-- Not words that would be anywhere by themselves, nor in another run of this:
-- they are looked for in what ps says.
local SECRET = ("Xq7canary%dZk2"):format(system.pid())

describe("a secret", function()
  shared.serve(_ENV)

  local function secret_job(q, root, name, more)
    local job = q:create_job {
      name = "with secrets",
      credentials = { user = "me", password = SECRET .. "1" },
      proxy_credentials = { user = "me", password = SECRET .. "2" },
      headers = { { name = "X-Token", value = SECRET .. "3", secret = true },
        Authorization = "Bearer " .. SECRET .. "4" },
      retry_delay = 600,
    }
    job:add_file { url = server:url(name, 3000, (more or "plan=ok")
      .. "&X-Amz-Signature=" .. SECRET .. "5&sig=" .. SECRET .. "6"),
      path = root .. "/" .. name }
    return job
  end

  it("is in no file, log, error, status or text, whatever goes wrong",
    function()
      outside.directory(function(root)
        local said = {}
        saros.config { log = function(record)
          said[#said + 1] = tostring(record.text)
        end }
        local function note(item, depth)
          said[#said + 1] = tostring(item)
          if type(item) == "table" and (depth or 0) < 5 then
            for key, field in next, item do
              if key ~= "_manager" then note(field, (depth or 0) + 1) end
            end
          end
        end
        do
          local q <close> = bits.manager { path = root .. "/queue.db" }
          for _, plan in ipairs { "plan=404", "plan=drop:10", "plan=stall:10",
            "plan=redirect:none", "plan=head:other" } do
            local job = secret_job(q, root, fresh(), plan)
            job:resume()
            outside.eventually("something has happened", function()
              local s = job:status()
              return s.error or s.bytes > 0
            end)
            note(job)
            note(job:status())
            note(job:files())
            note((job:error()))
            note(job:run())
            note(job:run():status())
            note(select(2, job:wait(0)))
          end
          for _, bad in ipairs {
            { url = "http://me:" .. SECRET .. "@h/", path = "/tmp/x" },
            { url = "ftp://h/?sig=" .. SECRET, path = "/tmp/x" },
            { url = "http://h/ ?sig=" .. SECRET, path = "/tmp/x" },
          } do
            note(select(2, pcall(function()
              q:create_job():add_file(bad)
            end)))
          end
          note(select(2, pcall(q.create_job, q,
            { headers = { ["X"] = SECRET .. "\n" } })))
          note(select(2, pcall(q.create_job, q,
            { credentials = { user = SECRET .. ":", password = SECRET } })))
          note(q:jobs())
          note(q:status())
          server:release()
        end
        helper.settle()
        saros.config { log = false }
        local text = table.concat(said, "\n")
        local at = text:find(SECRET, 1, true)
        assert.is_nil(at, at and text:sub(math.max(at - 200, 1), at + 100))
        assert.is_true(#text > 1000)
        -- A URL is kept as it is, or nothing could go on with it; by nobody else
        -- can it be read.
        local found = outside.run("sh", "-c", ("cd '%s' && grep -rl '%s[1-4]' . "
          .. "|| echo none; find . -name 'queue*' -perm /077"):format(root,
          SECRET))
        assert.equal("none\n", found)
      end)
    end)

  it("is sent where it belongs, and to nobody else", function()
    shared.with(function(p)
      local name = fresh()
      local job = secret_job(p.q, p.root, name, "plan=redirect:away,ok")
      job:set { headers = { { name = "X-Token", value = SECRET .. "3",
        secret = true } } }
      job:resume()
      assert(job:wait())
      job:complete()
      local log = server:ask("!log?of=/f/" .. name)
      local first = log:match '"port": 0.-"words"'
      assert.is_truthy(first:find(SECRET .. "3", 1, true))
      for entry in log:gmatch '"port": 1.-"words"' do
        assert.is_nil(entry:find(SECRET .. "3", 1, true))
        assert.is_nil(entry:find("authorization", 1, true))
      end
    end)
  end)

  it("is not seen by others, nor given to programs", function()
    outside.directory(function(root)
      outside.write(root .. "/password", SECRET .. "\n")
      local name = fresh()
      local p <close> = start(root, ([[
        local job = q:create_job { credentials = { user = "me",
          password = { file = %q } }, notify_command = { "sh", "-c",
          "cd %s && (env; cat /proc/self/environ) >part && "
            .. "mv part environment" } }
        job:add_file { url = %q, path = %q }
        job:resume()
        assert(job:wait())
        repeat saros.sleep(0.01):wait() until io.open(%q)
        say "done"
        saros.sleep(1000):wait()
      ]]):format(root .. "/password", root, server:url(name, 30),
        root .. "/" .. name, root .. "/environment"))
      p:expect "done\n"
      local seen = outside.run("sh", "-c", ("cat /proc/%d/cmdline "
        .. "/proc/%d/environ '%s/environment' | tr '\\0' ' '; "
        .. "env -u LD_PRELOAD ps -eo args | grep -v grep"):format(p.pid, p.pid,
        root))
      assert.is_nil(seen:find(SECRET, 1, true))
      assert.is_true(#seen > 100)
      assert.matches('"authorization": "Basic', server:ask("!log?of=/f/"
        .. name))
    end)
  end)

  it("that was in memory is lost with its process, and the job says so",
    function()
      outside.directory(function(root)
        local name = fresh()
        local id
        do
          local q <close> = bits.manager { path = root .. "/queue.db",
            active = false }
          local job = q:create_job { headers = { { name = "X-Token",
            value = SECRET, secret = true } } }
          job:add_file { url = server:url(name, 30), path = root .. "/x" }
          job:resume()
          id = job.id
        end
        local q <close> = bits.manager { path = root .. "/queue.db",
          active = true }
        local job = q:job(id)
        local _, err = job:wait()
        assert.equal(code.BG_E_INVALID_CREDENTIALS, err.code)
        assert.matches("headers", tostring(err))
        job:set { headers = { { name = "X-Token", value = SECRET,
          secret = true } } }
        job:resume()
        assert(job:wait())
        raises(code.E_INVALIDARG, job.set, job, { headers = { ["X\n"] = "x" } })
      end)
    end)
end)
