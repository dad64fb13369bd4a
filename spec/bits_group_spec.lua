-- QMgr's objects against a real server: A70 to A83 by number, and what each
-- method answers.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.lacks(_ENV, "a QMgr group") then return end

local INCOMPLETE, COMPLETE, ERROR = 0x08, 0x04, 0x10
local GROUP_COMPLETE, GROUP_INCOMPLETE, GROUP_SUSPENDED, GROUP_ERROR,
  GROUP_FOREGROUND = 0x40, 0x80, 0x100, 0x200, 0x400

local raises, raised = shared.raises, shared.raised
local server, fresh = shared.server, shared.fresh

-- A group with a job and files that are { name, size, more }.
local function group_of(p, files)
  local group = p.q:create_group()
  local job = group:create_job()
  local list = {}
  for i, file in ipairs(files) do
    list[i] = { remote_file = file.url
      or server:url(file[1], file[2], file[3]), local_file = p.path(file[1]) }
  end
  job:add_files(list)
  return group, job
end

-- Waits until the job's flags are these; all that were seen on the way.
local function until_flags(job, flags)
  local seen = {}
  outside.eventually(("flags 0x%x"):format(flags), function()
    local now = job:get_status()
    seen[now] = true
    return now == flags
  end)
  return seen
end

describe("a QMgr group", function()
  shared.serve(_ENV)

  it("A70, A74, A78, A81: downloading is incomplete, and no error", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 5000, "plan=stall:1000" } })
      assert.same({ INCOMPLETE, 0, 0, 0 }, { job:get_status() })
      group:resume_group()
      server:stalled(1)
      assert.same({ INCOMPLETE, 0, 0, 0 }, { job:get_status() })
      assert.same({ GROUP_INCOMPLETE, 0 }, { group:get_status() })
      server:release()
      until_flags(job, COMPLETE)
    end)
  end)

  it("A71: finished is complete, and the file is there", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 5000 } })
      group:resume_group()
      until_flags(job, COMPLETE)
      assert.same({ COMPLETE, 0, 0, 0 }, { job:get_status() })
      assert.equal(GROUP_COMPLETE | GROUP_SUSPENDED, (group:get_status()))
      server:check(p.path(name), name, 5000)
      assert.equal(100, job:get_progress(1))
      assert.equal(5000, job:get_progress(3))
      assert.equal(5000, group:get_size())
    end)
  end)

  it("A72, A77: 404 is an error, with its transport result", function()
    shared.with(function(p)
      local group, job = group_of(p, { { fresh(), 10, "plan=404" } })
      group:resume_group()
      until_flags(job, ERROR)
      assert.same({ ERROR, 0, 404, 0 }, { job:get_status() })
      assert.equal(GROUP_INCOMPLETE | GROUP_SUSPENDED | GROUP_ERROR,
        (group:get_status()))
    end)
  end)

  it("A73: in the foreground its job does not say so, but it does", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 5000, "plan=stall:10" } })
      group:switch_to_foreground()
      assert.equal(INCOMPLETE, (job:get_status()))
      group:resume_group()
      server:stalled(1)
      assert.equal(INCOMPLETE, (job:get_status()))
      assert.equal(GROUP_INCOMPLETE | GROUP_FOREGROUND, (group:get_status()))
      server:release()
      local seen = until_flags(job, COMPLETE)
      for flags in pairs(seen) do assert.equal(0, flags & ~0x1C) end
      assert.equal(GROUP_COMPLETE | GROUP_SUSPENDED | GROUP_FOREGROUND,
        (group:get_status()))
    end)
  end)

  it("A75: what will be tried again is incomplete and in error", function()
    shared.with(function(p)
      -- A delay of less than a second may be one of a millisecond.
      local group, job = group_of(p, { { fresh(), 5000, "plan=503:600" } })
      group:resume_group()
      until_flags(job, INCOMPLETE | ERROR)
      assert.equal(GROUP_INCOMPLETE | GROUP_ERROR, (group:get_status()))
      assert.same({ INCOMPLETE | ERROR, 1 },
        { (job:get_status()), select(4, job:get_status()) })
    end)
  end)

  it("A76: a refused connection is Win32's 1225", function()
    shared.with(function(p)
      shared.with_closed_port(function(port)
        local group, job = group_of(p, { { fresh(), 1,
          url = ("http://127.0.0.1:%d/x"):format(port) } })
        group:resume_group()
        local s -- asked for once: the next moment it may be tried again
        outside.eventually("an error", function()
          s = table.pack(job:get_status())
          return s[1] & ERROR ~= 0
        end)
        assert.same({ INCOMPLETE | ERROR, 1225, 0 }, { s[1], s[2], s[3] })
      end)
    end)
  end)

  it("A79: a full disk is Win32's 112", function()
    if volumes.missing then return pending(volumes.missing) end
    outside.directory(function(at)
      local said, good = volumes.run("mkdir '%s/full' && mount -t tmpfs -o "
        .. "size=64k tmpfs '%s/full'", at, at)
      if not good then return pending("no tmpfs: " .. said) end
      local _ <close> = setmetatable({}, { __close = function()
        volumes.run("umount -l '%s/full'", at)
      end })
      shared.with(function(p)
        local group = p.q:create_group()
        local job = group:create_job()
        job:add_files { { remote_file = server:url(fresh(), 300000),
          local_file = at .. "/full/f" } }
        group:resume_group()
        until_flags(job, ERROR)
        assert.same({ ERROR, 112, 0 },
          { select(1, job:get_status()), select(2, job:get_status()),
            (select(3, job:get_status())) })
      end)
    end)
  end)

  it("A80, A83: three failures are three retries; after a success none",
    function()
      shared.with(function(p)
        local name = fresh()
        local group, job = group_of(p,
          { { name, 5000, "plan=503:600,503:600,503:600,ok" } })
        group:resume_group()
        for i = 1, 3 do
          outside.eventually("retry " .. i, function()
            local flags, _, transport, retries = job:get_status()
            return flags == INCOMPLETE | ERROR and transport == 503
              and retries == i
          end)
          group:resume_group() -- at once, and not in ten minutes
        end
        until_flags(job, COMPLETE)
        assert.same({ COMPLETE, 0, 0, 0 }, { job:get_status() })
        server:check(p.path(name), name, 5000)
      end)
    end)

  it("A82: GetStatus succeeds in every state of what is queued", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 5000, "plan=404,stall:9,ok" } })
      job:get_status()
      group:resume_group()
      until_flags(job, ERROR)
      group:resume_group()
      server:stalled(1)
      job:get_status()
      group:suspend_group()
      assert.equal(INCOMPLETE, (job:get_status()))
      group:resume_group()
      until_flags(job, COMPLETE)
    end)
  end)

  it("A83: an error that was mended leaves nothing", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 777, "plan=404,ok" } })
      group:resume_group()
      until_flags(job, ERROR)
      group:resume_group()
      until_flags(job, COMPLETE)
      assert.same({ COMPLETE, 0, 0, 0 }, { job:get_status() })
      server:check(p.path(name), name, 777)
    end)
  end)
