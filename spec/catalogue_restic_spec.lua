-- The catalogue travels with the repository: through what stock restic does to
-- versions, nothing of it is lost.
local app = require "spec.backup_app"
local helper = require "spec.helper"

local outside, core = app.outside, helper.core

if app.missing or not outside.installed "restic" then
  describe("the catalogue", function()
    pending(app.missing or "needs restic")
  end)
  return
end

local wsb, catalogue, shared = app.wsb, app.catalogue, app.shared
local with = app.with

local function good(t, ...)
  local said, how, status = t.restic(...)
  assert.same({ "exit", 0 }, { how, status }, said)
  return said
end

-- A directory with a writer that adds something when the files were read.
local function with_late(f)
  return with(function(t)
    local staged = t.root .. "/staged"
    assert(os.execute(("mkdir %s && echo label >%s/label && echo db >%s/f")
      :format(staged, staged, t.data)))
    t.staged = staged
    local says = true
    local w <close> = app.writer(1, { components = { { type = "database",
      name = "x", files = { t.data } } },
      backup_complete = function(e)
        if t.on_complete then t.on_complete(e) end
        return says and { components = { x = { consistency = "application",
          position = "7", additions = { { path = staged, to = t.data } } } } }
          or nil
      end })
    function t.silent() says = false end
    f(t)
    w:close()
  end)
end

local function learn(t, guid, ok, repo)
  catalogue.learn(repo or t.repo, guid, { component = 1, drill = { ok = ok,
    message = ok and "all well" or "it did not start" } })
end

local function laid(t, m)
  assert(os.execute(("rm -rf %s/laid && mkdir %s/laid"):format(t.root, t.root)))
  require "saros.wsb.lay"(t.repo, m, m.components[1], t.root .. "/laid")
  return outside.content(t.root .. "/laid" .. t.data .. "/label")
end

