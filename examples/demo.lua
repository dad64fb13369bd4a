-- make demo: what saros does, and all of it is real. Operations side by side,
-- then shadow copies of what two programs are busy writing to, then the same
-- with a requester that is killed in the middle.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"

-- As root this script is run once more, where what it mounts is its own.
local dir, why = place.private()

local ok, err = pcall(saros.run, function()
  require "demo.side_by_side"()
  require "demo.shadows"(dir, why)
end)
if not ok then
  io.stderr:write("\n", tostring(err), "\n")
  os.exit(1, true)
end
