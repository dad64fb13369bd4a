--- A writer for Redis: while a shadow is made, nothing is written, and what the
--- shadow has is every write that was acknowledged before.
---
--- ```lua
--- local redis = require "saros.writers.redis"
--- local w <close> = redis.writer { socket = "/run/redis/redis-server.sock" }
--- local set <close> = assert(vss.shadow { paths = { "/var/lib/redis" } }:wait())
--- ```
---
--- From freeze to thaw the server is in CLIENT PAUSE … WRITE: readers go on, who
--- writes waits. The server itself ends that when the window is over, whatever
--- becomes of us. That it did not before the shadow was complete is proved at
--- the thaw, by the time that has passed and by what it counts as changed or has
--- appended to its log; otherwise the shadow fails.
---
--- A shadow that is atomic has the append-only file as it was at that instant.
--- In any other case (no append-only file; files that are copied one after the
--- other, or live) the server forks at that instant (BGSAVE), and the file that
--- its child writes is said to belong over the others: the shadow's own may be
--- older, or torn. So nothing of its configuration is ever changed, and nothing
--- stays behind when this process is killed but a file that is swept later.
---
--- What it does not promise:
---
--- - That writes wait on a server that is another's replica: what its master
---   sends it may be applied. Then the thaw sees changes, and the shadow fails;
---   try again, or shadow the master.
--- - One instant across the nodes of a cluster: each is held by itself.
--- - That nobody else ends the pause (CLIENT UNPAUSE): if something was written
---   meanwhile the shadow fails. Our own UNPAUSE ends others' pauses, too.
--- - A dump that takes longer than `timeouts.post` of the session, or for which
---   there is no room on the disk: the shadow is there, the component is not to
---   be restored, and its writer says so.
--- - What the server had not yet been sent, and what lives only in its memory
---   (scripts, clients, subscriptions).
--- - Redis before 6.2, which knows no such pause.

local saros = require "saros"
local dump = require "saros.writers.redis_dump"
local kind = require "saros.writers.redis_kind"
local server = require "saros.writers.redis_server"
local arguments = require "saros.arguments"
local vss = require "saros.vss"

local E <const> = saros.code
local ask, info, failure = server.ask, server.info, server.failure

---@class saros.writers.redis
local redis = {}

--- The class of these writers.
redis.id = kind.id

local FREEZE_TIMEOUT <const> = 60
local PATIENCE <const> = 600 -- seconds, for a child that is at work already
local NAP <const> = 0.01
local AGES <const> = 1e7


-- ------------------------------------------------------------------
-- Waiting for what the server does by itself: nothing tells when it is done
-- ------------------------------------------------------------------

local function nap()
  local op <close> = saros.sleep(NAP)
  assert(op:wait())
end

-- Until f says so, with what INFO persistence says; nil when the time is over.
local function persistence(c, seconds, f)
  local left = math.max(1, math.ceil(seconds / NAP))
  while true do
    local i = info(c, "persistence")
    if f(i) then return i end
    left = left - 1
    if left < 0 then return nil end
    nap()
  end
end

local function is_idle(i)
  return i.rdb_bgsave_in_progress == "0" and i.aof_rewrite_in_progress == "0"
    and i.aof_rewrite_scheduled ~= "1" and i.module_fork_in_progress ~= "1"
end

local function is_saved(i) return i.rdb_bgsave_in_progress == "0" end

local function check_saved(at, i)
  if i.rdb_last_bgsave_status == "ok" then return end
  error(failure(E.E_FAIL, "%s: its dump failed; its log says why (is there "
    .. "room on the disk of %s?)", at.name, at.dir), 0)
end


-- ------------------------------------------------------------------
-- Getting ready, while everybody goes on
-- ------------------------------------------------------------------

-- Whether the append-only file alone has everything.
local function is_logged(i)
  return i.aof_enabled == "1" and i.aof_last_bgrewrite_status == "ok"
    and i.aof_last_write_status == "ok"
end

local function check_loaded(c, options)
  if info(c, "persistence").loading ~= "1" then return end
  local err = failure(E.E_FAIL, "the server at %s is loading its data; try "
    .. "again when it has", options.socket or options.host)
  err.retryable = true
  error(err, 0)
end

local function check_able(at)
  local major, minor = (at.version or ""):match "^(%d+)%.(%d+)"
  if not major or tonumber(major) * 100 + tonumber(minor) < 602 then
    error(failure(E.E_NOTIMPL, "%s: Redis %s cannot hold writes still; 6.2 can",
      at.name, at.version or "of no version"), 0)
  end
end

