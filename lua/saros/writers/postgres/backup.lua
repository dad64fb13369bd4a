---@private
-- Backup mode, for files that are not all of one instant: begun before the
-- first is read, ended when the last was, by one session. What makes them
-- whole is what the end says: a label, and the log from the beginning to the
-- end. The log is taken from the running server, which may throw it away: a
-- slot keeps it, and each file is looked at before and after.

local core = require "saros.core"
local E = require "saros.code"
local cluster = require "saros.writers.postgres.cluster"

local rows = cluster.rows

local backup = {}

-- As many as fit a command line.
local BATCH <const> = 200
local HEADER <const> = 24

local function run(...)
  local op <close> = core.process { argv = { ... }, limit = 16 << 20,
    env = { LC_ALL = "C" } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result.stdout
end

local function fail(text, ...)
  error(core.failure("saros", E.SAROS_E_DAMAGED, text:format(...)), 0)
end

-- nil, or why the log is not held. A slot of our session goes with it.
local function hold_log(db, label)
  local ok, err = pcall(rows, db, "SELECT pg_create_physical_replication_slot("
    .. "$1, true, true)", "saros_" .. label:lower():gsub("[^%w]", "_"))
  if ok then return nil end
  if err.cancelled or not err.sqlstate or not db:is_open() then
    error(err, 0)
  end
  return ("no slot holds the log, so the server may remove it before it is "
    .. "copied, and then there is no backup: %s"):format(err.server
    or err.message)
end

--- Begins. Raises. A checkpoint is made at once: that is for prepare_snapshot,
--- where nobody waits.
---@return string? note what is not as good as it could be
function backup.start(db, who, label)
  local note = hold_log(db, label:sub(-36))
  if who.number >= 150000 then
    rows(db, "SELECT pg_backup_start($1, true)", label)
  else
    rows(db, "SELECT pg_start_backup($1, true, false)", label)
  end
  return note
end

local function position(text)
  local high, low = text:match "^(%x+)/(%x+)$"
  if not high then fail("%q is no position in the log", text) end
  return tonumber(high, 16) << 32 | tonumber(low, 16)
end

-- The names of the files of the log from one to the position where it ends.
local function names(first, stop, segment)
  local timeline, high, low = first:sub(1, 8), first:sub(9, 16),
    first:sub(17)
  local per = 0x100000000 // segment
  local from = tonumber(high, 16) * per + tonumber(low, 16)
  local to = (stop - 1) // segment
  local list = {}
  for n = from, to do
    list[#list + 1] = ("%s%08X%08X"):format(timeline, n // per, n % per)
  end
  return list, from
end

-- Which file a name is now; each by its name.
local function look(directory, list, from, to)
  local argv = { "stat", "-c", "%i %s %n", "--" }
  for i = from, to do argv[#argv + 1] = directory .. "/" .. list[i] end
  local op <close> = core.process { argv = argv, limit = 16 << 20,
    any_status = true }
  local result, err = op:wait()
  if not result then error(err, 0) end
  local found = {}
  for file, size, name in result.stdout:gmatch "(%d+) (%d+) [^\n]*/(%x+)\n" do
    found[name] = { file = file, size = math.tointeger(size) }
  end
  return found
end

-- The first page of a file of the log says which one it is.
local function is_that(path, number, segment)
  local file <close> = io.open(path, "rb")
  local bytes = file and file:read(HEADER)
  if not bytes or #bytes < HEADER then return false end
  return string.unpack("=I8", bytes, 9) == number * segment
end

local function copy_log(who, list, first, to)
  for from = 1, #list, BATCH do
    local last = math.min(#list, from + BATCH - 1)
    local before = look(who.wal, list, from, last)
    local argv = { "cp", "-p", "--reflink=auto", "-t", to, "--" }
    for i = from, last do
      local name = list[i]
      if not before[name] then
        fail("the server has removed %s from its log already, without which "
          .. "the backup is none: raise wal_keep_size, or allow a replication "
          .. "slot more", name)
      end
      argv[#argv + 1] = who.wal .. "/" .. name
    end
    run(table.unpack(argv))
    -- One that was used again while it was copied has another name now.
    local after = look(who.wal, list, from, last)
    local copied = look(to, list, from, last)
    for i = from, last do
      local name = list[i]
      if not after[name] or after[name].file ~= before[name].file
        or not copied[name] or copied[name].size ~= who.segment
        or not is_that(to .. "/" .. name, first + i - 1, who.segment)
      then
        fail("the server has used %s of its log again while it was copied: "
          .. "raise wal_keep_size, or allow a replication slot more", name)
      end
    end
  end
end

local function write(path, text, who)
  local file <close> = assert(io.open(path, "wb"))
  local ok, err = file:write(text)
  ok, err = ok and file:flush(), err
  if not ok then fail("%s: %s", path, tostring(err)) end
  file:close()
  run("chmod", "600", "--", path)
  run("chown", "--reference=" .. who.data .. "/PG_VERSION", "--", path)
end

-- The end is on the server's disk before we look there.
local function flushed(db, stop)
  while rows(db, "SELECT 1 AS yes WHERE pg_current_wal_flush_lsn() >= "
    .. "$1::pg_lsn", stop)[1] == nil
  do
    local pause <close> = core.sleep(0.02)
    pause:wait()
  end
end

--- Ends it, and collects what belongs over the files into a place. Raises: then
--- the files are worth nothing.
---@return { stop: string, first: string, last: string, additions: table[] }
function backup.stop(db, who, stage)
  local row = rows(db, who.number >= 150000
    and "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)"
    or "SELECT lsn::text, labelfile, spcmapfile FROM "
      .. "pg_stop_backup(false, false)")[1]
  flushed(db, row.lsn)
  local first = row.labelfile:match "START WAL LOCATION: %x+/%x+ %(file (%x+)%)"
  if not first or #first ~= 24 then
    fail("the server's label does not say where its log begins")
  end
  local list, number = names(first, position(row.lsn), who.segment)
  if #list == 0 then fail("the backup ends before it begins") end
  local over, log = stage.root .. "/data", stage.root .. "/pg_wal"
  run("mkdir", "-m", "700", "--", over, log)
  run("chown", "--reference=" .. who.data, "--", over, log)
  copy_log(who, list, number, log)
  run("find", who.wal .. "/", "-maxdepth", "1", "-name", "*.history", "-exec",
    "cp", "-p", "-t", log, "--", "{}", "+")
  write(over .. "/backup_label", row.labelfile, who)
  if (row.spcmapfile or "") ~= "" then
    write(over .. "/tablespace_map", row.spcmapfile, who)
  end
  return { stop = row.lsn, first = list[1], last = list[#list], additions = {
    { path = over, to = who.data }, { path = log, to = who.wal } } }
end

return backup
