-- Transfers, wrongly asked for: what is refused says why, in the script's line,
-- and nothing of it is done. Nothing is transferred here.
-- also under valgrind
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.bits == nil then
  describe("transfers", function() pending(shared.missing) end)
  return
end

local raises, raised = shared.raises, shared.raised
local HERE = "bits_misuse_spec.lua:%d+: "

local function file(p, name)
  return { url = "http://h/" .. name, path = p.path(name) }
end

-- A queue that transfers nothing.
local function with(f) shared.with(f, { active = false }) end

describe("a list of files", function()
  it("is added whole or not at all", function()
    with(function(p)
      local job = p.q:create_job()
      local function paths()
        local list = {}
        for i, f in ipairs(job:files()) do list[i] = f.path:match "[^/]+$" end
        return table.concat(list, " ")
      end
      local err = raises(code.E_INVALIDARG, job.add_files, job,
        { file(p, "a"), { url = "ftp://h/b", path = p.path "b" } })
      assert.matches("^%[2%]: ftp://h/b cannot", err.message)
      raises(code.E_INVALIDARG, job.add_files, job,
        { file(p, "a"), file(p, "b"), file(p, "a") })
      assert.equal("", paths())
      job:add_files { file(p, "a"), file(p, "b") }
      raises(code.E_INVALIDARG, job.add_files, job,
        { file(p, "c"), file(p, "b") })
      raises(code.E_INVALIDARG, job.add_file, job, file(p, "a"))
      job:add_files {}
      job:add_files { file(p, "c") }
      assert.equal("a b c", paths())
      job:set { name = "x" } -- behind this it is on the disk
      p.reopen()
      job = p.q:job(job.id)
      assert.equal("a b c", paths())
      raises(code.E_INVALIDARG, job.add_file, job, file(p, "b"))
      local upload = p.q:create_job { type = "upload" }
      raises(code.BG_E_TOO_MANY_FILES, upload.add_files, upload,
        { file(p, "a"), file(p, "b") })
      assert.equal(0, upload:status().files)
      local qm = p.q:create_group():create_job()
      local set = { remote_file = "http://h/a", local_file = p.path "a" }
      raises(code.E_INVALIDARG, qm.add_files, qm, { set, set })
      assert.equal(0, qm:get_file_count())
    end)
  end)

  it("forgets nothing that was wrong before", function()
    with(function(p)
      local job = p.q:create_job()
      raised(job.add_files, job, { file(p, "a"), { url = "x", path = "y" } })
      job:add_file(file(p, "b"))
      assert.equal(1, job:status().files)
    end)
  end)

  it("may have files of all kinds in it", function()
    with(function(p)
      local job = p.q:create_job()
      local behind = setmetatable({}, { __index = file(p, "e") })
      for key, value in pairs(getmetatable(behind).__index) do
        behind[key] = value
      end
      job:add_files {
        file(p, "a"), file(p, "b"),
        { url = "http://h/c", path = p.path "c",
          ranges = { { offset = 1, length = 2 } } },
        { url = "http://h/d", path = "d" }, behind, file(p, "f"),
      }
      local names = {}
      for i, f in ipairs(job:files()) do
        assert.equal("/", f.path:sub(1, 1))
        names[i] = f.url:sub(-1) .. f.path:match "[^/]+$"
      end
      assert.equal("aa bb cc dd ee ff", table.concat(names, " "))
      assert.is_nil(p.q:create_job():add_files({ file(p, "a") })
        :files()[1].ranges)
    end)
  end)

  it("says which one is wrong, and in whose line", function()
    with(function(p)
      local job = p.q:create_job()
      local function wrong(third, what)
        local err = raised(function()
          job:add_files { file(p, "a"), file(p, "b"), third, file(p, "c") }
        end)
        assert.matches(what, type(err) == "table" and err.message or err)
        assert.equal(0, job:status().files)
      end
      local here = HERE .. "job:add_files: %[3%]"
      wrong("x", here .. ": a table of options expected, got string")
      wrong({ url = "http://h/x" }, here .. ": option 'path' is missing")
      wrong({ url = "http://h/x", path = 7 }, here .. ": option 'path'")
      wrong({ url = "http://h/x", path = "/x", pth = "" },
        here .. " has no option 'pth'")
      wrong({ url = "http://h/x", path = "/x\0y" },
        here .. ": option 'path': a text without NUL")
      wrong({ url = "http://h/\0", path = "/x" },
        here .. ": option 'url': a text without NUL")
      wrong({ url = "ftp://h/x", path = "/x" }, "^%[3%]: ftp://h/x cannot")
      wrong({ url = "http://h/x", path = "/x/" }, "^%[3%]: ")
      wrong(file(p, "b"), "has a file with the path")
    end)
  end)

  it("has to be one", function()
    with(function(p)
      local job = p.q:create_job()
      local qm = p.q:create_group():create_job()
      for _, given in ipairs { file(p, "a"), "http://h/", 7,
        { file(p, "a"), nil, file(p, "b") } } do
        assert.matches(HERE .. "job:add_files: a list of files expected",
          raised(function() job:add_files(given) end))
        raises(code.E_INVALIDARG, qm.add_files, qm, given)
      end
      assert.equal(0, job:status().files)
      assert.equal(0, qm:get_file_count())
    end)
  end)
end)

