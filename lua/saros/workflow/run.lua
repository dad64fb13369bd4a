---@private
-- A run of a workflow, from its first hook to its last. What is begun is ended in
-- reverse, however it goes: sources in targets in the run. A target that fails
-- takes nobody with it; without any there is nothing to go on for.

local core = require "saros.core"
local combine = require "saros.combine"
local record = require "saros.record"
local secrets = require "saros.secrets"
local hooks = require "saros.workflow.hooks"
local journal = require "saros.workflow.journal"
local print_out = require "saros.workflow.print"
local sources = require "saros.workflow.sources"
local step = require "saros.workflow.step"
local steps = require "saros.wsb.steps"
local target = require "saros.workflow.target"
local E = require "saros.code"

local files = require "saros.wsb.files"

---@class saros.workflow.run
---@field id string
---@field name string
---@field state "succeeded"|"partial"|"failed"|"cancelled"|"running"
---@field partial boolean not all of it: a target failed, a file was not read, a check or a drill found something
---@field targets table[] { location, state, version, guid, bytes_added, bytes_stored, bytes, files, failed, errors, components, error, verified, removed, pruned, resumed }
---@field consistency? "application"|"crash"|"none"
---@field components? table[] what is known of each application
---@field held? number seconds
---@field skew? table[]
---@field drill? { state: "passed"|"failed"|"untried", location: string, version: string, message: string?, seconds: number? }
---@field steps table[] { lane, name, state, seconds, tries, error } in the order of their beginnings
---@field hooks table[] { of, name, result, error }
---@field warnings string[]
---@field resumes? string the id of the run that was interrupted
---@field seconds number
---@field begun string RFC 3339
local run = {}

local hidden = setmetatable({}, { __mode = "k" })

local run_type = { __name = "saros.workflow.run", __index = run,
  __tostring = print_out.run }

local function of(self) return hidden[self] end


-- ------------------------------------------------------------------
-- Steps
-- ------------------------------------------------------------------

--- A text without what opens its repositories.
function run:clean(text) return of(self).said(text) end

