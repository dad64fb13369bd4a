---@private
-- What all the rest stands on: the kernel, directories of our own, the guard,
-- and whether anything can be started apart from everything else.

local core = require "saros.core"
local beside = require "saros.beside"
local cell = require "saros.cell"
local leftovers = require "saros.leftovers"
local vss = require "saros.vss"

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

local function kernel()
  local release = (content "/proc/sys/kernel/osrelease" or "?"):gsub("\n", "")
  local major, minor = release:match "^(%d+)%.(%d+)"
  major, minor = tonumber(major) or 0, tonumber(minor) or 0
  if major > 5 or major == 5 and minor >= 12 then
    return "works", "Linux " .. release
  end
  return "degraded", "Linux " .. release .. " is older than 5.12: no program "
    .. "can be started in a cell, and so nothing be drilled",
    "a newer kernel"
end

local function directories(d)
  local session <close> = vss.components { state_dir = d.state_dir }
  session:initialize_for_backup()
  session:query()
  return "works"
end

-- What is frozen is written down where no disk has to take it.
local function runtime(d)
  local _, at = leftovers.directories(d.state_dir)
  local result, err = d.run { "stat", "-f", "-c", "%T", "--", at }
  if not result or result.status ~= 0 then
    return "missing", result and d.last(result.stdout) or err.message,
      at .. " must be, on a tmpfs"
  end
  local kind = result.stdout:match "%S+"
  if kind == "tmpfs" or kind == "ramfs" then return "works", at end
  return "degraded", ("%s is on %s: what is frozen is written down on a disk, "
    .. "and outlives a restart for nothing"):format(at, kind),
    d.root and "mount a tmpfs at /run" or "log in by a session that has "
    .. "XDG_RUNTIME_DIR (loginctl enable-linger " .. d.user .. ")"
end

-- The guard holds whatever is held still: a process of ours is.
local function guard(d)
  local sleeper <close> = core.process { argv = { "sleep", "60" } }
  local pid = sleeper:status().pid
  for s in sleeper:progress() do
    pid = s.pid
    if pid or s.state ~= "running" and s.state ~= "queued" then break end
  end
  local op <close> = core.still { pids = { pid }, seconds = 10, patience = 5,
    state_dir = d.state_dir }
  local held, err = op:wait()
  if not held then
    return "missing", d.message(err), "without its guard nothing is frozen "
      .. "or stopped; where memory files cannot be executed (noexec), name "
      .. "the program in SAROS_GUARD"
  end
  local release <close> = core.still_release(op)
  local ok, why = release:wait()
  if not ok then return "missing", d.message(why) end
  return "works", "a process was stopped, and went on"
end

local function apart(d)
  local why = cell.why()
  if not why then return "works" end
  if not d.root then
    return "missing", why.message, "as root (no capability will do): drills "
      .. "and some checks start a server apart from everything else"
  end
  return "missing", why.message, "in a container: give it CAP_SYS_ADMIN, and "
    .. "take away a filter of unshare and mount; a kernel from 5.12 on"
end

local function in_place(d)
  local result, err = d.run({ beside "over", "--cwd=/", "--", "true" })
  if result and result.status == 0 then return "works" end
  return "missing", result and d.last(result.stdout) or err.message,
    d.root and "in a container: give it CAP_SYS_ADMIN"
      or "as root; without, lend shadows by their own paths ({} in the command)"
end

-- Files of others are read by who may.
local function reads(d)
  local text = content "/proc/self/status" or ""
  local mask = tonumber(text:match "CapEff:%s*(%x+)" or "0", 16)
  local DAC_OVERRIDE <const>, DAC_READ_SEARCH <const> = 1 << 1, 1 << 2
  if mask & (DAC_OVERRIDE | DAC_READ_SEARCH) ~= 0 then
    return "works", "of every user"
  end
  return "degraded", "of " .. d.user .. ", and what others may read",
    "CAP_DAC_READ_SEARCH, in a unit: AmbientCapabilities=CAP_DAC_READ_SEARCH"
end

return function(d)
  d:try("kernel", "the kernel", kernel)
  d:try("state", "directories for records, locks and writers", function()
    return directories(d)
  end)
  d:try("runtime", "a place in memory for what is frozen", function()
    return runtime(d)
  end)
  d:try("guard", "the guard, which lets go what is held when all else is dead",
    function() return guard(d) end)
  d:try("cell", "programs apart from everything else: drills, some checks",
    function() return apart(d) end)
  d:try("in-place", "hold --in-place", function() return in_place(d) end)
  d:try("read", "files that can be read", function() return reads(d) end)
end
