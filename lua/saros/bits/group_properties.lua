---@private
-- GROUPPROP: what a QMgr group may be asked for and told. Where there is a
-- property of the job's that means the same it is that one.

local code = require "saros.code"
local calls = require "saros.bits.calls"
local core = require "saros.bits.core"

local raise = calls.raise

local properties = {}

local numbers = { [0] = "priority", [5] = "protocol_flags",
  [6] = "notify_flags", [7] = "notify_clsid", [11] = "display_name",
  [12] = "description" }

local PRIORITY, HTTP = 1, 1
local GROUP_DONE, DISABLED = 0x04, 0x40

local function text(what, value, most)
  if type(value) ~= "string" or (utf8.len(value) or #value) > most then
    raise(code.E_INVALIDARG, ("%s: a text of at most %d characters expected")
      :format(what, most))
  end
  return value
end

local function number(what, value)
  value = type(value) == "number" and math.tointeger(value)
  if not value then
    raise(code.E_INVALIDARG, what .. ": a whole number expected")
  end
  return value
end

-- By name: how it is read of a status, and what of it is set.
local known = {}

known.priority = {
  get = function() return PRIORITY end,
  set = function(what, value)
    if number(what, value) ~= PRIORITY then
      raise(code.E_INVALIDARG, "a group has the priority 1 and no other; "
        .. "switch_to_foreground is what there is")
    end
  end,
}

known.protocol_flags = {
  get = function() return HTTP end,
  set = function(what, value)
    if number(what, value) ~= HTTP then
      raise(code.E_INVALIDARG, "HTTP (1) is the only protocol there is")
    end
  end,
}

known.notify_flags = {
  get = function(_, kept) return kept.notify_flags or GROUP_DONE end,
  set = function(what, value, _, kept)
    value = number(what, value)
    if value & ~(GROUP_DONE | DISABLED) ~= 0 then
      raise(code.E_NOTIMPL, "of the notify flags there are GROUP_DONE (4) and "
        .. "DISABLE_NOTIFY (0x40)")
    end
    kept.notify_flags = value
    return { kept = kept }
  end,
}

known.notify_clsid = {
  get = function(_, kept) return kept.notify_clsid or "" end,
  set = function(what, value, _, kept)
    local id = core.guid(text(what, value, 64))
    if value ~= "" and not id then
      raise(code.E_INVALIDARG, what .. ": a GUID expected")
    end
    kept.notify_clsid = id
    return { kept = kept }
  end,
}

known.display_name = {
  get = function(status) return status.name or "" end,
  set = function(what, value) return { name = text(what, value, 256) } end,
}

known.description = {
  get = function(status) return status.description or "" end,
  set = function(what, value)
    return { description = text(what, value, 1024) }
  end,
}

local function find(property)
  local name = type(property) == "number" and numbers[property] or property
  local way = type(name) == "string" and known[name]
  if not way then
    raise(code.E_NOTIMPL, ("a group has no property '%s'")
      :format(tostring(property)))
  end
  return way, name
end

function properties.get(status, property)
  return find(property).get(status, status.kept or {})
end

--- The properties of the job that have to be set for it.
function properties.set(status, property, value)
  local way, name = find(property)
  return way.set("SetProp " .. name, value, status, status.kept or {}) or {}
end

local function flags_of(status)
  return known.notify_flags.get(status, status.kept or {})
end

--- Whether anybody wants to be told at all (an error is told in any case), and
--- that a group is complete.
function properties.wants_any(status)
  return flags_of(status) & DISABLED == 0
end

function properties.wants_done(status)
  return properties.wants_any(status) and flags_of(status) & GROUP_DONE ~= 0
end

return properties
