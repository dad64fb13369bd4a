---@private
-- Who knows what of the components of a writer, in this state: the applications
-- that a script has registered, and what the kinds know by themselves.

local registry = { ours = {}, names = {} } -- by writer, by name

local of_kinds = {} -- by class

--- A GUID as it is compared, or nil when it is none.
function registry.guid(text)
  if type(text) ~= "string" then return nil end
  local x <const> = "%x%x%x%x"
  local plain = text:lower():match("^{?(" .. x .. x .. "%-" .. x .. "%-" .. x
    .. "%-" .. x .. "%-" .. x .. x .. x .. ")}?$")
  return plain
end

--- What a kind knows by itself, for the writers of its class.
function registry.of_kind(id, known) of_kinds[id] = known end

--- One field of who knows this writer: the application of its instance, or else
--- of its class; and what that does not say, its kind. What one application does
--- before, no other one undoes after: of an instance that has one of its own, the
--- one of the class knows nothing.
--- nil, err: something should be known, and could not be loaded.
function registry.get(writer, instance, field)
  local own = instance and registry.ours[instance] or registry.ours[writer]
  if own and own[field] ~= nil then return own[field], nil, own.name end
  if not of_kinds[writer] then
    local _, err = require "saros.writers.kind".of(writer)
    if err then return nil, err end
  end
  local known = of_kinds[writer]
  if not known then return nil end
  return known[field], nil, known.name
end

return registry
