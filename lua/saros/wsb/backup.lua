--- The backup of applications: a shadow while they hold still, a check of each
--- component on the shadow, and a version in a repository that knows what it is.
---
--- ```lua
--- local wsb = require "saros.wsb"
--- local w <close> = sqlite.writer { databases = { "/srv/app/app.db" } }
--- local v = assert(wsb.backup { repository = repo, paths = { "/srv/app" } }:wait())
--- print(v)   -- what consistency was reached, and what can be recovered of it
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local files = require "saros.wsb.files"
local steps = require "saros.wsb.steps"

local WHAT <const> = "wsb.backup"

-- Long for a check that reads everything, short for a server that hangs.
local CHECK_TIMEOUT <const> = 21600

local kinds <const> = { repository = "userdata", paths = "list",
  type = { "copy", "full" }, provider = "string|table", writers = "table",
  tags = "list", host = "string", exclude = "list", check = "boolean|table",
  timeouts = "table", state_dir = "string", scratch = "string",
  on_component = "function", whole = "boolean", name = "string" }

local function backup(o)
  local job <close> = steps.shadow(o)
  steps.check(job)
  steps.write(job)
  local copy = steps.store(job, o.repository)
  steps.complete(job, { copy }, true)
  return steps.late(job, copy)
end

---@class saros.wsb.backup.options
---@field repository saros.repository.handle where to, open
---@field paths string|string[] absolute; of one that is a link, or has one in it, what it leads to is in the version, by the name that that has
---@field type? "copy"|"full" copy (the default) leaves the applications' history alone; full lets them cut their logs
---@field provider? string|table<string, string> of the shadows: one for all, or by path
---@field writers? saros.vss.choice those without which it fails, and those that are left out
---@field tags? string|string[] of the version
---@field host? string instead of this machine's name
---@field exclude? string|string[] patterns, as restic has them. A component that loses files by one is stored, and cannot be recovered
---@field check? boolean|{ scratch: string?, timeout: number? } false: do not check the components. scratch: where copies for the checks are made; timeout: seconds for each of them (21600), then it is untried
---@field timeouts? table of the session of vss
---@field state_dir? string of the session of vss
---@field scratch? string where what is written meanwhile lies ($TMPDIR, or /var/tmp)
---@field whole? boolean also what a component has elsewhere, when the first of its files lies in the paths: its configuration, its log (true). What is not in the version bars it. (Of `repo:backup` the same word is a list of paths of which everything must be read)
---@field on_component? fun(c: table) called for each component when it was checked
---@field name? string of the operation

--- Makes a version of these paths, with all applications that have to do with
--- them holding still for the shadow. Each component is checked on the shadow;
--- one that fails is stored all the same, and barred from recovery. What is known
--- of the version, and a plan that restores it by hand, lie in it (`/.saros`).
---@param options saros.wsb.backup.options
---@return saros.operation op its result: `{ id, guid, components, consistency, added, partial, errors, … }`
local function start(options)
  local o = arguments.check(WHAT, options, kinds)
  arguments.need(WHAT, o, "repository", "an open one", 3)
  arguments.need(WHAT, o, "paths", "what to back up", 3)
  for i, path in ipairs(o.paths) do
    if not files.is_path(path) then
      error(("%s: option 'paths'[%d]: an absolute path expected"):format(WHAT,
        i), 2)
    end
    o.paths[i] = files.plain(path)
  end
  o.check_timeout = CHECK_TIMEOUT
  if type(o.check) == "table" then
    local more = arguments.check(WHAT .. ": option 'check'", o.check,
      { scratch = "string", timeout = "number" })
    o.scratch = more.scratch or o.scratch
    o.check_timeout = more.timeout or o.check_timeout
    o.check = true
  end
  o.type, o.tags, o.exclude = o.type or "copy", o.tags or {}, o.exclude or {}
  o.host = o.host or os.getenv "RESTIC_HOST"
    or (files.content "/proc/sys/kernel/hostname" or ""):gsub("\n$", "")
  return core.spawn_as(WHAT, o.name, backup, o)
end

return start
