---@private
-- What an application's function has answered, as the outcome of an operation.

local core = require "saros.core"
local combine = require "saros.combine"

local answer = {}

-- Whatever it failed with, as an error object: with its own code, if it has a
-- failing one, and what else it says.
local function failure(err, code, who)
  if core.is_failure(err) then return err end
  if type(err) ~= "table" then
    return core.failure("wsb", code, ("%s: %s"):format(who, tostring(err)))
  end
  local own = math.type(err.code) == "integer" and err.code & 0x80000000 ~= 0
    and err.code & 0xFFFFFFFF or code
  local made = core.failure("wsb", own,
    ("%s: %s"):format(who, tostring(err.message or "it says nothing more")))
  for name, item in pairs(err) do
    if type(name) == "string" and rawget(made, name) == nil then
      made[name] = item
    end
  end
  return made
end

-- An operation that it has begun ends with us, in any way.
local function outcome(op)
  local mine <close> = op
  return mine:wait()
end

local good <const> = { ["nil"] = true, boolean = true, table = true }

--- Runs f(...). Its result: true, or the table that f returned; what f returned
--- or raised as a failure is raised, with `code` when it has none. An operation
--- that f returns is waited for, and cancelled with us.
function answer.of(code, who, f, ...)
  local ok, result, err = pcall(f, ...)
  if not ok then error(failure(result, code, who), 0) end
  if core.is_operation(result) then
    result, err = outcome(result)
    if result == nil then error(failure(err, code, who), 0) end
    return type(result) == "table" and result or true
  end
  if core.is_failure(result) then error(result, 0) end
  if result == false or (result == nil and err ~= nil) then
    error(failure(err or "it said no", code, who), 0)
  elseif not good[type(result)] then
    error(failure(("it answered with a %s, which says neither yes nor no")
      :format(type(result)), code, who), 0)
  end
  return result or true
end

-- What it says of itself while it runs, of the task that waits.
local function pass_on(op)
  for s in op:progress() do
    if s.phase then core.report { phase = s.phase } end
  end
end

--- Waits for what was asked of an application, for so many seconds (nil: however
--- long); then it is ended, with all that it has started. Its result, or nil;
--- the error, or nil; the seconds that it took. What had no time was not tried:
--- `option` says how to give it more.
function answer.within(op, seconds, who, option)
  local mine <close> = op
  local limited <close> = seconds and combine.timeout(op, seconds) or op
  pass_on(mine)
  local result, err = limited:wait()
  if result == nil and err.timeout and err.op == op then
    err = core.failure("saros", err.code, ("%s: it did not end within %g "
      .. "seconds and was ended; %s gives it longer"):format(who, seconds,
        option))
    err.op, err.timeout, err.untried = op, true, true
  end
  return result, err, op:status().elapsed
end

return answer
