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
--- somebody else, or where the kernel does not mount these (ext4 and xfs): nil,
--- and why.
---@param ... string file systems
function place.private(...)
  if os.getenv "SAROS_EXAMPLE_PLACE" then
    local r, err = saros.process { argv = { "sh", "-c", SETUP } }:wait()
    if r then return (r.stdout:gsub("\n", "")) end
    return nil, "no directory to mount on: " .. tostring(err)
  end
  if place.run("id", "-u") ~= "0" then return nil, "you are not root" end
  local need = [[PATH=$PATH:/usr/sbin:/sbin
    for p in unshare setpriv losetup $(printf 'mkfs.%s ' "$@"); do
      command -v $p >/dev/null || { echo "$p is not installed"; exit; }
    done
    d=$(mktemp -d)
    unshare -m sh -c 'd=$1; shift; mount -t tmpfs saros "$d" && cd "$d" &&
      for fs; do
        truncate -s 400M $fs && mkfs.$fs -q $fs && mkdir at.$fs &&
        mount -o loop $fs at.$fs || exit
      done' sh "$d" "$@" >/dev/null 2>&1 ||
        echo "this machine does not let its root mount disks ($*)"
    rmdir "$d"]]
  local fs = select("#", ...) > 0 and { ... } or { "ext4", "xfs" }
  local why = place.run("sh", "-c", need, "sh", table.unpack(fs))
  if why ~= "" then return nil, why end
  run_privately(place.again())
end

local scratches = {}

--- Runs f as a task and ends with what it returns. Also after an error or a
--- Ctrl-C nothing of it runs any more then, and no directory of it is left.
function place.main(f, ...)
  local results = table.pack(pcall(saros.run, f, ...))
  saros.shutdown(20)
  for _, keeper in pairs(scratches) do keeper:close() end
  if results[1] then os.exit(results[2] or 0, true) end
  local why = tostring(results[2])
  io.stderr:write("\n", why, "\n")
  os.exit(why:find "interrupted!$" and 130 or 1, true)
end

-- It goes when its input does: when we say so, or are gone, however that was.
-- No key reaches it. (What a shadow is copied to may be immutable.)
local KEEPER <const> = [[exec setsid sh -c 'trap "" INT TERM HUP
  cat >/dev/null; chattr -R -i "$1" 2>/dev/null
  for i in 1 2 3 4 5 6 7 8 9; do
    rm -rf "$1" 2>/dev/null && exit; sleep 0.2
  done' sh ]]

--- A directory for those that have none of their own; it is removed when the
--- variable that holds it is closed: `local dir <close> = place.scratch()`.
---@param within? string where
---@return { path: string }
function place.scratch(within)
  local path = place.run("mktemp", "-d", "-p",
    within or os.getenv "TMPDIR" or "/tmp", "saros-example.XXXXXX")
  scratches[path] = assert(io.popen(KEEPER .. place.line { path }, "w"))
  return setmetatable({ path = path }, { __close = function(_, err)
    -- Then something may still be at work there: place.main() has patience.
    if err ~= nil then return end
    scratches[path]:close()
    scratches[path] = nil
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

--- Makes a disk of one file, mounted at `at`: a btrfs, which has shadows of its
--- own.
function place.btrfs(at)
  place.run("sh", "-c", [[set -e; export PATH=$PATH:/usr/sbin:/sbin
    truncate -s 400M "$1.image"; mkfs.btrfs -q "$1.image"; mkdir "$1"
    mount -o loop "$1.image" "$1"]], "sh", at)
end

return place
