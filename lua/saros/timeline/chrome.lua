---@private
-- A run as Chrome's tracing has it (chrome://tracing, ui.perfetto.dev): the
-- "JSON Array" form of the Trace Event Format, a process for each run, a thread
-- for each lane. What overlaps in a lane are asynchronous events, which may.

local core = require "saros.core"
local model = require "saros.timeline.model"

local chrome = {}

local function us(ms) return math.floor(ms * 1000 + 0.5) end

local function add_lanes(add, run, pid)
  add { ph = "M", pid = pid, tid = 0, name = "process_name",
    args = { name = ("%s %s"):format(run.name, run.id) } }
  for _, lane in ipairs(run.lanes) do
    add { ph = "M", pid = pid, tid = lane.index + 1, name = "thread_name",
      args = { name = model.lane_name(lane) } }
    add { ph = "M", pid = pid, tid = lane.index + 1,
      name = "thread_sort_index", args = { sort_index = lane.index } }
  end
end

local function add_operations(add, run, pid, base)
  for i, op in ipairs(run.ops) do
    local cause = model.chain(op.error)[1]
    local id = ("%d.%d"):format(pid, i)
    local tid = op.lane.index + 1
    add { ph = "b", cat = op.lane.kind, id = id, pid = pid, tid = tid,
      name = op.name, ts = base + us(op.at),
      args = { state = op.state, error = cause and cause.message or nil } }
    add { ph = "e", cat = op.lane.kind, id = id, pid = pid, tid = tid,
      name = op.name, ts = base + us(op.ended) }
  end
end

-- Counters for bytes, a slice for whatever had to hold still.
local function add_rest(add, run, pid, base)
  for _, line in ipairs(run.lines) do
    for _, point in ipairs(line.points) do
      add { ph = "C", pid = pid, tid = 0, name = "bytes: " .. line.name,
        ts = base + us(point[1]), args = { bytes = math.floor(point[2]) } }
    end
  end
  for i, row in ipairs(run.held and run.held.rows or {}) do
    local tid = 100000 + i
    add { ph = "M", pid = pid, tid = tid, name = "thread_name",
      args = { name = ("held: %s %s"):format(row.kind, row.name) } }
    add { ph = "X", cat = "held", pid = pid, tid = tid, name = "held",
      ts = base + us(row.from), dur = us(row.to - row.from) }
  end
end

--- The trace of these runs, as a text.
---@param runs table[] of model.run
---@return string
function chrome.text(runs)
  local events = {}
  local function add(event) events[#events + 1] = core.json_write(event) end
  for pid, run in ipairs(runs) do
    local base = math.floor(run.begun) * 1000
    add_lanes(add, run, pid)
    add_operations(add, run, pid, base)
    add_rest(add, run, pid, base)
  end
  return '{"displayTimeUnit":"ms","traceEvents":[\n'
    .. table.concat(events, ",\n") .. "\n]}\n"
end

return chrome
