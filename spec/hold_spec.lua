-- saros.hold: another program runs over shadows, by their own paths or by those
-- of the originals.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"
local volumes = require "spec.volumes" -- before anything is started

local saros = helper.saros
local hold = require "saros.hold"

local ROOT <const> = os.execute "test $(id -u) = 0"

local function scene()
  local d = shared.directory()
  function d.start(more)
    local o = { paths = { d.a }, provider = "copy", state_dir = d.state,
      stdin = "", stdout = "capture", stderr = "capture" }
    for name, item in pairs(more) do o[name] = item end
    return hold.start(o)
  end
  return d
end

local function sh(script, ...) return { "sh", "-c", script, "sh", ... } end

describe("saros.hold", function()
  describe("puts shadows into words", function()
    local set = { ["/a"] = { path = "/s/1" }, ["/b b"] = { path = "/s/2 2" } }
    local function words(command, paths)
      return hold.words(command, paths or { "/a", "/b b" }, set)
    end

    it("all of them, each a word of its own", function()
      assert.same({ "tar", "/s/1", "/s/2 2", "-v" }, words { "tar", "{}", "-v" })
    end)

    it("by number and by path", function()
      assert.same({ "x=/s/2 2", "/s/1/sub" }, words { "x={2}", "{/a}/sub" })
    end)

    it("the only one, within a word", function()
      assert.same({ "--from=/s/1/" }, words({ "--from={}/" }, { "/a" }))
    end)

    it("and leaves alone what is the command's", function()
      assert.same({ "{}", "{1}", "{a,b}", "${HOME}", "{/c}", "}{" },
        words { "{{}}", "{{1}}", "{a,b}", "${HOME}", "{/c}", "}{" })
    end)

    it("never as a pattern", function()
      local odd = { ["/%1"] = { path = "/s/%0%1" } }
      assert.same({ "/s/%0%1", "-/s/%0%1" }, hold.words({ "{}", "-{1}" },
        { "/%1" }, odd))
    end)
  end)

  it("refuses words that cannot be meant, before anything is done", function()
    local function raises(o)
      o.paths = o.paths or { "/a", "/b" }
      local ok, err = pcall(hold.start, o)
      assert.is_false(ok)
      return tostring(err)
    end
    assert.match("say {1}, {2}", raises { argv = { "x", "--from={}" } })
    assert.match("no path number 3", raises { argv = { "x", "{3}" } })
    assert.match("'argv' is empty", raises { argv = {} })
    assert.match("'cwd' is missing", raises { argv = { "x" }, in_place = true })
  end)

  it("runs a command over what was, and lets it go", function()
    local d <close> = scene()
    local r = assert(d.start { argv = sh([[
      echo three >"$SAROS_ORIGINAL_1/file"; cat "$1/file"
      test "$1" = "$SAROS_SHADOW_1" && echo "$SAROS_SHADOWS $SAROS_SET" ]],
      "{}") }:wait())
    assert.equal(("one\n1 %s\n"):format(r.set), r.stdout)
    assert.is_true(r.succeeded)
    assert.equal("three\n", d.read(d.a .. "/file"))
    assert.equal("", d.left())
  end)

  it("has the command's status, also of a signal and of none", function()
    local d <close> = scene()
    assert.equal(7, assert(d.start { argv = sh "exit 7" }:wait()).status)
    assert.equal(143, assert(d.start { argv = sh "kill -TERM $$" }:wait()).status)
    assert.equal(127, assert(d.start { argv = { "saros-nothing" } }:wait()).status)
    assert.equal(126, assert(d.start { argv = { d.a .. "/file" } }:wait()).status)
    assert.equal("", d.left())
  end)

  it("fails before the command when there is no shadow", function()
    local d <close> = scene()
    local r, err = d.start { paths = { d.a .. "/nothing" },
      argv = { "touch", d.root .. "/ran" } }:wait()
    assert.is_nil(r)
    assert.is_true(err.before)
    assert.is_nil(d.read(d.root .. "/ran"))
  end)

  it("lets writers go on while the command runs, and tells them", function()
    for status, verb in pairs { [0] = "true", [1] = "false" } do
      local d <close> = scene()
      local log, told = {}, nil
      local _ <close> = shared.writer(1, {
        components = { { type = "filegroup", name = "all", files = { d.a } } },
        backup_complete = function(e) told = #(e.succeeded or {}) end }, log)
      local r = assert(d.start { argv = { verb }, on_command = function()
        assert.equal("post_snapshot", log[#log])
      end }:wait())
      assert.equal(status, r.status)
      assert.equal(status == 0 and 1 or 0, told)
      assert.equal("", d.left())
    end
  end)

  it("ends the command with all it has started when it is cancelled", function()
    local d <close> = scene()
    local log = {}
    local _ <close> = shared.writer(1, {
      components = { { type = "filegroup", name = "all", files = { d.a } } },
    }, log)
    local op = d.start { argv = sh('sleep 1000 & echo $! >"$1"; wait',
      d.root .. "/pid") }
    shared.until_true(function()
      return (d.read(d.root .. "/pid") or ""):find "\n"
    end)
    op:cancel()
    local r, err = op:wait()
    assert.is_nil(r)
    assert.is_true(err.cancelled)
    local pid = d.read(d.root .. "/pid"):match "%d+"
    -- Dead; whoever reaps it may take his time.
    local stat = d.read("/proc/" .. pid .. "/stat")
    assert.match("^Z", stat and stat:match "%) (%a)" or "Z")
    assert.is_true(table.concat(log, " "):find "abort" ~= nil)
    assert.equal("", d.left())
  end)

  describe("in place", function()
    if not ROOT or volumes.missing then
      return pending(volumes.missing or "needs root")
    end

    it("shows shadows by the originals' names, to the command alone", function()
      local d <close> = scene()
      local r = assert(d.start { in_place = true, cwd = d.a, argv = sh(
        'cat file "$1/file"; pwd; findmnt -rno TARGET "$1"', d.a),
        on_command = function() outside.write(d.a .. "/file", "new\n") end,
      }:wait())
      assert.equal(("one\none\n%s\n%s\n"):format(d.a, d.a), r.stdout, r.stderr)
      assert.equal("new\n", d.read(d.a .. "/file"))
      assert.equal(1, select(2, volumes.run("findmnt -rno TARGET '%s'", d.a))
        and 0 or 1)
      assert.equal("", d.left())
    end)

    it("words are the command's own", function()
      local d <close> = scene()
      local r = assert(d.start { in_place = true, cwd = "/",
        argv = { "echo", "{}", "{9}" } }:wait())
      assert.equal("{} {9}\n", r.stdout)
    end)

    it("lays what lies in another one, and what hides another's shadow",
      function()
        local d <close> = scene()
        -- The state, with all shadows, lies in the first one.
        local state = d.root .. "/data/state"
        os.execute(("mkdir -m 700 '%s'; mkdir '%s/inner'; "
          .. "echo deep >'%s/inner/file'"):format(state, d.a, d.a))
        local v <close>, why = volumes.make("btrfs", 128,
          { directory = d.root })
        if not v then return pending(why) end
        outside.write(v.path .. "/file", "other\n")
        assert(select(2, volumes.run("mount --bind '%s' '%s/inner'", v.path,
          d.a)))
        local r = assert(hold.start { paths = { d.a .. "/inner", d.a, d.b },
          provider = { [d.a] = "copy", [d.b] = "copy",
            [d.a .. "/inner"] = "btrfs" },
          state_dir = state, in_place = true, cwd = d.a .. "/inner",
          stdin = "", stdout = "capture", stderr = "stdout",
          argv = sh('cat file "$1/file" "$2/file"', d.a, d.b),
          on_command = function()
            for _, path in ipairs { d.a, d.b, v.path } do
              outside.write(path .. "/file", "new\n")
            end
          end }:wait())
        assert.equal("other\none\ntwo\n", r.stdout)
        volumes.unmount(d.root)
      end)

    it("says which step could not be taken, and runs nothing", function()
      local said, how, status = outside.run(
        require "saros.beside" "over", "--lay", "/nowhere/s", "/nowhere/o",
        "--", "echo", "ran")
      assert.same({ "exit", 125 }, { how, status })
      assert.match("over: cannot take hold of the shadow.*/nowhere/s", said)
      assert.is_nil(said:find("ran", 1, true))
      for _, words in ipairs { { "--lay", "/a" }, { "--what" }, { "--" }, {} } do
        said, how, status = outside.run(require "saros.beside" "over",
          table.unpack(words))
        assert.same({ "exit", 125 }, { how, status }, said)
      end
    end)

    it("has the shell's status for what cannot be run", function()
      local d <close> = scene()
      local function status(word)
        return assert(d.start { in_place = true, cwd = "/",
          argv = { word } }:wait()).status
      end
      assert.equal(127, status "saros-nothing")
      assert.equal(126, status(d.b .. "/file"))
    end)
  end)
end)

describe("a process in the foreground", function()
  local function on_terminal(script)
    return outside.terminal("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e",
      'saros = require "saros"\n' .. script)
  end

  it("reads from the terminal, which is ours again afterwards", function()
    local p <close> = on_terminal [[
      saros.run(function()
        local r = assert(saros.process { foreground = true, stdin = "inherit",
          stdout = "inherit", argv = { "sh", "-c",
          "stty -echo; echo ready; read x; echo \"<$x>\"" } }:wait())
        print "mine"
        print("[" .. io.read() .. "]")
      end)]]
    p:expect "ready"
    p:write "secret\n"
    p:expect "<secret>"
    p:expect "mine"
    p:write "hello\n"
    p:expect "hello" -- there is an echo again
    p:expect "[hello]"
    local _, how, status = p:finish()
    assert.same({ "exit", 0 }, { how, status })
  end)

  it("is whom Ctrl-C is for", function()
    local p <close> = on_terminal [[
      saros.run(function()
        local r = assert(saros.process { foreground = true, stdin = "inherit",
          stdout = "inherit", any_status = true,
          argv = { "cat" } }:wait())
        print("status " .. r.status)
      end)]]
    -- A shell that says something and then starts another program has a moment
    -- where it loses the key.
    p:write "there\n"
    p:expect "there" -- the terminal's
    p:expect "there" -- its own
    p:write "\3"
    p:expect "status 130"
    local _, how, status = p:finish()
    assert.same({ "exit", 0 }, { how, status })
  end)

  it("gives it back when there was no such program", function()
    local p <close> = on_terminal [[
      saros.run(function()
        print(saros.process { foreground = true, argv = { "saros-nothing" } }
          :wait())
        print("[" .. io.read() .. "]")
      end)]]
    p:expect "saros-nothing"
    p:write "x\n"
    p:expect "[x]"
  end)

  it("leaves it to a shell that has taken it meanwhile", function()
    outside.directory(function(root)
      assert(os.execute(("mkfifo '%s/go'"):format(root)))
      outside.write(root .. "/p.lua", ([[
        local saros = require "saros"
        assert(saros.process { foreground = true, stdin = "inherit",
          stdout = "inherit", argv = { "sh", "-c",
            "kill -STOP $PPID; read x <%s/go" } }:wait())]]):format(root))
      -- Stopped from outside, it goes on in the background, and ends there.
      local p <close> = outside.terminal("env", "LUA_PATH=" .. outside.lua_path,
        "LUA_CPATH=" .. outside.lua_cpath, "sh", "-c", ([[
          set -m
          %s %s/p.lua
          bg >/dev/null; echo on >%s/go; wait
          of() { env -u LD_PRELOAD ps -o $1= -p $$; } # hangs with a sanitizer
          test $(of tpgid) = $(of pgid) && echo mine || echo lost
        ]]):format(outside.lua, root, root))
      local said, how, status = p:finish()
      assert.same({ "exit", 0 }, { how, status }, said)
      assert.truthy(said:find("mine", 1, true), said)
    end)
  end)

  it("needs no terminal", function()
    assert(saros.process { foreground = true, argv = { "true" } }:wait())
  end)
end)
