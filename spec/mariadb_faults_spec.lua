-- saros.writers.mariadb and a server, a host, a copy that go wrong: the server
-- writes again, always, and what is torn is found.
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

-- A server with a table to write to, or why there is none.
local function start(options)
  local m, why = case.start(options)
  if m then m:sql "CREATE TABLE w (n INT PRIMARY KEY AUTO_INCREMENT)" end
  return m, why
end

-- The shadow that could not be made: why, at the bottom.
local function fails(m, options)
  local set, err = case.shadow(m, options):wait()
  assert.is_nil(set)
  assert.equal("", m.d.left())
  return case.root_of(err), err
end

-- Connections that hold it still.
local function sessions(m)
  local list = {}
  for id in m:sql [[SELECT id FROM information_schema.processlist
    WHERE id <> CONNECTION_ID() AND user = 'root']]:gmatch "%d+"
  do
    list[#list + 1] = tonumber(id)
  end
  return list
end

-- A server notices late that nobody waits for an answer.
local function throw_out(m)
  for _, id in ipairs(sessions(m)) do m:sql("KILL " .. id) end
  outside.eventually("they are gone", function() return #sessions(m) == 0 end)
end

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
        throw_out(m)
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

describe("a copy that is torn", function()
  local m, why

  setup(function()
    m, why = start { args = { "--innodb-max-dirty-pages-pct=0" } }
    if m then
      m:sql [[CREATE TABLE t (n INT PRIMARY KEY, x VARCHAR(200), KEY (x));
        INSERT INTO t SELECT seq, MD5(seq) FROM seq_1_to_3000;
        CREATE TABLE my (n INT PRIMARY KEY, x VARCHAR(200)) ENGINE=MyISAM;
        INSERT INTO my SELECT seq, MD5(seq) FROM seq_1_to_500;
        CREATE TABLE ar (n INT PRIMARY KEY, x VARCHAR(200)) ENGINE=Aria;
        INSERT INTO ar SELECT seq, MD5(seq) FROM seq_1_to_500;
        CREATE TABLE al (n INT PRIMARY KEY, a INT); INSERT INTO al VALUES (1, 1)
      ]]
    end
  end)
  teardown(function() if m then getmetatable(m).__close() end end)

  local function sh(text, ...)
    local said, _, status = outside.run("sh", "-ec", text:format(...))
    assert(status == 0, said)
    return said
  end

  it("comes of any that takes its time, whatever is locked", function()
    if not m then pending(why) return end
    local function sums()
      return sh("cd '%s' && sha256sum ib_logfile0 ibdata1 app/t.ibd", m.data)
    end
    for _, lock in ipairs { "BACKUP STAGE START; BACKUP STAGE FLUSH;"
      .. "BACKUP STAGE BLOCK_DDL; BACKUP STAGE BLOCK_COMMIT",
      "FLUSH TABLES WITH READ LOCK" }
    do
      -- Somebody is in the middle of something; purge has work to do.
      m:sql "DELETE FROM t WHERE n % 3 = 0"
      local p <close> = m:begin(lock .. "; SELECT 'held'; SELECT SLEEP(1000)")
      local before = sums()
      local q <close> = m:begin [[BEGIN; UPDATE t SET x = MD5(x);
        SELECT 'updated'; SELECT SLEEP(1000)]]
      p:expect "held\n"
      outside.eventually("InnoDB writes: " .. lock, function()
        return sums() ~= before
      end)
      assert.is_false(case.commits(m, 1))
      throw_out(m)
      q:finish()
    end
  end)

  it("is found: files of two instants", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m)
    local top = m.volume.path
    local function at(set, name)
      return set[top].path .. m.data:sub(#top + 1) .. "/" .. name
    end
    local one <close> = assert(case.shadow(m):wait())
    m:sql [[INSERT INTO t SELECT seq, MD5(seq) FROM seq_3001_to_9000;
      DELETE FROM t WHERE n < 500; ALTER TABLE al ADD b INT, ALGORITHM=COPY;
      INSERT INTO my SELECT seq, MD5(seq) FROM seq_501_to_1500;
      INSERT INTO ar SELECT seq, MD5(seq) FROM seq_501_to_1500;
      UPDATE ar SET x = 'x' WHERE n < 100]]
    -- Whatever the log had, it is in the tables now, and the log is past it.
    m:restart()
    m:sql "INSERT INTO w VALUES ()"
    local two <close> = assert(case.shadow(m):wait())
    local said = two:said(w.instance).components.data
    assert(case.checked(m, one, said))
    assert(case.checked(m, two, said))

    local function found(what, change, pattern)
      local ok, err = case.checked(m, two, said, change)
      assert.is_nil(ok, what)
      assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
      assert.is_nil(err.untried)
      assert.is_true(#err.problems > 0)
      assert.match(pattern or "", err.message)
    end
    -- These are older than all the others.
    for _, names in ipairs {
      { "ib_logfile0" }, -- copied first, the tables later
      { "ibdata1" }, { "ibdata1", "ib_logfile0" },
      { "app/al.ibd" }, { "app/al.frm" }, -- another table by that name
      { "app/my.MYI" }, { "app/my.MYD" }, { "app/ar.MAI" }, { "app/ar.MAD" },
      { "aria_log.00000001", "aria_log_control" },
    } do
      found(table.concat(names, " "), function(p)
        for _, name in ipairs(names) do
          sh("cp -a '%s' '%s/%s'", at(one, name), p.root .. m.data, name)
        end
      end)
    end
    -- A table was copied while its pages were written.
    found("pages", function(p)
      sh("env -u LD_PRELOAD dd if='%s' of='%s/app/t.ibd' bs=16384 skip=4 seek=4 count=12 "
        .. "conv=notrunc status=none", at(one, "app/t.ibd"), p.root .. m.data)
    end)
    -- Files that are not there, or not all of them.
    found("end", function(p)
      sh("truncate -s 200k '%s/app/t.ibd'", p.root .. m.data)
    end)
    for _, names in ipairs { "t.ibd", "t.frm", "t.ibd t.frm", "my.*" } do
      found(names, function(p)
        sh("cd '%s/app' && rm %s", p.root .. m.data, names)
      end, names == "my.*" and "tables are defined in it, and there were")
    end
  end)
end)
