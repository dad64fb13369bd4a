---@private
-- A run of a workflow, from its first hook to its last. What is begun is ended in
-- reverse, however it goes: sources in targets in the run. A target that fails
-- takes nobody with it; without any there is nothing to go on for.

local core = require "saros.core"
local combine = require "saros.combine"
local record = require "saros.record"
local hooks = require "saros.workflow.hooks"
local journal = require "saros.workflow.journal"
local print_out = require "saros.workflow.print"
local sources = require "saros.workflow.sources"
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
---@field drill? { state: "passed"|"failed"|"untried", location: string, version: string, message: string? }
---@field steps table[] { lane, name, state, seconds, tries, error } in the order of their beginnings
---@field hooks table[] { of, name, result, error }
---@field warnings string[]
---@field resumes? string the id of the run that was interrupted
---@field seconds number
local run = {}

local hidden = setmetatable({}, { __mode = "k" })

local run_type = { __name = "saros.workflow.run", __index = run,
  __tostring = print_out.run }

local function of(self) return hidden[self] end


-- ------------------------------------------------------------------
-- Steps
-- ------------------------------------------------------------------

local function seconds()
  local _, now = core.clocks()
  return now
end

local function message_of(err)
  return tostring(type(err) == "table" and err.message or err)
end

--- Something that does not end the run, and is not all right.
function run:trouble(err)
  self.partial = true
  local text = message_of(err)
  self.warnings[#self.warnings + 1] = text
  of(self).record:log("warning", text)
end

--- Something that a person should know, and that is no failure.
function run:remark(text)
  self.warnings[#self.warnings + 1] = text
  of(self).record:log("notice", text)
end

-- Whether it is tried again; that is written down.
local function again(self, o, entry)
  return function(err)
    local retry = of(self).o.retry
    local yes = type(err) == "table" and err.retryable
    if retry.on then yes = retry.on(err) end
    if yes and (entry.tries or 1) < (retry.tries or 5) then
      of(self).record:log("warning", ("%s (%s) is tried again: %s"):format(
        o.name, o.lane, message_of(err)))
    end
    return yes
  end
end

-- What a step is handed: who watches an operation sees that in its place.
local at_type = { __index = { watch = function(self, op)
  self.note:watch(op, false)
  self.watched = op
end } }

local function attempt(self, o, entry, at, begun, f)
  local limit = of(self).o.timeout[o.kind or o.name]
  local function once(try)
    entry.tries = try > 1 and try or nil
    local op = core.spawn(f, at)
    begun[#begun + 1] = op
    at.task, at.watched = op, nil
    if not limit then return op end
    begun[#begun + 1] = combine.timeout(op, limit)
    return begun[#begun]
  end
  local retry = of(self).o.retry
  if not retry or o.kind == "hook" then return once(1) end
  local how = {}
  for name, item in pairs(retry) do how[name] = item end
  how.on = again(self, o, entry)
  begun[#begun + 1] = combine.retry(how, once)
  return begun[#begun]
end

-- What is begun in the block is over behind it. (One that is made of others and
-- is cancelled before it has begun knows nothing of them.)
local function owner()
  return setmetatable({}, { __close = function(begun)
    for i = #begun, 1, -1 do begun[i]:close() end
  end })
end

-- Closed, an operation has no status any more.
local function status_of(at)
  for _, op in ipairs { at.watched or at.task, at.task } do
    local good, s = pcall(op.status, op)
    if good then return s end
  end
  return nil
end

--- What is being done now, in the order of the beginnings.
---@return { lane: string, name: string, status: saros.status }[]
function run:running()
  local list = {}
  for _, at in ipairs(of(self).running) do
    local s = at.task and status_of(at)
    if s then
      list[#list + 1] = { lane = at.entry.lane, name = at.entry.name,
        status = s }
    end
  end
  return list
end

local function leave(list, at)
  for i, other in ipairs(list) do
    if other == at then return table.remove(list, i) end
  end
end

--- Does something: in a task of its own, which may be tried again, and is given
--- up when its time is over. It is called with what it may have an operation
--- watched by. Results are those of f; raises why it failed.
---@param o { lane: string, name: string, kind: string?, detail: (fun(result: any): table?)? }
function run:step(o, f)
  local h = of(self)
  local note = h.record:op { lane = o.lane, name = o.name, parent = h.parent }
  local entry = { lane = o.lane, name = o.name, state = "running" }
  self.steps[#self.steps + 1] = entry
  local at = setmetatable({ note = note, entry = entry }, at_type)
  table.insert(h.running, at)
  local began, results = seconds(), nil
  local good, err = pcall(function()
    local begun <close> = owner()
    local op <const> = attempt(self, o, entry, at, begun, f)
    results = table.pack(op:wait())
    if results[1] == nil and results[2] ~= nil then error(results[2], 0) end
  end)
  leave(h.running, at)
  if good then err = nil end
  local detail = good and o.detail and o.detail(results[1]) or {}
  detail.tries = entry.tries
  note:done(err, detail)
  entry.seconds = seconds() - began
  entry.state = err == nil and (detail.state or "succeeded")
    or hooks.is_cancel(err) and "cancelled" or "failed"
  if err ~= nil then
    entry.error = message_of(err)
    error(err, 0)
  end
  return table.unpack(results, 1, results.n)
end

local function say(self, phase, done)
  of(self).at = done
  core.report { phase = phase, done = done, total = 100 }
end

-- f of each, side by side. What it raises, unless that is a cancel, is the
-- item's own.
local function each(self, list, f, from, to)
  local ops <close> = owner()
  for i, item in ipairs(list) do
    ops[i] = core.spawn(function()
      local good, why = pcall(f, item)
      if good then return true end
      if hooks.is_cancel(why) then error(why, 0) end
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

-- One shadow, a version of it in each repository.
local function store(self, wanted)
  local h = of(self)
  local o = h.o
  local paths, exclude = self:step({ lane = "step", name = "sources" },
    function() return sources.resolve(o) end)
  say(self, "writers", 2)
  local writers <close> = self:step({ lane = "step", name = "writers" },
    function() return sources.open_writers(o) end)
  local tags = { "saros-workflow:" .. o.name, "saros-run:" .. h.root }
  say(self, "shadow", 5)
  local job <close> = self:step({ lane = "step", name = "shadow",
    detail = function(job) return { id = job.set.id } end }, function()
    return steps.shadow { paths = paths, exclude = exclude, type = o.type,
      provider = o.provider, host = o.host, state_dir = o.state_dir,
      scratch = o.scratch, check = o.check,
      writers = o.require and { require = o.require } or nil,
      tags = table.move(o.tags, 1, #o.tags, #tags + 1, tags),
      on_component = function(c)
        if c.check and c.check.state == "failed" then
          self:trouble(("the check of %s failed, and nothing can be "
            .. "recovered of it: %s"):format(c.name, c.check.message))
        end
      end }
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
    steps.complete(job, copies, #stored == #h.targets)
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
  if t.components and #t.components == 0 then return end
  say(self, "drill", 92)
  local result = { state = "passed", location = t.location,
    version = t.version }
  self.drill = result
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
  if good then return end
  if hooks.is_cancel(why) then error(why, 0) end
  result.state, result.message = "untried", message_of(why)
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
    for i = #h.targets, 1, -1 do h.targets[i]:finish(err) end
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
      if hooks.is_cancel(why) then error(why, 0) end
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
  local targets, versions = {}, {}
  for i, t in ipairs(of(self).targets) do
    targets[i] = t:result()
    if t.version then
      versions[#versions + 1] = { location = t.location, id = t.version,
        guid = t.guid, bytes_added = t.bytes_added,
        bytes_stored = t.bytes_stored, bytes = t.bytes, files = t.files }
    end
  end
  self.targets = targets
  local plain = {}
  for i, t in ipairs(targets) do
    plain[i] = { location = t.location, state = t.state, version = t.version,
      verified = t.verified, removed = t.removed, pruned = t.pruned,
      resumed = t.resumed, failed = t.failed,
      error = t.error and message_of(t.error) }
  end
  return { state = self.state, partial = self.partial, versions = versions,
    targets = plain, consistency = self.consistency, held = self.held,
    drill = self.drill, hooks = #self.hooks > 0 and self.hooks or nil,
    warnings = #self.warnings > 0 and self.warnings or nil }
end

local function judge(self, err)
  for _, t in ipairs(of(self).targets) do
    if t.error or (t.failed or 0) > 0 then self.partial = true end
  end
  if err == nil then
    self.state = self.partial and "partial" or "succeeded"
  else
    self.state = hooks.is_cancel(err) and "cancelled" or "failed"
  end
end

-- Nobody waits for long to be told, and that he could not be is no failure. His
-- record is what is told of: it has ended.
local function tell(self)
  local o = of(self).o
  if not o.notify then return end
  local good, why = pcall(function()
    local op <close> = require "saros.notify".check { name = o.name,
      to = o.notify, state_dir = o.state_dir }
    for _, event in ipairs(files.finish(op)) do
      for _, failed in ipairs(event.failed or {}) do
        self.warnings[#self.warnings + 1] = ("nobody could be told by %s: %s")
          :format(failed.to, failed.message)
      end
    end
  end)
  if not good then
    self.warnings[#self.warnings + 1] = "nobody could be told: "
      .. message_of(why)
  end
end

local function make(o, how)
  local self = setmetatable({ name = o.name, state = "running", steps = {},
    hooks = {}, warnings = {}, targets = {}, partial = false }, run_type)
  local h = { o = o, targets = {}, finished = {}, running = {} }
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

--- The task behind `workflow:run`.
local function start(o, how)
  local self, h = make(o, how)
  if how.on_begin then how.on_begin(self) end
  local began = seconds()
  local claim <close> = record.claim(o.name, o.state_dir)
  local rival = not claim and journal.rival(o)
  local root, finished
  if claim then root, finished = journal.interrupted(o, how.resume) end
  local r <close> = record.begin { kind = "workflow", name = o.name,
    host = o.host, state_dir = o.state_dir, argv = how.argv, resumes = root }
  h.record, self.id, h.root = r, r.id, root or r.id
  local good, err = pcall(function()
    if not claim then refuse(o, rival) end
    if root then
      self.resumes, h.finished = root, finished
      tidy(self)
    end
    hooks.around(self, "run", o, function() whole(self) end)
  end)
  if good then err = nil end
  judge(self, err)
  self.seconds = seconds() - began
  local result = result_of(self)
  r:done(err, result)
  tell(self)
  pcall(record.prune, { state_dir = o.state_dir })
  if err == nil then return self end
  if type(err) ~= "table" then
    err = core.failure("saros", E.SAROS_E_LUA, tostring(err))
  end
  pcall(function() err.run = self end)
  error(err, 0)
end

return { start = start }
