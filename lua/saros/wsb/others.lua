---@private
-- Recoveries that are under way: where each is at work, who that is, and that
-- none lays what another one is laying, or something in it, or around it.
--
-- Each has a directory of its own beside what it lays, its claim, which is locked
-- while it lives and says in `about.json` which places it lays. Whoever has made
-- his looks for those of others: above his places, and in what is there. Of two
-- that come at once one sees the other, or both do.

local core = require "saros.core"
local files = require "saros.wsb.files"

local others = {}

local fail = files.fail

--- What a claim is called, in the directory where it is.
others.NAME = "/.saros-recovery"

-- So many at a time are looked for by one program.
local BATCH <const> = 1000

-- Locked, or nobody can tell.
local HELD <const> = [[test -d "$1" || exit 0
  exec 9<"$1/lock" || exit 1
  flock -n 9]]

local function is_held(claim)
  local op = core.process { any_status = true,
    argv = { "sh", "-c", HELD, "sh", claim } }
  return files.finish(op).status ~= 0 and files.step("look", claim) ~= nil
end

local function about(claim)
  local text = files.content(claim .. "/about.json")
  local found = text and core.json_read(text)
  return type(found) == "table" and found or {}
end

--- What is written into a claim, before anybody finds it.
---@param places string[] what is laid: real paths
---@param more table plain: what it is for
function others.describe(claim, places, more)
  local text = { pid = (files.content "/proc/self/stat" or ""):match "^%d+",
    places = places }
  for name, item in pairs(more) do text[name] = item end
  files.write(claim .. "/about.json", core.json_write(text, true))
end

--- Raises that somebody is at it, and who.
function others.refuse(claim)
  local who = about(claim)
  local places = type(who.places) == "table" and who.places or {}
  local what = type(places[1]) == "string" and ": that of " .. places[1] or ""
  if what ~= "" and #places > 1 then
    what = ("%s and %d more"):format(what, #places - 1)
  end
  local text = {}
  for _, one in ipairs { { "version ", who.version, 8 },
    { "process ", who.pid, 20 }, { "since ", who.began, 30 } } do
    if type(one[2]) == "string" then
      text[#text + 1] = one[1] .. one[2]:sub(1, one[3])
    end
  end
  fail("SAROS_E_LOCKED", "another recovery is under way in %s%s%s; wait until "
    .. "it has ended", files.parent(claim), what, #text > 0
    and " (" .. table.concat(text, ", ") .. ")" or "")
end

-- Whether it lays something that has to do with a set of places, or nobody can
-- tell. `around`: the directories that these lie in.
local function concerns(claim, set, around)
  local places = about(claim).places
  if type(places) ~= "table" then return true end
  for _, other in ipairs(places) do
    if not files.is_path(other) or files.inside(other, set) or around[other]
    then
      return true
    end
  end
  return false
end

-- Every directory above these paths, each once, and those as a set.
local function above(places)
  local list, is = {}, {}
  for _, path in ipairs(places) do
    while path ~= "/" do
      path = files.parent(path)
      if is[path] then break end
      is[path], list[#list + 1] = true, path
    end
  end
  return list, is
end

--- Raises when somebody recovers above one of these places. They are real paths,
--- so are the claims of ours.
function others.check_above(places, own)
  local set, looks = {}, {}
  for _, path in ipairs(places) do set[path] = true end
  local list, around = above(places)
  for i, directory in ipairs(list) do
    looks[i] = { "look", files.join(directory, others.NAME) }
  end
  for i, found in ipairs(files.steps(looks)) do
    local claim = looks[i][2]
    if found and not own[claim] and is_held(claim)
      and concerns(claim, set, around)
    then
      others.refuse(claim)
    end
  end
end

--- Raises when somebody recovers in what is at one of these places now.
function others.check_within(places, own)
  local there, looks = {}, {}
  for i, path in ipairs(places) do looks[i] = { "look", path } end
  for i, found in ipairs(files.steps(looks)) do
    if found and found.type == "dir" then there[#there + 1] = places[i] end
  end
  for first = 1, #there, BATCH do
    local argv = { "find" }
    table.move(there, first, math.min(first + BATCH - 1, #there), 2, argv)
    for _, word in ipairs { "-type", "d", "-name", others.NAME:sub(2), "-prune",
      "-print0" } do
      argv[#argv + 1] = word
    end
    local op = core.process { any_status = true, limit = 16 << 20, argv = argv }
    for claim in files.finish(op).stdout:gmatch "[^\0]+" do
      if not own[claim] and is_held(claim) then others.refuse(claim) end
    end
  end
end

return others
