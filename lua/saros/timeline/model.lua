---@private
-- What a record of a run says, as it is shown: lanes with their operations,
-- what failed and because of what, how long writes were held, what came of it.
-- A record is read as it lies on the disk; somebody else may have written it, so
-- nothing in it is believed to be of any kind or size.

local words = require "saros.timeline.words"

local model = {}

-- As the page knows them, by their number.
model.states = { "succeeded", "failed", "cancelled", "skipped", "partial",
  "running", "interrupted" }
local number_of <const> = {}
for i, name in ipairs(model.states) do number_of[name] = i - 1 end

local MOST_CAUSES <const> = 12
local MOST_FAILURES <const> = 200
local MOST_TEXT <const> = 2000
local POINTS <const> = 240 -- of a line of bytes


-- ------------------------------------------------------------------
-- One thing of a record
-- ------------------------------------------------------------------

local function number(given)
  if type(given) ~= "number" or given ~= given or given < 0
    or given > 1e15 then
    return nil
  end
  return given
end

local function list(given) return type(given) == "table" and given or {} end

-- A text of it, as it may be shown.
local function shown(given, otherwise)
  if type(given) ~= "string" and type(given) ~= "number" then
    return otherwise
  end
  given = tostring(given)
  if #given > MOST_TEXT then given = given:sub(1, MOST_TEXT) .. " …" end
  return words.plain(given)
end

--- The state of an operation or a run, one of `model.states`.
function model.state_of(given)
  return number_of[given] and given or "interrupted"
end

