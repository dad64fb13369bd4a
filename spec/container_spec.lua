-- A program in a real container (by runc) as a writer: what docker and podman do
-- with `exec -i` is this. Its application writes a number to one file and then to
-- another, under a lock: while that is held they are alike.
local app = require "spec.backup_app"

local outside = app.outside

local function lacking()
  if app.missing then return app.missing end
  if os.getenv "SAROS_SANITIZER" then
    return "a preloaded sanitizer is not in the container"
  end
  if not outside.installed "runc" then return "runc is not installed" end
  if not os.execute "test $(id -u) = 0" then return "a container needs root" end
end

local missing = lacking()
if missing then
  describe("a program in a container", function() pending(missing) end)
  return
end

local wsb, vss = app.wsb, require "saros.vss"
local command = require "saros.writers.command"
local with, core = app.with, require "saros.core"

local APPLICATION = [[
exec 9>/var/lib/app/lock
while :; do
  flock 9; n=$((n + 1)); echo $n >/var/lib/app/a; echo $n >/var/lib/app/b; flock -u 9
done
]]

-- Called with "freeze", as saros.vss's command writers are.
local HOLD = [[#!/bin/sh
test "$1" = freeze || exit 64
exec flock /var/lib/app/lock sh -c 'echo frozen; cat >/dev/null'
]]

local CHECK = [[#!/bin/sh
cmp "$SAROS_ROOT$DATA/a" "$SAROS_ROOT$DATA/b"
]]

-- Everything of this machine's /usr, and nothing else.
local function bundle(root, data)
  local mounts = {}
  local function mount(destination, kind, source, ...)
    mounts[#mounts + 1] = { destination = destination, type = kind,
      source = source, options = { ... } }
  end
  mount("/proc", "proc", "proc", "nosuid")
  mount("/dev", "tmpfs", "tmpfs", "nosuid", "mode=755")
  mount("/usr", "bind", "/usr", "rbind", "ro")
  mount("/var/lib/app", "bind", data, "rbind", "rw")
  mount("/hold", "bind", root .. "/hold", "bind", "ro")
  local namespaces = {}
  for i, kind in ipairs { "pid", "mount", "ipc", "uts", "network" } do
    namespaces[i] = { type = kind }
  end
  return { ociVersion = "1.0.2", root = { path = "rootfs" }, mounts = mounts,
    process = { user = { uid = 0, gid = 0 }, cwd = "/",
      env = { "PATH=/usr/sbin:/usr/bin" },
      args = { "/usr/bin/sh", "-c", APPLICATION } },
    linux = { namespaces = namespaces } }
end

-- t.container: its name, while f runs.
local function contained(f)
  with(function(t)
    t.container = "saros-" .. t.root:match "[^/]*$"
    t.volume = t.data .. "/volume"
    local at = t.root .. "/bundle"
    assert(os.execute(([[mkdir -p '%s/rootfs' '%s' && cd '%s/rootfs' &&
      for d in bin sbin lib lib64; do ln -s usr/$d $d; done]])
      :format(at, t.volume, at)))
    for name, text in pairs { hold = HOLD, check = CHECK } do
      outside.write(t.root .. "/" .. name, text)
      assert(os.execute(("chmod 755 '%s/%s'"):format(t.root, name)))
    end
    outside.write(at .. "/config.json",
      core.json_write(bundle(t.root, t.volume)))
    -- What it says goes to a file: a pipe of ours would not end before it.
    t.start = { "sh", "-c", [[exec runc run --detach --bundle "$1" "$2" \
      >"$1/said" 2>&1 </dev/null]], "sh", at, t.container }
    t.stop = { "runc", "delete", "--force", t.container }
    local _ <close> = setmetatable({}, { __close = function()
      outside.run(table.unpack(t.stop))
    end })
    local _, how, status = outside.run(table.unpack(t.start))
    assert(how == "exit" and status == 0, outside.content(at .. "/said"))
    --- All that is in it is dead then.
    function t.kill()
      outside.run("runc", "kill", t.container, "KILL")
      outside.eventually("the end of the container", function()
        return outside.run("runc", "state", t.container):find '"stopped"'
      end)
    end
    --- The application writes, and goes on writing.
    function t.writes()
      local before = outside.content(t.volume .. "/b")
      outside.eventually("another number", function()
        local now = outside.content(t.volume .. "/b")
        return now and now ~= "" and now ~= before
      end)
    end
    t.writes()
    function t.writer()
      return command.writer { id = app.id(41), name = "counter",
        command = { "runc", "exec", t.container, "/hold" },
        map = { ["/var/lib/app"] = t.volume },
        components = { { type = "database", name = "numbers",
          files = { "/var/lib/app" } } },
        env = { DATA = t.volume }, check = { t.root .. "/check" },
        state_dir = t.state,
        pre_restore = t.stop, post_restore = t.start }
    end
    return f(t)
  end)
end

describe("a program in a container", function()
  it("is held for the shadow, checked, and restored", function()
    contained(function(t)
      local w <close> = t.writer()
      for _ = 1, 5 do
        local v = t.backup()
        local c = app.component(v, "numbers")
        assert.same({ t.volume }, c.files)
        assert.same({ state = "passed" }, c.check)
        assert.equal("application", v.consistency)
        t.writes()
      end
      assert(wsb.recover { repository = t.repo, application = "counter" }
        :wait())
      t.writes() -- it was started again, with what was restored
      w:close()
    end)
  end)

  it("that dies while it is held makes no shadow", function()
    contained(function(t)
      local w <close> = t.writer()
      local killer <close> = vss.writer { name = "killer", level = "back_end",
        id = app.id(42), state_dir = t.state, freeze = t.kill }
      local set, err = vss.shadow { paths = { t.data }, provider = "copy",
        state_dir = t.state }:wait()
      assert.is_nil(set)
      assert.matches("counter", err.message)
      w:close()
      killer:close()
    end)
  end)

  it("goes on when whoever holds it is killed", function()
    contained(function(t)
      local script = ([[
        local saros = require "saros"
        local vss, command = require "saros.vss", require "saros.writers.command"
        local w = command.writer { id = %q, name = "counter", state_dir = %q,
          command = { "runc", "exec", %q, "/hold" },
          map = { ["/var/lib/app"] = %q },
          components = { { type = "database", name = "numbers",
            files = { "/var/lib/app" } } } }
        local last = vss.writer { name = "last", level = "back_end", id = %q,
          state_dir = %q, freeze = function()
            print "held"
            saros.sleep(1000):wait()
          end }
        print(vss.shadow { paths = { %q }, provider = "copy",
          state_dir = %q }:wait())]]):format(app.id(41), t.state, t.container,
        t.volume, app.id(42), t.state, t.data, t.state)
      local p <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
        "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e", script)
      p:expect "held"
      assert.equal(outside.content(t.volume .. "/a"),
        outside.content(t.volume .. "/b"))
      outside.system.kill(p.pid, 9)
      t.writes()
      assert(vss.reap { state_dir = t.state }:wait())
    end)
  end)
end)
