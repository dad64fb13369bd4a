---@private
-- Operations that run, a line for each, and below it one for each of what it is
-- made of, when that is known: on a terminal they are drawn in their place,
-- elsewhere a line is written now and then. Nothing of it is asked for by the
-- operations: they are looked at five times a second.

local core = require "saros.core"
local screen = require "saros.cli.screen"
local shown = require "saros.text"
local term = require "saros.term"

local EVERY <const> = 0.2   -- seconds between two frames
local PLAIN <const> = 10    -- … between two lines that are not drawn
local RATE <const> = 5      -- … over which a rate is taken

---@class saros.cli.progress
local progress = {}
progress.__index = progress

function progress.new(c)
  return setmetatable({ c = c, list = {} }, progress)
end

--- Seconds until it has to be looked at again; nil: nothing runs.
function progress:due()
  if #self.list == 0 then return nil end
  return (self.c.terminal or self.c.options.json) and EVERY or 1
end

local function new(label) return { label = label, seen = {}, last = 0 } end

---@param parts? fun(): table[] what it is made of now: { lane, name, status }
function progress:add(op, label, parts)
  local item = new(label)
  item.op, item.parts, item.made = op, parts, {}
  table.insert(self.list, item)
  return item
end

function progress:remove(item)
  for i, other in ipairs(self.list) do
    if other == item then
      table.remove(self.list, i)
      break
    end
  end
  if #self.list == 0 then self.c.screen:hide() end
end

-- ------------------------------------------------------------------
-- Figures
-- ------------------------------------------------------------------

