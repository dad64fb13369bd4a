--- What can be set for this Lua state.

local core = require "saros.core"
local host = require "saros.host"

---@class saros.config
---@field budget integer tasks resumed by one `saros.step` (256)
---@field pause? saros.pause a host's own sleep (HAProxy's core.msleep): waits in its coroutines are made of it
---@field log? saros.logger receives what saros has to say
local config = { budget = 256 }

---@alias saros.pause fun(milliseconds: integer)
---@alias saros.logger fun(record: saros.log_record)

---@class saros.log_record
---@field time number seconds since 1970
---@field level "error"|"warning"|"notice"|"debug"
---@field area string
---@field text string

-- Some hosts (HAProxy) have coroutines of their own that may only sleep as
-- the host does. A wait in one of those sleeps a little, looks, and sleeps
-- again; tasks that the operation needs are run meanwhile.
local function paused(op, seconds)
  local pause = config.pause
  local waited, limit = 0, seconds and seconds * 1000
  while not op:done() do
    if not core.advance(op) then
      if limit and waited >= limit then break end
      pause(5)
      waited = waited + 5
    end
  end
  return true
end

local known = {}

function known.budget(n)
  core.set_budget(n)
  return n
end

function known.pause(f)
  if f and type(f) ~= "function" then
    error("saros.config: option 'pause': function expected", 3)
  end
  host.otherwise(f and paused or nil)
  return f or nil
end

function known.log(f)
  core.set_log(f or nil)
  return f or nil
end

return setmetatable(config, {
  __call = function(self, options)
    for name, value in pairs(options) do
      local set = known[name]
      if not set then
        error(("saros.config has no option '%s'"):format(name), 2)
      end
      self[name] = set(value)
    end
  end,
})
