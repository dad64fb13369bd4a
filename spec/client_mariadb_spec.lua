-- saros.client.mariadb: a connection to a MariaDB server, without blocking,
-- whatever that does.
local helper = require "spec.helper"
local mariadb = require "spec.servers.mariadb"
local outside = require "spec.outside"

local there, client = pcall(require, "saros.client.mariadb")

if not there or mariadb.missing then
  describe("saros.client.mariadb", function()
    pending(mariadb.missing or "it was left out of this build")
  end)
  return
end

local saros, system = helper.saros, outside.system
local code = saros.code

-- A server that asks for the password as it is, and prints what it is sent.
local LIAR <const> = [[
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listening", flush=True)
c, _ = s.accept()
def say(n, text):
    c.sendall(struct.pack("<I", len(text))[:3] + bytes([n]) + text)
say(0, b"\x0a5.5.5-10.11.0-MariaDB\0" + b"\1\0\0\0" + b"abcdefgh" + b"\0"
    + b"\x09\x82" + b"\x2d" + b"\2\0" + b"\x08\0" + b"\x15" + b"\0" * 10
    + b"ijklmnopqrst\0" + b"mysql_native_password\0")
print(c.recv(65536))
say(2, b"\xfe" + sys.argv[2].encode() + b"\0"
    + (b"abcdefghijklmnopqrst\0" if "sha2" in sys.argv[2] else b"\4Password: \0"))
print("asked")
print(c.recv(65536))
]]

