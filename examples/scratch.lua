-- A scratch volume: a file becomes a disk, the disk gets a partition, the
-- partition a file system, that is mounted and used, and all of it is taken down
-- again. Each step is an operation, with its phases and a percentage. As root.
--
--   lua5.4 examples/scratch.lua                     ext4, 512 MiB
--   lua5.4 examples/scratch.lua xfs 2048            another one, so many MiB

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"

local there, vds = pcall(require, "saros.vds")
if not there then
  print "saros was built without libfdisk, libblkid or libmount"
  os.exit(77)
end

local fs = arg[1] or "ext4"
local size = (tonumber(arg[2]) or 512) << 20

-- ------------------------------------------------------------------
-- How far it is: a bar that is written again on a terminal, and elsewhere a
-- line when a step has ended
-- ------------------------------------------------------------------

local is_terminal = os.execute "test -t 1"
local WIDTH = 24

local function show(step, percent, what)
  local full = percent * WIDTH // 100
  io.write(("\r\27[K%-10s %s%s %3d %%  %s"):format(step, ("█"):rep(full),
    ("░"):rep(WIDTH - full), percent, what))
  io.flush()
end

-- Shows an operation until it has ended; its result.
local function carry_out(step, op)
  while not op:done() do
    local _, percent = op:query()
    if is_terminal then show(step, percent, op:status().phase or "") end
    op:wait(0.05)
  end
  local result, err = op:wait()
  local code, percent = op:query()
  if is_terminal then show(step, percent, "") end
  if err then error(err, 0) end
  print(is_terminal and ("%.2f s"):format(op:status().elapsed)
    or ("%-10s %3d %%  %s"):format(step, percent, saros.code.name("vds", code)))
  return result
end

-- ------------------------------------------------------------------
-- The way up, and down
-- ------------------------------------------------------------------

local function use(path)
  local file = assert(io.open(path .. "/note", "w"))
  assert(file:write(("scratch "):rep(100000)))
  assert(file:close())
  assert(saros.copy { from = path .. "/note", to = path .. "/copy" }:wait())
end

local dir, why = place.private()
if not dir then
  print("no disks can be had here: " .. why)
  os.exit(77)
end

place.main(function()
  local at = dir .. "/mounted"
  place.run("mkdir", "-m", "700", at, dir .. "/state")
  vds.config { state_dir = dir .. "/state" }

  local image = carry_out("create", vds.create_vdisk {
    path = dir .. "/scratch.img", size = size })
  local disk = carry_out("attach", image:attach())
  -- Whatever happens from here on, it is taken off.
  local _ <close> = setmetatable({}, { __close = function()
    if image:refresh().attached then
      image:detach { force = { mounted = true } }:wait()
    end
  end })
  carry_out("initialize", disk:initialize { style = "gpt" })
  local volume = carry_out("partition",
    disk:create_partition { label = "scratch" }).volume
  volume = carry_out("format",
    volume:format { fs = fs, label = "scratch" }).volume
  carry_out("mount", volume:mount(at))

  use(at)
  volume:refresh()
  print(("%s on %s, at %s: %.0f of %.0f MiB are free"):format(volume.fs,
    volume.path, volume.mounted, volume.free / 1048576,
    volume.size / 1048576))
  -- It is in use: nobody formats it by mistake.
  local plan = assert(volume:format { fs = fs, plan = true }:wait())
  assert(not plan.allowed)
  print("to format it now is refused: " .. plan.denied[1].reason)

  carry_out("unmount", volume:unmount())
  carry_out("delete", volume:delete_partition())
  carry_out("detach", image:detach())
end)
