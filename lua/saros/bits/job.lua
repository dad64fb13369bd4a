--- Jobs: what is transferred together, in the words of BITS.

local code = require "saros.code"
local calls = require "saros.bits.calls"
local options = require "saros.bits.options"
local print_out = require "saros.bits.print"

local failure, result = calls.failure, calls.result

--- A job. Two are equal when they are the same. What is done with it is kept:
--- closing it, or the queue, lets go of it and cancels nothing.
---@class saros.bits.job
---@field id string its GUID
local job = {}

local meta = { __index = job, __name = "saros.bits.job" }

local function core_of(self)
  local core = type(self) == "table" and rawget(self, "_core")
  if core then return core end
  if getmetatable(self) == meta then
    error("the job was closed; get it from its queue once more", 3)
  end
  error("a job expected: job:method(), not job.method()", 3)
end

--- Adds a file. It waits for nothing: with the next call that does, or a moment
--- later, it is in the queue on the disk.
---@param file saros.bits.file
---@return saros.bits.job self
function job:add_file(file)
  local core = core_of(self)
  local given = options.take("job:add_file", file, options.file)
  calls.checked(core:put(options.file_of("job:add_file", given), true))
  calls.checked(core:add())
  return self
end

-- The i-th of several. Raises in the line of whoever has called what calls this.
local function put_one(core, file, i)
  local what = ("job:add_files: [%d]"):format(i)
  local given = options.take(what, file, options.file, 2)
  local ok, number, message = core:put(options.file_of(what, given, 2), i == 1)
  if not ok then calls.raise(number, ("[%d]: %s"):format(i, message)) end
end

--- Adds several, or none of them when one is wrong.
---@param files saros.bits.file[]
---@return saros.bits.job self
function job:add_files(files)
  local core = core_of(self)
  if not options.is_list(files) then
    error("job:add_files: a list of files expected, { { url =, path = }, … }, "
      .. "got " .. (type(files) == "table" and "something else"
      or type(files)), 2)
  end
  local i = 1
  while i <= #files do
    i = i + core:put_plain(files, i)
    if i <= #files then
      put_one(core, files[i], i)
      i = i + 1
    end
  end
  if #files > 0 then calls.checked(core:add()) end
  return self
end

--- Lets it go on: a new one, one that was suspended, or one in error once more.
---@return saros.bits.job self
function job:resume()
  result(core_of(self):call "resume")
  return self
end

--- Stops it. What was transferred stays, and resume goes on from there.
---@return saros.bits.job self
function job:suspend()
  result(core_of(self):call "suspend")
  return self
end

--- Ends a job: the files of a download have their names then. Before all of them
--- are there those that are get theirs, and the others are given up. It leaves
--- the queue.
---@return integer code S_OK, BG_S_PARTIAL_COMPLETE or BG_S_UNABLE_TO_DELETE_FILES
function job:complete()
  return result(core_of(self):call "complete")
end

--- Gives it up: what was transferred is deleted, and it leaves the queue.
---@return integer code S_OK or BG_S_UNABLE_TO_DELETE_FILES
function job:cancel()
  return result(core_of(self):call "cancel")
end

--- Changes properties; transfers that run take what they can of them at once.
---@param properties saros.bits.properties
---@return saros.bits.job self
function job:set(properties)
  local core = core_of(self)
  local given = options.take("job:set", properties, options.properties)
  local notify = given.notify
  given.notify = nil
  if notify ~= nil and not rawget(self._manager, "_core") then
    error("job:set: the queue was closed", 2)
  end
  if next(given) then result(core:call("set", given)) end
  if notify ~= nil then self._manager:_notify(self.id, notify or nil) end
  return self
end

---@class saros.bits.new_url
---@field number? integer of the file: one of it
---@field url? string
---@field from? string what the URLs of files begin with
---@field to? string what they begin with from now on

