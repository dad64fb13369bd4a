--- The shadows that there are on this machine: those that were meant to stay,
--- those that somebody holds now, and those whose owner is dead.
---
--- ```lua
--- local shadows = require "saros.shadows"
--- for _, set in ipairs(assert(shadows.sets {}:wait())) do print(set) end
--- assert(shadows.prune { keep = { daily = 7 } }:wait())
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local retention = require "saros.retention"
local shown = require "saros.text"
local vss = require "saros.vss"

---@class saros.shadows
local shadows = {}

-- 100 ns since 1601, as the original has them.
local function unix_time(p)
  local t = math.type(p.created_100ns) == "integer" and p.created_100ns
  return t and t / 1e7 - 11644473600 or 0
end

---@class saros.shadows.set
---@field id string
---@field time number seconds since 1970
---@field created string RFC 3339
---@field persistent boolean it was meant to stay
---@field held boolean its owner lives, and it goes with him
---@field left boolean its owner is dead: `vss.reap` takes it away
---@field exposed boolean
---@field missing? string why it, or some of it, cannot be there any more
---@field snapshots saros.vss.snapshot[]

local class = { __name = "saros.shadows.set", __tostring = function(set)
  local paths = {}
  for i, p in ipairs(set.snapshots) do paths[i] = shown.safe(p.original) end
  return ("%s  %s  %s  (%s)"):format(set.id, shown.clock(set.created),
    table.concat(paths, " "), set.persistent and "stays"
    or set.left and "its owner is dead" or "held")
end }

local function set_of(p)
  local alive = type(p.owner) ~= "table" or core.owner_lives(p.owner)
  local stays = p.persistent == true
  return setmetatable({ id = p.set, time = unix_time(p), created = p.created,
    persistent = stays, held = not stays and alive, left = not stays
    and not alive, exposed = false, snapshots = {} }, class)
end

-- The sets of a list of shadows, the oldest first; in each by their originals.
local function sets_of(list)
  local by, sets = {}, {}
  for _, p in ipairs(list) do
    local set = by[p.set]
    if not set then
      set = set_of(p)
      by[p.set] = set
      sets[#sets + 1] = set
    end
    set.snapshots[#set.snapshots + 1] = p
    set.missing = set.missing or p.missing
    set.exposed = set.exposed or p.exposed ~= nil
  end
  for _, set in ipairs(sets) do
    table.sort(set.snapshots, function(a, b)
      if a.original ~= b.original then return a.original < b.original end
      return a.id < b.id
    end)
  end
  table.sort(sets, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.id < b.id
  end)
  return sets
end

-- A session in which shadows are looked after.
local function session_of(state_dir)
  local session = vss.components { state_dir = state_dir }
  session:initialize_for_backup()
  return session
end

--- Everything that there is, the oldest first.
---@param options? { state_dir: string?, name: string? }
---@return saros.operation op its result: `saros.shadows.set[]`
function shadows.sets(options)
  local o = arguments.check("shadows.sets", options, { state_dir = "string",
    name = "string" })
  return core.spawn(function()
    local session <close> = session_of(o.state_dir)
    return sets_of(session:query())
  end)
end


-- ------------------------------------------------------------------
-- Which go
-- ------------------------------------------------------------------

local function group_of(set)
  local paths = {}
  for i, p in ipairs(set.snapshots) do paths[i] = p.original end
  table.sort(paths)
  return table.concat(paths, "\0")
end

--- Of those that were meant to stay: the ones that no rule keeps, the oldest
--- first, and the ones that stay, each with why. Sets of the same paths are
--- judged together. Nothing is done.
---@param sets saros.shadows.set[]
---@param rules table as `shadows.prune` has them
---@return saros.shadows.set[] go
---@return { set: saros.shadows.set, why: string[] }[] stay
function shadows.plan(sets, rules)
  local groups, order, go, stay = {}, {}, {}, {}
  for i = #sets, 1, -1 do
    local set = sets[i]
    if set.persistent then
      local key = group_of(set)
      if not groups[key] then
        groups[key] = {}
        order[#order + 1] = key
      end
      table.insert(groups[key], set)
    end
  end
  for _, key in ipairs(order) do
    local group = groups[key]
    local why = retention.judge(group, rules)
    for i, set in ipairs(group) do
      if why[i] then
        stay[#stay + 1] = { set = set, why = why[i] }
      elseif set.exposed then
        stay[#stay + 1] = { set = set, why = { "exposed" } }
      else
        go[#go + 1] = set
      end
    end
  end
  local function older(a, b) return (a.set or a).time < (b.set or b).time end
  table.sort(go, older)
  table.sort(stay, older)
  return go, stay
end


-- ------------------------------------------------------------------
-- Room
-- ------------------------------------------------------------------

local function run(...)
  local op <close> = core.process { argv = { ... }, stderr = "stdout",
    any_status = true }
  local result, err = op:wait()
  if result then return result.stdout, result.status end
  if err.cancelled then error(err, 0) end
  return err.message, -1
end

-- What lies on the file system that a shadow takes room of; of an image or a
-- logical volume that is another one than anybody sees here.
local function lies(p)
  if p.provider == "copy" then return p.path end
  if p.provider == "btrfs" or p.provider == "reflink" then return p.original end
end

-- How much of that is free, in percent.
local function room_of(p)
  local path = lies(p)
  if not path then return nil end
  local text, status = run("stat", "-f", "-c", "%b %a", "--", path)
  local blocks, free = text:match "^(%d+) (%d+)"
  if status ~= 0 or not blocks or tonumber(blocks) == 0 then return nil end
  return 100 * tonumber(free) / tonumber(blocks)
end

-- What was deleted of btrfs is free a moment later: when its cleaner has come
-- by, which a commit wakes.
local function settle(set)
  for _, p in ipairs(set.snapshots) do
    if p.provider == "btrfs" then
      run("btrfs", "filesystem", "sync", p.original)
      run("btrfs", "subvolume", "sync", "-s", "1", p.original)
    end
  end
end

-- Deletes the oldest, of each file system that has less room than it should,
-- and of the sets of the same paths never the newest.
local function make_room(o, stay, drop)
  local newest = {}
  for _, one in ipairs(stay) do newest[group_of(one.set)] = one.set end
  for _, one in ipairs(stay) do
    local set = one.set
    local short = false
    for _, p in ipairs(set.snapshots) do
      local free = room_of(p)
      short = short or free and free < o.keep_free
    end
    if short and newest[group_of(set)] ~= set and not set.exposed then
      drop(set, "room")
      settle(set)
    end
  end
end


-- ------------------------------------------------------------------
-- The task
-- ------------------------------------------------------------------

local function prune(o)
  local session <close> = session_of(o.state_dir)
  local sets = sets_of(session:query())
  local r = { deleted = {}, kept = {}, failed = {}, dry_run = o.dry_run }
  local gone = {}
  local function drop(set, why)
    core.report { phase = "delete " .. set.id, done = #r.deleted }
    if not o.dry_run then
      local ok, err = pcall(session.delete_snapshots, session, set.id,
        { set = true })
      if not ok then
        if type(err) == "table" and err.cancelled then error(err, 0) end
        r.failed[#r.failed + 1] = { set = set, message = tostring(err) }
        return
      end
    end
    gone[set] = true
    r.deleted[#r.deleted + 1] = { set = set, why = why }
  end
  local go, stay
  if retention.has_rules(o.keep) then
    go, stay = shadows.plan(sets, o.keep)
  else
    go, stay = shadows.plan(sets, { last = -1 })
  end
  for _, set in ipairs(go) do drop(set, "no rule keeps it") end
  if o.keep_free then make_room(o, stay, drop) end
  for _, one in ipairs(stay) do
    if not gone[one.set] then r.kept[#r.kept + 1] = one end
  end
  return r
end

local rules <const> = { last = "integer", hourly = "integer",
  daily = "integer", weekly = "integer", monthly = "integer",
  yearly = "integer", within = "number" }

---@class saros.shadows.prune.options
---@field keep? { last: integer?, hourly: integer?, daily: integer?, weekly: integer?, monthly: integer?, yearly: integer?, within: number? } what stays, by sets of the same paths; nothing: all, but for `keep_free`
---@field keep_free? number percent: while the file system of a shadow by btrfs, reflink or copy has less room, the oldest go, also those that a rule keeps; the newest of the same paths stays. A dry run names all that might have to
---@field dry_run? boolean only say which
---@field state_dir? string
---@field name? string of the operation

--- Deletes shadows that were meant to stay, and that no rule keeps. What is
--- exposed stays.
---@param options saros.shadows.prune.options
---@return saros.operation op its result: `{ deleted = { { set, why } }, kept = { { set, why } }, failed = { { set, message } } }`
function shadows.prune(options)
  local what <const> = "shadows.prune"
  local o = arguments.check(what, options, { keep = "table",
    keep_free = "number", dry_run = "boolean", state_dir = "string",
    name = "string" })
  o.keep = arguments.check(what .. ": option 'keep'", o.keep or {}, rules)
  if not retention.has_rules(o.keep) and not o.keep_free then
    error(what .. ": say what is to stay: keep = { daily = 7 }, or "
      .. "keep_free = 20", 2)
  end
  if o.keep_free and not (o.keep_free > 0 and o.keep_free < 100) then
    error(what .. ": option 'keep_free': percent expected, more than 0 and "
      .. "less than 100", 2)
  end
  return core.spawn(prune, o)
end

return shadows
