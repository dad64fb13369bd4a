---@private
-- Hooks: what a person wants done before, after, when it failed, and in any case;
-- of the whole run, of a source, of a target. A function is called with the run
-- and whose hook it is; a command has it in its environment.

local core = require "saros.core"
local E = require "saros.code"

local hooks = {}

local function command(run, of, argv, err)
  return core.process { argv = argv, stderr = "capture", env = {
    SAROS_WORKFLOW = run.name, SAROS_RUN = run.id, SAROS_OF = of,
    SAROS_STATE = run.state,
    SAROS_ERROR = err and tostring(err.message or err):gsub("%z", "") or false,
  } }
end

-- Its results as a record can have them.
local function plain(item)
  if type(item) == "string" or type(item) == "number"
    or type(item) == "boolean" or item == nil
  then
    return item
  end
  if type(item) == "table" and item.status and item.stdout then
    return { status = item.status, stdout = item.stdout:sub(1, 4096) }
  end
  local good, text = pcall(core.json_write, item)
  return good and core.json_read(text) or tostring(item)
end

local function work(run, of, owner, f, err)
  local results
  if type(f) == "table" then
    results = table.pack(command(run, of, f, err))
  else
    results = table.pack(f(run, owner, err))
  end
  if core.is_operation(results[1]) then
    local op <close> = results[1]
    results = table.pack(op:wait())
  end
  if (results[1] == nil or results[1] == false) and results[2] ~= nil then
    error(results[2], 0)
  end
  return results[1]
end

local function is_cancel(err)
  return type(err) == "table" and err.cancelled
end

--- Calls one, if there is one. Raises an error object that says which it was.
local function call(run, of, owner, name, err)
  local f = owner[name]
  if not f then return end
  local entry = { of = of, name = name }
  run.hooks[#run.hooks + 1] = entry
  local good, result = pcall(function()
    return run:step({ lane = of == "run" and "step" or of, name = name,
      kind = "hook" }, function()
      return plain(work(run, of, owner, f, err))
    end)
  end)
  if good then
    entry.result = result
    return
  end
  if is_cancel(result) then error(result, 0) end
  entry.error = tostring(type(result) == "table" and result.message or result)
  local failure = core.failure("saros", type(result) == "table" and result.code
    or E.SAROS_E_LUA, ("the hook '%s' of %s failed: %s"):format(name,
    of == "run" and "the run" or of, entry.error))
  failure.cause = core.is_failure(result) and result or nil
  error(failure, 0)
end

--- Before: what it raises is a reason not to go on.
function hooks.before(run, of, owner) call(run, of, owner, "before") end

-- What fails here leaves what was done as it is, and is said.
local function try(run, of, owner, name, err)
  local good, why = pcall(call, run, of, owner, name, err)
  if good then return end
  if is_cancel(why) then return why end
  run:trouble(why)
end

--- After it, well or not. A cancel that comes now is raised when all were called.
function hooks.over(run, of, owner, err)
  local cancelled
  if err == nil then
    cancelled = try(run, of, owner, "after")
  else
    cancelled = try(run, of, owner, "failed", err)
  end
  cancelled = try(run, of, owner, "finally", err) or cancelled
  if cancelled then error(cancelled, 0) end
end

--- f, with what is done around it; raises what that raised.
function hooks.around(run, of, owner, f)
  local good, why = pcall(function()
    hooks.before(run, of, owner)
    f()
  end)
  hooks.over(run, of, owner, not good and why or nil)
  if not good then error(why, 0) end
end

hooks.is_cancel = is_cancel

return hooks
