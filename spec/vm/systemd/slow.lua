-- Under the unit, in a guest: a program of its own that does not want to end.
local saros = require "saros"

saros.run(function()
  local op <close> = saros.process { grace = 100, stdout = "inherit", argv = { "sh", "-c",
    "echo ok begun; trap "
    .. "'sleep 20; echo ok undone; exit' TERM; while :; do sleep 1; done" } }
  op:wait()
end)