--- Another address for a file, or for all that begin alike, while the job is not
--- at work: what was transferred is used, where it is provably the same.
---@param where saros.bits.new_url
---@return saros.bits.job self
function job:set_url(where)
  local core = core_of(self)
  local given = options.take("job:set_url", where,
    { number = "integer", url = "string", from = "string", to = "string" })
  local one, all = given.number and given.url, given.from and given.to
  if (one == nil) == (all == nil) then
    error("job:set_url: { number =, url = } or { from =, to = } expected", 2)
  end
  if given.number then
    if given.number < 1 then
      error("job:set_url: option 'number': files are counted from 1", 2)
    end
    given.number = given.number - 1
  end
  result(core:call("set_url", given))
  return self
end

--- Its files: a list of `{ number, url, path, state, bytes, total, … }`.
---@param from? integer the first one of them (1)
---@param most? integer how many
---@return saros.bits.file.status[] files
function job:files(from, most)
  local core = core_of(self)
  for i, n in ipairs { from or 1, most or 0 } do
    if math.type(n) ~= "integer" or n < 2 - i then
      error(("job:files: %s expected, got %s"):format(i == 1
        and "the number of the first, from 1," or "how many", tostring(n)), 2)
    end
  end
  local list = core:files(from, most)
  for _, file in ipairs(list) do file.number = file.number + 1 end
  return print_out.files(list)
end

-- ------------------------------------------------------------------
-- How it is
-- ------------------------------------------------------------------

-- What C says of a failure: it counts files from 0.
local function details_of(core)
  local details, number = core:error()
  if details and details.file then details.file = details.file + 1 end
  return details, number
end

-- What is known of a failure, at an error object.
local function put_details(err, details)
  for _, name in ipairs { "context", "context_name", "file", "win32",
    "transport", "url", "path" } do
    if err[name] == nil then err[name] = details[name] end
  end
  return err
end

--- Its error, while it is in error or waits to try again.
---@return saros.bits.error? err nil when there is none
---@return saros.error? why BG_E_ERROR_INFORMATION_UNAVAILABLE then
function job:error()
  local details, number = details_of(core_of(self))
  if details then
    return put_details(failure(details.code, details.message), details)
  end
  return nil, failure(number, "the job has no error")
end

--- Everything there is to know about it now, without what is secret. Never
--- blocks.
---@return saros.bits.job.status
function job:status()
  local s = core_of(self):status()
  s.job_state = s.state
  local e = s.error
  if e and e.file then e.file = e.file + 1 end
  return print_out.status(s)
end

--- IBackgroundCopyJob1::GetStatus.
---@return integer flags QM_STATUS_JOB_INCOMPLETE, _COMPLETE, _ERROR
---@return integer win32 with the error flag: the Win32 error, or 0
---@return integer transport likewise: the HTTP status
---@return integer retries likewise: how often it was tried again
function job:get_status()
  local hr, flags, win32, transport, retries = core_of(self):get_status()
  if hr ~= 0 then
    error(failure(hr, "the job is not in the queue any more"), 0)
  end
  return flags, win32, transport, retries
end

--- The operation of its present run, to be waited for with others; nil before it
--- was resumed. It ends when the job is transferred, in error or cancelled; to
--- cancel it cancels the job.
---@return saros.operation? run
function job:run() return core_of(self):run() end

-- What a run resulted in that was another process's.
local function result_of(self)
  local s = core_of(self):status()
  return print_out.result { files = s.files_done, bytes = s.bytes }
end

local ended = {
  transferred = result_of,
  acknowledged = result_of,
  cancelled = function()
    local err = failure(code.E_CANCELLED, "the job was cancelled")
    err.cancelled = true
    return nil, err
  end,
  error = function(self) return nil, (self:error()) end,
}

