-- make demo: operations side by side, each with its progress, all waited for
-- by ordinary coroutines. What is done here is real: two trees are copied, a
-- process is read line by line, one copy is cancelled half-way and leaves
-- nothing behind.

local saros = require "saros"

local terminal = os.getenv "TERM" ~= "dumb" and os.getenv "NO_COLOR" == nil
local is_tty = os.execute "test -t 1"
local esc = (terminal and is_tty) and "\27[" or nil

local function paint(code, text)
  return esc and ("%s%sm%s%s0m"):format(esc, code, text, esc) or text
end

-- A scratch directory with something in it to copy.
local function run(...)
  return assert(saros.process { argv = { ... } }:wait())
end

local dir = run("mktemp", "-d", "-t", "saros-demo.XXXXXX").stdout:gsub("\n", "")

local function cleanup()
  saros.process { argv = { "rm", "-rf", dir } }:wait()
end

local function make_trees()
  run("sh", "-c", ([[cd '%s' && mkdir many big &&
    head -c 30000000 /dev/urandom | split -a 4 -b 20000 - many/file- &&
    head -c 300000000 /dev/urandom > big/disk.img]]):format(dir))
end

-- One row per operation; drawn again whenever one has moved.
local rows, drawn = {}, 0

local function bar(percent)
  local width = 30
  local full = math.floor(width * percent / 100)
  return paint("36", ("━"):rep(full))
    .. paint("90", ("─"):rep(width - full))
end

local function mib(bytes)
  return bytes and ("%7.1f MiB"):format(bytes / 1048576) or ""
end

local colours = { succeeded = "32", cancelled = "33", failed = "31" }

local function line_of(row)
  local s = row.status
  local colour = colours[s.state]
  local state = colour and s.state or s.phase or s.state
  return ("  %-28s %s %3d%%  %11s  %s"):format(row.title, bar(s.percent),
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

local function watch(title, op, see)
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

local function demo()
  print(paint("1", "Making something to copy …"))
  make_trees()
  print(paint("1", "\nFour operations side by side, one thread of Lua:\n"))

  local function copy(from, to)
    return saros.copy { from = dir .. from, to = dir .. to, clone = "never" }
  end
  local copies = {
    copy("/many", "/many.copy"), copy("/big", "/big.copy"),
    copy("/big", "/never.copy"),
  }
  local archive = saros.process {
    argv = { "tar", "-C", dir, "-cf", dir .. "/many.tar", "-v", "many" },
    stdout = "lines", name = "archive",
  }

  local watchers = {
    watch("copy 1500 files", copies[1]),
    watch("copy a disk image", copies[2]),
    watch("copy, cancelled half-way", copies[3], function(row, op, s)
      if s.percent >= 30 and s.state == "running" then op:cancel() end
      if s.state == "cancelled" then row.note = "cancelled and undone" end
    end),
    watch("tar, read line by line", archive),
  }
  local names = 0
  saros.spawn(function()
    for _ in archive:lines() do names = names + 1 end
  end)

  for _, w in ipairs(watchers) do w:wait() end
  return copies, names
end

local ok, copies, names = pcall(saros.run, demo)
if ok then
  local whole = copies[1]:result()
  local gone = not io.open(dir .. "/never.copy/disk.img")
  print(("\n  %d files copied, %d names from tar"):format(whole.files, names))
  print("  what the cancelled copy left behind: " ..
    (gone and "nothing" or "SOMETHING"))
  local _, why = copies[3]:wait()
  print("  and what it says: " .. tostring(why))
end
cleanup()
if not ok then error(copies, 0) end
