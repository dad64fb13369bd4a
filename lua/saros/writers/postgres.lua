--- A writer for PostgreSQL clusters. Nobody has to wait for it: a cluster's
--- shadow is whole by what PostgreSQL itself does after a loss of power, or by
--- its backup mode.
---
--- ```lua
--- local postgres = require "saros.writers.postgres"
--- local w <close> = postgres.writer { conninfo = "host=/run/postgresql" }
--- local set <close> = assert(vss.shadow {
---   paths = { "/var/lib/postgresql", "/etc/postgresql" } }:wait())
--- ```
---
--- Where all its files are of one instant (data, log and tablespaces in one
--- subvolume, or in file systems that are frozen together), the server makes a
--- checkpoint before, and that is all; there is no `backup_label`, which would
--- keep such a copy from starting. Where they are not (on btrfs those of a server
--- with `fsync` or `full_page_writes` off are none), the cluster is in backup
--- mode from before the first is read until after the last was: the label, and
--- the log that makes the copy whole, are what the writer says (`additions`). A
--- session is held for all that; when it is lost, as by the death of this
--- process, the server ends backup mode by itself, and when this process is
--- stopped, after `freeze_timeout` (from PostgreSQL 14 on).
---
--- What it cannot promise: that a server which throws its log away keeps it
--- until it was copied, where there is no replication slot for us; then the
--- backup fails, and says so. Of a standby it can only use what is of one
--- instant. What a library that is loaded at start writes to the log cannot be
--- recovered by a check, which loads none: that check is not tried.

local core = require "saros.core"
local saros = require "saros"
local vss = require "saros.vss"
local backup = require "saros.writers.postgres.backup"
local cluster = require "saros.writers.postgres.cluster"
require "saros.writers.postgres_kind"

---@class saros.writers.postgres
local postgres = {}

--- The class of these writers.
postgres.id = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01"

local E = saros.code
local FREEZE_TIMEOUT <const> = 60
local CONNECT_TIMEOUT <const> = 10


-- ------------------------------------------------------------------
-- Options
-- ------------------------------------------------------------------

local known <const> = { id = "string", instance = "string", name = "string",
  level = "string", freeze_timeout = "number", connect_timeout = "number",
  conninfo = "string", clusters = "table", checkpoint = "boolean",
  configuration = "boolean", standby = "boolean", scratch = "string",
  listen = "boolean", state_dir = "string" }

--- What a writer takes, and what that is.
postgres.options = known

local function check_options(options)
  if type(options) ~= "table" then
    error(("postgres.writer: table expected, got %s"):format(type(options)), 3)
  end
  for name, item in pairs(options) do
    local kind = known[name]
    if not kind then
      error(("postgres.writer has no option '%s'"):format(tostring(name)), 3)
    elseif type(item) ~= kind then
      error(("postgres.writer: option '%s': %s expected, got %s")
        :format(name, kind, type(item)), 3)
    end
  end
end

local function clusters_of(o)
  local list = {}
  if o.conninfo and o.clusters then
    error("postgres.writer: conninfo or clusters, not both", 3)
  end
  for i, one in ipairs(o.clusters or { { conninfo = o.conninfo or "" } }) do
    if type(one) ~= "table" or type(one.conninfo) ~= "string" then
      error(("postgres.writer: option 'clusters'[%d]: { conninfo = \"…\" } "
        .. "expected"):format(i), 3)
    end
    list[i] = { conninfo = one.conninfo, configuration = o.configuration,
      connect_timeout = o.connect_timeout or CONNECT_TIMEOUT }
  end
  if #list == 0 then
    error("postgres.writer: option 'clusters': a list expected", 3)
  end
  return list
end


-- ------------------------------------------------------------------
-- Who they are
-- ------------------------------------------------------------------

