--- Figures for Prometheus, of the records of runs: in a file that its node
--- exporter reads (`--collector.textfile.directory`).
---
--- ```lua
--- local metrics = require "saros.metrics"
--- assert(metrics.write("/var/lib/prometheus/node-exporter/saros.prom"):wait())
--- ```
---
--- What is there: `saros_last_success_timestamp_seconds`, `saros_last_success`
--- (0: the last run was none), `saros_last_run_timestamp_seconds`,
--- `saros_running`, `saros_duration_seconds`, `saros_held_seconds`,
--- `saros_bytes_added` and `saros_bytes_stored` for each location,
--- `saros_runs_total`, `saros_failures_total`,
--- `saros_last_drill_timestamp_seconds`, `saros_last_drill_success`,
--- `saros_lock_age_seconds` for each location that a run has used (0: nobody had
--- locked it then).

local core = require "saros.core"
local arguments = require "saros.arguments"
local locked = require "saros.record.locked"
local model = require "saros.timeline.model"
local retention = require "saros.retention"
local words = require "saros.timeline.words"

---@class saros.metrics
local metrics = {}

-- In the order in which they are written: name, type, what it is.
local FAMILIES <const> = {
  { "last_success_timestamp_seconds", "gauge",
    "When the last run ended that succeeded." },
  { "last_success", "gauge", "Whether the last run that ended succeeded." },
  { "last_run_timestamp_seconds", "gauge", "When the last run ended." },
  { "running", "gauge", "Whether a run is under way." },
  { "duration_seconds", "gauge", "How long the last run took." },
  { "held_seconds", "gauge",
    "How long anybody had to hold still in the last run that held." },
  { "bytes_added", "gauge", "What was new in the last version." },
  { "bytes_stored", "gauge", "What of it was stored, compressed." },
  { "runs_total", "counter", "Runs that have ended." },
  { "failures_total", "counter",
    "Runs that failed, did part of their work, or were interrupted." },
  { "last_drill_timestamp_seconds", "gauge", "When the last drill began." },
  { "last_drill_success", "gauge", "Whether the last drill succeeded." },
  { "lock_age_seconds", "gauge",
    "How old the oldest lock of the repository was when it was last asked." },
}

local escapes <const> = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function labels(...)
  local parts, given = {}, { ... }
  for i = 1, #given, 2 do
    parts[#parts + 1] = ('%s="%s"'):format(given[i],
      (words.plain(given[i + 1]):gsub('[\\"\n]', escapes)))
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function figure(value)
  local whole = math.tointeger(value)
  return whole and ("%d"):format(whole)
    or (("%.6f"):format(value):gsub("0+$", "0"))
end


-- ------------------------------------------------------------------
-- Counting
-- ------------------------------------------------------------------

-- Samples that were written before, by name and labels: old records go, and what
-- was counted of them stays.
local function samples_of(text)
  local samples = {}
  for line in (text or ""):gmatch "[^\n]+" do
    local key, value = line:match "^(saros_[%l_]+{.*}) ([%d.]+)$"
    if key then samples[key] = tonumber(value) end
  end
  return samples
end

local BAD <const> = { failed = true, partial = true, interrupted = true }

local function seconds(ms) return ms / 1000 end

local function ended_at(e) return seconds(e.begun + (e.took or 0)) end

