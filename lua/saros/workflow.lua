--- The recipe that most people want: a shadow while the applications hold still,
--- their check, a version in each repository, read again; old ones are
--- forgotten, and from time to time one is restored and started.
---
--- ```lua
--- local nightly = saros.workflow { name = "nightly",
---   writers = { postgres = { conninfo = "host=/run/postgresql" } },
---   sources = { "/var/lib/postgresql", "/etc" },
---   to = { "/mnt/backup", "rest:https://host:8000/web1" },
---   password = { file = "/etc/saros/password" },
---   keep = { daily = 7, weekly = 5 }, verify = "5%", drill = "weekly" }
--- print(nightly:plan():wait())    -- what it would do
--- print(assert(nightly:run():wait()))
--- ```
---
--- Every repository gets its version from one shadow, side by side; one that
--- fails takes no other with it, and the run is partial. What a killed run has
--- finished the next one does not do again.

local core = require "saros.core"
local arguments = require "saros.arguments"
local options = require "saros.workflow.options"

local WHAT <const> = "saros.workflow"

---@alias saros.workflow.hook (fun(run: saros.workflow.run, owner: table, err: any): ...)|string[] a function (`nil, err` fails it; an operation is waited for), or a program and its arguments, which has SAROS_WORKFLOW, SAROS_RUN, SAROS_OF, SAROS_STATE (running, then how it ended: succeeded, partial, failed, cancelled) and SAROS_ERROR

---@class saros.workflow.hooks
---@field before? saros.workflow.hook when it fails, what it belongs to has failed
---@field after? saros.workflow.hook when it went well, all of it
---@field failed? saros.workflow.hook when it did not, or not all of it
---@field finally? saros.workflow.hook in any case

---@class saros.workflow.source: saros.workflow.hooks
---@field path string|fun(): any a path, or a function that returns paths or sources, called after the hooks `before`
---@field exclude? string|string[] patterns below it

---@class saros.workflow.to: saros.repository.options, saros.workflow.hooks
---@field location string
---@field keep? table
---@field prune? boolean|string|number
---@field verify? boolean|string
---@field init? boolean

---@class saros.workflow.options: saros.workflow.hooks
---@field name string
---@field writers? table<string, table|function> by kind, what their writers take: `{ postgres = { conninfo = … } }`, or a list, `{ { kind = "postgres", … }, … }`; a function opens one
---@field sources (string|saros.workflow.source|function)[]|string what is backed up
---@field to (string|saros.workflow.to)[]|string where to
---@field password? string|saros.repository.password of all that have none of their own
---@field provider? string|table<string, string> of the shadows
---@field require? string|string[] writers without which it fails
---@field exclude? string|string[] patterns, as restic has them
---@field tags? string|string[] of the versions
---@field host? string instead of this machine's name
---@field type? "copy"|"full" full lets the applications cut their logs, when all targets have a version
---@field init? boolean make a repository that is not there
---@field keep? { last: integer?, hourly: integer?, daily: integer?, weekly: integer?, monthly: integer?, yearly: integer?, within: string?, tags: table? } what forget keeps of this workflow's versions; nothing: all
---@field prune? boolean|"daily"|"weekly"|"monthly"|string|number remove what no version needs: always, never, or so often: "daily", "10d", seconds ("weekly", when there is `keep`)
---@field check? boolean false: the applications are not checked on the shadow
---@field verify? boolean|string check the repository afterwards, and read so much of it: "10%", "1/7", "5G"
---@field drill? boolean|"daily"|"weekly"|"monthly"|string|number|table restore and start a version; `{ every =, verify = function(db, c) … end, … }` with what `saros.drill` takes
---@field retry? { tries: integer?, delay: number?, factor: number?, most: number?, jitter: number?, on: function? } each step is tried again, when its error is retryable
---@field timeout? table<string, number|string> seconds, or "5m", by step: open, sources, writers, shadow, check, backup, complete, late, verify, forget, prune, drill, hook, reap
---@field patience? number|string seconds, or "30m", that another workflow is waited for: while it makes a shadow, or has a repository locked (1800)
---@field notify? table who is told, and of what
---@field state_dir? string
---@field scratch? string where what is written meanwhile lies ($TMPDIR, or /var/tmp)

---@class saros.workflow
---@field name string
local workflow = {}

local of = setmetatable({}, { __mode = "k" })

local workflow_type = { __name = WHAT, __index = workflow,
  __tostring = function(self)
    local o = of[self]
    return ("%s: %s, %d sources to %d repositories"):format(WHAT,
      require "saros.text".safe(o.name), #o.sources, #o.targets)
  end }

---@class saros.workflow.run.options
---@field only? string|string[] the locations of those repositories that are to have it
---@field resume? boolean|number whether an interrupted run is gone on with (true: one of the last twelve hours; or of so many seconds)
---@field argv? string[] for the record: the command that asked for it
---@field name? string of the operation
---@field state_dir? string where its state is, if the workflow does not say
---@field on_begin? fun(run: saros.workflow.run) called with the run before anything is done: `run:running()` says what it is at

-- Its options, with what was only said now.
local function completed(self, how)
  local o = of[self]
  if o.state_dir or not how.state_dir then return o end
  local all = {}
  for name, item in pairs(o) do all[name] = item end
  all.state_dir = how.state_dir
  return all
end

--- Runs it.
---@param how? saros.workflow.run.options
---@return saros.operation op its result: a `saros.workflow.run`, which may be `partial`. It fails when no repository has a version; then, and when it is cancelled, `err.run` says what was done
function workflow:run(how)
  how = arguments.check("workflow:run", how, { only = "list",
    resume = "boolean|number", argv = "table", name = "string",
    state_dir = "string", on_begin = "function" })
  return core.spawn_as(WHAT, how.name, require "saros.workflow.run".start,
    completed(self, how), how)
end

--- What a run would do now. Nothing is held, made, stored or removed.
---@param how? { only: string|string[]?, state_dir: string? } as for a run
---@return saros.operation op its result: `{ steps, paths, components, targets, warnings }`, which prints well
function workflow:plan(how)
  how = arguments.check("workflow:plan", how, { only = "list",
    state_dir = "string" })
  return core.spawn_as(WHAT, nil, require "saros.workflow.plan",
    completed(self, how), how)
end

--- How it stands, by the records of its runs.
---@return saros.workflow.status
function workflow:status()
  return require "saros.workflow.journal".status(of[self])
end

--- Opens its writers, for something that is no run of it: they are there for
--- every session of this process. Closing what is returned closes them. Raises.
---@return table open to be closed
function workflow:open_writers()
  return require "saros.workflow.sources".open_writers(of[self])
end

--- The paths of its sources, as they are now. Raises.
---@return string[]
function workflow:paths()
  return (require "saros.workflow.sources".resolve(of[self]))
end

--- A workflow. Its options are checked now, and what is wrong is raised; nothing
--- is done before it is run.
---@param given saros.workflow.options
---@return saros.workflow
local function new(given)
  local good, o = pcall(options.check, given)
  if not good then error(o, 2) end
  local self = setmetatable({ name = o.name }, workflow_type)
  of[self] = o
  return self
end

return new
