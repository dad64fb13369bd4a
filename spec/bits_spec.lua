-- saros.bits: queues, jobs and files, method by method, against a real server.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.missing then
  describe("saros.bits", function() pending(shared.missing) end)
  return
end

local bits = shared.bits
local raises, raised = shared.raises, shared.raised
local server
local fresh = shared.fresh

local function job_of(p, name, size, more, properties)
  local job = p.q:create_job(properties)
  job:add_file { url = server:url(name, size, more), path = p.path(name) }
  return job
end

local function exists(path) return (io.open(path)) ~= nil end

local function here_begins(setup, teardown)
  setup(function() server = shared.server() end)
  teardown(function() server:close() end)
end

describe("bits.manager", function()
  it("makes a queue where there is none, and opens it again", function()
    shared.with(function(p)
      assert.equal(p.root .. "/queue.db", p.q:path())
      assert.is_true(p.q:is_owner())
      assert.is_nil(p.q.warning)
      local id = p.q:create_job { name = "one" }.id
      p.reopen()
      local job = p.q:job(id)
      assert.equal("one", job:status().name)
      assert.equal("suspended", job:status().state)
      assert.equal(1, #p.q:jobs())
      assert.equal(job, p.q:jobs()[1])
      assert.is_nil(p.q:job "a1b2c3d4-0000-4000-8000-000000000001")
      assert.is_nil(p.q:job "no guid")
    end)
  end)

  it("raises what is misused in the script's line", function()
    assert.matches("bits_spec.lua:%d+: bits.manager has no option 'pth'",
      raised(function() bits.manager { pth = "/x" } end))
    assert.matches("bits_spec.lua:%d+: bits.manager: option 'path' is missing",
      raised(function() bits.manager {} end))
    assert.matches("a table of options expected",
      raised(function() bits.manager "/x" end))
    assert.matches("bits_spec.lua:%d+: .*limit_download: bytes expected",
      raised(function()
        bits.manager { path = "/x", limit_download = "fast" }
      end))
  end)

  it("says why there is no queue to be had", function()
    local err = raised(bits.manager, { path = "/proc/none/queue.db" })
    assert.equal("bits", err.facade)
    assert.matches("/proc/none", tostring(err))
  end)

  it("takes a path from here", function()
    outside.directory(function(root)
      local said = outside.run("sh", "-c", ([[cd '%s' && exec '%s' -e '
        package.path, package.cpath = %q, %q
        local bits = require "saros.bits"
        local q <close> = bits.manager { path = "queue.db" }
        print(q:path())']]):format(root, outside.lua, outside.lua_path,
        outside.lua_cpath))
      assert.equal(root .. "/queue.db\n", said)
    end)
  end)

  it("keeps limits that are changed", function()
    shared.with(function(p)
      p.q:set { limit_download = "1M", connections = 7 }
      assert.equal(1 << 20, p.q:status().settings.limit_download)
      raises(code.E_INVALIDARG, p.q.set, p.q, { connections = -1 })
      raises(code.E_INVALIDARG, p.q.set, p.q, { limits = { "always" } })
      assert.matches("q:set has no option 'path'",
        raised(p.q.set, p.q, { path = "x" }))
      p.reopen()
      local s = p.q:status().settings
      assert.equal(1 << 20, s.limit_download)
      assert.equal(7, s.connections)
    end)
  end)

  it("does not answer any more when it is closed", function()
    shared.with(function(p)
      local q = p.q
      local job = q:create_job()
      q:close()
      assert.is_true(q:close())
      assert.equal("saros.bits.manager: closed", tostring(q))
      assert.matches("the queue was closed", raised(q.jobs, q))
      assert.matches("the queue was closed", raised(q.create_job, q))
      local err = raised(job.resume, job)
      assert.matches("closed", tostring(err))
      assert.matches("^saros.bits.job: ", tostring(job))
    end)
  end)

  it("sets a damaged queue aside and says so", function()
    outside.directory(function(root)
      do
        local q <close> = bits.manager { path = root .. "/queue.db" }
        q:create_job()
      end
      local file <close> = assert(io.open(root .. "/queue.db", "r+"))
      file:seek("set", 200)
      file:write(("x"):rep(12000))
      file:flush()
      local q <close> = bits.manager { path = root .. "/queue.db" }
      assert.matches("damaged", q.warning)
      assert.same({}, q:jobs())
      q:create_job()
    end)
  end)
end)

describe("a job", function()
  here_begins(setup, teardown)

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
      assert.matches("bits_spec.lua:%d+: job:add_file: option 'path' is missing",
        raised(function() job:add_file { url = "http://h/" } end))
      assert.matches("bits_spec.lua:%d+: job:add_file has no option 'uri'",
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
        assert.matches("bits_spec.lua:%d+: job:set: option " .. name,
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

describe("at the prompt", function()
  here_begins(setup, teardown)

  it("does what the README says", function()
    outside.directory(function(root)
      local name = fresh()
      local places = { ['"/srv/queue.db"'] = root .. "/queue.db",
        ['"/srv/disk.img"'] = root .. "/disk.img",
        ['"https://example.org/disk.img"'] = server:url(name, 5000) }
      local chapter = outside.content "README.md":match
        "\n## Transfer\n(.-)\n## "
      local typed = {}
      for line in chapter:gmatch "\n    > ([^\n]*)" do
        typed[#typed + 1] = line:gsub('"[^"]*"', function(text)
          return places[text] and ("%q"):format(places[text])
        end)
      end
      assert.is_true(#typed >= 9)
      outside.write(root .. "/lines", table.concat(typed, "\n") .. "\n")
      local said, how, status = outside.run("sh", "-c", ([[
        export TERM=dumb INPUTRC=/dev/null
        exec %s -i -e '_PROMPT = "\n"' <'%s/lines' 2>&1]]):format(outside.lua,
        root))
      assert.same({ "exit", 0 }, { how, status }, said)
      assert.is_nil(said:find "stack traceback", said)
      assert.matches('\nsaros.bits.job: %x+ "images": ', said)
      assert.matches("\n1 file, 4.9 KiB\n", said)
      server:check(root .. "/disk.img", name, 5000)
    end)
  end)

  it("a queue, jobs and what they result in show themselves", function()
    shared.with(function(p)
      assert.equal("no jobs", tostring(p.q:jobs()))
      assert.equal("saros.bits.manager: " .. p.root .. "/queue.db: 0 jobs",
        tostring(p.q))
      local job = job_of(p, fresh(), 2048, nil, { name = "images\27[2J" })
      assert.equal(('saros.bits.job: %s "images\\x1b[2J": suspended 0 B, '
        .. "0 of 1 file"):format(job.id:sub(1, 8)), tostring(job))
      job:resume()
      assert.equal("1 file, 2.0 KiB", tostring(assert(job:wait())))
      assert.equal(('%s "images\\x1b[2J": transferred 100%% of 2.0 KiB, '
        .. "1 of 1 file"):format(job.id:sub(1, 8)), tostring(p.q:jobs()))
      assert.equal(tostring(p.q:jobs()), tostring(job:status()))
      assert.matches("^bits.job: ", tostring(job:run()))
      job:close()
      assert.equal("saros.bits.job: closed", tostring(job))
      assert.matches("the job was closed", raised(job.status, job))
      assert.equal(1, #p.q:jobs())
    end)
  end)
end)
