---@private
-- Operations that run, a line for each: on a terminal they are drawn in their
-- place, elsewhere a line is written now and then. Nothing of it is asked for
-- by the operations: they are looked at five times a second.

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

function progress:add(op, label)
  local item = { op = op, label = label, seen = {}, begun = 0, last = 0 }
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

-- When somebody holds still.
local holding <const> = { hold = true, commit = true, release = true }

local function hold(item, s)
  if not holding[s.phase] then return end
  item.held_from = item.held_from or s.elapsed
  item.held = s.elapsed - item.held_from
end

local function figures(item, s)
  hold(item, s)
  local rate = rate_of(item, s)
  local f = { percent = s.percent, elapsed = s.elapsed }
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
  elseif rate and rate > 0 and s.total and s.done and s.total > s.done
    and s.percent >= 5
  then
    f.left = (s.total - s.done) / rate
  end
  return f
end

-- ------------------------------------------------------------------
-- Lines
-- ------------------------------------------------------------------

-- What is said of one, the more important first.
local function parts_of(item, s, f)
  local parts = {}
  local function part(text) parts[#parts + 1] = text end
  if f.unwinding then
    part(f.unwinding)
    return parts
  end
  if item.held then part(("held %.1f s"):format(item.held)) end
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
  local room = width - utf8.len(percent) - 1
  local label = screen.fit(item.label, math.max(room // 3, math.min(room, 8)))
  local text = ""
  for _, part in ipairs(parts_of(item, s, f)) do
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
  if s.total and s.total > 0 then
    c:say(("%s: %d%%, %s"):format(item.label, s.percent,
      table.concat(parts_of(item, s, f), ", ")))
  else
    c:say(("%s: %s"):format(item.label, table.concat(parts_of(item, s, f),
      ", ")))
  end
end

local function record(c, item, s)
  local f = figures(item, s)
  c:emit("progress", { operation = s.kind, label = item.label,
    percent = s.percent, phase = s.phase, done = s.done, total = s.total,
    rate = f.rate and f.rate // 1 | 0,
    seconds_left = f.left and f.left // 1 | 0,
    elapsed = s.elapsed, files = s.files, path = s.path })
end

--- Shows what there is to show.
function progress:show()
  local c, lines = self.c, {}
  for _, item in ipairs(self.list) do
    local s = item.op:status()
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
  end
  if c.terminal and not c.options.json and #lines > 0 then
    c.screen:draw(lines)
  end
end

return progress
