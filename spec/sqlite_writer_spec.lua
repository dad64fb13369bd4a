-- saros.writers.sqlite: shadows of databases that are written to all the time.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code
local there, client = pcall(require, "saros.client.sqlite")

if not there then
  describe("saros.writers.sqlite", function()
    pending "saros.client.sqlite was left out of this build"
  end)
  return
end

local sqlite = require "saros.writers.sqlite"
local busy = require "spec.sqlite_busy"
local system = outside.system
local modes = { "delete", "wal", "persist" }

local case = require "spec.sqlite_case"
local shadow, witness, insert = case.shadow, case.witness, case.insert

-- The processes that hold databases for this one.
local function holders()
  local pipe <close> = assert(io.popen(
    "grep -lsx sqlite-hold /proc/[0-9]*/comm | sed 's|/proc/||; s|/comm||'"))
  local found = {}
  for pid in pipe:lines() do
    local status = outside.content("/proc/" .. pid .. "/status") or ""
    if tonumber(status:match "PPid:%s*(%d+)") == system.pid()
      and status:match "State:%s*(%a)" ~= "Z"
    then
      found[#found + 1] = tonumber(pid)
    end
  end
  return found
end

describe("a shadow of a busy database", function()
  for _, mode in ipairs(modes) do
    it("is of one instant, by copying (" .. mode .. ")", function()
      local d <close> = shared.directory()
      busy.shadow(d.a, d.state, "copy", mode)
      assert.same({}, holders())
      assert.equal("", d.left())
    end)
  end

  for _, mode in ipairs { "delete", "wal" } do
    it("is of one instant, of a frozen image (" .. mode .. ")", function()
      if not os.execute "test $(id -u) = 0" or not outside.installed "mkfs.xfs"
        or not outside.installed "mkfs.ext4" or not outside.installed "unshare"
        or io.open("/dev/loop-control", "r+") == nil
      then
        pending "needs root, loop devices, mkfs.xfs, mkfs.ext4 and unshare"
        return
      end
      outside.directory(function(directory)
        local p <close> = outside.start("unshare", "-m", "--propagation",
          "private", outside.lua, "spec/sqlite_busy.lua", directory, mode)
        local said, how, status = p:finish(outside.patience * 1.5)
        if status == 77 then
          pending(said)
          return
        end
        assert.same({ "exit", 0 }, { how, status }, said)
        assert.match("passed: %d+ rows", said)
      end)
    end)
  end

  it("of several databases is of one instant", function()
    local d <close> = shared.directory()
    local paths = { d.b .. "/z.db", d.a .. "/a.db", d.a .. "/m.db" }
    for _, path in ipairs(paths) do busy.make(path, "wal") end
    local heard
    local _ <close> = sqlite.writer { databases = paths, name = "three" }
    local _ <close> = witness(function()
      heard = {}
      for i, path in ipairs(paths) do heard[i] = insert(path, 0) end
    end)
    local set <close> = assert(shadow(d, { paths = { d.a, d.b } }):wait())
    assert.same({ "SAROS_E_LOCKED", "SAROS_E_LOCKED", "SAROS_E_LOCKED" }, heard)
    for _, path in ipairs(paths) do assert.equal("written", insert(path, 0)) end
    assert(sqlite.check(set[d.b].path .. "/z.db"):wait())
  end)
end)

describe("sqlite.writer", function()
  it("says what it has", function()
    local d <close> = shared.directory()
    busy.make(d.a .. "/app.db", "delete")
    busy.make(d.b .. "/app.db", "delete")
    assert(os.execute(("ln -s %s/app.db %s/link.db"):format(d.a, d.b)))
    local w <close> = sqlite.writer { name = "mine", instance = shared.id(7),
      databases = { d.b .. "/link.db", d.b .. "/app.db", d.a .. "/app.db",
        d.a .. "/app.db", d.a .. "/missing.db" } }
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    assert(s:gather_writer_metadata():wait())
    local said = s:writers()[1]
    helper.contains({ id = sqlite.id, instance = w.instance, name = "mine" }, said)
    local files = {}
    for _, c in ipairs(said.components) do
      assert.equal("database", c.type)
      files[c.name] = c.files
    end
    local function of(path)
      return { path, path .. "-wal", path .. "-shm", path .. "-journal" }
    end
    assert.same({
      [d.a .. "/app.db"] = of(d.a .. "/app.db"),
      [d.b .. "/app.db"] = of(d.b .. "/app.db"),
      ["link.db"] = of(d.a .. "/app.db"), -- where it really is
      ["missing.db"] = of(d.a .. "/missing.db"),
    }, files)
  end)

  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { databases = "x" }, { databases = {} },
      { databases = { "relative" } }, { databases = { 1 } },
      { databases = { "/a\0b" } }, { databases = { "/x" }, other = 1 },
      { databases = { "/x" }, name = 1 }, { databases = { "/x" }, id = "no" } }
    do
      assert.has_error(function() sqlite.writer(bad) end)
    end
    assert.has_error(function() sqlite.writer() end)
  end)

  -- What kept the shadow from being made, as it says itself.
  local function refused(d, path, options)
    options = options or {}
    options.databases = { path }
    local _ <close> = sqlite.writer(options)
    local set, err = shadow(d):wait()
    assert.is_nil(set)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.equal("", d.left())
    assert.same({}, holders())
    while err.cause do err = err.cause end
    return err
  end

  it("fails the shadow for a database that is not there", function()
    local d <close> = shared.directory()
    local err = refused(d, d.a .. "/app.db")
    assert.match("cannot open " .. d.a .. "/app.db: No such file", err.message, 1, true)
    assert.equal(0x80070002, err.code)
  end)

  it("fails the shadow for what is no database", function()
    local d <close> = shared.directory()
    outside.write(d.a .. "/app.db", ("garbage "):rep(1000))
    local err = refused(d, d.a .. "/app.db")
    assert.match("app.db: file is not a database", err.message)
  end)

  it("fails the shadow when it was damaged since it was looked at", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "delete")
    local _ <close> = vss.writer { id = shared.id(8), name = "vandal",
      level = "front_end",
      freeze = function() outside.write(path, ("garbage "):rep(1000)) end }
    local err = refused(d, path)
    assert.match("cannot be held still: .*app.db: file is not a database",
      err.message)
  end)

  it("fails the shadow when somebody does not let go of it", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    for _, mode in ipairs { "delete", "wal" } do
      busy.make(path, mode)
      local p <close> = outside.start(outside.lua, "-e", ([[
        local sqlite = require "saros.client.sqlite"
        local db = sqlite.open { path = %q }
        assert(db:exec "BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1)":wait())
        print "mine"
        io.stdout:flush()
        require "saros".sleep(1000):wait()]]):format(path))
      p:expect "mine\n"
      local err = refused(d, path, { lock_timeout = 0.2 })
      assert.match("app.db: database is locked: somebody else has written to it "
        .. "for 0.2 seconds", err.message)
      assert.equal(code.SAROS_E_LOCKED, err.code)
      p:__close()
      assert(shadow(d):wait()):close() -- it stands in nobody's way
      os.execute(("rm %s*"):format(path))
    end
  end)

  it("fails the shadow of what it may not write to", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "delete")
    local text = ([[
      local saros = require "saros"
      local _ <close> = require "saros.writers.sqlite".writer {
        databases = { %q } }
      local _, err = saros.vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()
      while err.cause do err = err.cause end
      print(err.message)]]):format(path, d.a, d.state)
    local said
    if os.execute "test $(id -u) = 0" then -- whom only a file system stops
      if not outside.installed "unshare" then pending "needs unshare" return end
      said = outside.run("unshare", "-m", "--propagation", "private", "sh", "-ec",
        'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"', d.a,
        outside.lua, "-e", text)
    else
      assert(os.execute(("chmod 444 %s"):format(path)))
      said = outside.run(outside.lua, "-e", text)
    end
    assert.match("app.db: attempt to write a readonly database: nobody can be",
      said)
  end)

  it("lets go when the shadow fails elsewhere, or is cancelled", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "wal")
    local _ <close> = sqlite.writer { databases = { path } }
    do
      local _ <close> = witness(function() return nil, "no" end)
      assert.is_nil((shadow(d):wait()))
      assert.equal("written", insert(path, 0))
    end
    local gate, op = helper.gate()
    local entered = false
    local _ <close> = witness(function()
      entered = true
      op:wait()
    end)
    local run = shadow(d)
    shared.until_true(function() return entered end)
    assert.equal("SAROS_E_LOCKED", insert(path, 0))
    assert.equal(1, #holders())
    assert.equal(0, run:cancel())
    assert.is_nil((run:wait()))
    assert.same({}, holders())
    assert.equal("written", insert(path, 0))
    gate:finish(0)
  end)

  it("lets go when it is closed", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "delete")
    local w = sqlite.writer { databases = { path } }
    local _ <close> = witness(function() w:close() end)
    assert.is_nil((shadow(d):wait()))
    assert.same({}, holders())
    assert.equal("written", insert(path, 0))
  end)
