---@private
-- What is to be told of a name, and what was: kept in STATE/notify, a file for
-- each name, which one process at a time reads and writes.

local core = require "saros.core"
local E = require "saros.code"
local format = require "saros.format"
local model = require "saros.timeline.model"
local publish = require "saros.publish"
local record = require "saros.record"

local told = {}

local PATIENCE <const> = 200 -- seconds that another check may take

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end


-- ------------------------------------------------------------------
-- What is due
-- ------------------------------------------------------------------

-- The newest drill, and the newest that succeeded.
local function drills_of(runs, now)
  local last, good
  for _, run in ipairs(runs) do
    if run.state ~= "running" then
      for _, d in ipairs(model.drills(model.entry(run, now))) do
        last = last or { drill = d, run = run }
        if d.state == "succeeded" then
          good = good or { drill = d, run = run }
        end
      end
    end
  end
  return last, good
end

local BAD <const> = { failed = "failed", interrupted = "failed",
  partial = "partial" }

--- What is to be told, whether or not it was: a list of { event, key, run, good }.
--- `runs` are the records of a name, the newest first.
---@param runs saros.record.summary[]
---@param o table the options of notify.check
---@param now number seconds since 1970
function told.due(runs, o, now)
  local list, newest, good = {}, nil, nil
  local oldest
  for i, run in ipairs(runs) do
    if run.state ~= "running" and run.state ~= "cancelled" then
      newest = newest or run
    end
    -- Of what is ahead nobody knows when it was, unless it has just ended.
    if i == 1 or not run.ahead then
      oldest = run
      if run.state == "succeeded" then good = good or run end
    end
  end
  local function add(event, key, run, more)
    list[#list + 1] = { event = event, key = key, run = run, good = good,
      drill_said = more }
  end
  if newest and BAD[newest.state] then
    add(BAD[newest.state], newest.id, newest)
  end
  -- Who was told of a failure meanwhile knows that there is no success.
  local heard = newest and BAD[newest.state] and o.max_age
    and now - newest.time <= o.max_age
  if o.max_age and oldest and not heard then
    local since = good and good.time + (good.seconds or 0) or oldest.time
    if now - since > o.max_age then
      add("late", good and good.id or "never", runs[1])
    end
  end
  local last, proved = drills_of(runs, now * 1000)
  if last and last.drill.state ~= "succeeded" then
    if not (newest and newest.id == last.run.id and BAD[newest.state]) then
      add("drill", last.run.id, last.run)
    end
  elseif o.drill_age and oldest then
    local since = proved and proved.drill.at / 1000 or oldest.time
    if now - since > o.drill_age then
      add("drill", proved and proved.run.id or "never", runs[1],
        proved and "The last drill that succeeded is too long ago."
        or "No drill has ever succeeded, as far as the records go.")
    end
  end
  return list, newest
end


-- ------------------------------------------------------------------
-- What was told
-- ------------------------------------------------------------------

local function directory(state_dir)
  local path = core.directory("state", state_dir) .. "/notify"
  if finish(core.entries { { "look", path } })[1] then return path end
  local made <close> = core.entries { { "make", path } }
  local ok, why = made:wait()
  if not ok and why.errno ~= 17 then error(why, 0) end
  return path
end

-- Whatever a workflow is called, it is a name in this directory.
local function file_of(name)
  return (name:gsub("[^%w_-]", function(c)
    return ("%%%02X"):format(c:byte())
  end)):sub(1, 200)
end

-- The kernel lets go of it however this ends. Where it cannot be had, as on a
-- disk that is read-only, two that look at once may tell somebody twice, which is
-- better than not at all.
local function locked(path)
  local _, since = core.clocks()
  while true do
    local file, _, number = core.claimed_file(path)
    if file or number ~= 11 then return file end
    local _, now = core.clocks()
    if now - since > PATIENCE then
      error(core.failure("saros", E.SAROS_E_TIMEOUT, "another process has been "
        .. "telling somebody for too long"), 0)
    end
    core.sleep(0.05):wait()
  end
