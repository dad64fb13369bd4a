--- saros in a prosody module: `op:wait()` in an async context (a handler of
--- mod_http, an ad-hoc command, whatever `util.async` runs) suspends that
--- context and nothing else. Elsewhere it blocks the whole server, so do not.
---
--- ```lua
--- local saros = require "saros"
--- require "saros.host.prosody"
--- module:provides("http", { route = { GET = function()
---   local out, err = saros.process { argv = { "uptime" } }:wait()
---   return out and out.stdout or tostring(err)
--- end } })
--- ```

local server = require "net.server"
local async = require "util.async"
local core = require "saros.core"
local host = require "saros.host"

---@class saros.host.prosody
local prosody = {}

local watcher, watched

--- Watches saros's descriptor. After `prosody -D` has gone to the background
--- this happens by itself.
function prosody.attach()
  local fd, serial = core.fd()
  if watched == serial then return end
  if watcher then
    if watcher.close then
      watcher:close()
    else
      watcher:setflags(false, false)
    end
  end
  watcher, watched = server.watchfd(fd, function() host.turn() end), serial
end

-- Whether this is the coroutine of a runner. util.async itself takes any
-- coroutine for one (a generator, too); a runner's has the runner as the
-- first local variable of its lowest function, where util.async looks for it
-- when it needs it. That does not change, so it is looked up once.
local runners = setmetatable({}, { __mode = "k" })

local function is_runner(co)
  local known = runners[co]
  if known ~= nil then return known end
  local level = 0
  while debug.getinfo(co, level, "l") do level = level + 1 end
  local name, value = debug.getlocal(co, level - 1, 1)
  known = name == "self" and type(value) == "table" and value.thread == co
  runners[co] = known
  return known
end

local wait = {}
local waits = {} -- all of them

function wait:__close()
  self.forget()
  waits[self] = nil
end

host.add(function(op, seconds)
  if not is_runner(coroutine.running()) then return false end
  if seconds and seconds <= 0 then return true end
  prosody.attach()
  local this <close> = setmetatable({ op = op }, wait)
  local suspend, done = async.waiter(1, true)
  this.done = done
  this.forget = host.when(op, seconds, done)
  waits[this] = true
  suspend()
  return true
end)

-- In the background it is another process: what was begun before belongs to
-- its parent, and nobody but us tells those who wait for it.
local global = rawget(_G, "prosody")
if global then
  global.events.add_handler("server-started", function()
    prosody.attach()
    local inherited = {}
    for this in pairs(waits) do
      if this.op:done() then inherited[#inherited + 1] = this.done end
    end
    for i = 1, #inherited do inherited[i]() end
  end, -1000000)
end

prosody.attach()
return prosody
