--- Queues: their jobs, limits and events.

local floor = require "saros.core"
local core = require "saros.bits.core"
local calls = require "saros.bits.calls"
local job = require "saros.bits.job"
local listen = require "saros.bits.listen"
local options = require "saros.bits.options"
local print_out = require "saros.bits.print"

local result = calls.result

--- A queue that is open. As a to-be-closed variable it is closed when the block
--- is left: its jobs stay as they are, and go on when it is opened again.
---@class saros.bits.manager
---@field warning? string that the queue was damaged, and what became of it
local manager = {}

local meta = { __index = manager, __name = "saros.bits.manager" }

local function core_of(self)
  local own = type(self) == "table" and rawget(self, "_core")
  if own then return own end
  if getmetatable(self) == meta then error("the queue was closed", 3) end
  error("a queue expected: q:method(), not q.method()", 3)
end

-- The same job is the same table for as long as somebody has it.
local function job_of(self, own)
  local id = own:id()
  local known = self._jobs[id]
  if known and rawget(known, "_core") then
    own:close()
    return known
  end
  local made = job._new(self, own)
  self._jobs[id] = made
  return made
end

---@class saros.bits.creation: saros.bits.properties
---@field type? "download"|"upload"|"upload_reply" the last is not implemented (E_NOTIMPL)

--- Makes a job: it is suspended, and has no files.
---@param properties? saros.bits.creation
---@return saros.bits.job
function manager:create_job(properties)
  local own = core_of(self)
  local given = options.take("q:create_job", properties, options.creation)
  local notify = given.notify
  given.notify = nil
  return self:_create(own, given, notify)
end

---@private
function manager:_create(own, given, notify)
  local id = result(own:call("create", given))
  local made = own:job(id)
  if not made then
    calls.raise(0x80200001, "somebody has taken the new job away")
  end
  made = job_of(self, made)
  if notify then self:_notify(id, notify) end
  return made
end

--- All its jobs, in the order they were made.
---@return saros.bits.job[]
function manager:jobs()
  local list = {}
  for i, own in ipairs(core_of(self):jobs()) do list[i] = job_of(self, own) end
  return print_out.jobs(list)
end

--- The job with this GUID.
---@param id string
---@return saros.bits.job? job nil when there is none (any more)
function manager:job(id)
  local own = core_of(self)
  if type(id) ~= "string" then
    error("q:job: a GUID expected, got " .. type(id), 2)
  end
  local guid = core.guid(id)
  local found = guid and own:job(guid)
  return found and job_of(self, found) or nil
end

---@class saros.bits.settings
---@field limit_download? integer|string bytes a second, of all jobs together: 1000000, "1M"; 0: none
---@field limit_upload? integer|string
---@field limits? string|string[] others at times of the day, the first that fits counts: "09:00-17:30 mon-fri: 1M", "22:00-06:00: none"
---@field connections? integer at once, to all servers (32)
---@field connections_per_host? integer (6)
---@field active? boolean false: nothing is transferred

--- Other limits, from now on: what runs minds them at once, and they are kept.
---@param settings saros.bits.settings
---@return saros.bits.manager self
function manager:set(settings)
  local own = core_of(self)
  local given = options.take("q:set", settings, options.settings)
  result(own:call("configure", given))
  return self
end

--- `{ path, owner, jobs, … }`. Never blocks.
---@return table status
function manager:status() return print_out.manager(core_of(self):status()) end

--- Where it is.
---@return string
function manager:path() return core_of(self):path() end

--- Whether this process may change it; else another one does, and this only
--- looks.
---@return boolean
function manager:is_owner() return core_of(self):is_owner() end

-- ------------------------------------------------------------------
-- Events
-- ------------------------------------------------------------------

local function listeners_of(self)
  local there = self._listeners
  if there then return there end
  -- Nobody who listens keeps the queue from being collected.
  local weak = setmetatable({ self }, { __mode = "v" })
  there = listen.new(core_of(self), function(event)
    local q, id = weak[1], event.job
    event.id = id
    if event.file then event.file = event.file + 1 end
    event.job = q and rawget(q, "_core") and id and q:job(id) or nil
    if q and not event.job then q:_notify(id, nil) end
    return event
  end)
  self._listeners = there
  return there
end

local wanted_usually = { transferred = true, error = true }

---@private
function manager:_notify(id, notify)
  if not notify and not self._listeners then return end
  listeners_of(self):set(id, notify and function(event)
    if event.id ~= id or not event.job then return end
    local f = notify
    if type(notify) == "table" then
      f = notify[event.what]
    elseif not wanted_usually[event.what] then
      return
    end
    if f then floor.spawn(f, event.job, event) end
  end)
end

--- Calls f(event) at each event of any job, as a task of its own, for as long
--- as anybody turns the loop; that alone keeps no script from ending.
---@param f fun(event: saros.bits.event)
---@return table listener `listener:close()` ends it; also `__close`
function manager:on_event(f)
  if type(f) ~= "function" then
    error("q:on_event: function expected, got " .. type(f), 2)
  end
  local all = listeners_of(self)
  local listener = {}
  function listener.close() all:set(listener, nil) end
  all:set(listener, function(event) floor.spawn(f, event) end)
  return setmetatable(listener, { __close = listener.close })
end

-- ------------------------------------------------------------------
-- Its end
-- ------------------------------------------------------------------

--- Closes it: what was told is committed, what is transferred stops where it
--- is, and goes on when the queue is opened again. Cancels nothing. Also
--- `__close`.
---@param seconds? number wait so long for that
---@return boolean? closed
---@return saros.error? err
function manager:close(seconds)
  local own = rawget(self, "_core")
  self._core = nil
  if not own then return true end
  if self._listeners then self._listeners:close() end
  local op = own:close()
  if not op then return true end
  local ok, err = op:wait(seconds)
  if ok == nil then return nil, err end
  return true
end

function meta.__close(self) self:close() end

function meta.__tostring(self)
  local own = rawget(self, "_core")
  if not own then return "saros.bits.manager: closed" end
  local there, s = pcall(own.status, own)
  if not there then return "saros.bits.manager: " .. "the parent's" end
  return "saros.bits.manager: " .. tostring(print_out.manager(s))
end

---@private
function manager._new(own, warning)
  return setmetatable({ _core = own, warning = warning,
    _jobs = setmetatable({}, { __mode = "v" }) }, meta)
end

return manager
