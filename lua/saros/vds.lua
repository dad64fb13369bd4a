--- Disks, volumes and virtual disks: what there is, who holds it, and operations
--- on it, each with a percentage, an output and an honest cancel.
---
--- ```lua
--- local vds = require "saros.vds"
--- local v = assert(vds.create_vdisk { path = "x.img", size = 1 << 30 }:wait())
--- local disk = assert(v:attach():wait())
--- print(disk.path, disk.size)
--- assert(v:detach():wait())
--- ```
---
--- What lists returns a list, and raises when it cannot; what works returns an
--- operation. Nothing is done to a disk that was not named; what is mounted,
--- held, foreign or the system's own is refused with the reason. The module is
--- not there when libfdisk, libblkid or libmount were not when saros was built.

local arguments = require "saros.arguments"
local calls = require "saros.vds.calls"
local core = require "saros.vds.core"
local print = require "saros.vds.print"
require "saros.vds.objects"

local need = arguments.need

---@class saros.vds
local vds = {}

---@class saros.vds.settings
---@field state_dir? string where what is under way is kept, for all calls that say nothing else

--- Settings of this state.
---@param settings saros.vds.settings
function vds.config(settings)
  local given = arguments.check("vds.config", settings,
    { state_dir = "string" })
  if given.state_dir then
    calls.settings.state_dir = core.absolute(given.state_dir)
  end
end

---@class saros.vds.identity
---@field major integer
---@field minor integer
---@field disk_major integer of the disk that it is on
---@field disk_minor integer
---@field seq integer counts the media that this number had
---@field size integer bytes
---@field start integer of a partition: where on its disk, in bytes
---@field number integer of a partition, from 1; 0: a disk
---@field serial string

---@class saros.vds.holder
---@field kind "mount"|"swap"|"device"|"loop"|"elsewhere"
---@field who string

---@class saros.vds.danger
---@field danger "mounted"|"swap"|"foreign"|"held"|"system"|"table"|"read-only"|"impossible"
---@field reason string
---@field force? string the name that ends it, as in `force = { mounted = true }`; none: nothing does
---@field forced? boolean it was forced

--- What a call with `plan = true` tells: nothing is claimed or changed, and
--- whoever calls without it asks anew.
---@class saros.vds.plan
---@field allowed boolean no danger would refuse it
---@field denied saros.vds.danger[]
---@field lost { partitions: { number: integer, start: integer, size: integer }[], file_systems: { path: string, fs: string, label: string, uuid: string, size: integer }[] }
---@field holders { path: string, kind: string, who: string }[]

--- The disks with their partitions, from what the kernel says of them; no disk
--- is looked into (`vds.volumes` does that).
---@return saros.vds.disk[]
function vds.disks() return print.list(calls.result(calls.begin "disks")) end

--- One disk with everything: its table's style, and what is on its partitions.
---@param path string of its node, of a partition, or of a directory on it
---@return saros.vds.disk
function vds.disk(path)
  local given = { path = calls.path("vds.disk", path) }
  return calls.result(calls.begin("disk", given))
end

--- The volumes: partitions, and disks that hold something without any.
---@return saros.vds.volume[]
function vds.volumes()
  return print.list(calls.result(calls.begin "volumes"))
end

--- One volume with everything.
---@param path string of its node, or of a directory where it is mounted
---@return saros.vds.volume
function vds.volume(path)
  local given = { path = calls.path("vds.volume", path) }
  return calls.result(calls.begin("volume", given))
end

--- Those that are attached, also by others with the same state directory.
---@return saros.vds.vdisk[]
function vds.virtual_disks()
  return print.list(calls.result(calls.begin "virtual_disks"))
end

---@class saros.vds.create_vdisk
---@field path string of the file
---@field size integer bytes; rounded up to whole sectors
---@field full? boolean all of it is allocated now, and not when it is written
---@field name? string of the operation
---@field state_dir? string

local of_create = calls.kinds { path = "string", size = "integer",
  full = "boolean" }

--- Makes a file that is a disk. One that is there already is not touched: its
--- object is the result, and the code VDS_S_ALREADY_EXISTS.
---@param options saros.vds.create_vdisk
---@return saros.operation op its result: a `saros.vds.vdisk`
function vds.create_vdisk(options)
  local given, name = calls.options("vds.create_vdisk", options, of_create)
  need("vds.create_vdisk", given, "path", "of the file", 3)
  need("vds.create_vdisk", given, "size", "in bytes", 3)
  given.path = core.absolute(given.path)
  return calls.begin("create_vdisk", given, name)
end

--- The virtual disk in a file that is there.
---@param path string
---@return saros.vds.vdisk
function vds.open_vdisk(path)
  local given = { path = calls.path("vds.open_vdisk", path) }
  return calls.result(calls.begin("open_vdisk", given))
end

---@class saros.vds.reap
---@field name? string of the operation
---@field state_dir? string

--- Takes away what processes that died have left: devices that were not to stay,
--- and what was half done. Its result: `{ detached, forgotten, busy }`, lists of
--- paths; what is `busy` is still held or worked on, and goes at a later call.
---@param options? saros.vds.reap
---@return saros.operation op
function vds.reap(options)
  local given, name = calls.options("vds.reap", options, calls.kinds {})
  return calls.begin("reap", given, name)
end

return vds
