-- Ways in which a backup or a recovery could lose something, or say that it has
-- what it has not.
local volumes = require "spec.volumes" -- first: before there are threads
local app = require "spec.backup_app"

local saros, core = app.saros, require "spec.helper".core

if app.missing then
  describe("what could be lost", function() pending(app.missing) end)
  return
end

local wsb, outside = app.wsb, app.outside
local with, component = app.with, app.component

local function run(text, ...)
  assert(os.execute("set -e; " .. text:format(...)))
end

local function group(name, ...)
  return { type = "filegroup", name = name, files = { ... } }
end

-- What a version has of the data.
local function stored(t, v)
  local ls = assert(t.repo:ls { version = v.id, path = t.data }:wait())
  return app.shared.names(ls.items, t.data)
end

local function excluding(c, ...)
  c.exclude = { ... }
  return c
end

describe("a pattern of one component", function()
  it("takes nothing of another that lies in it, in whatever order", function()
    with(function(t)
      run("cd %s; mkdir -p d/a d/tmp/b a-long-name; echo x | tee d/log d/a/log "
        .. "d/tmp/b/f d/keep a-long-name/log >a-long-name/f", t.data)
      local w <close> = app.writer(1, { components = {
        excluding(group("out", t.data .. "/a-long-name", t.data .. "/d"),
          "log", "tmp"),
        group("a", t.data .. "/d/a"), group("b", t.data .. "/d/tmp/b") } })
      assert.equal("a-long-name a-long-name/f d d/a d/a/log d/keep d/tmp "
        .. "d/tmp/b d/tmp/b/f", stored(t, t.backup()))
      w:close()
    end)
  end)

  it("takes nothing that another wants, too", function()
    with(function(t)
      run("cd %s; mkdir -p d/b e; echo x | tee d/b/log e/log >e/f", t.data)
      local w <close> = app.writer(1, { components = {
        group("outer", t.data .. "/d"),
        excluding(group("inner", t.data .. "/d/b"), "log"),
        group("one", t.data .. "/e"),
        excluding(group("two", t.data .. "/e"), "log", t.data .. "/e/f") } })
      assert.equal("d d/b d/b/log e e/f e/log", stored(t, t.backup()))
      w:close()
    end)
  end)
end)

