---@private
-- A server on a copy. It takes nothing from the settings that were made for
-- production: those are in postgresql.conf, which it does not read, and in
-- postgresql.auto.conf, which its command line overrules. So it archives and
-- replicates nothing, loads nothing, and listens on a socket in its place.

local core = require "saros.core"
local places = require "saros.place"
local files = require "saros.writers.postgres_kind.files"

local server = {}

local PORT <const> = 5432
local LINES_MOST <const> = 200

-- Those that do not exist in older versions come with a number.
local settings <const> = {
  { "listen_addresses", "" }, { "port", PORT }, { "ssl", "off" },
  { "unix_socket_permissions", "0700" }, { "unix_socket_group", "" },
  { "bonjour", "off" }, { "external_pid_file", "" },
  -- What runs by itself, or for others.
  { "archive_mode", "off" }, { "archive_command", "" },
  { "archive_library", "", 15 }, { "autovacuum", "off" },
  { "max_logical_replication_workers", 0 }, { "max_wal_senders", 0 },
  { "primary_conninfo", "", 12 }, { "restore_command", "", 12 },
  { "archive_cleanup_command", "", 12 }, { "recovery_end_command", "", 12 },
  { "shared_preload_libraries", "" }, { "session_preload_libraries", "" },
  { "local_preload_libraries", "" }, { "jit", "off", 11 },
  -- Room: as much as recovery may need, as little as a copy deserves.
  { "max_connections", 20 }, { "superuser_reserved_connections", 3 },
  { "max_prepared_transactions", 1000 }, { "max_replication_slots", 100 },
  { "shared_buffers", "64MB" }, { "huge_pages", "off" },
  { "wal_level", "replica" },
  -- Nothing is hidden.
  { "zero_damaged_pages", "off" }, { "ignore_checksum_failure", "off" },
  { "ignore_invalid_pages", "off", 13 }, { "restart_after_crash", "off" },
  { "statement_timeout", 0 }, { "lock_timeout", 0 },
  { "default_transaction_read_only", "off" },
  -- What it says, it says to us, in one language.
  { "logging_collector", "off" }, { "log_destination", "stderr" },
  { "log_min_messages", "warning" }, { "lc_messages", "C" },
  { "cluster_name", "" },
  -- It is a copy, and nobody's only one.
  { "fsync", "off" },
}

-- Where no server could have started, be it on the best of copies.
local circumstances <const> = { "No space left on device",
  "Cannot allocate memory", "could not map anonymous shared memory",
  "could not create shared memory", "could not create semaphores",
  "Too many open files", "Disk quota exceeded", "out of memory",
  "resource manager with ID %d+ not registered", "could not bind Unix",
  "Unix%-domain socket path .* is too long",
  "error while loading shared libraries",
  "is incompatible with operating system",
  "is incompatible with server", "cell: cannot", "setpriv: ",
  '"root" execution of the PostgreSQL server is not permitted' }

--- What such a line says, or nil.
function server.circumstance(lines)
  for _, line in ipairs(lines) do
    for _, pattern in ipairs(circumstances) do
      if line:find(pattern) then return line end
    end
  end
  return nil
end

