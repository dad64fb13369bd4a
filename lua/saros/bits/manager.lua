--- Queues: their jobs, limits and events.

local code = require "saros.code"
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

local function core_of(self, level)
  local own = type(self) == "table" and rawget(self, "_core")
  if own then return own end
  error(getmetatable(self) == meta and "the queue was closed"
    or "a queue expected: q:method(), not q.method()", level or 3)
end

--- For those of its methods that are written elsewhere.
---@private
function manager._check(self) core_of(self, 4) end

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

-- By the beginning of its GUID, as jobs show themselves.
local function find_short(self, own, id)
  local found
  if not id:find "^%x%x%x%x[%x-]*$" then return nil end
  for _, one in ipairs(own:jobs()) do
    if one:id():sub(1, #id) == id:lower() then
      if found then
        calls.raise(code.E_INVALIDARG, ("two jobs begin with %s"):format(id))
      end
      found = one
    end
  end
  return found and job_of(self, found)
end

--- The job with this GUID, or the only one whose GUID begins so.
---@param id string
---@return saros.bits.job? job nil when there is none (any more)
function manager:job(id)
  local own = core_of(self)
  if type(id) ~= "string" then
    error("q:job: a GUID expected, got " .. type(id), 2)
  end
  local guid = core.guid(id)
  if not guid then return find_short(self, own, id) end
  local found = own:job(guid)
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
---@return saros.bits.manager.status status
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

-- A job that has left the queue, while somebody has it.
local function held(self, id)
  local one = self._jobs[id]
  return one and rawget(one, "_core") and one or nil
end

local function listeners_of(self)
  local there = self._listeners
  if there then return there end
  -- Nobody who listens keeps the queue from being collected.
  local weak = setmetatable({ self }, { __mode = "v" })
  there = listen.new(core_of(self), function(event)
    local q, id = weak[1], event.job
    event.id = id
    if event.file then event.file = event.file + 1 end
    event.job = q and rawget(q, "_core") and (q:job(id) or held(q, id)) or nil
    return print_out.event(event)
  end)
  self._listeners = there
  return there
end

-- Which events a function hears of that was given without a name: bits of
-- notify_flags.
local wanted = { transferred = 1, error = 2, modified = 8, file = 16 }
local USUAL, DISABLED = 1 | 2, 4

local over = { acknowledged = true, cancelled = true }

-- Who is told of one job until it is over. Of how it ended he hears once, also
-- when there were too many events to hear all of them.
local function listener_of(self, one, notify)
  local id, last = one.id, (one._core:told())
  local flags = one:status().notify_flags or USUAL

  local function tell(event)
    local f = notify
    if flags & DISABLED ~= 0 then return end
    if type(f) == "table" then
      f = f[event.what]
    elseif flags & (wanted[event.what] or 0) == 0 then
      return
    end
    if f then floor.spawn(f, one, event) end
  end

  local function tell_end(number, event)
    if number <= last then return end -- he knows
    last = number
    tell(event)
  end

  local function catch_up()
    local number, what = one._core:told()
    tell_end(number, print_out.event { what = what, id = id, job = one,
      number = number })
  end

  return function(event)
    local what, missed = event.what, event.what == "missed"
    if event.id ~= id and not missed then return end
    if not rawget(one, "_core") then one = self:job(id) end -- it was closed
    if not one then return self:_notify(id, nil) end
    if missed then
      catch_up()
    elseif what == "transferred" or what == "error" then
      tell_end(event.number, event)
    else
      if what == "modified" then flags = one:status().notify_flags or USUAL end
      tell(event)
    end
    if over[one._core:state()]
      and (missed or what == "state" and event.number > one._core:told()) then
      self:_notify(id, nil) -- nothing follows
    end
  end
end

---@private
function manager:_notify(id, notify)
  if not notify and not self._listeners then return end
  local one = notify and self:job(id)
  listeners_of(self):set(id, one and listener_of(self, one, notify) or nil)
end

--- Calls f(event) at each event of any job, as a task of its own, for as long
--- as anybody turns the loop; that alone keeps no script from ending. Who hears
--- more slowly than things happen is told `{ what = "missed", missed = n }`.
---@param f fun(event: saros.bits.event)
---@return table listener `listener:close()` ends it; also `__close`
function manager:on_event(f)
  core_of(self)
  if type(f) ~= "function" then
    error("q:on_event: function expected, got " .. type(f), 2)
  end
  local all = listeners_of(self)
  local listener = {}
  function listener.close() all:set(listener, nil) end
  all:set(listener, function(event) floor.spawn(f, event) end)
  return setmetatable(listener, { __close = listener.close,
    __name = "saros.bits.listener" })
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
  calls.check_seconds("q:close", seconds)
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
