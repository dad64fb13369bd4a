---@private
-- The applications of this state: who knows what of the components of a writer.
-- One that a script registers for a writer stands before what its kind knows by
-- itself; what it leaves out is the kind's.

local arguments = require "saros.arguments"

local application = {}

local NAME_MOST <const> = 256

local ours, names = {}, {} -- by writer, by name
local of_kinds = {}        -- by class

--- A GUID as it is compared, or nil when it is none.
function application.guid(text)
  if type(text) ~= "string" then return nil end
  local x <const> = "%x%x%x%x"
  local plain = text:lower():match("^{?(" .. x .. x .. "%-" .. x .. "%-" .. x
    .. "%-" .. x .. "%-" .. x .. x .. x .. ")}?$")
  return plain
end

---@class saros.wsb.component_handed
---@field writer string its class
---@field instance? string
---@field component string
---@field logical_path? string
---@field metadata? table what the writer says of itself
---@field sources string[] where it lies
---@field snapshots string[] its shadows, in the same order: read these
---@field said? table what the writer said in this session
---@field scratch? string a directory for what is written
---@field at fun(path: string): string? where a path lies in the shadows

---@alias saros.wsb.check fun(c: saros.wsb.component_handed): ... true, nothing or a table of details: it is whole; `nil, err`: it is not; or an operation that finds out

---@class saros.wsb.application.options
---@field writer string the class of its writers, or one instance: a GUID
---@field name string for a person: at most 256 bytes, and nobody else's
---@field check? saros.wsb.check|false false: none, also where the kind has one
---@field order? fun(list: table[]): table[]? the components in the order of their restore; nil: any
---@field pre_restore? fun(c: table, no_roll_forward: boolean): ... `nil, err` fails it
---@field post_restore? fun(c: table, no_roll_forward: boolean): ...
---@field roll_forward? boolean whether it can go on from a version with later logs

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

--- Registers what is known of a writer's components: until it is closed, or the
--- state is. Of two with one name, or for one writer, the second is ignored: its
--- handle says so.
---@param options saros.wsb.application.options
---@return saros.wsb.application
function application.register(options)
  local what <const> = "wsb.application"
  local given = arguments.check(what, options, kinds)
  arguments.need(what, given, "writer", "the GUID of a writer", 3)
  arguments.need(what, given, "name", "what people call it", 3)
  if given.check == true then
    error(what .. ": option 'check': a function or false expected", 2)
  end
  given.writer = application.guid(given.writer)
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

--- What a kind knows by itself, for the writers of its class.
function application.of_kind(id, known) of_kinds[id] = known end

--- One field of who knows this writer: its instance, its class, its kind.
--- nil, err: something should be known, and could not be loaded.
function application.get(writer, instance, field)
  for _, id in ipairs { instance or writer, writer } do
    local own = ours[id]
    if own and own[field] ~= nil then return own[field], nil, own.name end
  end
  if not of_kinds[writer] then
    local _, err = require "saros.writers.kind".of(writer)
    if err then return nil, err end
  end
  local known = of_kinds[writer]
  if not known then return nil end
  return known[field], nil, known.name
end

return application
