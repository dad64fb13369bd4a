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
  if volumes.missing then
    pending(volumes.missing)
    return
  end

  local root

  setup(function()
    root = volumes.scratch()
    vds.config { state_dir = root .. "/state" }
    volumes.run("mkdir -m 700 '%s/state'", root)
  end)

  teardown(function()
    volumes.unmount(root)
    for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
    volumes.run("rm -rf --one-file-system '%s'", root)
  end)

  local function new(name, megabytes)
    return assert(vds.create_vdisk { path = root .. "/" .. name,
      size = megabytes << 20 }:wait())
  end

  it("makes, attaches and detaches a virtual disk", function()
    local op = vds.create_vdisk { path = root .. "/a.img", size = 8 << 20 }
    local v = assert(op:wait())
    assert.same({ 0, 100 }, { op:query() })
    assert.equal(200, v.vds_type)
    assert.equal("create_vdisk", v.type)
    assert.equal(8 << 20, v.size)
    assert.is_false(v.attached)
    local disk = assert(v:attach():wait())
    assert.equal(201, disk.vds_type)
    assert.equal(8 << 20, disk.size)
    assert.equal(root .. "/a.img", disk.file)
    assert.equal("stable", disk.transition)
    assert.is_true(v:refresh().attached)
    assert.equal(disk.path, v.device)
    assert.equal(disk.path, vds.disk(disk.path).path)
    assert(v:detach():wait())
    assert.is_false(v:refresh().attached)
    assert.has_error(function() vds.disk(root .. "/a.img") end)
  end)

  it("answers a query at once, and for ever the same", function()
    local op = vds.create_vdisk { path = root .. "/b.img", size = 64 << 20,
      full = true }
    local last = 0
    repeat
      local c, percent = op:query()
      assert(percent >= last and percent <= 100)
      assert.equal(c == code.VDS_E_OPERATION_PENDING, percent < 100)
      last = percent
      saros.step(0.01)
    until c ~= code.VDS_E_OPERATION_PENDING
    assert.same({ 0, 100 }, { op:query() })
    assert.equal(code.VDS_E_CANCEL_TOO_LATE, op:cancel())
  end)

  it("gives a disk that is there already", function()
    local v = new("c.img", 4)
    local op = vds.create_vdisk { path = v.path, size = 1 << 20 }
    assert.equal(4 << 20, assert(op:wait()).size)
    assert.equal(code.VDS_S_ALREADY_EXISTS, (op:query()))
  end)

  it("attaches a file once", function()
    local v = new("d.img", 4)
    local disk = assert(v:attach():wait())
    local _, err = v:attach():wait()
    assert.equal("VDS_E_OBJECT_EXISTS", err.name)
    assert(tostring(err):find(disk.path, 1, true))
    assert(v:detach():wait())
  end)

  it("grows a disk, and knows it afterwards", function()
    local v = new("e.img", 4)
    local disk = assert(v:attach():wait())
    assert.equal(6 << 20, assert(v:expand { size = 6 << 20 }:wait()).size)
    assert.equal(6 << 20, disk:refresh().size)
    local _, err = v:expand { size = 1 << 20 }:wait()
    assert.equal("VDS_E_INVALID_SPACE", err.name)
    assert(v:detach():wait())
  end)

  it("shows lists and plans to people", function()
    local v = new("shown.img", 16)
    local good, message = pcall(v.expand, v)
    assert.is_false(good)
    assert(tostring(message):find("option 'size' is missing", 1, true), message)
    local disk = assert(v:attach():wait())
    assert(tostring(vds.disks()):find(tostring(disk), 1, true))
    assert.equal(("virtual disk %s (%s)"):format(v.path, disk.path),
      tostring(vds.virtual_disks()))
    local plan = assert(disk:clean { plan = true }:wait())
    assert.equal("it would be done\nnothing would be lost", tostring(plan))
    local volume = assert(disk:create_partition { size = 8 << 20 }:wait()).volume
    plan = assert(disk:clean { plan = true }:wait())
    assert.equal("it would be done\nwhat would be lost: partition 1 (8.0 MiB)",
      tostring(plan))
    plan = assert(disk:format { fs = "ext4", plan = true }:wait())
    assert.is_false(plan.allowed)
    assert(tostring(plan):find("^it would be refused: "), tostring(plan))
    assert(tostring(vds.volumes()):find(tostring(volume), 1, true))
    assert(v:detach():wait())
    assert.equal("none", tostring(vds.virtual_disks()))
  end)

  it("checks what is mounted when it may unmount that", function()
    local v = new("checked.img", 16)
    local disk = assert(v:attach():wait())
    local volume = assert(disk:format { fs = "ext4" }:wait()).volume
    volumes.run("mkdir '%s/checked'", root)
    assert(volume:mount(root .. "/checked"):wait())
    local _, err = volume:check():wait()
    assert.equal("VDS_E_OPERATION_DENIED", err.name)
    assert(tostring(err):find("force = { mounted = true }", 1, true))
    local plan = assert(volume:check { plan = true }:wait())
    assert.is_false(plan.allowed)
    local found = volume:check { force = { mounted = true } }:wait()
    assert.is_true(assert(found).clean)
    assert.is_nil(volume:refresh().mounted)
    plan = assert(volume:set_label("x", { plan = true }):wait())
    assert.is_true(plan.allowed)
    assert(v:detach():wait())
  end)

  it("refuses to detach what is mounted, and plans that", function()
    local v = new("f.img", 16)
    local disk = assert(v:attach():wait())
    local text, good = volumes.run("mke2fs -q -F -t ext4 -L data '%s'",
      disk.path)
    if not good then
      assert(v:detach():wait())
      pending("no ext4 can be made here: " .. text)
      return
    end
    local at = root .. "/mounted"
    assert(select(2, volumes.run("mkdir '%s'; mount '%s' '%s'", at, disk.path,
      at)))
    local volume = vds.volume(at)
    helper.contains({ path = disk.path, fs = "ext4", label = "data",
      mounted = at, health = "healthy" }, volume)
    assert(volume.free > 0 and volume.free < volume.size)
    local plan = assert(v:detach { plan = true }:wait())
    assert.is_false(plan.allowed)
    assert.equal("mounted", plan.denied[1].danger)
    assert.equal(at, plan.holders[1].who)
    local _, err = v:detach():wait()
    assert.equal("VDS_E_OPERATION_DENIED", err.name)
    assert(tostring(err):find(at, 1, true))
    volumes.run("umount '%s'", at)
    assert(v:detach():wait())
  end)

  it("lists disks and what is on them", function()
    local v = new("g.img", 8)
    local disk = assert(v:attach():wait())
    local found
    for _, d in ipairs(vds.disks()) do
      if d.path == disk.path then found = d end
    end
    assert.equal(v.path, found.file)
    assert.is_false(found.system)
    assert.equal(1, #vds.virtual_disks())
    helper.contains({ path = v.path, device = disk.path, attached = true,
      persistent = false, owner_alive = true }, vds.virtual_disks()[1])
    assert(v:detach():wait())
    assert.same({}, vds.virtual_disks())
  end)

  it("raises what is misused, in the script's line", function()
    for _, bad in ipairs {
      function() vds.create_vdisk {} end,
      function() vds.create_vdisk { path = root .. "/x" } end,
      function() vds.create_vdisk { path = root .. "/x", sise = 1 } end,
      function() vds.disk(1) end,
      function() new("h.img", 4):detach { force = true } end,
    } do
      local good, message = pcall(bad)
      assert.is_false(good)
      assert(tostring(message):find("vds_spec.lua", 1, true), message)
    end
  end)

  it("keeps a disk that is persistent when its process ends", function()
    local v = new("i.img", 4)
    local output, _, status = helper.script(([[
      local vds = require "saros.vds"
      vds.config { state_dir = %q }
      assert(vds.open_vdisk(%q):attach { persistent = %s }:wait())
    ]]):format(root .. "/state", v.path, "true"))
    assert.equal(0, status, output)
    assert.is_true(v:refresh().attached)
    assert.same({ detached = {}, forgotten = {}, busy = {}, type = "reap" },
      assert(vds.reap():wait()))
    assert.is_false(vds.virtual_disks()[1].owner_alive)
    assert(v:detach():wait())
  end)

  it("lets one go that is not, and forgets it", function()
    local v = new("j.img", 4)
    local output, _, status = helper.script(([[
      local vds = require "saros.vds"
      vds.config { state_dir = %q }
      assert(vds.open_vdisk(%q):attach():wait())
    ]]):format(root .. "/state", v.path))
    assert.equal(0, status, output)
    -- Whoever lists all disks may have it open at this moment.
    while v:refresh().attached do assert(saros.sleep(0.01):wait()) end
    assert.same({ v.path }, assert(vds.reap():wait()).forgotten)
  end)
end)
