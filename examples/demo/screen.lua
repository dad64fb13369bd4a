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

local function bar(percent)
  local width = 30
  local full = math.floor(width * percent / 100)
  return paint("36", ("━"):rep(full))
    .. paint("90", ("─"):rep(width - full))
end

local function mib(bytes)
  if not bytes or bytes < 100000 then return "" end -- not bytes, perhaps
  return ("%7.1f MiB"):format(bytes / 1048576)
end

local colours = { succeeded = "32", cancelled = "33", failed = "31" }

local function line_of(row)
  local s = row.status
  local colour = colours[s.state]
  local state = colour and s.state or s.phase or s.state
  return ("  %-26s %s %3d%%  %11s  %s"):format(row.title, bar(s.percent),
    s.percent, mib(s.done), paint(colour or "0", row.note or state))
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

--- What is drawn from here on is below what has been.
function screen.settle() rows, drawn = {}, 0 end

return screen
