---@private
-- What saros has made on this machine and what an uninstall would leave: of the
-- user who asks. Repositories and configurations are nobody's rubbish: they are
-- named, and stay.

local core = require "saros.core"
local shown = require "saros.text"

local leftovers = {}

-- ------------------------------------------------------------------
-- Where things are, without making them
-- ------------------------------------------------------------------

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function user_id()
  local file <close> = io.open "/proc/self/status"
  local text = file and file:read "a" or ""
  return math.tointeger(text:match "Uid:%s+%d+%s+(%d+)")
end

local function variable(name)
  local text = os.getenv(name)
  return text and text:sub(1, 1) == "/" and text or nil
end

--- The directory for state and the one for what runs; they need not be there.
---@param state_dir? string
---@return string state
---@return string run
function leftovers.directories(state_dir)
  if state_dir then return state_dir .. "/state", state_dir .. "/run" end
  local uid = user_id()
  if uid == 0 then return "/var/lib/saros", "/run/saros" end
  local own = "/tmp/saros-" .. tostring(uid)
  local home, runtime = variable "HOME", variable "XDG_RUNTIME_DIR"
  local state = variable "XDG_STATE_HOME"
    and variable "XDG_STATE_HOME" .. "/saros"
    or home and exists(home) and home .. "/.local/state/saros"
    or own .. "/state"
  return state, runtime and exists(runtime) and runtime .. "/saros"
    or own .. "/run"
end

local function run(...)
  local op <close> = core.process { argv = { ... }, stderr = "stdout",
    any_status = true, timeout = 120 }
  local result, err = op:wait()
  if result then return result.stdout, result.status end
  if err.cancelled then error(err, 0) end
  return err.message, -1
end

local function remove(path)
  local text, status = run("rm", "-rf", "--one-file-system", "--", path)
  if status ~= 0 then error(text, 0) end
end

local function bytes_of(path)
  local text, status = run("du", "-sb", "-x", "--", path)
  return status == 0 and math.tointeger(text:match "^%d+") or nil
end