local function runs_elsewhere(self)
  local s = rawget(self._manager, "_core") and self._manager:status() or {}
  if s.owner then
    return failure(code.E_OUTOFMEMORY, "there was no memory for what the job "
      .. "could be waited for by; it goes on: ask job:status()")
  end
  return failure(code.SAROS_E_LOCKED, ("the job is run by who owns its queue "
    .. "(%s): only there it can be waited for; here ask job:status(), or be "
    .. "told of its end by job:set { notify = f }")
    :format(s.owned_by or "nobody does now"))
end

--- Waits until it is transferred, in error or cancelled. One that is suspended
--- fails at once with BG_E_INVALID_STATE, one that another process runs with
--- SAROS_E_LOCKED.
---@param seconds? number at most so long; `0` only looks
---@return saros.bits.result? result
---@return saros.bits.error? err
function job:wait(seconds)
  local core = core_of(self)
  calls.check_seconds("job:wait", seconds)
  local state = core:state()
  if state == "suspended" then
    return nil, failure(code.BG_E_INVALID_STATE,
      "the job is suspended, and would be waited for for ever; resume it")
  end
  local run = core:run()
  if not run then
    if ended[state] then return ended[state](self) end
    return nil, runs_elsewhere(self)
  end
  local value, err = run:wait(seconds)
  if value ~= nil then return value end
  local details = not err.timeout and details_of(core)
  if details and details.code == err.code then put_details(err, details) end
  return nil, err
end

--- Its answer in the words of QMgr, as `get_status` has them first.
---@return integer flags
---@return integer percent
function job:query()
  local core = core_of(self)
  local run = core:run()
  if run then return run:query() end
  local hr, flags = core:get_status()
  return hr == 0 and flags or hr, flags == code.QM_STATUS_JOB_COMPLETE
    and 100 or 0
end

--- Whether it is transferred, in error, or out of the queue.
---@return boolean
function job:done()
  local run = core_of(self):run()
  if run then return run:done() end
  return ended[core_of(self):state()] ~= nil
end

--- For a `for` loop: `job:status()` now, then at each move, and last when the
--- run has ended.
---@return fun(): saros.bits.job.status?
function job:progress()
  local run = core_of(self):run()
  if not run then
    local once = self:status()
    return function()
      local s = once
      once = nil
      return s
    end
  end
  local next_move, state, _, closing = run:progress()
  return function()
    if next_move(state) then return self:status() end
  end, nil, nil, closing
end

--- Calls f(result, err, job) when the present run has ended, as a task of its
--- own, once.
---@param f fun(result: any, err: saros.error?, job: saros.bits.job)
---@return saros.operation handle that task: `handle:close()` forgets it
function job:on_done(f)
  if type(f) ~= "function" then
    error("job:on_done: function expected, got " .. type(f), 2)
  end
  local run = core_of(self):run()
  if not run then
    error("job:on_done: the job has no run; resume it first", 2)
  end
  return run:on_done(function(value, err) return f(value, err, self) end)
end

--- IBackgroundCopyJob::TakeOwnership: not implemented. A queue is its user's
--- alone, and so are all jobs in it.
function job:take_ownership()
  core_of(self)
  calls.raise(code.E_NOTIMPL, "a job is not taken over from another user: only "
    .. "its own can open the queue; make it anew in one of yours")
end

--- Lets go of it; it goes on. Also `__close`.
function job:close()
  local core = rawget(self, "_core")
  if core then core:close() end
  self._core = nil
end

meta.__close = job.close

function meta.__eq(a, b)
  return getmetatable(a) == meta and getmetatable(b) == meta
    and a.id == b.id and a._manager == b._manager
end

function meta.__tostring(self)
  local core = rawget(self, "_core")
  if not core then return "saros.bits.job: closed" end
  local there, s = pcall(core.status, core)
  if not there then return "saros.bits.job: " .. self.id end -- the parent's
  return "saros.bits.job: " .. print_out.job(s)
end

--- Made by its manager alone.
---@private
function job._new(manager, core)
  return setmetatable({ id = core:id(), _core = core, _manager = manager },
    meta)
end

return job
