---@private
-- An error as it is kept: its name, code, message and cause, and nothing that is
-- an object. `said` is what may be said of a message.

local function plain(err, said, depth)
  if err == nil then return nil end
  if type(err) ~= "table" then return { message = said(tostring(err)) } end
  depth = depth or 0
  return { name = err.name, code = err.code,
    message = said(tostring(err.message or err)),
    timeout = err.timeout and true or nil,
    cause = err.cause ~= nil and depth < 8
      and plain(err.cause, said, depth + 1) or nil }
end

local error_type = { __name = "saros.record.error",
  __tostring = function(err) return err.message end }

return function(err, said)
  local kept = plain(err, said or tostring)
  return kept and setmetatable(kept, error_type)
end
