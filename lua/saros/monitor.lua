---@private
-- How things stand, from the records of runs alone: what monitoring asks, and
-- what a person asks in the morning.

local shown = require "saros.text"

local monitor = {}

--- As monitoring has them.
monitor.levels = { [0] = "OK", "WARNING", "CRITICAL", "UNKNOWN" }

local OK <const>, WARNING <const>, CRITICAL <const>, UNKNOWN <const> =
  0, 1, 2, 3

-- Kinds of runs that are backups: of others there is no age that would matter.
local backs_up <const> = { workflow = true, backup = true, hold = true }

--- "3d 4h", "26h", "12 min"
function monitor.age(seconds)
  if not seconds then return "never" end
  local s = math.max(0, math.floor(seconds))
  if s < 120 then return ("%d s"):format(s) end
  if s < 7200 then return ("%d min"):format(s // 60) end
  if s < 172800 then return ("%dh"):format(s // 3600) end
  local hours = s % 86400 // 3600
  return ("%dd"):format(s // 86400) .. (hours > 0 and (" %dh"):format(hours)
    or "")
end

local function key_of(run)
  return run.name or run.kind
end

-- What a run has proved of its versions.
local function drill_of(run)
  if run.kind == "drill" then
    if run.state == "succeeded" then return "passed" end
    return run.state == "failed" and "failed" or nil
  end
  local drill = type(run.result) == "table" and run.result.drill
  return type(drill) == "table" and drill.state or nil
end

local function ended_at(run) return run.time + (run.seconds or 0) end

-- The runs are the newest first: what is set first stays.
local function add(w, run)
  if run.time == nil then return end
  local drill = drill_of(run)
  if drill and not w.drill then
    w.drill, w.drill_at = drill, ended_at(run)
  end
  if drill == "passed" and not w.drill_passed_at then
    w.drill_passed_at = ended_at(run)
  end
  if not backs_up[run.kind] then return end
  w.runs = w.runs + 1
  if run.state == "running" then
    w.running = w.running or run.time
    return
  end
  if not w.last then
    w.last, w.last_at, w.kind = run.state, ended_at(run), run.kind
    w.message = run.error and run.error.message
    w.record = run.path
    w.seconds = run.seconds
  end
  if run.state == "succeeded" and not w.success_at then
    local result = type(run.result) == "table" and run.result or {}
    w.success_at, w.success_seconds = ended_at(run), run.seconds
    w.held, w.consistency = tonumber(result.held), result.consistency
    w.versions = result.versions
  end
  if run.state ~= "succeeded" and not w.success_at then
    w.failures = w.failures + 1
  end
end

local function judge(w, o, now)
  local level, reasons = OK, {}
  local function is(least, text, ...)
    level = math.max(level, least)
    reasons[#reasons + 1] = text:format(...)
  end
  w.age = w.success_at and now - w.success_at
  w.drill_age = w.drill_passed_at and now - w.drill_passed_at
  if w.runs == 0 and not w.drill then
    return UNKNOWN, { "there is no record of a run" }
  end
  if w.runs > 0 and not w.success_at then
    is(CRITICAL, "it has never succeeded")
  elseif w.age and o.max_age and w.age > o.max_age then
    is(CRITICAL, "the last success is %s ago (at most %s)",
      monitor.age(w.age), monitor.age(o.max_age))
  elseif w.age and o.max_age and w.age < -o.max_age then
    is(WARNING, "the last success is dated %s from now: the clock is wrong, or "
      .. "was so then", monitor.age(-w.age))
  end
  if w.last == "failed" or w.last == "interrupted" then
    is(w.success_at and not o.strict and WARNING or CRITICAL,
      "the last run %s%s", w.last == "failed" and "failed" or "was interrupted",
      w.message and ": " .. shown.safe((w.message:gsub("\n", "; "))) or "")
  elseif w.last == "partial" then
    is(WARNING, "the last run left something out")
  elseif w.last == "cancelled" then
    is(WARNING, "the last run was cancelled")
  end
  if w.drill == "failed" then
    is(CRITICAL, "the last drill failed")
  elseif w.drill == "untried" then
    is(WARNING, "the last drill could not be made")
  end
  if o.max_drill and (w.drill_age or math.huge) > o.max_drill then
    is(WARNING, w.drill_age and "the last drill that passed is %s ago"
      or "no drill has ever passed", monitor.age(w.drill_age))
  end
  if w.running and o.max_run and now - w.running > o.max_run then
    is(WARNING, "it has been running for %s", monitor.age(now - w.running))
  end
  return level, reasons
end

-- Of those that were asked for by name, one without any record is unknown.
local function wanted(o)
  local list, by = {}, {}
  for _, name in ipairs(o.names or {}) do
    by[name] = { name = name, runs = 0, failures = 0 }
    list[#list + 1] = by[name]
  end
  return list, by
end

--- What the records say: a list of `{ name, level, reasons, last, last_at,
--- success_at, age, drill, drill_age, held, running, … }`, in the order of
--- names, and the worst level. Nothing at all is unknown.
---@param records table[] as `record.list` has them: the newest first
---@param o { names: string[]?, max_age: number?, max_drill: number?, max_run: number?, strict: boolean? } seconds
---@param now number seconds since 1970
function monitor.judge(records, o, now)
  local list, by = wanted(o)
  local all = #list == 0
  for _, run in ipairs(records) do
    local name = key_of(run)
    if not by[name] and all and (backs_up[run.kind] or drill_of(run)) then
      by[name] = { name = name, runs = 0, failures = 0 }
      list[#list + 1] = by[name]
    end
    if by[name] then add(by[name], run) end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  local worst = #list == 0 and UNKNOWN or OK
  for _, w in ipairs(list) do
    w.level, w.reasons = judge(w, o, now)
    worst = monitor.worst(worst, w.level)
  end
  return list, worst
end

--- The worse of two: what is unknown is worse than a warning, and a critical
--- one worse than that.
function monitor.worst(a, b)
  local rank = { [OK] = 0, [WARNING] = 1, [UNKNOWN] = 2, [CRITICAL] = 3 }
  return rank[b] > rank[a] and b or a
end

-- Of two times, the later one; but what lies ahead of every clock that is right
-- hides nothing.
local function is_later(at, than, now)
  local is_ahead = require "saros.record".is_ahead
  local hides = is_ahead(than, now)
  if is_ahead(at, now) ~= hides then return hides end
  return at > than
end

--- The versions of all machines in a repository, judged by the age of the newest
--- of each: the same list.
---@param versions table[] as `repo:versions` has them
---@param time fun(text: string): number?
function monitor.hosts(versions, o, now, time)
  local by, list = {}, {}
  for _, v in ipairs(versions) do
    local at = v.time and time(v.time)
    local name = v.hostname or "?"
    if not by[name] then
      by[name] = { name = name, runs = 0, failures = 0, host = true }
      list[#list + 1] = by[name]
    end
    local w = by[name]
    w.runs = w.runs + 1
    if at and (not w.success_at or is_later(at, w.success_at, now)) then
      w.success_at, w.last_at, w.last = at, at, "succeeded"
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  local worst = #list == 0 and UNKNOWN or OK
  for _, w in ipairs(list) do
    w.level, w.reasons = judge(w, o, now)
    worst = monitor.worst(worst, w.level)
  end
  return list, worst
end

-- A label of perfdata: no quote, no = in it.
local function label(text)
  text = shown.safe(text):gsub("['=|]", "_")
  return text:find "[%s]" and "'" .. text .. "'" or text
end

--- One line for monitoring, with figures behind the bar: the worst comes first.
function monitor.line(list, worst, o)
  local bad, figures = {}, {}
  for _, w in ipairs(list) do
    if w.level ~= OK then
      bad[#bad + 1] = shown.safe(w.name) .. ": "
        .. table.concat(w.reasons, ", ")
    end
    if w.age then
      figures[#figures + 1] = ("%s=%ds;;%s;0"):format(label(w.name .. "_age"),
        math.floor(w.age), o.max_age and math.floor(o.max_age) or "")
    end
    if w.drill_age then
      figures[#figures + 1] = ("%s=%ds;%s;;0"):format(label(w.name
        .. "_drill_age"), math.floor(w.drill_age),
        o.max_drill and math.floor(o.max_drill) or "")
    end
    if w.held then
      figures[#figures + 1] = ("%s=%.3fs;;;0"):format(label(w.name .. "_held"),
        w.held)
    end
  end
  local text = #bad > 0 and table.concat(bad, "; ")
    or #list == 0 and "there is no record of a run"
    or #list == 1 and shown.safe(list[1].name)
    or shown.some(#list, "workflow")
  local oldest = monitor.oldest(list)
  if #bad == 0 and oldest then
    text = ("%s, the oldest success %s ago"):format(text, monitor.age(oldest))
  end
  -- What ends the text for who reads it.
  text = text:gsub("|", "/")
  return ("SAROS %s - %s%s"):format(monitor.levels[worst], text,
    #figures > 0 and " | " .. table.concat(figures, " ") or "")
end

--- The greatest age of a last success.
function monitor.oldest(list)
  local oldest
  for _, w in ipairs(list) do
    if w.age and (not oldest or w.age > oldest) then oldest = w.age end
  end
  return oldest
end

return monitor
