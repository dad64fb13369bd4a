---@private
-- A MariaDB server on a copy of its files, for a check or a drill: on a socket in
-- the place, without network, events, replication, binary log and accounts.

local core = require "saros.core"
local cell = require "saros.cell"
local E = require "saros.code"
local places = require "saros.place"

local copy = {}

-- It recovers before it takes connections, however long that takes.
local LOOK_AGAIN <const> = 0.02

-- Less than this may be too little for a server to recover.
local ROOM <const> = 1 << 30

--- It could not be looked at: which says nothing about it.
function copy.untried(...)
  local failure = core.failure("wsb", E.E_FAIL, string.format(...))
  failure.untried = true
  return failure
end

--- It was looked at, and is not whole.
function copy.damaged(problems, ...)
  local failure = core.failure("wsb",
    E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, string.format(...))
  failure.problems = problems
  return failure
end

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

-- Where a program of the server is, also for whom it is not on the way.
local path = ("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

function copy.tool(name)
  local all = (os.getenv "PATH" or "") .. ":" .. path
  for directory in all:gmatch "/[^:]*" do
    local file <close> = io.open(directory .. "/" .. name)
    if file then return directory .. "/" .. name end
  end
  return nil
end


-- ------------------------------------------------------------------
-- With what it is started
-- ------------------------------------------------------------------

-- What a version says of it is believed as far as it has the form that it must
-- have: option, pattern.
local plain <const> = { innodb_page_size = "^%d+k?$",
  innodb_undo_tablespaces = "^%d+$", lower_case_table_names = "^[012]$",
  innodb_log_file_size = "^%d+$", aria_log_file_size = "^%d+$" }
local directories <const> = { "innodb_data_home_dir",
  "innodb_log_group_home_dir", "innodb_undo_directory", "aria_log_dir_path" }

local function option(name, value)
  return ("--%s=%s"):format(name:gsub("_", "-"), value)
end

-- Files of the system tablespace that lie elsewhere lie in the place now.
local function system_files(place, text)
  local list = {}
  for one in text:gmatch "[^;]+" do
    local name, rest = one:match "^([^:]+)(:[%w:]+)$"
    if not name or (name .. "/"):find("../", 1, true) then return nil end
    local here = name:sub(1, 1) ~= "/" and name or place:at(name)
    if not here then return nil, name end
    list[#list + 1] = here .. rest
  end
  return table.concat(list, ";")
end

local function says(c)
  local said = type(c.said) == "table" and c.said or {}
  return type(said.settings) == "table" and said.settings or {}
end

-- What is a part of the component and not there is lost; of what never was one
-- nothing is known.
local function absent(c, where, ...)
  for _, file in ipairs(type(c.files) == "table" and c.files or {}) do
    if type(where) == "string"
      and (where .. "/"):sub(1, #file + 1) == file .. "/"
    then
      return copy.damaged({ where .. " is not there" }, ...)
    end
  end
  return copy.untried(...)
end

--- Where its data directory lies in the place; nil, err.
function copy.datadir(c, place)
  local datadir = says(c).datadir or type(c.files) == "table" and c.files[1]
  local at = type(datadir) == "string" and place:at(datadir)
  if at then return at end
  return nil, absent(c, datadir, "the data directory %s is not in the copy",
    tostring(datadir))
end

--- Where its files lie and of what form they are, as options; nil, err.
---@param place { at: fun(self: table, path: string): string? }
---@return string[]?
function copy.options(c, place)
  local settings = says(c)
  if settings.encrypted then
    return nil, copy.untried("its files are encrypted (%s), and no server is "
      .. "given its keys to look at them", tostring(settings.encrypted))
  end
  local datadir, err = copy.datadir(c, place)
  if not datadir then return nil, err end
  local list = { "--no-defaults", "--datadir=" .. datadir }
  for name, pattern in pairs(plain) do
    local value = settings[name]
    if type(value) == "string" and value:find(pattern)
      and not (name == "innodb_undo_tablespaces" and value == "0")
    then
      list[#list + 1] = option(name, value)
    end
  end
  for _, name in ipairs(directories) do
    local value = settings[name]
    if value ~= nil then
      local at = type(value) == "string" and place:at(value)
      if not at then
        return nil, absent(c, value, "%s is %s, which is not in the copy", name,
          tostring(value))
      end
      list[#list + 1] = option(name, at)
    end
  end
  if type(settings.innodb_data_file_path) == "string" then
    local files, lost = system_files(place, settings.innodb_data_file_path)
    if not files then
      return nil, absent(c, lost, "innodb_data_file_path is %q, and not all of "
        .. "that is in the copy", settings.innodb_data_file_path)
    end
    list[#list + 1] = "--innodb-data-file-path=" .. files
  end
  return list
end

--- What it shall not do.
copy.quiet = { "--skip-networking", "--skip-grant-tables",
  "--event-scheduler=OFF", "--skip-slave-start", "--skip-log-bin" }

local function arguments(list, run)
  table.move(copy.quiet, 1, #copy.quiet, #list + 1, list)
  local more = { "--socket=" .. run .. "/my.sock",
    "--pid-file=" .. run .. "/my.pid", "--log-error=" .. run .. "/my.log",
    "--tmpdir=" .. run, "--skip-name-resolve", "--performance-schema=OFF",
    "--general-log=OFF", "--slow-query-log=OFF", "--local-infile=OFF",
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF", "--innodb-fast-shutdown=1",
    "--innodb-flush-log-at-trx-commit=0", "--myisam-recover-options=OFF",
    "--aria-recover-options=OFF" }
  return table.move(more, 1, #more, #list + 1, list)
end


-- ------------------------------------------------------------------
-- Starting, and ending
-- ------------------------------------------------------------------

local function is_root()
  local line = content "/proc/self/status":match "\nUid:%s+%d+%s+(%d+)"
  return line == "0"
end

-- As the owner of the files: in the cell of a drill, or in one of ours where
-- there can be one.
local function launch(c, place, argv, apart)
  local o = { argv = argv, stdout = "null", stderr = "capture",
    any_status = true, grace = place.patience }
  if apart then return apart.run(o) end
  if not cell.why() then
    o.place, o.hide = place, places.outside(place, c.files)
    return cell.run(o)
  end
  places.may_go_without(place)
  if is_root() then
    o.argv = { "setpriv", "--reuid", tostring(place.owner.uid), "--regid",
      tostring(place.owner.gid), "--clear-groups", table.unpack(argv) }
  end
  return core.process(o)
end

---@class saros.writers.mariadb.copy
---@field op saros.operation
---@field socket string
---@field log string the path of its log
---@field db saros.client.mariadb.connection?
local running = {}
running.__index = running

-- Whether it takes connections by now; nil: it ended.
local function is_ready(self)
  if content(self.log):find("ready for connections", 1, true) then
    return true
  end
  if self.op:done() then return nil end
  return false
end

-- Whether it does what mariadb-admin tells it.
local function admin(self, what)
  local op <close> = core.process { argv = { "mariadb-admin", "--no-defaults",
    "--socket=" .. self.socket, "--user=root", what }, any_status = true }
  local r = op:wait()
  return r and r.status == 0
end

--- Whether it still answers. Its process may be about to end.
function running:answers() return admin(self, "ping") end

--- Ends it as its administrator would, so that its files are complete.
function running:stop()
  if admin(self, "shutdown") then self.op:wait() end
  self:close()
end

--- The program that writes a database, one of its tables, or all there is, to
--- its output.
---@param what { database: string?, table: string? }
function running:dumper(what)
  local argv = { "mariadb-dump", "--no-defaults", "--socket=" .. self.socket,
    "--user=root", "--single-transaction", "--routines", "--triggers" }
  if not what.database then
    argv[#argv + 1] = "--all-databases"
    return { argv = argv }
  end
  argv[#argv + 1] = "--"
  argv[#argv + 1] = what.database
  argv[#argv + 1] = what.table
  return { argv = argv }
end

function running:close()
  if self.db then self.db:close() end
  self.db = nil
  self.op:close()
end

running.__close = running.close

--- Lines of its log that say what is wrong.
function running:errors()
  local list, seen = {}, {}
  for line in content(self.log):gmatch "[^\n]+" do
    local text = line:match "%[ERROR%]%s*(.*)"
    if text and not seen[text] then list[#list + 1] = text end
    if text then seen[text] = true end
  end
  return list
end

-- What may keep a server from starting on whatever data; files that are damaged
-- can look like that, too.
local circumstances <const> = { "No space left", "Cannot allocate",
  "Out of memory", "errno: 28", "errno: 12", "errno: 24", "Permission denied",
  "errno: 13", "unknown variable", "unknown option", "Can't start server",
  "socket file path is too long", "Too many open files", "libaio" }

-- What it says of a log that another release has written, or nobody.
local another <const> = { "Upgrade after a crash", "nsupported redo log format",
  "created with a later" }

local function speaks_of(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern, 1, true) then return true end
  end
  return false
end

-- The forms of that log that there have been, each also with a bit for
-- encryption (MySQL; MariaDB 10.3, 10.4, 10.5, 10.8).
local forms <const> = { [103] = true, [104] = true, [0x50485953] = true,
  [0x50687973] = true }

-- Whether it says that one of them has written it: what is garbage does not.
local function is_written_by_one(c, place)
  local directory = says(c).innodb_log_group_home_dir
  directory = directory and place:at(directory) or copy.datadir(c, place)
  local file <close> = directory and io.open(directory .. "/ib_logfile0", "rb")
  local head = file and file:read(48) or ""
  if #head < 48 then return false end
  local form = string.unpack(">I4", head) & 0x7fffffff
  return (form < 16 or forms[form] == true)
    and head:sub(17):find "^%a[%w .-]* %d+%.%d+" ~= nil
end

local begin

-- Whether a server starts here on no data at all, with as much room, and as the
-- same user: what another one says is the fault of its files, then.
local function starts_on_nothing(place, apart)
  if place:is_full(ROOM) then return false end
  local run = places.room(place, "my.log", "my.sock", "my.pid")
  local data = run .. "/nothing"
  local op <close> = core.process { argv = { "sh", "-c", 'rm -rf -- "$0" && '
    .. 'mkdir -m 700 -- "$0" && chown --reference="$1" -- "$0"', data, run } }
  if not op:wait() then return false end
  local self <close> = begin({}, place, apart, { "--no-defaults",
    "--datadir=" .. data, "--innodb-log-file-size=4M" }, {})
  return self ~= nil
end

-- nil when it is the fault of its files.
local function circumstance(self, c, place, apart, text)
  if text:find "[Cc]orrupt" then return nil end
  -- Whose settings are known has nothing that is encrypted (and a page that is
  -- garbage may look as if it were).
  if text:find("ncrypt", 1, true) and not says(c).datadir then return text end
  if not self.same and speaks_of(text, another)
    and is_written_by_one(c, place)
  then
    return text
  end
  local silent = content(self.log) == ""
  if not silent and text ~= "" and not speaks_of(text, circumstances) then
    return nil
  end
  if starts_on_nothing(place, apart) then return nil end
  if not silent then return text end
  return self.failure and self.failure.message or self.result.stderr
end

local function why_not(self, c, place, apart)
  local problems = self:errors()
  local text = table.concat(problems, "; ")
  local why = circumstance(self, c, place, apart, text)
  if why then
    return copy.untried("a server could not be started on the copy: %s", why)
  end
  if #problems == 0 then problems[1] = "the server ended and said no reason" end
  return copy.damaged(problems, "a server does not start on the copy: %s",
    problems[1])
end

-- Of a version that reads these files: nil, or why not; whether it is the same.
local function check_tool(c)
  if not copy.tool "mariadbd" then
    return copy.untried("mariadbd is not installed here (Debian: %s)",
      "mariadb-server")
  end
  local said = type(c.said) == "table" and tostring(c.said.server) or ""
  local major, minor = said:match "^MariaDB (%d+)%.(%d+)"
  if not major then return nil end
  local op <close> = core.process { argv = { copy.tool "mariadbd",
    "--no-defaults", "--version" } }
  local r, err = op:wait()
  if not r then
    if err.cancelled then error(err, 0) end
    return copy.untried("mariadbd cannot be run here: %s", err.message)
  end
  local a, b = r.stdout:match "Ver (%d+)%.(%d+)"
  if a and (tonumber(a) * 1000 + tonumber(b)
    < tonumber(major) * 1000 + tonumber(minor))
  then
    return copy.untried("the files are of %s, and the server here is %s.%s: "
      .. "it may not read them", said, a, b)
  end
  return nil, a == major and b == minor
end

-- nil, and that it ended.
function begin(c, place, apart, options, more, same)
  local run = places.room(place, "my.log", "my.sock", "my.pid")
  local args = arguments(options, run)
  local argv = { copy.tool "mariadbd" }
  table.move(args, 1, #args, 2, argv)
  table.move(more, 1, #more, #argv + 1, argv)
  if place.owner.uid == 0 then argv[#argv + 1] = "--user=root" end
  local self = setmetatable({ socket = run .. "/my.sock",
    log = run .. "/my.log", same = same, op = launch(c, place, argv, apart) },
    running)
  local guard <close> = setmetatable({}, { __close = function(g)
    if not g.done then self:close() end
  end })
  while true do
    local ready = is_ready(self)
    if ready == nil then
      self.result, self.failure = self.op:wait()
      return nil, self
    end
    if ready then break end
    local _ <close> = core.sleep(LOOK_AGAIN)
    _:wait()
  end
  guard.done = true
  return self
end

-- Starts one on the copy; nil, err.
local function attempt(c, place, apart, more, same)
  local options, err = copy.options(c, place)
  if not options then return nil, err end
  local self, ended = begin(c, place, apart, options, more, same)
  if self then return self end
  return nil, why_not(ended, c, place, apart)
end

-- Whoever crashed between the two halves of a commit asks its binary log: with
-- none it does not start. (What was held still needs none.)
local function with_its_log(c, place, apart, same)
  local log = says(c).log_bin
  local directory = type(log) == "string" and log:match "^(/.*)/"
  local at = directory and place:at(directory)
  if at then
    return attempt(c, place, apart, { "--server-id=1",
      "--log-bin=" .. at .. "/" .. log:match "[^/]+$" }, same)
  end
  return nil, copy.untried("it was not held still, and which of its last "
    .. "transactions count is written in its binary log, which is not in the "
    .. "copy")
end

--- Starts one, and returns when it takes connections. nil, err: it did not
--- start; `err.untried` tells what could not be tried from what is damaged.
---@return saros.writers.mariadb.copy?
---@return saros.error?
function copy.start(c, place, apart)
  local missing, same = check_tool(c)
  if missing then return nil, missing end
  local self, err = attempt(c, place, apart, {}, same)
  if not self and err.problems
    and table.concat(err.problems):find("prepared transactions", 1, true)
  then
    return with_its_log(c, place, apart, same)
  end
  return self, err
end

return copy
