-- Under the unit, in a guest: ended, it needs longer to undo what it has begun
-- than TimeoutStopSec is.
local saros = require "saros"

saros.run(function()
  local op <close> = saros.process { grace = 100, stdout = "inherit", argv = { "sh", "-c",
    "echo ok begun; trap "
    .. "'sleep 20; echo ok undone; exit' TERM; while :; do sleep 1; done" } }
  op:wait()
end)
