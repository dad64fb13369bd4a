-- saros.writers.mariadb and a server that goes wrong: it writes again, always.
require "spec.helper"
local outside = require "spec.outside"
local case = require "spec.mariadb_case"

if case.missing then
  describe("saros.writers.mariadb", function() pending(case.missing) end)
  return
end

local start, fails, sessions = case.writable, case.fails, case.sessions

describe("a server that is held still", function()
  local m, why

  setup(function() m, why = start() end)
  teardown(function() if m then getmetatable(m).__close() end end)

  it("is let go with its writer, also before that", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m)
    local before, left
    local _ <close> = case.witness { level = "front_end", freeze = function()
      before = #sessions(m)
      w:close()
      left = #sessions(m)
      return nil, "it is only about what was before"
    end }
    fails(m)
    assert.same({ 1, 0 }, { before, left })
  end)

  it("and dies: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local _ <close> = case.witness { freeze = function() m:kill() end }
    assert.match("may have been commits meanwhile", fails(m).message)
    m:go_on()
    assert.is_true(case.commits(m))
  end)

  it("and is started anew: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local _ <close> = case.witness { freeze = function()
      m:kill()
      m:go_on()
    end }
    assert.match("may have been commits meanwhile", fails(m).message)
    assert.is_true(case.commits(m))
  end)

  it("and dies before: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local _ <close> = case.witness { level = "front_end",
      freeze = function() m:kill() end }
    assert.match("cannot be held still", fails(m).message)
    m:go_on()
    assert.is_true(case.commits(m))
  end)

  it("and is started anew before: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local _ <close> = case.witness { level = "front_end", freeze = function()
      m:kill()
      m:go_on()
    end }
    assert.match("cannot be held still", fails(m).message)
    assert.is_true(case.commits(m))
  end)

  it("and has thrown us out before: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local killed
    local _ <close> = case.witness { level = "front_end", freeze = function()
      killed = sessions(m)
      for _, id in ipairs(killed) do m:sql("KILL " .. id) end
    end }
    assert.match("cannot be held still", fails(m).message)
    assert.equal(1, #killed)
    assert.is_true(case.commits(m))
  end)

  it("and hangs before: it writes again when it can", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m, { freeze_timeout = 1 })
    local _ <close> = case.witness { level = "front_end",
      freeze = function() m:freeze() end }
    fails(m, { timeouts = { freeze = 1, post = 1 } })
    m:go()
    assert.is_true(case.commits(m))
    outside.eventually("nobody holds it any more", function()
      return #sessions(m) == 0
    end)
  end)

  it("and hangs: it writes again when it can", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m, { freeze_timeout = 2 })
    local _ <close> = case.witness { freeze = function() m:freeze() end }
    fails(m, { timeouts = { freeze = 2, post = 2 } })
    m:go()
    assert.is_true(case.commits(m))
    outside.eventually("nobody holds it any more", function()
      return #sessions(m) == 0
    end)
  end)

  it("and throws us out: there is no shadow", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    local killed
    local _ <close> = case.witness { freeze = function()
      killed = sessions(m)
      for _, id in ipairs(killed) do m:sql("KILL " .. id) end
      assert(case.commits(m))
    end }
    assert.match("may have been commits meanwhile", fails(m).message)
    assert.equal(1, #killed)
  end)

  it("refuses the login since it was asked: there is no shadow", function()
    if not m then pending(why) return end
    m:sql "CREATE USER old@localhost; GRANT RELOAD ON *.* TO old@localhost"
    local _ <close> = case.writer(m, { user = "old" })
    local _ <close> = case.witness { prepare_backup = function()
      m:sql "ALTER USER old@localhost ACCOUNT LOCK"
    end }
    assert.match("account is locked", fails(m).message)
    assert.is_true(case.commits(m))
  end)

  -- It takes no connections yet: what it was in the middle of is undone first.
  it("is in recovery: it is left out, and fails what requires it", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m, { connect_timeout = 1 })
    m:kill()
    m:go_on(false)
    m:freeze()
    local none, err = case.shadow(m, { writers = {
      require = { "mariadb" } } }):wait()
    assert.is_nil(none)
    assert.match("mariadb", err.message)
    m:go()
    m:ready()
    assert.is_true(case.commits(m))
    assert(case.shadow(m):wait()):close()
  end)

  it("has no connection left: there is no shadow", function()
    if not m then pending(why) return end
    m:sql [[CREATE USER few@localhost; GRANT RELOAD ON *.* TO few@localhost;
      GRANT SELECT ON *.* TO few@localhost]]
    local _ <close> = case.writer(m, { user = "few" })
    local most = m:sql "SELECT @@max_connections"
    m:sql "SET GLOBAL max_connections = 10"
    local crowd = {}
    local _ <close> = case.witness { prepare_backup = function()
      for i = 1, 10 do
        crowd[i] = outside.start("mariadb", "--no-defaults", "--user=few",
          "--socket=" .. m.socket, "--batch", "--unbuffered", "-e",
          "SELECT 'here'; SELECT SLEEP(1000)")
        crowd[i]:expect "here\n"
      end
    end }
    local err = fails(m)
    for _, p in ipairs(crowd) do p:__close() end
    m:sql("SET GLOBAL max_connections = " .. most)
    assert.match("Too many connections", err.message)
    assert.match("raise max_connections", err.message)
    assert.is_true(err.retryable)
  end)
end)
