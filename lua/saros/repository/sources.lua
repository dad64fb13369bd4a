---@private
-- What a backup reads, as a script says it: paths, shadows, sets of shadows,
-- streams. C is given paths with their origins, and numbers of streams.

local arguments = require "saros.arguments"

local WHAT = "repo:backup: a source"

-- What a shadow has. (Whose it is nobody here needs to know.)
local function is_shadow(t)
  return type(t) == "table" and type(t.path) == "string"
    and type(t.original) == "string"
end

-- The shadows of a set, in the order in which they were asked for; nil: it is
-- none.
local function shadows_of(t)
  local meta = getmetatable(t)
  if type(meta) ~= "table" or not meta.__pairs then return nil end
  local list = {}
  for _, item in pairs(t) do
    if not is_shadow(item) then return nil end
    list[#list + 1] = item
  end
  return #list > 0 and list or nil
end

-- The version shows the original and its device, which C asks for: so the next
-- one, of another shadow, finds everything where it was.
local function of_shadow(shadow)
  return { path = shadow.path, origin = { path = shadow.original } }
end

local function of_stream(source, streams, level)
  if source.path or source.origin then
    error(WHAT .. " is a path or a stream, not both", level)
  end
  arguments.need(WHAT .. " that is a stream", source, "name",
    "what it is stored as, such as \"db.sql\"", level + 1)
  streams[#streams + 1] = source.stream
  return { name = source.name, stream = #streams - 1 }
end

local function add(list, source, streams, level)
  if type(source) == "string" then
    list[#list + 1] = source
    return
  end
  if type(source) ~= "table" then
    error(("repo:backup: sources: a path, a shadow, a set of them, { path = } "
      .. "or { name =, stream = } expected, got %s"):format(type(source)),
      level)
  end
  local shadows = is_shadow(source) and { source } or shadows_of(source)
  if shadows then
    for _, shadow in ipairs(shadows) do list[#list + 1] = of_shadow(shadow) end
    return
  end
  local given = arguments.check(WHAT, source, { path = "string",
    origin = "table", name = "string", stream = "number|table|userdata" },
    level + 1)
  if given.stream ~= nil then
    list[#list + 1] = of_stream(given, streams, level + 1)
    return
  end
  if given.name then
    error(WHAT .. " has a name and no stream: { name =, stream = }", level)
  end
  arguments.need(WHAT, given, "path", "what to read", level + 1)
  if given.origin then
    given.origin = arguments.check("repo:backup: an origin", given.origin,
      { path = "string", device = "integer" }, level + 1)
    arguments.need("repo:backup: an origin", given.origin, "path",
      "what it is a shadow of", level + 1)
  end
  list[#list + 1] = given
end

--- The sources for C, and the streams in them, by their numbers. `level` is
--- error's, here and above.
local function take(sources, level)
  local list, streams = {}, {}
  if is_shadow(sources) or shadows_of(sources) then sources = { sources } end
  for i = 1, #sources do add(list, sources[i], streams, level + 1) end
  return list, streams
end

return { take = take }
