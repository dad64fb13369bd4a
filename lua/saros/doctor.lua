--- What works here, what is missing, and how it is to be had. Each thing is
--- tried, on something of its own: a file system in a file, a repository of
--- three files, a queue, a process that is stopped. Nothing else is touched, and
--- nothing stays.
---
--- ```lua
--- local doctor = require "saros.doctor"
--- for _, c in ipairs(assert(doctor.start {}:wait()).checks) do
---   print(c.state, c.what, c.why, c.remedy)
--- end
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local shown = require "saros.text"
local surely = require "saros.surely"

---@class saros.doctor
local doctor = {}

local WHAT <const> = "doctor.start"

--- The rooms that are looked into, in this order.
doctor.rooms = { "machine", "shadows", "repository", "databases", "transfers",
  "service" }

---@class saros.doctor.check
---@field id string "shadow.btrfs"
---@field room string "shadows"
---@field what string what it is good for
---@field state "works"|"missing"|"degraded"|"untried"
---@field why? string what was found
---@field remedy? string what to do, when it does not work

-- ------------------------------------------------------------------
-- What the rooms are given
-- ------------------------------------------------------------------

local tools = {}
tools.__index = tools

--- How a program ended, with what it wrote; nil and why it could not start.
function tools.run(argv, options)
  local o = { argv = argv, any_status = true, stderr = "stdout", timeout = 60 }
  for name, item in pairs(options or {}) do o[name] = item end
  local op <close> = core.process(o)
  local result, err = op:wait()
  if result then return result end
  if err.cancelled then error(err, 0) end
  return nil, err
end

--- The last line of a text, for a reason.
function tools.last(text)
  local last
  for line in tostring(text):gmatch "[^\n]+" do
    if line:find "%S" then last = line end
  end
  return last
end

--- The first line of what a program says of itself: proof that it runs here.
function tools.version(program, argument)
  local result, err = tools.run({ program, argument or "--version" },
    { timeout = 15 })
  if not result then return nil, err.message end
  if result.status ~= 0 then
    return nil, ("%s ended with status %d: %s"):format(program, result.status,
      tools.last(result.stdout) or "it said nothing")
  end
  return result.stdout:match "[^\n]+" or program
end

--- What an error says to a person, who does not ask where in here it was.
function tools.message(err)
  local text = tostring(type(err) == "table" and err.message or err)
  return (text:gsub("^[^\n]-%.lua:%d+: ", "", 1))
end

--- Tries a thing: f returns its state, why, and the remedy; what it raises is
--- why it is missing.
function tools:try(id, what, f)
  core.report { phase = id }
  local ok, state, why, remedy = pcall(f)
  if not ok then
    local err = state
    if type(err) == "table" and err.cancelled then error(err, 0) end
    state, why, remedy = "missing", tools.message(err), nil
  end
  local check = { id = id, room = self.room, what = what, state = state,
    why = why and shown.safe(why), remedy = remedy and shown.safe(remedy) }
  self.checks[#self.checks + 1] = check
  if self.on_check then self.on_check(check) end
  return state
end

-- Whatever is tried lies in there, and goes with it.
local function scratch_of(o)
  local path, err = surely.directory((o.scratch or os.getenv "TMPDIR"
    or "/var/tmp") .. "/saros-doctor-")
  local failed = err and err.name == "SAROS_E_EXIT"
  return setmetatable({ path = path, cause = not failed and err or nil,
    why = err and (failed and tools.last(err.message) or tools.message(err)) },
    { __close = function()
      if path then surely.remove(path) end
    end })
end

local function user_of()
  local result = tools.run { "id", "-un" }
  local number = tools.run { "id", "-u" }
  return result and result.stdout:match "%S+" or "?",
    number and math.tointeger(number.stdout:match "%d+") or -1
end

local function look(o)
  local scratch <close> = scratch_of(o)
  local user, uid = user_of()
  local report = { user = user, uid = uid, checks = {} }
  local self = setmetatable({ checks = report.checks, root = uid == 0,
    user = user, scratch = scratch.path, state_dir = o.state_dir,
    quick = o.quick, paths = o.paths or {}, on_check = o.on_check }, tools)
  self.room = "machine"
  if not scratch.path then
    self:try("scratch", "room for what is tried", function()
      return "missing", scratch.why,
        not scratch.cause and "name another directory (--scratch)" or nil
    end)
    if scratch.cause then error(scratch.cause, 0) end
    error(core.failure("saros", require "saros.code".E_FAIL,
      "nothing can be tried: " .. scratch.why .. "; name another directory"), 0)
  end
  for i, room in ipairs(doctor.rooms) do
    core.report { done = i - 1, total = #doctor.rooms, phase = room }
    self.room = room
    require("saros.doctor." .. room)(self)
  end
  return report
end

local kinds <const> = { state_dir = "string", scratch = "string",
  quick = "boolean", paths = "list", on_check = "function", name = "string" }

---@class saros.doctor.options
---@field paths? string|string[] absolute: what of these there can be shadows of, and by whom
---@field quick? boolean make no file systems: what needs one is untried
---@field scratch? string where what is tried lies ($TMPDIR, or /var/tmp)
---@field state_dir? string of the sessions of vss
---@field on_check? fun(check: saros.doctor.check) called for each when it was tried
---@field name? string of the operation

--- Looks at everything, as the user who runs this.
---@param options? saros.doctor.options
---@return saros.operation op its result: `{ user, uid, checks = saros.doctor.check[] }`
function doctor.start(options)
  local o = arguments.check(WHAT, options, kinds)
  return core.spawn_as("saros.doctor", o.name, look, o)
end

return doctor
