-- What spec/run takes away after a suite that was killed in the middle.
require "spec.helper" -- a limit for each test
local volumes = require "spec.volumes"

local SUITE = [[
  local volumes = require "spec.volumes"
  local system = require "testmod".system
  local root = volumes.scratch()
  print(root, volumes.run("truncate -s 1M '%s/a' && losetup -f --show '%s/a'",
    root, root))
  local v = volumes.make("ext4", 8)
  print(v and v.path, v and v.device)
  system.kill(system.pid(), 9)
]]

describe("spec/run", function()
  if volumes.missing then
    pending(volumes.missing)
    return
  end

  it("takes away what a killed suite left", function()
    local root <close> = setmetatable({ path = volumes.scratch() }, {
      __close = function(d) volumes.run("rm -rf '%s'", d.path) end })
    local suite = root.path .. "/killed_spec.lua"
    local file = assert(io.open(suite, "w"))
    file:write(SUITE)
    file:close()
    local said = volumes.run("env -u ONLY -u PART -u V spec/run -b '%s' '%s'",
      os.getenv "SAROS_BUILD", suite)
    assert.matches("killed by SIGKILL", said)
    assert.matches("0 passed, 1 failed, 0 skipped", said)
    local there, device = said:match "(/tmp/saros%-%S+)\t(/dev/loop%d+)"
    assert(there, said)
    assert(said:find("LEFT BEHIND: " .. there, 1, true), said)
    assert(said:find("LEFT BEHIND: " .. device, 1, true), said)
    assert.equal("", (volumes.run("ls -d '%s' 2>/dev/null", there)))
    assert.is_nil((volumes.run "losetup -n -O BACK-FILE"):find(there, 1, true))
    for folder in said:gmatch "LEFT BEHIND: (/tmp/%S+)" do
      assert.equal("", (volumes.run("ls -d '%s' 2>/dev/null", folder)))
    end
  end)
end)
