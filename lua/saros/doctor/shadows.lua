---@private
-- Who can take shadows: each provider takes one, of a file system that is made
-- for it, where nobody else sees it; and which can of the paths that were named.

local core = require "saros.core"
local vss = require "saros.vss"

local names <const> = { "btrfs", "image", "lvm", "reflink", "copy" }

local what <const> = {
  btrfs = "shadows of subvolumes of btrfs",
  image = "shadows of file systems in image files, with a freeze",
  reflink = "shadows of files that share their blocks (XFS, btrfs)",
  lvm = "shadows of logical volumes",
  copy = "shadows by a copy",
}

local packages <const> = { ["mkfs.btrfs"] = "btrfs-progs",
  ["mkfs.xfs"] = "xfsprogs", ["mkfs.ext4"] = "e2fsprogs",
  unshare = "util-linux", mount = "mount" }

local NOT_ROOT <const> = {
  btrfs = "as root; or on a subvolume that is yours: name it (doctor PATH)",
  image = "as root (CAP_SYS_ADMIN: FIFREEZE, loop devices, mounts)",
  reflink = "name a directory of yours on XFS or btrfs (doctor PATH)",
}

-- The interpreter that runs us, when it is one.
local function interpreter(d)
  local result = d.run { "readlink", "-e", ("/proc/%s/exe"):format(
    io.open "/proc/self/stat":read "n") }
  local path = result and result.stdout:gsub("\n$", "") or ""
  return path:match "/lua[%d.]*$" and path or nil
end

-- What the trial in mounts of its own says: a map by the provider's name.
local function trial(d)
  local lua = interpreter(d)
  if not lua then return nil, "this program is no Lua interpreter" end
  local result, err = d.run({ "unshare", "--mount", "--propagation", "private",
    "--", lua, "-e", "require 'saros.doctor.trial'" }, { timeout = 240,
    stderr = "capture", env = { SAROS_TRIAL = d.scratch,
      PATH = (os.getenv "PATH" or "/usr/bin:/bin") .. ":/usr/sbin:/sbin",
      LUA_PATH_5_4 = false, LUA_CPATH_5_4 = false, LUA_INIT = false,
      LUA_INIT_5_4 = false, LUA_PATH = package.path,
      LUA_CPATH = package.cpath } })
  if not result then return nil, err.message end
  local found = core.json_read(result.stdout)
  if type(found) == "table" then return found end
  return nil, d.last(result.stderr) or "it said nothing"
end

local function remedy(found)
  if found.tool then
    return ("install %s (Debian: %s)"):format(found.tool,
      packages[found.tool] or found.tool)
  end
  return found.remedy
end

local function tried(d, name, all, why)
  if not d.root then
    return "untried", "only root can make a file system to try it on",
      NOT_ROOT[name]
  elseif d.quick then
    return "untried", "no file system was made to try it on"
  elseif not all then
    return "untried", why, "in a container: CAP_SYS_ADMIN, /dev/loop-control "
      .. "and loop devices"
  end
  local found = all[name] or { state = "untried", why = "it was not tried" }
  return found.state, found.why, remedy(found)
end

-- No volume group is made here: its name would be seen by everybody.
local function lvm(d)
  local version, why = d.version("lvs")
  if not version then
    return "missing", why, "install lvm2, where there are logical volumes"
  end
  if not d.root then
    return "missing", "only root can", "as root (CAP_SYS_ADMIN)"
  end
  local result = d.run { "dmsetup", "version" }
  if not result or result.status ~= 0 then
    return "missing", "the kernel has no device mapper: "
      .. (result and d.last(result.stdout) or "dmsetup cannot be run"),
      "modprobe dm_snapshot dm_thin_pool"
  end
  return "untried", "the device mapper answers; name a path on a logical "
    .. "volume (doctor PATH)"
end

local function copy(d)
  local from = d.scratch .. "/copied"
  d.run { "mkdir", "-m", "700", from, d.scratch .. "/copy-state" }
  local file <close> = assert(io.open(from .. "/file", "w"))
  file:write "one\n"
  file:flush()
  local op <close> = vss.shadow { paths = { from }, provider = "copy",
    context = "file_share_backup", state_dir = d.scratch .. "/copy-state" }
  local set, err = op:wait()
  if not set then return "missing", d.message(err) end
  local _ <close> = set
  local copied <close> = assert(io.open(set[from].path .. "/file"))
  assert(copied:read "a" == "one\n", "the copy is another one")
  return "works", "anywhere; worth as much as its writers' holding still"
end

-- Which can of a path that somebody has, and why the others cannot.
local function of_path(d, path)
  local session <close> = vss.components { state_dir = d.state_dir }
  session:initialize_for_backup()
  local can, reasons = {}, {}
  for _, name in ipairs(names) do
    local ok, info = session:is_volume_supported(path, name)
    if ok then
      can[#can + 1] = name
    else
      reasons[#reasons + 1] = name .. ": " .. tostring(info.reason)
    end
  end
  if #can == 0 then
    return "missing", "no provider can: " .. table.concat(reasons, "; ")
  end
  local _, best = session:is_volume_supported(path)
  local text = ("by %s: %s"):format(best.provider, best.worth or "")
  if #can > 1 then text = text .. "; also " .. table.concat(can, ", ") end
  if best.provider ~= "copy" then return "works", text end
  return "degraded", text, "why no other: " .. table.concat(reasons, "; ")
end

return function(d)
  local all, why
  if d.root and not d.quick then all, why = trial(d) end
  for _, name in ipairs(names) do
    d:try("shadow." .. name, what[name], function()
      if name == "lvm" then return lvm(d) end
      if name == "copy" then return copy(d) end
      return tried(d, name, all, why)
    end)
  end
  for _, path in ipairs(d.paths) do
    d:try("path:" .. path, "shadows of " .. path, function()
      return of_path(d, path)
    end)
  end
end
