-- saros.doctor: everything is tried, everything that does not work says what to
-- do, and nothing of it stays.
local outside = require "spec.outside"
local volumes = require "spec.volumes"

local doctor = require "saros.doctor"

local ROOT <const> = os.execute "test $(id -u) = 0"

-- Each run asks them for their versions, and waits 15 s for each.
if os.getenv "SAROS_SANITIZER" == "address"
  and os.execute "test -d /usr/lib/postgresql"
then
  describe("saros.doctor", function()
    pending "PostgreSQL's programs hang with a preloaded sanitizer"
  end)
  return
end

local states <const> = { works = true, missing = true, degraded = true,
  untried = true }

-- A scratch directory and a state directory of the test's own; gone with it.
local function scene()
  local root = volumes.scratch()
  os.execute(("mkdir -m 700 '%s/state' && mkdir -m 755 '%s/scratch'"):format(
    root, root))
  local t = { root = root, state = root .. "/state",
    scratch = root .. "/scratch" }
  function t.start(more)
    local o = { state_dir = t.state, scratch = t.scratch }
    for name, item in pairs(more or {}) do o[name] = item end
    return doctor.start(o)
  end
  -- What is left of it here, or mounted, or attached.
  function t.left()
    local text = volumes.run(
      "ls -A '%s'; grep -F '%s' /proc/mounts; losetup -a | grep -F '%s'",
      t.scratch, t.scratch, t.scratch)
    return text
  end
  return setmetatable(t, { __close = function()
    volumes.unmount(root)
    os.execute("rm -rf --one-file-system " .. root)
  end })
end

local function by_id(report)
  local by = {}
  for _, c in ipairs(report.checks) do
    assert.is_nil(by[c.id], c.id .. " is there twice")
    by[c.id] = c
  end
  return by
end

