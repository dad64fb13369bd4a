--- What `saros.vds` hands out: disks, volumes and virtual disks. Their fields
--- are what was so when they were looked at; a method compares that with what
--- is, and does nothing to what has become another one.

local arguments = require "saros.arguments"
local calls = require "saros.vds.calls"
local core = require "saros.vds.core"

local function class(name, methods, describe)
  local meta = { __name = name, __index = methods, __tostring = describe }
  core.class(name, meta)
  return methods
end

local function fill(self, fresh)
  for field in pairs(self) do self[field] = nil end
  for field, value in pairs(fresh) do self[field] = value end
  return self
end

local units = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" }

local function shown(bytes)
  local n, unit = bytes or 0, 1
  while n >= 1024 and unit < #units do n, unit = n / 1024, unit + 1 end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(n, units[unit])
end


-- A call on a disk or a volume that could lose something.
local function on_object(self, call, what, options, kinds, needs, example)
  local given, name = calls.options(what, options, kinds)
  if needs then arguments.need(what, given, needs, example) end
  given.object = calls.object(self)
  return calls.begin(call, given, name)
end


-- ------------------------------------------------------------------
-- Disks and volumes
-- ------------------------------------------------------------------

---@class saros.vds.disk: saros.vds.identity
---@field path string its node
---@field partitions saros.vds.volume[]
---@field file? string of a virtual disk
---@field style? "gpt"|"mbr" of its table (`vds.disk` only)
---@field holders saros.vds.holder[]
---@field system boolean this machine lives on it: it is never touched
---@field read_only boolean
---@field removable boolean
---@field health string "healthy", "failing", "unknown"
---@field status string "online"
---@field transition string "stable", or the operation that works on it
local disk = class("saros.vds.disk", {}, function(self)
  return ("disk %s (%s)"):format(self.path, shown(self.size))
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.disk self
function disk:refresh()
  return fill(self, calls.result(calls.begin("disk",
    { object = calls.object(self) })))
end

---@class saros.vds.volume: saros.vds.identity
---@field path string its node
---@field disk string the node of its disk
---@field fs? string "ext4", "xfs", …; "raw": nothing that is known
---@field label? string
---@field uuid? string
---@field fs_size? integer bytes of the file system
---@field free? integer bytes
---@field mounted? string where
---@field holders saros.vds.holder[]
---@field system boolean
---@field read_only boolean
---@field health? string "healthy", "failed", "unknown"
---@field unfinished? string "format": who made it did not come to the end
---@field transition string
local volume = class("saros.vds.volume", {}, function(self)
  return ("volume %s (%s%s)"):format(self.path, shown(self.size),
    self.fs and ", " .. self.fs or "")
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.volume self
function volume:refresh()
  return fill(self, calls.result(calls.begin("volume",
    { object = calls.object(self) })))
end


---@class saros.vds.format: saros.vds.careful
---@field fs "ext4"|"xfs"|"btrfs"|"vfat"|"swap"
---@field label? string
---@field quick? boolean true unless said otherwise; else all of it is zeroed first
---@field block? integer bytes of a block; of vfat: of a cluster

local of_format = calls.kinds({ fs = "string", label = "string",
  quick = "boolean", block = "integer" }, true)

local function format(self, what, options)
  return on_object(self, "format", what, options, of_format, "fs",
    "of the file system, as \"ext4\"")
end

--- Makes a file system; what was there is gone. Cancelled, it is raw. One whose
--- process was killed is listed as failed and `unfinished`, until `vds.reap`.
---@param options saros.vds.format
---@return saros.operation op its result: `{ volume }`
function volume:format(options)
  return format(self, "volume:format", options)
end

--- The same on a whole disk, one that has no partition table.
---@param options saros.vds.format
---@return saros.operation op its result: `{ volume }`
function disk:format(options)
  return format(self, "disk:format", options)
end


-- ------------------------------------------------------------------
-- Virtual disks
-- ------------------------------------------------------------------

---@class saros.vds.vdisk
---@field path string of its file
---@field size? integer bytes
---@field allocated? integer bytes that its file takes
---@field attached boolean when it was looked at
---@field device? string the node, when it is attached
---@field persistent? boolean it stays attached when its process ends
---@field owner_alive? boolean
local vdisk = class("saros.vds.vdisk", {}, function(self)
  return ("virtual disk %s (%s)"):format(self.path, shown(self.size))
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.vdisk self
function vdisk:refresh()
  return fill(self, calls.result(calls.begin("open_vdisk",
    { path = self.path })))
end

local function on_file(self, call, what, options, kinds)
  local given, name = calls.options(what, options, kinds)
  given.path = self.path
  return calls.begin(call, given, name)
end

---@class saros.vds.attach
---@field read_only? boolean
---@field persistent? boolean it stays when this process has ended; else it goes with it, once nothing of it is mounted
---@field name? string of the operation
---@field state_dir? string

local of_attach = calls.kinds { read_only = "boolean", persistent = "boolean" }

--- Makes a disk of it, with its partitions.
---@param options? saros.vds.attach
---@return saros.operation op its result: a `saros.vds.disk`
function vdisk:attach(options)
  return on_file(self, "attach", "vdisk:attach", options, of_attach)
end

---@class saros.vds.careful
---@field plan? boolean only tell what would be lost, and whether it would be refused
---@field force? table dangers to end first, each by its name: { mounted = true }
---@field name? string of the operation
---@field state_dir? string

local of_detach = calls.kinds({}, true)

--- Takes it off. Refused while anything of it is mounted or held.
---@param options? saros.vds.careful
---@return saros.operation op
function vdisk:detach(options)
  return on_file(self, "detach", "vdisk:detach", options, of_detach)
end

---@class saros.vds.expand
---@field size integer bytes that it shall have
---@field name? string of the operation
---@field state_dir? string

local of_expand = calls.kinds { size = "integer" }

--- Makes it larger; attached or not. Its partitions stay as they are.
---@param options saros.vds.expand
---@return saros.operation op its result: the virtual disk as it is then
function vdisk:expand(options)
  return on_file(self, "expand", "vdisk:expand", options, of_expand)
end
