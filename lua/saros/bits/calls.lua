---@private
-- How a queue is asked, and what it answers when it cannot.

local floor = require "saros.core"

local calls = {}

--- An error object of this facade.
function calls.failure(code, message)
  return floor.failure("bits", code, message)
end

function calls.raise(code, message)
  error(floor.failure("bits", code, message), 0)
end

-- Waits by the one rule for all waits; raises the error object.
function calls.result(op)
  local value, err = op:wait()
  if value == nil then error(err, 0) end
  return value
end

--- Raises in the line of who called the function that calls this.
function calls.check_seconds(what, seconds)
  if seconds == nil or type(seconds) == "number" then return end
  error(("%s: seconds expected, got %s"):format(what, type(seconds)), 3)
end

--- Calls a method of C that returns nil, a code and a sentence when it fails.
function calls.checked(value, code, message)
  if value == nil then error(floor.failure("bits", code, message), 0) end
  return value
end

return calls
