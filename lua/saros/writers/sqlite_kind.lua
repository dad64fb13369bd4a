---@private
-- What is known of SQLite databases without their writer. They are opened where
-- nobody else has them, and never where they lie in production.

local core = require "saros.core"
local E = require "saros.code"
local kind = require "saros.writers.kind"

local sqlite = { id = "117e4d77-1643-4daa-8178-1d30245ee094" }

local JOURNAL <const> = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

local function content(path, from, size)
  local file <close> = io.open(path, "rb")
  if not file then return nil end
  local all = file:seek "end"
  if from < 0 then from = all + from end
  if from < 0 then return "" end
  file:seek("set", from)
  return file:read(size) or ""
end

--- The name of the super-journal that a hot journal speaks of: of a transaction
--- in several databases. Who opens the database would look there, in production,
--- and remove that file. nil: there is none.
function sqlite.super_journal(journal)
  if content(journal, 0, 8) ~= JOURNAL then return nil end
  local tail = content(journal, -16, 16)
  if #tail < 16 or tail:sub(9) ~= JOURNAL then return nil end
  local size = string.unpack(">I4", tail)
  if size == 0 or size > 4096 then return nil end
  return content(journal, -16 - size, size)
end

-- SQLite goes where a link leads: of a copy that may be production.
local function leads_away(path)
  local steps = {}
  for i, suffix in ipairs { "", "-wal", "-shm", "-journal" } do
    steps[i] = { "look", path .. suffix }
  end
  local op <close> = core.entries(steps)
  local found, err = op:wait()
  if not found then error(err, 0) end
  for i, one in ipairs(found) do
    if one and one.type == "symlink" then return steps[i][2], one.target end
  end
  return nil
end

