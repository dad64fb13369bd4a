-- A record that is being written: a line for each thing as it happens.

local core = require "saros.core"
local arguments = require "saros.arguments"
local directory = require "saros.record.directory"
local failure = require "saros.record.failure"

local PAUSE <const> = 0.5 -- seconds between two samples of an operation

local function state_of(err, partial)
  if type(err) == "table" and err.cancelled then return "cancelled" end
  if err ~= nil then return "failed" end
  return partial and "partial" or "succeeded"
end

---@class saros.record.writer
---@field id string
---@field path string
---@field private file file*
local writer = {}
writer.__index = writer
writer.__name = "saros.record.writer"

local function ms(self, at) return math.floor((at - self.steady) * 1000) end

local function now_ms(self)
  local _, steady = core.clocks()
  return ms(self, steady)
end

-- A record that cannot be written is no reason for a run to fail: that is said
-- once.
local function tell(self, why)
  if self.told then return end
  self.told = true
  warn(("saros: the record %s is not whole: %s"):format(self.path,
    tostring(type(why) == "table" and why.message or why)))
end

-- What is torn stays on a line of its own.
local function put(self, line)
  if not self.file then return end
  local text = core.json_write(line) .. "\n"
  if self.torn then text = "\n" .. text end
  local good, why = self.file:write(text)
  self.torn = not good
  if not good then tell(self, why) end
end

---@class saros.record.operation
---@field private of saros.record.writer
local operation = {}
operation.__index = operation

---@class saros.record.op.options
---@field lane string what it belongs to: "step", "writer:NAME", "volume:PATH", "target:LOCATION", …
---@field name string
---@field parent? saros.record.operation
---@field watch? saros.operation its bytes are noted, and its end

--- Something begins.
---@param options saros.record.op.options
---@return saros.record.operation
function writer:op(options)
  local o = arguments.check("record:op", options, { lane = "string",
    name = "string", parent = "table", watch = "userdata" })
  arguments.need("record:op", o, "lane", "\"step\"")
  arguments.need("record:op", o, "name", "what is done")
  self.count = self.count + 1
  local op = setmetatable({ of = self, n = self.count }, operation)
  put(self, { op = op.n, parent = o.parent and o.parent.n, lane = o.lane,
    name = o.name, at = now_ms(self) })
  if o.watch then op:watch(o.watch) end
  return op
end

--- How far it is, now. At most two a second are kept.
---@param bytes integer
---@param total? integer
function operation:sample(bytes, total)
  local at = now_ms(self.of)
  if self.over or bytes == self.bytes
    or self.sampled and at - self.sampled < PAUSE * 1000
  then
    return
  end
  self.sampled, self.bytes = at, bytes
  put(self.of, { op = self.n, at = at, bytes = bytes, total = total })
end

-- How far it came in the end, if its handle is still open.
local function put_last(self)
  local op = self.watched
  if not op then return end
  local good, s = pcall(op.status, op)
  if good and s.done and s.done ~= self.bytes then
    put(self.of, { op = self.n, at = now_ms(self.of), bytes = s.done,
      total = s.total })
  end
end

--- Notes how far an operation is, until that has ended, or this is done.
---@param op saros.operation
---@param finish? boolean it is done when the operation is (true)
function operation:watch(op, finish)
  self.watched = op
  core.spawn(function()
    local over = core.gather({ op }, "all")
    while not self.over do
      local ended = over:wait(PAUSE)
      local s = op:status()
      if s.done and not self.over then self:sample(s.done, s.total) end
      if ended then
        if finish ~= false then
          self:done(not op:ok() and (select(2, op:result())) or nil)
        end
        break
      end
    end
    over:close()
  end)
end

--- It has ended. The first to say so is right.
---@param err? any why it failed
---@param detail? table what there is to know of it; `state` overrides what follows from the error: "skipped", "partial"
function operation:done(err, detail)
  if self.over then return end
  put_last(self)
  self.over = true
  local state = detail and detail.state or state_of(err)
  local more
  for name, item in pairs(detail or {}) do
    if name ~= "state" then
      more = more or {}
      more[name] = item
    end
  end
  local good, text = pcall(core.json_write, more or {})
  put(self.of, { op = self.n, ended = now_ms(self.of), state = state,
    code = type(err) == "table" and err.code or nil,
    error = failure(err, self.of.said),
    detail = good and more or more and { text = text } or nil })
end

-- What is held is held for milliseconds: tenths of them can be told apart.
local function finely(self, at)
  return math.floor((at - self.steady) * 10000) / 10
end

--- Who had to hold still for a set, and from when to when.
---@param set saros.vss.set
function writer:held(set)
  local from, to, writers, volumes = nil, nil, {}, {}
  local function span(list, one, more)
    more.from, more.to = finely(self, one.from), finely(self, one.to)
    list[#list + 1] = more
    from = math.min(from or more.from, more.from)
    to = math.max(to or more.to, more.to)
  end
  for _, w in ipairs(set.times.writers) do
    span(writers, w, { name = w.name, asked = finely(self, w.asked) })
  end
  for _, v in ipairs(set.times.volumes) do
    span(volumes, v, { path = v.path, frozen = v.frozen })
  end
  local skew = 0
  for _, pair in ipairs(set.skew or {}) do
    skew = math.max(skew, pair.seconds)
  end
  put(self, { held = { from = from, to = to, writers = writers,
    volumes = volumes, skew = math.floor(skew * 10000 + 0.5) / 10,
    held = set.held * 1000 } })
end

--- Something was said.
---@param level "error"|"warning"|"notice"|"debug"
---@param text string
function writer:log(level, text)
  put(self, { log = { at = now_ms(self), level = level,
    text = self.said(tostring(text)) } })
end

--- A line of the caller's own: others pass over it.
---@param name string
---@param item any
function writer:note(name, item) put(self, { [name] = item }) end

--- Waits until all that was written is on the disk: what is said to be finished
--- there has to be known after a power failure, too.
function writer:settle()
  if not self.file then return end
  local good, why = pcall(directory.settle, self.path)
  if good then return end
  if type(why) == "table" and why.cancelled then error(why, 0) end
  tell(self, why)
end

--- The end.
---@param err? any why it failed
---@param result? table what came of it; `partial`: not all of it
function writer:done(err, result)
  if not self.file then return end
  put(self, { ended = now_ms(self),
    state = result and result.state or state_of(err, result and result.partial),
    code = type(err) == "table" and err.code or nil,
    error = failure(err, self.said), result = result })
  self.file:close()
  self.file = nil
end

function writer:__close(err)
  self:done(err == nil and "it was left without an end" or err)
end

local function same(text) return text end

-- To a file, at its end. `header` is its first line; `said` is what may be said
-- of a text, which may have something in it that is secret.
return function(self, header, said)
  self.count, self.said = 0, said or same
  self.file:setvbuf "no"
  put(setmetatable(self, writer), header)
  return self
end
