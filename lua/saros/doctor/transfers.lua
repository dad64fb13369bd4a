---@private
-- The queue of transfers, and disks that are files.

local function module(d, name)
  local ok, found = pcall(require, name)
  if ok then return found end
  local text = tostring(found)
  return nil, text:find("no file", 1, true) and "it is not in this build"
    or d.last(text)
end

local function queue(d)
  local bits, why = module(d, "saros.bits")
  if not bits then
    return "missing", why, "install OpenSSL, curl and SQLite (Debian: "
      .. "libssl-dev libcurl4-openssl-dev libsqlite3-dev), and build it again"
  end
  local q <close> = bits.manager { path = d.scratch .. "/queue.db" }
  local job = q:create_job { name = "doctor" }
  assert(#q:jobs() == 1, "a job that was made is not there")
  job:cancel()
  return "works"
end

local function disks(d)
  local vds, why = module(d, "saros.vds")
  if not vds then
    return "missing", why, "install libfdisk, libblkid and libmount (Debian: "
      .. "libfdisk-dev libblkid-dev libmount-dev), and build it again"
  end
  d.run { "mkdir", "-m", "700", d.scratch .. "/disks" }
  local o = { state_dir = d.scratch .. "/disks" }
  local make <close> = vds.create_vdisk { path = d.scratch .. "/disk.img",
    size = 1 << 20, state_dir = o.state_dir }
  local v = assert(make:wait())
  if not d.root then
    return "degraded", "files that are disks can be made, and not attached",
      "as root (CAP_SYS_ADMIN: loop devices)"
  elseif d.quick then
    return "untried", "nothing was attached"
  end
  local attach <close> = v:attach(o)
  local disk, err = attach:wait()
  if not disk then
    return "missing", d.message(err), "modprobe loop; in a container: "
      .. "/dev/loop-control and the loop devices"
  end
  local detach <close> = v:detach(o)
  assert(detach:wait())
  return "works", disk.path .. " was one for a moment"
end

return function(d)
  d:try("transfer", "the queue of transfers", function() return queue(d) end)
  d:try("volumes", "disks, volumes and virtual disks", function()
    return disks(d)
  end)
end