--- nil, err when opening the database could touch other files than its own.
function sqlite.guard(path, shown)
  local link, target = leads_away(path)
  if link then
    local failure = core.failure("saros", E.SAROS_E_REFUSED,
      ("%s%s is a link to %s: that is not opened, because it may be somebody "
      .. "else's"):format(shown or path, link:sub(#path + 1),
        (tostring(target):gsub("%c", "?"))))
    failure.untried = true
    return nil, failure
  end
  local name = sqlite.super_journal(path .. "-journal")
  if not name then return true end
  local failure = core.failure("saros", E.SAROS_E_REFUSED,
    ("%s: it was in the middle of a transaction of several databases (%s): who "
    .. "opens it would look for that file and might remove it. Hold the "
    .. "database still while it is shadowed, with saros.writers.sqlite")
    :format(shown or path, (name:gsub("%c", "?"))))
  failure.untried = true
  return nil, failure
end

--- `PRAGMA integrity_check` of a database that is nobody else's: the problems,
--- none when it is whole; nil, err when it could not be read.
function sqlite.examine(path)
  local client = require "saros.client.sqlite"
  local db <close> = client.open { path = path }
  local rows, err = db:query "PRAGMA integrity_check":wait()
  if not rows then return nil, err end
  local problems = {}
  for i, row in ipairs(rows) do problems[i] = row.integrity_check end
  if #problems == 1 and problems[1] == "ok" then problems = {} end
  return problems
end

local function digits(bytes)
  return bytes and (bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

local function size_of(path)
  local file <close> = io.open(path, "rb")
  return file and file:seek "end" or nil
end

--- Why files of a copy, which nobody has opened yet, are not those of the
--- instant at which the database was held; nil: nothing speaks against it.
--- While it is, nothing is added to its log, and what is in there may be
--- brought into the database, which grows.
function sqlite.of_another_instant(path, instant)
  if type(instant) ~= "table" or type(instant.head) ~= "string" then
    return nil
  end
  local size = math.tointeger(instant.size) or 0
  local log_size = math.tointeger(instant.log_size) or 0
  local has = size_of(path) or 0
  if log_size > 0 then
    local log = path .. "-wal"
    local found = size_of(log)
    if not found then
      return "its log is not there: what was committed last is lost"
    elseif digits(content(log, 0, 32)) ~= instant.log then
      return "its log is not the one that it had"
    elseif found < log_size then
      return ("its log ends after %d bytes of %d: what was committed last is "
        .. "lost"):format(found, log_size)
    elseif has < size then
      return ("it ends after %d bytes of %d"):format(has, size)
    end
    return nil
  end
  local log = content(path .. "-wal", 0, 32)
  if log and #log == 32 then
    return "there is a log beside it, and it had none"
  elseif content(path .. "-journal", 0, 8) == JOURNAL then
    return "there is a journal beside it that would be rolled back, and it had "
      .. "none"
  elseif has ~= size then
    return ("it has %d bytes, and it had %d"):format(has, size)
  elseif digits(content(path, 24, 8)) ~= instant.head then
    return "it was written to at another instant (its header says so)"
  end
  return nil
end

-- Those of a component's files that are databases, and not what is beside one.
local function databases(c)
  local list, files = {}, {}
  for _, path in ipairs(c.files) do files[path] = true end
  for _, path in ipairs(c.files) do
    local base = path:match "^(.*)%-%a+$"
    if not (base and files[base]) then list[#list + 1] = path end
  end
  return list
end

-- Errors of SQLite that speak of the machine and not of the database.
local of_machine <const> = { [4] = true, [6] = true, [7] = true, [9] = true,
  [13] = true, [22] = true }

local function failure_of(path, problems, code)
  local failure = core.failure("wsb",
    code or E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED,
    ("%s: the check found: %s%s"):format(path, problems[1], #problems > 1
      and (" (and %d more)"):format(#problems - 1) or ""))
  failure.problems = problems
  return failure
end

-- Once a copy was opened its log is in it, and gone.
local opened <const> = setmetatable({}, { __mode = "k" })

local function instant_of(c, place)
  if opened[place] then return nil end
  opened[place] = true
  return type(c.said) == "table" and c.said.instant or nil
end

local function check(c, place)
  local found, instant = 0, instant_of(c, place)
  for _, path in ipairs(databases(c)) do
    local here = place:at(path)
    if here then
      found = found + 1
      local ok, why = sqlite.guard(here, path)
      if not ok then return nil, why end
      why = sqlite.of_another_instant(here, instant)
      if why then return nil, failure_of(path, { why }) end
      local problems, err = sqlite.examine(here)
      if not problems then
        -- What the engine or the machine could not do is no damage.
        if err.cancelled then error(err, 0) end
        err.untried = err.errno ~= nil and of_machine[err.errno & 0xff] or nil
        if err.untried then return nil, err end
        problems = { (err.message:gsub("^.-: ", "", 1)) }
      end
      if #problems > 0 then return nil, failure_of(path, problems) end
    end
  end
  if found == 0 then
    return nil, failure_of(c.files[1] or c.name, { "no database is there" })
  end
  return { databases = found }
end

local function settle(c, place)
  for _, path in ipairs(databases(c)) do
    local here = place:at(path)
    if here then
      local ok, err = sqlite.guard(here, path)
      if not ok then return nil, err end
    end
  end
  return true
end

-- Who has it open would go on with the file that was there.
local function busy(c, place)
  for _, path in ipairs(c.files) do
    local here = place:at(path)
    if here then
      local op <close> = core.process { any_status = true, argv = { "sh", "-c",
        "test -e \"$1\" || exit 0; find -L /proc/[0-9]*/fd -maxdepth 1 "
        .. "-samefile \"$1\" -print -quit 2>/dev/null", "sh", here } }
      local r, err = op:wait()
      if not r then error(err, 0) end
      local pid = r.stdout:match "^/proc/(%d+)/"
      if pid then
        return ("process %s has %s open"):format(pid, path)
      end
    end
  end
  return nil
end

-- What writes it, or one of its tables, to its output. The shell has a language
-- of its own, of patterns, and writes nothing of a table that is not there.
local function dumper(db, here, what)
  local name = what.table
  if name then
    local rows, err = db:query("SELECT 1 FROM sqlite_master WHERE name = ? AND "
      .. "type = 'table'", name):wait()
    if not rows then error(err, 0) end
    if not rows[1] or name:find '[%c"]' then
      error(core.failure("saros", E.E_INVALIDARG,
        ("there is no table %q that could be taken out"):format(name)), 0)
    end
  end
  local pattern = name and name:gsub("[\\%%_]", "\\%0"):gsub("\\", "\\\\")
  return { argv = { "sqlite3", "-batch", "-bail", here,
    ".dump" .. (pattern and ' "' .. pattern .. '"' or "") } }
end

-- It needs no server: the place is nobody else's.
local function start(c, place)
  local client = require "saros.client.sqlite"
  opened[place] = true
  for _, path in ipairs(databases(c)) do
    local here = place:at(path)
    if here then
      local ok, err = sqlite.guard(here, path)
      if not ok then return nil, err end
      local db = client.open { path = here }
      return setmetatable({ db = db, dump = function(what)
        return dumper(db, here, what)
      end }, { __close = function() db:close() end })
    end
  end
  return nil, "no database is there"
end

local function plan(c, p)
  local lines = { "The database is a file. SQLite makes it whole when it is "
    .. "opened for the first time:", "that needs leave to write. This must say "
    .. "\"ok\".", "" }
  local absent = {}
  for _, path in ipairs(c.absent or {}) do absent[path] = true end
  for _, path in ipairs(databases(c)) do
    if not absent[path] then
      lines[#lines + 1] = ("    test \"$(sqlite3 %s 'PRAGMA integrity_check')"
        .. "\" = ok"):format(p:at(path))
    end
  end
  return lines
end

sqlite.kind = kind.define { name = "sqlite", id = sqlite.id, check = check,
  settle = settle, busy = busy, start = start, plan = plan }

return sqlite