describe("a word that is not known", function()
  it("in a range is not passed over", function()
    with(function(p)
      local job = p.q:create_job()
      local f = file(p, "a")
      for _, range in ipairs { { offset = 0, lenght = 10 }, { 0, 10 },
        { offset = "0" }, 7 } do
        f.ranges = { range }
        local err = raises(code.E_INVALIDARG, job.add_file, job, f)
        assert.matches("a range has an offset and a length", err.message)
      end
      assert.equal(0, job:status().files)
    end)
  end)

  it("in a header does not make it public", function()
    with(function(p)
      for wrong, header in pairs {
        ["has no 'secert'"] = { name = "X-A", value = "1", secert = true },
        ["headers%['X%-A'%].secret: boolean expected, got string"] =
          { name = "X-A", value = "1", secret = "yes" },
        ["{ name =, value = } expected"] = { value = "1" },
      } do
        assert.matches(HERE .. "q:create_job: option .*" .. wrong,
          raised(function() p.q:create_job { headers = { header } } end))
      end
      assert.matches("there is a hole in it", raised(p.q.create_job, p.q,
        { headers = { [2] = { name = "X-A", value = "1" } } }))
    end)
  end)

  it("among those who are to be told is named", function()
    with(function(p)
      for wrong, notify in pairs {
        ["'transfered' is none of transferred"] = { transfered = print },
        ["notify.error: function expected, got number"] = { error = 1 },
        ["a function expected, or false"] = true,
      } do
        assert.matches(HERE .. "q:create_job: option .*" .. wrong,
          raised(function() p.q:create_job { notify = notify } end))
      end
      assert.matches("notify_flags: a list of names expected",
        raised(p.q.create_job, p.q, { notify_flags = { error = true } }))
    end)
  end)
end)

