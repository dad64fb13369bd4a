---@private
-- A target: one repository, and what is done with it in a run: it is opened, a
-- version is stored, read again, old ones are forgotten.

local core = require "saros.core"
local hooks = require "saros.workflow.hooks"
local files = require "saros.wsb.files"
local journal = require "saros.workflow.journal"
local locked = require "saros.record.locked"
local record = require "saros.record"
local step = require "saros.workflow.step"
local steps = require "saros.wsb.steps"
local E = require "saros.code"

---@class saros.workflow.target
---@field location string as it may be shown
---@field repository? saros.repository.handle
---@field version? string its id, when it is stored
---@field error? any why it failed
local target = {}
target.__index = target

--- `h` is what the run knows and does not show.
function target.new(run, t, h)
  return setmetatable({ run = run, h = h, t = t, location = t.location,
    lane = "target:" .. t.location }, target)
end

--- It failed; the others go on.
function target:fail(err)
  if self.error then return end
  self.error = err
  self.h.record:log("error", ("%s: %s"):format(self.location,
    step.message(err)))
end

function target:step(name, f, detail)
  return self.run:step({ lane = self.lane, name = name, detail = detail }, f)
end


-- ------------------------------------------------------------------
-- Opening
-- ------------------------------------------------------------------

--- Whether that is said of a place where there is no repository.
function target.is_missing(err)
  return type(err) == "table"
    and tostring(err.message):find("there is no repository", 1, true) ~= nil
end

local function open(t)
  local repository = require "saros.repository"
  local good, repo = pcall(repository.open, t.open)
  if good then return repo end
  if t.init and target.is_missing(repo) then return repository.init(t.open) end
  error(repo, 0)
end

local function has_tag(version, tag)
  for _, own in ipairs(version.tags or {}) do
    if own == tag then return true end
  end
  return false
end

