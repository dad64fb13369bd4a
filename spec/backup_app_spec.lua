-- saros.wsb.backup: applications held still, checked on the shadow, stored with
-- what is known of them.
local app = require "spec.backup_app"
local helper = require "spec.helper"

local saros, core = app.saros, helper.core

if app.missing then
  describe("a backup of applications", function() pending(app.missing) end)
  return
end

local wsb, sqlite, outside = app.wsb, app.sqlite, app.outside
local with, component = app.with, app.component

describe("a backup of applications", function()
  it("stores a database that was held still and checked", function()
    with(function(t)
      app.database(t.data .. "/app.db", 100)
      local w <close> = sqlite.writer { databases = { t.data .. "/app.db" } }
      local seen = {}
      local v = t.backup { on_component = function(c) seen[#seen + 1] = c.name end }
      assert.same({ "app.db" }, seen)
      assert.equal("application", v.consistency)
      assert.is_false(v.partial)
      local c = component(v, "app.db")
      assert.equal("passed", c.check.state)
      assert.is_true(c.recoverable)
      assert.equal(w.instance, c.writer.instance)
      assert.matches("application%-consistent", tostring(v))
      assert.matches("check passed", tostring(v))
      local items = t.items()
      assert.equal(v.id, items.id)
      assert.equal(v.guid, items.guid)
      assert.equal("application", items.consistency)
      assert.is_true(items.components[1].recoverable)
      local list = assert(wsb.versions { repository = t.repo }:wait())
      assert.equal(1, #list)
      assert.equal(v.guid, list[1].guid)
      assert.matches("1 of 1 component can be recovered", tostring(list))
      assert.equal("", (outside.run("ls", t.scratch)))
    end)
  end)

  it("lays a component, and nothing else", function()
    with(function(t)
      app.database(t.data .. "/app.db", 100)
      outside.write(t.data .. "/other", "x")
      local w <close> = sqlite.writer { databases = { t.data .. "/app.db" } }
      local v = t.backup()
      app.execute(t.data .. "/app.db", "DELETE FROM t")
      local m = app.catalogue.read(t.repo, v.id)
      require "saros.wsb.lay"(t.repo, m, m.components[1], t.scratch)
      assert.equal(100, app.rows(t.scratch .. t.data .. "/app.db"))
      assert.is_nil(outside.content(t.scratch .. t.data .. "/other"))
      assert.equal(0, app.rows(t.data .. "/app.db"))
      w:close()
    end)
  end)

  it("says what it has for stock restic: files, tags and two texts", function()
    with(function(t)
      if not outside.installed "restic" then return pending "no restic" end
      app.database(t.data .. "/app.db", 1)
      local w <close> = sqlite.writer { databases = { t.data .. "/app.db" } }
      local v = t.backup { tags = { "nightly" } }
      assert.equal(t.dump(v.id, "/.saros/restore-plan.txt"),
        (t.restic("dump", v.id, "/.saros/restore-plan.txt")))
      local m = core.json_read((t.restic("dump", "latest", "--tag",
        "nightly,saros-type:copy,saros-id:" .. v.guid, "/.saros/manifest.json")))
      assert.equal(v.guid, m.id)
      local _, how, status = t.restic("check", "--read-data")
      assert.same({ "exit", 0 }, { how, status })
      w:close()
    end)
  end)

  it("bars a damaged component, and stores it all the same", function()
    with(function(t)
      local path = t.data .. "/app.db"
      app.database(path, 20000)
      local file = assert(io.open(path, "r+b"))
      file:seek("set", 3 * 4096)
      file:write(("\xA5"):rep(8192))
      file:close()
      local w <close> = app.writer(1, { id = sqlite.id,
        components = { { type = "database", name = "app.db",
          files = { path } } } })
      local v = t.backup()
      local c = component(v, "app.db")
      assert.equal("failed", c.check.state)
      assert.is_true(#c.check.problems > 0)
      assert.is_false(c.recoverable)
      assert.matches("its check failed", c.why)
      c = t.items().components[1]
      assert.is_false(c.recoverable)
      assert.equal("failed", c.check.state)
      assert.matches("CANNOT BE RECOVERED", tostring(t.items()))
      assert.equal(outside.content(path), t.dump(v.id, path))
      assert.matches("NOT to be relied on", t.dump(v.id,
        "/.saros/restore-plan.txt"))
      w:close()
    end)
  end)

  it("keeps a check that could not be made apart from damage", function()
    with(function(t)
      app.database(t.data .. "/app.db", 1)
      local w <close> = app.writer(2, { components = { { type = "database",
        name = "x", files = { t.data .. "/app.db" } } } })
      local a <close> = wsb.application { writer = app.id(2), name = "two",
        check = function()
          local err = core.failure("wsb", 0x80004005, "no such tool here")
          err.untried = true
          return nil, err
        end }
      local c = component(t.backup(), "x")
      assert.same({ state = "untried", message = "no such tool here" },
        { state = c.check.state, message = c.check.message })
      assert.is_true(c.recoverable)
      assert.matches("untried %(.*no such tool", tostring(t.items()))
      c = component(t.backup { check = false }, "x")
      assert.equal("none", c.check.state)
      assert.is_true(t.items().components[1].recoverable)
      w:close()
      a:close()
    end)
  end)

  it("keeps two of one name apart", function()
    with(function(t)
      local writers = {}
      for i, name in ipairs { "one", "two" } do
        assert(os.execute(("mkdir %s/%s"):format(t.data, name)))
        app.database(("%s/%s/app.db"):format(t.data, name), i * 10)
        writers[i] = sqlite.writer { databases = {
          ("%s/%s/app.db"):format(t.data, name) } }
      end
      local v = t.backup()
      assert.equal(2, #v.components)
      local m = app.catalogue.read(t.repo, v.id)
      for _, c in ipairs(m.components) do
        require "saros.wsb.lay"(t.repo, m, c, t.scratch)
      end
      assert.equal(10, app.rows(t.scratch .. t.data .. "/one/app.db"))
      assert.equal(20, app.rows(t.scratch .. t.data .. "/two/app.db"))
      for i, w in ipairs(writers) do
        local own = v.components[1].writer.instance == w.instance and 1 or 2
        assert.equal(("%s/%s/app.db"):format(t.data, ({ "one", "two" })[i]),
          v.components[own].files[1])
        w:close()
      end
    end)
  end)

  it("bars what is only there in part, and says why", function()
    with(function(t)
      assert(os.execute(("mkdir -p %s/in/sub %s/out"):format(t.data, t.root)))
      outside.write(t.data .. "/in/sub/f", "x")
      outside.write(t.root .. "/out/f", "x")
      local w <close> = app.writer(3, { components = {
        { type = "filegroup", name = "outside",
          files = { t.data .. "/in", t.root .. "/out" } },
        { type = "filegroup", name = "above", files = { t.root } },
        { type = "filegroup", name = "gone", files = { t.data .. "/none" } },
        { type = "filegroup", name = "whole", files = { t.data .. "/in" } },
      } })
      local v = t.backup { whole = false }
      local function why(name) return component(v, name).why end
      local text <const> = " is not in the paths that were backed up: name it "
        .. "there, too"
      assert.equal(t.root .. "/out" .. text, why "outside")
      assert.equal(t.root .. text, why "above")
      assert.equal("none of its files is in what was backed up", why "gone")
      assert.is_true(component(v, "whole").recoverable)
      local items = t.items()
      for _, c in ipairs(items.components) do
        assert.equal(c.name == "whole", c.recoverable)
      end
      w:close()
    end)
  end)

  it("takes what a component has elsewhere", function()
    with(function(t)
      assert(os.execute(("cd %s && mkdir -p data/db conf log/sub real && ln -s "
        .. "real link && echo c >conf/c && echo l >log/sub/l && echo f >one && "
        .. "echo d >data/db/f && echo r >real/r"):format(t.root)))
      local function of(name, ...)
        local c = { type = "database", name = name, files = { ... } }
        for i, file in ipairs(c.files) do c.files[i] = t.root .. file end
        return c
      end
      local w <close> = app.writer(3, { components = {
        of("db", "/data/db", "/conf", "/log/sub", "/one", "/link", "/none"),
        of("other", "/conf", "/data/db"), of("above", "/data/db", "/") } })
      local v = t.backup()
      local c = component(v, "db")
      assert.is_true(c.recoverable)
      local list = {}
      for _, path in ipairs { "/data/db", "/conf", "/log/sub", "/one",
        "/real" } do
        list[#list + 1] = t.root .. path
      end
      assert.same(list, c.files)
      assert.equal(4, #v.added)
      assert.same({ path = t.root .. "/conf", writer = w.instance,
        component = "db" }, v.added[1])
      assert.matches("with .*/conf, which belongs to db", tostring(v))
      assert.equal("c\n", t.dump(v.id, t.root .. "/conf/c"))
      assert.equal("f\n", t.dump(v.id, t.root .. "/one"))
      -- Not by a detour: what is asked for is not what it is about.
      assert.is_false(component(v, "above").recoverable)
      assert.equal(1, #t.backup({ paths = { t.root .. "/conf" },
        writers = { exclude = { "none" } } }).added)
      assert(os.execute(("cd %s && rm -r conf log one real data/db/f")
        :format(t.root)))
      assert(wsb.recover { repository = t.repo, component = "db",
        version = v.id, state_dir = t.state }:wait())
      assert.equal("c\n", outside.content(t.root .. "/conf/c"))
      assert.equal("f\n", outside.content(t.root .. "/one"))
      assert.equal("r\n", outside.content(t.root .. "/link/r"))
    end)
  end)

  it("finds the files of who calls them by a link", function()
    with(function(t)
      assert(os.execute(("ln -s data %s/link"):format(t.root)))
      app.database(t.data .. "/app.db", 3)
      local w <close> = app.writer(4, { components = { { type = "database",
        name = "x", files = { t.root .. "/link/app.db" } } } })
      local c = component(t.backup(), "x")
      assert.same({ t.data .. "/app.db" }, c.files)
      assert.is_true(c.recoverable)
      -- And where the path itself is the link.
      assert(os.execute(("cd %s && mkdir -p more/sub && ln -s more inner")
        :format(t.root)))
      local v = t.backup { paths = { t.root .. "/link", t.root .. "/inner/sub",
        t.data } }
      assert.same({ t.data .. "/app.db" }, component(v, "x").files)
      assert.is_true(component(v, "x").recoverable)
      assert.same({ t.data, t.root .. "/more/sub" }, v.paths)
      local ls = assert(t.repo:ls { version = v.id, path = t.root }:wait())
      local links = {}
      for _, node in ipairs(ls.items) do
        if node.type == "symlink" then links[#links + 1] = node.path end
      end
      table.sort(links)
      assert.same({ t.root .. "/inner", t.root .. "/link" }, links)
      w:close()
    end)
  end)

  it("leaves out what a component does not want, and only of its own", function()
    with(function(t)
      assert(os.execute(("cd %s && mkdir -p a/b/c a/tmp && echo x | tee "
        .. "a/lock a/keep a/b/lock a/b/c/lock a/tmp/f >lock"):format(t.data)))
      local w <close> = app.writer(5, { components = {
        { type = "filegroup", name = "a", files = { t.data .. "/a" },
          exclude = { "lock", "tmp/*", t.data .. "/lock" } },
        { type = "filegroup", name = "c", files = { t.data .. "/a/b/c" } } } })
      local v = t.backup()
      local ls = assert(t.repo:ls { version = v.id, path = t.data }:wait())
      assert.equal("a a/b a/b/c a/b/c/lock a/keep a/tmp lock",
        app.shared.names(ls.items, t.data))
      assert.is_true(component(v, "a").recoverable)
      w:close()
    end)
  end)

  it("bars what a pattern takes something out of", function()
    with(function(t)
      assert(os.execute(("cd %s && mkdir -p one two && echo x | tee one/f.log "
        .. "one/f two/f >g.log"):format(t.data)))
      local w <close> = app.writer(6, { components = {
        { type = "filegroup", name = "one", files = { t.data .. "/one" },
          exclude = { "f" } },
        { type = "filegroup", name = "two", files = { t.data .. "/two" } } } })
      local v = t.backup { exclude = { "*.log", "*.json", "*.txt" } }
      assert.equal(t.data .. "/one/f.log was left out, by a pattern of the backup",
        component(v, "one").why)
      assert.is_true(component(v, "two").recoverable)
      local items = t.items()
      assert.is_false(items.components[1].recoverable)
      assert.matches("by a pattern", items.components[1].why)
      assert.is_true(items.components[2].recoverable)
      w:close()
    end)
  end)

  it("stores what a writer adds, and not what it must not", function()
    with(function(t)
      local staged = t.root .. "/staged"
      assert(os.execute(("mkdir -p %s/db %s/wal && echo db >%s/db/f && echo "
        .. "label >%s/label && echo w1 >%s/wal/1"):format(t.data, staged,
        t.data, staged, staged)))
      local add
      local w <close> = app.writer(7, { components = { { type = "database",
        name = "db", files = { t.data .. "/db" } } },
        post_snapshot = function()
          return { components = { db = { position = "0/42", server = "S 1",
            additions = { add } } } }
        end })
      add = { path = staged, to = t.data .. "/db" }
      local v = t.backup()
      local m = app.catalogue.read(t.repo, v.id)
      local c = m.components[1]
      assert.equal("0/42", c.position)
      assert.same({ { from = "additions/1/1", to = t.data .. "/db" } }, c.additions)
      assert.is_nil(v.late)
      require "saros.wsb.lay"(t.repo, m, c, t.scratch)
      for name, text in pairs { f = "db\n", label = "label\n", ["wal/1"] = "w1\n" } do
        assert.equal(text, outside.content(t.scratch .. t.data .. "/db/" .. name))
      end
      local count = #t.repo:versions()
      local function refused(why)
        local r, err = t.begin():wait()
        assert.is_nil(r)
        assert.matches(why, err.message)
        assert.equal(count, #t.repo:versions())
      end
      add = { path = staged, to = "/etc" }
      refused "to /etc, which is none of its files"
      add = { path = staged, to = t.data .. "/db/../../x" }
      refused "adds something that is not"
      assert(os.execute(("ln -s /etc/passwd %s/wal/2"):format(staged)))
      add = { path = staged, to = t.data .. "/db" }
      refused "neither a file nor a directory"
      w:close()
    end)
  end)

  it("fails without a required writer, and forgets nothing", function()
    with(function(t)
      app.database(t.data .. "/app.db", 1)
      t.backup()
      local _, err = t.begin { writers = { require = { "nobody" } } }:wait()
      assert.matches("nobody", err.message)
      local w <close> = app.writer(8, { components = { { type = "database",
        name = "x", files = { t.data } } },
        freeze = function() return nil, "not now" end })
      _, err = t.begin():wait()
      assert.equal("VSS_E_UNEXPECTED_WRITER_ERROR", err.name)
      assert.equal(1, #t.repo:versions())
      local v = t.backup { writers = { exclude = { "app8" } } }
      assert.same({}, v.components)
      assert.equal("none", v.consistency)
      w:close()
    end)
  end)

  it("tells the writers how it ended, also when it was cancelled", function()
    with(function(t)
      outside.write(t.data .. "/f", "x")
      local w <close>, log = app.writer(9, { components = { { type = "database",
        name = "x", files = { t.data } } } })
      t.backup()
      assert.equal("backup_complete backup_shutdown",
        table.concat(log, " ", #log - 1))
      local op
      local a <close> = wsb.application { writer = app.id(9), name = "nine",
        check = function() op:cancel(); saros.sleep(60):wait() end }
      op = t.begin()
      local _, err = op:wait()
      assert.is_true(err.cancelled)
      assert.equal("abort", log[#log - 1])
      assert.equal(1, #t.repo:versions())
      assert.equal("", (outside.run("ls", t.scratch)))
      assert.equal("", (outside.run("find", t.state, "-name", "*.json")))
      w:close()
      a:close()
    end)
  end)
end)
