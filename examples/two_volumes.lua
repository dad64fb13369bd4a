-- Two places at one instant. As root two disks are made (ext4, in files on an
-- XFS) and frozen together: what is thrown from one to the other is never lost
-- in between. As somebody else two directories are copied, and the skew says
-- how far apart they are.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local dir = place.private()

-- One ball from hand to hand: it is caught there before it is let go here, so
-- at each instant it is in one of them or in both.
local JUGGLE = [[
  cd "$1"; n=0
  while :; do
    n=$((n + 1))
    echo $n >right/ball; rm left/ball
    echo $n >left/ball; rm right/ball
  done]]

saros.run(function()
  local scratch <close> = not dir and place.scratch() or nil
  local at = dir or scratch.path
  if dir then
    place.disks(at, "left", "right")
  else
    place.run("mkdir", at .. "/left", at .. "/right")
  end
  place.run("mkdir", "-m", "700", at .. "/state")
  place.run("touch", at .. "/left/ball")
  local left, right = at .. "/left", at .. "/right"
  local juggler <close> = saros.process {
    argv = { "sh", "-c", JUGGLE, "sh", at } }

  local set <close> = assert(vss.shadow { paths = { left, right },
    state_dir = at .. "/state" }:wait())
  assert(not juggler:done(), "the juggler has stopped")
  local balls = 0
  for path, shadow in pairs(set) do
    local file = io.open(shadow.path .. "/ball")
    print(("%s  by %s, %s: %s"):format(path, shadow.provider,
      shadow.consistency, file and "the ball is here" or "no ball"))
    if file then
      balls = balls + 1
      file:close()
    end
  end
  local skew = set.skew[1].seconds
  print(("skew %.6f s, held %.3f s"):format(skew, set.held))
  if skew == 0 then -- then it cannot have been nowhere
    print "one instant: the ball is in one hand or in both, never in none"
    assert(balls >= 1)
  end
  assert(set:backup_complete():wait())
end)