describe("saros.doctor", function()
  it("tries everything, and leaves nothing", function()
    local t <close> = scene()
    local told = {}
    local report = assert(t.start { on_check = function(c)
      told[#told + 1] = c.id
    end }:wait())
    local by, rooms = by_id(report), {}
    for i, c in ipairs(report.checks) do
      assert.is_true(states[c.state], c.id .. " is " .. tostring(c.state))
      assert.equal(told[i], c.id)
      rooms[c.room] = true
      if c.state ~= "works" then
        assert.is_string(c.why, c.id)
        assert.is_true(#c.why > 0, c.id)
      end
    end
    for _, room in ipairs(doctor.rooms) do assert.is_true(rooms[room], room) end
    assert.equal("works", by["state"].state, by["state"].why)
    assert.equal("works", by["guard"].state, by["guard"].why)
    assert.equal("works", by["shadow.copy"].state, by["shadow.copy"].why)
    assert.equal("", t.left())
  end)

  it("takes a shadow by each provider, of file systems of its own", function()
    if not ROOT or volumes.missing then
      return pending(volumes.missing or "needs root")
    end
    local t <close> = scene()
    local by = by_id(assert(t.start {}:wait()))
    for _, provider in ipairs { "btrfs", "image", "reflink" } do
      local c = by["shadow." .. provider]
      if outside.installed(provider == "btrfs" and "mkfs.btrfs"
        or "mkfs.xfs")
      then
        assert.equal("works", c.state, c.why)
        assert.match("^tried: ", c.why)
      else
        assert.match("^install mkfs", c.remedy)
      end
    end
    assert.match("atomic", by["shadow.btrfs"].why)
    assert.match("per%-file", by["shadow.reflink"].why)
  end)

  it("says what is wrong with a tool that is there and fails", function()
    if not ROOT or volumes.missing then
      return pending(volumes.missing or "needs root")
    end
    local t <close> = scene()
    local bin = t.root .. "/bin"
    os.execute(("mkdir '%s'"):format(bin))
    for name, text in pairs { ["mkfs.btrfs"] = "echo 'no such luck' >&2; exit 3",
      ["mkfs.xfs"] = "exec /nonexistent/mkfs" } do
      outside.write(bin .. "/" .. name, "#!/bin/sh\n" .. text .. "\n")
      os.execute(("chmod 755 '%s/%s'"):format(bin, name))
    end
    local said, how, status = outside.run("env",
      ("PATH=%s:%s"):format(bin, os.getenv "PATH"), outside.lua, "-e", ([[
        local saros = require "saros"
        saros.run(function()
          local r = assert(require "saros.doctor".start { state_dir = %q,
            scratch = %q }:wait())
          for _, c in ipairs(r.checks) do
            print(c.id, c.state, c.why, c.remedy)
          end
        end)]]):format(t.state, t.scratch))
    assert.same({ "exit", 0 }, { how, status }, said)
    assert.match("shadow%.btrfs\tmissing\t[^\n]*no such luck", said)
    assert.match("shadow%.reflink\tmissing\t", said)
    -- What could not be made for another's fault was not tried.
    assert.match("shadow%.image\tuntried\t[^\n]*no XFS", said)
    assert.equal("", t.left())
  end)

  it("makes no file system when it shall be quick", function()
    local t <close> = scene()
    local by = by_id(assert(t.start { quick = true }:wait()))
    assert.equal("untried", by["shadow.btrfs"].state)
    assert.equal("untried", by["shadow.image"].state)
    assert.equal("works", by["shadow.copy"].state)
  end)

  it("says who can of a path, and why the others cannot", function()
    local t <close> = scene()
    local by = by_id(assert(t.start { quick = true,
      paths = { t.root, t.root .. "/nothing\27[2J" } }:wait()))
    local here = by["path:" .. t.root]
    assert.match("^by %l+: ", here.why)
    if here.state == "degraded" then assert.match("lvm: ", here.remedy) end
    local nothing
    for id, c in pairs(by) do
      if id:find("/nothing", 1, true) then nothing = c end
    end
    assert.equal("missing", nothing.state)
    assert.is_nil(nothing.why:find("\27", 1, true))
  end)

  it("tells another user what he lacks, and how to get it", function()
    if not ROOT or not outside.installed "setpriv" then
      return pending "needs root and setpriv"
    end
    local t <close> = scene()
    os.execute(("chmod 755 '%s'; mkdir -m 700 '%s/his' '%s/his-state'; "
      .. "chown 65534:65534 '%s/his' '%s/his-state'"):format(t.root, t.root,
      t.root, t.root, t.root))
    local said, how, status = outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", "env", "LUA_PATH="
      .. outside.lua_path, "LUA_CPATH=" .. outside.lua_cpath, outside.lua,
      "-e", ([[
        local saros = require "saros"
        saros.run(function()
          local r = assert(require "saros.doctor".start {
            state_dir = "%s/his-state", scratch = "%s/his" }:wait())
          print(r.uid)
          for _, c in ipairs(r.checks) do
            print(c.id, c.state, c.why, c.remedy)
          end
        end)]]):format(t.root, t.root))
    assert.same({ "exit", 0 }, { how, status }, said)
    assert.match("^65534\n", said)
    assert.match("guard\tworks", said)
    assert.match("shadow%.copy\tworks", said)
    assert.match("cell\tmissing\t[^\n]*\tas root %(no capability", said)
    assert.match("in%-place\tmissing\t[^\n]*\tas root", said)
    assert.match("shadow%.image\tuntried\t[^\n]*FIFREEZE", said)
    assert.match("read\tdegraded\t[^\n]*CAP_DAC_READ_SEARCH", said)
    assert.equal("", (volumes.run("ls -A '%s/his'", t.root)))
  end)

  it("says that others can write to the state directory", function()
    local t <close> = scene()
    os.execute(("mkdir '%s/state/state' && chmod 777 '%s/state/state'"):format(
      t.root, t.root))
    local by = by_id(assert(t.start { quick = true }:wait()))
    assert.equal("missing", by["state"].state)
    assert.match("can write to", by["state"].why)
  end)

  it("fails where nothing can be tried", function()
    local t <close> = scene()
    local report, err = t.start { scratch = t.root .. "/nowhere" }:wait()
    assert.is_nil(report)
    assert.match("nothing can be tried", err.message)
  end)

  it("leaves nothing when it is cancelled", function()
    local t <close> = scene()
    local op
    op = t.start { quick = not ROOT, on_check = function(c)
      -- The next one has the trial behind it.
      if c.id == "shadow.btrfs" or c.id == "guard" then op:cancel() end
    end }
    local report, err = op:wait()
    assert.is_nil(report)
    assert.is_true(err.cancelled)
    assert.equal("", t.left())
  end)

  it("knows its options", function()
    local ok, err = pcall(doctor.start, { pathes = {} })
    assert.is_false(ok)
    assert.match("'paths' perhaps", err)
  end)
end)
