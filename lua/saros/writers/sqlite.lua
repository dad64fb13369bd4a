--- A writer for SQLite databases: while a shadow is made, nobody commits to
--- them. Readers go on, other writers wait.
---
--- ```lua
--- local sqlite = require "saros.writers.sqlite"
--- local w <close> = sqlite.writer { databases = { "/srv/app/app.db" } }
--- local set <close> = assert(vss.shadow { paths = { "/srv/app" } }:wait())
--- assert(sqlite.check(set["/srv/app"].path .. "/app.db"):wait())
--- ```
---
--- Who holds the locks is a process of its own: those of SQLite belong to a
--- process, and when that closes any file of the database, as whoever copies
--- it does, the kernel takes them away. For the same reason do not let a
--- program that has a database open copy its files with provider `copy` or
--- `reflink`: run the shadow in another process, as `saros` on the command
--- line does.

local core = require "saros.core"
local saros = require "saros"
local client = require "saros.client.sqlite"
local known_of = require "saros.writers.sqlite_kind"
local surely = require "saros.surely"
local vss = require "saros.vss"

---@class saros.writers.sqlite
local sqlite = {}

--- The class of these writers.
sqlite.id = known_of.id

local FREEZE_TIMEOUT = 60
local LOCK_TIMEOUT = 10
-- It only has to say a word: then it is ended otherwise.
local ANSWER_SECONDS = 2
-- A checkpoint that waits for readers keeps writers waiting: not for long.
local CHECKPOINT_SECONDS = 0.2

-- What SQLite keeps beside a database.
local beside = { "", "-wal", "-shm", "-journal" }


-- ------------------------------------------------------------------
-- Errors
-- ------------------------------------------------------------------

local E = saros.code

-- By the code of SQLite: ours, and what to do.
local reasons = {
  [5] = { E.SAROS_E_LOCKED, "%s: %s: somebody else has written to it for "
    .. "%g seconds without a commit; end that, or raise lock_timeout" },
  [8] = { E.E_ACCESSDENIED, "%s: %s: nobody can be kept from writing there "
    .. "by somebody who may not; run this as the owner of the file" },
  [11] = { E.SAROS_E_DAMAGED, "%s: %s: there is no sense in a shadow of it" },
  [14] = { E.E_FAIL, "%s: %s: is it there, and may it be read?" },
  [26] = { E.SAROS_E_DAMAGED, "%s: %s" },
}

local function cannot(path, code, message, seconds)
  local reason = reasons[code] or { E.E_FAIL, "%s: %s" }
  return core.failure("saros", reason[1], "the database cannot be held still: "
    .. reason[2]:format(path, message, seconds))
end


-- ------------------------------------------------------------------
-- Getting ready, while everybody goes on
-- ------------------------------------------------------------------

-- Where the file really is: what lies beside it lies there.
local function resolved(path)
  local db <close> = client.open { path = path }
  local rows = db:query "PRAGMA database_list":wait()
  return rows and rows[1] and rows[1].file ~= "" and rows[1].file or path
end

-- Everything that is in the log goes into the database where nobody is in the
-- way: so there is little to copy, and nothing to recover.
local function get_ready(path)
  local db <close> = client.open { path = path }
  local rows, err = db:query "PRAGMA schema_version":wait()
  if rows then rows, err = db:query "PRAGMA journal_mode":wait() end
  if not rows then return nil, err end
  if rows[1].journal_mode == "wal" then
    db:set_busy_timeout(CHECKPOINT_SECONDS)
    db:query "PRAGMA wal_checkpoint(TRUNCATE)":wait()
  end
  return true
end


-- ------------------------------------------------------------------
-- Holding still
-- ------------------------------------------------------------------

-- What a database was at that instant: its check holds a copy against it.
local function note(holder, line)
  local number, size, head, log_size, log =
    line:match "^at (%d+) (%d+) (%x+) (%d+) ([%x-]+)$"
  if not number then return false end
  holder.instants[tonumber(number)] = { size = math.tointeger(size),
    head = head, log_size = math.tointeger(log_size),
    log = log ~= "-" and log or nil }
  return true
end

local function hold(holder, databases, seconds)
  local line -- nil when it ended without one
  repeat line = holder.next_line() until not (line and note(holder, line))
  holder.held = line == "held"
  if holder.held then return true end
  local code, number, at, message
  if line then
    code, number, at, message = line:match "^failed (%d+) (%d+) (%d+) (.*)"
  end
  local _, err = holder.op:wait()
  if not code then
    return nil, err or "what holds the databases ended, and said no reason"
  end
  local failure = cannot(databases[tonumber(at)], tonumber(code), message,
    seconds)
  if number ~= "0" then failure.errno = tonumber(number) end
  return nil, failure