-- What is known of the runs of a name, the newest first.
-- What is ahead of the clock says of no time that it was so late.
local function count(family, list, old, now)
  local l = labels("name", list[1].name, "kind", list[1].kind)
  local function put(name, value, more)
    if value then family[name][#family[name] + 1] = { more or l, value } end
  end
  local until_then = old["saros_last_run_timestamp_seconds" .. l] or -1
  local runs = old["saros_runs_total" .. l] or 0
  local failures = old["saros_failures_total" .. l] or 0
  local newest, good, held, running, versions
  for _, e in ipairs(list) do
    if e.state == "running" then
      running = true
    elseif not e.ahead then
      newest = newest or e
      good = good or e.state == "succeeded" and e or nil
      held = held or type(e.result.held) == "number" and e.result.held or nil
      local made = model.versions(e)
      versions = versions or made[1] and made
      -- What is written has six digits.
      if ended_at(e) > until_then + 0.00001 then
        runs = runs + 1
        failures = failures + (BAD[e.state] and 1 or 0)
      end
    end
  end
  local before = old["saros_last_success_timestamp_seconds" .. l]
  if before and retention.is_ahead(before, now) then before = nil end
  put("last_success_timestamp_seconds", good and ended_at(good) or before)
  put("last_success", newest and (newest.state == "succeeded" and 1 or 0))
  put("last_run_timestamp_seconds", newest and ended_at(newest))
  put("running", running and 1 or 0)
  put("duration_seconds", newest and newest.took and seconds(newest.took))
  put("held_seconds", held)
  put("runs_total", runs)
  put("failures_total", failures)
  for _, v in ipairs(versions or {}) do
    local at = labels("name", list[1].name, "location", v.location)
    put("bytes_added", v.added, at)
    put("bytes_stored", v.stored, at)
  end
end

local function count_drills(family, entries)
  local seen = {}
  for _, e in ipairs(entries) do
    for _, d in ipairs(e.state ~= "running" and model.drills(e) or {}) do
      local l = labels("name", d.name)
      if not seen[l] then
        seen[l] = true
        table.insert(family.last_drill_timestamp_seconds, { l, seconds(d.at) })
        table.insert(family.last_drill_success,
          { l, d.state == "succeeded" and 1 or 0 })
      end
    end
  end
end

---@class saros.metrics.options
---@field now? number seconds since 1970
---@field locks? table<string, number> how old the oldest lock of each location is now, in seconds; of others it is told as their last run has found it
---@field before? string what was written the last time: counters go on from there

-- As the newest run that used a location has found it, or as it is now.
local function count_locks(family, entries, now)
  local ages = {}
  for location, age in pairs(now or {}) do ages[location] = age end
  for _, e in ipairs(entries) do
    for _, l in ipairs(model.locks(e)) do
      ages[l.location] = ages[l.location] or l.age
    end
  end
  for location, age in pairs(ages) do
    table.insert(family.lock_age_seconds, { labels("location", location), age })
  end
end

--- The figures as Prometheus reads them.
---@param records saros.record.summary[] of `record.list`, the newest first
---@param options? saros.metrics.options
---@return string
function metrics.text(records, options)
  local o = arguments.check("metrics.text", options, { now = "number",
    locks = "table", before = "string" })
  local now = math.floor((o.now or os.time()) * 1000)
  local old = samples_of(o.before)
  local entries, groups, order, family = {}, {}, {}, {}
  for _, f in ipairs(FAMILIES) do family[f[1]] = {} end
  for i, given in ipairs(records) do
    local e = model.entry(given, now)
    entries[i] = e
    local key = e.kind .. "\0" .. e.name
    if not groups[key] then
      groups[key] = {}
      order[#order + 1] = key
    end
    table.insert(groups[key], e)
  end
  table.sort(order)
  for _, key in ipairs(order) do
    count(family, groups[key], old, seconds(now))
  end
  count_drills(family, entries)
  count_locks(family, entries, o.locks)
  local lines = {}
  for _, f in ipairs(FAMILIES) do
    local name, samples, had = "saros_" .. f[1], family[f[1]], {}
    table.sort(samples, function(a, b) return a[1] < b[1] end)
    if #samples > 0 then
      lines[#lines + 1] = ("# HELP %s %s"):format(name, f[3])
      lines[#lines + 1] = ("# TYPE %s %s"):format(name, f[2])
    end
    for _, s in ipairs(samples) do
      if not had[s[1]] then
        had[s[1]] = true
        lines[#lines + 1] = ("%s%s %s"):format(name, s[1], figure(s[2]))
      end
    end
  end
  lines[#lines + 1] = ""
  return table.concat(lines, "\n")
end


-- ------------------------------------------------------------------
-- The file
-- ------------------------------------------------------------------

-- A repository that cannot be reached has no figure, and is no reason to have
-- none of the others.
local function lock_ages(repositories)
  local ages = {}
  for _, repo in ipairs(repositories or {}) do
    ages[repo:location()] = locked.age(repo)
  end
  return ages
end

---@class saros.metrics.write.options
---@field state_dir? string where saros keeps its state, when not where it is usually
---@field repositories? saros.repository.handle[] of which the age of locks is asked; of others it is told as their last run has found it
---@field mode? string of the file ("644": the exporter is another user)

--- Writes the file, at once: who reads it never sees a part. It fails when it
--- cannot be written, and what was there stays.
---@param path string
---@param options? saros.metrics.write.options
---@return saros.operation op result: `{ path, records }`
function metrics.write(path, options)
  if type(path) ~= "string" then
    error("metrics.write: the path of a file expected, got " .. type(path), 2)
  end
  local o = arguments.check("metrics.write", options, { state_dir = "string",
    repositories = "table", mode = "string" })
  return core.spawn(function()
    local list = require "saros.record".list { state_dir = o.state_dir }
    local now = os.time()
    local file <close> = io.open(path, "rb")
    local text = metrics.text(list, { now = now,
      locks = lock_ages(o.repositories),
      before = file and file:read "a" or nil })
    require "saros.publish".text(path, text, o.mode or "644")
    return { path = path, records = #list }
  end)
end

return metrics
