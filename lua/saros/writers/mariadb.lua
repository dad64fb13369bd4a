--- A writer for a MariaDB server: while a shadow is made nothing is committed,
--- and what is in the shadow starts as a server that lost power at that instant
--- would, with every transaction that was acknowledged before.
---
--- ```lua
--- local mariadb = require "saros.writers.mariadb"
--- local w <close> = mariadb.writer { socket = "/run/mysqld/mysqld.sock",
---   defaults_file = "/root/.my.cnf" }
--- local set <close> = assert(vss.shadow { paths = { "/var/lib/mysql" } }:wait())
--- print(set:said(w.instance).components.mysql.position)
--- ```
---
--- It asks for BACKUP STAGE (the privilege RELOAD; BINLOG MONITOR for the
--- position in the binary log). While others prepare, DDL and writes to tables
--- without transactions wait already; from freeze to thaw all commits do. The
--- locks belong to the connection: they end with it when this process dies, and
--- by the server's `wait_timeout` when it stands still.
---
--- What it does not promise:
--- - InnoDB writes to its files also while nobody commits: pages in the
---   background, the log of transactions that are open. A copy that takes its
---   time (providers `copy`, `live`, `reflink`; several volumes that are not of
---   one instant) is torn, whatever is locked. It is refused. Where nothing
---   atomic can be had, back up a stream: `mariadb-dump --all-databases
---   --single-transaction`, or `mariadb-backup --backup --stream=xbstream`.
---   The check of a copy finds most of what a broken provider may tear, but not an
---   undo tablespace of its own (`innodb_undo_tablespaces`) that is older than a
---   transaction which was open: its changes are there then, as if committed.
--- - Engines with files elsewhere, or that know no backup locks (Spider, CONNECT
---   …): of those only what lies in the data directory is in the shadow.
--- - What was not committed at that instant: it is rolled back by the server
---   that starts on the copy.
--- - A node of Galera holds up its cluster for as long.
--- - MySQL has no BACKUP STAGE, and is refused.

local core = require "saros.core"
local saros = require "saros"
local arguments = require "saros.arguments"
local client = require "saros.client.mariadb"
local kind = require "saros.writers.mariadb_kind"
local layout = require "saros.writers.mariadb_layout"
local vss = require "saros.vss"

---@class saros.writers.mariadb
local mariadb = {}

--- The class of these writers.
mariadb.id = kind.id

local E = saros.code

local FREEZE_TIMEOUT <const> = 60
local LOCK_TIMEOUT <const> = 10
local CONNECT_TIMEOUT <const> = 10
-- While others get ready, when nobody says how long they may take.
local PREPARE_TIMEOUT <const> = 600


-- ------------------------------------------------------------------
-- Errors
-- ------------------------------------------------------------------

-- By the server's number: what to do.
local hints = {
  [1205] = "a long statement is in the way (DDL, a write to a table without "
    .. "transactions, LOCK TABLES, another backup): end it (SHOW PROCESSLIST "
    .. "names it), or raise lock_timeout (%d seconds)",
  [1227] = "let the account do it: GRANT RELOAD, BINLOG MONITOR ON *.* TO …",
  [1045] = "check user, defaults_file or password",
  [1698] = "check user, defaults_file or password",
  [1040] = "let it have one more: raise max_connections, or give the account "
    .. "the privilege CONNECTION ADMIN, for which one is kept",
}

local function cannot(err, lock)
  if type(err) ~= "table" or err.cancelled then return err end
  local hint = hints[err.errno]
  local failure = core.failure("saros",
    err.errno == 1205 and E.SAROS_E_LOCKED or err.code,
    ("the server cannot be held still: %s%s"):format(err.message,
      hint and "; " .. hint:format(lock or LOCK_TIMEOUT) or ""))
  for _, name in ipairs { "errno", "sqlstate", "server", "retryable" } do
    failure[name] = err[name]
  end
  return failure
end

