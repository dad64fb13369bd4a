---@private
-- What applications and writers do about a recovery to the original place:
-- whoever was told before is told after, whatever comes of what is between.

local core = require "saros.core"
local files = require "saros.wsb.files"
local registry = require "saros.wsb.registry"
local telling = require "saros.wsb.telling"

local finish = files.finish

local function kept_of(r)
  local where = {}
  for _, one in ipairs(r.laid) do
    if one.kept then
      where[#where + 1] = ("what was at %s is kept: %s"):format(one.to,
        one.kept)
    end
  end
  return table.concat(where, "; ")
end

-- Whose application has a hook of its own for that.
local function heard_of(list)
  local heard = {}
  for _, c in ipairs(list) do
    heard[c] = registry.get(c.writer.id, c.writer.instance, "pre_restore")
  end
  return heard
end

-- Whatever comes of `f`: who was told before is told after. The applications
-- first, then the writers that run all at once; and back.
return function(m, list, o, r, f)
  local wsb = require "saros.wsb"
  local told = {}
  local live = telling.new(m, list, o, r, heard_of(list))
  local ok, err = pcall(function()
    for _, c in ipairs(list) do
      told[#told + 1] = c
      finish(wsb.pre_restore(c, o.no_roll_forward))
    end
    live:before()
    f()
  end)
  local failures, late = {}, live:after(ok)
  for _, c in ipairs(told) do
    local op = wsb.post_restore(c, o.no_roll_forward)
    local done, result, why = pcall(op.wait, op)
    if not done then -- cancelled meanwhile: it goes on all the same
      late = true
      result, why = op:wait()
    end
    op:close()
    if result == nil then failures[#failures + 1] = why end
  end
  if ok and (late or #failures > 0) then
    -- It may run on what was laid: that stays.
    local text = ("the files were laid, but %s. %s"):format(failures[1]
      and failures[1].message or "then it was cancelled", kept_of(r))
    if late then -- nobody hears an error of what was cancelled
      warn("saros: wsb.recover: " .. text)
      return
    end
    local failure = core.failure("wsb", failures[1].code, text)
    failure.cause, failure.recovered = failures[1], r
    error(failure, 0)
  end
  if not ok then
    if #failures > 0 and type(err) == "table" and not err.cancelled then
      local failure = core.failure("saros", err.code, ("%s; and %s"):format(
        err.message, failures[1].message))
      failure.cause = err
      error(failure, 0)
    end
    error(err, 0)
  end
end
