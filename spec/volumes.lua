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

local scratch = require "spec.scratch"

local volumes = {
  --- Why there is none to be had at all, or nil.
  ---@type string?
  missing = scratch.missing,
  run = scratch.run,
  unmount = scratch.unmount,
  --- A new directory, which spec/run takes away with all that is attached from
  --- there, if this process cannot.
  scratch = scratch.path,
}

local number = 0

--- Makes and mounts one: `path` is where, `device` the loop device, `image` the
--- file. `close` (also `__close`) unmounts it with all that is mounted in it,
--- and removes it. nil and why: it cannot be had here.
---@param type "ext4"|"xfs"|"btrfs"
---@param megabytes integer
---@param options? { directory: string?, mkfs: string? } where its file lies, if not in memory
function volumes.make(type, megabytes, options)
  options = options or {}
  if volumes.missing then return nil, volumes.missing end
  local d = scratch.new()
  local root = d.path
  number = number + 1
  local v = { type = type, path = root .. "/mounted",
    image = ("%s/volume%d.img"):format(options.directory or root, number) }
  function v.close()
    d:close()
    os.remove(v.image)
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
