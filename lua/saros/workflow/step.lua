---@private
-- A step of a run: an operation with an entry in the record, which may be tried
-- again, and is given up when its time is over.

local core = require "saros.core"
local combine = require "saros.combine"

local step = {}

function step.seconds()
  local _, now = core.clocks()
  return now
end

--- What is wrong, as a person reads it.
function step.message(err)
  return tostring(type(err) == "table" and err.message or err)
end

function step.is_cancel(err)
  return type(err) == "table" and err.cancelled
end

-- Whether it is tried again; that is written down.
local function again(h, o, entry)
  return function(err)
    local retry = h.o.retry
    local yes = type(err) == "table" and err.retryable
    if retry.on then yes = retry.on(err) end
    if yes and (entry.tries or 1) < (retry.tries or 5) then
      h.record:log("warning", ("%s (%s) is tried again: %s"):format(
        o.name, o.lane, step.message(err)))
    end
    return yes
  end
end

-- What a step is handed: who watches an operation sees that in its place.
local at_type = { __index = { watch = function(self, op)
  self.note:watch(op, false)
  self.watched = op
end } }

local function attempt(h, o, at, begun, f)
  local limit, entry = h.o.timeout[o.kind or o.name], at.entry
  local function once(try)
    entry.tries = try > 1 and try or nil
    local op = core.spawn(f, at)
    begun[#begun + 1] = op
    at.task, at.watched = op, nil
    if not limit then return op end
    begun[#begun + 1] = combine.timeout(op, limit)
    return begun[#begun]
  end
  local retry = h.o.retry
  if not retry or o.kind == "hook" then return once(1) end
  local how = {}
  for name, item in pairs(retry) do how[name] = item end
  how.on = again(h, o, entry)
  begun[#begun + 1] = combine.retry(how, once)
  return begun[#begun]
end

--- A list of operations: what is begun in the block is over behind it. (One that
--- is made of others and is cancelled before it has begun knows nothing of them.)
function step.begun(over)
  return setmetatable({}, { __close = function(begun)
    for _, op in ipairs(begun) do
      if not over or op ~= over.task then op:close() end
    end
    if over then over:close() end
  end })
end

-- What it came to is let go when nobody takes it any more: whoever is cancelled
-- in that moment has a shadow, and does not know.
function at_type.__index:close()
  local op = self.task
  if not op then return end
  if not op:done() then
    op:cancel()
    pcall(op.wait, op)
  end
  local result = not self.taken and op:ok() and op:result() or nil
  op:close()
  local meta = getmetatable(result)
  local close = type(meta) == "table" and meta.__close
  if close then close(result) end
end

-- Closed, an operation has no status any more.
function at_type.__index:status()
  for _, op in ipairs { self.watched or self.task, self.task } do
    local good, s = pcall(op.status, op)
    if good then return s end
  end
  return nil
end

local function leave(list, at)
  for i, other in ipairs(list) do
    if other == at then return table.remove(list, i) end
  end
end

--- Does something: in a task of its own, which may be tried again, and is given
--- up when its time is over. It is called with what it may have an operation
--- watched by. Results are those of f; raises why it failed.
---@param o { lane: string, name: string, kind: string?, detail: (fun(result: any): table?)? }
function step.take(run, h, o, f)
  local note = h.record:op { lane = o.lane, name = o.name, parent = h.parent }
  local entry = { lane = o.lane, name = o.name, state = "running" }
  run.steps[#run.steps + 1] = entry
  local at = setmetatable({ note = note, entry = entry }, at_type)
  table.insert(h.running, at)
  local began, results = step.seconds(), nil
  local good, err = pcall(function()
    local begun <close> = step.begun(at)
    local op <const> = attempt(h, o, at, begun, f)
    results = table.pack(op:wait())
    if results[1] == nil and results[2] ~= nil then error(results[2], 0) end
    at.taken = true
  end)
  leave(h.running, at)
  if good then err = nil end
  if type(err) == "table" and err.timeout and o.kind ~= "hook"
    and h.o.timeout[o.name]
  then
    err.message = ("the step '%s' %s"):format(o.name, err.message)
  end
  local detail = good and o.detail and o.detail(results[1]) or {}
  detail.tries = entry.tries
  note:done(err, detail)
  entry.seconds = step.seconds() - began
  entry.state = err == nil and (detail.state or "succeeded")
    or step.is_cancel(err) and "cancelled" or "failed"
  if err ~= nil then
    entry.error = step.message(err)
    error(err, 0)
  end
  return table.unpack(results, 1, results.n)
end

return step