-- What an interrupted run has stored here and did not come to write down. Of
-- files alone it is whole; of applications something may lack that belongs to
-- it, so it goes, and is made again: its pieces are there.
local function found(self)
  local h, left, whole = self.h, {}, nil
  for _, v in ipairs(self.repository:versions { host = h.o.host,
    tags = { "saros-run:" .. h.root } }) do
    local good, m
    if has_tag(v, "saros") then
      good, m = pcall(require "saros.wsb.catalogue".read, self.repository, v.id)
    end
    if good and not whole and #m.components == 0 then
      whole = { location = self.location, version = v.id, guid = m.guid,
        consistency = m.consistency }
    else
      left[#left + 1] = v.id
    end
  end
  if #left > 0 then
    local op <close> = self.repository:forget { ids = left }
    local good, err = op:wait()
    if not good then
      self.run:trouble(("%s: what an interrupted run has left cannot be "
        .. "removed: %s"):format(self.location, err.message))
    end
  end
  return whole
end

local function take(self, one)
  self.version, self.guid, self.resumed = one.version, one.guid, true
  self.bytes_added, self.bytes_stored = one.bytes_added, one.bytes_stored
  self.bytes = one.bytes
  self.files, self.failed = one.files, one.failed
  self.recoverable = one.recoverable
  self.run.consistency = self.run.consistency or one.consistency
end

--- Its hooks, then the repository; what an interrupted run has stored is its
--- version.
function target:begin()
  self.begun = true
  hooks.before(self.run, self.lane, self.t)
  self.repository = self:step("open", function() return open(self.t) end)
  local journaled = self.h.finished[self.location]
  self.done = journaled and journaled.done or {}
  local one = journaled and journaled.stored
  if one then
    -- Somebody may have removed it since.
    local there = false
    for _, v in ipairs(self.repository:versions()) do
      there = there or v.id == one.version
    end
    one = there and one or nil
  end
  if not one and self.h.root ~= self.run.id then
    one = self.run:step({ lane = self.lane, name = "look", kind = "open",
      detail = function(r) return { found = r[1] and r[1].version } end },
      function() return { found(self) } end)[1]
  end
  if not one then
    self.done = {}
    return
  end
  take(self, one)
  self:stored(one)
end

-- From now on it is not done again, whatever happens.
function target:stored(one)
  self.h.record:note("stored", one)
  self.h.record:settle()
end


-- ------------------------------------------------------------------
-- Storing
-- ------------------------------------------------------------------

--- A version of the job's shadow.
function target:store(job)
  self.copy = self:step("backup", function(at)
    return steps.store(job, self.repository, function(op)
      self.storing = op
      at:watch(op)
    end)
  end, function(copy)
    return { version = copy.r.id, bytes_added = copy.r.bytes_added,
      bytes = copy.r.bytes, files = copy.r.files, failed = copy.r.failed }
  end)
end

--- How far that is.
function target:percent()
  if self.copy or self.error then return 100 end
  -- Its handle is closed when it has ended.
  local good, s = pcall(function() return self.storing:status() end)
  return good and s.percent or 0
end

--- What belongs to it and was known only when the writers went on.
function target:late(job)
  local v = self:step("late", function() return steps.late(job, self.copy) end)
  self.version, self.guid, self.components = v.id, v.guid, v.components
  self.bytes_added, self.bytes_stored = v.bytes_added, v.bytes_stored
  self.bytes = v.bytes
  self.files, self.failed, self.errors = v.files, v.failed, v.errors
  self.run.consistency = v.consistency
  self.recoverable = true
  for _, c in ipairs(v.components) do
    if not c.recoverable then
      self.recoverable = false
      local why = c.check and c.check.state == "failed" and "its check failed"
        or c.why or "?"
      self.run:trouble(("%s: %s cannot be recovered: %s"):format(self.location,
        c.name, why))
    end
  end
  self:stored { location = self.location, version = v.id, guid = v.guid,
    bytes_added = v.bytes_added, bytes_stored = v.bytes_stored,
    bytes = v.bytes, files = v.files, failed = v.failed,
    consistency = v.consistency, recoverable = self.recoverable }
end


-- ------------------------------------------------------------------
-- Caring
-- ------------------------------------------------------------------

local function verify(self)
  local how = self.t.verify
  if not how or self.done.verify then
    self.verified = self.done.verify
    return
  end
  self:step("verify", function(at)
    local op <close> = self.repository:check {
      read_data = how ~= true and how or nil }
    at:watch(op)
    return files.finish(op)
  end, function(r) return { bytes_read = r.bytes_read } end)
  self.verified = true
end

-- While a new version is no good, no old one goes.
local function forget(self)
  local rules = self.t.keep
  if not rules or self.done.forget then return end
  if self.recoverable == false then
    self.run:trouble(("%s: nothing was forgotten, because the new version "
      .. "cannot be recovered whole"):format(self.location))
    return
  end
  local o = self.h.o
  local given = { host = o.host, tags = { "saros-workflow:" .. o.name } }
  for name, item in pairs(rules) do given[name] = item end
  self.removed = self:step("forget", function(at)
    local op <close> = self.repository:forget(given)
    at:watch(op)
    return #files.finish(op).removed
  end, function(removed) return { removed = removed } end)
end

-- Where another host does that, it is left to him.
local function prune(self)
  if self.recoverable == false
    or not journal.due(self.h.o, self.t.prune, "prune", self.location)
  then
    return
  end
  if self.done.prune then
    self.pruned = true
    return
  end
  local r = self:step("prune", function(at)
    local host = self.h.o.host
    local claim <close> = self.repository:claim_prune { host = host }
    local ours, err = claim:wait()
    if not ours then
      if err.code ~= E.SAROS_E_REFUSED then error(err, 0) end
      return { left = err.message }
    end
    local op <close> = self.repository:prune { host = host }
    at:watch(op)
    return files.finish(op)
  end, function(r)
    if r.left then return { state = "skipped", text = r.left } end
    return { bytes_freed = r.bytes_freed }
  end)
  self.pruned = not r.left
end

--- After all have stored.
function target:care()
  verify(self)
  forget(self)
  prune(self)
end

--- The end of it, once: its hooks, and the repository is closed.
function target:finish(err)
  if not self.begun or self.over then return end
  self.over = true
  local repository = self.repository
  self.repository = nil
  local why, state = self.error or err, nil
  if repository then
    if locked.may_ask(why) then self.lock_age = locked.age(repository) end
    pcall(repository.close, repository)
  end
  if why == nil and (self.failed or 0) > 0 then
    state = "partial"
    why = core.failure("saros", E.SAROS_S_PARTIAL, self.failed
      .. " of its files could not be read")
  elseif self.version and not step.is_cancel(why) then
    state = why and "partial"
  end
  hooks.over(self.run, self.lane, self.t, why, state)
end

--- Those of a workflow that are in the list, or all.
---@param only? string[] locations
function target.wanted(o, only)
  if not only then return o.targets end
  local missing, list = {}, {}
  for _, location in ipairs(only) do missing[location] = true end
  for _, t in ipairs(o.targets) do
    if missing[t.location] ~= nil or missing[t.open.location] ~= nil then
      missing[t.location], missing[t.open.location] = false, false
      list[#list + 1] = t
    end
  end
  for _, location in ipairs(only) do
    if missing[location] then
      files.fail("ERROR_NOT_FOUND", "saros.workflow: there is no such target: "
        .. "%s", location)
    end
  end
  return list
end

--- As the run shows it.
function target:result()
  return { location = self.location, version = self.version, guid = self.guid,
    state = not self.version and "failed"
      or (self.error or (self.failed or 0) > 0) and "partial" or "succeeded",
    bytes_added = self.bytes_added, bytes_stored = self.bytes_stored,
    bytes = self.bytes, files = self.files, failed = self.failed,
    errors = self.errors,
    components = self.components, error = record.error(self.error, self.h.said),
    verified = self.verified,
    removed = self.removed, pruned = self.pruned, resumed = self.resumed }
end

return target