-- Names in a directory that begin so.
local function named(directory, ...)
  if not exists(directory) then return {} end
  local list = {}
  for _, pattern in ipairs { ... } do
    local text, status = run("find", directory, "-mindepth", "1", "-maxdepth",
      "1", "-name", pattern, "-print0")
    if status == 0 then
      for path in text:gmatch "[^\0]+" do list[#list + 1] = path end
    end
  end
  table.sort(list)
  return list
end

-- Those of this user, which nobody else could have put there.
local function own(directory, ...)
  local list = {}
  for _, path in ipairs(named(directory, ...)) do
    local text = run("stat", "-c", "%u", "--", path)
    if math.tointeger(text:match "%d+") == user_id() then
      list[#list + 1] = path
    end
  end
  return list
end


-- ------------------------------------------------------------------
-- What there is
-- ------------------------------------------------------------------

-- The sets of shadows: who lives keeps his.
local function shadows_of(list, o, state)
  if not exists(state .. "/shadows") then return end
  local op <close> = require "saros.shadows".sets { state_dir = o.state_dir }
  local sets, err = op:wait()
  if not sets then error(err, 0) end
  for _, set in ipairs(sets) do
    local paths = {}
    for i, p in ipairs(set.snapshots) do paths[i] = p.original end
    list[#list + 1] = { kind = "shadow", name = set.id,
      what = "shadows of " .. table.concat(paths, " "),
      keep = set.held and "somebody uses them now" or nil,
      remove = function()
        local session <close> =
          require "saros.vss".components { state_dir = o.state_dir }
        session:initialize_for_backup()
        for _, p in ipairs(set.snapshots) do
          if p.exposed then session:unexpose_snapshot(p.id) end
        end
        session:delete_snapshots(set.id, { set = true })
      end }
  end
end

local function disks_of(list, o, state)
  if not exists(state) then return end
  local ok, vds = pcall(require, "saros.vds")
  if not ok then return end
  if o.state_dir then vds.config { state_dir = o.state_dir } end
  local good, disks = pcall(vds.virtual_disks)
  if not good then return end
  for _, v in ipairs(disks) do
    list[#list + 1] = { kind = "disk", name = tostring(v.file or v.path),
      what = "a file that is attached as a disk: detached, the file stays",
      remove = function()
        local op <close> = v:detach {}
        local done, err = op:wait()
        if not done then error(err, 0) end
      end }
  end
end

-- Who moves its transfers now; nil: nobody, or nobody can tell.
local function works_on(path)
  local ok, bits = pcall(require, "saros.bits")
  if not ok then return nil end
  local good, q = pcall(bits.manager, { path = path, observe = true })
  if not good then return nil end
  local _ <close> = q
  local owner = q:status().owned_by
  return owner and ("%s works on it now"):format(tostring(owner)) or nil
end

local function queues_of(list, state)
  for _, path in ipairs(named(state, "*.db")) do
    list[#list + 1] = { kind = "queue", name = path, keep = works_on(path),
      bytes = bytes_of(path), what = "a queue of transfers",
      remove = function()
        for _, suffix in ipairs { "", "-wal", "-shm" } do
          remove(path .. suffix)
        end
      end }
  end
end

local function places_of(list, o)
  for _, directory in ipairs { o.scratch or os.getenv "TMPDIR"
    or "/var/tmp" } do
    for _, path in ipairs(own(directory, "saros-kept*")) do
      list[#list + 1] = { kind = "kept", name = path, bytes = bytes_of(path),
        what = "what a drill restored, kept to be looked at",
        remove = function() remove(path) end }
    end
    for _, path in ipairs(own(directory, "saros-doctor-??????")) do
      list[#list + 1] = { kind = "trial", name = path, bytes = bytes_of(path),
        what = "what a doctor that was killed has tried",
        remove = function() remove(path) end }
    end
    for _, path in ipairs(own(directory, "saros-p.*")) do
      list[#list + 1] = { kind = "place", name = path, bytes = bytes_of(path),
        what = "what a drill or a check worked in",
        remove = function()
          -- Those that somebody uses stay.
          require "saros.place".sweep(directory)
          if exists(path) then error("somebody uses it now", 0) end
        end }
    end
  end
end

local function units_of(list)
  local units <const> = require "saros.systemd.units"
  for _, theirs in ipairs(user_id() == 0 and { false, true } or { true }) do
    local directory = units.directory(theirs)
    for _, name in ipairs(units.names(directory)) do
      list[#list + 1] = { kind = "unit", what = "a service and a timer of "
        .. (theirs and "the user's " or "") .. "systemd",
        name = ("%s/saros@%s"):format(directory, name), remove = function()
          units.remove { directory = directory, name = name, own = theirs,
            told = true }
        end }
    end
  end
end

local function configurations_of(list)
  local home = variable "XDG_CONFIG_HOME" or variable "HOME"
    and variable "HOME" .. "/.config"
  for _, path in ipairs { home and home .. "/saros" or "", user_id() == 0
    and "/etc/saros" or "" } do
    if path ~= "" and exists(path) then
      list[#list + 1] = { kind = "configuration", name = path,
        bytes = bytes_of(path), what = "what you have written",
        keep = "a password in there may be the only one to its repository: "
          .. "remove it by hand" }
    end
  end
end

-- Whoever writes a record now would lose it.
local function busy(o, state)
  if not exists(state .. "/runs") then return nil end
  local record = require "saros.record"
  for _, one in ipairs(record.list { state_dir = o.state_dir }) do
    if one.state == "running" then
      return ("%s goes on now"):format(one.name or one.kind)
    end
  end
end

local function directories_of(list, o, state, runtime)
  local keep = busy(o, state)
  for i, path in ipairs { state, runtime } do
    if exists(path) then
      list[#list + 1] = { kind = i == 1 and "state" or "runtime",
        name = path, bytes = bytes_of(path),
        what = i == 1 and "records of runs, and of shadows"
          or "locks and sockets",
        keep = keep, last = true, remove = function() remove(path) end }
    end
  end
end

--- A list of `{ kind, name, what, bytes, keep }`, in the order in which it goes;
--- `keep` says why it stays. Raises.
---@param o { state_dir: string?, scratch: string? }
function leftovers.list(o)
  local list = {}
  local state, runtime = leftovers.directories(o.state_dir)
  shadows_of(list, o, state)
  disks_of(list, o, state)
  queues_of(list, state)
  places_of(list, o)
  if not o.state_dir then
    units_of(list)
    configurations_of(list)
  end
  directories_of(list, o, state, runtime)
  return list
end

--- Removes what is not kept. The directories go when all that they know of has
--- gone. Calls `told(item, err)` for each.
---@param list table[] as `list` gave it
---@param told fun(item: table, err: string?)
---@return integer failed
function leftovers.remove(list, told)
  local failed, needed = 0, false
  for _, item in ipairs(list) do
    if item.keep and (item.kind == "shadow" or item.kind == "queue") then
      needed = true
    end
    if not item.keep then
      local err
      if item.last and needed then
        err = "it knows of what is still there"
      else
        local ok, why = pcall(item.remove)
        if not ok then
          if type(why) == "table" and why.cancelled then error(why, 0) end
          err = type(why) == "table" and why.message or tostring(why)
        end
      end
      if err then
        failed = failed + 1
        needed = needed or item.kind == "shadow" or item.kind == "disk"
      end
      told(item, err and shown.safe(err))
    end
  end
  return failed
end

return leftovers
