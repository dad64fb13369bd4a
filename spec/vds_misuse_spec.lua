local helper = require "spec.helper"
local volumes = require "spec.volumes"

local ok, vds = pcall(require, "saros.vds")
local saros = helper.saros
local code = saros.code

describe("vds", function()
  if not ok then
    pending("saros.vds was left out of this build: " .. vds)
    return
  end

  local root, core

  setup(function()
    core = require "saros.vds.core"
    root = volumes.scratch()
    vds.config { state_dir = root .. "/state" }
    volumes.run("mkdir -m 700 '%s/state'", root)
  end)

  teardown(function()
    for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
    volumes.run("rm -rf --one-file-system '%s'", root)
  end)

  -- A device that cannot be there: what got as far as C is refused.
  local function object(class, number)
    local who = { major = 7, minor = 0xFFFF0, disk_major = 7,
      disk_minor = 0xFFFF0, seq = 1, size = 4096, start = 0, number = number,
      serial = "", path = "/dev/none" }
    return setmetatable(who,
      debug.getregistry()["saros.classes"]["saros.vds." .. class])
  end

  it("raises what is misused, and says what there is", function()
    local disk, volume = object("disk", 0), object("volume", 1)
    disk.partitions = { volume }
    for wanted, misuse in pairs {
      ["'full' perhaps"] = function() local _ = disk:clean { ful = true } end,
      ['"gpt" or "mbr"'] = function()
        local _ = disk:initialize { style = "dos" }
      end,
      ["size': whole number"] = function()
        local _ = disk:create_partition { size = "all" }
      end,
      ["option 'number' is missing"] = function()
        local _ = disk:delete_partition {}
      end,
      ["volume:format: option 'fs' is missing"] = function()
        local _ = volume:format {}
      end,
      ["disk:format: option 'fs' is missing"] = function()
        local _ = disk:format()
      end,
      ["path: string expected, got table"] = function()
        local _ = volume:mount {}
      end,
      ["label: string expected, got nil"] = function()
        local _ = volume:set_label()
      end,
      ["a disk or a volume expected, got string"] = function()
        local _ = volume:add_plex "/dev/sdb"
      end,
      ["a good disk or volume expected, got nil"] = function()
        local _ = volume:repair_plex(3)
      end,
      ["volume:shrink has no option 'by'"] = function()
        local _ = volume:shrink { by = 1 }
      end,
      ["option 'repair': boolean expected"] = function()
        local _ = volume:check { repair = "yes" }
      end,
    } do
      local good, message = pcall(misuse)
      assert.is_false(good)
      assert(tostring(message):find(wanted, 1, true), message)
      assert(tostring(message):find("vds_misuse_spec.lua", 1, true), message)
    end
  end)

  it("raises what is missing, in the line that left it out", function()
    local disk = object("disk", 0)
    for wanted, misuse in pairs {
      ["vds.disk: path: string expected, got nil"] = function()
        local _ = vds.disk()
      end,
      ["vds.volume: path: string expected, got number"] = function()
        local _ = vds.volume(3)
      end,
      ["vds.open_vdisk: path: a text without NUL"] = function()
        local _ = vds.open_vdisk "a\0b"
      end,
      ["disk:clean is called with a colon, on a disk"] = function()
        local _ = disk.clean()
      end,
      ["disk:refresh is called with a colon"] = function()
        local _ = disk.refresh {}
      end,
      ["disk:format is called with a colon"] = function()
        local _ = disk.format { fs = "ext4" }
      end,
      ["option 'number' is missing"] = function()
        local _ = disk:delete_partition()
      end,
    } do
      local good, message = pcall(misuse)
      assert.is_false(good)
      assert(tostring(message):find(wanted, 1, true), message)
      assert(tostring(message):find("vds_misuse_spec.lua", 1, true), message)
    end
  end)

  it("takes no path that C would cut", function()
    local volume = object("volume", 1)
    for _, begin in ipairs {
      function() volume:mount "/mnt\0x" end,
      function() volume:unmount { path = "/mnt\0x" } end,
      function() volume:set_label "a\0b" end,
    } do
      local good, message = pcall(begin)
      assert.is_false(good)
      assert(tostring(message):find("NUL", 1, true), message)
    end
  end)

  it("does nothing to a device that is not there", function()
    local disk, volume = object("disk", 0), object("volume", 1)
    for call, begin in pairs {
      initialize = function() return disk:initialize() end,
      create_partition = function() return disk:create_partition() end,
      clean = function() return disk:clean() end,
      delete_partition = function() return volume:delete_partition() end,
      format = function() return volume:format { fs = "ext4" } end,
      mount = function() return volume:mount(root) end,
      unmount = function() return volume:unmount() end,
      extend = function() return volume:extend() end,
      shrink = function() return volume:shrink() end,
      check = function() return volume:check() end,
      label = function() return volume:set_label "x" end,
      add_plex = function() return volume:add_plex(disk) end,
      remove_plex = function() return volume:remove_plex(disk) end,
      repair_plex = function() return volume:repair_plex(disk, volume) end,
      break_plex = function() return volume:break_plex() end,
    } do
      if core.has(call) then
        local op = begin()
        local value, err = op:wait()
        assert.is_nil(value)
        assert(err.code < 0 or err.code >= 0x80000000, call)
        assert.equal(100, (select(2, op:query())))
      end
    end
  end)

  it("yields in a task, with a percentage and phases", function()
    local turns = 0
    saros.run(function()
      local op = vds.create_vdisk { path = root .. "/full.img",
        size = 256 << 20, full = true }
      local watcher = saros.spawn(function()
        local last = 0
        repeat
          turns = turns + 1
          local over = op:done()
          local status = op:status()
          assert(status.percent >= last and status.kind == "vds.create_vdisk")
          assert(over == (status.percent == 100) or op:done())
          last = status.percent
          saros.sleep(0.001):wait()
        until over
        return op:status().phase
      end)
      assert.equal("create_vdisk", assert(op:wait()).type)
      assert.equal("allocating", assert(watcher:wait()))
      assert.same({ code.S_OK, 100 }, { op:query() })
    end)
    assert(turns > 0)
  end)
end)
