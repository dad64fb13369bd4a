---@private
-- What earlier runs did, of their records: what an interrupted one has finished,
-- what is due again, and how it stands.

local record = require "saros.record"

local journal = {}

-- A run that was interrupted longer ago than that is not gone on with: what its
-- finished targets have is old, and the next one has to be made anyway.
local WITHIN <const> = 12 * 3600

--- The records of a workflow, the newest first.
function journal.runs(o, limit)
  return record.list { state_dir = o.state_dir, name = o.name,
    kind = "workflow", limit = limit }
end

-- What a record says of an interrupted run. The newest version of a location
-- counts, and what was done with that one.
local function add(into, run)
  for _, one in ipairs(run.notes.stored or {}) do
    local known = type(one) == "table" and into[one.location]
    if type(one) == "table" and one.location
      and not (known and known.stored.version == one.version)
    then
      into[one.location] = { stored = one, done = {} }
    end
  end
  for _, op in ipairs(run.ops) do
    local target = into[op.lane:match "^%l+:(.*)$"]
    if target and op.state == "succeeded" then target.done[op.name] = true end
  end
end

local function root_of(run) return run.resumes or run.id end

-- The run that was interrupted last, unless somebody has ended it since. No
-- clock decides that, which may have been set meanwhile, but for one that was
-- half a day ago, or will be.
local function left_over(o, within)
  local list, over = journal.runs(o, 100), {}
  for _, run in ipairs(list) do
    if run.state ~= "interrupted" then over[root_of(run)] = true end
  end
  local newest = list[1]
  if not newest or newest.newer or over[root_of(newest)]
    or math.abs(os.time() - newest.time) > within
  then
    return nil
  end
  local root, chain = root_of(newest), {}
  for _, run in ipairs(list) do
    if root_of(run) == root then table.insert(chain, 1, run) end
  end
  return root, chain
end

--- The run that was interrupted and is to be gone on with: its first id, and
--- what it has finished, by location. nil: there is none, or it was about
--- something else than what is wanted now.
function journal.interrupted(o, within)
  if within == true or within == nil then within = WITHIN end
  if within == false then return nil end
  local root, chain = left_over(o, within)
  local finished = {}
  for _, run in ipairs(chain or {}) do
    local good, all = pcall(record.read, run.path)
    local content = good and all.notes.content
    if content and content[1] ~= o.content then return nil end
    if good then add(finished, all) end
  end
  return root, finished
end

--- Somebody else who is running it; nil: he has just begun, or is over now.
function journal.rival(o)
  for _, run in ipairs(journal.runs(o)) do
    if run.state == "running" then return run end
  end
  return nil
end

local function has(run, what, location)
  local result = type(run.result) == "table" and run.result or {}
  if what == "drill" then
    return type(result.drill) == "table" and result.drill.state == "passed"
  end
  for _, t in ipairs(type(result.targets) == "table" and result.targets
    or {}) do
    if t.location == location and t[what .. "d"] then return true end
  end
  return false
end

--- Whether something is to be done now that is done every so often: `what` is
--- "drill", or "prune" of a location, `every` so many seconds, or true. A little
--- early is on time: a timer is never exact.
function journal.due(o, every, what, location)
  if every == nil or every == false then return false end
  if every == true then return true end
  local now = os.time()
  for _, run in ipairs(journal.runs(o)) do
    local age = now - run.time
    if age > every * 0.95 then return true end
    -- What began in this same second is not in the future.
    if age > -1 and has(run, what, location) then return false end
  end
  return true
end

---@class saros.workflow.status
---@field name string
---@field last? saros.record.summary the newest run
---@field age? number seconds since that began; nil: it is ahead of the clock
---@field last_success? saros.record.summary the newest that succeeded whole
---@field success_age? number seconds since that began
---@field last_drill? saros.record.summary the newest with a drill that passed
---@field failures integer how many in a row did not succeed, up to now
---@field running? saros.record.summary

local status_type = { __name = "saros.workflow.status" }

function status_type.__tostring(s)
  local text = require "saros.text"
  if not s.last then return text.safe(s.name) .. ": it was never run" end
  local line = ("%s: %s, %s"):format(text.safe(s.name), s.last.state,
    text.clock(s.last.begun))
  if s.last_success and s.last_success.id ~= s.last.id then
    line = line .. "; it last succeeded " .. text.clock(s.last_success.begun)
  elseif not s.last_success then
    line = line .. "; it has never succeeded"
  end
  return line
end

--- How it stands.
---@return saros.workflow.status
function journal.status(o)
  local s = { name = o.name, failures = 0 }
  local now = os.time()
  local function age(run)
    return not run.ahead and math.max(0, now - run.time) or nil
  end
  for _, run in ipairs(journal.runs(o)) do
    if run.state == "running" and not s.running then s.running = run end
    if not s.last then s.last, s.age = run, age(run) end
    if run.state == "succeeded" and not s.last_success then
      s.last_success, s.success_age = run, age(run)
    end
    if not s.last_success and run.state ~= "running" then
      s.failures = s.failures + 1
    end
    if has(run, "drill") and not s.last_drill then s.last_drill = run end
  end
  return setmetatable(s, status_type)
end

return journal
