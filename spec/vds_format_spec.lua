local helper = require "spec.helper"
local volumes = require "spec.volumes"

local ok, vds = pcall(require, "saros.vds")
local saros = helper.saros
local code = saros.code

describe("vds format", function()
  if not ok then
    pending("saros.vds was left out of this build: " .. vds)
    return
  end
  if volumes.missing then
    pending(volumes.missing)
    return
  end

  local root, image, disk

  setup(function()
    root = volumes.scratch()
    vds.config { state_dir = root .. "/state" }
    volumes.run("mkdir -m 700 '%s/state'", root)
    image = assert(vds.create_vdisk { path = root .. "/a.img",
      size = 32 << 20 }:wait())
    disk = assert(image:attach():wait())
  end)

  teardown(function()
    volumes.unmount(root)
    for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
    volumes.run("rm -rf --one-file-system '%s'", root)
  end)

  it("makes a file system, and hands out its volume", function()
    local op = disk:format { fs = "ext4", label = "scratch" }
    local made = assert(op:wait())
    assert.same({ 0, 100 }, { op:query() })
    assert.equal("format", made.type)
    assert.equal(101, made.vds_type)
    assert.equal("ext4", made.volume.fs)
    assert.equal("scratch", made.volume.label)
    assert.equal("healthy", made.volume.health)
    assert.equal("stable", made.volume.transition)
    assert.is_true(made.volume.free > 0)
    assert.equal(made.volume.uuid, made.volume:refresh().uuid)
    assert.equal(made.volume.uuid, vds.volume(disk.path).uuid)
  end)

  it("has the volume again for another one", function()
    local volume = vds.volume(disk.path)
    local plan = assert(volume:format { fs = "swap", plan = true }:wait())
    assert.is_true(plan.allowed)
    assert.equal("scratch", plan.lost.file_systems[1].label)
    assert.equal("ext4", volume:refresh().fs)
    local made = assert(volume:format { fs = "swap", quick = false }:wait())
    assert.equal("swap", made.volume.fs)
    assert.equal("swap", volume:refresh().fs)
  end)

  it("says what cannot be", function()
    for options, expected in pairs {
      [{ fs = "zfs" }] = code.VDS_E_INVALID_FS_TYPE,
      [{ fs = "xfs" }] = code.VDS_E_VOLUME_TOO_SMALL,
      [{ fs = "ext4", label = ("x"):rep(17) }] = code.VDS_E_BAD_LABEL,
      [{ fs = "vfat", label = "a*b" }] = code.VDS_E_BAD_LABEL,
      [{ fs = "ext4", block = 1000 }] = code.E_INVALIDARG,
    } do
      local result, err = disk:format(options):wait()
      assert.is_nil(result)
      assert.equal(expected, err.code)
    end
    assert.equal("swap", vds.volume(disk.path).fs)
    assert.has_error(function() disk:format {} end)
    assert.has_error(function() disk:format { fs = "ext4", lable = "x" } end)
    assert.has_error(function() disk:format { fs = "ext4", quick = 1 } end)
  end)
end)