-- The server's children are waited for: one that rewrites the append-only file
-- may be writing the first, without which there is nothing to load.
local function get_ready(at, options, event)
  at.c = server.open(options)
  local c = at.c
  check_loaded(c, options)
  for name, item in pairs(server.look(c, options)) do at[name] = item end
  check_able(at)
  local seconds = math.min(PATIENCE, (event.deadline or PATIENCE) * 0.8)
  local i = persistence(c, seconds, is_idle)
  if not i then
    local err = failure(E.SAROS_E_TIMEOUT, "%s: a child of the server (BGSAVE, "
      .. "BGREWRITEAOF) has been at work for %g seconds; try again when it is "
      .. "done", at.name, seconds)
    err.retryable = true
    error(err, 0)
  end
  at.logged = event.atomic == true and is_logged(i)
  if at.logged then return end
  -- One that will fail fails now, where nobody waits for it.
  if i.rdb_last_bgsave_status ~= "ok"
    or not dump.exists(at.dir .. "/" .. at.layout.rdb)
  then
    ask(c, "BGSAVE")
    i = persistence(c, seconds, is_saved)
    if i then check_saved(at, i) end
  end
end


-- ------------------------------------------------------------------
-- Holding still
-- ------------------------------------------------------------------

local function milliseconds(seconds)
  return math.max(1, math.floor(seconds * 1000))
end

local function pause(at, seconds)
  at.ms = milliseconds(seconds)
  if at.since then at.since:close() end
  at.since = saros.sleep(AGES) -- tells how long by a clock that nobody sets
  at.held = true -- before it is: an abort undoes it
  ask(at.c, "CLIENT", "PAUSE", ("%d"):format(at.ms), "WRITE")
end

-- The dump of this instant is begun. Another child may have been quicker; then
-- nobody is held while that works.
local function fork(at, window, patience)
  while true do
    if not persistence(at.c, patience, is_idle) then
      error(failure(E.SAROS_E_LOCKED, "%s: another child of the server "
        .. "(BGSAVE, BGREWRITEAOF) was at work for %g seconds; try again when "
        .. "it is done", at.name, patience), 0)
    end
    pause(at, window)
    local op <close> = at.c:command "BGSAVE"
    local ok, err = op:wait()
    if ok then return end
    ask(at.c, "CLIENT", "UNPAUSE")
    at.held = false
    if not (err.server or ""):find "in progress"
      and not (err.server or ""):find "child process"
    then
      error(err, 0)
    end
  end
end

-- What was acknowledged may still be in the server's memory, when the disk is
-- slow: it must be in the file.
local function log_is_written(at, seconds)
  local i = persistence(at.c, seconds, function(i)
    return i.aof_buffer_length == "0" or i.aof_last_write_status ~= "ok"
  end)
  if i and i.aof_last_write_status == "ok" then return end
  error(failure(E.E_FAIL, "%s: its append-only file cannot be written, or not "
    .. "in %g seconds; its log says why (is there room on the disk of %s?)",
    at.name, seconds, at.dir), 0)
end

-- What it counts, all of which stands still while nothing is written. What is
-- changed is counted from the last dump on: so dumps are counted, too, as they
-- begin. Before Redis 7.0 nobody does that for us.
local function seen(c)
  local i = info(c, "persistence")
  i.began = i.rdb_saves or ("%s %s"):format(info(c, "stats").total_forks,
    info(c, "commandstats").cmdstat_save)
  return i
end

local function is_same(was, now, ...)
  for _, name in ipairs { ... } do
    if was[name] ~= now[name] then return false end
  end
  return true
end

-- By what is appended to the log, unless somebody has it rewritten.
local function is_log_unchanged(was, now)
  return was.aof_current_size ~= nil and is_same(was, now, "aof_enabled",
    "aof_current_size", "aof_base_size", "aof_buffer_length",
    "aof_rewrite_in_progress", "aof_rewrites")
end

-- By what was changed since the last dump. One that comes to its end takes off
-- what had been changed when it began: that is known of ours, which began here.
local function is_dirt_unchanged(was, now, ours)
  if was.began ~= now.began then return false end
  local ended = is_saved(now) and not is_saved(was)
  if ended and not ours
    or not ended and not is_same(was, now, "rdb_last_save_time")
  then
    return false
  end
  return now.rdb_changes_since_last_save
    == (ended and now.rdb_last_bgsave_status == "ok" and "0"
      or was.rdb_changes_since_last_save)
end

local function is_unchanged(at, now)
  return at.logged and is_log_unchanged(at.held_at, now)
    or is_dirt_unchanged(at.held_at, now, not at.logged)
end

