--- Drills: a version is restored into a scratch place, its applications are
--- started apart from everything else, asked whether they are whole, and taken
--- down again. Only what was restored once is known to be restorable.
---
--- ```lua
--- local report = assert(saros.drill { repository = repo,
---   verify = function(db)
---     local rows = assert(db:query "SELECT count(*) AS n FROM orders":wait())
---     return tonumber(rows[1].n) > 0
---   end }:wait())
--- print(report)
--- ```
---
--- What is started is in a cell (`saros.cell`): no network, no process and no
--- socket of this machine is within its reach, and its settings for archiving,
--- replication and schedules are switched off besides. Neither the files that
--- were backed up nor those who made them are touched.

local core = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local answer = require "saros.wsb.answer"
local cell = require "saros.cell"
local kind = require "saros.writers.kind"
local careful = kind.careful
local place = require "saros.place"
local surely = require "saros.surely"

---@class saros.drill
local drill = {}

-- Seconds for each step: long for what has to be read, and short for a server
-- that hangs. A restore is as long as what there is, and its repository has
-- limits of its own.
local limits <const> = { restore = false, settle = 3600, check = 21600,
  start = 21600, verify = 3600, extract = 21600, stop = 60 }


-- ------------------------------------------------------------------
-- Steps
-- ------------------------------------------------------------------

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end

-- The steps of a component: what failed, and how long each took.
local steps = {}
steps.__index = steps

-- Whether what went wrong says anything about the version: that there was no
-- time, no tool or no room does not.
local function is_damage(err, judges)
  if err.cancelled or err.timeout or err.untried then return false end
  return judges or err.code == E.SAROS_E_DAMAGED
    or err.code == E.SAROS_E_REFUSED
end

-- Takes a step as an operation of its own, within the time. Raises what it
-- fails with. `judges`: when it fails, the version has failed.
function steps:take(name, judges, f, ...)
  core.report { phase = name }
  local op = core.spawn(answer.of, judges and E.SAROS_E_DAMAGED
    or E.E_FAIL, name, f, ...)
  local seconds = name ~= "stop" and self.limits[name]
  local result, err, elapsed = answer.within(op, seconds or nil, name,
    ("timeout = { %s = … }"):format(name))
  self.entry.seconds[name] = elapsed
  if result == nil then
    self.entry.failed_at = name
    self.entry.state = is_damage(err, judges) and "failed" or "untried"
    error(err, 0)
  end
  return result
end


-- ------------------------------------------------------------------
-- A component
-- ------------------------------------------------------------------

