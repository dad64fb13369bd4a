--- saros under cqueues: `op:wait()` in a coroutine of a controller suspends it
--- there. In a generator (a coroutine that the controller did not resume) it
--- blocks.
---
--- ```lua
--- require "saros.host.cqueues"
--- cq:wrap(function() assert(saros.copy { from = a, to = b }:wait()) end)
--- assert(cq:loop())
--- ```
---
--- A controller has no descriptors that do not keep it busy, so saros is
--- turned while one of its coroutines waits for saros. A program whose tasks
--- shall go on without that keeps a coroutine waiting for them.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local core = require "saros.core"
local host = require "saros.host"

-- How many coroutines of a controller wait, and which controllers have a
-- coroutine that turns saros for them. One for all: a thousand that poll one
-- descriptor would all wake up each time.
local waiting = setmetatable({}, { __mode = "k" })
local pumped = setmetatable({}, { __mode = "k" })

local function pump(cq, leave)
  local _ <close> = setmetatable({}, {
    __close = function() pumped[cq] = nil end
  })
  while waiting[cq] > 0 do
    -- Asked each time: after a fork it is another one.
    cqueues.poll({ pollfd = (core.fd()), events = "r" }, leave)
    host.turn()
  end
end

local function start_pump(cq)
  local leave = condition.new()
  pumped[cq] = leave
  cq:wrap(pump, cq, leave)
end

local wait = {}
wait.__index = wait

function wait:__close()
  self.forget()
  waiting[self.cq] = waiting[self.cq] - 1
  local leave = pumped[self.cq]
  if waiting[self.cq] == 0 and leave then leave:signal() end
end

host.add(function(op, seconds)
  local cq, here = cqueues.running()
  if not here then return false end
  if seconds and seconds <= 0 then return true end
  local this <close> = setmetatable({ cq = cq }, wait)
  local over, done = condition.new(), false
  waiting[cq] = (waiting[cq] or 0) + 1
  if not pumped[cq] then start_pump(cq) end
  this.forget = host.when(op, seconds, function()
    done = true
    over:signal()
  end)
  while not done do over:wait() end
  return true
end)

---@class saros.host.cqueues
return {}
