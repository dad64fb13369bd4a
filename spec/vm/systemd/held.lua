-- Under the unit, in a guest: a program is stopped, and stays so until this one
-- is ended.
local saros = require "saros"

saros.run(function()
  local _ <close> = require "saros.writers.process".writer {
    command = "sleeper 100000", files = { "/mnt/x/data" } }
  local _ <close> = saros.vss.writer { name = "waiter", level = "system",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d22", freeze_timeout = 600,
    freeze = function() saros.sleep(590):wait() end }
  local _ <close> = assert(saros.vss.shadow { paths = { "/mnt/x/data" },
    provider = "reflink", timeouts = { freeze = 600 } }:wait())
  print "it was not ended"
end)
