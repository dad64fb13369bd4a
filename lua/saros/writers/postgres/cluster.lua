---@private
-- One cluster, asked: who it is, where its files are, and whether a set of
-- shadows has all of them, of one instant or not.

local core = require "saros.core"
local client = require "saros.client.postgres"
local E = require "saros.code"

local cluster = {}


-- ------------------------------------------------------------------
-- Questions
-- ------------------------------------------------------------------

-- By what the server says: what to do.
local advice <const> = {
  ["28"] = "the login was refused: let this user in (pg_hba.conf), and name "
    .. "its password in a file of libpq (passfile=, PGPASSFILE)",
  ["42501"] = "grant this user pg_read_all_settings, pg_checkpoint, and "
    .. "EXECUTE on the functions of backup mode, or let it be a superuser",
  ["53300"] = "it takes no more connections: raise max_connections or "
    .. "superuser_reserved_connections, or end some",
  ["57P01"] = "somebody has ended our session",
  ["55000"] = "its wal_level may be minimal: of files that are not all of one "
    .. "instant there is no backup then",
}

--- An error that says of which cluster it is, and what to do.
function cluster.failure(name, doing, err)
  if type(err) ~= "table" or err.cancelled then return err end
  local state = err.sqlstate or ""
  local more = advice[state] or advice[state:sub(1, 2)]
  local made = core.failure("saros", err.code or E.E_FAIL,
    ("the PostgreSQL cluster %s %s: %s%s"):format(name, doing, err.message
      or tostring(err), more and " (" .. more .. ")" or ""))
  made.sqlstate, made.server, made.retryable = err.sqlstate, err.server,
    err.retryable
  return made
end

--- The rows; raises. What is given up ends with the session, which whoever has
--- it closes then: that is quicker than to wait for a server that hangs.
function cluster.rows(db, sql, ...)
  local op = db:query(sql, ...)
  local ok, rows, err = pcall(op.wait, op)
  if ok and rows then return rows end
  op:cancel()
  error(ok and err or rows, 0)
end

-- What a server's settings may do to a session that is held, and to the names
-- of functions.
local CALM <const> = [[
  SELECT pg_catalog.set_config(name, CASE name WHEN 'search_path'
      THEN 'pg_catalog' WHEN 'client_min_messages' THEN 'warning'
      WHEN 'synchronous_commit' THEN 'local' ELSE '0' END, false)
  FROM pg_catalog.pg_settings WHERE name IN ('search_path', 'lock_timeout',
    'statement_timeout', 'idle_session_timeout', 'transaction_timeout',
    'idle_in_transaction_session_timeout', 'client_min_messages',
    'synchronous_commit')]]

--- A session. Raises.
function cluster.connect(options)
  local db = client.open { conninfo = options.conninfo,
    connect_timeout = options.connect_timeout }
  local ok, err = pcall(cluster.rows, db, CALM)
  if ok then return db end
  db:close()
  error(err, 0)
end


-- ------------------------------------------------------------------
-- Who it is
-- ------------------------------------------------------------------

local WHO <const> = [[
  SELECT current_setting('server_version') AS version,
    current_setting('server_version_num') AS number,
    current_setting('data_directory') AS data,
    current_setting('config_file') AS config,
    current_setting('hba_file') AS hba,
    current_setting('ident_file') AS ident,
    current_setting('port') AS port,
    current_setting('unix_socket_directories') AS sockets,
    current_setting('data_checksums') AS checksums,
    current_setting('fsync') || current_setting('full_page_writes') AS orders,
    pg_size_bytes(current_setting('wal_segment_size')) AS segment,
    (SELECT system_identifier FROM pg_control_system()) AS identifier,
    (SELECT rolname FROM pg_roles WHERE oid = 10) AS superuser,
    pg_postmaster_start_time()::text AS started,
    CASE WHEN pg_is_in_recovery() THEN 'yes' ELSE 'no' END AS recovers]]

local SPACES <const> = [[
  SELECT oid, pg_tablespace_location(oid) AS path FROM pg_tablespace
  WHERE pg_tablespace_location(oid) LIKE '/%' ORDER BY oid]]