end)

describe("QMgr's methods", function()
  shared.serve(_ENV)

  it("CreateGroup, GetGroup and EnumGroups know GUIDs", function()
    shared.with(function(p)
      local q = p.q
      local a = q:create_group "{A1B2C3D4-0000-4000-8000-000000000001}"
      local b = q:create_group()
      assert.equal("a1b2c3d4-0000-4000-8000-000000000001", a.id)
      assert.equal(a.id, a:get_group_id())
      raises(code.E_INVALIDARG, q.create_group, q, a.id)
      raises(code.E_INVALIDARG, q.create_group, q, "no guid")
      assert.equal(a, q:get_group(a.id:upper()))
      raises(code.QM_E_ITEM_NOT_FOUND, q.get_group, q,
        "a1b2c3d4-0000-4000-8000-000000000002")
      raises(code.E_NOTIMPL, q.enum_groups, q, 1)
      local list = q:enum_groups(0)
      assert.equal(2, #list)
      assert.equal(a, list[1])
      assert.equal(b, list[2])
      q:create_job { name = "of today" }
      assert.equal(2, #q:enum_groups())
    end)
  end)

  it("a group has one job", function()
    shared.with(function(p)
      local group = p.q:create_group()
      assert.same({}, group:enum_jobs(0))
      raises(code.QM_E_ITEM_NOT_FOUND, group.get_job, group,
        "a1b2c3d4-0000-4000-8000-000000000001")
      local job = group:create_job "a1b2c3d4-0000-4000-8000-000000000001"
      assert.equal("a1b2c3d4-0000-4000-8000-000000000001", job:get_job_id())
      assert.equal(job, group:get_job(job.id))
      assert.equal(job, group:enum_jobs(0)[1])
      raises(code.E_NOTIMPL, group.enum_jobs, group, 1)
      raises(code.E_NOTIMPL, group.create_job, group)
      for _, method in ipairs { "cancel_job", "switch_to_foreground",
        "get_times" } do
        raises(code.E_NOTIMPL, job[method], job)
      end
      job:add_files { { remote_file = server:url(fresh(), 10, "plan=stall:1"),
        local_file = p.path "x" } }
      group:resume_group()
      server:stalled(1)
      raises(code.QM_E_INVALID_STATE, group.create_job, group)
      server:release()
    end)
  end)

  it("AddFiles takes all of them or none", function()
    shared.with(function(p)
      local job = p.q:create_group():create_job()
      local good = { remote_file = "http://h/a", local_file = p.path "a" }
      for _, bad in ipairs {
        { remote_file = "ftp://h/a", local_file = p.path "b" },
        { remote_file = "http://h/a b", local_file = p.path "b" },
        { remote_file = "http://h/" .. ("x"):rep(2300),
          local_file = p.path "b" },
        { remote_file = "http://h/a", local_file = "b" },
        { remote_file = "http://h/a", local_file = p.path "none/b" },
        { remote_file = "http://h/a" }, "http://h/a",
      } do
        raises(code.E_INVALIDARG, job.add_files, job, { good, bad })
        assert.equal(0, job:get_file_count())
      end
      job:add_files { good }
      assert.equal(1, job:get_file_count())
      assert.same({ remote_file = good.remote_file,
        local_file = good.local_file, size_hint = 0 }, job:get_file(0))
      raises(code.QM_E_ITEM_NOT_FOUND, job.get_file, job, 1)
      raises(code.QM_E_ITEM_NOT_FOUND, job.get_file, job, -1)
    end)
  end)

  it("AddFiles asks whether anything may be written there", function()
    if volumes.missing then return pending(volumes.missing) end
    outside.directory(function(at)
      local said, good = volumes.run("mkdir '%s/ro' && mount -t tmpfs -o ro "
        .. "tmpfs '%s/ro'", at, at)
      if not good then return pending("no tmpfs: " .. said) end
      shared.with(function(p)
        local job = p.q:create_group():create_job()
        raises(code.E_ACCESSDENIED, job.add_files, job,
          { { remote_file = "http://h/a", local_file = at .. "/ro/a" } })
      end)
      volumes.run("umount -l '%s/ro'", at)
    end)
  end)

  it("GetProgress knows percent and bytes, and no time", function()
    shared.with(function(p)
      local group, job = group_of(p, { { fresh(), 1000, "plan=stall:500" } })
      for _, object in ipairs { group, job } do
        assert.equal(0, object:get_progress(1))
        assert.equal(0, object:get_progress(3))
        raises(code.E_NOTIMPL, object.get_progress, object, 2)
        raises(code.E_INVALIDARG, object.get_progress, object, 4)
        raises(code.E_INVALIDARG, object.get_progress, object)
      end
      assert.equal(0, group:get_size())
      group:resume_group()
      server:stalled(1)
      outside.eventually("the half of it", function()
        return job:get_progress(3) == 500
      end)
      assert.equal(50, group:get_progress(1))
      assert.equal(1000, group:get_size())
      server:release()
    end)
  end)

  it("properties are what the original has, and kept", function()
    shared.with(function(p)
      local group = p.q:create_group()
      assert.equal(1, group:get_prop(0))
      assert.equal(1, group:get_prop "priority")
      assert.equal(1, group:get_prop(5))
      group:set_prop(0, 1)
      raises(code.E_INVALIDARG, group.set_prop, group, 0, 2)
      raises(code.E_INVALIDARG, group.set_prop, group, 5, 2)
      for _, n in ipairs { 1, 2, 3, 4, 8, 9, 10, 13, -1 } do
        raises(code.E_NOTIMPL, group.get_prop, group, n)
        raises(code.E_NOTIMPL, group.set_prop, group, n, 1)
      end
      raises(code.E_INVALIDARG, group.set_prop, group, 6, "4")
      raises(code.E_NOTIMPL, group.set_prop, group, 6, 0x80)
      raises(code.E_INVALIDARG, group.set_prop, group, 7, "no guid")
      raises(code.E_INVALIDARG, group.set_prop, group, 11, ("x"):rep(257))
      raises(code.E_INVALIDARG, group.set_prop, group, 12, ("x"):rep(1025))
      raises(code.E_INVALIDARG, group.set_prop, group, 11, 1)
      raises(code.E_NOTIMPL, group.internal_set_prop, group)
      group:set_prop(6, 0x40)
      group:set_prop("notify_clsid", "A1B2C3D4-0000-4000-8000-000000000001")
      group:set_prop(11, "a name")
      group:set_prop(12, "a description")
      local job = group:create_job()
      local id = group.id
      p.reopen()
      group = p.q:get_group(id)
      assert.equal(0x40, group:get_prop(6))
      assert.equal("a1b2c3d4-0000-4000-8000-000000000001", group:get_prop(7))
      assert.equal("a name", group:get_prop(11))
      assert.equal("a description", group:get_prop(12))
      assert.equal(job.id, group:enum_jobs()[1].id)
    end)
  end)

  it("files appear as each is whole, and survive CancelGroup", function()
    shared.with(function(p)
      local one, two = fresh(), fresh()
      local group, job = group_of(p, { { one, 3000 },
        { two, 3000, "plan=stall:100" } })
      group:resume_group()
      server:stalled(1)
      outside.eventually("the first file", function()
        return outside.content(p.path(one))
      end)
      server:check(p.path(one), one, 3000)
      assert.is_nil(outside.content(p.path(two)))
      group:cancel_group()
      server:release()
      server:check(p.path(one), one, 3000)
      assert.is_nil(outside.content(p.path(two)))
      raises(code.QM_E_ITEM_NOT_FOUND, job.get_status, job)
      raises(code.QM_E_ITEM_NOT_FOUND, group.get_status, group)
      raises(code.QM_E_ITEM_NOT_FOUND, p.q.get_group, p.q, group.id)
      assert.same({}, p.q:enum_groups())
      assert.matches("gone", tostring(group))
    end)
  end)

  it("CancelGroup of a finished one removes it and leaves its files", function()
    shared.with(function(p)
      local name = fresh()
      local group, job = group_of(p, { { name, 3000 } })
      group:resume_group()
      until_flags(job, COMPLETE)
      group:resume_group() -- nothing is to be done
      group:suspend_group()
      assert.equal(COMPLETE, (job:get_status()))
      group:cancel_group()
      raises(code.QM_E_ITEM_NOT_FOUND, group.cancel_group, group)
      server:check(p.path(name), name, 3000)
    end)
  end)

  it("a group without files cannot be resumed", function()
    shared.with(function(p)
      local group = p.q:create_group()
      group:suspend_group()
      raises(code.BG_E_EMPTY, group.resume_group, group)
      assert.equal(GROUP_INCOMPLETE | GROUP_SUSPENDED, (group:get_status()))
    end)
  end)

  it("QueryNewJobInterface is the job of today", function()
    shared.with(function(p)
      local group = p.q:create_group()
      local job = group:query_new_job_interface()
      assert.equal(group.id, job:status().group)
      assert.equal(p.q:jobs()[1], job)
    end)
  end)
end)

describe("OnStatus", function()
  shared.serve(_ENV)

  it("is called when the group is complete, and again until it is S_OK",
    function()
      shared.with(function(p)
        local group, job = group_of(p, { { fresh(), 100 } })
        local calls = {}
        saros.run(function()
          local over = saros.spawn(function()
            repeat saros.sleep(0.005):wait() until #calls == 2
          end)
          group:on_status(function(...)
            calls[#calls + 1] = table.pack(...)
            return #calls == 1 and 0x80004005 or 0
          end)
          group:resume_group()
          over:wait()
        end)
        local c = calls[2]
        assert.equal(7, c.n)
        assert.equal(group, c[1])
        assert.equal(job, c[2])
        assert.same({ -1, GROUP_COMPLETE | GROUP_SUSPENDED, 0, 0, 0 },
          { table.unpack(c, 3) })
      end)
    end)

  it("is called for an error whatever the flags, but not when disabled",
    function()
      shared.with(function(p)
        for _, flags in ipairs { 0, 0x40 } do
          local group, job = group_of(p, { { fresh(), 100, "plan=404" } })
          group:set_prop(6, flags)
          local called
          saros.run(function()
            group:on_status(function(_, _, _, status, retries, win32, http)
              called = { status & GROUP_ERROR, retries, win32, http }
            end)
            group:resume_group()
            repeat saros.sleep(0.005):wait() until job:get_status() == ERROR
            if flags == 0 then
              repeat saros.sleep(0.005):wait() until called
            end
          end)
          helper.settle()
          assert.same(flags == 0 and { GROUP_ERROR, 0, 0, 404 } or nil, called)
        end
      end)
    end)

  it("takes a function, and nothing else", function()
    shared.with(function(p)
      local group = p.q:create_group()
      assert.matches("function expected", raised(group.on_status, group, 1))
      assert.matches("function expected",
        raised(group.set_notification_pointer, group, 1))
      group:on_status(print)
      group:on_status(nil)
      group:set_notification_pointer(print)
      group:set_notification_pointer(nil)
    end)
  end)
end)
