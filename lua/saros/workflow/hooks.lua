---@private
-- Hooks: what a person wants done before, after, when it failed, and in any case;
-- of the whole run, of a source, of a target. A function is called with the run
-- and whose hook it is; a command has it in its environment.

local core = require "saros.core"
local step = require "saros.workflow.step"
local E = require "saros.code"

local hooks = {}

-- The kernel takes no longer text than 128 KiB, and nobody reads one.
local MOST <const> = 4096

local function command(run, of, argv, err, state)
  return core.process { argv = argv, stderr = "capture", limit = MOST, env = {
    SAROS_WORKFLOW = run.name, SAROS_RUN = run.id, SAROS_OF = of,
    SAROS_STATE = state or "running",
    SAROS_ERROR = err ~= nil and step.message(err):gsub("%z", "")
      :sub(1, MOST) or false,
  } }
end

-- Its results as a record can have them: short, and without what is secret.
local function plain(item, said)
  if type(item) == "number" or type(item) == "boolean" or item == nil then
    return item
  end
  if type(item) == "string" then return said(item:sub(1, MOST)) end
  if type(item) == "table" and item.status and item.stdout then
    return { status = item.status, stdout = plain(item.stdout, said) }
  end
  local good, text = pcall(core.json_write, item)
  if not good or #text > MOST then return plain(tostring(item), said) end
  return core.json_read(said(text)) or plain(tostring(item), said)
end

local function work(run, of, owner, f, err, state)
  local results
  if type(f) == "table" then
    results = table.pack(command(run, of, f, err, state))
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

--- Calls one, if there is one. Raises an error object that says which it was.
local function call(run, of, owner, name, err, state)
  local f = owner[name]
  if not f then return end
  local entry = { of = of, name = name }
  run.hooks[#run.hooks + 1] = entry
  local good, result = pcall(function()
    return run:step({ lane = of == "run" and "step" or of, name = name,
      kind = "hook" }, function()
      return plain(work(run, of, owner, f, err, state), function(text)
        return run:clean(text)
      end)
    end)
  end)
  if good then
    entry.result = result
    return
  end
  if step.is_cancel(result) then error(result, 0) end
  local raw = step.message(result)
  entry.error = run:clean(raw)
  local failure = core.failure("saros", type(result) == "table" and result.code
    or E.SAROS_E_LUA, ("the hook '%s' of %s failed: %s"):format(name,
    of == "run" and "the run" or of, entry.error))
  failure.cause = core.is_failure(result) and raw == entry.error and result
    or nil
  error(failure, 0)
end

--- Before: what it raises is a reason not to go on.
function hooks.before(run, of, owner) call(run, of, owner, "before") end

-- What fails here leaves what was done as it is, and is said.
local function try(run, of, owner, name, err, state)
  local good, why = pcall(call, run, of, owner, name, err, state)
  if good then return end
  if step.is_cancel(why) then return why end
  run:trouble(why)
end

--- After it, well or not. A cancel that comes now is raised when all were called.
---@param state? string how it ended, if that does not follow from the error
function hooks.over(run, of, owner, err, state)
  state = state or err == nil and "succeeded"
    or step.is_cancel(err) and "cancelled" or "failed"
  local cancelled = try(run, of, owner, err == nil and "after" or "failed", err,
    state)
  cancelled = try(run, of, owner, "finally", err, state) or cancelled
  if cancelled then error(cancelled, 0) end
end

--- f, with what is done around it; raises what that raised. `judge` says how it
--- ended, and why it is not all right.
function hooks.around(run, of, owner, f, judge)
  local good, why = pcall(function()
    hooks.before(run, of, owner)
    f()
  end)
  if good then why = nil end
  local state, reason = nil, why
  if judge then state, reason = judge(why) end
  local over, cancelled = pcall(hooks.over, run, of, owner, reason, state)
  if not over then
    -- What had failed before is not forgotten for that.
    if not good and not step.is_cancel(why) then
      cancelled.cause = core.is_failure(why) and why
        or core.failure("saros", E.SAROS_E_LUA, step.message(why))
    end
    error(cancelled, 0)
  end
  if not good then error(why, 0) end
end

return hooks