local function real_paths(list)
  local op <close> = core.real_paths(list)
  local found, err = op:wait()
  if not found then error(err, 0) end
  return found
end

local function content(path, bytes)
  local file <close>, why = io.open(path, "rb")
  if not file then return nil, why end
  return file:read(bytes or "a")
end

-- The files that this machine has by that name may be another cluster's: the
-- server may be in a container, or on another machine.
local function look(who)
  local bytes, why = content(who.data .. "/global/pg_control", 8)
  if not bytes then
    error(core.failure("saros", E.E_ACCESSDENIED, ("its data directory cannot "
      .. "be read here: %s; run this as root or as its owner"):format(why)), 0)
  end
  if #bytes < 8 or ("%d"):format(string.unpack("=I8", bytes)) ~= who.identifier
  then
    error(core.failure("saros", E.SAROS_E_REFUSED, ("its data directory is %s, "
      .. "and what this machine has there is another cluster: is the server in "
      .. "a container, or on another machine?"):format(who.data)), 0)
  end
end

local function parent(path) return path:match "^(/.*)/[^/]*$" or "/" end

local function within(path, directory)
  return directory == "/" or path == directory
    or path:sub(1, #directory + 1) == directory .. "/"
end
cluster.within = within

-- A directory that is for it alone, as Debian has one for each cluster; else
-- the files.
local function configuration(who)
  local files = {}
  for _, path in ipairs { who.config, who.hba, who.ident } do
    local directory = parent(path)
    local own = directory:lower():find "postgres" or directory:find "pgsql"
    local one = own and directory ~= "/etc/postgresql" and directory or path
    local known = within(path, who.data)
    for _, other in ipairs(files) do known = known or within(one, other) end
    if not known and path:sub(1, 1) == "/" then files[#files + 1] = one end
  end
  return files
end

local function name_of(who)
  local version, name = who.config:match "/(%d[%d.]*)/([^/]+)/postgresql%.conf$"
  if version then return version .. "-" .. name end
  return ("%d-%s"):format(who.number // 10000, who.port)
end

---@class saros.writers.postgres.cluster
---@field name string "15-main"
---@field parts string[] real paths: the data, its log, its tablespaces
---@field files string[] those, and the configuration

--- Who is at the end of this session. Raises.
---@return saros.writers.postgres.cluster
function cluster.who(db, options)
  local row = cluster.rows(db, WHO)[1]
  local version = row.version:match "^%S+"
  local who = { version = version, number = math.tointeger(row.number),
    port = row.port, sockets = row.sockets, superuser = row.superuser,
    checksums = row.checksums == "on", identifier = row.identifier,
    segment = math.tointeger(row.segment), started = row.started,
    recovers = row.recovers == "yes", orders = row.orders == "onon" }
  local asked = { row.data, row.data .. "/pg_wal", row.config, row.hba,
    row.ident }
  local spaces = cluster.rows(db, SPACES)
  for i, space in ipairs(spaces) do asked[5 + i] = space.path end
  local real = real_paths(asked)
  who.data, who.wal, who.config, who.hba, who.ident = table.unpack(real, 1, 5)
  look(who)
  who.spaces, who.parts = {}, { who.data }
  if not within(who.wal, who.data) then who.parts[2] = who.wal end
  for i, space in ipairs(spaces) do
    local path = real[5 + i]
    who.spaces[i] = { oid = space.oid, path = path }
    if not within(path, who.data) then who.parts[#who.parts + 1] = path end
  end
  who.files = { table.unpack(who.parts) }
  if options.configuration ~= false then
    local own = configuration(who)
    table.move(own, 1, #own, #who.files + 1, who.files)
  end
  who.name = name_of(who)
  return who
end

--- What a restore must know of it, as plain data.
function cluster.said(who)
  return { server = "PostgreSQL " .. who.version, version_num = who.number,
    data_directory = who.data, files = who.files,
    wal_directory = not within(who.wal, who.data) and who.wal or nil,
    tablespaces = #who.spaces > 0 and who.spaces or nil,
    config_file = who.config, hba_file = who.hba, ident_file = who.ident,
    superuser = who.superuser, checksums = who.checksums,
    sockets = who.sockets, system_identifier = who.identifier }
end


-- ------------------------------------------------------------------
-- What a set has of it
-- ------------------------------------------------------------------

-- The volume that a path is on, of those that were given.
local function volume_of(path, volumes)
  local best
  for _, v in ipairs(volumes) do
    if within(path, v.real) and (not best or #v.real > #best.real) then
      best = v
    end
  end
  return best
end

local function run(...)
  local op <close> = core.process { argv = { ... }, limit = 64 << 20 }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result.stdout
end

-- Directories in there that begin another file system or subvolume.
local function borders(path)
  local list, own = {}, nil
  for device, directory in run("find", path, "-type", "d", "-printf",
    "%D %p\\0"):gmatch "(%d+) ([^\0]*)\0"
  do
    own = own or device
    if device ~= own then
      local known = false
      for _, other in ipairs(list) do
        known = known or within(directory, other)
      end
      if not known then list[#list + 1] = directory end
    end
  end
  return own, list
end

---@class saros.writers.postgres.coverage
---@field mode "atomic"|"backup"|"none"
---@field why? string
---@field live boolean whether some of it is read while it is written to
---@field looks { path: string, volume: table }[] what its shadows must have

--- What the volumes of an event have of the cluster. A snapshot of btrfs has
--- what was synced before it. Of what was not it may have the later and lack the
--- earlier (it is written out file by file), or half a page: of a server that
--- does not sync, or logs no whole pages, it is not of one instant. Raises.
---@return saros.writers.postgres.coverage
function cluster.cover(who, event)
  local given, volumes = {}, {}
  for i, v in ipairs(event.volumes or {}) do given[i] = v.path end
  for i, path in ipairs(real_paths(given)) do
    local v = event.volumes[i]
    volumes[i] = { index = i, real = path, provider = v.provider,
      atomic = v.atomic,
      device = run("stat", "-c", "%d", "--", path):match "%d+" }
  end
  local c = { mode = "atomic", live = false, looks = {} }
  local first
  for _, part in ipairs(who.parts) do
    local v = volume_of(part, volumes)
    if not v then
      return { mode = "none", live = false, looks = {},
        why = part .. " is not among what is backed up" }
    end
    local device, others = borders(part)
    if v.atomic and device ~= v.device then table.insert(others, 1, part) end
    if v.atomic and others[1] then
      return { mode = "none", live = false, looks = {}, why = ("%s is a file "
        .. "system or a subvolume of its own, which the shadow of %s does not "
        .. "have: name it too, or have it where the rest is"):format(others[1],
        v.real) }
    end
    if not v.atomic or (first and first ~= v and not event.atomic)
      or (v.provider == "btrfs" and not who.orders)
    then
      c.mode = "backup"
    end
    first = first or v
    c.live = c.live or v.provider == "live"
    c.looks[#c.looks + 1] = { path = part, volume = v }
    for _, path in ipairs(others) do
      c.looks[#c.looks + 1] = { path = path, volume = v }
    end
  end
  return c
end

--- Why the shadows do not have all of it, or nil. Raises.
function cluster.lacks(coverage, event)
  for _, one in ipairs(coverage.looks) do
    local v = event.volumes[one.volume.index]
    if v.provider ~= "live" then
      local base = one.volume.real
      local rest = base == "/" and one.path or one.path:sub(#base + 1)
      if not v.shadow then return "there is no shadow of " .. v.path end
      local ours = run("find", one.path, "-mindepth", "1", "-print", "-quit")
      local there = content(v.shadow .. rest .. "/.") ~= nil
        or io.open(v.shadow .. rest)
      if not there or (ours ~= "" and run("find", v.shadow .. rest,
        "-mindepth", "1", "-print", "-quit") == "")
      then
        return ("%s is empty in the shadow of %s"):format(one.path, v.path)
      end
    end
  end
  return nil
end

return cluster
