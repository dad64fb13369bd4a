local helper = require "spec.helper"
local volumes = require "spec.volumes"

local ok, vds = pcall(require, "saros.vds")
local saros = helper.saros
local code = saros.code

describe("vds tables", function()
  if not ok then
    pending("saros.vds was left out of this build: " .. vds)
    return
  end
  if volumes.missing then
    pending(volumes.missing)
    return
  end

  local root, file, disk

  setup(function()
    root = volumes.scratch()
    vds.config { state_dir = root .. "/state" }
    volumes.run("mkdir -m 700 '%s/state'", root)
    file = assert(vds.create_vdisk { path = root .. "/t.img",
      size = 64 << 20 }:wait())
    disk = assert(file:attach():wait())
  end)

  teardown(function()
    for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
    volumes.run("rm -rf --one-file-system '%s'", root)
  end)

  it("makes a table, and partitions in it", function()
    assert(disk:initialize { style = "gpt" }:wait())
    local made = assert(disk:create_partition { size = 16 << 20,
      label = "löss", type = "linux" }:wait())
    assert.same({ 10, 1, 1 << 20, 16 << 20 },
      { made.vds_type, made.number, made.offset, made.size })
    assert.matches("^volume /dev/", tostring(made.volume))
    disk:refresh()
    assert.equal("gpt", disk.style)
    assert.equal("löss", disk.table[1].label)
    assert.equal(17 << 20, disk.free[1].offset)
    assert.equal(made.volume.path, disk.partitions[1].path)
    local plan = assert(made.volume:delete_partition { plan = true }:wait())
    assert.is_true(plan.plan and plan.allowed)
    assert(made.volume:delete_partition():wait())
    local gone, err = made.volume:delete_partition():wait()
    assert.is_nil(gone)
    -- Its number may be that of somebody else's partition by now.
    assert(err.code == code.VDS_E_OBJECT_DELETED
      or err.code == code.VDS_E_OBJECT_OUT_OF_SYNC, err)
    assert.same({}, disk:refresh().table)
  end)

  it("says what cannot be", function()
    local none, err = disk:create_partition { type = "no such" }:wait()
    assert.is_nil(none)
    assert.equal(code.VDS_E_INVALID_PARTITION_TYPE, err.code)
    assert.has_error(function() disk:delete_partition {} end)
    assert.has_error(function() disk:initialize { stile = "gpt" } end)
    assert.has_error(function() disk:initialize { style = "sun" } end)
    none, err = disk:delete_partition { number = 9 }:wait()
    assert.is_nil(none)
    assert.equal(code.VDS_E_OBJECT_NOT_FOUND, err.code)
  end)
end)