end)

describe("whoever holds it still", function()
  it("lets go when it is killed, and then there is no shadow", function()
    for _, mode in ipairs { "delete", "wal" } do
      local d <close> = shared.directory()
      local path = d.a .. "/app.db"
      busy.make(path, mode)
      local _ <close> = sqlite.writer { databases = { path } }
      local before, after
      local _ <close> = witness(function()
        before = insert(path, 0)
        local pids = holders()
        assert(#pids == 1)
        system.kill(pids[1], 9)
        after = insert(path, 30)
      end)
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.same({ "SAROS_E_LOCKED", "written" }, { before, after })
      assert.match("ended before the shadow was complete", err.message)
      assert.equal("", d.left())
    end
  end)

  it("lets go when its host is killed", function()
    for _, mode in ipairs { "delete", "wal" } do
      local d <close> = shared.directory()
      local path = d.a .. "/app.db"
      busy.make(path, mode)
      local p <close> = outside.start(outside.lua, "-e", ([[
        local saros = require "saros"
        local vss = require "saros.vss"
        local w = require "saros.writers.sqlite".writer { databases = { %q } }
        local v = vss.writer { id = %q, name = "witness", level = "system",
          freeze = function()
            print "held"
            io.stdout:flush()
            saros.sleep(1000):wait()
          end }
        vss.shadow { paths = { %q }, provider = "copy", state_dir = %q }:wait()
      ]]):format(path, shared.id(9), d.a, d.state))
      p:expect "held\n"
      assert.equal("SAROS_E_LOCKED", insert(path, 0))
      system.kill(p.pid, 9)
      assert.equal("written", insert(path, 30))
      assert.same({}, holders())
      assert(vss.reap { state_dir = d.state }:wait())
    end
  end)

  it("lets go after its time", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "delete")
    local p <close> = outside.start(client._holder, "1000", "300", path)
    p:expect "held\n"
    assert.equal("written", insert(path, 30))
    local _, how, status = p:finish()
    assert.same({ "exit", 2 }, { how, status })
  end)
end)

