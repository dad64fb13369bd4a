-- saros.writers.command: a program of somebody's own holds still, is checked, and
-- hears of a restore; in a container, too.
local app = require "spec.backup_app"

if app.missing then
  describe("saros.writers.command", function() pending(app.missing) end)
  return
end

local wsb, outside = app.wsb, app.outside
local command = require "saros.writers.command"
local with = app.with

-- As `podman exec -i NAME program`: runs it, standard input and all.
local PODMAN = [[#!/bin/sh
test "$1 $2 $3" = "exec -i db" || exit 125
shift 3
exec "$@"
]]

local HOLD = [[#!/bin/sh
case "$1" in
freeze) echo held >>"$LOG"; echo frozen; cat >/dev/null; echo gone >>"$LOG" ;;
*) exit 64 ;;
esac
]]

local CHECK = [[#!/bin/sh
read -r told
echo "$told" >"$LOG.check"
test "$(cat "$SAROS_ROOT$FILE")" = good && exit 0
test "$(cat "$SAROS_ROOT$FILE")" = odd && { echo "no tool" >&2; exit 75; }
echo "it is rotten" >&2
exit 1
]]

local function scene(t)
  for name, text in pairs { podman = PODMAN, hold = HOLD, check = CHECK } do
    outside.write(t.root .. "/" .. name, text)
    assert(os.execute("chmod 755 " .. t.root .. "/" .. name))
  end
  assert(os.execute("mkdir " .. t.data .. "/volume"))
  t.file = t.data .. "/volume/f"
  t.log = t.root .. "/log"
  function t.note(word)
    return { "sh", "-c", ("echo %s $SAROS_COMPONENT >>%s"):format(word, t.log) }
  end
  function t.logged()
    local text = outside.content(t.log) or ""
    os.remove(t.log)
    return (text:gsub("\n", " "))
  end
  return command.writer { id = app.id(21), name = "vault",
    command = { t.root .. "/podman", "exec", "-i", "db", t.root .. "/hold" },
    map = { ["/var/lib/db"] = t.data .. "/volume/", ["/var"] = "/nowhere" },
    components = { { type = "database", name = "main",
      files = { "/var/lib/db/f" } } },
    env = { LOG = t.log, FILE = t.file }, check = { t.root .. "/check" },
    pre_restore = t.note "stop", post_restore = t.note "start" }
end

describe("a command as a writer", function()
  it("is held, checked and restored where the host has it", function()
    with(function(t)
      local w <close> = scene(t)
      outside.write(t.file, "good")
      local v = t.backup()
      local c = app.component(v, "main")
      assert.same({ t.file }, c.files)
      assert.equal("passed", c.check.state)
      assert.equal("application", v.consistency)
      assert.equal("held gone ", t.logged())
      local told = outside.content(t.log .. ".check")
      assert.matches('"component":"main"', told, 1, true)
      outside.write(t.file, "rotten")
      local r = assert(wsb.recover { repository = t.repo,
        application = "vault" }:wait())
      assert.equal("good", outside.content(t.file))
      assert.equal("rotten", outside.content(r.laid[1].kept))
      assert.equal("stop main start main ", t.logged())
      w:close()
    end)
  end)

  it("tells damage from what could not be tried", function()
    with(function(t)
      local w <close> = scene(t)
      outside.write(t.file, "rotten")
      local c = app.component(t.backup(), "main")
      assert.equal("failed", c.check.state)
      assert.matches("it is rotten", c.why)
      outside.write(t.file, "odd")
      c = app.component(t.backup(), "main")
      assert.equal("untried", c.check.state)
      assert.matches("no tool", c.check.message)
      assert.is_true(c.recoverable)
      w:close()
    end)
  end)

  it("does not restore what it could not stop, and starts it again", function()
    with(function(t)
      local w <close> = scene(t)
      outside.write(t.file, "good")
      t.backup()
      outside.write(t.file, "now")
      command.define { id = app.id(21), name = "vault",
        pre_restore = { "sh", "-c", "echo it hangs >&2; exit 1" },
        post_restore = t.note "start" }
      t.logged()
      local r, err = wsb.recover { repository = t.repo, component = "main" }
        :wait()
      assert.is_nil(r)
      assert.equal("WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED", err.name)
      assert.matches("it hangs", err.message)
      assert.equal("now", outside.content(t.file))
      assert.equal("start main ", t.logged())
      w:close()
    end)
  end)

  it("says what is wrong with an option", function()
    local function raises(more)
      local o = { id = app.id(22), name = "x", command = { "true" } }
      for name, item in pairs(more) do o[name] = item end
      local ok, err = pcall(function() command.writer(o) end)
      assert.is_false(ok)
      assert.matches("command_writer_spec.lua:%d+: ", err)
      return err
    end
    assert.matches("needs %-i, and no %-t",
      raises { command = { "/usr/bin/podman", "exec", "db", "x", "-i" } })
    assert.matches("needs %-i, and no %-t",
      raises { command = { "docker", "exec", "-it", "db", "x" } })
    assert.matches("'components' is missing", raises { map = {} })
    assert.matches("does not say where /a/b is", raises { map = { ["/b"] = "/x" },
      components = { { type = "filegroup", name = "a", files = { "/a/b" } } } })
    assert.matches("in/the/container", raises { map = { b = "/x" },
      components = {} })
    assert.matches("'check'%[1%]: string expected", raises { check = { 1 } })
    assert.matches("a program expected", raises { check = {} })
    assert.matches("no option 'chek'", raises { chek = {} })
  end)
end)
