-- saros.wsb.recover: applications, components and files come back, and what was
-- there is kept.
local app = require "spec.backup_app"

if app.missing then
  describe("recovery", function() pending(app.missing) end)
  return
end

local wsb, sqlite, outside = app.wsb, app.sqlite, app.outside
local with = app.with

-- With a version of a database of 100 rows, which has 7 now.
local function with_version(f)
  return with(function(t)
    t.path = t.data .. "/app.db"
    app.database(t.path, 100)
    t.writer = sqlite.writer { databases = { t.path } }
    t.version = t.backup()
    app.execute(t.path, "DELETE FROM t WHERE n > 7")
    local _ <close> = setmetatable({}, { __close = function()
      t.writer:close()
    end })
    function t.begin_recovery(more)
      local o = { repository = t.repo, component = "app.db" }
      for name, item in pairs(more or {}) do o[name] = item end
      if o.files then o.component = nil end
      return wsb.recover(o)
    end
    function t.recover(more) return assert(t.begin_recovery(more):wait()) end
    --- What is in the directory of the data, links and hidden names too.
    function t.names() return (outside.run("ls", "-A", t.data)) end
    return f(t)
  end)
end

describe("recovery of a component", function()
  it("brings it back, and keeps what was there", function()
    with_version(function(t)
      outside.write(t.path .. "-wal", "of another database")
      local r = t.recover()
      assert.equal(100, app.rows(t.path))
      local kept = r.laid[1].kept
      assert.same({ path = t.path, to = t.path, kept = kept,
        component = "app.db" }, r.laid[1])
      -- What lay beside it would have been taken for its log.
      assert.is_true(r.laid[2].gone)
      assert.equal(t.path .. "-wal", r.laid[2].path)
      assert.equal("of another database", outside.content(r.laid[2].kept))
      assert.equal(7, app.rows(kept))
      assert.matches(kept:match "[^/]+$", tostring(r), 1, true)
      assert.equal(2, #r.laid)
      assert.not_matches("saros%-recovery", t.names())
    end)
  end)

  it("brings it back to where nothing is left", function()
    with_version(function(t)
      assert(os.execute(("chmod 750 %s && rm -rf %s"):format(t.data, t.data)))
      local r = t.recover { application = "sqlite" }
      assert.is_nil(r.laid[1].kept)
      assert.equal(100, app.rows(t.path))
      assert.equal("app.db\n", t.names())
      assert.equal("755\n", (outside.run("stat", "-c", "%a", t.data)))
    end)
  end)

  it("lays it somewhere else", function()
    with_version(function(t)
      local target = t.root .. "/else/where"
      local r = t.recover { target = target }
      assert.equal(target .. t.path, r.laid[1].to)
      assert.equal(100, app.rows(target .. t.path))
      assert.equal(7, app.rows(t.path))
      -- Once more: what is there is kept there, too.
      r = t.recover { target = target }
      assert.equal(100, app.rows(r.laid[1].kept))
    end)
  end)

  it("lays it beside, or leaves what is there", function()
    with_version(function(t)
      local r = t.recover { overwrite = "copy" }
      assert.equal(7, app.rows(t.path))
      assert.equal(r.root .. t.path, r.laid[1].to)
      assert.matches("^" .. t.path:gsub("%p", "%%%0") .. "%.saros%-copy%-",
        r.root)
      assert.equal(100, app.rows(r.laid[1].to))
      r = t.recover { overwrite = "skip" }
      assert.is_true(r.laid[1].skipped)
      assert.equal(7, app.rows(t.path))
      os.remove(t.path)
      r = t.recover { overwrite = "skip" }
      assert.is_nil(r.laid[1].skipped)
      assert.equal(100, app.rows(t.path))
    end)
  end)

  it("only says what it would do", function()
    with_version(function(t)
      local before = t.names()
      local db <close> = app.client.open { path = t.path }
      assert(db:query "SELECT 1 FROM t":wait())
      local r = t.recover { dry_run = true }
      assert.is_true(r.dry_run)
      assert.equal(t.path, r.laid[1].to)
      assert.matches("is in use now", r.warnings[1])
      assert.matches("This would be recovered", tostring(r))
      db:close()
      assert.equal(before, t.names())
      assert.equal(7, app.rows(t.path))
    end)
  end)

  it("lays nothing over what somebody has open, by whatever name", function()
    with_version(function(t)
      local link = t.root .. "/link.db"
      assert(os.execute(("ln -s %s %s"):format(t.path, link)))
      for _, path in ipairs { t.path, link } do
        local db <close> = app.client.open { path = path }
        assert(db:query "SELECT n FROM t":wait())
        local r, err = t.begin_recovery():wait()
        assert.is_nil(r)
        assert.equal("SAROS_E_LOCKED", err.name)
        assert.matches("is in use: process %d+ has .*app.db open", err.message)
        assert.equal(7, app.rows(t.path))
        assert.equal("app.db\n", t.names())
      end
    end)
  end)

  it("looks again before the exchange", function()
    with_version(function(t)
      local db <close> = app.client.open { path = t.path }
      -- It starts while the files are made ready.
      local repo = t.repo
      local op = t.begin_recovery()
      for s in op:progress() do
        if s.phase == "restore" then
          assert(db:query "SELECT n FROM t":wait())
        end
      end
      local r, err = op:wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_LOCKED", err.name)
      assert.equal("app.db\n", t.names())
      assert.equal(repo, t.repo)
    end)
  end)

  it("tells the application before and after, whatever happens", function()
    with_version(function(t)
      local log, fail = {}, nil
      local a <close> = wsb.application { writer = t.writer.instance,
        name = "the app",
        pre_restore = function(c, no_roll_forward)
          log[#log + 1] = ("pre %s %s %d"):format(c.name, no_roll_forward,
            app.rows(t.path))
          if fail == "pre" then return nil, "it does not stop" end
          if fail == "busy" then
            t.db = app.client.open { path = t.path }
            assert(t.db:query "SELECT n FROM t":wait())
          end
        end,
        post_restore = function(c)
          log[#log + 1] = ("post %s"):format(c.name)
          if fail == "post" then return nil, "it does not start" end
        end }
      t.recover { no_roll_forward = true }
      assert.same({ "pre app.db true 7", "post app.db" }, log)
      for _, how in ipairs { "pre", "busy" } do
        fail, log = how, {}
        local r, err = t.begin_recovery():wait()
        assert.is_nil(r)
        assert.matches(({ pre = "does not stop", busy = "is in use" })[how],
          err.message)
        assert.same({ "pre app.db false 100", "post app.db" }, log)
        assert.equal(100, app.rows(t.path))
        if t.db then t.db:close() end
      end
      -- It may run on what was laid: that stays, and says where the rest is.
      app.execute(t.path, "DELETE FROM t")
      fail = "post"
      local r, err = t.begin_recovery():wait()
      assert.is_nil(r)
      assert.equal("WSBAPP_E_COMPONENT_POST_RESTORE_FAILED", err.name)
      local kept = err.recovered.laid[1].kept
      assert.equal(0, app.rows(kept))
      assert.matches(kept, err.message, 1, true)
      assert.equal(100, app.rows(t.path))
      a:close()
    end)
  end)

  it("refuses one that is barred, unless it is forced", function()
    with_version(function(t)
      app.catalogue.learn(t.repo, t.version.guid, { component = 1,
        drill = { ok = false, message = "it did not start" } })
      local r, err = t.begin_recovery():wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_REFUSED", err.name)
      assert.matches("it did not start", err.message)
      r = t.recover { force = true }
      assert.matches("it did not start", r.warnings[1])
      assert.equal(100, app.rows(t.path))
    end)
  end)

  it("says which there are", function()
    with_version(function(t)
      local _, err = t.begin_recovery { component = "nothing" }:wait()
      assert.matches("no such component; it has: sqlite app.db", err.message)
      _, err = t.begin_recovery { application = "postgres" }:wait()
      assert.matches("no such component", err.message)
      local other <close> = app.writer(3, { components = { { type = "database",
        name = "app.db", files = { t.path } } } })
      t.backup()
      _, err = t.begin_recovery():wait()
      assert.matches("several components app.db", err.message)
      t.recover { application = t.writer.instance }
      other:close()
    end)
  end)

  it("brings a directory back as it was, not more", function()
    with(function(t)
      assert(os.execute(("cd %s && mkdir -p a/sub && echo 1 >a/one && "
        .. "echo 2 >a/sub/two && chmod 700 a && touch -d @1000000 a"):format(
        t.data)))
      local w <close> = app.writer(4, { components = { { type = "filegroup",
        name = "a", files = { t.data .. "/a" } } } })
      t.backup()
      assert(os.execute(("cd %s/a && echo x >more && rm one"):format(t.data)))
      local r = assert(wsb.recover { repository = t.repo, component = "a" }
        :wait())
      assert.equal("one\nsub\n", (outside.run("ls", t.data .. "/a")))
      assert.equal("700 1000000\n", (outside.run("stat", "-c", "%a %Y",
        t.data .. "/a")))
      assert.equal("more\nsub\n", (outside.run("ls", r.laid[1].kept)))
      -- Of no kind: who has one of its files open is in the way.
      local file <close> = assert(io.open(t.data .. "/a/one"))
      assert.equal("1", file:read "l")
      local _, err = wsb.recover { repository = t.repo, component = "a" }:wait()
      assert.matches("process %d+ has .*/a open", err.message)
      w:close()
    end)
  end)
end)

describe("recovery of files", function()
  local function with_files(f)
    with_version(function(t)
      assert(os.execute(("cd %s && mkdir d && echo one >d/1 && echo two >d/2")
        :format(t.data)))
      t.backup()
      assert(os.execute(("cd %s/d && echo other >1 && rm 2 && echo three >3")
        :format(t.data)))
      function t.content(name) return outside.content(t.data .. "/d/" .. name) end
      f(t)
    end)
  end

  it("replaces what the version has, and keeps it", function()
    with_files(function(t)
      local r = t.recover { files = { t.data .. "/d" } }
      assert.same({ "one\n", "two\n", "three\n" },
        { t.content "1", t.content "2", t.content "3" })
      assert.equal(2, #r.laid)
      assert.equal(t.data .. "/d/1", r.laid[1].to)
      assert.equal("other\n", outside.content(r.laid[1].kept))
      assert.is_nil(r.laid[2].kept)
    end)
  end)

  it("leaves what is there, or lays copies beside", function()
    with_files(function(t)
      local r = t.recover { files = { t.data .. "/d" }, overwrite = "skip" }
      assert.same({ "other\n", "two\n", "three\n" },
        { t.content "1", t.content "2", t.content "3" })
      assert.is_true(r.laid[1].skipped)
      r = t.recover { files = { t.data .. "/d/1" }, overwrite = "copy" }
      assert.equal("other\n", t.content "1")
      assert.equal("one\n", outside.content(r.laid[1].to))
    end)
  end)

  it("lays them somewhere else", function()
    with_files(function(t)
      local r = t.recover { files = { t.data .. "/d", "/.saros" },
        target = t.scratch }
      assert.equal("one\n", outside.content(t.scratch .. t.data .. "/d/1"))
      assert.truthy(outside.content(t.scratch .. "/.saros/manifest.json"))
      assert.equal(2, #r.laid)
      assert.equal("other\n", t.content "1")
    end)
  end)

  it("refuses what belongs nowhere, runs, or is not there", function()
    with_files(function(t)
      local function refused(paths, why)
        local r, err = t.begin_recovery { files = paths }:wait()
        assert.is_nil(r)
        assert.matches(why, err.message)
      end
      refused({ "/.saros/manifest.json" }, "belongs to no place here")
      refused({ "/" }, "all of a version")
      refused({ t.data .. "/nothing" }, "is not in version")
      local db <close> = app.client.open { path = t.path }
      assert(db:query "SELECT n FROM t":wait())
      refused({ t.data }, "is in use")
      assert.equal("other\n", t.content "1")
      assert.not_matches("saros", t.names())
      db:close()
    end)
  end)
end)