end

local function milliseconds(seconds)
  return ("%d"):format(math.max(0, math.ceil(seconds * 1000)))
end

-- The databases, held still until `release`: the process that does it.
local function start(databases, lock, window)
  local argv = { client._holder, milliseconds(lock), milliseconds(window) }
  local op <const> = saros.process {
    argv = table.move(databases, 1, #databases, 4, argv), stdout = "lines",
    grace = ANSWER_SECONDS,
  }
  return { op = op, next_line = op:lines(), databases = databases,
    instants = {} }
end

-- Lets go. nil, err: they were not held until now.
local function release(holder)
  local op <close> = holder.op
  if not holder.held then return true end
  op:cancel() -- it is asked to end, and then made to
  local line, said = holder.next_line(), nil
  while line do
    line, said = holder.next_line(), line
  end
  if said == "let go" then return true end
  local away = holder.databases[tonumber((said or ""):match "^moved (%d+)$")]
  if away then
    return nil, core.failure("saros", E.SAROS_E_CHANGED, (away
      .. " was replaced by another file while it was held still: nobody held "
      .. "that one"))
  end
  local _, err = op:wait()
  return nil, ("what held the databases still ended before the shadow was "
    .. "complete, so there may have been writes meanwhile: %s")
    :format(not err and "nobody asked it to" or err.cancelled
      and "it does not answer" or err.message)
end


-- ------------------------------------------------------------------
-- The writer
-- ------------------------------------------------------------------

local known = { id = "string", instance = "string", name = "string",
  level = "string", freeze_timeout = "number", lock_timeout = "number",
  databases = "table", listen = "boolean", state_dir = "string" }

--- What a writer takes, and what that is.
sqlite.options = known

local function check_options(options)
  if type(options) ~= "table" then
    error(("sqlite.writer: table expected, got %s"):format(type(options)), 3)
  end
  for name, item in pairs(options) do
    local kind = known[name]
    if not kind then
      error(("sqlite.writer has no option '%s'"):format(tostring(name)), 3)
    elseif type(item) ~= kind then
      error(("sqlite.writer: option '%s': %s expected, got %s")
        :format(name, kind, type(item)), 3)
    end
  end
end

-- Absolute, each once, in an order that is always the same: two that hold
-- several databases never wait for each other.
local function sorted(databases)
  local list, seen = {}, {}
  for i, path in ipairs(databases or {}) do
    if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find "\0" then
      error(("sqlite.writer: option 'databases'[%d]: an absolute path expected")
        :format(i), 3)
    end
    if not seen[path] then list[#list + 1] = path end
    seen[path] = true
  end
  if #list == 0 then
    error("sqlite.writer: option 'databases': a list of paths expected", 3)
  end
  table.sort(list)
  return list
end

-- By their files, where that tells them apart.
local function names(databases)
  local list, count = {}, {}
  for _, path in ipairs(databases) do
    local base = path:match "[^/]+$"
    count[base] = (count[base] or 0) + 1
  end
  for i, path in ipairs(databases) do
    local base = path:match "[^/]+$"
    list[i] = count[base] == 1 and base or path
  end
  return list
end

-- One for each database.
local function components(databases)
  local list = {}
  for i, name in ipairs(names(databases)) do
    local real, files = resolved(databases[i]), {}
    for j, suffix in ipairs(beside) do files[j] = real .. suffix end
    -- Its shared memory is made anew; readers write to it, too.
    list[i] = { type = "database", name = name, files = files,
      mends = { real .. "-shm" } }
  end
  return list
end

-- What is read live is read later than that.
local function is_live(event)
  for _, volume in ipairs(event.volumes or {}) do
    if volume.provider == "live" then return true end
  end
  return false
end

local function said_of(holder, databases, event)
  local said, live = {}, is_live(event)
  for i, name in ipairs(names(databases)) do
    said[name] = { consistency = "application",
      instant = not live and holder.instants[i] or nil }
  end
  return { components = said }
end

---@class saros.writers.sqlite.options
---@field databases string[] absolute paths of their files
---@field id? string its class: a GUID (`sqlite.id`)
---@field instance? string this one of its class, a GUID
---@field name? string "sqlite"
---@field level? "front_end"|"back_end"|"system" ("back_end")
---@field freeze_timeout? number seconds from its freeze to its thaw (60)
---@field lock_timeout? number seconds that it waits for those who write (10)
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes a writer for these databases. While a shadow is made it holds the
--- write lock of each (BEGIN IMMEDIATE). A database that is missing, damaged,
--- read-only, or locked by somebody for too long, fails the shadow with a
--- reason.
---@param options saros.writers.sqlite.options
---@return saros.vss.writer
function sqlite.writer(options)
  check_options(options)
  local databases = sorted(options.databases)
  local window = options.freeze_timeout or FREEZE_TIMEOUT
  local lock = options.lock_timeout or LOCK_TIMEOUT
  local holder

  local function thaw()
    if not holder then return true end
    local done = holder
    holder = nil
    return release(done)
  end

  return vss.writer {
    id = options.id or sqlite.id, instance = options.instance,
    name = options.name or "sqlite", level = options.level or "back_end",
    source = "transacted_db", freeze_timeout = window, guard = "process",
    listen = options.listen, state_dir = options.state_dir,
    identify = function() return { components = components(databases) } end,

    prepare_snapshot = function()
      for _, path in ipairs(databases) do
        local ok, err = get_ready(path)
        if not ok then return nil, err end
      end
    end,

    freeze = function(event)
      thaw()
      -- Something must be left of the window for the shadow itself.
      local seconds = math.min(lock, (event.deadline or window) * 0.8)
      local mine <const> = start(databases, seconds, window + 1)
      holder = mine -- before it is waited for: an abort finds it
      local held, err = hold(mine, databases, seconds)
      if not held then return nil, err end
      return said_of(mine, databases, event)
    end,

    thaw = thaw,

    abort = function()
      thaw()
      return true
    end,
  }
end


-- ------------------------------------------------------------------
-- The check
-- ------------------------------------------------------------------

-- What is waited for ends with the wait, also when that is cancelled.
local function finish(op)
  local _ <close> = op
  local result, err = op:wait()
  if result == nil then error(err, 0) end
  return result
end

-- A directory of its own, and what takes it away again: also when this is
-- cancelled while it is being made.
local function scratch(directory)
  local place = ("%s/saros-check-%016x"):format(directory
    or os.getenv "TMPDIR" or "/var/tmp", math.random(0))
  local mine = true
  return place, setmetatable({}, {
    __call = function()
      local mkdir <close> = saros.process {
        argv = { "mkdir", "-m", "700", "--", place } }
      local ok, err = mkdir:wait()
      mine = ok ~= nil
      if not ok then error(err, 0) end
    end,
    __close = function()
      if mine then surely.remove(place) end
    end,
  })
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function check(path, options)
  local place, make <close> = scratch(options.scratch)
  make()
  for _, suffix in ipairs(beside) do
    -- Its shared memory is made anew.
    if suffix ~= "-shm" and (suffix == "" or exists(path .. suffix)) then
      core.report { phase = "copying" }
      finish(saros.copy { from = path .. suffix,
        to = place .. "/check.db" .. suffix })
    end
  end
  core.report { phase = "checking" }
  local safe, why = known_of.guard(place .. "/check.db", path)
  if not safe then error(why, 0) end
  local problems, err = known_of.examine(place .. "/check.db")
  if problems and #problems == 0 then return { path = path } end
  if not problems then
    -- It speaks of the copy.
    problems = { err.message:sub(1, #place) == place
      and err.message:match "^[^:]*: (.*)" or err.message }
  end
  local failure = core.failure("saros", err and err.code or E.SAROS_E_DAMAGED,
    ("%s: the check found: %s%s"):format(path, problems[1],
      #problems > 1 and (" (and %d more)"):format(#problems - 1) or ""))
  failure.problems = problems
  error(failure, 0)
end

--- Checks a database that lies in a shadow (or anywhere where nobody writes to
--- it): `PRAGMA integrity_check` on a copy that SQLite may write to. What is in
--- its log counts, and what was not committed does not.
---@param path string
---@param options? { scratch: string?, name: string? } scratch: the directory for the copy ($TMPDIR, or /var/tmp)
---@return saros.operation op its result: `{ path }`; of one that is damaged `err.problems` is a list
function sqlite.check(path, options)
  if type(path) ~= "string" then
    error(("sqlite.check: argument 'path': string expected, got %s")
      :format(type(path)), 2)
  end
  options = options or {}
  if options.name then
    return saros.spawn({ name = options.name }, check, path, options)
  end
  return saros.spawn(check, path, options)
end

return sqlite
