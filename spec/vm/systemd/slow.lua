-- Under the unit, in a guest: what it has begun is long in ending, and ends when
-- there is a file.
local saros = require "saros"

saros.run(function()
  local op <close> = saros.process { grace = 600, stdout = "inherit",
    argv = { "sh", "-c", "trap 'until test -e /tmp/undo; do sleep 0.2; done; "
      .. "echo ok undone; exit' TERM; echo ok begun; while :; do sleep 1; done" } }
  op:wait()
end)