describe("a job", function()
  it("says which files there are when there is none of that number", function()
    with(function(p)
      local job = p.q:create_job():add_file(file(p, "a"))
      local err = raises(code.BG_E_FILE_NOT_FOUND, job.set_url, job,
        { number = 2, url = "http://h/b" })
      assert.matches("has 1 file, and none of that number", err.message)
      for _, bad in ipairs { { 0 }, { "x" }, { 1.5 }, { 1, -1 }, { 1, {} } } do
        assert.matches(HERE .. "job:files: ", raised(function()
          job:files(table.unpack(bad))
        end))
      end
      assert.equal(0, #job:files(1, 0))
    end)
  end)

  it("is not taken over from another user, nor is an answer kept", function()
    with(function(p)
      local job = p.q:create_job()
      raises(code.E_NOTIMPL, job.take_ownership, job)
      raises(code.E_NOTIMPL, p.q.create_job, p.q, { type = "upload_reply" })
    end)
  end)

  it("takes a command back", function()
    with(function(p)
      local job = p.q:create_job { notify_command = { "true" } }
      job:set { notify_command = {} }
      assert.same({}, job:status().notify_command)
    end)
  end)

  it("is found by the beginning of its GUID, too", function()
    with(function(p)
      local job = p.q:create_job()
      p.q:create_group "A1B2C3D4-0000-4000-8000-000000000001"
      assert.equal(job, p.q:job(job.id:sub(1, 8)))
      assert.equal(job, p.q:job(job.id:sub(1, 13):upper()))
      assert.is_nil(p.q:job(job.id:sub(1, 3)))
      assert.is_nil(p.q:job "")
      assert.is_nil(p.q:job "00000000-0000-0000")
    end)
  end)

  it("shows why it does not go on", function()
    with(function(p)
      assert.matches("nothing is transferred: it was set to active = false",
        tostring(p.q))
      local job = p.q:create_job { name = "n" }:add_file(file(p, "a"))
      local event = {}
      saros.run(function()
        local _ <close> = p.q:on_event(function(e) event[e.what] = e end)
        job:set { description = "d" }
        repeat saros.sleep(0.002):wait() until event.modified
      end)
      assert.equal(("modified: %s \"n\": suspended 0 B, 0 of 1 file"):format(
        job.id:sub(1, 8)), tostring(event.modified))
    end)
  end)

  it("and a queue that was closed say so in the script's line", function()
    with(function(p)
      local q = p.q
      q:on_event(function() end)
      local job, group = q:create_job(), q:create_group()
      assert.matches(HERE .. "group:on_status: function expected",
        raised(function() group:set_notification_pointer(7) end))
      q:close()
      assert.matches(HERE .. "job:set: the queue was closed", raised(function()
        job:set { notify = print }
      end))
      for _, f in ipairs {
        function() q:on_event(print) end, function() q:jobs() end,
        function() q:create_group() end, function() q:enum_groups() end,
      } do
        assert.matches(HERE .. "the queue was closed", raised(f))
      end
      assert.matches(HERE .. "a queue expected: q:method%(%)",
        raised(function() q.create_group() end))
    end)
  end)
end)

describe("a QMgr group", function()
  it("is asked with a colon", function()
    with(function(p)
      local group = p.q:create_group()
      local job = group:create_job()
      assert.matches(HERE .. ".*group:method%(%), not group.method",
        raised(function() group.resume_group() end))
      assert.matches(HERE .. ".*job:method%(%), not job.method",
        raised(function() job.get_status() end))
    end)
  end)

  it("does not mind that the job behind it was closed", function()
    with(function(p)
      local group = p.q:create_group()
      group:query_new_job_interface():close()
      assert.equal(0x180, (group:get_status()))
      p.q:close()
      assert.is_string(tostring(group))
    end)
  end)

  it("has one job, and all its properties, also of two tasks at once",
    function()
      with(function(p)
        local group = p.q:create_group()
        local made, refused = {}, {}
        saros.run(function()
          local tasks = {}
          for i = 1, 3 do
            tasks[i] = saros.spawn(function()
              local ok, job = pcall(group.create_job, group)
              table.insert(ok and made or refused, job)
            end)
          end
          tasks[4] = saros.spawn(function() group:set_prop(6, 0x40) end)
          saros.all(tasks):wait()
        end)
        assert.same({ 1, 2 }, { #made, #refused })
        assert.equal(code.E_NOTIMPL, refused[1].code)
        assert.equal(code.E_NOTIMPL, refused[2].code)
        assert.equal(made[1], group:enum_jobs()[1])
        assert.equal(0x40, group:get_prop(6))
      end)
    end)

  it("counts the characters of its name", function()
    with(function(p)
      local group = p.q:create_group()
      group:set_prop(11, ("é"):rep(256))
      assert.equal(("é"):rep(256), group:get_prop(11))
      raises(code.E_INVALIDARG, group.set_prop, group, 11, ("é"):rep(257))
    end)
  end)
end)

describe("a queue that cannot be had", function()
  it("says whose it is, or what is in its way", function()
    if outside.run("id", "-u") ~= "0\n" then return pending "not root" end
    outside.directory(function(root)
      local path = root .. "/queue.db"
      shared.bits.manager { path = path }:close()
      assert(os.execute(("chown 65534 '%s'"):format(path)))
      local err = raises(code.E_ACCESSDENIED, shared.bits.manager,
        { path = path })
      assert.matches("belongs to another user %(uid 65534%)", err.message)
      err = raised(shared.bits.manager, { path = root })
      assert.matches("is not a file", err.message)
      err = raised(shared.bits.manager, { path = root .. "/no/queue.db" })
      assert.matches("its directory does not exist; make it", err.message)
      err = raised(shared.bits.manager, { path = "" })
      assert.matches("which queue%? Give its path", err.message)
    end)
  end)
end)

describe("who somebody is", function()
  it("is said whole, and with the words that there are", function()
    with(function(p)
      for wrong, given in pairs {
        ["credentials has no 'pasword'; it takes password, token, user"] =
          { credentials = { user = "u", pasword = "x" } },
        ["credentials: there is a user, and no password"] =
          { credentials = { user = "u" } },
        ["proxy_credentials: there is a password, and no user"] =
          { proxy_credentials = { password = "x" } },
        ["s3 has no 'acess_key'; it takes access_key, env, file"] =
          { s3 = { acess_key = "x" } },
        ["s3.env: a text expected"] = { s3 = { env = {} } },
      } do
        local said = raised(function() p.q:create_job(given) end)
        assert.matches(HERE .. "q:create_job: option ", said)
        assert.is_truthy(said:find(wrong, 1, true), said)
      end
    end)
  end)
end)

describe("a number", function()
  it("of a file, or of seconds, is one", function()
    with(function(p)
      local job = p.q:create_job():add_file(file(p, "a"))
      assert.matches(HERE .. "job:set_url: .*counted from 1", raised(function()
        job:set_url { number = 0, url = "http://h/" }
      end))
      assert.matches(HERE .. "job:wait: seconds expected, got string",
        raised(function() job:wait "x" end))
      assert.matches(HERE .. "q:close: seconds expected, got string",
        raised(function() p.q:close "x" end))
      assert.is_true(p.q:is_owner()) -- it was not closed
    end)
  end)
end)

describe("an error", function()
  it("has a name, and says what is to be done and nothing else", function()
    with(function(p)
      local second <close> = shared.bits.manager { path = p.path "queue.db" }
      local err = raises(code.SAROS_E_LOCKED, second.create_job, second)
      assert.equal("SAROS_E_LOCKED", err.name)
      assert.matches("is owned by pid ", err.message)
      local job = p.q:create_job()
      for path, why in pairs { ["/tmp/"] = "a file is needed",
        ["/tmp/../x"] = 'there is a ".." in it; write where that leads' } do
        err = raises(code.E_INVALIDARG, job.add_file, job,
          { url = "http://h/a", path = path })
        assert.is_truthy(err.message:find(why .. "$"), err.message)
      end
    end)
  end)
end)

describe("a queue that is observed", function()
  it("and has no owner says so", function()
    outside.directory(function(root)
      local path = root .. "/queue.db"
      shared.bits.manager { path = path }:close()
      local q <close> = shared.bits.manager { path = path, observe = true }
      local err = raises(code.SAROS_E_LOCKED, q.create_job, q)
      assert.matches("nobody owns it now: open it without observe", err.message)
    end)
  end)
end)

describe("a queue on a disk that cannot be written", function()
  it("is not looked at, and says why", function()
    if volumes.missing then return pending(volumes.missing) end
    outside.directory(function(at)
      local said, good = volumes.run("mkdir '%s/ro' && mount -t tmpfs tmpfs "
        .. "'%s/ro'", at, at)
      if not good then return pending("no tmpfs: " .. said) end
      local _ <close> = setmetatable({}, { __close = function()
        volumes.run("umount -l '%s/ro'", at)
      end })
      local path = at .. "/ro/queue.db"
      shared.bits.manager { path = path }:close()
      assert(select(2, volumes.run("mount -o remount,ro '%s/ro'", at)))
      for _, observe in ipairs { false, true } do
        local err = raised(shared.bits.manager,
          { path = path, observe = observe })
        assert.matches("mounted read%-only", err.message)
      end
    end)
  end)
end)
