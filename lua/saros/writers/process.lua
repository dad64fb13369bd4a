--- A writer for applications that nobody can ask to hold still: their processes
--- are stopped (SIGSTOP) while a shadow is made, and continued after it.
---
--- ```lua
--- local process = require "saros.writers.process"
--- local w <close> = process.writer { pidfile = "/run/app.pid",
---   files = { "/srv/app" } }
--- local set <close> = assert(vss.shadow { paths = { "/srv/app" } }:wait())
--- ```
---
--- What it cannot promise: the shadow is as after a loss of power, and no
--- better. What the application has in its own memory is not in it, and a file
--- may be half written: it must be able to start from that. Its clients wait,
--- and may lose patience; whoever started it sees that it stands still, and a
--- watchdog may kill it for that. What is written by the kernel for it goes on,
--- and so does a process that has lost its parent, unless one that is meant
--- began its session (as what is started as a service does); a `cgroup` has all.
---
--- They go on when this process is killed, when it hangs (after
--- `freeze_timeout`), and, when its guard was killed with it, with the next
--- shadow or `vss.reap`.

local core = require "saros.core"
local E = require "saros.code"
local registry = require "saros.wsb.registry"
local kind = require "saros.writers.kind"
local vss = require "saros.vss"

---@class saros.writers.process
local process = {}

--- The class of these writers.
process.id = "5d3e1f2a-7b6c-4d8e-9f01-2a3b4c5d6e05"

local FREEZE_TIMEOUT = 30
local STOP_TIMEOUT = 10

local known = { pids = "table", cgroup = "string", pidfile = "string",
  command = "string", files = "table", exclude = "table", id = "string",
  instance = "string", name = "string", level = "string",
  freeze_timeout = "number", stop_timeout = "number", allow_none = "boolean",
  listen = "boolean", state_dir = "string" }

--- What a writer takes, and what that is.
process.options = known

local function misuse(text, ...)
  error("process.writer" .. text:format(...), 4)
end

local function absolute(options, name)
  local path = options[name]
  if path and (path:sub(1, 1) ~= "/" or path:find "\0") then
    misuse(": option '%s': an absolute path expected", name)
  end
end

local function paths(options, name)
  local list = {}
  for i, path in ipairs(options[name] or {}) do
    if type(path) ~= "string" or path:sub(1, 1) ~= "/" or path:find "\0" then
      misuse(": option '%s'[%d]: an absolute path expected", name, i)
    end
    list[i] = path
  end
  return list
end

local function check(options)
  if type(options) ~= "table" then
    misuse(": table expected, got %s", type(options))
  end
  for name, item in pairs(options) do
    local wanted = known[name]
    if not wanted then misuse(" has no option '%s'", tostring(name)) end
    if type(item) ~= wanted then
      misuse(": option '%s': %s expected, got %s", name, wanted, type(item))
    end
  end
  absolute(options, "cgroup")
  absolute(options, "pidfile")
  local ways = (options.pids and 1 or 0) + (options.cgroup and 1 or 0)
    + (options.pidfile and 1 or 0)
  if ways > 1 then
    misuse(": pids, cgroup and pidfile exclude each other")
  elseif ways == 0 and (options.command or "") == "" then
    misuse(": who? option 'pids', 'cgroup', 'pidfile' or 'command'")
  end
  for i, pid in ipairs(options.pids or {}) do
    if math.type(pid) ~= "integer" or pid <= 0 then
      misuse(": option 'pids'[%d]: the number of a process expected", i)
    end
  end
end

-- The number that is in it now.
local function pid_in(path)
  local file <close> = io.open(path)
  if not file then
    return nil, path .. " cannot be read: does the application run?"
  end
  local pid = tonumber((file:read(64) or ""):match "^%s*(%d+)%s*")
  if not pid then return nil, path .. " has no number of a process in it" end
  return pid
end

