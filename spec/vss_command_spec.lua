-- Writers that are programs, from Lua. (Each verb and each way to fail is
-- proved in spec/c/test_command_writer.c.)
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

-- Notes each verb, and what it is told, then does as $MODE says.
local SCRIPT = [[#!/bin/sh
read -r told
echo "$1" >>"$PLACE/journal"
echo "$told" >"$PLACE/told-$1"
case "$1-$MODE" in
identify-speaks)
  echo '{"name":"script","components":[{"type":"database","name":"main"}]}' ;;
identify-*) exit 64 ;;
freeze-veto) echo 'the tape is not mounted' >&2; exit 1 ;;
freeze-later) echo 'in use' >&2; exit 75 ;;
freeze-broken) echo frozen; cat >/dev/null; echo 'was not still' >&2; exit 3 ;;
freeze-*)
  pwd >"$PLACE/frozen"
  echo frozen
  cat >/dev/null
  rm "$PLACE/frozen"
  echo let-go >>"$PLACE/journal" ;;
*) exit 64 ;;
esac
]]

local function scene(mode, options)
  local d = shared.directory()
  outside.write(d.root .. "/script", SCRIPT)
  assert(os.execute("chmod 755 " .. d.root .. "/script"))
  local o = { id = shared.id(1), name = "tape",
    command = { d.root .. "/script" },
    env = { PLACE = d.root, MODE = mode } }
  if mode ~= "speaks" then
    o.components = { { type = "filegroup", name = "all", files = { d.a } } }
  end
  for name, item in pairs(options or {}) do o[name] = item end
  local w = vss.command_writer(o)
  local t = setmetatable({ d = d, writer = w, frozen = d.root .. "/frozen" }, {
    __close = function()
      w:close()
      getmetatable(d).__close(d)
    end })
  function t.journal()
    return ((d.read(d.root .. "/journal") or ""):gsub("\n", " "))
  end
  function t.told(verb) return d.read(d.root .. "/told-" .. verb) end
  function t.shadow(more)
    local s = { paths = { d.a }, provider = "copy", state_dir = d.state }
    for name, item in pairs(more or {}) do s[name] = item end
    return vss.shadow(s)
  end
  return t
end

-- Of whom everything is said already nobody asks who it is.
local BACKUP = "prepare-backup prepare-snapshot freeze let-go post-snapshot "

