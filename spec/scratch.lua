--- Directories of a suite's own, which go with their block; what a suite that was
--- killed leaves of them spec/run takes away. They are in memory, where there is
--- enough of it and mounts can be made that nobody else sees: what is written
--- there is synced as on a disk, and nobody waits for one. Suites about disks,
--- and what a file system can do, ask for one that is not.
---
--- ```lua
--- local scratch = require "spec.scratch" -- before anything is started
--- local d <close> = scratch.new()
--- outside.write(d.path .. "/file", "x")
--- ```

require "saros" -- which starts nothing yet
local system = require "testmod".system

local ok, why = system.private_mounts()

local scratch = {
  --- Why nothing can be mounted here, or nil.
  ---@type string?
  missing = not ok and "no file system can be mounted here: " .. why or nil
}

--- Runs a shell command: its output (both streams), and whether it ended well.
function scratch.run(command, ...)
  local pipe = assert(io.popen("exec 2>&1; PATH=$PATH:/usr/sbin:/sbin; "
    .. command:format(...)))
  local text = pipe:read "a"
  return text, (pipe:close())
end

--- Unmounts whatever is mounted below a directory, the last first: before
--- somebody removes it.
function scratch.unmount(directory)
  if scratch.missing then return end
  scratch.run([[findmnt -rn -o TARGET | tac | while read -r at; do
    at=$(printf '%%b' "$at")
    case $at in '%s'/*) umount -l "$at" ;; esac
  done]], directory)
end

--- The path of a new directory on a disk, for who removes it himself.
---@return string
function scratch.path()
  local path = scratch.run "mktemp -d /tmp/saros-${SAROS_SUITE:-spec}-XXXXXX"
    :gsub("\n", "")
  assert(path:find "^/tmp/saros%-", path)
  return path
end

-- As much as several suites at a time may need.
local ENOUGH <const> = 3 << 20 -- KB

-- Whether it is in memory from now on.
local function into_memory(path)
  if scratch.missing then return false end
  for line in io.lines "/proc/meminfo" do
    local free = line:match "^MemAvailable:%s*(%d+)"
    if free and tonumber(free) < ENOUGH then return false end
  end
  return (select(2, scratch.run("mount -t tmpfs -o mode=755 saros '%s'", path)))
end

---@class spec.scratch
---@field path string others may look into it
local directory = {}
directory.__index = directory

function directory:close()
  scratch.unmount(self.path)
  if self.in_memory then scratch.run("umount -l '%s'", self.path) end
  scratch.run("rm -rf --one-file-system '%s'", self.path)
end

directory.__close = directory.close

--- A new one.
---@param options? { disk: boolean? } on a disk, whatever there is
---@return spec.scratch
function scratch.new(options)
  local path = scratch.path()
  local in_memory = not (options and options.disk) and into_memory(path)
  if not in_memory then scratch.run("chmod 755 '%s'", path) end
  return setmetatable({ path = path, in_memory = in_memory }, directory)
end

return scratch
