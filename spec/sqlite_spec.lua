-- saros.client.sqlite: SQLite without blocking.
-- also under valgrind
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros, testmod = helper.saros, helper.testmod
local code = saros.code
local there, sqlite = pcall(require, "saros.client.sqlite")

if not there then
  describe("saros.client.sqlite", function()
    pending "was left out of this build: there was no sqlite3.h"
  end)
  return
end

local ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
  .. " SELECT count(*) FROM c"

-- A directory with a database that has one empty table.
local function with(f, within)
  return outside.directory(function(directory)
    local path = directory .. "/test.db"
    do
      local db <close> = sqlite.open { path = path, create = true }
      assert(db:exec "CREATE TABLE t (n INTEGER PRIMARY KEY, x)":wait())
    end
    return f(path, directory)
  end, within)
end

local function open(path, more)
  local o = { path = path }
  for name, item in pairs(more or {}) do o[name] = item end
  return sqlite.open(o)
end

local function value(db, sql, ...)
  local rows = assert(db:query(sql, ...):wait())
  local _, first = next(rows[1] or {})
  return first
end

local function fails(op)
  local result, err = op:wait()
  assert.is_nil(result)
  return err
end

-- Waits until its phase says that it waits for a lock.
local function until_waiting(op)
  outside.eventually("waiting for a lock", function()
    return op:status().phase == "waiting for a lock"
  end)
end

describe("a statement", function()
  it("gives rows of what SQLite knows", function()
    with(function(path)
      local db <close> = open(path)
      local bytes = "\0\255\128'\n"
      local rows = assert(db:query(
        "SELECT 1 AS i, ?1 AS r, ?2 AS t, ?3 AS b, NULL AS n, ?4 AS most, "
        .. "typeof(?3) AS kind, 9e999 AS inf, x'' AS empty, ?5 AS yes, "
        .. "typeof(?6) AS none", 0.1, "Grüße\0x", sqlite.blob(bytes),
        math.mininteger, true, nil):wait())
      assert.same({ { i = 1, r = 0.1, t = "Grüße\0x", b = bytes,
        most = math.mininteger, kind = "blob", inf = math.huge, empty = "",
        yes = 1, none = "null" } }, rows)
      assert.equal("integer", math.type(rows[1].i))
      assert.same({}, assert(db:query "SELECT * FROM t":wait()))
    end)
  end)

  it("takes its values by name, too", function()
    with(function(path)
      local db <close> = open(path)
      assert.same({ { a = 1, b = "two" } },
        assert(db:query("SELECT :one AS a, @two AS b, $three AS c",
          { one = 1, two = "two" }):wait()))
      local err = fails(db:query("SELECT :one", { other = 1 }))
      assert.match("no parameter :other", err.message)
    end)
  end)

  it("tells what it changed", function()
    with(function(path)
      local db <close> = open(path)
      local r = assert(db:exec [[
        INSERT INTO t (x) VALUES (1), (2), (3);
        -- a comment; and nothing
        UPDATE t SET x = 0 WHERE n > 1;
      ]]:wait())
      assert.same({ changes = 5, last_id = 3 }, r)
      assert.same({ changes = 0, last_id = 3 }, assert(db:exec "":wait()))
      assert.equal(4, assert(db:exec("INSERT INTO t (x) VALUES (?)", 7):wait())
        .last_id)
    end)
  end)

  it("comes after those that were asked for before it", function()
    with(function(path)
      local db <close> = open(path)
      local ops = {}
      for i = 1, 300 do
        ops[i] = db:exec("INSERT INTO t VALUES ((SELECT count(*) + 1 FROM t), ?)", i)
      end
      -- Each has counted those before it.
      assert.same({}, assert(db:query "SELECT * FROM t WHERE n <> x":wait()))
      assert.equal(300, value(db, "SELECT count(*) FROM t"))
      for _, op in ipairs(ops) do assert.is_true(op:ok()) end
    end)
  end)

  it("blocks nobody", function()
    with(function(path)
      local slow <close> = open(path)
      local quick <close> = open(path)
      local long = slow:query(ENDLESS)
      saros.run(function()
        for i = 1, 20 do
          assert(quick:exec("INSERT INTO t (x) VALUES (?)", i):wait())
        end
      end)
      assert.is_false(long:done())
      assert.equal(0, long:cancel())
    end)
  end)

  it("says what is wrong with it", function()
    with(function(path)
      local db <close> = open(path)
      local function said(err, wanted, message)
        assert.equal(wanted, err.code)
        assert.match(message, err.message)
      end
      said(fails(db:query "SELEC 1"), code.E_INVALIDARG, "test.db: near")
      said(fails(db:exec "SELECT * FROM nowhere"), code.E_INVALIDARG, "no such table")
      said(fails(db:query "SELECT 1; SELECT 2"), code.E_INVALIDARG, "one statement")
      said(fails(db:query "SELECT 1; nonsense"), code.E_INVALIDARG, "one statement")
      said(fails(db:exec("SELECT ?; SELECT 2", 1)), code.E_INVALIDARG, "one statement")
      said(fails(db:exec("-- nothing", 1)), code.E_INVALIDARG, "no statement")
      said(fails(db:query("SELECT ?, ?", 1)), code.E_INVALIDARG, "2 parameters, and 1")
      said(fails(db:query("SELECT ?", 1, 2)), code.E_INVALIDARG, "for that many")
      assert(db:exec "INSERT INTO t VALUES (1, 1)":wait())
      said(fails(db:exec "INSERT INTO t VALUES (1, 1)"), code.E_FAIL, "UNIQUE")
      -- What came before the one that failed is done.
      fails(db:exec "INSERT INTO t VALUES (2, 2); nonsense; INSERT INTO t VALUES (3, 3)")
      assert.equal(2, value(db, "SELECT count(*) FROM t"))
      for _, bad in ipairs { {}, print, coroutine.create(print) } do
        if type(bad) ~= "table" then
          assert.has_error(function() db:query("SELECT ?", bad) end)
        end
      end
      assert.has_error(function() db:query("SELECT ?", { 1 }) end)
      assert.has_error(function() db:query("SELECT ?", { a = 1 }, 2) end)
      assert.has_error(function() db:query "SELECT \0" end)
      assert.has_error(function() db:query() end)
    end)
  end)
end)

