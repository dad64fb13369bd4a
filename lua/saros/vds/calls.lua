---@private
-- How disks are asked, and what their objects have in common.

local arguments = require "saros.arguments"
local core = require "saros.vds.core"

local calls = { settings = {} }

-- What every call understands besides its own.
local common = { name = "string", state_dir = "string" }

-- And what every call understands that could lose something.
local careful = { plan = "boolean", force = "table" }

function calls.kinds(own, may_lose)
  local kinds = {}
  for name, kind in pairs(common) do kinds[name] = kind end
  for name, kind in pairs(may_lose and careful or {}) do kinds[name] = kind end
  for name, kind in pairs(own) do kinds[name] = kind end
  return kinds
end

-- Begins a call. What is wrong is raised in the script's line: called last.
function calls.begin(call, given, name)
  given = given or {}
  given.state_dir = given.state_dir or calls.settings.state_dir
  local good, op = pcall(core.begin, call, given, name)
  if good then return op end
  error(op, 2)
end

-- Waits by the one rule for all waits; raises the error object.
function calls.result(op)
  local value, err = op:wait()
  if value == nil then error(err, 0) end
  return value
end

-- The options of a method, and the operation's name apart from them.
function calls.options(what, options, kinds)
  local given = arguments.check(what, options, kinds, 4)
  local name = given.name
  given.name = nil
  return given, name
end

-- A path that is an argument of its own, as C has it; raised in the line of who
-- called the function that calls this one.
function calls.path(what, given)
  if type(given) ~= "string" then
    error(("%s: path: string expected, got %s"):format(what, type(given)), 3)
  end
  if given:find("\0", 1, true) then
    error(what .. ": path: a text without NUL bytes expected", 3)
  end
  return core.absolute(given)
end

-- What C compares with the device.
local identity = { "major", "minor", "disk_major", "disk_minor", "seq", "size",
  "start", "number", "serial" }

function calls.object(self)
  local who = {}
  for _, field in ipairs(identity) do who[field] = self[field] end
  return who
end

return calls
