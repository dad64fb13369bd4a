---@private
-- How a repository is asked: what every call of its handle is made of.

local calls = {}

-- Waits by the one rule for all waits; raises the error object.
function calls.result(op)
  local value, err = op:wait()
  if value == nil then error(err, 0) end
  return value
end

-- What is wrong is raised in the script's line: this one is called last.
function calls.call(self, work, given, name, streams, other)
  local good, op = pcall(self._call, self, work, given, name, streams, other)
  if good then return op end
  error(op, 2)
end

-- Which versions are meant.
calls.choice = { host = "string", tags = "list", paths = "list" }

function calls.with(more)
  for name, kind in pairs(calls.choice) do more[name] = kind end
  return more
end

-- What C is given: it does not know the operation's name.
function calls.without_name(options)
  local given = {}
  for name, item in pairs(options) do
    if name ~= "name" then given[name] = item end
  end
  return given
end

return calls
