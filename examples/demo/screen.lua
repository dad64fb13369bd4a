-- What the demo prints: coloured on a terminal, plain elsewhere, and one row
-- per operation, drawn again whenever one has moved.

local saros = require "saros"

local terminal = os.getenv "TERM" ~= "dumb" and os.getenv "NO_COLOR" == nil
local is_tty = os.execute "test -t 1"
local esc = (terminal and is_tty) and "\27[" or nil

local screen = {}

function screen.paint(code, text)
  return esc and ("%s%sm%s%s0m"):format(esc, code, text, esc) or text
end

local paint = screen.paint

--- A headline, a line, and a line with a figure that is worth seeing.
function screen.head(text) print("\n" .. paint("1", text) .. "\n") end

function screen.say(format, ...) print("  " .. format:format(...)) end

function screen.fact(good, name, format, ...)
  print(("  %s %-30s %s"):format(good and paint("32", "✓") or paint("31", "✗"),
    name, format:format(...)))
end

local rows, drawn = {}, 0

-- A row that is broken in two cannot be drawn again: it is as wide as there is
-- room.
local function columns()
  local pipe <close> = assert(io.popen "stty size </dev/tty 2>/dev/null")
  return tonumber(pipe:read "a":match "^%d+ (%d+)") or 80
end

local ASIDE = 49 -- title, percent, bytes, and what is between them
local STATE = 20
local room = esc and columns() or 100
local bar_width = math.max(5, math.min(30, room - ASIDE - STATE))

local function bar(percent)
  local full = math.floor(bar_width * percent / 100)
  return paint("36", ("━"):rep(full))
    .. paint("90", ("─"):rep(bar_width - full))
end

local function mib(bytes)
  if not bytes or bytes < 100000 then return "" end -- not bytes, perhaps
  return ("%7.1f MiB"):format(bytes / 1048576)
end

local colours = { succeeded = "32", cancelled = "33", failed = "31" }

local function line_of(row)
  local s = row.status
  local colour = colours[s.state]
  local state = row.note or colour and s.state or s.phase or s.state
  state = state:sub(1, math.max(1, room - ASIDE - bar_width))
  return ("  %-26s %s %3d%%  %11s  %s"):format(row.title, bar(s.percent),
    s.percent, mib(s.done), paint(colour or "0", state))
end

local function draw()
  if not esc then return end
  if drawn > 0 then io.write(("%s%dA"):format(esc, drawn)) end
  for _, row in ipairs(rows) do
    io.write("\r", esc, "K", line_of(row), "\n")
  end
  drawn = #rows
  io.flush()
end

--- Shows how far an operation is, until it has ended. `see` may look at each
--- of its moves, and set row.note.
function screen.watch(title, op, see)
  local row = { title = title, status = op:status() }
  rows[#rows + 1] = row
  return saros.spawn(function()
    for status in op:progress() do
      row.status = status
      if see then see(row, op, status) end
      draw()
    end
    if not esc then print(line_of(row)) end
  end)
end

--- The rows of a table: what, a figure, how long it took, and what is worth
--- knowing of it. Lua's lengths are bytes, a terminal's are letters.
function screen.table(title, lines)
  local function pad(text, width, right)
    local space = (" "):rep(width - utf8.len(text))
    return right and space .. text or text .. space
  end
  local wide = { 0, 0, 0, 0 }
  for _, line in ipairs(lines) do
    for i = 1, 4 do wide[i] = math.max(wide[i], utf8.len(line[i])) end
  end
  local width = wide[1] + wide[2] + wide[3] + wide[4] + 8
  local function rule(left, right)
    print("  " .. paint("90", left .. ("─"):rep(width) .. right))
  end
  local edge = paint("90", "│")
  print()
  rule("╭", "╮")
  print(("  %s %s %s"):format(edge, paint("1", pad(title, width - 2)), edge))
  rule("├", "┤")
  for _, line in ipairs(lines) do
    print(("  %s %s  %s  %s  %s %s"):format(edge, pad(line[1], wide[1]),
      paint("36", pad(line[2], wide[2], true)),
      paint("33", pad(line[3], wide[3], true)), pad(line[4], wide[4]), edge))
  end
  rule("╰", "╯")
end

--- What is drawn from here on is below what has been.
function screen.settle() rows, drawn = {}, 0 end

return screen
