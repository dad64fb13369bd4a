--- What `saros.vds` hands out: disks, volumes and virtual disks. Their fields
--- are what was so when they were looked at; a method compares that with what
--- is, and does nothing to what has become another one.

local arguments = require "saros.arguments"
local calls = require "saros.vds.calls"
local core = require "saros.vds.core"
local print = require "saros.vds.print"

local shown = print.size

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

-- What a method is called on: a dot for a colon leaves it out.
local function own(self, what, field)
  if type(self) == "table" and self[field] ~= nil then return end
  error(("%s is called with a colon, on a %s that saros.vds gave"):format(what,
    what:match "^%a+"), 3)
end

-- A call about an object; its options are checked, and what is wrong is raised
-- in the script's line.
local function on_object(self, call, what, options, kinds, more)
  own(self, what, "major")
  local given, name = calls.options(what, options, kinds)
  for field, value in pairs(more or {}) do given[field] = value end
  given.object = calls.object(self)
  return calls.begin(call, given, name)
end

-- Another object as an argument.
local function other(what, object, expected)
  if type(object) == "table" and math.type(object.major) then
    return calls.object(object)
  end
  error(("%s: %s expected, got %s"):format(what, expected, type(object)), 3)
end

local function text(what, argument, given)
  if type(given) == "string" and not given:find("\0", 1, true) then
    return given
  end
  if type(given) == "string" then
    error(("%s: %s: a text without NUL bytes expected"):format(what, argument),
      3)
  end
  error(("%s: %s: string expected, got %s"):format(what, argument, type(given)),
    3)
end

---@class saros.vds.careful
---@field plan? boolean nothing is done: the result is a `saros.vds.plan`
---@field force? table dangers to end first, each by its name: { mounted = true }
---@field name? string of the operation
---@field state_dir? string


-- ------------------------------------------------------------------
-- Disks and volumes
-- ------------------------------------------------------------------

