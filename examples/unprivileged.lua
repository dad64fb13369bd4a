-- A shadow copy as an ordinary user: the provider `copy` needs nothing but
-- leave to read. It copies ahead, and while the writers hold still only what
-- has changed since. As root this runs as nobody.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local NOBODY = "exec setpriv --reuid 65534 --regid 65534 --clear-groups "
  .. "env -u XDG_RUNTIME_DIR -u XDG_STATE_HOME "

local function become_nobody()
  if not os.execute("command -v setpriv >/dev/null") then
    print "setpriv (util-linux) is not installed"
    os.exit(77)
  end
  local can = os.execute(NOBODY .. place.line { place.lua, "-e",
    "require 'saros'; assert(io.open(arg[0]))", arg[0] }
    .. " >/dev/null 2>&1")
  if not can then
    print "nobody may not read this tree; run it as another user"
    os.exit(77)
  end
  local _, how, code = os.execute(NOBODY .. place.again())
  os.exit(how == "exit" and code or 128 + code, true)
end

if place.run("id", "-u") == "0" then become_nobody() end

saros.run(function()
  local scratch <close> = place.scratch()
  local data, state = scratch.path .. "/data", scratch.path .. "/state"
  place.run("mkdir", data)
  place.run("mkdir", "-m", "700", state)
  place.run("sh", "-c", "cd \"$1\"; i=0; while [ $i -lt 300 ]; do "
    .. "echo $i >file$i; i=$((i + 1)); done", "sh", data)

  print("as user " .. place.run("id", "-u"))
  local session <close> = vss.components { state_dir = state }
  session:initialize_for_backup()
  for _, provider in ipairs { "btrfs", "image", "lvm", "copy" } do
    local can, info = session:is_volume_supported(data, provider)
    print(("  %-6s %s"):format(provider, can and info.worth or info.reason))
  end
  session:close()

  local set <close> = assert(vss.shadow { paths = { data },
    provider = "copy", state_dir = state }:wait())
  -- What happens to the original does not happen to its shadow.
  place.run("sh", "-c", "rm -r \"$1\"/*", "sh", data)
  local count = place.run("sh", "-c", "ls \"$1\" | wc -l", "sh",
    set[data].path)
  print(("all is deleted; %d files are in %s"):format(count, set[data].path))
  assert(tonumber(count) == 300)
  assert(set:backup_complete():wait())
end)
