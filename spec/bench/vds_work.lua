-- make bench: what works on disks beside the bare tools that do the same, on one
-- virtual disk; and what a question costs meanwhile.
--   lua5.4 spec/bench/vds_work.lua [ROUNDS]

local ok, vds = pcall(require, "saros.vds")
local figures = dofile "spec/bench/figures.lua"
local saros = require "saros"

local rounds = tonumber(arg[1]) or 7
local SIZE = 64 << 30

if not ok then return end -- vds.lua has said so

local core = require "saros.vds.core"
local root = io.popen "mktemp -d /tmp/saros-bench-XXXXXX":read "l"
assert(os.execute(("mkdir -m 700 '%s/state' '%s/mount'"):format(root, root)))
vds.config { state_dir = root .. "/state" }

local _ <close> = setmetatable({}, { __close = function()
  os.execute(("umount -q '%s/mount' 2>/dev/null"):format(root))
  for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
  os.execute(("rm -rf --one-file-system '%s'"):format(root))
end })

local function elapsed(op)
  assert(op:wait())
  return op:status().elapsed * 1000
end

local function tool(...)
  local path = "PATH=$PATH:/usr/sbin:/sbin exec "
  return elapsed(saros.process { argv = { "sh", "-c", path .. '"$@"', "sh",
    ... } })
end

local v = assert(vds.create_vdisk { path = root .. "/disk.img", size = SIZE }
  :wait())
local disk, why = v:attach():wait()
if not disk then
  print("\ndisks: no virtual disks can be had here: " .. tostring(why))
  return
end

-- They take turns; the first round warms up.
local function compare(what, name, ours, theirs, most)
  local a, b = {}, {}
  for i = 0, rounds do
    local mine, bare = ours(), theirs()
    if i > 0 then a[i], b[i] = mine, bare end
  end
  figures.tell(what, "ms", { { "saros.vds", a }, { name, b } },
    { { "vds / bare", 1, 2, most } })
end

local part = assert(disk:create_partition { size = 32 << 30 }:wait()).volume

-- What grows the file system when its partition has grown: "$1", at "$2".
local growing = {
  { "ext4", "mkfs.ext4 -q -F", "e2fsck, resize2fs",
    '{ e2fsck -f -p "$1" || [ $? = 1 ]; } && resize2fs "$1"' },
  { "btrfs", "mkfs.btrfs -q -f", "mount, btrfs resize",
    'mount "$1" "$2" && btrfs filesystem resize max "$2" && umount "$2"' },
}

-- Both end the same way: half of the partition, then all of it.
local function grow(fs, make, name, script)
  local function small()
    if disk:refresh().partitions[1].size > 32 << 30 then
      assert(disk:delete_partition { number = 1 }:wait())
      part = assert(disk:create_partition { size = 32 << 30 }:wait()).volume
    end
    tool("sh", "-c", make .. ' "$1" && sync "$1"', "sh", part.path)
    part:refresh()
  end
  compare(("grow %s, 32 GiB to 48 GiB"):format(fs), "sfdisk, " .. name,
    function()
      small()
      return elapsed(part:extend { size = 16 << 30 })
    end, function()
      small()
      return tool("sh", "-c", [[echo ',48G' |
        sfdisk -q --no-reread -f -N 1 "$3" && partx -u "$3" && ]] .. script,
        "sh", part.path, root .. "/mount", disk.path)
    end, 1.1)
end

for _, one in ipairs(growing) do
  local here = "PATH=$PATH:/sbin:/usr/sbin command -v mkfs.%s >/dev/null"
  if core.has "extend" and os.execute(here:format(one[1])) then
    grow(table.unpack(one))
  end
end


-- ------------------------------------------------------------------
-- A question while work is done
-- ------------------------------------------------------------------

local ASKED = 2000

local function asked(op)
  local micros = {}
  for _ = 1, rounds do
    local before = op:status().elapsed
    for _ = 1, ASKED do op:query() end
    local after = op:status().elapsed
    if op:done() then break end
    micros[#micros + 1] = (after - before) / ASKED * 1e6
  end
  op:cancel()
  op:wait()
  if #micros == 0 then micros.why = "the work was done too early" end
  return micros
end

-- In memory, where there is such a place: what it is made of goes when that is
-- not all there is to be had, or it is done too early.
local function made_somewhere()
  local at = os.execute "test -d /dev/shm" and "/dev/shm" or root
  local path = io.popen(("mktemp -u '%s/saros-bench-XXXXXX'"):format(at))
    :read "l"
  local _ <close> = setmetatable({}, { __close = function()
    os.remove(path)
  end })
  return asked(vds.create_vdisk { path = path, size = 2 << 30, full = true })
end

assert(v:detach():wait())
figures.tell("a query while a disk is made", "µs",
  { { "op:query", made_somewhere() } }, {}, 10)