local function guarded(name, doing, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  error(cluster.failure(name, doing, result), 0)
end

local function ask(one)
  return guarded(one.who and one.who.name or "", "cannot be asked who it is",
    function()
      local db <close> = cluster.connect(one)
      return cluster.who(db, one)
    end)
end

-- What is told apart by its name is named so.
local function name_them(list)
  local seen = {}
  for i, one in ipairs(list) do
    if seen[one.who.name] then
      one.who.name = ("%s (%d)"):format(one.who.name, i)
    end
    seen[one.who.name] = true
  end
end

-- Where copies of files are used, the log of backup mode mends what is torn, but
-- for what it does not speak of: the control file, and what people write.
local function mends(who)
  local list = { table.unpack(who.parts, 2) }
  for _, pattern in ipairs { "[^g]*/*", "global/[^p]*", "global/pg_[^c]*" } do
    list[#list + 1] = who.data .. "/" .. pattern
  end
  return list
end

local function component(who)
  return { type = "database", name = who.name, files = who.files,
    caption = ("PostgreSQL %s on port %s"):format(who.version, who.port),
    exclude = { who.data .. "/postmaster.pid",
      who.data .. "/postmaster.opts" }, mends = mends(who) }
end


-- ------------------------------------------------------------------
-- One cluster in one backup
-- ------------------------------------------------------------------

---@class saros.writers.postgres.run
---@field who saros.writers.postgres.cluster
---@field db saros.client.postgres.connection held from the beginning to the end
---@field coverage saros.writers.postgres.coverage
---@field said table
---@field stage saros.place?

-- Lets go of the session: what it had begun, the server ends. What was
-- collected stays for as long as somebody may copy it.
local function let_go(run, all)
  local db, stage, keeper = run.db, run.stage, run.keeper
  run.db, run.keeper = nil, nil
  if keeper then keeper:close() end
  if db then db:close(2) end
  if all and stage then
    run.stage = nil
    stage:close()
  end
end

-- The transaction is one that its check looks for: before the checkpoint it was
-- committed, and the log after that does not speak of it.
local function checkpoint(run)
  local row
  if not run.who.recovers then
    row = cluster.rows(run.db,
      "SELECT pg_catalog.txid_current()::text AS number")[1]
  end
  local op <close> = run.db:exec "CHECKPOINT"
  local ok, err = op:wait()
  if ok then
    run.said.transaction = row and row.number
    return
  end
  -- It only makes a restart quicker.
  if err.sqlstate == "42501" then
    run.said.note = "this user may make no checkpoint: starting the copy takes "
      .. "as long as after a loss of power"
    return
  end
  error(err, 0)
end

-- In backup mode the server ends the session when it hears nothing for so long:
-- whoever is stopped, and not killed, holds neither that nor the log. (Before
-- PostgreSQL 14 it never does.) Somebody who lives says a word now and then.
local function be_heard(run, seconds)
  cluster.rows(run.db, "SELECT set_config(name, $1, false) FROM pg_settings "
    .. "WHERE name = 'idle_session_timeout'",
    ("%d"):format(math.ceil(seconds * 1000)))
  local db <const> = run.db
  run.keeper = core.spawn(function()
    repeat
      local pause <close> = core.sleep(seconds / 4)
      pause:wait()
    until not pcall(cluster.rows, db, "SELECT 1")
  end)
end

local function begin(run, one, event, o)
  run.db = cluster.connect(one)
  local name = run.who.name
  run.who = cluster.who(run.db, one)
  run.who.name = name
  run.said = cluster.said(run.who)
  run.coverage = cluster.cover(run.who, event)
  local said, mode = run.said, run.coverage.mode
  said.mode = mode
  if mode == "none" then
    said.consistency, said.why = "none", run.coverage.why
    let_go(run)
  elseif run.who.recovers and (not o.standby or mode ~= "atomic") then
    error(core.failure("saros", E.SAROS_E_REFUSED, "it is in recovery: "
      .. (mode == "atomic" and "shadow the primary, or say standby = true"
      or "of a standby only a shadow of one instant can be used; shadow the "
      .. "primary")), 0)
  elseif mode == "backup" then
    be_heard(run, o.freeze_timeout or FREEZE_TIMEOUT)
    said.note = backup.start(run.db, run.who,
      "saros " .. (event.set or event.session or core.guid()))
    said.pending = true
  elseif o.checkpoint ~= false then
    checkpoint(run)
  end
end

local POSITION <const> = [[SELECT CASE WHEN pg_is_in_recovery()
  THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text AS at,
  current_setting('fsync') || current_setting('full_page_writes') AS orders,
  pg_postmaster_start_time()::text AS started]]

-- That it is still the same server, at the end of the same session.
local function prove(run)
  local row = cluster.rows(run.db, POSITION)[1]
  if row.started ~= run.who.started then
    error(core.failure("saros", E.SAROS_E_CLOSED,
      "it was started again since this backup began"), 0)
  elseif (row.orders == "onon") ~= run.who.orders then
    error(core.failure("saros", E.SAROS_E_CHANGED, "its fsync or "
      .. "full_page_writes was changed since this backup began"), 0)
  end
  return row.at
end

local function finish(run, event, o)
  local why = not event.after and cluster.lacks(run.coverage, event)
  local said = run.said
  if why then
    said.consistency, said.why, said.pending = "none", why, nil
    return let_go(run)
  end
  if run.coverage.mode == "backup" then
    if run.coverage.live and not event.after then return end
    run.stage = require "saros.place".new { scratch = o.scratch }
    local done = backup.stop(run.db, run.who, run.stage)
    said.position, said.additions = done.stop, done.additions
    said.wal, said.pending = { first = done.first, last = done.last }, nil
  end
  said.consistency = "application"
  let_go(run)
end


-- ------------------------------------------------------------------
-- The writer
-- ------------------------------------------------------------------

---@class saros.writers.postgres.options
---@field conninfo? string as libpq takes it ("": what its environment says); passwords in a passfile, never in here
---@field clusters? { conninfo: string }[] several
---@field checkpoint? boolean make one before a shadow of one instant, so that a copy starts soon (true)
---@field configuration? boolean whether its configuration belongs to it, where that lies elsewhere, as Debian has it (true)
---@field standby? boolean a cluster in recovery is welcome, where all is of one instant
---@field scratch? string the directory for what belongs over the files ($TMPDIR, or /var/tmp): as the database, nobody else's business
---@field connect_timeout? number seconds (10)
---@field freeze_timeout? number seconds from its freeze to its thaw (60); in backup mode the server ends it when it hears nothing of us for so long
---@field id? string its class: a GUID (`postgres.id`)
---@field instance? string this one of its class, a GUID
---@field name? string "postgres"
---@field level? "front_end"|"back_end"|"system" ("back_end")
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes a writer for clusters that run on this machine, for a user who may
--- read their settings, make checkpoints and use backup mode. One that cannot be
--- asked, that is in recovery, restarts or ends our session meanwhile, fails the
--- shadow with a reason. Of a cluster of which a set has only a part it says so:
--- `consistency = "none"`.
---@param options? saros.writers.postgres.options
---@return saros.vss.writer
function postgres.writer(options)
  local o = options or {}
  check_options(o)
  local list = clusters_of(o)
  local runs = {} -- by session; of each, by the cluster

  local function each(event, f)
    local mine = runs[event.session] or {}
    for _, one in ipairs(list) do
      if mine[one] then f(mine[one], one) end
    end
  end

  -- All that was said: what is not said again is forgotten.
  local function said(event)
    local components = {}
    each(event, function(run) components[run.who.name] = run.said end)
    return next(components) and { components = components } or nil
  end

  local function step(event, doing, f)
    each(event, function(run, one)
      if not run.db then return end
      local ok, err = pcall(guarded, run.who.name, doing, f, run, one)
      if ok then return end
      let_go(run, true)
      error(err, 0)
    end)
  end

  -- Of one session, or of all.
  local function drop(event, all)
    for session, mine in pairs(runs) do
      if event.session == nil or session == event.session then
        for _, run in pairs(mine) do let_go(run, all) end
        if all then runs[session] = nil end
      end
    end
  end

  local function ended(event)
    drop(event, true)
    return true
  end

  return vss.writer {
    id = o.id or postgres.id, instance = o.instance,
    name = o.name or "postgres", level = o.level or "back_end",
    source = "transacted_db", guard = "connection",
    freeze_timeout = o.freeze_timeout or FREEZE_TIMEOUT,
    listen = o.listen, state_dir = o.state_dir,

    identify = function()
      local components = {}
      for _, one in ipairs(list) do one.who = ask(one) end
      name_them(list)
      for i, one in ipairs(list) do components[i] = component(one.who) end
      return { components = components }
    end,

    prepare_snapshot = function(event)
      drop(event, true)
      local mine, chosen = {}, {}
      runs[event.session] = mine
      for _, name in ipairs(event.components or {}) do chosen[name] = true end
      for _, one in ipairs(list) do
        if one.who and (event.components == nil or chosen[one.who.name]) then
          local run = { who = one.who }
          mine[one] = run -- before it waits: an abort finds it
          guarded(one.who.name, "cannot be backed up", begin, run, one, event,
            o)
        end
      end
      return said(event)
    end,

    freeze = function(event)
      step(event, "did not last until the shadow", function(run)
        run.said.position = prove(run)
      end)
    end,

    post_snapshot = function(event)
      step(event, "did not end its backup", function(run)
        finish(run, event, o)
      end)
      return said(event)
    end,

    backup_complete = function(event)
      event.after = true
      step(event, "did not end its backup", function(run)
        finish(run, event, o)
      end)
      return said(event)
    end,

    abort = ended,
    backup_shutdown = ended,
    closed = function() drop({}, true) end,
  }
end

return postgres