local function refused(...)
  return core.failure("saros", E.SAROS_E_REFUSED, string.format(...))
end


-- ------------------------------------------------------------------
-- Asking the server
-- ------------------------------------------------------------------

-- Rows, or it raises. What is waited for ends with the wait.
local function ask(db, sql)
  local op <close> = db:query(sql)
  local rows, err = op:wait()
  if not rows then error(err, 0) end
  return rows
end

local function tell(db, sql)
  local op <close> = db:exec(sql)
  local ok, err = op:wait()
  if not ok then error(err, 0) end
end

-- BACKUP STAGE is of MariaDB 10.4.
local function check_version(version)
  local major, minor = version:match "^(%d+)%.(%d+)"
  if not version:find("MariaDB", 1, true) then
    error(refused("the server is not MariaDB but says that it is %s: it has no "
      .. "BACKUP STAGE. Back up a stream instead: mysqldump --all-databases "
      .. "--single-transaction", version), 0)
  end
  major, minor = tonumber(major) or 0, tonumber(minor) or 0
  if major < 10 or major == 10 and minor < 4 then
    error(refused("MariaDB %s has no BACKUP STAGE: that is of 10.4 and later",
      version), 0)
  end
end

-- One table that is encrypted, or nil. An account that may not ask of all of them
-- asks of those that it knows.
local function encrypted_table(db)
  for _, sql in ipairs(layout.encrypted_sql) do
    local ok, rows = pcall(ask, db, sql)
    if ok then return rows[1] and "the table " .. rows[1].name end
    if type(rows) ~= "table" or rows.errno ~= 1227 and rows.errno ~= 1109 then
      error(rows, 0)
    end
  end
end

local function look(db)
  local version = ask(db, "SELECT version() AS v")[1].v
  check_version(version)
  local found = {}
  for _, row in ipairs(ask(db, layout.sql)) do
    found[row.Variable_name] = row.Value or ""
  end
  local at = layout.of(found, version)
  at.settings.encrypted = at.settings.encrypted or encrypted_table(db)
  return at
end

