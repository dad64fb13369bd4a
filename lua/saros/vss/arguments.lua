---@private
-- What a session's methods are given, looked at before the core sees it: what
-- is of the wrong type raises in the script's line, and so does what is
-- misspelt, which would be ignored else.

local arguments = {}

-- `kinds`: "string|number"
local function fits(item, kinds)
  return ("|" .. kinds .. "|"):find("|" .. type(item) .. "|", 1, true) ~= nil
end

local function expected(kinds, item)
  return ("%s expected, got %s"):format(kinds:gsub("|", " or "), type(item))
end

function arguments.check(method, name, item, kinds, optional)
  if (item == nil and optional) or fits(item, kinds) then return end
  error(("session:%s: argument '%s': %s"):format(method, name,
    expected(kinds, item)), 3)
end

--- The fields of a table that was checked (nil: none).
function arguments.check_fields(method, name, fields, kinds)
  for field, item in pairs(fields or {}) do
    if not kinds[field] then
      error(("session:%s: argument '%s' has no field '%s'"):format(method, name,
        tostring(field)), 3)
    elseif not fits(item, kinds[field]) then
      error(("session:%s: argument '%s': field '%s': %s"):format(method, name,
        field, expected(kinds[field], item)), 3)
    end
  end
end

return arguments