---@class saros.writers.process.options
---@field pids? integer[] these processes, and their children
---@field pidfile? string the file that says which process; read at each freeze
---@field cgroup? string the directory of a control group: all in it and below
---@field command? string an extended regular expression: whose command line matches, and their children; beside one of the others a condition
---@field files string[] where they write
---@field exclude? string[]
---@field freeze_timeout? number seconds from its freeze to its thaw, and then its guard lets them go (30)
---@field stop_timeout? number seconds that they may take to stop (10)
---@field allow_none? boolean that nobody of them runs is no reason to refuse
---@field id? string its class: a GUID (`process.id`)
---@field instance? string this one of its class, a GUID
---@field name? string "process"
---@field level? "front_end"|"back_end"|"system" ("front_end")
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look, and where it is written down who is stopped

--- Subscribes a writer that stops processes. Who is meant is looked up at each
--- freeze, until there are no new ones; the shadow fails with a reason when
--- one does not stop or may not be stopped (this process and its ancestors,
--- init, threads of the kernel, other users'), and when one of them ran before
--- the end, also when it was stopped again. Who was stopped before stays so. Two
--- writers may mean the same process: it goes on when both let it go.
---@param options saros.writers.process.options
---@return saros.vss.writer
function process.writer(options)
  check(options)
  local files, exclude = paths(options, "files"), paths(options, "exclude")
  if #files == 0 then
    error("process.writer: option 'files': a list of paths expected", 2)
  end
  local name = options.name or "process"
  local window = options.freeze_timeout or FREEZE_TIMEOUT
  local held

  local function thaw()
    if not held then return true end
    local op <close> = held
    held = nil
    local release <close> = core.still_release(op)
    return release:wait()
  end

  local function freeze(event)
    thaw()
    local pids = options.pids
    if options.pidfile then
      local pid, why = pid_in(options.pidfile)
      if not pid and not options.allow_none then return nil, why end
      pids = { pid }
    end
    local op <const> = core.still { pids = pids, cgroup = options.cgroup,
      command = options.command, seconds = window,
      -- Something must be left of the window for the shadow itself.
      patience = math.min(options.stop_timeout or STOP_TIMEOUT,
        (event.deadline or window) * 0.8),
      allow_none = options.allow_none, state_dir = options.state_dir }
    held = op -- before it is waited for: an abort finds it
    local who, err = op:wait()
    if not who then return nil, err end
    return { components = { [name] = { consistency = "crash",
      note = ("%d processes were stopped"):format(#who.pids) } } }
  end

  return vss.writer {
    id = options.id or process.id, instance = options.instance, name = name,
    level = options.level, source = "nontransacted_db",
    freeze_timeout = window, guard = "process", listen = options.listen,
    state_dir = options.state_dir,
    components = { { type = "filegroup", name = name, files = files,
      exclude = exclude } },
    freeze = freeze,
    thaw = thaw,
    abort = function()
      thaw()
      return true
    end,
  }
end


-- ------------------------------------------------------------------
-- What is known of its files
-- ------------------------------------------------------------------

-- Nobody knows what is in them: they are there, and that is all.
local function check_files(files, at)
  for _, path in ipairs(files or {}) do
    local file = io.open(at(path) or "")
    if not file then
      local why = path .. " is not there"
      local failure = core.failure("wsb",
        E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, why)
      failure.problems = { why }
      return nil, failure
    end
    file:close()
  end
  return true
end

kind.define {
  name = "process", id = process.id,
  check = function(c, place)
    return check_files(c.files, function(path) return place:at(path) end)
  end,
  plan = function()
    return { "The files are as they were when the processes stood still. "
      .. "Start the application on them: it does what it does after a loss "
      .. "of power." }
  end,
}

-- In the shadow itself: no copy is needed to see that.
registry.of_kind(process.id, { name = "process",
  check = function(c)
    for _, own in ipairs(c.metadata and c.metadata.components or {}) do
      if own.name == c.component then return check_files(own.files, c.at) end
    end
    return true
  end })

return process
