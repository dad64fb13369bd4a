--- A repository that is mounted, from Lua: when it is there, and that nothing
--- stays of it.

-- First, before there are threads: what is mounted here is nobody else's. Who
-- gets a namespace of his own meanwhile would keep it from its end.
require "saros"
require "testmod".system.private_mounts()

local helper = require "spec.helper"
local saros = helper.saros
local shared = require "spec.repository"

local function run(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

local function can_mount()
  return run "id -u" == "0" and os.execute "test -w /dev/fuse"
end

describe("a mounted repository", function()
  if shared.missing then
    pending(shared.missing)
    return
  end
  if not can_mount() then
    pending "only root with /dev/fuse can mount, and there is none of it here"
    return
  end

  local place, at, repo

  local function is_mounted()
    return os.execute(("grep -q ' %s ' /proc/self/mounts"):format(at))
  end

  setup(function()
    place = run "mktemp -d /tmp/saros-mount-XXXXXX"
    at = place .. "/mnt"
    os.execute(("mkdir '%s' '%s/src' && echo one >'%s/src/a'")
      :format(at, place, place))
    repo = shared.cheap { location = place .. "/r", password = "x",
      durable = false }
    assert(repo:backup { paths = { place .. "/src" }, host = "h" }:wait())
  end)

  teardown(function()
    repo:close()
    if is_mounted() then os.execute(("umount -f -l '%s'"):format(at)) end
    os.execute("rm -rf '" .. place .. "'")
  end)

  it("is there when the call returns, and gone when it is closed", function()
    for _, how in ipairs { "block", "task" } do
      local function look()
        local mount <close> = assert(repo:mount { at = at })
        assert.is_truthy(is_mounted())
        assert.is_false(mount:done())
        assert.equal("one", run(("cat '%s/hosts/h/latest%s/src/a'")
          :format(at, place)))
      end
      if how == "task" then saros.run(look) else look() end
      assert.is_falsy(is_mounted())
    end
  end)

  it("ends when somebody unmounts it", function()
    local mount = assert(repo:mount { at = at, host = "nobody" })
    assert.equal("", run(("ls '%s/hosts'"):format(at)))
    assert.is_truthy(os.execute(("umount '%s'"):format(at)))
    assert(mount:wait())
    assert.equal(0, mount:status().versions)
  end)

  it("is alone at its place", function()
    local mount <close> = assert(repo:mount { at = at })
    local op, err = repo:mount { at = at }
    assert.is_nil(op)
    assert.matches("mounted there already", err.message)
    mount:close()
    assert.is_falsy(is_mounted())
  end)

  it("says why it cannot be", function()
    local op, err = repo:mount { at = place .. "/none" }
    assert.is_nil(op)
    assert.matches("cannot be used", err.message)
    assert.error_matches(function() repo:mount {} end,
      "option 'at' is missing")
    assert.error_matches(function() repo:mount { to = at } end,
      "repo:mount has no option 'to'")
  end)

  for name, way in pairs { ["ends"] = "", ["is left by os.exit"] = "os.exit(3)",
    ["is killed"] = "io.popen('kill -9 $PPID'):read 'a' while true do end" } do
    it("does not outlive a program that " .. name, function()
      local script = place .. "/script.lua"
      local file = assert(io.open(script, "w"))
      file:write(([[
        local repo = require "saros.repository".open {
          location = %q, password = "x" }
        assert(repo:mount { at = %q })
        assert(io.open(%q, "w")):close()
        %s]]):format(place .. "/r", at, place .. "/was", way))
      file:close()
      os.execute(("lua5.4 '%s' >/dev/null 2>&1"):format(script))
      assert.is_truthy(os.remove(place .. "/was"))
      -- The helper of one that was killed does it; nobody waits for it here.
      for _ = 1, 3000 do
        if not is_mounted() then break end
        os.execute "sleep 0.01"
      end
      assert.is_falsy(is_mounted())
      assert(repo:unlock():wait())
    end)
  end

  it("is not there yet where one is that nobody answers for", function()
    -- Its helper is held, and dies last.
    local script, helpers = place .. "/script.lua", place .. "/helpers"
    local file = assert(io.open(script, "w"))
    file:write(([[
      local repo = require "saros.repository".open {
        location = %q, password = "x" }
      assert(repo:mount { at = %q })
      os.execute "for c in $(cat /proc/$PPID/task/*/children); do \
        [ $c = $$ ] || { kill -STOP $c; echo $c >>'%s'; }; done; kill -9 $PPID"
      ]]):format(place .. "/r", at, helpers))
    file:close()
    local function go_on()
      os.execute(("kill -CONT $(cat '%s') 2>/dev/null; : >'%s'"):format(helpers,
        helpers))
    end
    local _ <close> = setmetatable({}, { __close = go_on })
    os.execute(("lua5.4 '%s' >/dev/null 2>&1"):format(script))
    local op, err = repo:mount { at = at }
    go_on()
    assert.is_nil(op)
    assert.matches("has died.*umount %-l", err.message)
    for _ = 1, 3000 do
      if not is_mounted() then break end
      os.execute "sleep 0.01"
    end
    assert.is_falsy(is_mounted())
    assert(repo:unlock():wait())
  end)
end)
