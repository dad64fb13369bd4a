---@private
-- The program that takes a shadow by each provider, of file systems that it
-- makes in files: in a mount namespace of its own, with which they go. Writes
-- what it found as one line of JSON: { NAME = { state, why, tool, remedy } }.

local core = require "saros.core"
local vss = require "saros.vss"

local root <const> = assert(os.getenv "SAROS_TRIAL") .. "/trial"

local function run(...)
  local op <close> = core.process { argv = { ... }, stderr = "stdout" }
  local result, err = op:wait()
  if result then return result.stdout end
  error(err, 0)
end

local function content(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  local ok, why = file:write(text)
  if ok then ok, why = file:flush() end -- a full disk is seen only there
  if not ok then error(("%s: %s"):format(path, why), 0) end
end

-- What did not work: a tool that is not there is named.
local function reason(err, tool)
  local message = type(err) == "table" and err.message or tostring(err)
  local found = { state = "missing", why = message }
  if tool and type(err) == "table" and err.errno == 2 then found.tool = tool end
  return found
end

-- Makes and mounts one; where, or nil and what is wrong.
local function file_system(kind, megabytes, directory, ...)
  local image = ("%s/%s.img"):format(directory, kind)
  local at = root .. "/" .. kind
  local tool = "mkfs." .. kind
  local words = { tool, ... }
  words[#words + 1] = image
  local ok, err = pcall(function()
    run("mkdir", at)
    run("truncate", "-s", megabytes .. "M", image)
    run(table.unpack(words))
  end)
  if not ok then return nil, reason(err, tool) end
  ok, err = pcall(run, "mount", "-o", "loop", "-t", kind, image, at)
  if ok then return at end
  local found = reason(err, "mount")
  found.remedy = "modprobe loop " .. kind .. "; in a container: CAP_SYS_ADMIN "
    .. "and the loop devices"
  return nil, found
end

-- The shadow has what was, and not what is.
local function shadow(provider, at)
  local data = at .. "/data"
  local ok, err = pcall(function()
    run(provider == "btrfs" and "btrfs" or "mkdir",
      table.unpack(provider == "btrfs" and { "subvolume", "create", data }
        or { data }))
    write(data .. "/file", "before\n")
  end)
  if not ok then return reason(err, "btrfs") end
  local op <close> = vss.shadow { paths = { data }, provider = provider,
    context = "file_share_backup", state_dir = root .. "/state" }
  local set, why = op:wait()
  if not set then return reason(why) end
  local _ <close> = set
  write(data .. "/file", "after\n")
  if content(set[data].path .. "/file") ~= "before\n" then
    return { state = "missing", why = "the shadow has what was written later" }
  end
  return { state = "works", why = ("tried: %s, held %.1f ms"):format(
    set[data].consistency, set.held * 1000) }
end

local function try(kind, megabytes, directory, provider, ...)
  local at, found = file_system(kind, megabytes, directory, ...)
  if not at then return found end
  return shadow(provider, at), at
end

core.run(function()
  local found = {}
  run("mkdir", "-m", "700", root, root .. "/state")
  found.btrfs = try("btrfs", 128, root, "btrfs", "-q")
  local reflink, xfs = try("xfs", 320, root, "reflink", "-q", "-m",
    "reflink=1")
  found.reflink = reflink
  if xfs then
    -- Its file lies where files share their blocks.
    found.image = try("ext4", 32, xfs, "image", "-q", "-F")
  else
    found.image = { state = "untried",
      why = "there is no XFS for its file: " .. tostring(reflink.why),
      remedy = reflink.remedy, tool = reflink.tool }
  end
  io.stdout:write(core.json_write(found), "\n")
end)
