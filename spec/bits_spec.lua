-- saros.bits: queues, and all of it at the prompt.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.bits"

local saros = helper.saros
local code = saros.code

if shared.lacks(_ENV, "saros.bits") then return end

local bits = shared.bits
local raises, raised = shared.raises, shared.raised
local fresh = shared.fresh
local job_of = shared.job_of

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

describe("at the prompt", function()
  shared.serve(_ENV)

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
      assert.equal("no groups", tostring(p.q:enum_groups()))
      local group = p.q:create_group()
      assert.equal(group.id .. ", status 0x180", tostring(p.q:enum_groups()))
    end)
  end)

  it("what is tried again says so once", function()
    local print_out = require "saros.bits.print"
    for said, shown in pairs {
      ["nobody listens there; it is tried again"] =
        "nobody listens there; again in 3 s",
      ["is it spelled right?"] = "is it spelled right? again in 3 s",
      ["it is busy, or away"] = "it is busy, or away; again in 3 s",
    } do
      assert.equal("a1b2c3d4: transient error, no files\n  " .. shown,
        print_out.job { id = "a1b2c3d4-0000", state = "transient_error",
          files = 0, error = { message = said }, retry_in = 2.5 })
    end
  end)
end)