describe("opening", function()
  it("is for what is there, unless it is to be made", function()
    with(function(_, directory)
      local path = directory .. "/new.db"
      local db <close> = open(path)
      local err = fails(db:query "SELECT 1")
      assert.equal(0x80070002, err.code)
      assert.match("cannot open " .. path .. ": No such file", err.message, 1, true)
      assert.is_nil(outside.content(path))
      do
        local new <close> = open(path, { create = true })
        assert(new:exec "CREATE TABLE t (x)":wait())
      end
      assert.equal(0, value(db, "SELECT count(*) FROM t")) -- now it is there
    end)
  end)

  it("fails with what is no database", function()
    with(function(_, directory)
      local path = directory .. "/garbage"
      outside.write(path, ("garbage "):rep(1000))
      local db <close> = open(path)
      local err = fails(db:query "PRAGMA schema_version")
      assert.equal(code.SAROS_E_DAMAGED, err.code)
      assert.match("garbage: file is not a database", err.message)
      local other <close> = open(directory)
      assert.match("cannot open", fails(other:query "SELECT 1").message)
    end)
  end)

  it("may be for reading only", function()
    with(function(path)
      local db <close> = open(path, { readonly = true })
      assert.equal(0, value(db, "SELECT count(*) FROM t"))
      local err = fails(db:exec "INSERT INTO t VALUES (1, 1)")
      assert.match("readonly database", err.message)
    end)
  end)

  it("means a relative path from where we are now, and no URI", function()
    with(function(_, directory)
      local said = outside.run("env", "-C", directory,
        "LUA_PATH=" .. outside.lua_path, "LUA_CPATH=" .. outside.lua_cpath,
        outside.lua, "-e", [[
          local db <close> = require "saros.client.sqlite".open { path = "test.db" }
          print(db:path(), #assert(db:query "SELECT * FROM t":wait()))]])
      assert.equal(directory .. "/test.db\t0\n", said)
      local db <close> = open("file:x?mode=memory")
      assert.match("/file:x%?mode=memory$", db:path())
      local memory <close> = open ":memory:"
      assert(memory:exec "CREATE TABLE t (x)":wait())
    end)
  end)

  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { path = 1 }, { path = "" }, { path = "a\0b" },
      { path = "/x", other = 1 }, { path = "/x", busy_timeout = -1 },
      { path = "/x", busy_timeout = "x" }, { path = "/x", busy_timeout = 0 / 0 } }
    do
      assert.has_error(function() sqlite.open(bad) end)
    end
    assert.has_error(function() sqlite.open "/x" end)
    assert.has_error(function() sqlite.blob(1) end)
  end)
end)

describe("cancel", function()
  it("interrupts a long query", function()
    with(function(path)
      local db <close> = open(path)
      local op = db:query(ENDLESS)
      assert.is_true(select(2, op:wait(0.05)).timeout)
      assert.equal(0, op:cancel())
      assert.is_true(fails(op).cancelled)
      assert.equal(0, value(db, "SELECT count(*) FROM t"))
    end)
  end)

  it("never comes too early", function()
    with(function(path)
      local db <close> = open(path)
      for _ = 1, 200 do
        local op = db:query(ENDLESS)
        op:cancel()
        assert.is_true(fails(op).cancelled)
      end
      assert.equal(0, value(db, "SELECT count(*) FROM t"))
    end)
  end)

  it("keeps what is queued from being done", function()
    with(function(path)
      local db <close> = open(path)
      local long = db:query(ENDLESS)
      local first = db:exec "INSERT INTO t VALUES (1, 1)"
      local second = db:exec "INSERT INTO t VALUES (2, 2)"
      local third = db:exec "INSERT INTO t VALUES (3, 3)"
      second:cancel()
      assert.is_true(fails(second).cancelled) -- at once: the long one goes on
      assert.is_false(long:done())
      long:cancel()
      assert(first:wait())
      assert(third:wait())
      assert.same({ { n = 1 }, { n = 3 } },
        assert(db:query "SELECT n FROM t ORDER BY n":wait()))
    end)
  end)

  it("ends a wait for a lock", function()
    with(function(path)
      local one <close> = open(path)
      local two <close> = open(path, { busy_timeout = 1000 })
      assert(one:exec "BEGIN IMMEDIATE":wait())
      local op = two:exec "INSERT INTO t VALUES (1, 1)"
      until_waiting(op)
      op:cancel()
      assert.is_true(fails(op).cancelled)
    end)
  end)

  it("undoes the transaction that it breaks", function()
    with(function(path)
      local db <close> = open(path)
      local seconds, err = 0.05
      repeat
        local done
        assert(db:exec "BEGIN; INSERT INTO t VALUES (1, 1)":wait())
        local op = db:exec("INSERT INTO t (x) " .. ENDLESS)
        op:wait(seconds)
        op:cancel()
        fails(op)
        done, err = db:exec "COMMIT":wait()
        if done then -- it was cancelled before it had begun
          assert(db:exec "DELETE FROM t":wait())
          seconds = seconds * 2
        end
      until err or seconds > 30
      assert.match("no transaction", err.message)
      assert.equal(0, value(db, "SELECT count(*) FROM t"))
    end)
  end)
end)

describe("somebody else's lock", function()
  it("is waited for", function()
    with(function(path)
      local one <close> = open(path)
      local two <close> = open(path, { busy_timeout = 1000 })
      assert(one:exec "BEGIN IMMEDIATE":wait())
      local op = two:exec "INSERT INTO t VALUES (1, 1)"
      until_waiting(op)
      assert(one:exec "COMMIT":wait())
      assert.equal(1, assert(op:wait()).changes)
    end)
  end)

  it("is waited for so long, and no longer", function()
    with(function(path)
      local one <close> = open(path)
      local two <close> = open(path, { busy_timeout = 0.05 })
      assert(one:exec "BEGIN IMMEDIATE":wait())
      -- The pragma would put SQLite's own waiting in the place of ours.
      assert(two:exec "PRAGMA busy_timeout = 1000000":wait())
      local err = fails(two:exec "INSERT INTO t VALUES (1, 1)")
      assert.equal(code.SAROS_E_LOCKED, err.code)
      assert.is_true(err.retryable)
      assert.match("database is locked: somebody else", err.message)
      two:set_busy_timeout(0)
      assert.equal(code.SAROS_E_LOCKED, fails(two:exec "INSERT INTO t VALUES (1, 1)").code)
    end)
  end)

  -- More of them than there are workers: if they had them all, the one that
  -- they wait for could not be heard.
  it("does not keep its owner from letting go", function()
    with(function(path)
      local one <close> = open(path)
      assert(one:exec "BEGIN IMMEDIATE":wait())
      local dbs, ops = {}, {}
      local _ <close> = setmetatable({}, { __close = function()
        for _, db in ipairs(dbs) do db:close() end
      end })
      for i = 1, 90 do
        dbs[i] = open(path, { busy_timeout = 1000 })
        ops[i] = dbs[i]:exec("INSERT INTO t VALUES (?, 0)", i)
      end
      outside.eventually("everybody who can waiting", function()
        local waiting = 0
        for _, op in ipairs(ops) do
          if op:status().phase then waiting = waiting + 1 end
        end
        return waiting >= 20
      end)
      assert(one:exec "INSERT INTO t VALUES (1000, 0)":wait())
      assert(one:exec "COMMIT":wait())
      assert(saros.all(ops):wait())
      assert.equal(91, value(one, "SELECT count(*) FROM t"))
    end)
  end)
end)

describe("a connection", function()
  it("is closed with what is in flight", function()
    with(function(path)
      local before = testmod.fds()
      local db = open(path)
      assert(db:exec "BEGIN; INSERT INTO t VALUES (1, 1)":wait())
      local ops = { db:query(ENDLESS) }
      for i = 2, 20 do ops[i] = db:exec("INSERT INTO t VALUES (?, 1)", i) end
      assert.is_true(db:close())
      for _, op in ipairs(ops) do
        assert.is_true(op:done())
        assert.is_true(fails(op).cancelled)
      end
      assert.is_true(db:close())
      assert.has_error(function() db:exec "SELECT 1" end, "the connection was closed")
      assert.match("closed", tostring(db))
      assert.is_true(testmod.fds() <= before)
      local other <close> = open(path)
      assert.equal(0, value(other, "SELECT count(*) FROM t")) -- rolled back
    end)
  end)

  it("does all that was asked when nobody has it any more", function()
    with(function(path)
      for i = 1, 50 do
        local db = open(path, { busy_timeout = 1000 })
        db:exec("INSERT INTO t VALUES (?, 1)", i)
        db:exec("INSERT INTO t VALUES (?, 1)", i + 100)
      end
      collectgarbage()
      collectgarbage()
      local db <close> = open(path)
      outside.eventually("all of it", function()
        return value(db, "SELECT count(*) FROM t") == 100
      end)
    end)
  end)

  it("closes its file when nobody has it any more", function()
    with(function(path)
      local function files()
        local pipe <close> = assert(io.popen(
          ("ls -l /proc/%d/fd | grep -c '%s'"):format(outside.system.pid(), path)))
        return tonumber(pipe:read "a")
      end
      local db = open(path)
      assert(db:query "SELECT * FROM t":wait())
      assert.is_true(files() > 0)
      db = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      outside.eventually("its end", function() return files() == 0 end)
    end)
  end)

  it("waits inside when it closes, by the one rule", function()
    with(function(path)
      saros.run(function()
        local ticks = 0
        local other = saros.spawn(function()
          while true do
            ticks = ticks + 1
            saros.sleep(0):wait()
          end
        end)
        local db <close> = open(path)
        db:query(ENDLESS)
        saros.sleep(0.01):wait()
        assert.is_true(db:close())
        assert.is_true(ticks > 0)
        other:cancel()
      end)
      helper.in_sort(function()
        local db <close> = open(path)
        db:query(ENDLESS)
      end)
    end)
  end)

  it("is the parent's after a fork", function()
    with(function(path)
      local db <close> = open(path)
      assert(db:exec "BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1)":wait())
      local status = testmod.fork(function()
        local ok, err = pcall(db.exec, db, "COMMIT")
        if ok or not err:find("is the parent's", 1, true) then return 1 end
        if not db:close() then return 2 end
        collectgarbage()
        local own = open(path)
        if own:query "SELECT count(*) AS n FROM t":wait()[1].n ~= 0 then return 3 end
        own:close()
        return 42
      end)
      assert.equal(42, status)
      assert(db:exec "COMMIT":wait())
      assert.equal(1, value(db, "SELECT count(*) FROM t"))
    end)
  end)
end)

describe("leaving", function()
  local function script(path, text)
    return helper.script(([[
      saros = require "saros"
      sqlite = require "saros.client.sqlite"
      db = sqlite.open { path = %q, busy_timeout = 1000 }
      ENDLESS = %q
    ]]):format(path, ENDLESS) .. text)
  end

  it("with a statement in flight is no matter", function()
    with(function(path)
      for _, way in ipairs { "", "os.exit(0, true)", "os.exit(0)", "db = nil",
        "op = nil collectgarbage()", "saros.shutdown()",
        "db = nil op = nil collectgarbage() collectgarbage()" }
      do
        local said, how, status = script(path, [[
          assert(db:exec "BEGIN; INSERT INTO t VALUES (7, 7)":wait())
          op = db:query(ENDLESS)
          for i = 1, 10 do db:exec("INSERT INTO t VALUES (?, 7)", i) end
          op:wait(0.02)
          print "left" ]] .. way)
        assert.same({ way, "left\n", "exit", 0 }, { way, said, how, status })
        local db <close> = open(path)
        assert.equal(0, value(db, "SELECT count(*) FROM t"))
        assert.equal("ok", value(db, "PRAGMA integrity_check"))
      end
    end)
  end)

  it("while it waits for a lock is no matter", function()
    with(function(path)
      local mine <close> = open(path)
      assert(mine:exec "BEGIN IMMEDIATE":wait())
      local said, how, status = script(path, [[
        op = db:exec "INSERT INTO t VALUES (1, 1)"
        repeat saros.sleep(0.01):wait() until op:status().phase
        print "left"]])
      assert.same({ "left\n", "exit", 0 }, { said, how, status })
    end)
  end)

  it("closes what is open: no log is left", function()
    with(function(path)
      local said = script(path, [[
        assert(db:exec "PRAGMA journal_mode = WAL; INSERT INTO t VALUES (1, 1)":wait())
        print(io.open(db:path() .. "-wal") ~= nil)]])
      assert.equal("true\n", said)
      assert.is_nil(outside.content(path .. "-wal"))
    end, outside.memory)
  end)
end)
