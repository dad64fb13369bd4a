--- saros under luv (libuv): `op:wait()` suspends a coroutine that this module
--- started, and `uv.run()` resumes it. Tasks of saros go on while it runs.
---
--- ```lua
--- local uv, luv = require "luv", require "saros.host.luv"
--- luv.spawn(function()
---   local op = saros.copy { from = "/srv/a", to = "/backup/a" }
---   assert(op:wait())                 -- the loop goes on meanwhile
--- end)
--- uv.run()
--- ```
---
--- luv has no coroutines of its own, so it cannot be told from outside which
--- ones its callbacks resume and which are somebody's generators. Those that
--- may be suspended are marked: started with `spawn` or `wrap`, or given to
--- `adopt`. In any other one, and in a callback itself, a wait blocks.
---
--- `uv.run()` stays as long as such a coroutine waits; saros alone does not
--- keep it.

local uv = require "luv"
local core = require "saros.core"
local host = require "saros.host"

---@class saros.host.luv
local luv = {}

local marked = setmetatable({}, { __mode = "k" })
local poll, watched
local waiting = 0

--- Watches saros's descriptor. Needed by hand only in the child of a fork
--- that goes on with the loop without waiting for anything.
function luv.attach()
  local fd, serial = core.fd()
  if watched == serial and not poll:is_closing() then return end
  if poll and not poll:is_closing() then poll:close() end
  poll, watched = assert(uv.new_poll(fd)), serial
  poll:start("r", host.turn)
  if waiting == 0 then poll:unref() end
end

-- A coroutine that failed has nobody who would hear of it.
local function go_on(co, ...)
  local ok, err = coroutine.resume(co, ...)
  if ok then return end
  err = type(err) == "string" and debug.traceback(co, err) or tostring(err)
  warn("saros: error in a coroutine of luv: ", err)
  coroutine.close(co)
end

-- One wait; closed when it is over, also by coroutine.close.
local wait = {}
wait.__index = wait

function wait:__close()
  self.left = true
  self.forget()
  waiting = waiting - 1
  if waiting == 0 and not poll:is_closing() then poll:unref() end
end

host.add(function(op, seconds)
  local co = coroutine.running()
  if not marked[co] then return false end
  if seconds and seconds <= 0 then return true end
  luv.attach()
  local this <close> = setmetatable({}, wait)
  waiting = waiting + 1
  if waiting == 1 then poll:ref() end
  this.forget = host.when(op, seconds, function()
    this.over = true
    if not this.left and coroutine.status(co) == "suspended" then go_on(co) end
  end)
  -- Somebody else's callback may resume it in between.
  while not this.over do coroutine.yield() end
  return true
end)

--- Starts a coroutine in which `op:wait()` suspends. It runs at once, up to
--- its first wait. An error in it goes to `warn`.
---@param f function
---@param ... any its arguments
---@return thread
function luv.spawn(f, ...)
  local co = coroutine.create(f)
  marked[co] = true
  go_on(co, ...)
  return co
end

--- A callback for luv that runs f in a coroutine of its own, each time.
---@param f function
---@return function
function luv.wrap(f)
  return function(...) luv.spawn(f, ...) end
end

--- Lets `op:wait()` suspend a coroutine that somebody else started (luvit's
--- coro-* for example). Whoever resumes it must not mind that.
---@param co? thread the running one
function luv.adopt(co)
  marked[co or coroutine.running()] = true
end

luv.attach()
return luv
