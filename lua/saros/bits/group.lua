--- QMgr, the first generation: a queue has groups, a group has one job, and a
--- job has files. What is queued, suspended and cancelled is the group. Each
--- method is called as its original is and answers as that does: what is not
--- implemented there raises E_NOTIMPL. Files have their names as soon as each is
--- whole, and keep them when the group is cancelled.
---
--- ```lua
--- local group = q:create_group()
--- local job = group:create_job()
--- job:add_files { { remote_file = "https://example.org/a.iso",
---   local_file = "/srv/a.iso" } }
--- group:resume_group()
--- local flags, win32, transport, retries = job:get_status() -- 0x08: under way
--- ```

local floor = require "saros.core"
local code = require "saros.code"
local calls = require "saros.bits.calls"
local core = require "saros.bits.core"
local group_job = require "saros.bits.group_job"
local print_out = require "saros.bits.print"
local properties = require "saros.bits.group_properties"

---@class saros.bits.manager
local manager = require "saros.bits.manager"

local raise = calls.raise

local GROUP_COMPLETE, GROUP_INCOMPLETE = 0x040, 0x080
local GROUP_SUSPENDED, GROUP_ERROR, GROUP_FOREGROUND = 0x100, 0x200, 0x400

---@class saros.bits.group
---@field id string its GUID
local group = {}

local meta = { __index = group, __name = "saros.bits.group" }

-- The modern job behind it. Raises when it has left the queue.
local function job_of(self)
  if getmetatable(self) ~= meta then
    error("a group expected: group:method(), not group.method()", 3)
  end
  -- Somebody may have had it, and closed it.
  if not rawget(self._job, "_core") then
    self._job = self._job._manager:job(self._job.id) or self._job
  end
  local state = rawget(self._job, "_core") and self._job:status().state
  if not state or state == "cancelled" or state == "acknowledged" then
    raise(code.QM_E_ITEM_NOT_FOUND,
      ("the group %s is not in the queue any more"):format(self.id))
  end
  return self._job, state
end

-- What is kept with the job for this generation.
local function kept_of(job) return job:status().kept or {} end

-- Of two tasks that change it the second sees what the first has kept.
local function its_turn(job)
  while job._keeps and not job._keeps:done() do job._keeps:wait() end
end

local function keep(job, kept)
  job._keeps = job._core:call("set", { kept = kept })
  calls.result(job._keeps)
end

local function guid_of(what, id)
  local guid = type(id) == "string" and core.guid(id)
  if not guid then
    raise(code.E_INVALIDARG, ("%s: a GUID expected, got %s"):format(what,
      type(id) == "string" and ("%q"):format(id) or type(id)))
  end
  return guid
end

-- ------------------------------------------------------------------
-- The queue's part: IBackgroundCopyQMgr
-- ------------------------------------------------------------------

local function group_of(job, id)
  return setmetatable({ id = id, _job = job }, meta)
end

