-- One job from a list of "URL<tab>path" to its files, in a process of its own;
-- bits.lua starts it.
--   lua5.4 spec/bench/bits_step.lua fetch|queue QUEUE LIST DURABILITY TOLD
-- `queue`: only as far as all of it is in the queue. What each part took is
-- written to the file TOLD.

local bits = require "saros.bits"

local step, queue, list, durability, told = table.unpack(arg)
local out = assert(io.open(told, "w"))

-- Wall seconds, in hundredths: Lua has no finer clock.
local function clock()
  for text in io.lines("/proc/uptime", "n") do return text end
end

local files = {}
for line in io.lines(list) do
  local tab = line:find("\t", 1, true)
  files[#files + 1] = { url = line:sub(1, tab - 1), path = line:sub(tab + 1) }
end

local last = clock()
local function lap(what)
  local now = clock()
  out:write(("%s %.4f\n"):format(what, now - last))
  last = now
end

local q <close> = bits.manager { path = queue, active = step == "fetch" }
lap "open"
local job = q:create_job { name = "bench", durability = durability,
  priority = "foreground" }
job:add_files(files)
job:resume() -- has returned when all of it is on the disk
lap "queue"
if step == "fetch" then
  assert(job:wait())
  lap "fetch"
  job:complete()
  lap "complete"
end
out:close()
