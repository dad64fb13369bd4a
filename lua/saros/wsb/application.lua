--- Applications, as `wsb.application` registers them.

local arguments = require "saros.arguments"
local registry = require "saros.wsb.registry"

local ours, names = registry.ours, registry.names

local NAME_MOST <const> = 256

local kinds <const> = { writer = "string", name = "string",
  check = "function|boolean", order = "function", pre_restore = "function",
  post_restore = "function", roll_forward = "boolean" }

---@class saros.wsb.application
---@field writer string
---@field name string
---@field ignored? string why it was not registered
local handle = {}
handle.__index = handle

--- Not asked any more. Also `__close`.
function handle:close()
  if ours[self.writer] == self then ours[self.writer] = nil end
  if names[self.name] == self then names[self.name] = nil end
end

handle.__close = handle.close

--- Whether it is asked.
---@return boolean
function handle:is_open() return ours[self.writer] == self end

function handle:__tostring()
  return ("saros.wsb.application: %s (%s)"):format(self.name,
    self.ignored and "ignored: " .. self.ignored
    or self:is_open() and self.writer or "closed")
end

function handle._register(options)
  local what <const> = "wsb.application"
  local given = arguments.check(what, options, kinds)
  arguments.need(what, given, "writer", "the GUID of a writer", 3)
  arguments.need(what, given, "name", "what people call it", 3)
  if given.check == true then
    error(what .. ": option 'check': a function or false expected", 2)
  end
  given.writer = registry.guid(given.writer)
    or error(what .. ": option 'writer': a GUID expected", 2)
  if #given.name == 0 or #given.name > NAME_MOST then
    error(("%s: option 'name': 1 to %d bytes expected"):format(what,
      NAME_MOST), 2)
  end
  local made = setmetatable(given, handle)
  if names[given.name] then
    made.ignored = "another application has this name"
  elseif ours[given.writer] then
    made.ignored = ("%q is registered for this writer"):format(
      ours[given.writer].name)
  else
    names[given.name], ours[given.writer] = made, made
  end
  return made
end

return handle
