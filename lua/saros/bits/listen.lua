---@private
-- Who listens to a queue: one operation that ends with the next event, begun
-- again for as long as there is anybody, in the background, so that it keeps no
-- script from ending. What listeners have to do they spawn.

local floor = require "saros.core"
local print_out = require "saros.bits.print"

local listen = {}

---@class saros.bits.listeners
local listeners = {}
listeners.__index = listeners

--- Of a manager; `of` makes of an event what the listeners are told. Of events
--- that came faster than they were heard the oldest are lost: then they are told
--- { what = "missed", missed = how many }.
function listen.new(core, of)
  return setmetatable({ core = core, of = of, seen = 0, count = 0, all = {} },
    listeners)
end

local pump

-- Whoever listens from now on hears the next one.
local function tell(self, event)
  local now = {}
  for key, f in pairs(self.all) do now[key] = f end
  for key, f in pairs(now) do
    if self.all[key] == f then f(event) end
  end
end

local function heard(self, event)
  self.waits = nil
  if not event then return end -- the queue was closed
  local before = self.seen
  self.seen = event.number
  if before > 0 and event.number > before + 1 then
    tell(self, print_out.event { what = "missed",
      missed = event.number - before - 1 })
  end
  tell(self, self.of(event))
  pump(self)
end

function pump(self)
  if self.waits or self.count == 0 or not self.core:is_open() then return end
  local op = self.core:event(self.seen)
  self.waits = op
  -- Nobody who listens keeps the queue from being collected.
  local weak = setmetatable({ self }, { __mode = "v" })
  floor.attend(op, function(event)
    if weak[1] and weak[1].waits == op then heard(weak[1], event) end
  end)
end

--- Calls f(event) from now on, under this key; nil: no longer.
function listeners:set(key, f)
  if self.all[key] and not f then self.count = self.count - 1 end
  if f and not self.all[key] then self.count = self.count + 1 end
  self.all[key] = f
  pump(self)
  if self.count == 0 then self:stop() end
end

--- Nothing is heard any more.
function listeners:stop()
  local op = self.waits
  self.waits, self.seen = nil, 0
  if op then op:cancel() end
end

--- At the end of the queue.
function listeners:close()
  self.all, self.count = {}, 0
  self:stop()
end

return listen
