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
local state = root .. "/state"
vds.config { state_dir = state }

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
  return elapsed(core.begin(call, { state_dir = state }))
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


-- ------------------------------------------------------------------
-- A full clean beside dd, with and without holes to be had
-- ------------------------------------------------------------------

local CLEANED = 512 << 20

local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  assert(pipe:close(), text)
  return (text:gsub("%s+$", ""))
end

-- What this process has used, in ms: the kernel's part of it, too.
local function used()
  return os.clock() * 1000
end

-- The loop devices that were made here, the last one first.
local loops <close> = setmetatable({}, { __close = function(all)
  for i = #all, 1, -1 do os.execute("losetup -d " .. all[i]) end
end })

local function loop(file, options)
  loops[#loops + 1] = run(("losetup --show -f %s '%s'"):format(options, file))
  return loops[#loops]
end

-- Every block of the file is there before, or one of the two would have to find
-- room for it and the other would not.
local function refill(file)
  run(("dd if=/dev/zero of='%s' bs=8M count=%d conv=notrunc,fsync"):format(
    file, CLEANED >> 23))
end

local function dd(device)
  return elapsed(saros.process { argv = { "dd", "if=/dev/zero",
    "of=" .. device, "bs=8M", "count=" .. (CLEANED >> 23), "oflag=direct",
    "conv=fsync" } })
end

local function compare(what, file, device)
  local clean, bare, share = {}, {}, {}
  for i = 0, 3 do
    refill(file)
    local disk = vds.disk(device)
    local before = used()
    local took = elapsed(disk:clean { full = true })
    local spent = used() - before
    refill(file)
    local plain = dd(device)
    if i > 0 then
      clean[i], bare[i], share[i] = took, plain, spent / took * 100
    end
  end
  figures.tell(what, "ms", { { "disk:clean", clean }, { "dd direct", bare } },
    { { "clean / dd", 1, 2, 1 / 0.9 } })
  figures.tell(what .. ", of a core", "%", { { "disk:clean", share } }, {})
end

local file = root .. "/cleaned.img"
refill(file)
local inner = loop(file, "")
compare("clean 512 MiB (holes)", file, inner)
compare("clean 512 MiB (writing)", file, loop(inner, "--direct-io=on"))
