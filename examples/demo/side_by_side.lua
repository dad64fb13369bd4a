-- Operations side by side: two trees are copied, a process is read line by
-- line, one copy is cancelled half-way and leaves nothing behind.

local saros = require "saros"
local place = require "demo.place"
local screen = require "demo.screen"

local function make_trees(dir)
  place.run("sh", "-c", ([[cd '%s' && mkdir many big &&
    head -c 15000000 /dev/urandom | split -a 4 -b 10000 - many/file- &&
    head -c 120000000 /dev/urandom > big/disk.img]]):format(dir))
end

return function()
  local scratch <close> = place.scratch()
  local dir = scratch.path
  screen.head "Four operations side by side, one thread of Lua"
  make_trees(dir)

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
    screen.watch("copy 1500 files", copies[1]),
    screen.watch("copy a disk image", copies[2]),
    screen.watch("copy, cancelled half-way", copies[3], function(row, op, s)
      if s.percent >= 30 and s.state == "running" then op:cancel() end
      if s.state == "cancelled" then row.note = "cancelled and undone" end
    end),
    screen.watch("tar, read line by line", archive),
  }
  local names = 0
  saros.spawn(function()
    for _ in archive:lines() do names = names + 1 end
  end)
  for _, w in ipairs(watchers) do w:wait() end
  screen.settle()

  local whole = assert(copies[1]:result())
  local gone = not io.open(dir .. "/never.copy/disk.img")
  print()
  screen.say("%d files copied, %d names from tar; what the cancelled copy "
    .. "left: %s", whole.files, names, gone and "nothing" or "SOMETHING")
end