-- Where the binary log is: nothing of that is needed to start again, so an
-- account that may not ask does without.
local function position(db)
  local gtid = ask(db, "SELECT @@GLOBAL.gtid_binlog_pos AS p")[1].p
  local ok, rows = pcall(ask, db, "SHOW MASTER STATUS")
  if not ok and not (type(rows) == "table" and rows.errno == 1227) then
    error(rows, 0)
  end
  local at = ok and rows[1]
  local words = {}
  if gtid and gtid ~= "" then words[1] = "GTID " .. gtid end
  if at then words[#words + 1] = ("%s:%s"):format(at.File, at.Position) end
  return #words > 0 and table.concat(words, ", ") or nil, at and at.File
end


-- ------------------------------------------------------------------
-- What is in the set
-- ------------------------------------------------------------------

-- Of each path the volume it is on, as far as there is one.
local function volumes_of(paths, volumes)
  local list = table.move(paths, 1, #paths, 1, {})
  for _, v in ipairs(volumes) do list[#list + 1] = v.path end
  local real, err = core.real_paths(list):wait()
  if not real then error(err, 0) end
  local devices = layout.devices(real)
  local found = {}
  for i = 1, #paths do
    local longest = -1
    for k, v in ipairs(volumes) do
      local j = #paths + k
      local top = real[j]:gsub("/*$", "/")
      if (real[i] .. "/"):sub(1, #top) == top and #top > longest
        and devices[i] == devices[j]
      then
        longest, found[i] = #top, v
      end
    end
  end
  return found
end

-- Whether all that InnoDB recovers from is of one instant. false, why: only a
-- part of it is in the set. Raises when it is there and would be torn.
local function all_of_one_instant(event, paths)
  local volumes = event.volumes or {}
  local found = volumes_of(paths, volumes)
  for i, path in ipairs(paths) do
    if not found[i] then
      return false, ("%s is not in the shadows, or on another file system")
        :format(path)
    end
  end
  if event.atomic then return true end
  for i, path in ipairs(paths) do
    if not found[i].atomic then
      error(refused("%s would be copied by the provider %s, file by file, and "
        .. "InnoDB goes on writing to its files while nobody commits: that "
        .. "copy would be torn. Put it where shadows are of one instant "
        .. "(btrfs, LVM, an image), or back up a stream (mariadb-dump, "
        .. "mariadb-backup)", path, found[i].provider), 0)
    elseif found[i] ~= found[1] then
      error(refused("%s and %s are on shadows that are not of one instant, and "
        .. "InnoDB needs both as they were at the same time: put them on one "
        .. "volume, or back up a stream (mariadb-dump, mariadb-backup)",
        paths[1], path), 0)
    end
  end
  return true
end


-- ------------------------------------------------------------------
-- The writer
-- ------------------------------------------------------------------

local known = { socket = "string", host = "string", port = "integer",
  user = "string", defaults_file = "string", defaults_group = "string",
  password = "table", connect_timeout = "number", component = "string",
  config = "list", purge_binlogs = "boolean", lock_timeout = "number",
  freeze_timeout = "number", level = { "front_end", "back_end", "system" },
  id = "string", instance = "string", name = "string", listen = "boolean",
  state_dir = "string" }

--- What a writer takes, and what that is.
mariadb.options = known

local of_connection = { "socket", "host", "port", "user", "defaults_file",
  "defaults_group", "password" }

-- One server, from one shadow to the next.
local server = {}
server.__index = server

function server:connect()
  local o = { connect_timeout = self.o.connect_timeout or CONNECT_TIMEOUT }
  for _, name in ipairs(of_connection) do o[name] = self.o[name] end
  return client.open(o)
end

function server:identify()
  local db <close> = self:connect()
  self.at = look(db)
  self.component = self.o.component or self.at.name
  return { components = layout.components(self.at, self.component,
    self.o.config) }
end

-- Everything that is said of the data.
function server:says(more)
  more.server, more.settings = self.at.server, self.at.settings
  self.said = more
  return { components = { [self.component] = more } }
end

function server:let_go()
  local db = self.db
  self.db = nil
  if db then db:close() end
end

function server:is_asked(event)
  if not event.components then return true end
  for _, name in ipairs(event.components) do
    if name == self.component then return true end
  end
  return false
end

local function seconds(most, left)
  return math.max(1, math.floor(math.min(most, left * 0.8)))
end

function server:get_ready(event)
  self:let_go()
  self.file = nil
  if not self:is_asked(event) then return true end
  local db = self:connect()
  self.db = db -- an abort finds it
  self.at = look(db)
  local whole, why = all_of_one_instant(event, layout.needed(self.at))
  if not whole then
    self:let_go()
    return self:says { consistency = "none", why = why }
  end
  local left = event.deadline or PREPARE_TIMEOUT
  -- Others may take as long to get ready; then comes the freeze.
  tell(db, ("SET SESSION lock_wait_timeout = %d, wait_timeout = %d, "
    .. "max_statement_time = 0"):format(seconds(self.lock, left),
      math.ceil(left + self.window) + 1))
  for _, stage in ipairs { "START", "FLUSH", "BLOCK_DDL" } do
    tell(db, "BACKUP STAGE " .. stage)
  end
  -- From now on nobody makes one, or takes one away.
  self.definitions = layout.definitions(self.at.settings.datadir)
  return true
end

function server:hold(event)
  local db = self.db
  if not db then return true end
  local left = event.deadline or self.window
  -- If we stand still from now on, the server goes on without us.
  tell(db, ("SET SESSION lock_wait_timeout = %d, wait_timeout = %d")
    :format(seconds(self.lock, left), math.ceil(left) + 1))
  tell(db, "BACKUP STAGE BLOCK_COMMIT")
  -- The second half of a commit is in memory until somebody needs it in the
  -- log: without it a server that starts on the copy asks its binary log.
  tell(db, "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS")
  local text
  text, self.file = position(db)
  return self:says { consistency = "application", position = text,
    definitions = self.definitions }
end

function server:thaw()
  local db = self.db
  if not db then return true end
  self.db = nil
  local _ <close> = db
  local op <close> = db:exec "BACKUP STAGE END"
  local ok, err = op:wait()
  if ok then return true end
  if err.cancelled then error(err, 0) end
  return nil, core.failure("saros", err.code, "the connection that held the "
    .. "server still was lost before the shadow was complete, so there may "
    .. "have been commits meanwhile: " .. err.message)
end

local function has(list, name)
  for _, item in ipairs(list or {}) do
    if item == name then return true end
  end
  return false
end

-- The binary logs before the one that was written to at the freeze are in no
-- need of being kept for this backup; a replica keeps those it has not read.
function server:complete(event)
  local file = self.file
  self.file = nil
  if not (self.o.purge_binlogs and file and event.backup_type == "full"
    and has(event.succeeded, self.component))
  then
    return true
  end
  local db <close> = self:connect()
  tell(db, ("PURGE BINARY LOGS TO '%s'"):format(file:gsub("['\\]", "\\%0")))
  self.said.note = "binary logs before " .. file .. " were purged"
  return self:says(self.said)
end

---@class saros.writers.mariadb.options
---@field socket? string where the server listens
---@field host? string
---@field port? integer
---@field user? string
---@field defaults_file? string an option file with the password
---@field defaults_group? string the group in that
---@field password? { file: string?, env: string?, command: string[]? } where it is, never the password itself
---@field connect_timeout? number seconds (10)
---@field component? string the name of its data (that of the data directory)
---@field config? string[] its option files and their directories (those it says, or /etc/mysql and /etc/my.cnf)
---@field purge_binlogs? boolean after a backup of type `full` that succeeded its binary logs are purged up to there
---@field lock_timeout? number seconds that it waits for statements that are in the way (10)
---@field freeze_timeout? number seconds from its freeze to its thaw (60)
---@field level? "front_end"|"back_end"|"system" ("back_end")
---@field id? string its class: a GUID (`mariadb.id`)
---@field instance? string this one of its class, a GUID
---@field name? string "mariadb"
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes a writer for a MariaDB server. A server that cannot be reached,
--- refuses the login, or has a statement in the way for too long, fails the
--- shadow with a reason.
---@param options saros.writers.mariadb.options
---@return saros.vss.writer
function mariadb.writer(options)
  local o = arguments.check("mariadb.writer", options, known)
  if not (o.socket or o.host or o.defaults_file) then
    error("mariadb.writer: option 'socket' is missing: where the server listens"
      .. " (or 'host', or a 'defaults_file' that says so)", 2)
  end
  local self = setmetatable({ o = o, lock = o.lock_timeout or LOCK_TIMEOUT,
    window = o.freeze_timeout or FREEZE_TIMEOUT }, server)
  -- A step of it; whatever it could not finish is let go at once.
  local function step(f)
    return function(event)
      local results = table.pack(pcall(f, self, event))
      if results[1] then return table.unpack(results, 2, results.n) end
      self:let_go()
      error(cannot(results[2], self.lock), 0)
    end
  end
  return vss.writer {
    id = o.id or mariadb.id, instance = o.instance, name = o.name or "mariadb",
    level = o.level or "back_end", source = "transacted_db",
    freeze_timeout = self.window, guard = "connection", listen = o.listen,
    state_dir = o.state_dir,
    identify = step(server.identify),
    prepare_snapshot = step(server.get_ready),
    freeze = step(server.hold),
    thaw = step(server.thaw),
    backup_complete = step(server.complete),
    abort = function()
      self:let_go()
      return true
    end,
    -- Before it is held there is a stage already, in which nobody changes a
    -- table's definition.
    closed = function() self:let_go() end,
  }
end

return mariadb
