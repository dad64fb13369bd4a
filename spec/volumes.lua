--- Real file systems for specs: on loop devices over files, mounted where
--- nobody else sees them. The mounts are in a mount namespace of this process
--- and of the programs it starts; however that ends, they end with it, and the
--- loop devices with them.
---
--- ```lua
--- local volumes = require "spec.volumes" -- before anything is started
--- if volumes.missing then pending(volumes.missing) end
--- local v <close>, why = volumes.make("btrfs", 256)
--- ```

require "saros" -- which starts nothing yet
local system = require "testmod".system

local ok, why = system.private_mounts()

local volumes = {
  --- Why there is none to be had at all, or nil.
  ---@type string?
  missing = not ok and "no file system can be mounted here: " .. why or nil
}

--- Runs a shell command: its output (both streams), and whether it ended well.
function volumes.run(command, ...)
  local pipe = assert(io.popen("exec 2>&1; PATH=$PATH:/usr/sbin:/sbin; "
    .. command:format(...)))
  local text = pipe:read "a"
  return text, (pipe:close())
end

--- Unmounts whatever is mounted below a directory, the last first: before
--- somebody removes it.
function volumes.unmount(directory)
  if volumes.missing then return end
  volumes.run([[findmnt -rn -o TARGET | tac | while read -r at; do
    at=$(printf '%%b' "$at")
    case $at in '%s'/*) umount -l "$at" ;; esac
  done]], directory)
end

--- A new directory, which spec/run takes away with all that is attached from
--- there, if this process cannot.
---@return string
function volumes.scratch()
  local root = volumes.run "mktemp -d /tmp/saros-${SAROS_SUITE:-spec}-XXXXXX"
    :gsub("\n", "")
  assert(root:find "^/tmp/saros%-")
  return root
end

local number = 0

--- Makes and mounts one: `path` is where, `device` the loop device, `image` the
--- file. `close` (also `__close`) unmounts it with all that is mounted in it,
--- and removes it. nil and why: it cannot be had here.
---@param type "ext4"|"xfs"|"btrfs"
---@param megabytes integer
---@param options? { directory: string?, mkfs: string? } where its file lies
function volumes.make(type, megabytes, options)
  options = options or {}
  if volumes.missing then return nil, volumes.missing end
  local root = volumes.scratch()
  number = number + 1
  local v = { type = type, path = root .. "/mounted",
    image = ("%s/volume%d.img"):format(options.directory or root, number) }
  function v.close()
    volumes.unmount(root)
    volumes.run("rm -f '%s'; rm -rf --one-file-system '%s'", v.image, root)
  end
  local text, good = volumes.run([[set -e; mkdir '%s'; truncate -s %dM '%s'
    mkfs.%s %s %s '%s'; mount -o loop -t %s '%s' '%s'
    findmnt -n -o SOURCE '%s' >'%s/device']], v.path, megabytes, v.image, type,
    type == "ext4" and "-q -F" or "-q -f", options.mkfs or "", v.image, type,
    v.image, v.path, v.path, root)
  if not good then
    v.close()
    return nil, ("no %s can be had here: %s"):format(type, text)
  end
  for line in io.lines(root .. "/device") do v.device = line end
  return setmetatable(v, { __close = v.close })
end

return volumes
