-- Under the unit, in a guest: something is held, and stays so until this one is
-- ended. `process`: a program is stopped. `frozen`: an image is frozen, and what
-- clones it sleeps in the kernel, because somebody has frozen where that lies.
local saros = require "saros"
local what = ...

saros.run(function()
  local _ <close> = what == "process"
    and require "saros.writers.process".writer {
      command = "sleeper 100000", files = { "/mnt/x/data" } } or nil
  local _ <close> = saros.vss.writer { name = "waiter", level = "system",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d22", freeze_timeout = 600,
    freeze = function()
      if what == "frozen" then
        assert(saros.process { argv = { "fsfreeze", "-f", "/mnt/x" } }:wait())
      else
        saros.sleep(590):wait()
      end
    end }
  local path = what == "frozen" and "/mnt/i" or "/mnt/x/data"
  local _ <close> = assert(saros.vss.shadow { paths = { path },
    provider = what == "frozen" and "image" or "reflink",
    timeouts = { freeze = 600 } }:wait())
  print "it was not ended"
end)