describe("a component", function()
  it("is barred by a pattern of the backup, whatever the names are", function()
    with(function(t)
      run("cd %s; mkdir d; echo x | tee d/'b\195\164r[1].db' >d/f", t.data)
      local w <close> = app.writer(1, { components = {
        excluding(group("d", t.data .. "/d"), "n[o]t") } })
      local v = t.backup { exclude = "*b\195\164r*" }
      assert.matches("r%[1%].db was left out", component(v, "d").why)
      assert.is_false(t.items().components[1].recoverable)
      w:close()
    end)
  end)

  it("is barred by a pattern also when the name is no text", function()
    with(function(t)
      run([[cd %s; mkdir d; touch "$(printf 'd/b\377\001ad\\x')" d/f \
        "$(printf 'd/new\nline\t"q')" "$(printf 'd/u\342\200\213')" 'd/a\b']],
        t.data)
      local w <close> = app.writer(1, { components = {
        group("d", t.data .. "/d") } })
      for _, pattern in ipairs { "*ad*", "new*", "u*", "a?b" } do
        assert.matches("was left out, by a pattern",
          component(t.backup { exclude = pattern }, "d").why)
        assert.is_false(t.items().components[1].recoverable)
      end
      -- All of them are there when none is left out.
      assert.is_true(component(t.backup { exclude = "none" }, "d").recoverable)
      w:close()
    end)
  end)

  it("is barred when another file system lies in it", function()
    with(function(t)
      run("cd %s; mkdir -p d/sub e; mount -t tmpfs none d/sub; touch d/sub/f",
        t.data)
      local _ <close> = setmetatable({}, { __close = function()
        os.execute("umount " .. t.data .. "/d/sub")
      end })
      local w <close> = app.writer(1, { components = {
        group("d", t.data .. "/d"), group("e", t.data .. "/e"),
        excluding(group("x", t.data .. "/d"), "sub") } })
      local v = t.backup()
      assert.equal(t.data .. "/d/sub is a file system of its own, and not in "
        .. "the shadow of what it lies in", component(v, "d").why)
      assert.is_true(component(v, "e").recoverable)
      assert.is_true(component(v, "x").recoverable)
      v = t.backup { provider = "live" }
      assert.matches("d/sub/f", stored(t, v))
      assert.is_true(component(v, "d").recoverable)
      w:close()
    end)
  end)

  it("is barred when another subvolume lies in it", function()
    local volume <close>, why = volumes.make("btrfs", 256)
    if not volume then return pending(tostring(why)) end
    with(function(t)
      local home = volume.path .. "/home"
      local text, good = volumes.run("btrfs subvolume create %s && btrfs "
        .. "subvolume create %s/sub && mkdir %s/d && chmod 755 %s %s/..", home,
        home, home, home, volume.path)
      assert(good, text)
      local w <close> = app.writer(1, { components = { group("all", home),
        group("d", home .. "/d") } })
      local v = t.backup { paths = { home }, provider = "btrfs",
        scratch = volume.path }
      assert.matches("home/sub is a file system", component(v, "all").why)
      assert.is_true(component(v, "d").recoverable)
      w:close()
    end)
  end)

  it("of names that cannot be written down does not spoil the version",
    function()
      with(function(t)
        outside.write(t.data .. "/b\nc", "x")
        outside.write(t.data .. "/b\xff", "then")
        local w <close> = app.writer(1, { components = {
          group("odd", t.data .. "/b\nc"), group("bytes", t.data .. "/b\xff") } })
        local v = t.backup()
        assert.is_false(component(v, "odd").recoverable)
        assert.is_true(component(v, "bytes").recoverable)
        assert.equal(2, #t.items().components)
        outside.write(t.data .. "/b\xff", "now")
        assert(wsb.recover { repository = t.repo, component = "bytes" }:wait())
        assert.equal("then", outside.content(t.data .. "/b\xff"))
        w:close()
      end)
    end)

  it("is not damaged because its check was aborted", function()
    with(function(t)
      local w <close> = app.writer(1, { components = { group("x", t.data) } })
      local a <close> = wsb.application { writer = app.id(1), name = "aborts",
        check = function()
          local op = saros.sleep(60)
          op:cancel()
          return op
        end }
      local c = component(t.backup(), "x")
      assert.equal("untried", c.check.state)
      assert.is_true(c.recoverable)
      a:close()
      w:close()
    end)
  end)

  it("of which something cannot be read is never seen as whole", function()
    if outside.run("id", "-u") ~= "0\n" then
      return pending "only root can make a file that root cannot read"
    end
    with(function(t)
      run("cd %s; mkdir d e; echo x | tee d/f d/bad e/f >g", t.data)
      local bad, seen
      local _ <close> = setmetatable({}, { __close = function()
        if bad then os.execute("umount " .. bad) end
      end })
      local w <close> = app.writer(1, { components = {
        group("d", t.data .. "/d"), group("e", t.data .. "/e") },
        backup_complete = function()
          run("umount %s", bad)
          bad = nil
          seen = t.items() -- what there is when it is killed now
        end })
      local v = t.backup { on_component = function()
        if bad then return end
        bad = outside.run("find", t.state, "-name", "bad"):gsub("\n", "")
        run("mount --bind /proc/self/mem '%s'", bad)
      end }
      for _, of in ipairs { seen, v, t.items() } do
        assert.is_false(component(of, "d").recoverable)
        assert.matches("d/bad could not be read", component(of, "d").why)
        assert.is_true(component(of, "e").recoverable)
      end
      assert.equal(1, #t.repo:versions())
      assert.matches("NOT to be relied on: .*d/bad", t.dump(v.id,
        "/.saros/restore-plan.txt"))
      assert.equal(1, v.failed)
      w:close()
    end)
  end)

  it("makes no version without what is known of it", function()
    with(function(t)
      local methods = require "saros.repository.core".methods
      local real, asked = methods.backup, nil
      function methods.backup(_, o)
        asked = o.whole
        return core.spawn(function()
          return { torn = true, failed = 1, errors = { {
            path = "/.saros/manifest.json", message = "the disk is broken" } } }
        end)
      end
      local _ <close> = setmetatable({}, { __close = function()
        methods.backup = real
      end })
      local v, err = t.begin():wait()
      assert.is_nil(v)
      assert.same({ "/.saros" }, asked)
      assert.matches("could not be stored with it: /.saros/manifest.json: the "
        .. "disk is broken", err.message)
    end)
  end)

  it("with a pending part is not seen as whole without it", function()
    with(function(t)
      local seen, last
      local w <close> = app.writer(1, { components = { group("x", t.data) },
        post_snapshot = function()
          return { components = { x = { pending = true } } }
        end,
        backup_complete = function()
          seen = t.items()
          return last
        end })
      last = { components = { x = { pending = false, note = "done" } } }
      t.backup()
      assert.is_false(component(seen, "x").recoverable)
      assert.matches("before all that belongs", component(seen, "x").why)
      assert.is_true(component(t.items(), "x").recoverable)
      last = nil
      t.backup()
      assert.matches("never said", component(t.items(), "x").why)
      w:close()
    end)
  end)

  -- A version that this process did not live to complete says what one says that
  -- it did complete, or less.
  it("to which something comes that nobody expects is barred", function()
    with(function(t)
      run("cd %s; mkdir early late; echo label | tee early/l >late/l", t.root)
      local function adding(...)
        local list = {}
        for i, name in ipairs { ... } do
          list[i] = { path = t.root .. "/" .. name, to = t.data }
        end
        return list
      end
      local before, after, seen
      local w <close> = app.writer(1, { components = { group("x", t.data) },
        post_snapshot = function() return { components = { x = before } } end,
        backup_complete = function()
          seen = component(t.items(), "x")
          return { components = { x = after } }
        end })
      -- It says again what it has said.
      before = { additions = adding "early" }
      after = { additions = adding "early" }
      local c = component(t.backup(), "x")
      assert.is_true(c.recoverable and seen.recoverable)
      assert.equal(1, #c.additions)
      -- Announced: until it is there the version is none.
      before = { additions = adding "early", pending = true }
      after = { additions = adding("early", "late") }
      c = component(t.backup(), "x")
      assert.is_false(seen.recoverable)
      assert.is_true(c.recoverable)
      c = component(t.items(), "x")
      assert.is_true(c.recoverable)
      assert.equal(2, #c.additions)
      -- Not announced: the version had been one without it.
      before = { additions = adding "early" }
      for _, first in ipairs { { additions = adding "early" }, {} } do
        before = first
        c = component(t.backup(), "x")
        assert.is_true(seen.recoverable)
        for _, one in ipairs { c, (component(t.items(), "x")) } do
          assert.is_false(one.recoverable)
          assert.matches("/late when its files had been stored", one.why)
          assert.equal(#(first.additions or {}), #one.additions)
        end
        after = { additions = adding "late" }
      end
      w:close()
    end)
  end)

  it("is told that it went well only if it can be recovered", function()
    with(function(t)
      run("cd %s; mkdir d e; touch d/f e/g", t.data)
      local told
      local w <close> = app.writer(1, { components = {
        group("d", t.data .. "/d"), group("e", t.data .. "/e") },
        backup_complete = function(e)
          told = table.concat(e.succeeded or {}, " ")
        end })
      t.backup { type = "full" }
      assert.equal("d e", told)
      t.backup { type = "full", exclude = "g" }
      assert.equal("d", told)
      local a <close> = wsb.application { writer = app.id(1), name = "checks",
        check = function(c)
          if c.component == "d" then return nil, "it is damaged" end
        end }
      t.backup { type = "full" }
      assert.equal("e", told)
      a:close()
      w:close()
    end)
  end)
end)

describe("what is learned", function()
  it("changes nothing but what is learned", function()
    with(function(t)
      run("mkdir %s/learned", t.root)
      local w <close> = app.writer(1, { components = { group("x", t.data) } })
      local a <close> = wsb.application { writer = app.id(1), name = "checks",
        check = function() return nil, "it is damaged" end }
      local v = t.backup()
      local facts = { { time = "9999-99-99T9.9.9", what = "drill",
        is = { ok = true }, guid = v.guid, n = 1 } }
      for _, what in ipairs { "recoverable", "files", "additions" } do
        facts[#facts + 1] = { guid = v.guid, n = 1, what = what, is = { "/etc" },
          time = "2030-01-01T00:00:00Z" }
      end
      outside.write(t.root .. "/learned/learned.json", core.json_write {
        saros = 1, facts = facts })
      assert(t.repo:backup { sources = { { path = t.root .. "/learned",
        origin = { path = "/.saros-learned" } } } }:wait())
      local c = t.items().components[1]
      assert.is_false(c.recoverable)
      assert.matches("its check failed", c.why)
      assert.same({ t.data }, c.files)
      -- A drill that went well does not lift it.
      app.catalogue.learn(t.repo, v.guid, { component = 1,
        drill = { ok = true } })
      assert.is_false(t.items().components[1].recoverable)
      a:close()
      w:close()
    end)
  end)
end)

describe("a recovery", function()
  it("leads no link of a copy to where it came from, at no moment", function()
    with(function(t)
      run("cd %s; mkdir pg wal; touch wal/1; ln -s %s/wal/ pg/pg_wal; "
        .. "ln -s ../wal pg/near; chown -h 65534 pg/pg_wal", t.data, t.data)
      local w <close> = app.writer(1, { components = {
        group("x", t.data .. "/pg", t.data .. "/wal") } })
      t.backup()
      local r = assert(wsb.recover { repository = t.repo, component = "x",
        overwrite = "copy" }:wait())
      local link = r.root .. t.data .. "/pg/pg_wal"
      assert.equal(("%s%s/wal 65534\n"):format(r.root, t.data),
        (outside.run("find", link, "-printf", "%l %U\n")))
      assert.equal("../wal\n", (outside.run("readlink", r.root .. t.data
        .. "/pg/near")))
      r = assert(wsb.recover { repository = t.repo, component = "x" }:wait())
      assert.is_nil(r.root)
      assert.equal(t.data .. "/wal/\n", (outside.run("readlink", t.data
        .. "/pg/pg_wal")))
      w:close()
    end)
  end)

  it("writes through no link what a writer adds", function()
    with(function(t)
      run("cd %s; mkdir staged data/db; echo prod >prod; echo label >"
        .. "staged/label; ln -s %s/prod data/db/label", t.root, t.root)
      local w <close> = app.writer(1, { components = {
        group("x", t.data .. "/db") }, post_snapshot = function()
          return { components = { x = { additions = { {
            path = t.root .. "/staged", to = t.data .. "/db" } } } } }
        end })
      t.backup()
      assert(wsb.recover { repository = t.repo, component = "x" }:wait())
      assert.equal("prod\n", outside.content(t.root .. "/prod"))
      assert.equal("f\n", (outside.run("find", t.data .. "/db/label",
        "-printf", "%y\n")))
      w:close()
    end)
  end)

  it("that is cancelled at any step leaves all as it was", function()
    with(function(t)
      run("cd %s; mkdir 1 2 3; echo old | tee 1/f 2/f >3/f", t.data)
      local w <close> = app.writer(1, { components = {
        group("x", t.data .. "/1", t.data .. "/2", t.data .. "/3") } })
      t.backup()
      run("cd %s; echo new | tee 1/f 2/f >3/f", t.data)
      local real, at, op, count = core.entries, 0, nil, nil
      local _ <close> = setmetatable({}, { __close = function()
        core.entries = real
      end })
      function core.entries(steps)
        local verb = steps[1][1]
        if verb ~= "look" and verb ~= "follow" and verb ~= "names" then
          count = count + 1
          if count == at then op:cancel() end
        end
        return real(steps)
      end
      local function begin() -- with n changes before the cancel
        at, count = at + 1, 0
        op = wsb.recover { repository = t.repo, component = "x" }
        return op:wait()
      end
      while true do
        local r, err = begin()
        if r then break end
        assert.is_true(err.cancelled, tostring(err))
        -- It is cleaned up behind the one that waited.
        outside.eventually("it is cleaned up", function()
          while saros.step(0) do end
          return outside.run("ls", "-A", t.data) == "1\n2\n3\n"
        end)
        for i = 1, 3 do
          assert.equal("new\n", outside.content(t.data .. "/" .. i .. "/f"))
        end
      end
      assert.is_true(at > 9)
      for i = 1, 3 do
        assert.equal("old\n", outside.content(t.data .. "/" .. i .. "/f"))
      end
      w:close()
    end)
  end)

  it("that is cancelled too late says where things are kept", function()
    with(function(t)
      run("mkdir %s/d", t.data)
      local w <close> = app.writer(1, { components = {
        group("x", t.data .. "/d") } })
      t.backup()
      local op, said
      local ended = false
      local a <close> = wsb.application { writer = app.id(1), name = "late",
        post_restore = function()
          op:cancel()
          saros.sleep(0.01):wait()
        end }
      local was = warn
      local _ <close> = setmetatable({}, { __close = function()
        _G.warn = was
      end })
      function _G.warn(text) said, ended = text, true end
      op = wsb.recover { repository = t.repo, component = "x" }
      local _, err = op:wait()
      assert.is_true(err.cancelled)
      while not ended do saros.sleep(0.01):wait() end
      assert.matches("files were laid.*d is kept: .*d.saros%-kept", said)
      a:close()
      w:close()
    end)
  end)

  it("of files lays those of an application together, or none", function()
    with(function(t)
      local path = t.data .. "/app.db"
      app.database(path, 100)
      outside.write(t.data .. "/other", "then")
      local w <close> = app.sqlite.writer { databases = { path } }
      t.backup()
      w:close()
      local function recover(more)
        app.execute(path, "DELETE FROM t")
        outside.write(path .. "-wal", "of another one")
        outside.write(t.data .. "/other", "now")
        local o = { repository = t.repo, files = { t.data } }
        for name, item in pairs(more) do o[name] = item end
        return assert(wsb.recover(o):wait())
      end
      recover {}
      assert.is_nil(outside.content(path .. "-wal"))
      assert.equal(100, app.rows(path))
      assert.equal("then", outside.content(t.data .. "/other"))
      local r = recover { overwrite = "skip" }
      assert.same({}, r.warnings)
      assert.equal("of another one", outside.content(path .. "-wal"))
      os.remove(path .. "-wal")
      assert.equal(0, app.rows(path))
      r = recover { files = { path } }
      assert.matches("app.db: only a part of its files", r.warnings[1])
      os.remove(path)
      outside.write(path .. "-wal", "of another one")
      assert(wsb.recover { repository = t.repo, files = { t.data },
        overwrite = "skip" }:wait())
      assert.is_nil(outside.content(path .. "-wal"))
      assert.equal(100, app.rows(path))
    end)
  end)

  it("of a component without files is refused", function()
    with(function(t)
      t.forge({ saros = 1, id = "5a705000-0000-4000-8000-000000000001",
        paths = { t.data }, components = { { n = 1, name = "x", files = {},
          recoverable = true, writer = { id = app.id(1), name = "w",
            instance = app.id(1) } } } }, { t.data })
      local _, err = wsb.recover { repository = t.repo, component = "x" }:wait()
      assert.equal("SAROS_E_DAMAGED", err.name)
      assert.matches("it has no files", err.message)
    end)
  end)

  it("of all files is not laid over this system, by whatever name", function()
    with(function(t)
      t.backup()
      for _, path in ipairs { "/", "/.saros", "//" } do
        local _, err = wsb.recover { repository = t.repo, files = { path },
          target = "//" }:wait()
        assert.equal("SAROS_E_REFUSED", err.name)
      end
    end)
  end)
end)
