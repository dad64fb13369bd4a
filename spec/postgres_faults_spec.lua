-- saros.writers.postgres when things go wrong: the cluster goes on, always, and
-- what is not whole is never taken for a backup.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local servers = require "spec.servers.postgres"
local shared = require "spec.vss"

local there = pcall(require, "saros.client.postgres")
local missing = servers.missing
  or not there and "saros.client.postgres was left out of this build" or nil
if missing then
  describe("saros.writers.postgres", function() pending(missing) end)
  return
end

local vss = shared.vss
local kind = require "saros.writers.kind"
local place = require "saros.place"
local postgres = require "saros.writers.postgres"

local function shadow(d, pg, more)
  local o = { paths = { pg.at }, provider = "copy", state_dir = d.state }
  for name, item in pairs(more or {}) do o[name] = item end
  local set, err = vss.shadow(o):wait()
  local causes = {}
  while err do
    causes[#causes + 1] = err.message
    err = err.cause
  end
  return set, table.concat(causes, " / ")
end

-- One for all that leave it as it was.
local mine

local function common()
  if not mine or #mine:pids() == 0 then
    if mine then mine:close() end
    mine = servers.start()
  end
  return mine
end

-- Somebody who does something at one event, before the cluster is told.
local function meanwhile(event, f)
  return vss.writer { id = shared.id(9), name = "witness",
    level = event == "thaw" and "system" or "front_end", [event] = f,
    abort = function() end }
end

local function directory()
  local d = shared.directory()
  os.execute("chmod 711 " .. d.root)
  return d
end

local function writer_of(d, pg, more)
  local o = { conninfo = pg.conninfo, scratch = d.root }
  for name, item in pairs(more or {}) do o[name] = item end
  return postgres.writer(o)
end

-- What is left of shadows, and of what belongs over them.
local function copies(d)
  local p <close> = io.popen(("find %s -name PG_VERSION -o -name 'saros-p.*'")
    :format(d.root))
  return p:read "a"
end

-- It is written to, nobody of ours is there, and nothing holds its log.
local function goes_on(pg)
  pg:must "CREATE TABLE IF NOT EXISTS after (n int); INSERT INTO after VALUES (1)"
  outside.eventually("nobody of ours is there", function()
    return pg:must [[SELECT (SELECT count(*) FROM pg_replication_slots) +
      (SELECT count(*) FROM pg_stat_activity WHERE backend_type =
      'client backend' AND pid <> pg_backend_pid())]] == "0\n"
  end)
end

local function failure_of(set, writer)
  for _, found in ipairs(set.writers) do
    if found.instance == writer.instance then return found end
  end
end

describe("the writer of PostgreSQL", function()
teardown(function()
  if mine then mine:close() end
end)

describe("a cluster that", function()
  for _, how in ipairs { "dies", "is restarted" } do
    it(how .. " before the freeze fails the shadow", function()
      local d <close> = directory()
      local pg = common()
      local _ <close> = writer_of(d, pg)
      local _ <close> = meanwhile("freeze", function()
        if how == "dies" then pg:kill() else pg:restart() end
      end)
      local set, err = shadow(d, pg)
      assert.is_nil(set)
      assert.match("%d+%-%d+ did not last until the shadow: ", err)
      assert.equal("", copies(d))
      if how == "dies" then pg:run() end
      goes_on(pg)
    end)
  end

  it("ends our session meanwhile fails the shadow", function()
    local d <close> = directory()
    local pg = common()
    local _ <close> = writer_of(d, pg)
    local _ <close> = meanwhile("freeze", function()
      assert.equal("t\n", pg:must [[SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity WHERE backend_type = 'client backend'
        AND pid <> pg_backend_pid()]])
    end)
    local set, err = shadow(d, pg)
    assert.is_nil(set)
    assert.match("did not last until the shadow", err)
    goes_on(pg)
  end)

  it("hangs at the freeze fails the shadow in its time", function()
    local d <close> = directory()
    local pg = common()
    local _ <close> = writer_of(d, pg, { freeze_timeout = 1 })
    local _ <close> = meanwhile("freeze", function() pg:freeze() end)
    local set, err = shadow(d, pg)
    pg:go()
    assert.is_nil(set)
    assert.match("postgres", err)
    assert.equal("", copies(d))
    goes_on(pg)
  end)

  it("hangs at the end of its backup has none", function()
    local d <close> = directory()
    local pg = common()
    local writer <close> = writer_of(d, pg)
    local _ <close> = meanwhile("thaw", function() pg:freeze() end)
    local set <close> = assert(shadow(d, pg, { timeouts = { post = 1 } }))
    pg:go()
    local found = failure_of(set, writer)
    assert.equal("failed_at_post_snapshot", vss.state[found.state])
    -- What it had said before is that it is not over.
    local _, said = next(set:said(writer.instance).components)
    assert.is_true(said.pending)
    assert.is_nil(said.additions)
    goes_on(pg)
  end)

  for what, does in pairs {
    ["dies"] = function(pg) pg:kill() end,
    ["is restarted"] = function(pg) pg:restart() end,
    ["ends our session"] = function(pg)
      pg:must [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()]]
    end,
  } do
    it(what .. " after the shadow, in backup mode, has no backup", function()
      local d <close> = directory()
      local pg = common()
      local writer <close> = writer_of(d, pg)
      local _ <close> = meanwhile("thaw", function() does(pg) end)
      local set <close> = assert(shadow(d, pg))
      local found = failure_of(set, writer)
      assert.equal("failed_at_post_snapshot", vss.state[found.state])
      local _, said = next(set:said(writer.instance).components)
      assert.is_true(said.pending)
      assert.is_nil(said.additions)
      if what == "dies" then pg:run() end
      goes_on(pg)
    end)
  end

  it("refuses the login is left out, or fails it when required", function()
    local d <close> = directory()
    local pg = common()
    local _ <close> = writer_of(d, pg, { conninfo = pg.conninfo
      .. " user=stranger" })
    local set <close> = assert(shadow(d, pg))
    assert.equal("postgres", set.left_out[1].name)
    assert.match("the login was refused", set.left_out[1].message)
    set:close()
    local none, err = shadow(d, pg, { writers = { require = { "postgres" } } })
    assert.is_nil(none)
    assert.match("the login was refused", err)
  end)

  it("refuses it since it was asked who it is fails the shadow", function()
    local d <close> = directory()
    local pg <close> = servers.start()
    local _ <close> = writer_of(d, pg)
    local _ <close> = meanwhile("prepare_backup", function()
      outside.write(pg.data .. "/pg_hba.conf", "local all all reject\n")
      pg:reload()
    end)
    local set, err = shadow(d, pg)
    assert.is_nil(set)
    assert.match("cannot be backed up: .*the login was refused", err)
  end)

  it("takes no more connections is left out, and says why", function()
    local d <close> = directory()
    local pg <close> = servers.start { settings = { max_connections = 4,
      superuser_reserved_connections = 0, max_wal_senders = 0 } }
    local _ <close> = writer_of(d, pg)
    local guests <const> = {}
    local _ <close> = setmetatable({}, { __close = function()
      for _, p in ipairs(guests) do p:__close() end
    end })
    for i = 1, 4 do
      guests[i] = outside.start(pg.bin .. "/psql", "-XAtq", "-d", pg.conninfo,
        "-c", "SELECT 'here'", "-c", "SELECT pg_sleep(600)")
      guests[i]:expect "here"
    end
    local set <close> = assert(shadow(d, pg))
    assert.match("takes no more connections", set.left_out[1].message)
  end)

  it("does not let us use backup mode fails the shadow", function()
    local d <close> = directory()
    local pg = common()
    pg:must [[CREATE ROLE small LOGIN IN ROLE pg_read_all_settings]]
    local _ <close> = writer_of(d, pg, { conninfo = pg.conninfo
      .. " user=small" })
    local set, err = shadow(d, pg)
    assert.is_nil(set)
    assert.match("permission denied for function pg_%a*_?start_?%a*", err)
    assert.match("grant this user", err)
    -- It needs no more than that.
    pg:must(tonumber(pg.major) >= 15 and [[GRANT EXECUTE ON FUNCTION
      pg_backup_start, pg_backup_stop TO small; GRANT pg_checkpoint TO small;
      ALTER ROLE small REPLICATION]] or [[GRANT EXECUTE ON FUNCTION
      pg_start_backup(text, boolean, boolean), pg_stop_backup(boolean, boolean)
      TO small; ALTER ROLE small REPLICATION]])
    local good <close> = assert(shadow(d, pg))
    assert.equal(0, good.writers[1].failure)
  end)

  it("is in recovery is refused, but for what is of one instant", function()
    if volumes.missing then pending(volumes.missing) return end
    local d <close> = directory()
    local v <close> = assert(volumes.make("btrfs", 512))
    assert(volumes.run("chmod 755 %s %s/..", v.path, v.path))
    local pg <close> = servers.start { at = v.path .. "/pg" }
    pg:must "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n"
    pg:stop()
    outside.write(pg.data .. "/standby.signal", "")
    pg:run()
    do
      local _ <close> = writer_of(d, pg)
      for _, provider in ipairs { "copy", "btrfs" } do
        local set, err = shadow(d, pg, { paths = { v.path },
          provider = provider })
        assert.is_nil(set)
        assert.match("it is in recovery", err)
      end
    end
    local writer <close> = writer_of(d, pg, { standby = true })
    local none, err = shadow(d, pg)
    assert.is_nil(none)
    assert.match("of a standby only a shadow of one instant", err)
    local set <close> = assert(shadow(d, pg, { paths = { v.path },
      provider = "btrfs" }))
    local name, said = next(set:said(writer.instance).components)
    local c = { name = name, files = said.files, said = said }
    helper.task(function()
      local p <close> = place.of_shadow { paths = c.files, at = function(path)
        return set[v.path].path .. path:sub(#v.path + 1)
      end }
      assert(kind.of(postgres.id).settle(c, p))
      assert(kind.of(postgres.id).check(c, p))
    end)
  end)
end)

describe("the log of a cluster", function()
  -- Writes more than it keeps, and lets it clean up.
  local function much(pg)
    for _ = 1, 3 do
      pg:must [[CREATE TABLE IF NOT EXISTS much (t text);
        INSERT INTO much SELECT repeat('x', 2000)
        FROM generate_series(1, 8000)]]
      pg:must "CHECKPOINT"
    end
  end

  it("that was removed too early is missed, and there is no backup", function()
    local d <close> = directory()
    local pg <close> = servers.start { settings = { max_replication_slots = 0,
      max_wal_senders = 0 } }
    local writer <close> = writer_of(d, pg)
    local _ <close> = meanwhile("thaw", function() much(pg) end)
    local set <close> = assert(shadow(d, pg))
    local found = failure_of(set, writer)
    assert.equal("failed_at_post_snapshot", vss.state[found.state])
    local _, said = next(set:said(writer.instance).components)
    assert.is_true(said.pending)
    assert.match("no slot holds the log", said.note)
    assert.is_nil(said.additions)
    goes_on(pg)
  end)

  it("is held while it is needed", function()
    local d <close> = directory()
    local pg <close> = servers.start()
    local writer <close> = writer_of(d, pg)
    local _ <close> = meanwhile("thaw", function() much(pg) end)
    local set <close> = assert(shadow(d, pg))
    assert.equal(0, failure_of(set, writer).failure)
    local _, said = next(set:said(writer.instance).components)
    assert.is_nil(said.note)
    assert.is_true(tonumber(said.wal.last:sub(9), 16)
      - tonumber(said.wal.first:sub(9), 16) > 20)
    goes_on(pg)
  end)
end)

describe("whoever began the backup", function()
  it("is killed: the cluster ends it, and goes on", function()
    local d <close> = directory()
    local pg = common()
    local p <close> = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local vss = require "saros.vss"
      local w = require "saros.writers.postgres".writer { conninfo = %q }
      local v = vss.writer { id = %q, name = "witness", level = "system",
        freeze = function()
          print "held"
          io.stdout:flush()
          saros.sleep(1000):wait()
        end }
      vss.shadow { paths = { %q }, provider = "copy", state_dir = %q }:wait()
    ]]):format(pg.conninfo, shared.id(9), pg.at, d.state))
    p:expect "held\n"
    assert.equal("1\n", pg:must "SELECT count(*) FROM pg_replication_slots")
    outside.system.kill(p.pid, 9)
    goes_on(pg)
    assert.match("aborting backup due to backend exiting",
      outside.content(pg.log))
    assert(vss.reap { state_dir = d.state }:wait())
  end)

  it("is stopped: after its limit nothing is held, and it hears that", function()
    local d <close> = directory()
    local pg = common()
    if tonumber(pg:must "SHOW server_version_num") < 140000 then
      return pending "before PostgreSQL 14 a session may be idle for ever"
    end
    local p <close> = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local vss = require "saros.vss"
      local w = require "saros.writers.postgres".writer { conninfo = %q,
        freeze_timeout = 2 }
      local v = vss.writer { id = %q, name = "witness", level = "system",
        prepare_snapshot = function()
          print "begun"
          io.stdout:flush()
          while not io.open(%q) do saros.sleep(0.01):wait() end
        end }
      local set, err = vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()
      print("it ended: " .. tostring(set or err.message))
    ]]):format(pg.conninfo, shared.id(9), d.state .. "/go", pg.at, d.state))
    p:expect "begun\n"
    outside.eventually("backup mode", function()
      return pg:must "SELECT count(*) FROM pg_replication_slots" == "1\n"
    end)
    outside.system.kill(p.pid, 19)
    goes_on(pg)
    assert.match("terminating connection due to idle.session timeout",
      outside.content(pg.log))
    outside.write(d.state .. "/go", "")
    outside.system.kill(p.pid, 18)
    p:expect "it ended: "
    assert.not_match("saros.vss.set", (p:finish()))
  end)

  it("takes longer than that: its session stays", function()
    local d <close> = directory()
    local pg = common()
    local writer <close> = postgres.writer { conninfo = pg.conninfo,
      freeze_timeout = 4 }
    -- A word each second.
    local seen, words = nil, 0
    local _ <close> = vss.writer { id = shared.id(9), name = "witness",
      level = "system", prepare_snapshot = function()
      shared.until_true(function()
        local at = pg:must [[SELECT max(query_start) FROM pg_stat_activity
          WHERE query = 'SELECT 1' AND state = 'idle'
            AND pid IN (SELECT active_pid FROM pg_replication_slots)]]
        if at ~= "\n" and at ~= seen then seen, words = at, words + 1 end
        return words == 6
      end)
    end }
    local set <close> = assert(shadow(d, pg))
    assert.equal(0, failure_of(set, writer).failure)
    goes_on(pg)
  end)

  it("cancels it, or closes its writer: nothing is held", function()
    local d <close> = directory()
    local pg <close> = servers.start()
    for _, way in ipairs { "cancel", "close" } do
      local writer <close> = writer_of(d, pg)
      local gate, op = helper.gate()
      local entered = false
      local _ <close> = meanwhile("freeze", function()
        entered = true
        op:wait()
      end)
      local run = vss.shadow { paths = { pg.at }, provider = "copy",
        state_dir = d.state }
      shared.until_true(function() return entered end)
      assert.equal("1\n", pg:must "SELECT count(*) FROM pg_replication_slots")
      if way == "cancel" then
        run:cancel()
      else
        writer:close()
        gate:finish(0)
      end
      assert.is_nil((run:wait()))
      goes_on(pg)
      assert.equal("", copies(d))
      gate:finish(0)
    end
  end)
end)

end)