describe("sqlite.check", function()
  local function made(d)
    local path = d.a .. "/app.db"
    busy.make(path, "wal")
    local db <close> = client.open { path = path }
    assert(db:exec [[
      CREATE INDEX i ON t (x);
      WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 2000)
        INSERT INTO t SELECT n, hex(n * 7919) FROM c]]:wait())
    return path
  end

  it("says that a good one is good, and touches nothing", function()
    local d <close> = shared.directory()
    local path = made(d)
    local before = outside.content(path)
    assert.equal(path, assert(sqlite.check(path, { scratch = d.b }):wait()).path)
    assert.equal(before, outside.content(path))
    assert.is_nil(outside.content(path .. "-wal"))
    assert.is_nil(d.read(d.b .. "/check.db"))
    assert.equal("file\n", outside.run("ls", d.b))
  end)

  it("says what is wrong with a bad one", function()
    local d <close> = shared.directory()
    local path = made(d)
    -- One page of the index is that of another.
    local bytes = outside.content(path)
    local size = 4096
    local last = #bytes // size
    outside.write(path, bytes:sub(1, (last - 1) * size)
      .. bytes:sub((last - 2) * size + 1, (last - 1) * size))
    local ok, err = sqlite.check(path, { scratch = d.b }):wait()
    assert.is_nil(ok)
    assert.equal(code.SAROS_E_DAMAGED, err.code)
    assert.match("app.db: the check found: ", err.message)
    assert.is_true(#err.problems > 0)
    assert.equal("file\n", outside.run("ls", d.b))
  end)

  it("sees what is only in the log", function()
    local d <close> = shared.directory()
    local path = made(d)
    local db <close> = client.open { path = path }
    assert(db:exec "PRAGMA wal_autocheckpoint = 0; INSERT INTO t VALUES (5000, 1)":wait())
    -- Cut short, a log is as far as it goes; damaged in the database itself, it
    -- covers that.
    for _, suffix in ipairs { "", "-wal" } do
      assert(saros.copy { from = path .. suffix, to = d.b .. "/x.db" .. suffix }:wait())
    end
    assert(sqlite.check(d.b .. "/x.db"):wait())
    assert.equal(5000, assert(client.open { path = d.b .. "/x.db" }
      :query "SELECT max(n) AS n FROM t":wait())[1].n)
  end)

  it("fails for what is none, or not there", function()
    local d <close> = shared.directory()
    outside.write(d.a .. "/app.db", ("garbage "):rep(1000))
    local ok, err = sqlite.check(d.a .. "/app.db", { scratch = d.b }):wait()
    assert.is_nil(ok)
    assert.equal(d.a .. "/app.db: the check found: file is not a database",
      err.message)
    assert.same({ "file is not a database" }, err.problems)
    ok, err = sqlite.check(d.a .. "/missing", { scratch = d.b }):wait()
    assert.is_nil(ok)
    assert.match("missing", err.message)
    assert.equal("file\n", outside.run("ls", d.b))
    assert.has_error(function() sqlite.check() end)
  end)

  it("leaves nothing when it is cancelled", function()
    local d <close> = shared.directory()
    local path = made(d)
    for _ = 1, 5 do
      local op = sqlite.check(path, { scratch = d.b })
      saros.step(0)
      op:cancel()
      op:wait()
      assert.equal("file\n", outside.run("ls", d.b))
    end
  end)
end)