-- The jobs that are behind groups, by the groups' GUIDs.
local function grouped(self)
  local list = {}
  for _, job in ipairs(self:jobs()) do
    local s = job:status()
    if s.group then list[#list + 1] = { id = s.group, job = job } end
  end
  return list
end

local function find(self, id)
  for _, entry in ipairs(grouped(self)) do
    if entry.id == id then return group_of(entry.job, id) end
  end
end

--- CreateGroup: a new one, without a job, and suspended.
---@param id? string its GUID; without one it is made up
---@return saros.bits.group
function manager:create_group(id)
  manager._check(self)
  if id == nil then id = core.guid() end
  id = guid_of("q:create_group", id)
  if find(self, id) then
    raise(code.E_INVALIDARG, ("there is a group %s already"):format(id))
  end
  local job = self:_create(self._core, { type = "download", group = id,
    priority = "normal", kept = {} })
  return group_of(job, id)
end

--- GetGroup.
---@param id string
---@return saros.bits.group
function manager:get_group(id)
  manager._check(self)
  id = guid_of("q:get_group", id)
  return find(self, id) or raise(code.QM_E_ITEM_NOT_FOUND,
    ("there is no group %s in the queue"):format(id))
end

--- EnumGroups.
---@param flags? integer must be 0
---@return saros.bits.group[]
function manager:enum_groups(flags)
  manager._check(self)
  if (flags or 0) ~= 0 then
    raise(code.E_NOTIMPL, "EnumGroups has no flags: 0 expected")
  end
  local list = {}
  for i, entry in ipairs(grouped(self)) do
    list[i] = group_of(entry.job, entry.id)
  end
  return print_out.groups(list)
end

-- ------------------------------------------------------------------
-- Its job
-- ------------------------------------------------------------------

local function suspended_or_over(state)
  return state == "suspended" or state == "error" or state == "transferred"
end

--- CreateJob: a group has one.
---@param id? string its GUID; without one it is made up
---@return saros.bits.group_job
function group:create_job(id)
  its_turn((job_of(self)))
  local job, state = job_of(self)
  local kept = kept_of(job)
  if not suspended_or_over(state) then
    raise(code.QM_E_INVALID_STATE, "the group is at work: suspend it first")
  end
  if kept.job then
    raise(code.E_NOTIMPL, "a group has one job, and this has its own")
  end
  if id == nil then id = core.guid() end
  kept.job = guid_of("group:create_job", id)
  keep(job, kept)
  return group_job._new(self, kept.job)
end

--- GetJob.
---@param id string
---@return saros.bits.group_job
function group:get_job(id)
  id = guid_of("group:get_job", id)
  if kept_of(job_of(self)).job ~= id then
    raise(code.QM_E_ITEM_NOT_FOUND, ("the group has no job %s"):format(id))
  end
  return group_job._new(self, id)
end

--- EnumJobs.
---@param flags? integer must be 0
---@return saros.bits.group_job[] jobs one, or none before there is one
function group:enum_jobs(flags)
  if (flags or 0) ~= 0 then
    raise(code.E_NOTIMPL, "EnumJobs has no flags: 0 expected")
  end
  local id = kept_of(job_of(self)).job
  return id and { group_job._new(self, id) } or {}
end

--- QueryNewJobInterface: the job behind it, in the words of today.
---@return saros.bits.job
function group:query_new_job_interface()
  return (job_of(self))
end

-- ------------------------------------------------------------------
-- What is done with it
-- ------------------------------------------------------------------

--- ResumeGroup. New groups, and those that failed or are finished, are
--- suspended.
function group:resume_group()
  local job, state = job_of(self)
  if state ~= "transferred" then job:resume() end
end

--- SuspendGroup.
function group:suspend_group()
  local job, state = job_of(self)
  if not suspended_or_over(state) then job:suspend() end
end

--- CancelGroup: it leaves the queue, for good. Files that are whole stay.
function group:cancel_group() job_of(self):cancel() end

--- SwitchToForeground.
function group:switch_to_foreground()
  job_of(self):set { priority = "foreground" }
end

-- ------------------------------------------------------------------
-- How it is
-- ------------------------------------------------------------------

local MOST = 0xFFFFFFFF -- a DWORD's

local function clamped(n) return n < MOST and n or MOST end

local PERCENT_DONE, TIME_DONE, SIZE_DONE = 1, 2, 3

---@private
function group:_progress(flag)
  local s = job_of(self):status()
  if flag == PERCENT_DONE then
    if s.state == "transferred" then return 100 end
    local total = s.total
    return total and total > 0 and math.min(s.bytes * 100 // total, 99) or 0
  elseif flag == SIZE_DONE then
    return clamped(s.bytes)
  elseif flag == TIME_DONE then
    raise(code.E_NOTIMPL, "GetProgress does not know how long it has taken")
  end
  raise(code.E_INVALIDARG, "GetProgress: 1 (percent) or 3 (bytes) expected")
end

--- GetProgress.
---@param flag integer 1: percent, 3: bytes (as many as 32 bits can say)
---@return integer
function group:get_progress(flag) return self:_progress(flag) end

--- GetStatus.
---@return integer flags QM_STATUS_GROUP_…
---@return integer job_index 0
function group:get_status()
  local s = job_of(self):status()
  local flags = s.state == "transferred" and GROUP_COMPLETE or GROUP_INCOMPLETE
  if suspended_or_over(s.state) then flags = flags | GROUP_SUSPENDED end
  if s.state == "error" or s.state == "transient_error" then
    flags = flags | GROUP_ERROR
  end
  if s.priority == "foreground" then flags = flags | GROUP_FOREGROUND end
  return flags, 0
end

--- get_Size: of all its files; 0 when that is not known.
---@return integer bytes as many as 32 bits can say
function group:get_size() return clamped(job_of(self):status().total or 0) end

--- get_GroupID.
---@return string
function group:get_group_id() return self.id end

-- ------------------------------------------------------------------
-- Properties
-- ------------------------------------------------------------------

--- GetProp.
---@param property integer|string GROUPPROP: 0 or "priority", 5 "protocol_flags", 6 "notify_flags", 7 "notify_clsid", 11 "display_name", 12 "description"
---@return integer|string
function group:get_prop(property)
  return properties.get(job_of(self):status(), property)
end

--- SetProp. E_NOTIMPL for a property that there is not, E_INVALIDARG for a value
--- of the wrong kind.
---@param property integer|string
---@param value integer|string
function group:set_prop(property, value)
  its_turn((job_of(self)))
  local job = job_of(self)
  local changes = properties.set(job:status(), property, value)
  if changes.kept then
    keep(job, changes.kept)
  elseif next(changes) then
    calls.result(job._core:call("set", changes))
  end
end

--- InternalSetProp.
function group:internal_set_prop() -- luacheck: no self
  raise(code.E_NOTIMPL, "InternalSetProp is nobody's business")
end

-- ------------------------------------------------------------------
-- Being told: IBackgroundCopyCallback1
-- ------------------------------------------------------------------

local FIRST_DELAY, LAST_DELAY = 0.25, 60 -- seconds

-- As long as it does not return S_OK (0, or nothing), once more.
local function tell(self, f)
  local delay = FIRST_DELAY
  while rawget(self, "_on_status") == f
    and rawget(self._job._manager, "_core") do
    local there, flags = pcall(self.get_status, self)
    if not there then return end
    local jobs = self:enum_jobs(0)
    local _, win32, transport, retries = self._job:get_status()
    local ok, answer = pcall(f, self, jobs[1], -1, flags, retries, win32,
      transport)
    if ok and (answer == nil or answer == 0 or answer == true) then return end
    if not ok then warn("saros: on_status: " .. tostring(answer)) end
    floor.sleep(delay):wait()
    delay = math.min(delay * 2, LAST_DELAY)
  end
end

--- IBackgroundCopyCallback1::OnStatus: f(group, job, file_index, flags, retries,
--- win32, transport) is called when the group is complete (while NOTIFYFLAGS have
--- GROUP_DONE) or has failed, and again until it returns 0 or nothing. It ends
--- with this manager; nil ends it now.
---@param f? fun(group: saros.bits.group, job: saros.bits.group_job?, file_index: integer, flags: integer, retries: integer, win32: integer, transport: integer): integer?
function group:on_status(f)
  if f ~= nil and type(f) ~= "function" then
    error("group:on_status: function expected, got " .. type(f), 2)
  end
  local job = job_of(self)
  self._on_status = f
  job._manager:_notify(job.id, f and {
    transferred = function()
      if properties.wants_done(job:status()) then tell(self, f) end
    end,
    error = function()
      if properties.wants_any(job:status()) then tell(self, f) end
    end,
  })
end

--- SetNotificationPointer, by that name.
---@param f? function as on_status takes it
function group:set_notification_pointer(f) return self:on_status(f) end

function meta.__eq(a, b)
  return getmetatable(a) == meta and getmetatable(b) == meta
    and a.id == b.id and a._job == b._job
end

function meta.__tostring(self)
  local there, flags = pcall(self.get_status, self)
  if not there then return ("saros.bits.group: %s, gone"):format(self.id) end
  return ("saros.bits.group: %s, status 0x%03x"):format(self.id, flags)
end

return group