local function clock(seconds)
  seconds = math.tointeger(seconds // 1)
  if seconds < 3600 then
    return ("%d:%02d"):format(seconds // 60, seconds % 60)
  end
  return ("%d:%02d:%02d"):format(seconds // 3600, seconds // 60 % 60,
    seconds % 60)
end

-- Whether what it counts are bytes.
local function has_bytes(s)
  return s.kind:find "^repository%." or s.kind:find "^bits"
    or s.kind == "saros.copy"
end

-- Units a second, of the last seconds.
local function rate_of(item, s)
  local seen, now = item.seen, s.elapsed
  seen[#seen + 1] = { now, s.done or 0 }
  while #seen > 2 and now - seen[2][1] > RATE do table.remove(seen, 1) end
  local first = seen[1]
  if now - first[1] < 0.5 then return nil end
  return ((s.done or 0) - first[2]) / (now - first[1])
end

-- Since when somebody holds still, and of how long he may at most.
local function held_of(s)
  if s.held or not s.held_since then return s.held end
  local _, now = core.clocks()
  return now - s.held_since, (s.held_until or now) - s.held_since
end

local function figures(item, s)
  local rate = rate_of(item, s)
  local f = { percent = s.percent, elapsed = s.elapsed }
  f.held, f.held_most = held_of(s)
  if s.state == "cancelled" or s.phase == "unwinding" then
    f.unwinding = s.step or "undoing"
    return f
  end
  if has_bytes(s) and s.done then
    f.done, f.total = s.done, s.total
    if rate and rate > 0 then
      f.rate = rate
      if s.total and s.total > s.done then
        f.left = (s.total - s.done) / rate
      end
    end
  end
  return f
end

-- ------------------------------------------------------------------
-- Lines
-- ------------------------------------------------------------------

-- What is said of one, the more important first.
local function parts_of(s, f)
  local parts = {}
  local function part(text) parts[#parts + 1] = text end
  if f.held and f.held_most then
    part(("held %.1f of %.0f s"):format(f.held, f.held_most))
  elseif f.held then
    part(("held %.1f s"):format(f.held))
  end
  if f.unwinding then
    part(f.unwinding)
    return parts
  end
  if f.done and f.total and f.total > 0 then
    part(shown.size(f.done) .. " of " .. shown.size(f.total))
  elseif f.done and f.done > 0 then
    part(shown.size(f.done))
  end
  if f.rate then part(shown.size(f.rate // 1) .. "/s") end
  if f.left and f.left < 360000 then part(clock(f.left) .. " left") end
  if not f.left then part(clock(f.elapsed)) end
  if s.phase and s.phase ~= "" then part(s.phase) end
  return parts
end

-- As many parts as fit beside the label, which has at least a third.
local function line_of(c, item, s)
  local f = figures(item, s)
  local width = c.screen.width - 1
  local percent = s.total and s.total > 0 and ("%3d%%"):format(s.percent)
    or "  …"
  if item.indent and width > 30 then percent = item.indent .. percent end
  local room = width - utf8.len(percent) - 1
  local label = screen.fit(item.label, math.max(room // 3, math.min(room, 8)),
    item.indent)
  local text = ""
  for _, part in ipairs(parts_of(s, f)) do
    part = shown.safe(part)
    local longer = text == "" and part or text .. ", " .. part
    if term.columns(label) + 2 + utf8.len(longer) > room then break end
    text = longer
  end
  local line = label
  if text ~= "" then line = label .. "  " .. text end
  -- What it is at takes what is left.
  local left = room - term.columns(line) - 2
  if s.path and left >= 12 then
    line = line .. "  " .. screen.fit(s.path, left, true)
  end
  if c.color then percent = "\27[1m" .. percent .. "\27[0m" end
  return percent .. " " .. line, f
end

local function plain(c, item, s)
  local f = figures(item, s)
  local label = shown.safe(item.label)
  if s.total and s.total > 0 then
    c:say(("%s: %d%%, %s"):format(label, s.percent,
      table.concat(parts_of(s, f), ", ")))
  else
    c:say(("%s: %s"):format(label, table.concat(parts_of(s, f),
      ", ")))
  end
end

local function record(c, item, s)
  local f = figures(item, s)
  c:emit("progress", { operation = s.kind, label = item.label,
    lane = item.lane, percent = s.percent, phase = s.phase, done = s.done,
    total = s.total, rate = f.rate and f.rate // 1 | 0,
    seconds_left = f.left and f.left // 1 | 0,
    elapsed = s.elapsed, held = f.held, held_most = f.held_most,
    files = s.files, path = s.path })
end

-- A lane, and what is done on it. It is told apart by its end.
local function part_of(part)
  local place = part.lane:match "^%l+:(.*)$"
  local item = new(place and place .. " " .. part.name or part.name)
  item.lane, item.indent = part.lane, "  "
  return item
end

-- Each that runs, with its status: what it is made of follows it.
local function each(self, show)
  for _, item in ipairs(self.list) do
    show(item, item.op:status())
    local made = {}
    for _, part in ipairs(item.parts and item.parts() or {}) do
      local key = part.lane .. "\0" .. part.name
      made[key] = item.made[key] or part_of(part)
      show(made[key], part.status)
    end
    item.made = made
  end
end

-- What does not fit is counted.
local function fitting(c, lines)
  local most = math.max(c.screen.rows - 1, 1)
  if #lines <= most then return lines end
  local more = #lines - most + 1
  lines = table.move(lines, 1, most - 1, 1, {})
  lines[most] = screen.fit(("  … %d more"):format(more), c.screen.width - 1)
  return lines
end

--- Shows what there is to show.
function progress:show()
  local c, lines = self.c, {}
  each(self, function(item, s)
    if c.options.json then
      if s.elapsed - item.last >= 1 then
        item.last = s.elapsed
        record(c, item, s)
      end
    elseif c.terminal then
      lines[#lines + 1] = line_of(c, item, s)
    elseif s.elapsed - item.last >= PLAIN and not c.options.quiet then
      item.last = s.elapsed
      plain(c, item, s)
    end
  end)
  if #lines > 0 then c.screen:draw(fitting(c, lines)) end
end

return progress
