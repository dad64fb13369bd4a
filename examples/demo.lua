-- make demo: what saros does, and all of it is real. Operations side by side,
-- then shadow copies of what two programs are busy writing to, then the same
-- with a requester that is killed in the middle; then versions of such shadows
-- in a repository, and the proof that one can be restored from it.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local place = require "demo.place"

-- As root this script is run once more, where what it mounts is its own.
local dir, why = place.private()

place.main(function()
  require "demo.side_by_side"(dir)
  require "demo.shadows"(dir, why)
end)
