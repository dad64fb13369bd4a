-- Where the examples do what they show: as root in a mount namespace of their
-- own, on a tmpfs that nobody else sees, so that the kernel takes away all of
-- it, disks and loop devices too, when they end, however that is.

local saros = require "saros"

local place = {}

--- Runs a program and returns what it printed, without the last newline.
function place.run(...)
  local result = assert(saros.process { argv = { ... } }:wait())
  return (result.stdout:gsub("\n$", ""))
end

--- The directory of the script that runs, for the files beside it.
place.examples = arg[0]:match "^(.*)/" or "."

local first = 0
while arg[first - 1] do first = first - 1 end

--- The interpreter that runs this script.
place.lua = arg[first]

--- Words as one line of a shell.
function place.line(words, from)
  local quoted = {}
  for i = from or 1, #words do
    quoted[#quoted + 1] = "'" .. words[i]:gsub("'", "'\\''") .. "'"
  end
  return table.concat(quoted, " ")
end

--- The line that starts this script as it was started.
function place.again() return place.line(arg, first) end

local SETUP = [[
  for d in /mnt /media /srv; do
    [ -d $d ] && [ -z "$(ls -A $d)" ] && mount -t tmpfs -o mode=755 saros $d &&
      echo $d && exit
  done
  exit 1]]

-- Its end is ours, and the other way round; Ctrl-C reaches both.
local function run_privately(command)
  local _, how, code = os.execute("SAROS_EXAMPLE_PLACE=1 exec unshare -m "
    .. "setpriv --pdeathsig KILL " .. command)
  os.exit(how == "exit" and code or 128 + code, true)
end

--- As root starts this script once more, in a mount namespace of its own, and
--- ends with that one. There: an empty directory that goes by itself. As
--- somebody else, or where the kernel says no: nil, and why.
function place.private()
  if os.getenv "SAROS_EXAMPLE_PLACE" then
    local r, err = saros.process { argv = { "sh", "-c", SETUP } }:wait()
    if r then return (r.stdout:gsub("\n", "")) end
    return nil, "no directory to mount on: " .. tostring(err)
  end
  if place.run("id", "-u") ~= "0" then return nil, "you are not root" end
  local need = [[PATH=$PATH:/usr/sbin:/sbin
    for p in unshare setpriv losetup mkfs.xfs mkfs.ext4; do
      command -v $p >/dev/null || { echo "$p is not installed"; exit; }
    done
    d=$(mktemp -d)
    unshare -m sh -c 'mount -t tmpfs saros "$1" && cd "$1" &&
      truncate -s 8M disk && mkfs.ext4 -q -F disk && mkdir at &&
      mount -o loop disk at' sh "$d" >/dev/null 2>&1 ||
        echo "this machine does not let its root mount disks"
    rmdir "$d"]]
  local why = place.run("sh", "-c", need)
  if why ~= "" then return nil, why end
  run_privately(place.again())
end

--- A directory for those that have none of their own; it is removed when the
--- variable that holds it is closed: `local dir <close> = place.scratch()`.
---@return { path: string }
function place.scratch()
  local path = place.run("mktemp", "-d", "-t", "saros-example.XXXXXX")
  return setmetatable({ path = path }, { __close = function()
    saros.process { argv = { "rm", "-rf", path } }:wait()
  end })
end

-- XFS with reflinks is what the images of the disks lie on: a clone of such a
-- file copies nothing.
local DISKS = [[
  set -e; export PATH=$PATH:/usr/sbin:/sbin; cd "$1"; shift
  truncate -s 400M .xfs; mkdir .images
  mkfs.xfs -q -m reflink=1 .xfs; mount -o loop .xfs .images
  for name; do
    truncate -s 96M ".images/$name"; mkdir "$name"
    mkfs.ext4 -q -F ".images/$name"; mount -o loop ".images/$name" "$name"
    rmdir "$name/lost+found"
  done]]

--- Makes disks: ext4 file systems, each in a file on one XFS, mounted below
--- `dir` by their names.
function place.disks(dir, ...)
  place.run("sh", "-c", DISKS, "sh", dir, ...)
end

return place
