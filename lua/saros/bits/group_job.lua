--- IBackgroundCopyJob1: the job of a QMgr group.

local code = require "saros.code"
local calls = require "saros.bits.calls"
local core = require "saros.bits.core"
local options = require "saros.bits.options"

local raise = calls.raise

---@class saros.bits.group_job
---@field id string its GUID
local group_job = {}

local meta = { __index = group_job, __name = "saros.bits.group_job" }

local function job_of(self)
  if getmetatable(self) ~= meta then
    error("a group's job expected: job:method(), not job.method()", 3)
  end
  return self._group:query_new_job_interface()
end

--- CancelJob: not implemented; its group is cancelled.
function group_job:cancel_job() -- luacheck: no self
  raise(code.E_NOTIMPL, "a job is not cancelled; its group is: cancel_group")
end

--- SwitchToForeground: not implemented; its group has it.
function group_job:switch_to_foreground() -- luacheck: no self
  raise(code.E_NOTIMPL, "a job is not switched; its group is")
end

--- GetTimes: not implemented.
function group_job:get_times() -- luacheck: no self
  raise(code.E_NOTIMPL, "nobody knows a job's times")
end

--- GetProgress.
---@param flag integer 1: percent, 3: bytes (as many as 32 bits can say)
---@return integer
function group_job:get_progress(flag) return self._group:_progress(flag) end

--- GetStatus.
---@return integer flags QM_STATUS_JOB_INCOMPLETE, _COMPLETE, _ERROR
---@return integer win32 with the error flag: the Win32 error, or 0
---@return integer transport likewise: the HTTP status
---@return integer retries likewise: how often it was tried again
function group_job:get_status() return job_of(self):get_status() end

---@class saros.bits.file_set
---@field remote_file string the URL, of at most 2200 characters, escaped as it is sent
---@field local_file string a full path, in a directory that exists
---@field size_hint? integer nobody minds it

local function check(i, file)
  if type(file) ~= "table" or type(file.remote_file) ~= "string"
    or type(file.local_file) ~= "string" then
    raise(code.E_INVALIDARG, ("AddFiles: number %d is no { remote_file =, "
      .. "local_file = }"):format(i))
  end
  local ok, number, message = core.check_url(file.remote_file)
  if ok then ok, number, message = core.check_path(file.local_file) end
  if ok then return { url = file.remote_file, path = file.local_file } end
  -- What came after QMgr has more words for it.
  raise(number == code.E_OUTOFMEMORY and number or code.E_INVALIDARG, message)
end

--- AddFiles: all of them or, when one is wrong, none. E_INVALIDARG for a name
--- that is none, E_ACCESSDENIED where nothing may be written.
---@param files saros.bits.file_set[]
function group_job:add_files(files)
  local job, list, paths = job_of(self), {}, {}
  if not options.is_list(files) then
    raise(code.E_INVALIDARG, "AddFiles: a list of files expected, "
      .. "{ { remote_file =, local_file = }, … }")
  end
  for i, file in ipairs(files) do
    list[i] = check(i, file)
    paths[i] = list[i].path
  end
  if #list == 0 then return end
  calls.result(job._core:call("check_files", { paths = paths }))
  for i, file in ipairs(list) do
    calls.checked(job._core:put(file, i == 1))
  end
  calls.checked(job._core:add())
end

--- GetFile. Its URL is shown without what is secret in it.
---@param index integer from 0
---@return saros.bits.file_set
function group_job:get_file(index)
  index = type(index) == "number" and math.tointeger(index)
  local file = index and index >= 0 and job_of(self):files(index + 1, 1)[1]
  if not file then
    raise(code.QM_E_ITEM_NOT_FOUND, "the job has no file with that number")
  end
  return { remote_file = file.url, local_file = file.path, size_hint = 0 }
end

--- GetFileCount.
---@return integer
function group_job:get_file_count() return job_of(self):status().files end

--- get_JobID.
---@return string
function group_job:get_job_id() return self.id end

function meta.__eq(a, b)
  return getmetatable(a) == meta and getmetatable(b) == meta
    and a.id == b.id and a._group == b._group
end

function meta.__tostring(self)
  local there, flags = pcall(self.get_status, self)
  if not there then
    return ("saros.bits.group_job: %s, gone"):format(self.id)
  end
  return ("saros.bits.group_job: %s, status 0x%02x"):format(self.id, flags)
end

--- Made by its group alone.
---@private
function group_job._new(group, id)
  return setmetatable({ id = id, _group = group }, meta)
end

return group_job