end

local function read(path)
  local file <close> = io.open(path, "rb")
  local known = file and core.json_read(file:read "a")
  local newer = format.newer(path, known, format.told)
  if newer then error(newer, 0) end
  if type(known) ~= "table" or type(known.told) ~= "table" then
    known = { told = {} }
  end
  for event, entry in pairs(known.told) do
    if type(entry) ~= "table" or type(entry.to) ~= "table" then
      known.told[event] = nil
    end
  end
  return format.stamp(known, format.told)
end

-- How many destinations have it, and how many there are.
local function complete(to, had)
  for _, name in ipairs { "url", "command", "mail" } do
    if to[name] and not had[name] then return false end
  end
  return true
end

-- Where that cannot be written, somebody may be told twice.
local function save(known, path)
  if not path then return end
  local good, why = pcall(publish.text, path, core.json_write(known, true))
  if good then return end
  if type(why) == "table" and why.cancelled then error(why, 0) end
  warn("saros: what was told is not known the next time: "
    .. tostring(type(why) == "table" and why.message or why))
end

-- Tells one thing to those who have not heard it. What was told is on the disk
-- before anything else is.
local function tell(event, known, path, o, to, send)
  local entry = known.told[event.event]
  if not entry or entry.key ~= event.key then
    entry = { key = event.key, to = {} }
  end
  if complete(to, entry.to) then return nil end
  local whole = event.run
  local ok, run = pcall(record.read, event.run.path)
  if ok and run.state == whole.state then whole = run end
  local result = finish(send { to = o.to, event = event.event, run = whole,
    good = event.good, drill_said = event.drill_said, skip = entry.to,
    state_dir = o.state_dir })
  for name in pairs(result.told) do entry.to[name] = true end
  if next(entry.to) then
    known.told[event.event] = entry
    if event.event ~= "recovered" then known.bad = true end
    save(known, path)
  end
  return { event = event.event, run = event.run.id, told = result.told,
    failed = result.failed }
end

-- What the records say, with the run that has just ended: its own may have no
-- end, or not be there.
local function runs_of(o)
  local good, runs = pcall(record.list, { name = o.name,
    state_dir = o.state_dir, now = o.now })
  if not good then
    if not o.run or runs.cancelled then error(runs, 0) end
    runs = {}
  end
  if not o.run then return runs end
  local ended = o.run
  for i, run in ipairs(runs) do
    if run.id == o.run.id then
      ended = table.remove(runs, i)
      if run.state == "running" then
        ended = setmetatable({ path = run.path }, { __index = o.run })
      end
      break
    end
  end
  -- Whatever a clock says that was set meanwhile.
  table.insert(runs, 1, ended)
  return runs
end

-- Where it is kept what was told; nil: there is no place for it, and somebody
-- waits to be told.
local function place_of(o)
  local good, at = pcall(directory, o.state_dir)
  if good then return at .. "/" .. file_of(o.name) end
  if not o.run or type(at) == "table" and at.cancelled then error(at, 0) end
  return nil
end

--- What notify.check does.
function told.check(o, to, send)
  local at = place_of(o)
  local _ <close> = at and locked(at .. ".lock")
  local path = at and at .. ".json"
  local known = path and read(path) or { told = {} }
  local runs = runs_of(o)
  local due, newest = told.due(runs, o, o.now or os.time())
  local on, list = {}, {}
  for _, event in ipairs(o.on) do on[event] = true end
  if #due == 0 and known.bad and newest and newest.state == "succeeded" then
    due = { { event = "recovered", key = newest.id, run = newest,
      good = newest } }
  end
  for _, event in ipairs(due) do
    if on[event.event] then
      list[#list + 1] = tell(event, known, path, o, to, send)
    end
    if event.event == "recovered" and (not on.recovered
      or complete(to, (known.told.recovered or {}).to or {})) then
      known.bad = nil
      known.told = { recovered = known.told.recovered }
      save(known, path)
    end
  end
  return list
end

return told