local function hold(at, event, window)
  -- Something must be left of the window for the shadow itself.
  local left = event.deadline or window
  if info(at.c, "server").run_id ~= at.run_id then
    error(failure(E.SAROS_E_CHANGED, "%s was started anew since it was asked "
      .. "to prepare", at.name), 0)
  end
  if at.logged then
    pause(at, left)
    log_is_written(at, left * 0.4)
    -- What it says itself does not count all that it has begun with.
    at.log_size = server.log_size(at.layout, at.dir)
  else
    fork(at, left, left * 0.4)
  end
  at.held_at = seen(at.c)
  at.keys = server.keys(at.c)
  local r = info(at.c, "replication")
  at.role = r.role
  at.position = ("replication id %s, offset %s"):format(r.master_replid or "?",
    r.master_repl_offset or "?")
end

-- A connection that was lost says nothing: the server may hold still for all
-- that, and must be let go.
local function again(at, options, f, ...)
  local called, result, err = pcall(f, at, ...)
  if called then return result, err end
  if type(result) ~= "table" or result.code ~= E.SAROS_E_CLOSED then
    error(result, 0)
  end
  at.c:close()
  at.c = server.open(options)
  return f(at, ...)
end

local function let_go(at)
  local c = at.c
  -- A rewrite by itself changes what is there, and nothing of what it means.
  if server.log_size(at.layout, at.dir) ~= at.log_size then
    at.log_size = nil
  end
  local s, now = info(c, "server"), seen(c)
  ask(c, "CLIENT", "UNPAUSE")
  local over = at.since:status().elapsed
  if s.run_id ~= at.run_id then
    error(failure(E.SAROS_E_CHANGED, "%s was started anew while it should "
      .. "hold still, so there may have been writes meanwhile", at.name), 0)
  elseif over >= at.ms / 1000 then
    error(failure(E.SAROS_E_TIMEOUT, "%s held still for %g seconds, and the "
      .. "shadow took %.1f: so there may have been writes before it was "
      .. "complete; raise freeze_timeout", at.name, at.ms / 1000, over), 0)
  elseif not is_unchanged(at, now) then
    error(failure(E.SAROS_E_CHANGED, "%s was written to while it should "
      .. "hold still, or that it was not cannot be proved: %s; try again",
      at.name, at.role == "slave" and "it is a replica, and its master goes "
      .. "on (shadow the master)" or "somebody else has ended the pause "
      .. "(CLIENT UNPAUSE), or made a dump or a new log (SAVE, BGSAVE, "
      .. "BGREWRITEAOF)"), 0)
  end
  return true
end


-- ------------------------------------------------------------------
-- What is known then
-- ------------------------------------------------------------------

-- Waits for the dump that was begun at the freeze, and takes it.
local function take(at, stage, event)
  local i = persistence(at.c, (event.deadline or PATIENCE) * 0.9, is_saved)
  if not i then
    error(failure(E.SAROS_E_TIMEOUT, "%s: its dump is not done yet; raise "
      .. "timeouts.post", at.name), 0)
  end
  check_saved(at, i)
  dump.lay(at.layout, stage)
  local later = info(at.c, "persistence")
  if info(at.c, "server").run_id ~= at.run_id then
    error(failure(E.SAROS_E_CHANGED, "%s was started anew before its dump was "
      .. "taken", at.name), 0)
  end
  -- A later dump has all that, and more: that is no instant any more.
  at.exact = later.rdb_last_save_time == i.rdb_last_save_time
    and later.rdb_saves == i.rdb_saves and later.rdb_bgsave_in_progress == "0"
end

local function says(at, stage)
  return { consistency = "application", server = "Redis " .. at.version,
    position = at.position, layout = at.layout,
    keys = (at.logged or at.exact) and at.keys or nil,
    log_size = at.logged and at.log_size or nil,
    additions = stage and { { path = stage, to = at.dir } } or nil,
    note = at.role == "slave" and "a replica" or nil }
end


-- ------------------------------------------------------------------
-- The writer
-- ------------------------------------------------------------------

local own <const> = { socket = "string", host = "string", port = "number",
  user = "string", password = "table", connect_timeout = "number" }

local known <const> = { id = "string", instance = "string", name = "string",
  level = "string", freeze_timeout = "number", instances = "table",
  staging = "string", listen = "boolean", state_dir = "string" }

local kinds = {}
for name, item in pairs(known) do kinds[name] = item end
for name, item in pairs(own) do kinds[name] = item end

--- What a writer takes, and what that is.
redis.options = kinds
local instance_kinds = { name = "string" }
for name, item in pairs(own) do instance_kinds[name] = item end

