---@private
-- The catalogue: what is known of the versions in a repository. It is in the
-- repository, so it goes where that goes, and stock restic sees versions like
-- any others:
--   what was known when a version was made lies in it (`/.saros`);
--   what could only be known when its files had been read, in one of its own
--   (`/.saros-late/…`), of the same time, so that what keeps one keeps both;
--   what was learned later, of all versions, in small ones (`/.saros-learned`)
--   that name a version by its guid. Each has what those before it had.

local core = require "saros.core"
local files = require "saros.wsb.files"
local format = require "saros.format"
local manifest = require "saros.wsb.manifest"

local catalogue = {}

local fail, within = files.fail, files.within

-- So many results of the past are carried on.
local MOST_FACTS <const> = 20000


-- ------------------------------------------------------------------
-- Reading
-- ------------------------------------------------------------------

-- A small file of a version; nil: there is none.
local function dumped(repo, id, path)
  local pieces, size = {}, 0
  local op <close> = repo:dump { version = id, path = path,
    to = function(piece)
      size = size + #piece
      if size > 64 << 20 then
        fail("SAROS_E_DAMAGED", "%s is larger than any that saros writes", path)
      end
      pieces[#pieces + 1] = piece
    end }
  local ok, err = op:wait()
  if ok then return table.concat(pieces) end
  return nil, err
end

-- Raises when a newer program wrote it: what it says may be what bars a version.
local function known(what, found, version)
  local newer = format.newer(what, found, version)
  if newer then error(newer, 0) end
end

-- f of each of a list, several at a time: then they share one lock, and wait for
-- it once. A list of { result } or { nil, err }.
local function each(list, f)
  local results <const> = {}
  for first = 1, #list, 32 do
    local ops <close> = setmetatable({}, { __close = function(ops)
      for _, op in ipairs(ops) do op:close() end
    end })
    for i = first, math.min(first + 31, #list) do
      ops[#ops + 1] = core.spawn(f, list[i], i)
    end
    for i, op in ipairs(ops) do
      local result, err = op:wait()
      results[first + i - 1] = { result, err }
    end
  end
  return results
end

-- Files of versions, { id, path } each.
local function dumped_all(repo, wanted)
  return each(wanted, function(one) return dumped(repo, one[1], one[2]) end)
end

-- Whether one of a version's paths is this one, or in it.
local function has_path(version, path)
  for _, one in ipairs(version.paths or {}) do
    if within(one, path) then return one end
  end
  return nil
end

-- "2026-11-23T12:00:00.5+01:00" as something that is comparable: an instant.
local function instant(time)
  local y, mo, d, h, mi, s, zone = tostring(time):match
    "^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d%.?%d*)(.*)$"
  if not y then return 0 end
  local sign, zh, zm = zone:match "^([+-])(%d+):(%d+)$"
  local offset = zh and (zh * 3600 + zm * 60) * (sign == "-" and -1 or 1) or 0
  -- Days since 1970, of the proleptic calendar.
  y, mo, d = math.tointeger(y), math.tointeger(mo), math.tointeger(d)
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * mo - 457) // 5
    + d - 719469
  return days * 86400 + h * 3600 + mi * 60 + tonumber(s) - offset
end

catalogue.instant = instant

local function newest_first(list)
  table.sort(list, function(a, b)
    local x, y = instant(a.time), instant(b.time)
    if x ~= y then return x > y end
    return a.id > b.id
  end)
  return list
end

-- All versions, and of them those that saros made, of which the newest is first.
local function listed(repo, filter)
  local all, ours = repo:versions(), {}
  local chosen = {}
  for _, v in ipairs(filter and repo:versions(filter) or all) do
    chosen[v.id] = true
  end
  for _, v in ipairs(all) do
    if chosen[v.id] and not v.error and has_path(v, manifest.DIRECTORY) then
      ours[#ours + 1] = v
    end
  end
  return newest_first(ours), all
end

local function find(repo, which, filter)
  local ours, all = listed(repo, filter)
  if which == "latest" then
    if ours[1] then return ours[1], all end
    fail("ERROR_NOT_FOUND",
      "there is no version with applications in the repository: a workflow "
      .. "that names their writers makes one")
  end
  local found
  for _, v in ipairs(ours) do
    if #which >= 4 and v.id:sub(1, #which) == which:lower() then
      if found then
        fail("E_INVALIDARG", "%s is the beginning of several versions' ids",
          which)
      end
      found = v
    end
  end
  -- By its guid, which it keeps where its id changes.
  for _, v in ipairs(found and {} or ours) do
    for _, tag in ipairs(v.tags or {}) do
      if tag == "saros-id:" .. which:lower() then found = found or v end
    end
  end
  if found then return found, all end
  fail("ERROR_NOT_FOUND", "there is no version %s with applications in it",
    which)
end


-- ------------------------------------------------------------------
-- Late
-- ------------------------------------------------------------------

-- What was stored when the files of this version had been read.
local function late_of(repo, m, version, all)
  if type(m.late) ~= "string" or not files.is_path(m.late)
    or not within(m.late, manifest.LATE)
  then
    return nil
  end
  local list, at = {}, instant(version.time)
  for _, v in ipairs(all) do
    if not v.error and has_path(v, m.late) then list[#list + 1] = v end
  end
  -- They are of one time, unless somebody changed that.
  table.sort(list, function(a, b)
    local x = math.abs(instant(a.time) - at)
    local y = math.abs(instant(b.time) - at)
    if x ~= y then return x < y end
    return a.id < b.id
  end)
  -- Mostly it is the first.
  local file <const> = ("%s/%s/late.json"):format(m.late, m.guid)
  for _, range in ipairs { { 1, 1 }, { 2, #list } } do
    local wanted = {}
    for i = range[1], math.min(range[2], #list) do
      wanted[#wanted + 1] = { list[i].id, file }
    end
    for i, one in ipairs(dumped_all(repo, wanted)) do
      local found = one[1] and core.json_read(one[1])
      known("what was stored late of this version", found, format.late)
      if type(found) == "table" and found.id == m.guid
        and type(found.components) == "table"
      then
        return found, wanted[i][1]
      end
    end
  end
  return nil
end

local function join_late(repo, m, version, all)
  local wanted = false
  for _, c in ipairs(m.components) do wanted = wanted or c.late end
  local late, id = late_of(repo, m, version, all)
  for _, c in ipairs(m.components) do
    local more
    for _, one in ipairs(late and late.components or {}) do
      if type(one) == "table" and one.n == c.n then more = one end
    end
    if more then
      local additions = type(more.additions) == "table" and more.additions
        or {}
      manifest.check_additions(additions, c)
      for _, one in ipairs(additions) do
        c.additions[#c.additions + 1] = { from = one.from, to = one.to,
          version = id, directory = m.late .. "/" .. m.guid }
      end
      if type(more.said) == "table" then c.said = more.said end
      for _, name in ipairs { "consistency", "position", "why" } do
        if type(more[name]) == "string" then c[name] = more[name] end
      end
      if more.recoverable == false then c.recoverable = false end
    elseif c.late then
      c.recoverable = false
      c.why = c.why or "the backup ended before all that belongs to it was "
        .. "stored"
    end
  end
  m.partial = wanted and not late or nil
  m.consistency = manifest.reached(m)
end


-- ------------------------------------------------------------------
-- Learned
-- ------------------------------------------------------------------

local FILE <const> = manifest.LEARNED .. "/learned.json"

local function key_of(fact)
  return ("%s/%s/%s"):format(fact.guid, fact.n, fact.what)
end

local function is_fact(fact)
  return type(fact) == "table" and type(fact.guid) == "string"
    and math.type(fact.n) == "integer" and type(fact.what) == "string"
    and type(fact.time) == "string" and type(fact.is) == "table"
end

-- The newest of each, of the facts of several versions.
local function join(lists)
  local by, list = {}, {}
  for _, facts in ipairs(lists) do
    for _, fact in ipairs(facts) do
      if is_fact(fact) then
        local key = key_of(fact)
        if not by[key] or instant(by[key].time) < instant(fact.time) then
          by[key] = fact
        end
      end
    end
  end
  for _, fact in pairs(by) do list[#list + 1] = fact end
  table.sort(list, function(a, b)
    local x, y = instant(a.time), instant(b.time)
    if x ~= y then return x > y end
    return key_of(a) < key_of(b)
  end)
  return list
end

-- What each of the versions with learned facts has, the newest first; and which
-- those are.
local function learned(repo, all)
  local lists, ids, wanted = {}, {}, {}
  for _, v in ipairs(newest_first(table.move(all, 1, #all, 1, {}))) do
    if not v.error and has_path(v, manifest.LEARNED) then
      wanted[#wanted + 1] = { v.id, FILE }
      ids[v.id] = true
    end
  end
  for _, one in ipairs(dumped_all(repo, wanted)) do
    local found = one[1] and core.json_read(one[1])
    known("what was learned of the versions here", found, format.learned)
    if type(found) == "table" and type(found.facts) == "table" then
      lists[#lists + 1] = found.facts
    end
  end
  return lists, ids
end

local function join_learned(m, facts)
  for _, fact in ipairs(facts) do
    local c = fact.guid == m.guid and m.components[fact.n]
    -- Of what kinds there may be more some day, and they are carried on.
    if c and fact.what == "drill" then
      c.drill = fact.is
      if fact.is.ok == false then
        c.recoverable = false
        c.why = ("a drill failed (%s): %s"):format(fact.time,
          tostring(fact.is.message or "it gave no reason"))
      end
    end
  end
end

local function scratch()
  return require "saros.place".new {}
end

local function store(repo, facts)
  local place <close> = scratch()
  files.write(place.root .. "/learned.json", core.json_write(
    format.stamp({ facts = table.move(facts, 1, math.min(#facts, MOST_FACTS), 1,
      {}) }, format.learned), true))
  -- Of no host: so they are a group of their own, of which the newest has all.
  return files.finish(repo:backup { host = "saros",
    sources = { { path = place.root, origin = { path = manifest.LEARNED } } },
    tags = { "saros-learned" }, force = true }).id
end

-- Whether facts that one has read are all that there are.
local function has_all(facts, all)
  local times = {}
  for _, fact in ipairs(facts or {}) do
    if is_fact(fact) then times[key_of(fact)] = fact.time end
  end
  for i = 1, math.min(#all, MOST_FACTS) do
    if times[key_of(all[i])] ~= all[i].time then return false end
  end
  return true
end

-- What is learned now is newer than all that was known, also when the clock was
-- set back.
local function be_newest(mine, lists)
  for _, fact in ipairs(join(lists)) do
    if key_of(fact) == key_of(mine)
      and instant(fact.time) >= instant(mine.time)
    then
      local ms = math.floor(instant(fact.time) * 1000 + 0.5) + 1
      mine.time = os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000)
        .. (".%03dZ"):format(ms % 1000)
    end
  end
end

--- Adds what was learned of a component of a version. Raises.
---@param repo saros.repository.handle
---@param guid string of the manifest
---@param fact { component: table|integer, drill: table }
function catalogue.learn(repo, guid, fact)
  local n = type(fact.component) == "table" and fact.component.n
    or fact.component
  local mine = { guid = guid, n = n, what = "drill", is = fact.drill,
    time = fact.drill.time or os.date "!%Y-%m-%dT%H:%M:%S.000Z" }
  if not is_fact(mine) then
    error("catalogue.learn: a component and what its drill found expected", 2)
  end
  -- Somebody else may learn at the same time: then neither has all, until one
  -- has seen both.
  local lists, seen = learned(repo, repo:versions())
  be_newest(mine, lists)
  lists[#lists + 1] = { mine }
  for _ = 1, 8 do
    local id = store(repo, join(lists))
    seen[id] = true
    local others, all = false, repo:versions()
    for _, v in ipairs(all) do
      others = others or not v.error and not seen[v.id]
        and has_path(v, manifest.LEARNED) ~= nil
    end
    if not others then return end
    lists, seen = learned(repo, all)
    if has_all(lists[1], join(lists)) then return end
    lists[#lists + 1] = { mine }
  end
end


-- ------------------------------------------------------------------
-- Both
-- ------------------------------------------------------------------

local MANIFEST <const> = manifest.DIRECTORY .. "/manifest.json"

-- What tells that it is not there, or not as it was written. A lock, say, tells
-- nothing of it.
local is_damage <const> = { SAROS_E_DAMAGED = true, ERROR_NOT_FOUND = true,
  ERROR_FILE_NOT_FOUND = true, ERROR_PATH_NOT_FOUND = true,
  VSS_E_OBJECT_NOT_FOUND = true }

-- The manifest of a version, with all that came after it.
local function whole(repo, version, all, facts, one)
  local text, err = one[1], one[2]
  if not text then
    if not is_damage[err.name] then error(err, 0) end
    fail("SAROS_E_DAMAGED", "the manifest of version %s cannot be read: %s",
      version.id:sub(1, 8), err.message)
  end
  local m = manifest.read(text, version.paths or {})
  m.version, m.id, m.time = version, version.id, version.time
  join_late(repo, m, version, all)
  join_learned(m, facts)
  return m
end

--- What is known of a version. Raises.
---@param repo saros.repository.handle
---@param which? string "latest", an id, or a guid
---@param filter? saros.repository.filter
function catalogue.read(repo, which, filter)
  local version, all = find(repo, which or "latest", filter)
  local one = dumped_all(repo, { { version.id, MANIFEST } })[1]
  return whole(repo, version, all, join((learned(repo, all))), one)
end

--- The same of all versions, the oldest first; of one that cannot be read
--- `error`. Raises.
---@param repo saros.repository.handle
---@param filter? saros.repository.filter
function catalogue.versions(repo, filter)
  local ours, all = listed(repo, filter)
  local facts, list, wanted = join((learned(repo, all))), {}, {}
  for i, v in ipairs(ours) do wanted[i] = { v.id, MANIFEST } end
  local texts = dumped_all(repo, wanted)
  local made = each(ours, function(v, i)
    return whole(repo, v, all, facts, texts[i])
  end)
  for i = #ours, 1, -1 do
    list[#list + 1] = made[i][1] or { id = ours[i].id, version = ours[i],
      time = ours[i].time, components = {}, error = made[i][2] }
  end
  return list
end

return catalogue