--- Something that does not end the run, and is not all right.
function run:trouble(err)
  self.partial = true
  local text = self:clean(step.message(err))
  self.warnings[#self.warnings + 1] = text
  of(self).record:log("warning", text)
end

--- Something that a person should know, and that is no failure.
function run:remark(text)
  self.warnings[#self.warnings + 1] = text
  of(self).record:log("notice", text)
end

--- What is being done now, in the order of the beginnings.
---@return { lane: string, name: string, status: saros.status }[]
function run:running()
  local list = {}
  for _, at in ipairs(of(self).running) do
    local s = at:status()
    if s then
      list[#list + 1] = { lane = at.entry.lane, name = at.entry.name,
        status = s }
    end
  end
  return list
end

--- Does something: in a task of its own, which may be tried again, and is given
--- up when its time is over. It is called with what it may have an operation
--- watched by. Results are those of f; raises why it failed.
---@param o { lane: string, name: string, kind: string?, detail: (fun(result: any): table?)? }
function run:step(o, f) return step.take(self, of(self), o, f) end

local function say(self, phase, done)
  of(self).at = done
  core.report { phase = phase, done = done, total = 100 }
end

-- f of each, side by side. What it raises, unless that is a cancel, is the
-- item's own.
local function each(self, list, f, from, to)
  local ops <close> = step.begun()
  for i, item in ipairs(list) do
    ops[i] = core.spawn(function()
      local good, why = pcall(f, item)
      if good then return true end
      if step.is_cancel(why) then error(why, 0) end
      item:fail(why)
      return true
    end)
  end
  local all <close> = combine.all { table.unpack(ops) }
  repeat
    local good, err = all:wait(from and 0.5 or nil)
    if not good and not err.timeout then error(err, 0) end
    if from then
      local sum = 0
      for _, item in ipairs(list) do
        sum = sum + item:percent()
      end
      say(self, of(self).phase, from + (to - from) * sum // (100 * #list))
    end
  until good
end


-- ------------------------------------------------------------------
-- Storing
-- ------------------------------------------------------------------

local function first_error(list)
  for _, t in ipairs(list) do
    if t.error then return t.error end
  end
end

local function good_ones(list, field)
  local good = {}
  for _, t in ipairs(list) do
    if not t.error and (not field or t[field]) then good[#good + 1] = t end
  end
  return good
end

-- What a shadow of these paths is made of.
local function wished(self, paths, exclude)
  local h = of(self)
  local o = h.o
  local tags = { "saros-workflow:" .. o.name, "saros-run:" .. h.root,
    table.unpack(o.tags) }
  return { paths = paths, exclude = exclude, type = o.type, tags = tags,
    provider = o.provider, host = o.host, state_dir = o.state_dir,
    scratch = o.scratch, check = o.check,
    writers = o.require and { require = o.require } or nil,
    on_component = function(c)
      if c.check and c.check.state == "failed" then
        self:trouble(("the check of %s failed, and nothing can be recovered "
          .. "of it: %s"):format(c.name, c.check.message))
      end
    end }
end

-- One shadow is made at a time on a machine: whoever makes another one is
-- waited for, as who has locked a repository is.
local function shadow(self, paths, exclude)
  local h, since, told = of(self), step.seconds(), false
  while true do
    local good, job = pcall(steps.shadow, wished(self, paths, exclude))
    if good then return job end
    if type(job) ~= "table" or job.code ~= E.VSS_E_SNAPSHOT_SET_IN_PROGRESS
      or step.seconds() - since >= h.o.patience
    then
      error(job, 0)
    end
    if not told then
      h.record:log("notice", "the shadow waits for its turn: "
        .. step.message(job))
    end
    told = true
    core.sleep(0.2 + 0.3 * math.random()):wait()
  end
end

-- Databases that were named, and of which nothing is in what is stored.
local function idle(o, job)
  local seen, list = {}, {}
  for _, c in ipairs(job.m.components) do seen[c.kind or ""] = true end
  if #job.set.left_out > 0 then return list end -- that is told
  for _, one in ipairs(o.writers) do
    if one.of_files and not seen[one.kind] then
      seen[one.kind], list[#list + 1] = true, one.kind
    end
  end
  return list
end

-- One shadow, a version of it in each repository.
local function store(self, wanted)
  local h = of(self)
  local o = h.o
  local paths, exclude = self:step({ lane = "step", name = "sources" },
    function() return sources.resolve(o) end)
  say(self, "writers", 2)
  local writers <close> = self:step({ lane = "step", name = "writers" },
    function() return sources.open_writers(o) end)
  say(self, "shadow", 5)
  local job <close> = self:step({ lane = "step", name = "shadow",
    detail = function(job) return { id = job.set.id } end }, function()
    return shadow(self, paths, exclude)
  end)
  local _ = writers
  h.record:held(job.set)
  self.held, self.skew = job.set.held, job.set.skew
  for path, p in pairs(job.set) do
    for _, text in ipairs(p.warnings or {}) do
      self:remark(("%s: %s"):format(path, text))
    end
  end
  for _, w in ipairs(job.set.left_out) do
    self:trouble(("the writer %s was left out: %s"):format(w.name, w.message))
  end
  for _, kind in ipairs(idle(o, job)) do
    self:trouble(("the writer %s has nothing in the sources: name its files "
      .. "there"):format(kind))
  end
  say(self, "check", 12)
  self:step({ lane = "step", name = "check" }, function()
    steps.check(job)
    steps.write(job)
  end)
  self.consistency, self.components = job.m.consistency, job.m.components
  h.phase = "backup"
  each(self, wanted, function(t) t:store(job) end, 20, 75)
  local stored = good_ones(wanted, "copy")
  if #stored == 0 then return end
  say(self, "complete", 76)
  self:step({ lane = "step", name = "complete" }, function()
    local copies = {}
    for i, t in ipairs(stored) do copies[i] = t.copy end
    steps.complete(job, copies, #stored == #h.o.targets)
  end)
  each(self, stored, function(t) t:late(job) end)
end

-- With what each source wants done around it, the first outermost.
local function around_sources(self, n, f)
  local source = of(self).o.sources[n]
  if not source then return f() end
  hooks.around(self, "source:" .. (source.path or n), source, function()
    around_sources(self, n + 1, f)
  end)
end


-- ------------------------------------------------------------------
-- Drill
-- ------------------------------------------------------------------

local function drill(self)
  local h = of(self)
  local d = h.o.drill
  if not d or not journal.due(h.o, d.every, "drill") then return end
  local t = good_ones(h.targets, "version")[1]
  if not t then return end
  if t.components and #t.components == 0 then
    self:remark "no drill: there is no application in what was stored"
    return
  end
  local result = { state = "passed", location = t.location,
    version = t.version }
  self.drill = result
  if t.done.drill then return end
  say(self, "drill", 92)
  local _, since = core.clocks()
  local good, why = pcall(self.step, self, { lane = "drill:" .. t.location,
    name = "drill" }, function(at)
    local start = {}
    for name, item in pairs(d) do start[name] = item end
    start.every, start.repository, start.version = nil, t.repository, t.version
    start.scratch = start.scratch or h.o.scratch
    local op <close> = require "saros.drill".start(start)
    at:watch(op)
    return files.finish(op)
  end)
  local _, now = core.clocks()
  result.seconds = now - since
  if good then return end
  if step.is_cancel(why) then error(why, 0) end
  result.state, result.message = "untried", step.message(why)
  for _, c in ipairs(type(why) == "table" and why.report
    and why.report.components or {}) do
    if c.state == "failed" then result.state = "failed" end
  end
  self:trouble(why)
end


-- ------------------------------------------------------------------
-- All of it
-- ------------------------------------------------------------------

local function whole(self)
  local h = of(self)
  local targets <close> = setmetatable({}, { __close = function(_, err)
    local cancelled
    for i = #h.targets, 1, -1 do
      local good, why = pcall(h.targets[i].finish, h.targets[i], err)
      if not good then cancelled = cancelled or why end
    end
    if cancelled then error(cancelled, 0) end
  end })
  local _ = targets
  say(self, "open", 1)
  each(self, h.targets, function(t) t:begin() end)
  local wanted = {}
  for _, t in ipairs(good_ones(h.targets)) do
    if not t.version then wanted[#wanted + 1] = t end
  end
  if #wanted > 0 then
    local good, why = pcall(around_sources, self, 1, function()
      store(self, wanted)
      if #good_ones(wanted, "version") == 0 then
        error(first_error(wanted), 0)
      end
    end)
    if not good then
      if step.is_cancel(why) then error(why, 0) end
      for _, t in ipairs(wanted) do
        if not t.version and not t.error then t:fail(why) end
      end
    end
  end
  local stored = good_ones(h.targets, "version")
  if #stored == 0 then error(first_error(h.targets), 0) end
  say(self, "verify", 80)
  each(self, stored, function(t) t:care() end)
  drill(self)
  say(self, "finish", 97)
end

-- What is left of a run that was killed: before anything of this one is made.
local function tidy(self)
  local h = of(self)
  self:step({ lane = "step", name = "reap" }, function()
    files.finish(require "saros.vss".reap { state_dir = h.o.state_dir })
    require "saros.place".sweep(h.o.scratch)
  end)
end

local function result_of(self)
  local targets, versions, locks = self.targets, {}, {}
  for _, t in ipairs(of(self).targets) do
    if t.lock_age then
      locks[#locks + 1] = { location = t.location, age = t.lock_age }
    end
    if t.version then
      versions[#versions + 1] = { location = t.location, id = t.version,
        guid = t.guid, bytes_added = t.bytes_added,
        bytes_stored = t.bytes_stored, bytes = t.bytes, files = t.files }
    end
  end
  local plain = {}
  for i, t in ipairs(targets) do
    plain[i] = { location = t.location, state = t.state, version = t.version,
      verified = t.verified, removed = t.removed, pruned = t.pruned,
      resumed = t.resumed, failed = t.failed,
      error = t.error and step.message(t.error) }
  end
  return { state = self.state, partial = self.partial, versions = versions,
    targets = plain, locks = #locks > 0 and locks or nil,
    consistency = self.consistency, held = self.held, drill = self.drill,
    hooks = #self.hooks > 0 and self.hooks or nil,
    warnings = #self.warnings > 0 and self.warnings or nil }
end

-- How it ended, and what is said to be wrong when that is not all right.
local function judge(self, err)
  for i, t in ipairs(of(self).targets) do
    self.targets[i] = t:result()
    if t.error or (t.failed or 0) > 0 then self.partial = true end
  end
  if err == nil then
    self.state = self.partial and "partial" or "succeeded"
    return self.state, self.partial and (first_error(of(self).targets)
      or core.failure("saros", E.SAROS_S_PARTIAL, self.warnings[1]
        or "not every file could be read")) or nil
  end
  self.state = step.is_cancel(err) and "cancelled" or "failed"
  return self.state, err
end

-- Nobody waits for long to be told, and that he could not be is no failure. Who
-- has no record, because the disk of the state is full or damaged, says himself
-- what is told. A cancel is raised.
local function tell(self, err)
  local o = of(self).o
  if not o.notify then return end
  say(self, "notify", 98)
  local good, why = pcall(function()
    local op <close> = require "saros.notify".check { name = o.name,
      to = o.notify, state_dir = o.state_dir, run = { id = self.id,
        kind = "workflow", name = o.name, host = o.host, state = self.state,
        begun = self.begun, time = record.time(self.begun),
        seconds = self.seconds, error = record.error(err, of(self).said) } }
    for _, event in ipairs(files.finish(op)) do
      for _, failed in ipairs(event.failed or {}) do
        self.warnings[#self.warnings + 1] = ("nobody could be told by %s: %s")
          :format(failed.to, failed.message)
      end
    end
  end)
  if good then return end
  self.warnings[#self.warnings + 1] = "nobody could be told: "
    .. step.message(why)
  if step.is_cancel(why) then error(why, 0) end
end

local function make(o, how)
  local self = setmetatable({ name = o.name, state = "running", steps = {},
    hooks = {}, warnings = {}, targets = {}, partial = false,
    begun = os.date "!%Y-%m-%dT%H:%M:%S+00:00", id = core.guid() }, run_type)
  local h = { o = o, targets = {}, finished = {}, running = {},
    said = secrets.hider(o.targets) }
  hidden[self] = h
  for _, t in ipairs(target.wanted(o, how.only)) do
    h.targets[#h.targets + 1] = target.new(self, t, h)
  end
  return self, h
end

local function refuse(o, rival)
  files.fail("SAROS_E_LOCKED", "the workflow %s is running already%s", o.name,
    rival and (", as process %s since %s"):format(tostring(rival.pid),
      rival.begun) or "; try again when it is over")
end

-- Begins its record, and goes on with one that was interrupted, if there is one.
-- Of whom another one keeps from running the record is of another kind: it is
-- no run that ended.
local function enter(self, how, claim)
  local h = of(self)
  local o, root = h.o, nil
  local rival = not claim and journal.rival(o)
  local finished
  if claim then root, finished = journal.interrupted(o, how.resume) end
  h.finished = finished or {}
  local r = record.begin { kind = claim and "workflow" or "refused",
    name = o.name, host = o.host, state_dir = o.state_dir, argv = how.argv,
    resumes = root, said = h.said }
  h.record, self.id, h.root, self.resumes = r, r.id, root or r.id, root
  if not claim then refuse(o, rival) end
  r:note("content", o.content)
  r:settle()
end

--- The task behind `workflow:run`.
local function start(o, how)
  local self, h = make(o, how)
  if how.on_begin then how.on_begin(self) end
  local began = step.seconds()
  local may, claim = pcall(record.claim, o.name, o.state_dir)
  local _ <close> = may and claim or nil
  local good, err = pcall(function()
    if not may then error(claim, 0) end
    enter(self, how, claim)
    if self.resumes then tidy(self) end
    hooks.around(self, "run", o, function() whole(self) end,
      function(err) return judge(self, err) end)
  end)
  if good then err = nil end
  judge(self, err)
  self.seconds = step.seconds() - began
  local result = result_of(self)
  if h.record then h.record:done(err, result) end
  -- A cancel that comes now is too late to change what the run came to.
  for _, f in ipairs { function() tell(self, err) end, function()
    record.prune { state_dir = o.state_dir }
  end } do
    local told, why = pcall(f)
    if not told and err == nil and step.is_cancel(why) then err = why end
  end
  if err == nil then return self end
  if type(err) ~= "table" then
    err = core.failure("saros", E.SAROS_E_LUA, tostring(err))
  end
  pcall(function() err.run = self end)
  error(err, 0)
end

return { start = start }