-- Whoever is wrong about one raises now.
local function instances_of(given)
  local list = given.instances
  if not list then
    local one = {}
    for name in pairs(own) do one[name] = given[name] end
    list = { one }
  end
  if #list == 0 then
    error("redis.writer: option 'instances': a list of tables expected", 3)
  end
  for i, one in ipairs(list) do
    list[i] = arguments.check(("redis.writer: option 'instances'[%d]")
      :format(i), one, instance_kinds)
    local ok, c = pcall(server.open, list[i])
    if not ok then
      error("redis.writer: " .. tostring(c):gsub("^redis%.open: ", ""), 3)
    end
    c:close()
  end
  return list
end

local function describe(list)
  local components, names = {}, {}
  for _, one in ipairs(list) do
    local c <close> = server.open(one)
    local at = server.look(c, one)
    if names[at.name] then
      error(failure(E.E_INVALIDARG, "two servers would be called '%s': give "
        .. "them names (instances = { { name = … }, … })", at.name), 0)
    end
    names[at.name] = true
    components[#components + 1] = { type = "database", name = at.name,
      files = { at.dir }, caption = ("Redis %s"):format(at.version),
      mends = server.replaced(at.layout) }
    if #at.config > 0 then
      components[#components + 1] = { type = "filegroup",
        name = at.name .. "-config", files = at.config }
    end
  end
  return components
end

---@class saros.writers.redis.instance
---@field socket? string the path of the server's socket; or:
---@field host? string this machine: its files must be here
---@field port? integer (6379)
---@field user? string of its ACL: it needs +client +config|get +info +bgsave
---@field password? saros.client.password
---@field connect_timeout? number seconds (10)
---@field name? string of its component (its port, or its socket's name)

---@class saros.writers.redis.options: saros.writers.redis.instance
---@field instances? saros.writers.redis.instance[] several servers, held still together
---@field id? string its class: a GUID (`redis.id`)
---@field instance? string this one of its class, a GUID
---@field name? string "redis"
---@field level? "front_end"|"back_end"|"system" ("back_end")
---@field freeze_timeout? number seconds from its freeze to its thaw (60): then the server goes on by itself
---@field staging? string where dumps are kept until the backup is done ($TMPDIR, or /var/tmp)
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes a writer for one server, or several. A component for each is the
--- server's directory, and one with "-config" behind its name has its
--- configuration and ACL files, where those lie elsewhere and can be read.
---@param options saros.writers.redis.options
---@return saros.vss.writer
function redis.writer(options)
  local given = arguments.check("redis.writer", options, kinds)
  local list = instances_of(given)
  local window = given.freeze_timeout or FREEZE_TIMEOUT
  local all, place = {}, nil

  local function close_all()
    for _, at in ipairs(all) do
      if at.c then at.c:close() end
      if at.since then at.since:close() end
    end
    all = {}
  end

  -- Each is let go, whatever the others say; the first reason counts.
  local function thaw()
    local why
    for n, at in ipairs(all) do
      if at.held then
        at.held = false
        -- When its window is over it goes on without us.
        local op <close> = saros.timeout(saros.spawn(again, at, list[n],
          let_go), at.ms / 1000 + 1)
        local ok, err = op:wait()
        if not ok then why = why or err end
      end
    end
    if why then return nil, why end
    return true
  end

  local function clean()
    close_all()
    local old = place
    place = nil
    if old then old:close() end
  end

  local function say()
    local components = {}
    for n, at in ipairs(all) do
      local stage = not at.logged and place and place.root .. "/" .. n
      components[at.name] = says(at, stage or nil)
    end
    return { components = components }
  end

  return vss.writer {
    id = given.id or redis.id, instance = given.instance,
    name = given.name or "redis", level = given.level or "back_end",
    source = "transacted_db", freeze_timeout = window, guard = "expiry",
    listen = given.listen, state_dir = given.state_dir,
    identify = function() return { components = describe(list) } end,

    prepare_snapshot = function(event)
      clean()
      for n, one in ipairs(list) do
        all[n] = {}
        get_ready(all[n], one, event)
      end
    end,

    freeze = function(event)
      for _, at in ipairs(all) do hold(at, event, window) end
    end,

    thaw = thaw,

    post_snapshot = function(event)
      local dumps = false
      for _, at in ipairs(all) do dumps = dumps or not at.logged end
      if dumps then
        place = require "saros.place".new { scratch = given.staging }
      end
      for n, at in ipairs(all) do
        if not at.logged then
          again(at, list[n], take, place.root .. "/" .. n, event)
        end
      end
      return say()
    end,

    -- What was read live is of this instant for what belongs over it.
    backup_complete = function()
      if #all > 0 then return say() end
    end,

    abort = function()
      thaw()
      clean()
      return true
    end,

    backup_shutdown = clean,
  }
end

return redis