describe("a program as a writer", function()
  it("names what is wrong with an option", function()
    local function raises(options)
      local ok, err = pcall(function() vss.command_writer(options) end)
      assert.is_false(ok)
      return tostring(err)
    end
    local id = shared.id(1)
    assert.match("'id' is missing", raises {})
    assert.match("'command' is missing", raises { id = id, name = "x" })
    assert.match("'command': table expected",
      raises { id = id, name = "x", command = "x" })
    assert.match("no option 'freeze'", raises { id = id, name = "x",
      command = { "true" }, freeze = print })
    assert.match("'env': { NAME = \"text\" } expected",
      raises { id = id, name = "x", command = { "true" }, env = { "x" } })
    raises { id = id, name = "x", command = {} }
    raises { id = "no guid", name = "x", command = { "true" } }
  end)

  it("hears each verb, and the end of its input is the thaw", function()
    local t <close> = scene "good"
    local set <close> = assert(t.shadow { type = "full" }:wait())
    assert.equal(BACKUP, t.journal())
    assert.equal("held", set[t.d.a].consistency)
    assert.equal("tape", set.writers[1].name)
    assert(set:backup_complete():wait())
    set:close()
    assert.equal(BACKUP .. "backup-complete backup-shutdown ", t.journal())
  end)

  it("is told what it is about, on a line", function()
    local t <close> = scene "good"
    local set <close> = assert(t.shadow():wait())
    local told = t.told "freeze"
    for _, text in ipairs { '"event":"freeze"', set.id, t.d.a, '"copy"',
      '"all"', '"deadline":' }
    do
      assert.is_truthy(told:find(text, 1, true), text .. " in " .. told)
    end
  end)

  it("speaks for itself when it can", function()
    local t <close> = scene "speaks"
    local s <close> = vss.components { state_dir = t.d.state }
    s:initialize_for_backup()
    assert(s:gather_writer_metadata():wait())
    local found = s:writers()[1]
    helper.contains({ id = shared.id(1), name = "script", way = "command" },
      found)
    assert.equal("main", found.components[1].name)
  end)

  it("runs where and as it is told", function()
    local t <close> = scene("good", { cwd = "/usr" })
    local gate, held = helper.gate()
    local seen
    local _ <close> = shared.writer(2, { level = "system", freeze = function()
      seen = t.d.read(t.frozen)
      held:wait()
    end })
    local op = t.shadow()
    shared.until_true(function() return seen end)
    gate:finish(0)
    assert(op:wait()):close()
    assert.equal("/usr\n", seen)
  end)

  it("holds for as long as it takes, not longer", function()
    local t <close> = scene "good"
    local gate, held = helper.gate()
    local seen
    -- The system's level is frozen last and thawed first: in between is all
    -- that the program has to hold for.
    local _ <close> = shared.writer(2, { level = "system",
      freeze = function()
        seen = t.journal()
        held:wait()
      end,
      thaw = function() seen = seen .. "; " .. t.journal() end })
    local op = t.shadow()
    shared.until_true(function() return seen end)
    assert.is_string(t.d.read(t.frozen))
    gate:finish(0)
    assert(op:wait()):close()
    local before = "prepare-backup prepare-snapshot freeze "
    assert.equal(before .. "; " .. before, seen)
    assert.is_nil(t.d.read(t.frozen))
  end)

  for mode, case in pairs {
    veto = { "the tape is not mounted", "VSS_E_WRITERERROR_NONRETRYABLE" },
    later = { "in use", "VSS_E_WRITERERROR_RETRYABLE" },
    broken = { "was not still", "VSS_E_WRITERERROR_NONRETRYABLE" },
  } do
    it("vetoes with its status, and says why: " .. mode, function()
      local t <close> = scene(mode)
      local ok, err = t.shadow():wait()
      assert.is_nil(ok)
      assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
      assert.match("tape", err.message)
      assert.match(case[1], err.message)
      assert.equal(case[2], err.cause.name)
      assert.match("abort", t.journal())
      assert.equal("", t.d.left())
    end)
  end

  it("lets go when the set is cancelled", function()
    local t <close> = scene "good"
    local _, held = helper.gate()
    local entered
    local _ <close> = shared.writer(2, { level = "system", freeze = function()
      entered = true
      held:wait()
    end })
    local op = t.shadow()
    shared.until_true(function() return entered end)
    assert.is_string(t.d.read(t.frozen))
    op:cancel()
    assert.is_nil((op:wait()))
    assert.is_nil(t.d.read(t.frozen))
    assert.match("let%-go .*abort", t.journal())
  end)

  it("lets go when its requester is killed", function()
    local t <close> = scene "good"
    local child <close> = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local vss = saros.vss
      w = vss.command_writer { id = %q, name = "tape", command = { %q },
        env = { PLACE = %q, MODE = "good" }, components = {
          { type = "filegroup", name = "all" } } }
      v = vss.writer { id = %q, name = "last", level = "system",
        freeze = function()
          print "frozen"
          io.stdout:flush()
          saros.sleep(1000):wait()
        end }
      vss.shadow { paths = { %q }, provider = "copy", state_dir = %q }:wait()
    ]]):format(shared.id(1), t.d.root .. "/script", t.d.root, shared.id(2),
      t.d.a, t.d.state))
    child:expect "frozen"
    assert.is_string(t.d.read(t.frozen))
    outside.system.kill(child.pid, 9)
    outside.eventually("it lets go", function()
      return not t.d.read(t.frozen)
    end)
    child:finish()
    local report = assert(vss.reap { state_dir = t.d.state }:wait())
    assert.equal(1, #report.shadows)
    assert.same({}, report.failed)
    assert.equal("", t.d.left())
  end)

  it("fails the set when it is not there", function()
    local t <close> = scene("good", { command = { "/nowhere/at/all" } })
    local ok, err = t.shadow():wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.match("tape", err.message)
    assert.match("/nowhere/at/all", err.message)
    assert.equal("", t.journal())
    assert.equal("", t.d.left())
    local set <close> = assert(t.shadow { on_veto = "ignore" }:wait())
    assert.equal("fuzzy", set[t.d.a].consistency)
  end)

  it("is not called any more when it is closed", function()
    local t <close> = scene "good"
    assert.is_true(t.writer:is_open())
    t.writer:close()
    assert(t.shadow():wait()):close()
    assert.equal("", t.journal())
  end)
end)
