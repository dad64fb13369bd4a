-- saros.writers.mariadb with somebody in its way, or a host that dies: nobody
-- waits longer than he was told.
local helper = require "spec.helper"
local outside = require "spec.outside"
local case = require "spec.mariadb_case"
local shared = require "spec.vss"

if case.missing then
  describe("saros.writers.mariadb", function() pending(case.missing) end)
  return
end

local saros, vss, system = helper.saros, shared.vss, outside.system
local code = saros.code

local start, fails, sessions = case.writable, case.fails, case.sessions

describe("who is in the way", function()
  local m, why

  setup(function()
    m, why = start()
    if m then
      m:sql [[CREATE TABLE my (n INT) ENGINE=MyISAM;
        INSERT INTO my VALUES (1), (2); CREATE TABLE t (n INT PRIMARY KEY)]]
    end
  end)
  teardown(function() if m then getmetatable(m).__close() end end)

  for what, sql in pairs {
    ["of a lock of a table"] = "LOCK TABLES w WRITE; SELECT 'there';"
      .. "SELECT SLEEP(1000)",
    ["of another backup"] = "BACKUP STAGE START; SELECT 'there';"
      .. "SELECT SLEEP(1000)",
    ["of a write without transactions"] = "SELECT 'there';"
      .. "UPDATE my SET n = n + SLEEP(1000)",
  } do
    it("is named, and nobody waits longer than he was told: " .. what,
      function()
        if not m then pending(why) return end
        local _ <close> = case.writer(m, { lock_timeout = 1 })
        local p <close> = m:begin(sql)
        p:expect "there\n"
        outside.eventually("it has begun", function()
          return m:sql [[SELECT COUNT(*) FROM information_schema.processlist
            WHERE state = 'User sleep']] == "1"
        end)
        local err = fails(m)
        assert.equal(code.SAROS_E_LOCKED, err.code)
        assert.match("SHOW PROCESSLIST names it", err.message)
        case.throw_out(m)
        p:finish()
        assert.is_true(case.commits(m))
        assert(case.shadow(m):wait()):close()
      end)
  end

  it("is not whoever has a transaction open", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m, { lock_timeout = 1 })
    m:sql "INSERT INTO t VALUES (1)"
    local p <close> = m:begin [[BEGIN; INSERT INTO t VALUES (2);
      UPDATE t SET n = 10 WHERE n = 1; SELECT 'there'; SELECT SLEEP(1000)]]
    p:expect "there\n"
    local set <close> = assert(case.shadow(m):wait())
    local said = set:said(w.instance).components.data
    -- What is not committed is not there.
    assert.same({ "1", "1" }, { assert(case.on_copy(m, set, said,
      function(one)
        return one "SELECT COUNT(*) AS r FROM app.t",
          one "SELECT MAX(n) AS r FROM app.t"
      end)) })
  end)
end)

-- A host of its own that holds the server still until it is let go.
local function host(m, window)
  return outside.start(outside.lua, "-e", ([[
    local saros = require "saros"
    local vss = require "saros.vss"
    local w = require "saros.writers.mariadb".writer { socket = %q,
      user = "root", freeze_timeout = %d }
    local v = vss.writer { id = %q, name = "witness", level = "system",
      freeze = function()
        print "held"
        io.stdout:flush()
        saros.sleep(%d):wait()
      end }
    local set, err = vss.shadow { paths = { %q }, provider = "btrfs",
      state_dir = %q }:wait()
    while err and err.cause do err = err.cause end
    print(set and "made" or err.message)]]):format(m.socket, window,
      shared.id(9), window == 60 and 1000 or 0, m.volume.path, m.d.state))
end

describe("the host of the writer", function()
  local m, why

  setup(function() m, why = start() end)
  teardown(function() if m then getmetatable(m).__close() end end)

  it("is killed: commits go on at once", function()
    if not m then pending(why) return end
    local p <close> = host(m, 60)
    p:expect "held\n"
    assert.is_false(case.commits(m, 1))
    system.kill(p.pid, 9)
    assert.is_true(case.commits(m, 20))
    assert(vss.reap { state_dir = m.d.state }:wait())
    assert.equal("", m.d.left())
  end)

  it("stands still: commits go on within its limit", function()
    if not m then pending(why) return end
    local p <close> = host(m, 2)
    p:expect "held\n"
    system.kill(p.pid, 19)
    assert.is_true(case.commits(m, 60))
    assert.same({}, sessions(m))
    system.kill(p.pid, 18)
    -- The one or the other of the two that know.
    local said = p:finish()
    assert.is_truthy(said:find "may have been commits meanwhile"
      or said:find "was to be held for 2 s at most", said)
  end)
end)
