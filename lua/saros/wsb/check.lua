---@private
-- The consistency check of a component, as an operation: 0x407A0004 while it
-- runs, then 0 or why the component is not whole.

local core = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local answer = require "saros.wsb.answer"
local registry = require "saros.wsb.registry"

local check = { MAX_VOLUMES = 64 }

local WHAT <const> = "wsb.check_consistency"

local kinds <const> = { writer = "string", instance = "string",
  component = "string", logical_path = "string", metadata = "table",
  sources = "list", snapshots = "list", said = "table", scratch = "string",
  timeout = "number", name = "string" }

-- Where a path lies in the shadows: by the longest source that it is below.
local function finder(sources, snapshots)
  return function(path)
    if type(path) ~= "string" or path:sub(1, 1) ~= "/"
      or (path .. "/"):find("/../", 1, true)
    then
      return nil
    end
    local best, rest = nil, nil
    for i, source in ipairs(sources) do
      local base = source:gsub("/+$", "")
      local below = path == base or path:sub(1, #base + 1) == base .. "/"
      if below and (not best or #source > #sources[best]) then
        best, rest = i, path:sub(#base + 1)
      end
    end
    if not best then return nil end
    return (snapshots[best]:gsub("/+$", "")) .. rest
  end
end

local function misuse(text) error(WHAT .. ": " .. text, 4) end

local function component_of(given)
  local sources, snapshots = given.sources or {}, given.snapshots or {}
  if #sources ~= #snapshots then
    misuse(("%d sources and %d snapshots: as many expected"):format(#sources,
      #snapshots))
  elseif #sources > check.MAX_VOLUMES then
    misuse(("%d volumes: at most %d"):format(#sources, check.MAX_VOLUMES))
  end
  for _, list in ipairs { sources, snapshots } do
    for _, path in ipairs(list) do
      if path:sub(1, 1) ~= "/" then
        misuse(("%q: an absolute path expected"):format(path))
      end
    end
  end
  return { writer = given.writer, instance = given.instance,
    component = given.component, logical_path = given.logical_path,
    metadata = given.metadata, sources = sources, snapshots = snapshots,
    said = given.said, scratch = given.scratch, timeout = given.timeout,
    at = finder(sources, snapshots) }
end

-- What could not even be begun says nothing about the component.
local function untried(err)
  local failure = core.failure("wsb", E.E_NOTIMPL,
    "the check could not be run: " .. tostring(err))
  failure.untried = true
  error(failure, 0)
end

local function limited(c, who, f)
  local op = core.spawn(answer.of,
    E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, who, f, c)
  local result, err = answer.within(op, c.timeout, who, "the check's 'timeout'")
  if result == nil then error(err, 0) end
  return result
end

function check.start(options)
  local given = arguments.check(WHAT, options, kinds)
  arguments.need(WHAT, given, "writer", "the GUID of a writer", 3)
  arguments.need(WHAT, given, "component", "its name", 3)
  for _, name in ipairs { "writer", "instance" } do
    local text = given[name]
    given[name] = text and (registry.guid(text)
      or error(("%s: option '%s': a GUID expected"):format(WHAT, name), 2))
  end
  local c = component_of(given)
  local f, err, name = registry.get(given.writer, given.instance, "check")
  if err then
    return core.spawn_as(WHAT, given.name, untried, err)
  elseif not f then
    return nil
  end
  return core.spawn_as(WHAT, given.name, limited, c,
    ("the check of %s"):format(name), f)
end

return check