---@class saros.vds.disk: saros.vds.identity
---@field path string its node
---@field partitions saros.vds.volume[]
---@field file? string of a virtual disk
---@field style? "gpt"|"mbr" of its table (`vds.disk` only, as the next three)
---@field table_uuid? string
---@field table? saros.vds.entry[] what the table says
---@field free? saros.vds.extent[] what no partition has
---@field holders saros.vds.holder[]
---@field system boolean this machine lives on it: it is never touched
---@field read_only boolean
---@field removable boolean
---@field mounted? string where, of one without partitions
---@field model? string
---@field block? integer bytes of a sector (`vds.disk` only, as the next two)
---@field physical_block? integer
---@field rotational? boolean
---@field health string "healthy"; "failing": see `error`
---@field error? string what is wrong with its table
---@field status string "online"
---@field transition string "stable", or the operation that works on it
local disk = class("saros.vds.disk", {}, function(self)
  return ("disk %s (%s)"):format(self.path, shown(self.size))
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.disk self
function disk:refresh()
  own(self, "disk:refresh", "major")
  return fill(self, calls.result(calls.begin("disk",
    { object = calls.object(self) })))
end

---@class saros.vds.initialize: saros.vds.careful
---@field style? "gpt"|"mbr" "gpt" unless said
---@field table_uuid? string made up unless said

local of_initialize = calls.kinds({ style = { "gpt", "mbr" },
  table_uuid = "string" }, true)

--- Gives it a new, empty table. Refused while there is one with partitions:
--- clean it first.
---@param options? saros.vds.initialize
---@return saros.operation op
function disk:initialize(options)
  return on_object(self, "initialize", "disk:initialize", options,
    of_initialize)
end

---@class saros.vds.create_partition: saros.vds.careful
---@field size? integer bytes; none: the largest free extent
---@field offset? integer bytes from the beginning of the disk; none, or 0: where it fits
---@field align? integer bytes; 1 MiB unless said
---@field type? string "linux" (unless said), "swap", "efi", "raid", "lvm"; a GUID (GPT) or a byte such as "83" (MBR)
---@field label? string its name in a GPT, 36 characters at most
---@field number? integer from 1; none: the first that is free
---@field uuid? string of the partition, in a GPT; made up unless said

local of_create = calls.kinds({ size = "integer", offset = "integer",
  align = "integer", type = "string", label = "string", number = "integer",
  uuid = "string" }, true)

--- Makes a partition; of a disk without a table also that, a GPT. What its
--- sectors held of an old file system does not come back.
---@param options? saros.vds.create_partition
---@return saros.operation op its result: `{ offset, size, number, id, volume }`, where it really is
function disk:create_partition(options)
  return on_object(self, "create_partition", "disk:create_partition", options,
    of_create)
end

---@class saros.vds.delete_partition: saros.vds.careful
---@field number integer from 1

local of_delete = calls.kinds({}, true)
local of_delete_number = calls.kinds({ number = "integer" }, true)

--- Takes a partition away, by its number; as `volume:delete_partition`. Also one
--- that only the table knows.
---@param options saros.vds.delete_partition
---@return saros.operation op
function disk:delete_partition(options)
  local what = "disk:delete_partition"
  local given = arguments.check(what, options, of_delete_number)
  arguments.need(what, given, "number", "of the partition, from 1")
  return on_object(self, "delete_partition", what, options, of_delete_number)
end

---@class saros.vds.clean: saros.vds.careful
---@field full? boolean every byte of it is zeroed, with a percentage

local of_clean = calls.kinds({ full = "boolean" }, true)

--- Makes it a disk without table, partitions and file systems. Unless `full`
--- what lay between its first and last MiB is still there: the operation's code
--- is VDS_S_DISK_PARTIALLY_CLEANED then, a success.
---@param options? saros.vds.clean
---@return saros.operation op its result: `{ bytes, failed }`, what could not be written
function disk:clean(options)
  return on_object(self, "clean", "disk:clean", options, of_clean)
end

---@class saros.vds.extent
---@field offset integer bytes
---@field size integer bytes

---@class saros.vds.entry: saros.vds.extent
---@field number integer
---@field type string a GUID, or two hexadecimal digits of an MBR
---@field type_name? string what that is, for people
---@field label? string of a GPT
---@field uuid? string
---@field extended? boolean it holds logical partitions

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
---@field clean? boolean of one that is not mounted: it was unmounted in order
---@field health? string "healthy"; "failed": half made, or two file systems at once; "unknown": see `error`
---@field ambivalent? boolean two file systems at once are on it
---@field error? string why it cannot be looked at
---@field unfinished? string "format": who made it did not come to the end
---@field transition string
local volume = class("saros.vds.volume", {}, function(self)
  return ("volume %s (%s%s)"):format(self.path, shown(self.size),
    self.fs and ", " .. self.fs or "")
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.volume self
function volume:refresh()
  own(self, "volume:refresh", "major")
  return fill(self, calls.result(calls.begin("volume",
    { object = calls.object(self) })))
end

local of_nothing = calls.kinds {}

--- Takes its partition away.
---@param options? saros.vds.careful
---@return saros.operation op
function volume:delete_partition(options)
  return on_object(self, "delete_partition", "volume:delete_partition",
    options, of_delete)
end

---@class saros.vds.format: saros.vds.careful
---@field fs "ext4"|"xfs"|"btrfs"|"vfat"|"swap"
---@field label? string
---@field quick? boolean true unless said otherwise; else all of it is zeroed first
---@field block? integer bytes of a block; of vfat: of a cluster

local of_format = calls.kinds({ fs = "string", label = "string",
  quick = "boolean", block = "integer" }, true)

local function format(self, what, options)
  own(self, what, "major")
  local given, name = calls.options(what, options, of_format)
  arguments.need(what, given, "fs", 'of the file system, as "ext4"')
  given.object = calls.object(self)
  return calls.begin("format", given, name)
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

---@class saros.vds.mount
---@field read_only? boolean
---@field options? string as mount(8) takes them: "noatime,discard"
---@field name? string of the operation
---@field state_dir? string

local of_mount = calls.kinds { read_only = "boolean", options = "string" }

--- Mounts it at an empty directory; nosuid and nodev unless the options say
--- otherwise.
---@param path string where
---@param options? saros.vds.mount
---@return saros.operation op its result: `{ path }`
function volume:mount(path, options)
  return on_object(self, "mount", "volume:mount", options, of_mount,
    { path = core.absolute(text("volume:mount", "path", path)) })
end

---@class saros.vds.unmount
---@field path? string where; none: everywhere
---@field name? string of the operation
---@field state_dir? string

local of_unmount = calls.kinds { path = "string" }

--- Unmounts it. Refused while somebody has a file open there.
---@param options? saros.vds.unmount
---@return saros.operation op
function volume:unmount(options)
  local path = type(options) == "table" and options.path
  return on_object(self, "unmount", "volume:unmount", options, of_unmount,
    type(path) == "string" and { path = core.absolute(path) } or nil)
end

---@class saros.vds.extend: saros.vds.careful
---@field size? integer bytes more; none: all there is behind it

local of_extend = calls.kinds({ size = "integer" }, true)

--- Makes it larger, partition and file system together, mounted or not as the
--- file system can.
---@param options? saros.vds.extend
---@return saros.operation op its result: `{ size, fs_size, added }`, bytes
function volume:extend(options)
  return on_object(self, "extend", "volume:extend", options, of_extend)
end

---@class saros.vds.shrink: saros.vds.careful
---@field size? integer bytes less; none: as much as can be had
---@field least? integer bytes less at least, or it is not begun

local of_shrink = calls.kinds({ size = "integer", least = "integer" }, true)

--- Makes it smaller, the file system first. Cancelled it is as it was, where
--- that can be; where it cannot, a cancel is answered VDS_E_CANCEL_TOO_LATE.
---@param options? saros.vds.shrink
---@return saros.operation op its result: `{ reclaimed, minimum, size }`, bytes
function volume:shrink(options)
  return on_object(self, "shrink", "volume:shrink", options, of_shrink)
end

--- How much smaller it could be. Raises when that cannot be told.
---@return { size: integer, used: integer, minimum: integer } bytes
function volume:query_shrink()
  return calls.result(on_object(self, "query_shrink", "volume:query_shrink",
    nil, of_nothing))
end

---@class saros.vds.check: saros.vds.careful
---@field repair? boolean mend what is found

local of_check = calls.kinds({ repair = "boolean" }, true)

--- Looks whether the file system is in order, with its own checker.
---@param options? saros.vds.check
---@return saros.operation op its result: `{ clean, repaired, messages }`
function volume:check(options)
  return on_object(self, "check", "volume:check", options, of_check)
end

---@class saros.vds.named
---@field name? string of the operation
---@field state_dir? string

--- Gives the file system another label.
---@param label string "": none
---@param options? saros.vds.careful
---@return saros.operation op
function volume:set_label(label, options)
  return on_object(self, "label", "volume:set_label", options, of_delete,
    { label = text("volume:set_label", "label", label) })
end

local of_plex = calls.kinds({}, true)

--- Makes a mirror of a mounted btrfs: another disk or volume, on which all of it
--- is once more. What was on that one is lost.
---@param object saros.vds.disk|saros.vds.volume
---@param options? saros.vds.careful
---@return saros.operation op
function volume:add_plex(object, options)
  return on_object(self, "add_plex", "volume:add_plex", options, of_plex,
    { other = other("volume:add_plex", object, "a disk or a volume") })
end

--- Takes a disk or volume out of a mirror; it is empty then.
---@param member saros.vds.disk|saros.vds.volume
---@param options? saros.vds.careful
---@return saros.operation op
function volume:remove_plex(member, options)
  return on_object(self, "remove_plex", "volume:remove_plex", options, of_plex,
    { other = other("volume:remove_plex", member, "a disk or a volume") })
end

--- Puts another disk or volume in the place of a member of a mirror.
---@param bad saros.vds.disk|saros.vds.volume|integer the member; or its number in the btrfs, where nothing is left of it
---@param good saros.vds.disk|saros.vds.volume what takes its place
---@param options? saros.vds.careful
---@return saros.operation op
function volume:repair_plex(bad, good, options)
  local number = math.type(bad) == "integer"
  return on_object(self, "repair_plex", "volume:repair_plex", options, of_plex,
    { bad = number and bad
      or other("volume:repair_plex", bad, "the bad disk or volume"),
      other = other("volume:repair_plex", good, "a good disk or volume") })
end

--- Makes a volume of its own of one half of a mirror. No file system here can:
--- the operation fails, and says what to do instead.
---@param options? saros.vds.named
---@return saros.operation op
function volume:break_plex(options)
  return on_object(self, "break_plex", "volume:break_plex", options, of_nothing)
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
  return ("virtual disk %s (%s)"):format(self.path,
    self.size and shown(self.size) or self.device)
end)

--- Looks again: its fields are as it is now.
---@return saros.vds.vdisk self
function vdisk:refresh()
  own(self, "vdisk:refresh", "path")
  return fill(self, calls.result(calls.begin("open_vdisk",
    { path = self.path })))
end

local function on_file(self, call, what, options, kinds)
  own(self, what, "path")
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
  local given = arguments.check("vdisk:expand", options, of_expand)
  arguments.need("vdisk:expand", given, "size",
    "in bytes, all that it shall have")
  return on_file(self, "expand", "vdisk:expand", options, of_expand)
end

---@class saros.vds.compact
---@field name? string of the operation
---@field state_dir? string

--- Gives back what its file takes for nothing: zeros become holes; of an attached
--- one what its mounted file systems do not use, and what no partition has.
---@param options? saros.vds.compact
---@return saros.operation op its result: the virtual disk, with `reclaimed` bytes
function vdisk:compact(options)
  return on_file(self, "compact", "vdisk:compact", options, of_nothing)
end
