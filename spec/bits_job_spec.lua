-- saros.bits: jobs and their files, method by method, against a real server.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.lacks(_ENV, "a job of saros.bits") then return end

local raises, raised = shared.raises, shared.raised
local server, fresh = shared.server, shared.fresh
local job_of = shared.job_of

local function exists(path) return (io.open(path)) ~= nil end

describe("a job", function()
  shared.serve(_ENV)

  it("transfers a file, which has its name when it is completed", function()
    shared.with(function(p)
      local name = fresh()
      local job = job_of(p, name, 100000)
      assert.equal("suspended", job:status().state)
      assert.equal(job, job:resume())
      local r = assert(job:wait())
      assert.equal(1, r.files)
      assert.equal(100000, r.bytes)
      local s = job:status()
      assert.equal("transferred", s.state)
      assert.equal("transferred", s.job_state)
      assert.equal(100000, s.bytes)
      assert.equal(100000, s.total)
      assert.equal(1, s.files_done)
      assert.is_false(exists(p.path(name)))
      assert.equal(code.S_OK, job:complete())
      server:check(p.path(name), name, 100000)
      assert.equal("acknowledged", job:status().state)
      assert.is_nil(p.q:job(job.id))
      assert.is_true(job:done())
      raises(code.BG_E_INVALID_STATE, job.complete, job)
      raises(code.BG_E_INVALID_STATE, job.cancel, job)
      raises(code.BG_E_INVALID_STATE, job.resume, job)
      raises(code.BG_E_INVALID_STATE, job.suspend, job)
      raises(code.BG_E_INVALID_STATE, job.set, job, { name = "x" })
      assert.is_table(job:wait())
    end)
  end)

  it("without files cannot be resumed", function()
    shared.with(function(p)
      local job = p.q:create_job()
      raises(code.BG_E_EMPTY, job.resume, job)
      assert.equal("suspended", job:status().state)
    end)
  end)

  it("that is suspended cannot be waited for", function()
    shared.with(function(p)
      local job = job_of(p, fresh(), 10)
      local ok, err = job:wait()
      assert.is_nil(ok)
      assert.equal(code.BG_E_INVALID_STATE, err.code)
      assert.equal("BG_E_INVALID_STATE", err.name)
    end)
  end)

  it("suspended in the middle goes on where it was", function()
    shared.with(function(p)
      local name = fresh()
      local job = job_of(p, name, 300000, "plan=stall:200000,ok")
      job:resume()
      server:stalled(1)
      outside.eventually("200000 bytes", function()
        return job:status().bytes == 200000
      end)
      job:suspend()
      assert.equal("suspended", job:status().state)
      assert.equal(code.BG_E_INVALID_STATE, select(2, job:wait()).code)
      assert.equal(job, job:suspend())
      job:resume()
      assert(job:wait())
      job:complete()
      server:check(p.path(name), name, 300000)
      assert.matches("bytes=195904%-", server:ask("!log?of=/f/" .. name))
    end)
  end)

  it("goes on with a server that was away", function()
    local SIGUSR1, SIGUSR2 = 10, 12
    shared.with(function(p)
      local host <close> = outside.start("python3", "-u", "spec/bits/again.py")
      local port = host:expect "\n"
      local job = p.q:create_job { retry_delay = 5 }
      job:add_file { url = ("http://127.0.0.1:%s/x"):format(port),
        path = p.path "x" }
      job:resume()
      outside.eventually("half of it", function()
        return job:status().bytes == 50000
      end)
      outside.system.kill(host.pid, SIGUSR1)
      host:expect "down\n"
      -- Resumed, it does not wait until it is time to try again.
      outside.eventually("nobody is there", function()
        local s = job:status()
        if s.state ~= "transient_error" then return false end
        if s.error.message:find "nobody listens there" then return true end
        job:resume()
      end)
      outside.system.kill(host.pid, SIGUSR2)
      host:expect "up\n"
      outside.eventually("it is all there", function()
        local state = job:status().state
        if state == "transient_error" then job:resume() end
        return state == "transferred"
      end)
      host:expect "from 45904\n"
      assert.equal(0, job:complete())
      local bytes = {}
      for i = 0, 255 do bytes[i + 1] = string.char(i) end
      assert.is_true(outside.content(p.path "x")
        == table.concat(bytes):rep(391):sub(1, 100000))
    end)
  end)

  it("cancelled leaves nothing", function()
    shared.with(function(p)
      local name = fresh()
      local job = job_of(p, name, 300000, "plan=stall:100000")
      job:resume()
      server:stalled(1)
      local run = job:run()
      assert.equal(code.S_OK, job:cancel())
      local ok, err = job:wait()
      assert.is_nil(ok)
      assert.is_true(err.cancelled)
      assert.is_nil((run:wait()))
      assert.equal("cancelled", job:status().state)
      raises(code.QM_E_ITEM_NOT_FOUND, job.get_status, job)
      assert.same({}, p.q:jobs())
      local pipe <close> = assert(io.popen("ls -A '" .. p.root .. "'"))
      assert.is_nil(pipe:read "a":find(name, 1, true))
      server:release()
    end)
  end)

  it("is cancelled with the operation of its run", function()
    shared.with(function(p)
      local job = job_of(p, fresh(), 300000, "plan=stall:100000")
      job:resume()
      server:stalled(1)
      assert.equal(code.S_OK, job:run():cancel())
      assert.is_true(select(2, job:wait()).cancelled)
      assert.equal("cancelled", job:status().state)
      server:release()
    end)
  end)

  it("completed before its end keeps what is whole", function()
    shared.with(function(p)
      local one, two = fresh(), fresh()
      local job = job_of(p, one, 1000)
      job:add_file { url = server:url(two, 1000, "plan=stall-head:0+404"),
        path = p.path(two) }
      job:resume()
      outside.eventually("the first file", function()
        return job:status().files_done == 1
      end)
      server:stalled(1)
      server:release()
      local ok, err = job:wait()
      assert.is_nil(ok)
      assert.equal(0x80190194, err.code)
      assert.equal(2, err.file)
      assert.equal(code.BG_S_PARTIAL_COMPLETE, job:complete())
      server:check(p.path(one), one, 1000)
      assert.is_false(exists(p.path(two)))
    end)
  end)

  it("in error says what, where, and what can be done", function()
    shared.with(function(p)
      local name = fresh()
      local job = job_of(p, name, 1000, "plan=404,ok")
      assert.equal(code.BG_E_ERROR_INFORMATION_UNAVAILABLE,
        select(2, job:error()).code)
      job:resume()
      local _, err = job:wait()
      assert.equal(0x80190194, err.code)
      assert.equal("bits", err.facade)
      assert.equal(404, err.transport)
      assert.equal(1, err.file)
      assert.equal(5, err.context)
      assert.equal("remote_file", err.context_name)
      assert.matches("404", tostring(err))
      assert.matches("resume", tostring(err))
      local again = job:error()
      assert.equal(err.code, again.code)
      assert.equal(1, again.file)
      assert.equal(404, job:status().error.transport)
      assert.same({ 0x10, 0, 404, 0 }, { job:get_status() })
      assert.equal(0x10, (job:query()))
      job:resume()
      assert(job:wait())
      assert.is_nil((job:error()))
      assert.is_nil(job:status().error)
    end)
  end)

  it("gets another address, and uses what it has", function()
    shared.with(function(p)
      local name = fresh()
      local job = job_of(p, name, 300000, "plan=drop:200000,404")
      job:set { no_progress_timeout = 0 }
      job:resume()
      assert.is_nil((job:wait()))
      assert.equal(200000, job:status().bytes)
      assert.equal(job, job:set_url { number = 1,
        url = server:url(name, 300000) })
      job:resume()
      assert(job:wait())
      job:complete()
      server:check(p.path(name), name, 300000)
      assert.matches("bytes=195904%-", server:ask("!log?of=/f/" .. name))
      job = job_of(p, fresh(), 10)
      job:set_url { from = "http://127.0.0.1", to = "http://localhost" }
      assert.matches("^http://localhost:", job:files()[1].url)
      assert.matches("{ number =, url = } or",
        raised(job.set_url, job, { url = "http://h/" }))
      assert.has_error(function() job:set_url { number = 9, url = "http://h/" } end)
    end)
  end)

  it("holds a file against the digest that it was given", function()
    shared.with(function(p)
      local name = fresh()
      local right = server:ask("!sha256/" .. name .. "?size=5000")
      local job = p.q:create_job()
      job:add_file { url = server:url(name, 5000), path = p.path(name),
        sha256 = right }
      job:resume()
      assert(job:wait())
      assert.is_true(job:files()[1].verified)
      job:complete()
      job = p.q:create_job { overwrite = true }
      job:add_file { url = server:url(name, 5000), path = p.path(name),
        sha256 = ("0"):rep(64) }
      job:resume()
      local _, err = job:wait()
      assert.equal(code.BG_E_VALIDATION_FAILED, err.code)
      job:cancel()
      server:check(p.path(name), name, 5000)
    end)
  end)

  it("fetches parts of a file", function()
    shared.with(function(p)
      local name = fresh()
      local job = p.q:create_job()
      job:add_file { url = server:url(name, 5000), path = p.path(name),
        ranges = { { offset = 0, length = 10 }, { offset = 4990 } } }
      job:resume()
      assert(job:wait())
      job:complete()
      local whole = server:ask("!body/" .. name .. "?size=5000")
      assert.equal(whole:sub(1, 10) .. whole:sub(-10),
        outside.content(p.path(name)))
    end)
  end)

  it("sends a file", function()
    shared.with(function(p)
      outside.write(p.path "up", ("a line\n"):rep(5000))
      local job = p.q:create_job { type = "upload" }
      job:add_file { url = ("http://127.0.0.1:%d/u/up"):format(
        server.ports[1]), path = p.path "up" }
      job:resume()
      assert(job:wait())
      assert.equal(code.S_OK, job:complete())
      local size = server:ask "!stored/up":match "^(%d+) "
      assert.equal("35000", size)
      raises(code.E_NOTIMPL, p.q.create_job, p.q,
        { name = "x", type = "upload_reply" })
    end)
  end)

  it("shows its files", function()
    shared.with(function(p)
      local one, two = fresh(), fresh()
      local job = p.q:create_job()
      assert.equal("no files", tostring(job:files()))
      job:add_files {
        { url = server:url(one, 1000), path = p.path(one) },
        { url = server:url(two, 1000), path = p.path(two) },
      }
      local files = job:files()
      assert.equal(2, #files)
      assert.equal(1, files[1].number)
      assert.equal(server:url(two, 1000), files[2].url)
      assert.equal(p.path(two), files[2].path)
      assert.equal("waiting", files[2].state)
      assert.same({ files[2] }, job:files(2))
      assert.same({ files[1] }, job:files(1, 1))
      assert.same({}, job:files(3))
      assert.matches(one, tostring(files), 1, true)
      assert.has_error(function() job:files(0) end)
    end)
  end)

  it("refuses files that are none, and adds nothing then", function()
    shared.with(function(p)
      local job = p.q:create_job()
      raises(code.E_INVALIDARG, job.add_file, job,
        { url = "ftp://h/a", path = "/tmp/a" })
      raises(code.E_INVALIDARG, job.add_file, job,
        { url = "http://h/a", path = "/tmp/a/../b" })
      assert.matches("~/a cannot be a local name: .* give an absolute one",
        raises(code.E_INVALIDARG, job.add_file, job,
          { url = "http://h/a", path = "~/a" }).message)
      assert.matches("bits_job_spec.lua:%d+: job:add_file: option 'path' is missing",
        raised(function() job:add_file { url = "http://h/" } end))
      assert.matches("bits_job_spec.lua:%d+: job:add_file has no option 'uri'",
        raised(function() job:add_file { uri = "http://h/" } end))
      assert.matches("a list of files expected",
        raised(function() job:add_files "http://h/" end))
      assert.matches("job:method%(%), not job.method",
        raised(function() job.add_file { url = "x" } end))
      assert.equal(0, job:status().files)
    end)
  end)

  it("has properties, which are kept", function()
    shared.with(function(p)
      local given = {
        name = "n", description = "d", priority = "low", retry_delay = 30,
        no_progress_timeout = 60, max_time = 90, connect_timeout = 5,
        stall_timeout = 6, method = "GET", cacert = p.path "ca.pem",
        redirects = 3, durability = "file", overwrite = true,
        length_required = true, dynamic = true, on_change = "error",
        max_size = 1000, part_size = 8 << 20, connections_per_host = 2,
        limit_download = 1000, limit_upload = 2000, notify_flags = 3,
        notify_command = { "true", "a" }, proxy = "http://h:3128",
      }
      local job = p.q:create_job(given)
      p.reopen()
      job = p.q:job(job.id)
      local s = job:status()
      for name, item in pairs(given) do assert.same(item, s[name], name) end
      assert.equal("download", s.type)
      job:set { name = "m", limit_download = "2K", notify_flags = { "file" },
        proxy = false, priority = "foreground" }
      s = job:status()
      assert.equal("m", s.name)
      assert.equal("d", s.description)
      assert.equal(2048, s.limit_download)
      assert.equal(16, s.notify_flags)
      assert.equal("", s.proxy)
      assert.equal("foreground", s.priority)
      for name, bad in pairs { name = ("x"):rep(257), priority = "urgent",
        retry_delay = -1, headers = { ["a b"] = "x" }, redirects = 1000,
        proxy = "gopher://h", type = "upload" } do
        assert.has_error(function() job:set { [name] = bad } end, nil, name)
      end
      assert.matches("job:set has no option 'nam'; 'name' perhaps",
        raised(job.set, job, { nam = "x" }))
    end)
  end)

  it("takes secrets from where they are, and refuses what is none", function()
    shared.with(function(p)
      outside.write(p.path "keys", "KEY\nSECRET\n")
      outside.write(p.path "token", "t\n")
      local job = p.q:create_job { s3 = { file = p.path "keys",
        region = "eu" }, credentials = { token = { file = p.path "token" } } }
      local s = job:status()
      assert.equal("eu", s.s3.region)
      assert.equal("file:" .. p.path "token", s.credentials.reference)
      for name, bad in pairs { s3 = { acess_key = "x" }, headers = { 1 },
        credentials = { user = { env = "X" }, password = "x" },
        proxy_credentials = { token = "x" }, notify_flags = { "always" },
        proxy = true } do
        assert.matches("bits_job_spec.lua:%d+: job:set: option " .. name,
          raised(function() job:set { [name] = bad } end))
      end
    end)
  end)

  it("sends headers of its own", function()
    shared.with(function(p)
      local name = fresh()
      local err = raised(p.q.create_job, p.q, { headers = {
        ["X-Two"] = { file = p.path "two" } } })
      assert.matches(p.path "two", tostring(err), 1, true)
      outside.write(p.path "two", "second\n")
      local job = job_of(p, name, 10, nil, { headers = { ["X-One"] = "1",
        { name = "X-Two", value = { file = p.path "two" }, secret = true } },
        credentials = { user = "me", password = "pass" } })
      job:resume()
      assert(job:wait())
      local log = server:ask("!log?of=/f/" .. name)
      assert.matches('"x%-one": "1"', log)
      assert.matches('"x%-two": "second"', log)
      assert.matches('"authorization": "Basic bWU6cGFzcw=="', log)
    end)
  end)
end)
