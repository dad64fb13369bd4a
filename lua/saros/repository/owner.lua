-- Which host prunes a repository that several share: the newest version with
-- this tag says so. It goes where the repository goes; restic shows it, and may
-- remove it: then anybody may prune until somebody claims it again.

local floor = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local catalogue = require "saros.wsb.catalogue"
local core = require "saros.repository.core"
local files = require "saros.wsb.files"
local format = require "saros.format"

---@class saros.repository.handle
local handle = core.methods

local TAG <const> = "saros-prune-owner"
local PLACE <const> = "/.saros-prune-owner"

-- So old a note is renewed by who owns it: rules of restic know no notes, and
-- what is young they keep.
local RENEWED <const> = 7 * 24 * 3600

local instant = catalogue.instant

-- All notes, the newest first.
local function notes(repo)
  local list = {}
  for _, v in ipairs(repo:versions { tags = TAG }) do
    if not v.error then list[#list + 1] = v end
  end
  table.sort(list, function(a, b)
    local x, y = instant(a.time), instant(b.time)
    if x ~= y then return x > y end
    return a.id > b.id
  end)
  return list
end

---@class saros.repository.prune_owner
---@field host string
---@field time string since when, RFC 3339
---@field id string of the version that says so

--- Which host prunes here, as `repo:claim_prune` has settled it; nil: any may.
---@return saros.repository.prune_owner?
function handle:prune_owner()
  local note = notes(self)[1]
  return note and { host = note.hostname or "?", time = note.time,
    id = note.id }
end

local function store(repo, host, newest)
  local place <close> = require "saros.place".new {}
  files.write(place.root .. "/owner.json", floor.json_write(format.stamp({
    host = host }, format.prune_owner), true))
  -- Newer than what it takes the place of, also when the clock was set back.
  local now = os.time()
  local least = newest and math.floor(instant(newest.time)) + 1 or 0
  return files.finish(repo:backup { host = host, tags = { TAG }, force = true,
    time = math.max(now, least),
    sources = { { path = place.root, origin = { path = PLACE } } } }).id
end

local function refuse(note)
  error(floor.failure("saros", E.SAROS_E_REFUSED, ("%s prunes this repository "
    .. "(since %s): `force` lets this host prune it from now on")
    :format(require "saros.text".safe(note.hostname or "?"), note.time)), 0)
end

-- Takes notes away. Two who claim it at once may do so with the same one: then
-- nothing is removed, and what is left is looked for again.
local function drop(repo, ids)
  local wanted, ok, err = {}, true, nil
  for _, id in ipairs(ids) do wanted[id] = true end
  for _ = 1, 3 do
    local left = {}
    for _, note in ipairs(notes(repo)) do
      if wanted[note.id] then left[#left + 1] = note.id end
    end
    if #left == 0 then return true end
    ok, err = repo:forget { ids = left }:wait()
    if ok or err.code ~= E.E_INVALIDARG then break end
  end
  return ok, err
end

local function claim(repo, host, force)
  local before <const> = notes(repo)
  local newest = before[1]
  if newest and newest.hostname ~= host and not force then refuse(newest) end
  local known <const> = {}
  for _, note in ipairs(before) do known[note.id] = true end
  local is_young = newest and newest.hostname == host
    and os.time() - instant(newest.time) < RENEWED
  local mine = is_young and newest.id or store(repo, host, newest)
  -- Two may claim it at once: the newest note counts, for both.
  local after <const>, old = notes(repo), {}
  if after[1].id ~= mine and not known[after[1].id] then
    local ok, err = drop(repo, { mine })
    if not ok then error(err, 0) end
    refuse(after[1])
  end
  for _, note in ipairs(after) do
    if note.id ~= mine then old[#old + 1] = note.id end
  end
  if #old > 0 then
    -- They count no more; while somebody reads they may stay.
    local ok, err = drop(repo, old)
    if not ok and err.code ~= E.SAROS_E_LOCKED then error(err, 0) end
  end
  for _, note in ipairs(after) do
    if note.id == mine then
      return { host = host, time = note.time, id = mine }
    end
  end
end

---@class saros.repository.claim
---@field host? string the name of this host (the machine's)
---@field force? boolean also where another host prunes
---@field name? string of the operation

--- From now on this host prunes the repository, and no other does: `repo:prune`
--- fails there and says who does it, and `repo:forget { prune = true }` forgets
--- and leaves the rest to this one. SAROS_E_REFUSED when it is another's already.
---@param options? saros.repository.claim
---@return saros.operation op its result: `saros.repository.prune_owner`
function handle:claim_prune(options)
  local o <const> = arguments.check("repo:claim_prune", options,
    { host = "string", force = "boolean", name = "string" })
  local host = o.host
    or (files.content "/proc/sys/kernel/hostname" or ""):gsub("\n$", "")
  return floor.spawn_as("repository.claim_prune", o.name, claim, self, host,
    o.force or false)
end