local function worst(lines)
  local list = {}
  for _, line in ipairs(lines) do
    if line:find "FATAL" or line:find "PANIC" or line:find "ERROR" then
      list[#list + 1] = line
    end
  end
  if #list == 0 then list[1] = lines[#lines] end
  return list
end

--- The cell to use: nil when there is none to be had here.
function server.cell()
  local ok, cell = pcall(require, "saros.cell")
  return ok and cell.why() == nil and cell or nil
end

-- Where the one lies that it was copied from: nobody looks at that by mistake.
local function production(cluster, place)
  local said, list = cluster.said, { cluster.original }
  local more = type(said.files) == "table" and said.files or {}
  table.move(more, 1, #more, #list + 1, list)
  for directory in (type(said.sockets) == "string" and said.sockets or "")
    :gmatch "[^, ]+"
  do
    -- One that everybody has is another one in a cell.
    if directory ~= "/tmp" then list[#list + 1] = directory end
  end
  return places.outside(place, list)
end

--- Starts a program as the owner of the place: in the cell, or beside us.
function server.run(cluster, place, cell, options)
  local env = { PATH = "/usr/local/bin:/usr/bin:/bin", LC_ALL = "C",
    HOME = place.root, PGOPTIONS = "-c session_preload_libraries= "
    .. "-c local_preload_libraries= -c statement_timeout=0 -c lock_timeout=0 "
    .. "-c default_transaction_read_only=off" }
  if options.server then env.PGOPTIONS = nil end
  local o = { argv = options.argv, stdout = options.stdout, stderr = "stdout",
    any_status = options.any_status, limit = 4 << 20, grace = place.patience,
    env = env }
  if cell and options.server then
    o.place, o.stop, o.hide = place, "INT", production(cluster, place)
    return cell.run(o)
  end
  if options.server then places.may_go_without(place) end
  o.clear_env, o.cwd = true, place.root
  if files.is_root() then
    o.argv = table.move(options.argv, 1, #options.argv, 6, { "setpriv",
      ("--reuid=%d"):format(place.owner.uid),
      ("--regid=%d"):format(place.owner.gid), "--clear-groups", "--" })
  end
  return core.process(o)
end

-- The directory of its socket, with who may connect: whoever comes to it.
local function make_room(place)
  local run = place.root .. "/run"
  files.run("mkdir", "-p", "-m", "700", "--", run)
  if files.run("stat", "-c", "%F", "--", run) ~= "directory\n" then
    error(files.refused("%s is in the way: there is no room for a socket", run),
      0)
  end
  files.run("rm", "-f", "--", run .. "/pg.conf", run .. "/pg_hba.conf",
    run .. "/pg_ident.conf")
  files.write(run .. "/pg.conf", "")
  files.write(run .. "/pg_ident.conf", "")
  files.write(run .. "/pg_hba.conf", "local all all trust\n")
  files.give(place, run, run .. "/pg.conf", run .. "/pg_hba.conf",
    run .. "/pg_ident.conf")
  return run
end

local function command_line(cluster, programs, run)
  local argv = { programs .. "/postgres", "-D", cluster.data, "-c",
    "config_file=" .. run .. "/pg.conf", "-c",
    "hba_file=" .. run .. "/pg_hba.conf", "-c",
    "ident_file=" .. run .. "/pg_ident.conf", "-c",
    "unix_socket_directories=" .. run }
  for _, one in ipairs(settings) do
    if not one[3] or tonumber(cluster.version) >= one[3] then
      argv[#argv + 1] = "-c"
      argv[#argv + 1] = ("%s=%s"):format(one[1], one[2])
    end
  end
  return argv
end

---@class saros.writers.postgres_kind.server
---@field socket string the directory of its socket
---@field port integer
---@field user string
---@field version string "PostgreSQL 15.20"
---@field log string[] what it said last
local instance = {}
instance.__index = instance

local function note(self, line)
  local log = self.log
  log[#log + 1] = line
  if #log > LINES_MOST then table.remove(log, 1) end
end

--- Stops it; what it writes at the end is written then.
function instance:close()
  local op, reader = self.op, self.reader
  self.op = nil
  if not op then return end
  op:cancel()
  op:wait()
  if reader then reader:wait() end
end

instance.__close = instance.close

--- Whether it runs.
function instance:runs() return self.op ~= nil and not self.op:done() end

-- Its role that may do anything: its own name is not written down anywhere
-- else.
local function superuser(cluster, place)
  local name = cluster.said.superuser
  if type(name) == "string" and name ~= "" and #name < 64
    and not name:find "[%c]"
  then
    return name
  end
  local op <close> = core.process { argv = { "id", "-nu", "--",
    tostring(place.owner.uid) } }
  local found = op:wait()
  return found and found.stdout:gsub("\n", "") or "postgres"
end

--- Starts it, and waits until it takes connections, however long it recovers.
--- nil, err: untried when it could not be, else the copy is damaged.
---@return saros.writers.postgres_kind.server?
function server.start(cluster, place, cell)
  local programs, version = files.programs(cluster.version)
  if not programs then
    return nil, files.untried("PostgreSQL %s is not installed here",
      cluster.version)
  end
  -- It recovers to where the files end, and waits for nobody.
  files.run("rm", "-f", "--", cluster.data .. "/standby.signal",
    cluster.data .. "/recovery.signal", cluster.data .. "/recovery.conf")
  local self = setmetatable({ socket = make_room(place), port = PORT,
    version = version, programs = programs, log = {},
    user = superuser(cluster, place) }, instance)
  self.op = server.run(cluster, place, cell, { server = true,
    argv = command_line(cluster, programs, self.socket), stdout = "lines" })
  local guard <close> = setmetatable({}, { __close = function(g)
    if not g.done then self:close() end
  end })
  core.report { phase = "recovering" }
  local next_line = self.op:lines()
  for line in next_line do
    note(self, line)
    if line:find "database system is ready to accept connections" then
      guard.done = true
      -- Nobody reads what it says from now on, and it must not wait for that.
      self.reader = core.spawn(function()
        for more in next_line do note(self, more) end
      end)
      return self
    end
  end
  local _, err = self.op:wait()
  if err and err.cancelled then error(err, 0) end
  local problems = worst(self.log)
  local why = server.circumstance(self.log)
  if why then return nil, files.untried("no server starts here: %s", why) end
  if #self.log == 0 then
    return nil, files.untried("no server starts here: %s", err and err.message
      or "it ended, and said nothing")
  end
  return nil, files.damaged(problems, "PostgreSQL does not start on the copy "
    .. "of %s: %s", cluster.original, problems[1])
end

return server
