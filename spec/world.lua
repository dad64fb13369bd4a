--- A machine of its own, for what is told to a reader word by word: the root of
--- this one with an upper layer that goes, a name, a btrfs at /srv, an empty
--- /backup. This checkout is its working directory, and what it has built is
--- found as if it were installed. What is done there is seen nowhere else.
---
--- ```lua
--- local w <close> = world.start()
--- local said, status = w:run("bash", "saros backup /etc --repo /backup")
--- ```

local outside = require "spec.outside"

local build = os.getenv "SAROS_BUILD" or "build"

local world = {}
world.__index = world

-- Ends with its first process: then the kernel takes all of it.
local SETUP <const> = [[
set -e
at=$1
mount -t tmpfs -o mode=755 world "$at"
mkdir "$at/up" "$at/work" "$at/root"
mount -t overlay -o "lowerdir=/,upperdir=$at/up,workdir=$at/work" world \
  "$at/root"
here=$PWD
cd "$at/root"
for d in dev sys; do mount --rbind /$d $d; done
mount -t proc proc proc
mount -t tmpfs -o mode=755 world run
mount -t tmpfs -o mode=1777 world tmp
mkdir -p ".$here"
mount --bind "$here" ".$here"
mount -o remount,bind,ro ".$here"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
rmdir /mnt/old
hostname web1
mkdir -p /backup /srv
rm -rf /srv/* /mnt/* /etc/saros /var/lib/saros
truncate -s 3G /srv.img
mkfs.btrfs -q /srv.img >&2
mount -o loop /srv.img /srv
echo ready
exec sleep infinity]]

--- Why there is none here, if there is none.
---@return string?
function world.missing()
  local _, _, code = os.execute "test $(id -u) = 0"
  if code ~= 0 then return "it takes root" end
  if os.getenv "SAROS_SANITIZER" then
    return "a sanitizer is preloaded, and a world has an environment of its own"
  end
  local said, how, status = outside.run("sh", "-c", [[
    PATH=$PATH:/usr/sbin:/sbin
    for p in unshare nsenter pivot_root mkfs.btrfs; do
      command -v $p >/dev/null || { echo "$p is not installed"; exit; }
    done
    d=$(mktemp -d)
    unshare -m sh -c 'mount -t tmpfs world "$1" && cd "$1" && mkdir u w r &&
      mount -t overlay -o lowerdir=/,upperdir=u,workdir=w world r' sh "$d" \
      >/dev/null 2>&1 || echo "no overlay can be mounted over /"
    rmdir "$d"]])
  if how == "exit" and status == 0 and said == "" then return nil end
  return (said:gsub("\n.*", ""))
end

---@return table world
function world.start()
  local at = outside.run("mktemp", "-d",
    ("/tmp/saros-%s-XXXXXX"):format(os.getenv "SAROS_SUITE" or "spec"))
  at = at:gsub("\n", "")
  local here = outside.run("pwd", "-P"):gsub("\n", "")
  local p = outside.start("unshare", "-m", "-p", "-u", "-f", "--kill-child",
    "--propagation", "private", "sh", "-c", "PATH=$PATH:/usr/sbin:/sbin\n"
      .. SETUP, "sh", at)
  local self = setmetatable({ at = at, holder = p, here = here }, world)
  local good, why = pcall(p.expect, p, "ready\n")
  if not good then
    self:__close()
    error(why, 0)
  end
  local children = ("/proc/%d/task/%d/children"):format(p.pid, p.pid)
  self.pid = tonumber((outside.content(children) or ""):match "%d+")
  return self
end

--- Runs a program there; what it said on both outputs, and its status, of a
--- signal 128 and more.
---@param ... string argv
---@return string said
---@return integer status
function world:run(...)
  local said, how, status = outside.run("nsenter", "-t", tostring(self.pid),
    "-m", "-p", "-u", "env", "-i", "HOME=/root", "USER=root", "LANG=C.UTF-8",
    "TERM=dumb",
    ("PATH=%s/bin:/usr/sbin:/usr/bin:/sbin:/bin"):format(build),
    ("BUILD=%s"):format(build), "LUA_PATH=" .. outside.lua_path,
    "LUA_CPATH=" .. outside.lua_cpath,
    "timeout", "-k", "5", "240", "sh", "-c", 'cd "$0" && exec "$@"', self.here,
    ...)
  return said, how == "exit" and status or 128 + status
end

--- Writes a file there.
function world:write(path, text)
  outside.write(("/proc/%d/root%s"):format(self.pid, path), text)
end

function world:__close()
  self.holder:__close()
  os.execute(("rm -rf --one-file-system '%s'"):format(self.at))
end

return world