describe("the catalogue", function()
  it("knows what came late, and nothing is whole without it", function()
    with_late(function(t)
      local v = t.backup { provider = "live" }
      assert.equal("application", v.consistency)
      assert.is_true(v.components[1].recoverable)
      local m = catalogue.read(t.repo, v.guid)
      assert.equal("application", m.consistency)
      assert.equal("7", m.components[1].position)
      assert.equal("untried", m.components[1].check.state)
      assert.equal("label\n", laid(t, m))
      -- Both are of one time: what keeps one keeps both.
      local versions = t.repo:versions()
      assert.equal(2, #versions)
      assert.equal(versions[1].time, versions[2].time)
      assert.equal(1, #assert(wsb.versions { repository = t.repo }:wait()))
      good(t, "forget", v.late)
      local c = t.items().components[1]
      assert.is_false(c.recoverable)
      assert.matches("ended before all that belongs", c.why)
    end)
  end)

  it("calls none whole that was killed before the end", function()
    with_late(function(t)
      local op
      t.on_complete = function() op:cancel() end
      op = t.begin { provider = "live" }
      local r, err = op:wait()
      assert.is_nil(r)
      assert.is_true(err.cancelled)
      assert.equal(1, #t.repo:versions())
      assert.is_false(t.items().components[1].recoverable)
      t.on_complete = nil
      t.silent()
      local v = t.backup { provider = "live" }
      assert.is_false(v.components[1].recoverable)
      assert.matches("while they changed", v.components[1].why)
      assert.matches("while they changed", t.items().components[1].why)
    end)
  end)

  it("survives restic's tag, copy, forget and prune", function()
    with_late(function(t)
      local guids = {}
      for i = 1, 3 do
        outside.write(t.data .. "/f", "db " .. i)
        guids[i] = t.backup { provider = "live", tags = { "nightly" } }.guid
      end
      learn(t, guids[2], false)
      learn(t, guids[3], true)
      local function check(repo, wanted)
        local list = assert(wsb.versions { repository = repo }:wait())
        local seen = {}
        for i, v in ipairs(list) do
          local c = v.components[1]
          seen[i] = v.guid
          assert.equal(v.guid ~= guids[2], c.recoverable, c.why)
          if v.guid == guids[3] then assert.is_true(c.drill.ok) end
          assert.equal("7", c.position)
        end
        assert.same(wanted, seen)
      end
      check(t.repo, guids)
      good(t, "tag", "--add", "kept")
      check(t.repo, guids)
      -- Every tag of ours is gone: what is known is in the versions.
      good(t, "tag", "--set", "nightly")
      check(t.repo, guids)
      assert.equal("label\n", laid(t, catalogue.read(t.repo, "latest")))
      -- Another repository, another id for each.
      local other = t.root .. "/other"
      shared.cheap_at(other, "x")
      local said, how, status = outside.run("env", "RESTIC_PASSWORD=x",
        "RESTIC_FROM_PASSWORD=" .. shared.PASSWORD, "RESTIC_PASSWORD2="
        .. shared.PASSWORD, "restic", "--no-cache", "-q", "-r", other,
        "copy", "--from-repo", t.location)
      if status ~= 0 then -- an older restic
        said, how, status = outside.run("env", "RESTIC_PASSWORD="
          .. shared.PASSWORD, "RESTIC_PASSWORD2=x", "restic", "--no-cache",
          "-q", "-r", t.location, "copy", "--repo2", other)
      end
      assert.same({ "exit", 0 }, { how, status }, said)
      do
        local away <close> = shared.repository.open { location = other,
          password = "x" }
        check(away, guids)
      end
      -- By the rules that people have; each keeps what belongs together.
      good(t, "forget", "--keep-last", "2", "--prune")
      check(t.repo, { guids[2], guids[3] })
      assert.equal("label\n", laid(t, catalogue.read(t.repo, guids[2]
        and "latest")))
      good(t, "forget", "--group-by", "host,paths", "--keep-daily", "1",
        "--keep-monthly", "3", "--prune")
      check(t.repo, { guids[3] })
      assert.equal("label\n", laid(t, catalogue.read(t.repo, "latest")))
      good(t, "check", "--read-data")
    end)
  end)

  it("keeps what two learn at once, and the newest of each", function()
    with(function(t)
      outside.write(t.data .. "/f", "x")
      local w <close> = app.writer(2, { components = {
        { type = "filegroup", name = "a", files = { t.data } },
        { type = "filegroup", name = "b", files = { t.data } } } })
      local v = t.backup()
      helper.task(function()
        local ops = {}
        for n = 1, 2 do
          ops[n] = app.saros.spawn(catalogue.learn, t.repo, v.guid,
            { component = n, drill = { ok = false, message = "no " .. n } })
        end
        assert(app.saros.all(ops):wait())
      end)
      local items = t.items()
      assert.matches("no 1", items.components[1].why)
      assert.matches("no 2", items.components[2].why)
      -- The newest has all of it: that one is what forget keeps.
      assert(t.repo:forget { keep_last = 1 }:wait())
      items = t.items()
      assert.matches("no 1", items.components[1].why)
      assert.matches("no 2", items.components[2].why)
      learn(t, v.guid, true)
      items = t.items()
      assert.is_true(items.components[1].recoverable)
      assert.is_false(items.components[2].recoverable)
      assert.matches("drilled", tostring(items))
      w:close()
    end)
  end)

  it("uses no manifest that is not as saros writes them", function()
    with(function(t)
      outside.write(t.data .. "/f", "x")
      local w <close> = app.writer(3, { components = { { type = "database",
        name = "x", files = { t.data } } } })
      local v = t.backup()
      w:close()
      local text = t.dump(v.id, "/.saros/manifest.json")
      local first = true
      local function refused(why, change)
        local m = core.json_read(text)
        local made = change(m, m.components[1]) or core.json_write(m)
        local ok, failure = pcall(require "saros.wsb.manifest".read, made,
          { t.data, "/.saros" })
        assert.is_false(ok)
        assert.matches(why, failure.message)
        if not first then return end
        -- All that read one read it so.
        first = false
        t.forge(made, { t.data })
        for _, op in ipairs { wsb.items { repository = t.repo },
          wsb.recover { repository = t.repo, component = "x" } }
        do
          local r, err = op:wait()
          assert.is_nil(r)
          assert.equal("SAROS_E_DAMAGED", err.name)
          assert.matches(why, err.message)
        end
        -- The others can be used all the same.
        local list = assert(wsb.versions { repository = t.repo }:wait())
        assert.matches(why, tostring(list[#list].error))
        assert.equal(v.guid, list[1].guid)
      end
      refused("outside of what was backed up", function(_, c)
        c.files = { "/etc/passwd" }
      end)
      refused("line 1, column 14", function() return "{ \"saros\": 1," end)
      refused("its version is 2", function(m) m.saros = 2 end)
      refused("no absolute path", function(_, c) c.files = { "relative" } end)
      refused("no absolute path", function(_, c)
        c.files = { t.data .. "/../../etc" }
      end)
      refused("no absolute path", function(_, c) c.files = { "/" } end)
      refused("no place for its files", function(_, c)
        c.files = { "/.saros/x" }
      end)
      refused("comes from", function(_, c)
        c.additions = { { from = "../../etc", to = t.data } }
      end)
      refused("none of its files", function(_, c)
        c.additions = { { from = "additions/1/1", to = "/etc" } }
      end)
      refused("recoverable or not", function(_, c) c.recoverable = "yes" end)
      refused("its number", function(_, c) c.n = 7 end)
    end)
  end)

  it("follows no link that lies in an addition, or in its way", function()
    with(function(t)
      assert(os.execute(("mkdir %s/db %s/away && echo x >%s/db/f && ln -s "
        .. "%s/away %s/db/wal"):format(t.data, t.root, t.data, t.root, t.data)))
      local staged = t.root .. "/add"
      local w <close> = app.writer(4, { components = { { type = "database",
        name = "x", files = { t.data .. "/db" } } } })
      local v = t.backup()
      w:close()
      local m = core.json_read(t.dump(v.id, "/.saros/manifest.json"))
      m.components[1].additions = { { from = "additions/1/1",
        to = t.data .. "/db" } }
      local function refused(why, make)
        assert(os.execute(("rm -rf %s %s/forged && mkdir %s && %s"):format(
          staged, t.root, staged, (make:gsub("AT", staged)))))
        assert(os.execute(("mkdir -p %s/forged/additions/1 && cp -a %s "
          .. "%s/forged/additions/1/1"):format(t.root, staged, t.root)))
        t.forge(m, { t.data }, true)
        local read = catalogue.read(t.repo, "latest")
        local ok, err = pcall(require "saros.wsb.lay", t.repo, read,
          read.components[1], t.scratch)
        assert.is_false(ok)
        assert.equal("SAROS_E_REFUSED", err.name)
        assert.matches(why, err.message)
        assert.equal("", (outside.run("ls", t.root .. "/away")))
      end
      refused("is a symlink: what a writer adds", "ln -s /etc AT/etc")
      refused("wal is a symlink", "mkdir AT/wal && echo w >AT/wal/1")
    end)
  end)
end)