--- An error and what it came of: { { message, name }, … }, the root last.
function model.chain(err)
  local causes, last = {}, nil
  while type(err) == "table" and #causes < MOST_CAUSES do
    local said = type(err.message) == "string" and err.message:gsub("\n", "; ")
    local message = shown(said or nil, "it failed and did not say why")
    if message ~= last then
      causes[#causes + 1] = { message = message, name = shown(err.name) }
    end
    last, err = message, err.cause
  end
  if type(err) == "string" then
    causes[#causes + 1] = { message = shown(err) }
  end
  return causes
end

-- "writer:app" --> "writer", "app"
local function split(lane)
  local kind, name = lane:match "^(%l+):(.*)$"
  if kind then return kind, name end
  return lane, nil
end


-- ------------------------------------------------------------------
-- Operations
-- ------------------------------------------------------------------

local order <const> = { step = 1, writer = 2, volume = 3, target = 4,
  transfer = 5, drill = 6 }

local function compare(one, other)
  local a, b = order[one.kind] or 7, order[other.kind] or 7
  if a ~= b then return a < b end
  return one.first < other.first
end

-- Each operation with its times in the run, which has `last` as its end.
local function operations(record, last, run_state)
  local ops, by_number = {}, {}
  for _, given in ipairs(list(record.ops)) do
    if type(given) == "table" then
      local at = number(given.at) or 0
      local ended = number(given.ended)
      local op = {
        number = given.n, parent = given.parent, at = at,
        ended = math.max(ended or last, at),
        lane = type(given.lane) == "string" and given.lane or "step",
        name = shown(given.name, "?"), error = given.error,
        samples = list(given.samples), detail = given.detail,
        state = ended and model.state_of(given.state)
          or run_state == "running" and "running" or "interrupted",
      }
      ops[#ops + 1] = op
      if op.number ~= nil then by_number[op.number] = op end
    end
  end
  for i, op in ipairs(ops) do op.place = i end
  table.sort(ops, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.place < b.place
  end)
  return ops, by_number
end

local function lanes_of(ops)
  local lanes, by_name = {}, {}
  for _, op in ipairs(ops) do
    local lane = by_name[op.lane]
    if not lane then
      local kind, name = split(op.lane)
      lane = { kind = shown(kind), name = shown(name), first = op.at,
        ops = {} }
      by_name[op.lane] = lane
      lanes[#lanes + 1] = lane
    end
    op.lane = lane
    lane.ops[#lane.ops + 1] = op
  end
  table.sort(lanes, compare)
  for i, lane in ipairs(lanes) do lane.index = i - 1 end
  return lanes
end

--- "target /mnt/a", "step"
function model.lane_name(lane)
  return lane.name and lane.kind .. " " .. lane.name or lane.kind
end

-- Those that failed themselves, and not because of one below them.
local function failures_of(record, ops, by_number)
  local above = {} -- what has something below it that failed
  for _, op in ipairs(ops) do
    if op.state == "failed" then
      local up = by_number[op.parent]
      if up then above[up] = true end
    end
  end
  local failures = {}
  for _, op in ipairs(ops) do
    if op.state == "failed" and not above[op]
      and #failures < MOST_FAILURES then
      local path, up, steps = {}, by_number[op.parent], 0
      while up and steps < MOST_CAUSES do
        table.insert(path, 1, up.name)
        up, steps = by_number[up.parent], steps + 1
      end
      failures[#failures + 1] = { op = op, path = path,
        chain = model.chain(op.error), at = op.ended }
    end
  end
  if #failures == 0 and type(record.error) == "table" then
    failures[1] = { path = {}, chain = model.chain(record.error) }
  end
  return failures
end


-- ------------------------------------------------------------------
-- Bytes
-- ------------------------------------------------------------------

-- What the operations of a lane had carried, all together, over time.
local function line_of(lane)
  local samples = {}
  local function add(i, at, bytes)
    samples[#samples + 1] = { at = at, bytes = bytes, op = i,
      place = #samples }
  end
  for i, op in ipairs(lane.ops) do
    local last
    for _, s in ipairs(op.samples) do
      local at, bytes = number(list(s).at), number(list(s).bytes)
      if at and bytes then
        if not last then add(i, op.at, 0) end
        last = bytes
        add(i, at, bytes)
      end
    end
    if last then
      add(i, op.ended, number(list(op.detail).bytes) or last)
    end
  end
  if #samples == 0 then return nil end
  table.sort(samples, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.place < b.place
  end)
  local points, have, sum = {}, {}, 0
  local every = math.max(1, #samples // POINTS)
  for i, s in ipairs(samples) do
    sum = sum + s.bytes - (have[s.op] or 0)
    have[s.op] = s.bytes
    if i % every == 0 or i == 1 or i == #samples then
      points[#points + 1] = { s.at, sum }
    end
  end
  return { name = model.lane_name(lane), points = points }
end


-- ------------------------------------------------------------------
-- The held window
-- ------------------------------------------------------------------

-- Of several the longest, which somebody will ask about.
local function held_of(record)
  local held, from, to
  for _, one in ipairs(list(record.held)) do
    local first, last = number(list(one).from), number(list(one).to)
    if first and last and first <= last
      and not (held and last - first <= to - from) then
      held, from, to = one, first, last
    end
  end
  if not held then return nil end
  local rows = {}
  local function add(kind, given)
    for _, one in ipairs(list(given)) do
      if type(one) == "table" and #rows < 200 then
        -- Nobody writes for sure only when he has answered; he may have held
        -- since he was asked.
        local first = number(one.asked) or number(one.from) or from
        local last = number(one.to) or to
        rows[#rows + 1] = { kind = kind, from = first,
          name = shown(one.name or one.path, "?"),
          to = math.max(first, last) }
      end
    end
  end
  add("writer", held.writers)
  add("volume", held.volumes)
  for _, row in ipairs(rows) do
    from, to = math.min(from, row.from), math.max(to, row.to)
  end
  return { from = from, to = to, rows = rows, skew = number(held.skew) }
end


-- ------------------------------------------------------------------
-- A run
-- ------------------------------------------------------------------

--- What the header and the ending of a record say.
function model.entry(record, now)
  local begun = words.instant(record.begun) or now
  local state = record.state
  if not number_of[state] then state = "interrupted" end
  local kind, took = shown(record.kind, "run"), number(record.seconds)
  return { id = shown(record.id, "?"), name = shown(record.name, kind),
    kind = kind, host = shown(record.host, "?"), state = state, begun = begun,
    took = took and took * 1000, error = record.error, path = record.path,
    ahead = record.ahead == true,
    result = list(record.result) }
end

--- The versions that a run has made: { location, id, added, stored, total,
--- files }.
function model.versions(entry)
  local versions = {}
  for _, v in ipairs(list(entry.result.versions)) do
    if type(v) == "table" then
      versions[#versions + 1] = { location = shown(v.location, "?"),
        id = shown(v.id or v.version, "?"), added = number(v.bytes_added),
        stored = number(v.bytes_stored), files = number(v.files),
        total = number(v.bytes or v.bytes_total or v.bytes_processed) }
    end
  end
  return versions
end

--- How old the locks were that a run has found: { location, age }.
function model.locks(entry)
  local locks = {}
  for _, l in ipairs(list(entry.result.locks)) do
    if type(l) == "table" and number(l.age) then
      locks[#locks + 1] = { location = shown(l.location, "?"),
        age = number(l.age) }
    end
  end
  return locks
end

local drill_states <const> = { passed = "succeeded", untried = "partial" }

local function drill_of(entry, given)
  local took = number(given.seconds)
  return { name = entry.name, at = entry.begun, what = shown(given.name),
    state = model.state_of(drill_states[given.state] or given.state),
    took = took and took * 1000, version = shown(given.version),
    why = (model.chain(given.error)[1] or {}).message }
end

--- The drills of a run: it was one, or had one (its result has `drill`, one or a
--- list of them).
function model.drills(entry)
  if entry.kind == "drill" then
    return { drill_of(entry, { state = entry.state, error = entry.error,
      seconds = entry.took and entry.took / 1000,
      version = entry.result.version }) }
  end
  local given, drills = list(entry.result.drill), {}
  for _, one in ipairs(given.state and { given } or given) do
    if type(one) == "table" then drills[#drills + 1] = drill_of(entry, one) end
  end
  return drills
end

local function last_of(record)
  local last = (number(record.seconds) or 0) * 1000
  for _, op in ipairs(list(record.ops)) do
    if type(op) == "table" then
      last = math.max(last, number(op.at) or 0, number(op.ended) or 0)
      local s = list(op.samples)
      local newest = s[#s]
      if type(newest) == "table" then
        last = math.max(last, number(newest.at) or 0)
      end
    end
  end
  return last
end

-- A writer or volume that failed says more than the step above it.
local function log_of(record)
  local lines = {}
  for _, l in ipairs(list(record.log)) do
    if type(l) == "table" then
      lines[#lines + 1] = { at = number(l.at) or 0,
        level = shown(l.level, "notice"), text = shown(l.text, "") }
    end
  end
  return lines
end

--- All of a record.
function model.run(record, now)
  local run = model.entry(record, now)
  local last = last_of(record)
  if run.state == "running" then last = math.max(last, now - run.begun) end
  local ops, by_number = operations(record, last, run.state)
  run.last = math.max(last, 1)
  run.took = run.took or run.state ~= "running" and last or nil
  run.ops = ops
  run.lanes = lanes_of(ops)
  run.failures = failures_of(record, ops, by_number)
  run.held = held_of(record)
  run.log = log_of(record)
  run.argv = list(record.argv)
  run.lines = {}
  for _, lane in ipairs(run.lanes) do
    run.lines[#run.lines + 1] = line_of(lane)
  end
  return run
end

-- In tenths of a millisecond there is nothing to be seen but in what was held.
local function ms(value) return math.floor(value * 10 + 0.5) / 10 end

--- The run as the page's script has it.
function model.data(run)
  local lanes, ops, lines, rows = {}, {}, {}, {}
  for i, lane in ipairs(run.lanes) do
    lanes[i] = { lane.kind, lane.name or "" }
  end
  for i, op in ipairs(run.ops) do
    local cause = op.state == "failed" and model.chain(op.error)[1]
    ops[i] = { op.lane.index, ms(op.at), ms(op.ended), number_of[op.state],
      op.name, cause and cause.message or nil }
  end
  for i, line in ipairs(run.lines) do
    lines[i] = { name = line.name, points = line.points }
  end
  local held = run.held
  for i, row in ipairs(held and held.rows or {}) do
    rows[i] = { row.kind, row.name, row.from, row.to }
  end
  return { id = run.id, begun = run.begun, last = ms(run.last),
    lanes = lanes, ops = ops, lines = lines,
    held = held and { from = held.from, to = held.to, rows = rows } }
end

return model