-- What production has: nothing that is started sees it.
local function hidden(manifest)
  local all, list = {}, {}
  for _, c in ipairs(manifest.components) do
    table.move(c.files or {}, 1, #(c.files or {}), #all + 1, all)
  end
  table.sort(all)
  local last = "/"
  for _, path in ipairs(all) do
    if path:find "^/[^/]" and path:sub(1, #last) ~= last then
      list[#list + 1] = path
      last = path .. "/"
    end
  end
  return list
end

-- The cell as a kind has it: the place and what is hidden are known.
local function bound(p, hide)
  return setmetatable({ run = function(options)
    local why = cell.why()
    if why then
      why.untried = true
      error(why, 0)
    end
    local o = { place = p, hide = { table.unpack(hide) } }
    for name, item in pairs(options) do
      if name == "hide" then
        table.move(item, 1, #item, #o.hide + 1, o.hide)
      else
        o[name] = item
      end
    end
    return cell.run(o)
  end }, { __index = cell })
end

local function known(c)
  local k, err = kind.of(c.writer and c.writer.id or "")
  if not k and not err and c.kind then k, err = kind.of(c.kind) end
  if k then return k end
  err = err or core.failure("saros", E.E_NOTIMPL,
    ("nothing is known of a '%s'; define its kind in this program"):format(
      c.kind or "component"))
  err.untried = true
  error(err, 0)
end

-- Closes what was started, however this is left.
local function held()
  local self = {}
  function self.stop()
    local instance = self.instance
    local meta = getmetatable(instance)
    local close = meta and meta.__close or instance and instance.close
    if close then close(instance) end
    self.instance = nil
  end
  return setmetatable(self, { __close = self.stop })
end

-- What writes into a file of ours is not in the cell, and what is in there never
-- names one of ours.
local function store(source, part)
  local from <close> = source
  local to <close> = core.process { stdin = from, argv = { "sh", "-c",
    'umask 077 && exec cat >"$0"', part } }
  finish(to)
  finish(from)
end

-- Streams a part of what was started into a file, which is there when it has all
-- of it, and never takes the place of another.
local function extract(apart, instance, wanted)
  if type(instance.dump) ~= "function" then
    error(core.failure("saros", E.E_NOTIMPL, "nothing can be extracted from "
      .. "an application of this kind"), 0)
  end
  local made = instance.dump { database = wanted.database,
    table = wanted.table }
  local part = wanted.to .. ".part"
  local _ <close> = setmetatable({}, { __close = function()
    surely.remove(part)
  end })
  store(apart.run { argv = made.argv, env = made.env, stdout = "stream" }, part)
  finish(core.process { argv = { "ln", "-T", "--", part, wanted.to } })
  return true
end

local function is_for(wanted, c)
  return (wanted.component or c.name) == c.name
end

-- Everything that is done with what was restored; raises.
local function try(s, k, c, p, options, manifest)
  local apart = bound(p, hidden(manifest))
  if k.settle then s:take("settle", true, careful(k.settle), c, p) end
  if k.check then
    s:take("check", true, careful(k.check), c, p)
    s.entry.check = { state = "passed" }
  end
  if not k.start then return end
  local server <close> = held()
  s:take("start", true, careful(function()
    local instance, err = k.start(c, p, apart)
    server.instance = instance
    if instance == nil then return instance, err end
  end))
  local instance = server.instance
  if not instance then return end -- as of files that are no application's
  s.entry.started = true
  if options.verify then
    s:take("verify", true, options.verify, instance.db, c, instance)
    s.entry.verify = { state = "passed" }
  end
  for _, wanted in ipairs(options.extract or {}) do
    if is_for(wanted, c) then
      s:take("extract", false, extract, apart, instance, wanted)
    end
  end
  s:take("stop", false, server.stop)
end

local function restored(repo, manifest, c, p)
  require "saros.wsb.lay"(repo, manifest, c, p.root)
end

local function in_place(s, manifest, c, options)
  local k = known(c)
  s.entry.kind = k.name
  local p <close> = place.new { scratch = options.scratch }
  p.drilled, p.patience = true, s.limits.stop
  s:take("restore", false, restored, options.repository, manifest, c, p)
  s.entry.restored = true
  s:take("adopt", false, p.adopt, p, c.files)
  local good, err = pcall(try, s, k, c, p, options, manifest)
  if s.entry.state == "failed" and s.entry.failed_at ~= "verify"
    and p:is_full()
  then
    s.entry.state = "untried" -- by what has no room to work in
  end
  if options.keep then s.entry.place = p:keep() end
  if not good then error(err, 0) end
end

-- Its entry in the report.
local function component(manifest, c, options)
  local entry = { name = c.name, kind = c.kind, n = c.n, restored = false,
    started = false, state = "untried", seconds = {},
    check = { state = "none" }, verify = { state = "none" } }
  local s = setmetatable({ entry = entry, limits = options.limits }, steps)
  local good, err = pcall(in_place, s, manifest, c, options)
  if good then
    entry.state = "passed"
  else
    -- A cancelled drill has found out nothing.
    if type(err) ~= "table" or not entry.failed_at and err.cancelled then
      error(err, 0)
    end
    entry.error, entry.message = err, err.message
    entry.problems = err.problems
    local step = entry.failed_at
    if step == "check" or step == "verify" then
      entry[step] = { state = entry.state, message = err.message,
        problems = err.problems }
    end
  end
  entry.ok = entry.state == "passed"
  return entry
end


-- ------------------------------------------------------------------
-- The drill
-- ------------------------------------------------------------------

local function fits(c, options)
  if options.component and c.name ~= options.component then return false end
  local app, writer = options.application, c.writer or {}
  return not app or app == c.kind or app == writer.name
    or app:lower() == writer.id or app:lower() == writer.instance
end

local function chosen(manifest, options)
  local list, names = {}, {}
  for _, c in ipairs(manifest.components or {}) do
    names[#names + 1] = c.name
    if fits(c, options) then list[#list + 1] = c end
  end
  if #list > 0 then return list end
  error(core.failure("saros", E.E_INVALIDARG, ("version %s has no such "
    .. "component; it has: %s"):format(manifest.id or options.version,
      #names > 0 and table.concat(names, ", ") or "none")), 0)
end

-- Into the catalogue; a version that could not be tried is as it was.
local function learn(options, manifest, c, entry)
  if options.learn == false or entry.state == "untried" then return end
  core.report { phase = "learn" }
  local good, err = pcall(require "saros.wsb.catalogue".learn,
    options.repository, manifest.guid, { component = c, drill = {
      ok = entry.ok, message = entry.message, problems = entry.problems,
      failed_at = entry.failed_at, seconds = entry.seconds } })
  if not good and type(err) == "table" and err.cancelled then error(err, 0) end
  entry.learned = good
  if not good then
    entry.message = (entry.message and entry.message .. "; " or "")
      .. "this could not be written to the repository: "
      .. tostring(type(err) == "table" and err.message or err)
    entry.ok = false
  end
end

local said <const> = { passed = "passed, and that was not noted",
  failed = "FAILED", untried = "could not be tried" }

local function sentence(report, entry)
  return ("drill of version %s: %s %s%s: %s"):format(report.version:sub(1, 8),
    entry.name, said[entry.state],
    entry.failed_at and " (" .. entry.failed_at .. ")" or "",
    entry.message or "no reason")
end

local report_type = {
  __name = "saros.drill.report",
  __tostring = function(report)
    local lines = { ("version %s: %s"):format(report.version:sub(1, 8),
      report.ok and "every application was restored and started"
      or "NOT everything can be relied on") }
    for _, entry in ipairs(report.components) do
      local line = ("  %s (%s): %s"):format(entry.name, entry.kind or "?",
        entry.state)
      for _, step in ipairs { "restore", "check", "start", "verify" } do
        if entry.seconds[step] then
          line = line .. (", %s %.1f s"):format(step, entry.seconds[step])
        end
      end
      lines[#lines + 1] = line
      if entry.message then lines[#lines + 1] = "    " .. entry.message end
    end
    return table.concat(lines, "\n")
  end,
}

-- Everything that failed, where nobody can miss it.
local function shout(report)
  local messages, damaged, first = {}, false, nil
  for _, entry in ipairs(report.components) do
    if not entry.ok then
      messages[#messages + 1] = sentence(report, entry)
      warn("saros: " .. messages[#messages])
      damaged = damaged or entry.state == "failed"
      first = first or entry.error
    end
  end
  local failure = core.failure("saros", damaged and E.SAROS_E_DAMAGED
    or first and first.code or E.E_FAIL, table.concat(messages, "\n"))
  failure.report, failure.cause = report, first
  error(failure, 0)
end

local function run(options)
  local repo = options.repository
  core.report { phase = "read" }
  local manifest = require "saros.wsb.catalogue".read(repo,
    options.version or "latest")
  local report = setmetatable({ version = manifest.id, guid = manifest.guid,
    created = manifest.created, components = {}, ok = true }, report_type)
  local list = chosen(manifest, options)
  for i, c in ipairs(list) do
    core.report { done = i - 1, total = #list }
    local entry = component(manifest, c, options)
    learn(options, manifest, c, entry)
    report.components[i] = entry
    report.ok = report.ok and entry.ok
  end
  if not report.ok then shout(report) end
  return report
end

local kinds <const> = { repository = "table|userdata", version = "string",
  component = "string", application = "string", scratch = "string",
  verify = "function", keep = "boolean", learn = "boolean",
  timeout = "number|table", extract = "table", name = "string" }

---@class saros.drill.extract
---@field database? string
---@field table? string of that database; all of it otherwise
---@field to string a file that is not there yet
---@field component? string of which, where the drill has several

---@class saros.drill.timeout
---@field restore? number (as long as it takes)
---@field settle? number (3600)
---@field check? number (21600)
---@field start? number until it takes connections (21600)
---@field verify? number (3600)
---@field extract? number (21600)
---@field stop? number until it has come to its end by itself; then it is killed (60)

---@class saros.drill.options
---@field repository saros.repository
---@field version? string its id, or "latest"
---@field component? string this one alone
---@field application? string those of this kind, writer, or GUID
---@field scratch? string where it is restored to ($TMPDIR, or /var/tmp); the owner of the files must be able to come there
---@field verify? fun(db: any, c: table, instance: table): ... false, or nil and a reason, or an error: the version has failed. `db` is a connection, or what the kind has; PostgreSQL's `instance.connect(database)` gives others
---@field extract? saros.drill.extract[] what is to be taken out of it: a database, a table
---@field keep? boolean leave the files, to look at; the report says where
---@field learn? boolean note in the repository how it went (true)
---@field timeout? number|saros.drill.timeout seconds for each step, or by its name
---@field name? string

---@class saros.drill.report
---@field version string
---@field ok boolean
---@field components { name: string, kind: string, state: "passed"|"failed"|"untried", ok: boolean, message: string?, problems: table?, failed_at: string?, restored: boolean, started: boolean, check: table, verify: table, seconds: table, place: string? }[]

-- By the name of the step.
local function limits_of(timeout)
  local given, found = timeout, {}
  if type(timeout) == "table" then
    local names = {}
    for name in pairs(limits) do names[name] = "number" end
    given = arguments.check("saros.drill: option 'timeout'", timeout, names, 3)
  end
  for name, seconds in pairs(limits) do
    local own = given
    if type(given) == "table" then own = given[name] end
    found[name] = own or seconds
  end
  return found
end

--- Restores a version and tries it. A component fails when its files cannot be
--- read back whole, its check finds something, it does not start, or `verify`
--- says no; then the operation fails, `err.report` says the rest, the program is
--- warned, and the repository knows: the component cannot be recovered from this
--- version any more. What could not be tried (a tool is missing, there was no
--- room or no time) fails, too, but bars nothing.
---@param options saros.drill.options
---@return saros.operation op its result: a `saros.drill.report`
function drill.start(options)
  local given = arguments.check("saros.drill", options, kinds)
  arguments.need("saros.drill", given, "repository", "an open one")
  for i, wanted in ipairs(given.extract or {}) do
    if type(wanted) ~= "table" or type(wanted.to) ~= "string" then
      error(("saros.drill: option 'extract'[%d]: { database =, table =, to = } "
        .. "expected"):format(i), 2)
    end
  end
  given.limits = limits_of(given.timeout)
  return core.spawn_as("saros.drill", given.name, run, given)
end

--- Takes away what drills left whose process was killed; each new one in the
--- same scratch directory does it, too. How many places that were.
---@param scratch? string $TMPDIR, or /var/tmp
---@return saros.operation
function drill.reap(scratch) return core.spawn(place.sweep, scratch) end

return setmetatable(drill, {
  __call = function(_, options) return drill.start(options) end,
})
