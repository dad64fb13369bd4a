-- make bench: listing disks beside lsblk -J, with 64 virtual disks attached.
-- They take turns; both are operations, and say themselves how long they took.
--   lua5.4 spec/bench/vds.lua [ROUNDS]

local ok, vds = pcall(require, "saros.vds")
local figures = dofile "spec/bench/figures.lua"
local saros = require "saros"

local rounds = (tonumber(arg[1]) or 7) * 3
local DISKS = 64

if not ok then
  print "\ndisks: saros.vds was left out of this build"
  return
end

local root = io.popen "mktemp -d /tmp/saros-bench-XXXXXX":read "l"
assert(os.execute(("mkdir -m 700 '%s/state'"):format(root)))
vds.config { state_dir = root .. "/state" }

-- Whatever happens: they are taken off, and go.
local _ <close> = setmetatable({}, { __close = function()
  for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
  os.execute(("rm -rf --one-file-system '%s'"):format(root))
end })

local function attach_all()
  for i = 1, DISKS do
    local v = assert(vds.create_vdisk { path = ("%s/%d.img"):format(root, i),
      size = 16 << 20 }:wait())
    local disk, err = v:attach():wait()
    if not disk then return nil, tostring(err) end
  end
  return true
end

local core = require "saros.vds.core"

local function elapsed(op)
  assert(op:wait())
  return op:status().elapsed * 1000
end

local function listing(call)
  return elapsed(core.begin(call, {}))
end

local function lsblk(...)
  return elapsed(saros.process { argv = { "lsblk", "-J", ... } })
end

local good, why = attach_all()
if not good then
  print("\ndisks: no virtual disks can be had here: " .. why)
  return
end

local ours, theirs, looked, with_fs = {}, {}, {}, {}
for i = 0, rounds do
  local a, b = listing "disks", lsblk()
  local c, d = listing "volumes", lsblk "-f"
  if i > 0 then -- the first one warms up
    ours[i], theirs[i], looked[i], with_fs[i] = a, b, c, d
  end
end

figures.tell(("list %d disks"):format(DISKS), "ms", { { "vds.disks", ours },
  { "lsblk -J", theirs } }, { { "vds / lsblk", 1, 2, 0.3 } })
figures.tell(("look into %d disks"):format(DISKS), "ms",
  { { "vds.volumes", looked }, { "lsblk -J -f", with_fs } },
  { { "vds / lsblk -f", 1, 2 } })
