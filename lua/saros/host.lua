--- Other people's loops. A host is a program (or a library) with coroutines
--- of its own; `op:wait()` in one of them suspends it as that host does.
---
--- There are hosts for luv, cqueues, copas and prosody: `require
--- "saros.host.luv"` is all it takes. Whoever has another loop watches
--- `saros.fd()`, calls `host.turn()` when it is readable, and says with
--- `host.add` how his coroutines wait.

local core = require "saros.core"

---@class saros.host
local host = {}

-- Asked in this order; the last resort (saros.config.pause) is the last.
local ways, last_resort = {}, nil

-- What every wait asks in a coroutine that is neither a task nor the main
-- thread. Where nothing may yield, nobody needs to be asked.
local function ask(op, seconds)
  if not coroutine.isyieldable() then return false end
  for i = 1, #ways do
    if ways[i](op, seconds) then return true end
  end
  -- It knows no coroutine from another: inside a task it may be a generator.
  if not last_resort or core.inside() then return false end
  return last_resort(op, seconds)
end

local function changed()
  core.set_host((ways[1] or last_resort) and ask or nil)
end

---@alias saros.host.way fun(op: saros.operation, seconds?: number): boolean

--- Teaches `op:wait()` how this host's coroutines wait.
---@param way saros.host.way yields as the host does until the operation is done or the time is up, and returns true; returns false, without having yielded, in a coroutine that is not the host's
function host.add(way)
  ways[#ways + 1] = way
  changed()
end

--- The way that is asked when no other host knows the coroutine; nil: none.
---@param way? saros.host.way
function host.otherwise(way)
  last_resort = way
  changed()
end

-- Whoever is woken while the dispatcher runs goes on after it: a host's
-- coroutine may do what a task may not, and for long.
local turning, woken = false, {}
-- Watchers of operations that coroutines of hosts wait for.
local watchers = {}

--- Calls f once, outside of every task where that is possible, when the
--- operation is done or the time is up.
---@param op saros.operation
---@param seconds? number
---@param f fun()
---@return fun() forget for whoever does not want to be called any more
function host.when(op, seconds, f)
  local limit = seconds and core.sleep(seconds)
  local either = limit and core.gather({ op, limit }, "first") or op
  local watcher
  local function forget()
    if not watcher then return end
    watchers[watcher] = nil
    if not watcher:done() then watcher:cancel() end
    if limit and not limit:done() then limit:cancel() end
    watcher = nil
  end
  watcher = either:on_done(function()
    if not watcher then return end
    watchers[watcher], watcher = nil, nil
    if limit and not limit:done() then limit:cancel() end
    if turning then woken[#woken + 1] = f else f() end
  end)
  watchers[watcher] = true
  core.doze() -- the host's loop may begin inside a task
  return forget
end

--- Runs what is due: a host calls it when `saros.fd()` is readable. It never
--- raises and never blocks.
function host.turn()
  if turning then return end
  turning = true
  local ok = pcall(core.step, 0)
  if not ok then
    -- The host's loop runs inside a task, so the dispatcher is busy. What
    -- coroutines of the host wait for goes on nevertheless.
    local list = {}
    for watcher in pairs(watchers) do list[#list + 1] = watcher end
    repeat
      local ran = false
      for i = 1, #list do ran = core.advance(list[i]) or ran end
    until not ran
    core.doze()
  end
  turning = false
  local list = woken
  woken = {}
  for i = 1, #list do
    local good, err = pcall(list[i])
    if not good then
      warn("saros: error in a host's coroutine: ", tostring(err))
    end
  end
end

--- The descriptor to watch, and a number that is another one whenever the
--- descriptor is (after a fork, after `saros.shutdown`), even if it happens
--- to have the old number.
---@return integer fd
---@return integer serial
function host.fd()
  return core.fd()
end

return host