describe("saros.client.mariadb", function()
  local m

  setup(function()
    m = mariadb.start()
    m:sql [[CREATE USER p@localhost IDENTIFIED BY 'Xq7-vault-9f3e';
      GRANT ALL ON *.* TO p@localhost]]
  end)
  teardown(function() m:__close() end)

  local function open(more)
    local o = { socket = m.socket, user = "root", connect_timeout = 20 }
    for name, item in pairs(more or {}) do o[name] = item or nil end
    return client.open(o)
  end

  -- The one value of an answer, called r.
  local function one(c, sql) return assert(c:query(sql):wait())[1].r end

  local function fails(op)
    local ok, err = op:wait()
    assert.is_nil(ok)
    return err
  end

  it("asks, and has rows", function()
    local c <close> = open { database = "app" }
    assert.is_false(c:is_open())
    assert.same({ { a = "1", c = "x" }, { a = "2", b = "3", c = "" } },
      assert(c:query [[SELECT 1 AS a, NULL AS b, 'x' AS c UNION
        SELECT 2, 3, '']]:wait()))
    assert.is_true(c:is_open())
    assert.same({}, assert(c:query "SELECT 1 AS r FROM DUAL WHERE 0":wait()))
    assert(c:exec "CREATE TABLE t (n INT PRIMARY KEY, b LONGBLOB)":wait())
    assert.equal(2, assert(c:exec "INSERT INTO t (n) VALUES (1), (2)":wait()).rows)
    assert.equal("a\0b\xff", one(c, "SELECT X'610062ff' AS r"))
    assert.equal("ä€😀", one(c, "SELECT 'ä€😀' AS r"))
    -- A procedure has several results, and the session goes on.
    assert(c:exec [[CREATE PROCEDURE p() BEGIN SELECT 1 AS r; SELECT 2 AS r; END
      ]]:wait())
    assert.same({ { r = "1" } }, assert(c:query "CALL p()":wait()))
    assert.equal("3", one(c, "SELECT 3 AS r"))
    local first, second = c:query "SELECT 4 AS r", c:query "SELECT 5 AS r"
    assert.equal("5", assert(second:wait())[1].r)
    assert.equal("4", assert(first:wait())[1].r)
  end)

  it("says what went wrong, in the server's words", function()
    local c <close> = open()
    local err = fails(c:query "SELEC 1")
    assert.equal(code.E_FAIL, err.code)
    assert.equal(1064, err.errno)
    assert.equal("42000", err.sqlstate)
    assert.match("^You have an error in your SQL syntax", err.server)
    assert.is_false(err.retryable)
    assert.equal(code.E_INVALIDARG, fails(c:query("SELECT ?", 1)).code)
    assert.match("1064", tostring(fails(c:query "SELECT 1; SELECT 2").errno))
    assert.equal("1", one(c, "SELECT 1 AS r"))
  end)

  it("cancels what runs, and what waits", function()
    local c <close> = open()
    local id = one(c, "SELECT CONNECTION_ID() AS r")
    for _ = 1, 5 do
      local long, queued = c:exec "SELECT SLEEP(1000)", c:query "SELECT 1 AS r"
      outside.eventually("it sleeps", function()
        return m:sql [[SELECT COUNT(*) FROM information_schema.processlist
          WHERE state = 'User sleep']] == "1"
      end)
      queued:cancel()
      assert.equal(code.SAROS_E_CANCELLED, fails(queued).code)
      long:cancel()
      assert.equal(code.SAROS_E_CANCELLED, fails(long).code)
      -- The same session, and no kill that comes late.
      assert.equal(id, one(c, "SELECT CONNECTION_ID() AS r"))
    end
    -- At any time, also when it is not connected yet.
    for i = 1, 30 do
      local d <close> = open()
      local op = d:query "SELECT BENCHMARK(50000, MD5('x')) AS r"
      for _ = 1, i do saros.step(0) end
      op:cancel()
      op:wait()
      local rows, err = d:query "SELECT 7 AS r":wait()
      assert(rows and rows[1].r == "7" or err.retryable, err)
    end
  end)

  it("takes no answer that is too long", function()
    local c <close> = open { database = "app" }
    local err = fails(c:query
      "SELECT REPEAT('x', 1000000) AS r FROM seq_1_to_100000")
    assert.match("longer than 64 MiB", err.message)
    assert.equal("1", one(c, "SELECT 1 AS r"))
  end)

  it("gets a password, and shows it to nobody", function()
    outside.directory(function(d)
      outside.write(d .. "/password", "Xq7-vault-9f3e\n")
      outside.write(d .. "/my.cnf", ("[client]\nuser=p\npassword="
        .. "Xq7-vault-9f3e\nsocket=%s\nlocal-infile=1\n[other]\nuser=root\n"
        .. "password=\n"
        .. "socket=%s\n"):format(m.socket, m.socket))
      for _, o in ipairs { { user = "p", password = { file = d .. "/password" } },
        { user = "p", password = { command = { "cat", d .. "/password" } } },
        { user = "p", password = { command = "cat " .. d .. "/password" } },
        { user = false, socket = false, defaults_file = d .. "/my.cnf" } }
      do
        local c <close> = open(o)
        local who = o.user or "p"
        assert.equal(who .. "@localhost", one(c, "SELECT CURRENT_USER() AS r"))
        assert.not_match("vault", tostring(c))
        local op = c:exec "SELECT SLEEP(1000)" -- also to cancel
        outside.eventually("it sleeps", function()
          return m:sql [[SELECT COUNT(*) FROM information_schema.processlist
            WHERE state = 'User sleep']] == "1"
        end)
        op:cancel()
        assert.equal(code.SAROS_E_CANCELLED, fails(op).code)
        assert.equal("1", one(c, "SELECT 1 AS r"))
      end
      local c <close> = open { user = false, socket = false,
        defaults_file = d .. "/my.cnf", defaults_group = "other" }
      assert.equal("root@localhost", one(c, "SELECT CURRENT_USER() AS r"))
      -- No file of ours, whatever the option file says.
      local f <close> = open { user = false, socket = false, database = "app",
        defaults_file = d .. "/my.cnf" }
      assert(f:exec "CREATE TABLE stolen (x TEXT)":wait())
      assert.is_nil((f:exec(("LOAD DATA LOCAL INFILE '%s/password' INTO TABLE "
        .. "stolen"):format(d)):wait()))
      assert.equal("0", m:sql "SELECT COUNT(*) FROM stolen")
      outside.write(d .. "/password", "wrong")
      local w <close> = open { user = "p",
        password = { file = d .. "/password" } }
      local err = fails(w:query "SELECT 1")
      assert.equal(code.E_ACCESSDENIED, err.code)
      assert.equal(1045, err.errno)
      assert.not_match("wrong", tostring(err))
    end)
  end)

  it("never sends a password in the clear", function()
    if not outside.installed "python3" then pending "needs python3" return end
    outside.directory(function(d)
      outside.write(d .. "/password", "Xq7-vault-9f3e")
      outside.write(d .. "/server.py", LIAR)
      -- The last two would give it to any key that the server sends.
      for _, plugin in ipairs { "mysql_clear_password", "dialog",
        "sha256_password", "caching_sha2_password" }
      do
        local at = ("%s/%s.sock"):format(d, plugin)
        local p <close> = outside.start("python3", d .. "/server.py", at, plugin)
        p:expect "listening\n"
        local c <close> = open { socket = at, user = "p",
          password = { file = d .. "/password" } }
        local err = fails(c:query "SELECT 1")
        assert.not_match("vault", tostring(err))
        assert.match("asked\nb''\n$", (p:finish()))
        assert.not_match("vault", p.output)
      end
    end)
  end)

  it("says when it was lost, and stays so", function()
    local c <close> = open()
    m:sql("KILL " .. one(c, "SELECT CONNECTION_ID() AS r"))
    outside.eventually("it is not open", function() return not c:is_open() end)
    local err = fails(c:query "SELECT 1")
    assert.equal(code.SAROS_E_CLOSED, err.code)
    assert.is_true(err.retryable)
    err = fails(c:query "SELECT 1")
    assert.equal(code.SAROS_E_CLOSED, err.code)
    assert.match("lost before", err.message)
    local d <close> = open { socket = m.root .. "/nobody" }
    err = fails(d:query "SELECT 1")
    assert.is_true(err.retryable)
    assert.match("Can't connect", err.message)
  end)

  it("gives a server that stands still up", function()
    local c <close> = open()
    one(c, "SELECT 1 AS r")
    local late <close> = open { connect_timeout = 0.3 }
    m:freeze()
    local op = c:query "SELECT 1 AS r"
    saros.step(0)
    local err = fails(late:query "SELECT 1")
    assert.equal(code.SAROS_E_TIMEOUT, err.code)
    assert.is_true(err.retryable)
    assert.is_true(c:close())
    assert.equal(code.SAROS_E_CANCELLED, fails(op).code)
    m:go()
    local d <close> = open()
    assert.equal("1", one(d, "SELECT 1 AS r"))
  end)

  it("is nobody's in a forked child", function()
    local c <close> = open()
    one(c, "SELECT 1 AS r")
    local pid = system.fork()
    if pid == 0 then
      local ok, err = pcall(c.query, c, "SELECT 1")
      c:close()
      system.exit(not ok and tostring(err):find "parent's" and 0 or 1)
    end
    assert.same({ "exit", 0 }, { system.wait(pid, 20000) })
    assert.equal("2", one(c, "SELECT 2 AS r"))
  end)

  it("leaves SIGPIPE to its host", function()
    local text = outside.run("env", "--default-signal=PIPE", outside.lua, "-e",
      ([[
      local client = require "saros.client.mariadb"
      local function ignored()
        return io.open "/proc/self/status":read "a":match "SigIgn:%%s*(%%x+)"
      end
      local before = ignored()
      local c <close> = client.open { socket = %q, user = "root" }
      local id = c:query "SELECT CONNECTION_ID() AS r":wait()[1].r
      local d <close> = client.open { socket = %q, user = "root" }
      d:exec("KILL " .. id):wait()
      print(c:query "SELECT 1":wait() == nil, before == ignored())]]):format(
      m.socket, m.socket))
    assert.equal("true\ttrue\n", text)
  end)

  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { socket = 1 }, { socket = "/x", host = "x" },
      { socket = "/x", other = 1 }, { socket = "/x", port = 0 },
      { socket = "/x", password = "secret" }, { socket = "/x", password = {} },
      { socket = "/x", password = { file = "x", env = "y" } },
      { socket = "/x", password = { command = {} } },
      { socket = "/x", password = { command = { 1, {} } } },
      { socket = "/x", password = { env = "SAROS_NO_SUCH_NAME" } },
      { socket = "/x", connect_timeout = -1 }, { socket = "/x\0y" } }
    do
      assert.has_error(function() client.open(bad) end)
    end
    local c <close> = open()
    assert.has_error(function() c:query() end)
    assert.has_error(function() c:query "SELECT '\0'" end)
    c:close()
    assert.has_error(function() c:query "SELECT 1" end)
    assert.equal("saros.client.mariadb: closed", tostring(c))
  end)
end)
