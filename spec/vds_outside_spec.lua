-- What is opened for writing while a disk is made, used and taken away, the
-- programs that are begun for it included: as strace saw it.
local helper = require "spec.helper"
local volumes = require "spec.volumes"

local ok, vds = pcall(require, "saros.vds")

local SCRIPT = [[
  local vds = require "saros.vds"
  local core = require "saros.vds.core"
  vds.config { state_dir = %q .. "/state" }
  local v = assert(vds.create_vdisk { path = %q .. "/disk.img",
    size = 96 << 20, full = true }:wait())
  local disk = assert(v:attach():wait())
  print(disk.path)
  if core.has "clean" then assert(disk:clean():wait()) end
  if core.has "create_partition" then
    local p = assert(disk:create_partition { size = 64 << 20 }:wait()).volume
    if core.has "format" then
      p = assert(p:format { fs = "ext4", label = "x" }:wait()).volume
    end
    if core.has "label" then assert(p:set_label "y":wait()) end
    if core.has "check" then assert(p:check():wait()) end
    if core.has "shrink" then
      assert(p:shrink { size = 16 << 20 }:wait())
      p:refresh()
    end
    if core.has "extend" then assert(p:extend():wait()) end
    if core.has "mount" then
      p:refresh()
      assert(p:mount(%q .. "/at"):wait())
      assert(p:unmount():wait())
    end
    assert(p:delete_partition():wait())
  end
  vds.disks()
  assert(v:detach():wait())
  assert(vds.reap():wait())
]]

describe("vds, seen from outside", function()
  if not ok then
    pending("saros.vds was left out of this build: " .. vds)
    return
  end
  local missing = volumes.missing
  if not missing and not select(2, volumes.run "strace -o /dev/null true") then
    missing = "strace cannot look at a program here (Debian: strace)"
  end
  if missing then
    pending(missing)
    return
  end

  local root

  setup(function()
    root = volumes.scratch()
    volumes.run("mkdir -m 700 '%s/state' '%s/at'", root, root)
  end)

  teardown(function()
    vds.config { state_dir = root .. "/state" }
    volumes.unmount(root)
    for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
    volumes.run("rm -rf --one-file-system '%s'", root)
  end)

  -- What they opened and could have written to.
  local function written(trace)
    local paths = {}
    for line in io.lines(trace) do
      local how = line:find "O_WRONLY" or line:find "O_RDWR"
        or line:find "O_CREAT" or line:find "creat%("
      local path = line:match "= %d+<(.*)>$"
      if how and path then -- some say what device it is, too
        paths[#paths + 1] = path:gsub("<%a+ %d+:%d+>$", "")
      end
    end
    return paths
  end

  it("opens nothing for writing but what is its own", function()
    local script = root .. "/script.lua"
    local file = assert(io.open(script, "w"))
    file:write(SCRIPT:format(root, root, root))
    file:close()
    local output, good = volumes.run(
      "strace -f -qq -y -e trace=open,openat,openat2,creat -o '%s/trace' %s '%s'",
      root, os.getenv "LUA" or "lua5.4", script)
    assert(good, output)
    local device = assert(output:match "(/dev/loop%d+)\n", output)
    local paths, of_device = written(root .. "/trace"), 0
    for _, path in ipairs(paths) do
      local is_device = path:find("^" .. device .. "$")
        or path:find("^" .. device .. "p%d+$")
      local allowed = is_device or path:sub(1, #root + 1) == root .. "/"
        or path == "/dev/loop-control" or path == "/dev/null"
        or path == "/dev/tty"
      assert(allowed, "it opened " .. path .. " for writing")
      if is_device then of_device = of_device + 1 end
    end
    assert(#paths > 0 and of_device > 0, "strace saw nothing")
    assert.same({}, helper.saros.list())
  end)
end)
