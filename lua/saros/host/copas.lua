--- saros under copas: `op:wait()` suspends a thread or a handler of copas that
--- was added after this module was required. Elsewhere (a generator, a
--- coroutine that somebody made himself) it blocks.
---
--- ```lua
--- local copas = require "copas"
--- require "saros.host.copas"
--- copas.addthread(function()
---   assert(saros.copy { from = "/srv/a", to = "/backup/a" }:wait())
--- end)
--- copas.loop()
--- ```
---
--- copas can wait for sockets only, so one thread waits for something that
--- looks like a socket: saros's descriptor. It is there, and saros is turned,
--- while some other thread waits for saros.

local copas = require "copas"
local core = require "saros.core"
local host = require "saros.host"

if not (copas.wakeup and copas.settimeout) then
  error("saros.host.copas: this copas cannot wake up a thread (2.0 can)")
end
local add_thread = copas.addthread

-- Nothing about a coroutine says that copas resumes it, so those that it
-- starts are marked when they begin.
local marked = setmetatable({}, { __mode = "k" })

local function marking(f)
  if type(f) ~= "function" then return f end
  return function(...)
    marked[coroutine.running()] = true
    return f(...)
  end
end

-- function of copas = which of its arguments is the coroutine's function
for name, at in pairs { addthread = 1, addnamedthread = 2, addserver = 2 } do
  local original = copas[name]
  copas[name] = original and function(...)
    local args = table.pack(...)
    args[at] = marking(args[at])
    return original(table.unpack(args, 1, args.n))
  end
end

local sleep = copas.pauseforever or function() copas.sleep(-1) end
local waiting, pumped = 0, false

-- What copas takes for a socket, for the one thread that turns saros.
local socket = {}

function socket:getfd() return self == socket and (core.fd()) or -1 end

function socket:settimeout() return self == socket end

function socket:receive()
  host.turn()
  if self == socket and waiting > 0 then return nil, "timeout" end
  return ""
end

local function pump()
  while waiting > 0 do copas.receive(socket, 1) end
  pumped = false
end

local wait = {}
wait.__index = wait

function wait:__close()
  self.forget()
  waiting = waiting - 1
  if waiting == 0 then core.poke() end -- the thread that turns saros may end
end

host.add(function(op, seconds)
  local co = coroutine.running()
  if not marked[co] then return false end
  if seconds and seconds <= 0 then return true end
  local this <close> = setmetatable({}, wait)
  waiting = waiting + 1
  this.forget = host.when(op, seconds, function()
    this.over = true
    copas.wakeup(co)
  end)
  if not pumped then
    pumped = true
    copas.settimeout(socket, -1)
    add_thread(pump)
  end
  while not this.over do sleep() end
  return true
end)

---@class saros.host.copas
return {}
