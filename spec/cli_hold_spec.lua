-- saros hold: other backup programs over shadows, as somebody calls it.
local cli = require "spec.cli"
require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"
local volumes = require "spec.volumes" -- before anything is started

local ROOT <const> = os.execute "test $(id -u) = 0"

-- A directory of the test's own, and the verb with its state there.
local function scene()
  local d = shared.directory()
  function d.env(more)
    local env = { SAROS_STATE_DIR = d.state }
    for name, item in pairs(more or {}) do env[name] = item end
    return env
  end
  function d.hold(code, argv, more)
    more = more or {}
    more.env = d.env(more.env)
    return cli.ends(code, { "hold", table.unpack(argv) }, more)
  end
  function d.records()
    local list = {}
    for _, run in ipairs(require "saros.record".list {
      state_dir = d.state }) do
      list[#list + 1] = run
    end
    return list
  end
  return d
end

local function on_terminal(d, ...)
  return outside.terminal("env", "-u", "NO_COLOR", "TERM=xterm",
    "SAROS_STATE_DIR=" .. d.state, "SAROS_CONFIG=/dev/null", cli.program, ...)
end

describe("saros hold", function()
  it("runs a command over the shadows, and has its exit code", function()
    local d <close> = scene()
    local r = d.hold(0, { d.a, d.b, "--", "sh", "-c",
      'cat "$1/file" "$2/file" "$SAROS_SHADOW_2/file"', "sh", "{1}",
      "{" .. d.b .. "}" })
    assert.equal("one\ntwo\ntwo\n", r.out)
    assert.match("held still for", r.err)
    d.hold(7, { d.a, "--", "sh", "-c", "exit 7" })
    d.hold(143, { d.a, "--", "sh", "-c", "kill -TERM $$" })
    assert.match("saros%-nothing", d.hold(127, { d.a, "--", "saros-nothing" }).err)
    d.hold(126, { d.a, "--", d.a .. "/file" })
    assert.equal("", d.left())
  end)

  it("has 125 where there is no shadow, and nothing has run", function()
    local d <close> = scene()
    local r = d.hold(125, { d.a .. "/none", "--", "touch", d.root .. "/ran" })
    assert.match("/none: No such file", r.err)
    assert.is_nil(d.read(d.root .. "/ran"))
    r = d.hold(125, { "--require", "nobody", d.a, "--", "true" })
    assert.match("nobody", r.err)
  end)

  it("has 125 where no record can be written, or on a full disk", function()
    local d <close> = scene()
    os.execute(("mkdir -m 777 '%s/bad'; chmod 777 '%s/bad'"):format(d.root,
      d.root))
    local r = d.hold(125, { "--state-dir", d.root .. "/bad/x", d.a, "--",
      "touch", d.root .. "/ran" })
    assert.match("can write to", r.err)
    local v <close>, why = volumes.make("ext4", 8)
    if not v then return pending(why) end
    volumes.run("chmod 700 '%s'; head -c 20M /dev/zero >'%s/full'", v.path,
      v.path)
    r = d.hold(125, { "--state-dir", v.path, d.a, "--", "touch",
      d.root .. "/ran" })
    assert.is_true(#r.err > 0)
    assert.is_nil(d.read(d.root .. "/ran"))
  end)

  it("says what is missing in a call", function()
    local d <close> = scene()
    for _, wrong in ipairs {
      { { d.a, "ls" }, "%-%- and a command are missing" },
      { { "--", "ls" }, "of what" },
      { { d.a, "--" }, "a command is missing" },
      { { d.a, d.a, "--", "ls" }, "twice" },
      { { d.a, d.b, "--", "x={}" }, "say {1}" },
      { { d.a, "--", "{2}" }, "no path number 2" },
      { { d.a, "--provider", "zfs", "--", "ls" }, "one of btrfs" },
      { { "--inplace", d.a, "--", "ls" }, "%-%-in%-place' perhaps" },
    } do
      assert.match(wrong[2], d.hold(2, wrong[1]).err)
    end
    assert.same({}, d.records())
  end)

  it("gives the command what it is given", function()
    local d <close> = scene()
    local r = d.hold(0, { d.a, "--", "cat" }, { stdin = "from a pipe\n" })
    assert.equal("from a pipe\n", r.out)
    -- Options of the command are its own, and so are relative paths.
    r = d.hold(0, { "a", "--", "sh", "-c", 'echo "$@"; pwd', "sh", "--json",
      "-q", "--", "x" }, { cwd = d.root .. "/data", env = {
      PWD = d.root .. "/data" } })
    assert.equal("--json -q -- x\n" .. d.root .. "/data\n", r.out)
  end)

  it("tells programs what it does, apart from what the command says", function()
    local d <close> = scene()
    local core = require "saros.core"
    local r = d.hold(3, { "--json", d.a, "--", "sh", "-c",
      "echo out; echo err >&2; exit 3" })
    local lines = {}
    for line in r.out:gmatch "[^\n]+" do
      lines[#lines + 1] = assert(core.json_read(line), line)
    end
    assert.equal("shadow", lines[1].type)
    assert.equal(d.a, lines[1].original)
    assert.equal("summary", lines[#lines].type)
    assert.equal(3, lines[#lines].status)
    assert.match("out\nerr\n", r.err)
    r = d.hold(125, { "--json", d.a .. "/none", "--", "true" })
    assert.equal("error", core.json_read(r.out).type)
  end)

  it("lets nobody's name move a cursor", function()
    local d <close> = scene()
    local odd = d.root .. "/data/a\27[2J\nx"
    os.execute(("mkdir '%s' && echo odd >'%s/file'"):format(odd, odd))
    local r = d.hold(0, { odd, "--", "cat", "{}/file" })
    assert.equal("odd\n", r.out)
    assert.is_nil(r.err:find("\27", 1, true))
    assert.match("\\x1b%[2J", r.err)
  end)

  it("leaves a record, without the words of the command", function()
    local d <close> = scene()
    d.hold(0, { "--name", "tape", d.a, "--", "sh", "-c", "true secret" })
    d.hold(4, { "--name", "tape", d.a, "--", "sh", "-c", "exit 4" })
    local list = d.records()
    assert.same({ "failed", "succeeded" }, { list[1].state, list[2].state })
    assert.equal("tape", list[2].name)
    assert.match("status 4", list[1].error.message)
    local text = d.read(list[2].path)
    assert.is_nil(text:find("secret", 1, true))
    local run = require "saros.record".read(list[2].path)
    assert.equal(1, #run.held)
    assert.equal("command", run.ops[2].name)
  end)

  it("ends the command when it is told to, and leaves nothing", function()
    local d <close> = scene()
    local p <close> = outside.start("env", "SAROS_STATE_DIR=" .. d.state,
      "SAROS_CONFIG=/dev/null", cli.program, "hold", d.a, "--", "sh", "-c",
      "echo ready; exec sleep 1000")
    p:expect "ready"
    outside.system.kill(p.pid, 15)
    local said, how, status = p:finish()
    assert.same({ "exit", 130 }, { how, status }, said)
    assert.equal("", d.left())
    assert.equal("cancelled", d.records()[1].state)
  end)

  it("killed, it takes the command with it, and the next one the rest",
    function()
      local d <close> = scene()
      local p <close> = outside.start("env", "SAROS_STATE_DIR=" .. d.state,
        "SAROS_CONFIG=/dev/null", cli.program, "hold", d.a, "--", "sh", "-c",
        "echo $$ ready; exec sleep 1000")
      local pid = p:expect " ready":match "%d+%s*$"
      outside.system.kill(p.pid, 9)
      p:finish()
      outside.eventually("the command is dead", function()
        local stat = d.read("/proc/" .. pid:match "%d+" .. "/stat")
        return not stat or stat:match "%) Z"
      end)
      assert.is_true(d.left() ~= "")
      assert.equal("interrupted", d.records()[1].state)
      d.hold(0, { d.a, "--", "true" })
      assert.equal("", d.left())
    end)

  describe("on a terminal", function()
    it("lends it to the command: it asks, and Ctrl-C is for it", function()
      local d <close> = scene()
      -- (No shell: while it starts another program it loses the key.)
      local p <close> = on_terminal(d, "hold", d.a, "--", "perl", "-e", [[
        $| = 1; print "password: "; $x = <STDIN>; chomp $x; print "<$x>\n";
        $SIG{INT} = sub { print "caught\n"; exit 9 };
        print "ready\n"; sleep 1 while 1]])
      p:expect "password: "
      p:write "secret\n"
      p:expect "<secret>"
      p:expect "ready"
      p:write "\3"
      p:expect "caught"
      local said, how, status = p:finish()
      assert.same({ "exit", 9 }, { how, status }, said)
      assert.equal("", d.left())
    end)

    it("has no command that stops, nor one that misses the window's size",
      function()
      local d <close> = scene()
      -- As an editor's :stop does it, and as somebody moves the window's corner.
      local p <close> = on_terminal(d, "hold", d.a, "--", "perl", "-e", [[
        $| = 1; $SIG{WINCH} = sub { print "now ", `stty size`; $n = 1 };
        print "ready\n"; kill TSTP => 0; print "goes on\n";
        system "stty rows 31 columns 97"; sleep 1 until $n; exit 5]])
      for _, text in ipairs { "ready", "goes on", "now 31 97" } do
        p:expect(text)
      end
      local said, how, status = p:finish()
      assert.same({ "exit", 5 }, { how, status }, said)
      assert.equal("", d.left())
    end)

    it("is interrupted itself before the command runs", function()
      local d <close> = scene()
      local w <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
        "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e", ([[
          local saros = require "saros"
          io.stdout:setvbuf "no"
          local w = saros.vss.writer { id = %q, name = "slow", listen = true,
            state_dir = %q, components = { { type = "filegroup", name = "all",
              files = { %q } } },
            prepare_snapshot = function()
              print "preparing"
              saros.sleep(1000):wait()
            end }
          print "listening"
          saros.sleep(1000):wait()
        ]]):format(shared.id(1), d.state, d.a))
      w:expect "listening"
      local p <close> = on_terminal(d, "hold", d.a, "--", "touch",
        d.root .. "/ran")
      w:expect "preparing"
      p:write "\3"
      local said, how, status = p:finish()
      assert.same({ "exit", 130 }, { how, status }, said)
      assert.match("interrupted: undoing", said)
      assert.is_nil(d.read(d.root .. "/ran"))
      assert.equal("", d.left())
    end)
  end)

  it("lets borg back up what is in place", function()
    if not ROOT then return pending "needs root" end
    if not outside.installed "borg" then return pending "borg is not installed" end
    local d <close> = scene()
    local env = { BORG_BASE_DIR = d.root .. "/borg",
      BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK = "yes",
      BORG_RELOCATED_REPO_ACCESS_IS_OK = "yes" }
    local function borg(...)
      local said, how, status = outside.run("env", "BORG_BASE_DIR="
        .. env.BORG_BASE_DIR, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes",
        "borg", ...)
      assert.same({ "exit", 0 }, { how, status }, said)
      return said
    end
    local repo = d.root .. "/repo"
    borg("init", "-e", "none", repo)
    d.hold(0, { "-i", d.a, "--provider", "copy", "--", "borg", "create",
      repo .. "::one", d.a }, { env = env })
    d.hold(0, { "-i", d.a, "--provider", "copy", "--", "borg", "create",
      repo .. "::{hostname}-{now}", d.a }, { env = env })
    -- What the originals say meanwhile is not in there.
    d.hold(0, { "-i", d.a, "--provider", "copy", "--", "sh", "-c",
      'echo more >"$1/file" && exit 99; borg create "$2::two" "$1"', "sh", d.a,
      repo }, { env = env })
    for _, name in ipairs { "::one", "::two" } do
      assert.equal("one\n", borg("extract", "--stdout", repo .. name,
        d.a:sub(2) .. "/file"))
    end
    d.hold(2, { "-i", d.a, "--", "borg", "create", repo .. "::two", d.a },
      { env = env })
    assert.equal("", d.left())
  end)

  it("lends btrfs a shadow to send", function()
    if not ROOT then return pending "needs root" end
    local d <close> = scene()
    local v <close>, why = volumes.make("btrfs", 160)
    if not v then return pending(why) end
    assert(select(2, volumes.run("btrfs subvolume create '%s/data' && "
      .. "mkdir '%s/received'", v.path, v.path)))
    outside.write(v.path .. "/data/file", "sent\n")
    d.hold(0, { v.path .. "/data", "--", "sh", "-c",
      'btrfs -q send "$1" | btrfs -q receive "$2"', "sh", "{}",
      v.path .. "/received" })
    assert.equal("sent\n", (volumes.run("cat '%s'/received/*/file", v.path)))
    assert.equal("", d.left())
  end)

  describe("with restic", function()
    if not ROOT or volumes.missing then
      return pending(volumes.missing or "needs root")
    elseif not outside.installed "restic" then
      return pending "restic is not installed"
    end

    local env <const> = { RESTIC_PASSWORD = "x", RESTIC_REPOSITORY = false,
      XDG_CACHE_HOME = "/nonexistent", RESTIC_CACHE_DIR = false }

    local function restic(d, ...)
      return outside.run("env", "RESTIC_PASSWORD=x", "restic", "--no-cache",
        "-r", d.root .. "/repo", ...)
    end

    it("backs up a subvolume of btrfs as it was, by its own paths and in place",
      function()
        local d <close> = scene()
        local v <close>, why = volumes.make("btrfs", 160)
        if not v then return pending(why) end
        local data = v.path .. "/data"
        assert(select(2, volumes.run(
          "btrfs subvolume create '%s' && btrfs subvolume create '%s/inner'",
          data, data)))
        outside.write(data .. "/file", "before\n")
        outside.write(data .. "/inner/file", "inner\n")
        assert.equal(0, select(3, restic(d, "init")))
        local r = d.hold(0, { "--in-place", data, data .. "/inner", "--", "sh",
          "-c", [[echo after >"$SAROS_SHADOW_1/file" 2>/dev/null && exit 99
            restic --no-cache -r "$1" backup "$2"]], "sh", d.root .. "/repo",
          data }, { env = env })
        -- The command sees no way to the original: it is changed from here.
        outside.write(data .. "/file", "after\n")
        assert.match("2 new", r.out)
        assert.equal("before\n", (restic(d, "dump", "latest",
          data .. "/file")))
        assert.equal("inner\n", (restic(d, "dump", "latest",
          data .. "/inner/file")))
        -- The paths are the same: nothing is new the second time.
        outside.write(data .. "/file", "before\n")
        r = d.hold(0, { "-i", data, data .. "/inner", "--", "restic",
          "--no-cache", "-r", d.root .. "/repo", "backup", data },
          { env = env, cwd = data })
        assert.match("using parent", r.out)
        -- By the shadow's own path.
        r = d.hold(0, { data, "--", "restic", "--no-cache", "-r",
          d.root .. "/repo", "backup", "{}" }, { env = env })
        assert.match("snapshot %x+ saved", r.out)
        assert.equal("", volumes.run("ls -A '%s/.saros' 2>/dev/null", v.path))
        assert.equal("", d.left())
      end)

    it("has restic's exit code, and leaves nothing when it fails", function()
      local d <close> = scene()
      d.hold(1, { d.a, "--", "restic", "--no-cache", "-r", d.root .. "/none",
        "backup", "{}" }, { env = env })
      assert.equal("", d.left())
      assert.equal("failed", d.records()[1].state)
    end)

    it("warns of what is mounted below, and is in no shadow", function()
      local d <close> = scene()
      local v <close>, why = volumes.make("ext4", 16)
      if not v then return pending(why) end
      os.execute(("mkdir '%s/more'"):format(d.a))
      assert(select(2, volumes.run("mount --bind '%s' '%s/more'", v.path, d.a)))
      local r = d.hold(0, { d.a, "--", "true" })
      assert.match("/more is another file system", r.err)
      r = d.hold(0, { d.a, d.a .. "/more", "--", "true" })
      assert.is_nil(r.err:find("is another file system", 1, true))
      volumes.unmount(d.root)
    end)
  end)

  it("opens the writers of a workflow, and takes its paths", function()
    if not pcall(require, "saros.client.sqlite") then
      return pending "saros.client.sqlite is not in this build"
    end
    local d <close> = scene()
    local db <close> = require "saros.client.sqlite".open {
      path = d.a .. "/app.db", create = true }
    assert(db:exec "CREATE TABLE t (n)":wait())
    db:close()
    local config = d.root .. "/config.lua"
    outside.write(config, ([[workflow "nightly" { sources = { %q },
      to = %q, password = { file = "/dev/null" },
      writers = { sqlite = { databases = { %q } } } }]]):format(d.a,
      d.root .. "/repo", d.a .. "/app.db"))
    os.execute(("chmod 600 '%s'; chmod 755 '%s'"):format(config, d.root))
    local env = { SAROS_CONFIG = config, SAROS_STATE_DIR = d.state }
    d.hold(0, { "--workflow", "nightly", "--require", "sqlite", "--", "test",
      "-f", "{}/app.db" }, { env = env })
    local run = require "saros.record".read(d.records()[1].path)
    assert.equal("sqlite", run.held[1].writers[1].name)
    local r = cli.ends(0, { "writers", "-w", "nightly", "--test" },
      { env = env })
    assert.match("sqlite +ok", r.out)
    r = cli.ends(0, { "shadows", "take", "-w", "nightly" }, { env = env })
    assert.match(d.a:gsub("%p", "%%%0"), r.out)
    cli.ends(0, { "shadows", "prune", "--keep-last", "0" }, { env = env })
    assert.match("perhaps", d.hold(4, { "-w", "nightlY", "--", "true" },
      { env = env }).err)
    assert.equal("", d.left())
  end)

  it("in place needs root, and says so", function()
    if not ROOT or not outside.installed "setpriv" then
      return pending "needs root and setpriv"
    end
    local d <close> = scene()
    os.execute(("chmod 755 '%s' '%s/data'; mkdir -m 700 '%s/his'; "
      .. "chown 65534 '%s/his'"):format(d.root, d.root, d.root, d.root))
    local said, how, status = outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", "env", "SAROS_CONFIG=/dev/null",
      "SAROS_STATE_DIR=" .. d.root .. "/his", cli.program, "hold", "-i", d.a,
      "--", "echo", "ran")
    assert.same({ "exit", 125 }, { how, status }, said)
    assert.match("CAP_SYS_ADMIN", said)
    assert.is_nil(said:find("ran\n", 1, true))
  end)
end)
