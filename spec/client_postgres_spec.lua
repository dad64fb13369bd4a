-- saros.client.postgres: connections to a real server, whatever becomes of it,
-- and to one that lies.
local helper = require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.postgres"

local saros = helper.saros
local code = saros.code
local system = outside.system

local function mentions(text, part)
  assert.truthy(tostring(text):find(part, 1, true),
    ("%q is not in %q"):format(part, tostring(text)))
end

local found, postgres = pcall(require, "saros.client.postgres")
local why = not found and "saros.client.postgres was left out of this build"
  or not server.binaries[1] and "no PostgreSQL server (Debian: postgresql)"

if why then
  describe("saros.client.postgres", function() pending(why) end)
  return
end

describe("saros.client.postgres", function()
  local pg

  setup(function() pg = server.start { settings = { max_connections = 12 } } end)
  teardown(function() if pg then pg:close() end end)

  local function open(more)
    return postgres.open { conninfo = pg.conninfo .. (more or "") }
  end

  local function failure(op)
    local ok, err = op:wait()
    assert.is_nil(ok)
    return err
  end

  -- In the server: whether somebody executes this.
  local function runs(text)
    return pg:must("SELECT count(*) FROM pg_stat_activity WHERE "
      .. "state = 'active' AND query LIKE '" .. text .. "%'"):match "%d+" ~= "0"
  end

  local function until_it_runs(text)
    while not runs(text) do saros.sleep(0.02):wait() end
  end

  it("asks, and hears rows", function()
    local c <close> = open()
    assert.is_false(c:is_open())
    assert.same({ { a = "1", c = "x", d = "" } },
      c:query "SELECT 1 AS a, NULL AS b, 'x' AS c, '' AS d":wait())
    assert.is_true(c:is_open())
    assert.same({}, c:query "SELECT 1 WHERE false":wait())
    assert.same({ { n = "42", t = "it's", u = "t" } },
      c:query("SELECT $1::int + 1 AS n, $2 AS t, $3::text IS NULL AS u", 41, "it's",
        nil):wait())
    assert.equal(10000, #c:query "SELECT generate_series(1, 10000)":wait())
    assert.same({ { b = "\\x00ff" } },
      c:query "SELECT '\\x00ff'::bytea AS b":wait())
  end)

  it("carries out many statements, and keeps a session", function()
    local c <close> = open()
    local made = assert(c:exec([[
      CREATE TEMP TABLE t (i int); INSERT INTO t SELECT generate_series(1, 5)
    ]]):wait())
    assert.equal(5, made.rows)
    assert.same({ { n = "5" } }, c:query "SELECT count(*) AS n FROM t":wait())
    -- Rows are of one statement, so that nobody adds a second one to it.
    assert.equal("42601", failure(c:query "SELECT 1; SELECT 2").sqlstate)
    assert.same({ { n = "5" } }, c:query "SELECT count(*) AS n FROM t":wait())
  end)

  it("says what the server says", function()
    local c <close> = open()
    local err = failure(c:query "SELECT * FROM nowhere")
    assert.equal("42P01", err.sqlstate)
    assert.equal(code.E_FAIL, err.code)
    assert.falsy(err.retryable)
    mentions(err.server, "nowhere")
    mentions(tostring(err), "nowhere")
    assert.truthy(c:query "SELECT 1":wait())
  end)

  it("is cancelled on the server, and goes on", function()
    local c <close> = open()
    local op = c:query "SELECT pg_sleep(600)"
    local next_one = c:query "SELECT 2 AS n"
    until_it_runs "SELECT pg_sleep"
    assert.equal(0, op:cancel())
    assert.equal(code.SAROS_E_CANCELLED, failure(op).code)
    assert.same({ { n = "2" } }, next_one:wait())
    assert.is_false(runs "SELECT pg_sleep")
  end)

  it("drops one that is cancelled before its turn", function()
    local c <close> = open()
    local first, second = c:query "SELECT pg_sleep(600)", c:exec "SELECT 1"
    until_it_runs "SELECT pg_sleep"
    second:cancel()
    assert.equal(code.SAROS_E_CANCELLED, failure(second).code)
    first:cancel()
    first:wait()
  end)

  it("is refused by who does not know us", function()
    local c <close> = postgres.open {
      conninfo = pg.conninfo .. " user=nobody_at_all" }
    local err = failure(c:query "SELECT 1")
    assert.equal(code.E_ACCESSDENIED, err.code)
    assert.equal("28", err.sqlstate:sub(1, 2))
  end)

  it("says that there may be room later", function()
    local all <close> = setmetatable({}, { __close = function(t)
      for _, c in ipairs(t) do c:close() end
    end })
    local err
    for i = 1, 20 do
      all[i] = open()
      local ok, e = all[i]:query "SELECT 1":wait()
      if not ok then
        err = e
        break
      end
    end
    assert.equal("53300", err.sqlstate)
    assert.is_true(err.retryable)
  end)

  it("bounds an answer, and goes on", function()
    local c <close> = open()
    local err = failure(c:query(
      "SELECT repeat('x', 1000000) FROM generate_series(1, 200)"))
    mentions(err.message, "longer than 64 MiB")
    assert.same({ { n = "1" } }, c:query "SELECT 1 AS n":wait())
  end)

  it("has no COPY, which would hang", function()
    local c <close> = open()
    local err = failure(c:exec "COPY (SELECT 1) TO STDOUT")
    assert.equal(code.E_INVALIDARG, err.code)
    assert.equal(code.SAROS_E_CLOSED, failure(c:query "SELECT 1").code)
  end)

  it("knows that it was thrown out, and stays lost", function()
    local c <close> = open()
    local pid = c:query "SELECT pg_backend_pid() AS pid":wait()[1].pid
    local op = c:query "SELECT pg_sleep(600)"
    until_it_runs "SELECT pg_sleep"
    pg:must("SELECT pg_terminate_backend(" .. pid .. ")")
    local err = failure(op)
    assert.equal(code.SAROS_E_CLOSED, err.code)
    assert.is_true(err.retryable)
    mentions(failure(c:query "SELECT 1").message, "lost before")
    assert.is_false(c:is_open())
  end)

  it("closes quickly with a question running, also of a deaf server",
    function()
      local c <close> = open()
      local op = c:query "SELECT pg_sleep(600)"
      until_it_runs "SELECT pg_sleep"
      pg:freeze()
      local _ <close> = setmetatable({}, { __close = function() pg:go() end })
      assert.is_true(c:close())
      assert.equal(code.SAROS_E_CANCELLED, failure(op).code)
    end)

  it("does not wait for ever for a server that does not move", function()
    pg:freeze()
    local _ <close> = setmetatable({}, { __close = function() pg:go() end })
    local c <close> = postgres.open { conninfo = pg.conninfo,
      connect_timeout = 0.3 }
    local err = failure(c:query "SELECT 1")
    assert.equal(code.SAROS_E_TIMEOUT, err.code)
    assert.is_true(err.retryable)
    mentions(err.message, "connect_timeout")
  end)

  it("tells no secret", function()
    local c <close> = postgres.open {
      conninfo = pg.conninfo .. " user=nobody_at_all password=s3cr3t-word" }
    local err = failure(c:query "SELECT 1")
    assert.is_nil(tostring(c):find("s3cr3t", 1, true))
    assert.is_nil(tostring(err):find("s3cr3t", 1, true))
    local ok, message = pcall(postgres.open,
      { conninfo = "password='s3cr3t-word" })
    assert.is_false(ok)
    assert.is_nil(tostring(message):find("s3cr3t", 1, true))
  end)

  it("is not for a wrong option", function()
    mentions(select(2, pcall(postgres.open, { conninfo = "", x = 1 })),
      "no option 'x'")
    assert.is_false((pcall(postgres.open, {})))
    assert.is_false((pcall(postgres.open, { conninfo = 7 })))
    local c = open()
    c:close()
    assert.is_false((pcall(c.query, c, "SELECT 1")))
  end)

  it("is the parent's, in a child that was forked", function()
    local c <close> = open()
    assert.truthy(c:query "SELECT 1":wait())
    local from, to = system.pipe()
    local pid = system.fork()
    if pid == 0 then
      system.write(to, tostring(select(2, pcall(c.query, c, "SELECT 1"))))
      system.exit(0)
    end
    system.close(to)
    local said = system.read(from, outside.patience * 1000)
    system.close(from)
    system.wait(pid, outside.patience * 1000)
    mentions(said, "the parent's")
    assert.same({ { t = "still" } }, c:query "SELECT 'still' AS t":wait())
  end)

  it("is lost with its server, and another one is found later", function()
    local c <close> = open()
    -- Whoever was left by a deaf one may sleep on.
    local op = c:query "SELECT pg_sleep(601)"
    until_it_runs "SELECT pg_sleep(601)"
    pg:kill()
    assert.equal(code.SAROS_E_CLOSED, failure(op).code)
    local none <close> = open()
    assert.is_true(failure(none:query "SELECT 1").retryable)
    pg:run()
    assert.truthy(none:query "SELECT 1":wait())
  end)
end)

describe("saros.client.postgres, before one that lies", function()
  if not outside.installed "python3" then return pending "needs python3" end

  -- Answers whoever connects with these bytes, and hangs up or waits.
  local function liar(python)
    local place = os.tmpname()
    os.remove(place)
    os.execute("mkdir -m 700 " .. place)
    local process = saros.process { argv = { "python3", "-c", ([[
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind("%s/.s.PGSQL.5432"); s.listen(8)
print("ready", flush=True)
c = s.accept()[0]
c.recv(4096)
print("asked", flush=True)
%s
]]):format(place, python) }, stdout = "lines" }
    local lines = process:lines()
    local gone = setmetatable({ says = lines }, { __close = function()
      process:close()
      os.execute("rm -rf " .. place)
    end })
    local said = lines()
    if said ~= "ready" then
      getmetatable(gone).__close()
      error(("it never came up: %s"):format(said or select(2, process:wait())))
    end
    return "host=" .. place .. " user=u dbname=d sslmode=disable gssencmode=disable",
      gone
  end

  for what, python in pairs {
    ["garbage"] = "c.sendall(b'\\xff' * 100000); c.close()",
    ["the end of it"] = "c.close()",
    ["half an answer"] = "c.sendall(b'R\\0\\0\\0\\x08\\0\\0'); c.close()",
    ["a message of 2 GiB"] = "c.sendall(b'E\\x7f\\xff\\xff\\xff' + b'S' * 9000); "
      .. "c.close()",
  } do
    it("hears " .. what .. ", and says that it is none", function()
      local conninfo, gone <close> = liar(python)
      local c <close> = postgres.open { conninfo = conninfo,
        connect_timeout = 5 }
      local ok, err = c:query "SELECT 1":wait()
      assert.is_nil(ok)
      assert.is_string(err.message)
      assert.equal("asked", gone.says())
    end)
  end

  it("does not wait for one that says nothing", function()
    local conninfo, gone <close> = liar "time.sleep(600)"
    local c <close> = postgres.open { conninfo = conninfo,
      connect_timeout = 0.3 }
    local ok, err = c:query "SELECT 1":wait()
    assert.is_nil(ok)
    assert.equal(code.SAROS_E_TIMEOUT, err.code)
    assert.equal("asked", gone.says())
  end)
end)
