-- saros.client.redis: connections to a real server, whatever becomes of it.
-- What it makes of strange answers is spec/fuzz/fuzz_client_resp.c's.
local helper = require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.redis"

local saros, system = helper.saros, outside.system
local code = saros.code
local redis = require "saros.client.redis"

if server.missing then
  describe("saros.client.redis", function() pending(server.missing) end)
  return
end

describe("saros.client.redis", function()
  local r

  setup(function() r = server.start() end)
  teardown(function() if r then r:__close() end end)
  -- Stopped, lost or full: as the next one wants it.
  before_each(function() if r:ended() then r:restart() end end)

  local function open(more)
    local o = { socket = r.socket }
    for name, item in pairs(more or {}) do o[name] = item end
    return redis.open(o)
  end

  -- How it fails.
  local function failure(c, ...)
    local ok, err = c:command(...):wait()
    assert.is_nil(ok)
    return err
  end

  it("asks, and hears every kind of answer", function()
    local c <close> = open()
    assert.equal("OK", c:command("SET", "k", "a\0\r\n\255"):wait())
    assert.equal("a\0\r\n\255", c:command("GET", "k"):wait())
    assert.equal(7, c:command("INCRBY", "n", 7):wait())
    assert.equal("", c:command("ECHO", ""):wait())
    local op = c:command("GET", "none")
    assert.is_true(op:wait())
    assert.is_nil((op:result()))
    assert.same({ "a\0\r\n\255", false, "7" },
      c:command("MGET", "k", "none", "n"):wait())
    assert.same({}, c:command("KEYS", "none"):wait())
    assert.same({ 1, { "two", { 3 } }, false, { err = "ERR four" } },
      c:command("EVAL", "return { 1, { 'two', { 3 } }, false, "
        .. "redis.error_reply 'ERR four' }", 0):wait())
    local long = ("x"):rep(5 << 20)
    assert.equal("OK", c:command("SET", "long", long):wait())
    assert.equal(long, c:command("GET", "long"):wait())
    assert.equal(100000, #c:command("EVAL", [[local t = {}
      for i = 1, 100000 do t[i] = i end
      return t]], 0):wait())
    assert.equal("saros.client.redis: " .. r.socket, tostring(c))
    assert.is_true(c:is_open())
    c:close()
    assert.is_false(c:is_open())
    assert.equal("saros.client.redis: closed", tostring(c))
    assert.has_error(function() c:command "PING" end, "the connection was closed")
  end)

  it("understands the third version of the protocol", function()
    local c <close> = open()
    assert.equal("server", c:command("HELLO", 3):wait()[1])
    c:command("DEL", "h", "z"):wait()
    c:command("HSET", "h", "a", "1"):wait()
    c:command("ZADD", "z", "1.5", "m"):wait()
    assert.same({ "a", "1" }, c:command("HGETALL", "h"):wait())
    assert.equal(1.5, c:command("ZSCORE", "z", "m"):wait())
    local op = c:command("GET", "none")
    assert.is_true(op:wait())
    assert.is_nil((op:result()))
    assert.same({ true, false }, { c:command("EVAL",
      "redis.setresp(3) return true", 0):wait(), c:command("EVAL",
      "redis.setresp(3) return { false }", 0):wait()[1] })
    -- What is pushed stands in nobody's way.
    c:command("CLIENT", "TRACKING", "ON"):wait()
    c:command("GET", "n"):wait()
    r:cli("SET", "n", "1")
    assert.equal("1", c:command("GET", "n"):wait())
  end)

  it("carries out what is asked in that order", function()
    local c <close> = open()
    local ops = {}
    c:command("DEL", "l")
    for i = 1, 200 do ops[i] = c:command("RPUSH", "l", i) end
    for i = 1, 200 do assert.equal(i, ops[i]:wait()) end
  end)

  it("fails with what the server says", function()
    local c <close> = open()
    local err = failure(c, "NOSUCH")
    helper.contains({ code = code.E_FAIL, retryable = false }, err)
    assert.match("^ERR unknown command", err.server)
    assert.match(r.socket .. ": ERR unknown command", err.message, 1, true)
    assert.equal("PONG", c:command "PING":wait())
  end)

  it("raises for what makes no sense", function()
    for _, bad in ipairs { {}, { socket = "relative" }, { socket = "" },
      { socket = "/a", host = "b" }, { socket = ("/x"):rep(60) },
      { socket = "/a\0b" }, { host = "h", port = 0 }, { host = "h", port = "x" },
      { socket = "/a", password = "secret" }, { socket = "/a", user = "u" },
      { socket = "/a", password = {} }, { socket = "/a", other = 1 },
      { socket = "/a", password = { text = "x" } },
      { socket = "/a", password = { file = "/a", command = "b" } },
      { socket = "/a", password = { env = "SAROS_NO_SUCH_VARIABLE" } },
      { socket = "/a", password = { command = { 1 } } },
      { socket = "/a", connect_timeout = 0 },
      { socket = "/a", connect_timeout = "x" } }
    do
      assert.has_error(function() redis.open(bad) end)
    end
    assert.has_error(function() redis.open() end)
    local c <close> = open()
    assert.has_error(function() c:command() end)
    assert.has_error(function() c:command({}) end)
    assert.has_error(function() c:command("SET", "k", nil) end)
  end)

  it("says that nobody is there, and finds one who comes", function()
    local c <close> = open { socket = r.root .. "/other.sock" }
    local err = failure(c, "PING")
    helper.contains({ code = code.E_FAIL, errno = 2, retryable = true }, err)
    assert.match("cannot connect .*No such file", err.message)
    os.rename(r.socket, r.root .. "/other.sock")
    assert.equal("PONG", c:command "PING":wait())
    os.rename(r.root .. "/other.sock", r.socket)
  end)

  it("speaks TCP", function()
    local port = 20000 + system.pid() % 12000 -- which the kernel gives nobody
    local ok, tcp = pcall(server.start, { config = { port = port,
      bind = "127.0.0.1" } })
    if not ok then pending "the port is somebody's" return end
    local _ <close> = tcp
    local c <close> = redis.open { host = "localhost", port = port }
    assert.equal("PONG", c:command "PING":wait())
    assert.equal(("saros.client.redis: localhost:%d"):format(port), tostring(c))
    c:close()
    tcp:stop()
    local none <close> = redis.open { host = "127.0.0.1", port = port }
    assert.equal(111, failure(none, "PING").errno)
  end)

  it("logs in, by a file, the environment, a program", function()
    local secret = "not-in-any-message-4711"
    r:cli("ACL", "SETUSER", "saros", "on", ">" .. secret, "+@all", "~*")
    r:cli("ACL", "SETUSER", "small", "on", ">" .. secret, "+ping")
    local path = r.root .. "/secret"
    outside.write(path, secret .. "\n")
    for _, password in ipairs { { file = path }, { command = { "cat", path } },
      { command = ("printf %%s '%s'; exec sleep 1000 &"):format(secret) } }
    do
      local c <close> = open { user = "saros", password = password }
      assert.equal("saros", c:command("ACL", "WHOAMI"):wait())
      assert.not_match(secret, tostring(c), 1, true)
    end
    local said = outside.run("env", "SECRET=" .. secret, outside.lua, "-e",
      ([[local c <close> = require "saros.client.redis".open {
        socket = %q, user = "saros", password = { env = "SECRET" } }
      print(c:command("ACL", "WHOAMI"):wait())]]):format(r.socket))
    assert.equal("saros\n", said)
    -- Those who are not let in.
    outside.write(path .. "2", "wrong-" .. secret)
    local c <close> = open { user = "saros", password = { file = path .. "2" } }
    local err = failure(c, "PING")
    helper.contains({ code = code.E_ACCESSDENIED, retryable = false }, err)
    assert.match("^WRONGPASS", err.server)
    assert.not_match(secret, err.message, 1, true)
    local small <close> = open { user = "small", password = { file = path } }
    assert.equal("PONG", small:command "PING":wait())
    err = failure(small, "GET", "k")
    assert.match("^NOPERM", err.server)
    assert.equal(code.E_ACCESSDENIED, err.code)
    -- And where there is no password to be had.
    for _, bad in ipairs {
      { { file = r.root .. "/none" }, "none cannot be opened: No such file" },
      { { command = { "false" } }, "the password command failed" },
      { { command = { "/no/such" } }, "cannot be started: No such file" },
      { { command = { "true" } }, "the password is empty" },
      { { file = "/dev/zero" }, "at most 4096" } }
    do
      local none <close> = open { user = "saros", password = bad[1] }
      assert.match(bad[2], failure(none, "PING").message, 1, true)
    end
  end)

  it("does not wait for a password longer than for the server", function()
    local c <close> = open { password = { command = { "sleep", "1000" } },
      connect_timeout = 0.1 }
    assert.equal(code.SAROS_E_TIMEOUT, failure(c, "PING").code)
    local other <close> = open { password = { command = { "sleep", "1000" } } }
    local op = other:command "PING"
    assert.is_nil((op:wait(0.05)))
    op:cancel()
    assert.is_true(select(2, op:wait()).cancelled)
  end)

  it("loses a server that goes, and says so", function()
    local c <close> = open()
    local id = c:command("CLIENT", "ID"):wait()
    local op = c:command("BLPOP", "nothing", 0)
    local next_one = c:command "PING"
    outside.eventually("it blocks", function()
      return r:cli("CLIENT", "LIST", "ID", tostring(id)):find "cmd=blpop"
    end)
    r:cli("CLIENT", "KILL", "ID", tostring(id))
    local ok, err = op:wait()
    assert.is_nil(ok)
    helper.contains({ code = code.SAROS_E_CLOSED, retryable = true }, err)
    assert.equal(code.SAROS_E_CLOSED, select(2, next_one:wait()).code)
    assert.is_false(c:is_open())
    assert.equal(code.SAROS_E_CLOSED, failure(c, "PING").code)
  end)

  it("hears that it was hung up on while nothing is asked", function()
    local c <close> = open()
    local id = c:command("CLIENT", "ID"):wait()
    r:cli("CLIENT", "KILL", "ID", tostring(id))
    outside.eventually("it is not open", function() return not c:is_open() end)
  end)

  it("cancels, which closes it, and closes at once, hung or not", function()
    local c <close> = open()
    local id = c:command("CLIENT", "ID"):wait()
    local waiting = c:command("BLPOP", "nothing", 0)
    outside.eventually("it blocks", function()
      return r:cli("CLIENT", "LIST", "ID", tostring(id)):find "cmd=blpop"
    end)
    local queued = c:command "PING"
    queued:cancel()
    assert.is_true(select(2, queued:wait()).cancelled)
    waiting:cancel()
    assert.is_true(select(2, waiting:wait()).cancelled)
    outside.eventually("it is closed", function() return not c:is_open() end)

    local hung <close> = open()
    local fresh <close> = open { connect_timeout = 0.1,
      password = { command = { "echo", "x" } } }
    hung:command "PING":wait()
    r:freeze()
    local _ <close> = setmetatable({}, { __close = function() r:go() end })
    local op = hung:command "PING"
    assert.is_nil((op:wait(0.02)))
    assert.is_true(hung:close())
    assert.is_true(select(2, op:wait()).cancelled)
    assert.equal(code.SAROS_E_TIMEOUT, failure(fresh, "PING").code)
  end)

  it("does not stand in line for a worker", function()
    -- All workers of the lane wait for a program that does not end.
    local c <close> = open()
    local ops = {}
    for i = 1, 80 do
      local gate, op = helper.gate { run = "lane" }
      ops[i] = { gate, op }
    end
    assert.equal("PONG", c:command "PING":wait())
    for _, pair in ipairs(ops) do pair[2]:cancel() end
  end)

  it("says that the server is full, or loading", function()
    local before = r:setting "maxclients"
    local one <close> = open()
    one:command "PING":wait()
    one:command("CONFIG", "SET", "maxclients", 1):wait()
    local err
    do
      local two <close> = open()
      err = failure(two, "PING")
    end
    helper.contains({ retryable = true }, err)
    assert.match("max number of clients", err.server)
    one:command("CONFIG", "SET", "maxclients", before):wait()

    local slow <close> = server.start {
      config = { ["enable-debug-command"] = "yes" } }
    slow:cli("DEBUG", "POPULATE", "2000")
    slow:cli "SAVE"
    slow:kill()
    outside.write(slow.config, outside.content(slow.config)
      .. "key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
    slow:go_on(false)
    outside.eventually("its socket is there", function()
      return os.execute(("test -S '%s'"):format(slow.socket))
    end)
    outside.eventually("it loads", function()
      local c <close> = redis.open { socket = slow.socket }
      local _, why = c:command("GET", "k"):wait()
      err = why
      return why and why.server
    end)
    assert.match("^LOADING", err.server)
    assert.is_true(err.retryable)
  end)

  it("is inert in the child of a fork", function()
    local c <close> = open()
    c:command("SET", "fork", "parent"):wait()
    local pid = system.fork()
    if pid == 0 then
      local ok = not pcall(function() c:command "PING" end)
        and not c:is_open() and c:close()
      collectgarbage()
      system.exit(ok and 0 or 1)
    end
    assert.same({ "exit", 0 }, { system.wait(pid, outside.patience * 1000) })
    assert.equal("parent", c:command("GET", "fork"):wait())
  end)

  it("leaves neither threads nor descriptors", function()
    local function descriptors() return helper.testmod.fds() end
    do
      local c <close> = open()
      c:command "PING":wait()
    end
    local before = descriptors()
    for _ = 1, 20 do
      open():command "PING"
    end
    for _ = 1, 20 do
      local c <close> = open()
      c:command "PING"
    end
    outside.eventually("all are closed", function()
      collectgarbage()
      helper.settle()
      return descriptors() <= before
    end)
  end)
end)
