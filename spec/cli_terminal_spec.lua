-- The command line on a terminal: what is drawn, how wide, and what Ctrl-C does
-- at any moment.
local cli = require "spec.cli"
local outside = require "spec.outside"
local screen = require "spec.screen"
local shared = require "spec.repository"
local term = require "saros.term"
local core = require "spec.helper".core

local system = outside.system
local CTRL_C <const>, CTRL_Z <const> = "\3", "\26"

if shared.missing then
  describe("a terminal", function() pending(shared.missing) end)
  return
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- The program on a terminal of so many columns; `input` is a path.
local function on_terminal(p, argv, o)
  o = o or {}
  local words = {}
  for i, word in ipairs(argv) do words[i] = quoted(word) end
  return outside.terminal(o.shell or "sh", "-c", ("stty cols %d; cd %s; %s env -u "
    .. "RESTIC_REPOSITORY -u RESTIC_PASSWORD -u RESTIC_PASSWORD_FILE -u NO_COLOR "
    .. "-u COLUMNS HOME=%s SAROS_STATE_DIR=$PWD XDG_CONFIG_HOME=/dev/null SAROS_CONFIG=/dev/null "
    .. "TERM=xterm %s %s %s %s %s"):format(o.columns or 80, quoted(p.root),
    o.behind and "set -m;" or "exec", quoted(p.root), o.env or "",
    quoted(cli.program), table.concat(words, " "),
    o.input and "<" .. quoted(o.input) or "",
    o.behind or ""))
end

local function with(f)
  local root <close> = cli.scratch()
  local p = { root = root.path, fifo = root.path .. "/fifo" }
  assert(os.execute(("cd '%s' && mkdir src && mkfifo fifo && printf x >password")
    :format(p.root)))
  shared.cheap_at(p.root .. "/r", "x")
  return f(p)
end

-- A backup that goes on until the pipe is closed: the process, and the pipe.
local function held(p, name, o)
  o = o or {}
  o.input = p.fifo
  local process = on_terminal(p, { "backup", "-r", "r", "-p", "password",
    "--stdin", name or "stream", o.json and "--json" or nil }, o)
  local pipe = assert(io.open(p.fifo, "w")) -- when it has been opened there
  return process, pipe
end

-- The lines that were drawn, as a terminal would show them; without the ^C that
-- it shows itself, wherever that came between.
local function drawn(text)
  local lines = {}
  for line in text:gsub("%^C", ""):gmatch "([^\r\n]*)\27%[K" do
    lines[#lines + 1] = (line:gsub("\27%[[%d;]*[A-Za-z]", ""))
  end
  return lines
end

-- Waits until a line is drawn that has this (plain) text.
local function until_drawn(process, text)
  while true do
    for _, line in ipairs(drawn(process.output)) do
      if line:find(text, 1, true) then return end
    end
    assert(process:read(outside.patience), "it ended:\n" .. process.output)
  end
end

local function check(p)
  cli.ends(0, { "check", "-r", p.root .. "/r", "-p", p.root .. "/password",
    "--read-data" })
  local repo <close> = shared.repository.open { location = p.root .. "/r",
    password = "x" }
  assert.equal(0, #repo:locks())
  return #repo:versions()
end

describe("progress", function()
  it("is a line in its place, which goes", function()
    with(function(p)
      local process <close>, pipe = held(p)
      pipe:write(("x"):rep(3000000))
      pipe:flush()
      until_drawn(process, "backing up")
      assert.is_truthy(process.output:find("\27[1m", 1, true)) -- colour
      pipe:close()
      local text, how, code = process:finish()
      assert.equal("exit", how)
      assert.equal(0, code, text)
      assert.is_truthy(text:find("\r\27[J", 1, true) or text:find("A\27[J", 1, true))
      assert.matches("\nversion %x+", (text:gsub("\27%[[%d;]*[A-Za-z]", "\n")))
      assert.equal(1, check(p))
    end)
  end)

  it("fits 20 columns, whatever the names are", function()
    with(function(p)
      local name = "漢字漢字\27[2J漢字\xff漢字漢字漢字漢字漢字漢字漢字"
      assert(os.execute(("head -c 20000000 /dev/urandom >%s"):format(
        quoted(p.root .. "/src/" .. name))))
      for _, columns in ipairs { 20, 33, 79 } do
        local process <close> = on_terminal(p, { "backup", "src", "-r", "r", "-p",
          "password", "--limit-upload", "50K", "--force" }, { columns = columns })
        until_drawn(process, columns == 79 and "字漢字漢字" or "backup")
        process:write(CTRL_C)
        local text, _, code = process:finish()
        assert.equal(130, code, text)
        for _, line in ipairs(drawn(text)) do
          assert.is_true(term.columns(line) < columns, line)
          assert.is_truthy(utf8.len(line), line)
        end
        assert.is_nil(text:find("\27[2J", 1, true))
      end
    end)
  end)

  it("has no colours where none are wanted", function()
    with(function(p)
      local process <close>, pipe = held(p, nil, { env = "NO_COLOR=1" })
      pipe:write(("x"):rep(3000000))
      pipe:flush()
      until_drawn(process, "backup")
      pipe:close()
      assert.is_nil(process:finish():find("\27%[%d*m"))
    end)
  end)

  it("is not drawn where it cannot be", function()
    with(function(p)
      local process <close>, pipe = held(p, nil, { env = "TERM=dumb" })
      pipe:close()
      local text, _, code = process:finish()
      assert.equal(0, code)
      assert.is_nil(text:find "\27")
      local r = cli.ends(0, { "backup", p.root .. "/src", "-r", p.root .. "/r",
        "-p", p.root .. "/password" })
      assert.is_nil((r.out .. r.err):find "[\27\r]")
    end)
  end)

  it("ends with what is printed, where that goes through a pipe", function()
    with(function(p)
      for _, reader in ipairs { "cat", "head -n 3" } do
        local process <close> = on_terminal(p, { "doctor", "--quick", "--scratch",
          p.root }, { behind = "| " .. reader .. "; echo ${PIPESTATUS[0]}",
          shell = "bash" })
        local text = process:finish()
        local before, behind, code = text:match
          "^(.-)This machine\r\n(.*)\r\n(%d+)\r\n$"
        assert.is_truthy(behind, text)
        assert.is_true(before == "" or before:sub(-4) == "\r\27[J", text)
        assert.is_nil(behind:find "\27", text)
        assert.is_nil(behind:find("saros:", 1, true), text)
        -- Who reads may be late, and all has been written before he goes.
        assert.is_true(code == "0" or code == "1"
          or code == "141" and reader ~= "cat", text)
      end
    end)
  end)

  it("follows the width of the terminal", function()
    with(function(p)
      local process <close>, pipe = held(p)
      until_drawn(process, "backing up")
      -- Whoever is on that terminal makes it narrow.
      assert(os.execute(("stty cols 20 </proc/%d/fd/2"):format(process.pid)))
      local before = #process.output
      outside.eventually("it is drawn anew", function()
        process:read(outside.patience)
        local last = drawn(process.output:sub(before + 1))
        return #last > 1 and term.columns(last[#last]) < 20
      end)
      pipe:close()
      assert.equal(0, (select(3, process:finish())))
    end)
  end)
end)

describe("a password", function()
  it("is asked for, and not shown", function()
    with(function(p)
      local process <close> = on_terminal(p, { "versions", "-r", "r" })
      process:expect "password of r: "
      process:write "x\n"
      local text, _, code = process:finish()
      assert.equal(0, code, text)
      assert.is_nil(text:find("x", 1, true))
    end)
  end)

  it("need not be given", function()
    with(function(p)
      local process <close> = on_terminal(p, { "versions", "-r", "r" })
      process:expect "password of r: "
      process:write(CTRL_C)
      local text, how, code = process:finish()
      assert.equal("exit", how)
      assert.equal(130, code, text)
    end)
  end)
end)

describe("Ctrl-Z", function()
  it("takes what is drawn away, and draws it again", function()
    with(function(p)
      local process <close>, pipe = held(p, nil, { behind =
        "; echo has stopped; read x; fg >/dev/null; echo code $?" })
      pipe:write(("x"):rep(3000000))
      pipe:flush()
      until_drawn(process, "backing up")
      process:write(CTRL_Z)
      process:expect "has stopped"
      local shows = screen.new(80)
      shows:feed(process.output)
      assert.is_nil(shows:text():find("backing up", 1, true), shows:text())
      local before = #drawn(process.output)
      process:write "on\n"
      repeat assert(process:read(outside.patience), process.output)
      until #drawn(process.output) > before
      pipe:close()
      local text = process:finish()
      assert.matches("code 0", text)
      assert.equal(1, check(p))
    end)
  end)

  it("leaves no terminal that shows nothing, at a password", function()
    with(function(p)
      local process <close> = on_terminal(p, { "versions", "-r", "r" }, { behind =
        "; stty -a | grep -o '[ -]echo ' | tr ' ' '+'; read x; fg >/dev/null; echo code $?" })
      process:expect "password of r: "
      process:write(CTRL_Z)
      process:expect "+echo+"
      process:write "on\n"
      process:expect "password of r: "
      process:write "x\n"
      assert.matches("code 0", process:finish())
    end)
  end)

  it("draws nothing in the background", function()
    with(function(p)
      local process <close>, pipe = held(p, nil, {
        behind = "& wait $!; echo code $?" })
      pipe:write(("x"):rep(3000000))
      pipe:close()
      local text = process:finish()
      assert.matches("code 0", text)
      assert.same({}, drawn(text))
      assert.equal(1, check(p))
    end)
  end)
end)

describe("Ctrl-C", function()
  it("cancels, and says so", function()
    with(function(p)
      local process <close>, pipe = held(p)
      pipe:write(("x"):rep(3000000))
      pipe:flush()
      until_drawn(process, "backing up")
      process:write(CTRL_C)
      process:expect "interrupted: undoing what was begun (backup"
      local text, how, code = process:finish()
      pipe:close()
      assert.equal("exit", how)
      assert.equal(130, code, text)
      assert.matches("undone", text)
      assert.equal(0, check(p))
    end)
  end)

  it("is told to programs, as the last line", function()
    with(function(p)
      local process <close>, pipe = held(p, nil, { json = true })
      pipe:write "x"
      pipe:flush()
      repeat
        assert(process:read(outside.patience), process.output)
      until process.output:find('"type":"progress"', 1, true)
      process:write(CTRL_C)
      local text, how, code = process:finish()
      pipe:close()
      assert.same({ "exit", 130 }, { how, code }, text)
      local last
      for line in text:gmatch "{[^\r\n]*}" do last = core.json_read(line) end
      assert.same({ "error", 130 }, { last.type, last.exit_code })
    end)
  end)

  it("twice says what is left, and leaves", function()
    with(function(p)
      outside.write(p.root .. "/f.lua", [[
        local saros = require "saros"
        print "begun"
        pcall(function() saros.sleep(1000):wait() end)
        print "unwinding"
        saros.sleep(1000):wait()]])
      local process <close> = on_terminal(p, { "run", p.root .. "/f.lua" })
      process:expect "begun"
      process:write(CTRL_C)
      process:expect "interrupted"
      process:expect "unwinding"
      process:write(CTRL_C)
      process:expect "left in the middle of undoing"
      local _, how, code = process:finish()
      assert.equal("exit", how)
      assert.equal(130, code)
    end)
  end)

  it("three times ends what does not listen", function()
    with(function(p)
      outside.write(p.root .. "/f.lua", "io.write 'begun' io.flush() while true do end")
      local process <close> = on_terminal(p, { "run", p.root .. "/f.lua" })
      process:expect "begun"
      local over
      repeat -- two at once are one
        pcall(process.write, process, CTRL_C)
        local ok, more
        repeat -- to the end of what is echoed
          ok, more = pcall(process.read, process, 0.05)
        until not ok or not more
        over = ok
      until over
      local _, how, number = process:finish()
      assert.equal("signal", how)
      assert.equal(2, number)
    end)
  end)

  it("is right at any moment", function()
    with(function(p)
      assert(os.execute(("head -c 20000000 /dev/urandom >'%s/src/large'")
        :format(p.root)))
      math.randomseed(20261123)
      local rounds = os.getenv "SAROS_LONG" and 100
        or os.getenv "SAROS_QUICK" and 3 or 8
      local versions = 0
      for _ = 1, rounds do
        local process <close> = on_terminal(p, { "backup", "src", "--force", "-r",
          "r", "-p", "password" })
        local after = math.random(0, 400)
        system.read(-1, after) -- sleeps; there is no such descriptor
        process:write(CTRL_C)
        local text, how, code = process:finish()
        if how == "exit" and code == 0 then versions = versions + 1 end
        -- Before it could listen, a terminal ends it as any other program.
        assert.is_true(how == "signal" and code == 2
          or code == 0 or code == 130, ("%s %s after %d ms:\n%s"):format(how,
          tostring(code), after, text))
      end
      assert.equal(versions, check(p))
    end)
  end)

  it("when a version is written is too late, and earlier is early enough",
    function()
      with(function(p)
        outside.write(p.root .. "/src/small", "x")
        math.randomseed(20261123)
        local versions = 0
        for _ = 1, os.getenv "SAROS_LONG" and 200 or 12 do
          local process <close> = on_terminal(p, { "backup", "src", "--force",
            "-r", "r", "-p", "password" })
          system.read(-1, math.random(40, 120)) -- sleeps
          process:write(CTRL_C)
          local text, how, code = process:finish()
          if how == "exit" and code == 0 then versions = versions + 1 end
          local list = outside.run("ls", p.root .. "/r/snapshots")
          assert.equal(versions, select(2, list:gsub("\n", "")), text)
        end
        check(p)
      end)
    end)

  it("is heard while a record is begun", function()
    with(function(p)
      -- As if it came right there.
      outside.write(p.root .. "/begin.lua", [[
        package.preload["saros.record"] = function(name)
          local record = dofile((package.searchpath(name, package.path)))
          function record.begin()
            io.popen "kill -INT $PPID":close()
            require "saros".sleep(1000):wait()
          end
          return record
        end]])
      local process <close> = on_terminal(p, { "backup", "src", "-r", "r", "-p",
        "password" }, { env = ("LUA_INIT_5_4=@%s/begin.lua"):format(p.root) })
      local text, how, code = process:finish()
      assert.same({ "exit", 130 }, { how, code }, text)
      assert.equal(0, check(p))
    end)
  end)
end)

-- What a terminal of so many columns shows of it, row by row.
local function shown_rows(p, argv, columns, code)
  local process <close> = on_terminal(p, argv, { columns = columns })
  local text, _, status = process:finish()
  assert.equal(code or 0, status, text)
  local lines = {}
  for line in text:gsub("\27%[[%d;]*[A-Za-z]", ""):gmatch "[^\r\n]+" do
    lines[#lines + 1] = line
  end
  return lines, table.concat(lines, "\n")
end

describe("a table", function()
  local function filled(f)
    with(function(p)
      outside.write(p.root .. "/src/one", "1")
      for _, host in ipairs { "a", ("漢"):rep(9) .. "\27[2J" } do
        cli.ends(0, { "backup", p.root .. "/src", "-r", p.root .. "/r", "-p",
          p.root .. "/password", "--host", host }, { env = {
          SAROS_STATE_DIR = p.root } })
      end
      f(p, { "versions", "-r", "r", "-p", "password" })
    end)
  end

  it("has a row for each where they fit", function()
    filled(function(p, argv)
      for _, columns in ipairs { 72, 80, 200 } do
        local lines = shown_rows(p, argv, columns)
        assert.equal(3, #lines)
        assert.matches("^VERSION +TIME +HOST", lines[1])
        for _, line in ipairs(lines) do
          assert.is_true(term.columns(line) < columns, line)
        end
      end
      -- What all of them lack makes room for the others.
      assert.matches("TAGS", shown_rows(p, argv, 80)[1])
      local lines = shown_rows(p, argv, 56)
      assert.equal(3, #lines)
      assert.is_nil(lines[1]:find "TAGS")
    end)
  end)

  it("has lines for each where they do not", function()
    filled(function(p, argv)
      for _, columns in ipairs { 40, 33, 20, 12 } do
        local lines, text = shown_rows(p, argv, columns)
        local _, versions = text:gsub("VERSION  %x%x%x%x%x%x%x%x", "")
        assert.equal(2, versions, text)
        assert.matches("\nHOST     a\n", text)
        assert.matches("\nPATHS    ", text)
        assert.is_nil(text:find("TAGS", 1, true))
        assert.matches("\\x1b[2J", text, 1, true) -- nothing is cut
        if columns == 40 then
          assert.matches("\nTIME     %d+%-%d+%-%d+ %d+:%d+:%d+ UTC\n", text)
        elseif columns == 20 then
          assert.matches("\nTIME     %d+%-%d+%-%d+\n         %d+:%d+:%d+\n", text)
        end
        for _, line in ipairs(lines) do
          assert.is_true(term.columns(line) < math.max(columns, 20)
            or not line:sub(10):find " ", line)
        end
      end
    end)
  end)

  it("of how things stand is one for a person", function()
    filled(function(p)
      local lines, text = shown_rows(p, { "status" }, 80)
      assert.matches("^SAROS OK %- backup, the oldest success %w+ s ago$", lines[1])
      assert.matches("\nOK  backup  succeeded", text)
      local _, narrow = shown_rows(p, { "status" }, 24)
      assert.matches("\nSTATE    OK\nNAME     backup\nLAST     succeeded\n", narrow)
      -- Monitoring reads all of it.
      local _, quiet = shown_rows(p, { "status", "--quiet" }, 24)
      assert.matches("| backup_age=", quiet, 1, true)
    end)
  end)
end)

describe("what is said", function()
  it("goes on between words, and never in a command", function()
    with(function(p)
      local deep = ("d"):rep(30)
      outside.write(p.root .. "/" .. deep, "1")
      local new = p.root .. "/new"
      for _, columns in ipairs { 80, 40, 20 } do
        os.execute(("rm -rf '%s'"):format(new))
        local lines, text = shown_rows(p, { "backup", deep, "-r", new, "-p",
          "password" }, columns)
        local one = text:gsub("\n", " ")
        assert.matches("neither on btrfs nor on LVM nor on an image, so there is "
          .. "no shadow copy: the files are read as they are", one, 1, true)
        local commands = 0
        for _, line in ipairs(lines) do
          local command = line:match "^  (%l+) restore"
          if command then
            commands = commands + 1
            assert.matches("password$", line)
          else
            assert.is_true(term.columns(line) < columns
              or not line:find " ", line)
          end
        end
        assert.equal(2, commands)
      end
    end)
  end)

  it("says so of errors, and not where nobody looks", function()
    with(function(p)
      local argv = { "backup", "src", "-r", "nowhere/r", "-p", "password" }
      local lines, text = shown_rows(p, argv, 30, 10)
      assert.is_true(#lines > 1, text)
      for _, line in ipairs(lines) do
        assert.is_true(term.columns(line) < 30, line)
      end
      argv[4] = p.root .. "/nowhere/r"
      local r = cli.ends(10, argv)
      assert.equal(1, select(2, r.err:gsub("\n", "")), r.err)
    end)
  end)
end)

describe("a mount", function()
  it("is there until it is interrupted, which is no failure", function()
    if io.popen("id -u"):read "l" ~= "0" then return pending "only root mounts" end
    if not io.open "/dev/fuse" then return pending "there is no /dev/fuse" end
    with(function(p)
      cli.ends(0, { "backup", p.root .. "/src", "-r", p.root .. "/r", "-p",
        p.root .. "/password" })
      assert(os.execute(("mkdir '%s/m'"):format(p.root)))
      local process <close> = on_terminal(p, { "mount", "m", "-r", "r", "-p",
        "password" })
      process:expect "mounted at m"
      assert(os.execute(("test -d '%s/m/snapshots/latest'"):format(p.root)))
      process:write(CTRL_C)
      local text, how, code = process:finish()
      assert.equal("exit", how, text)
      assert.equal(0, code, text)
      assert.is_nil(outside.content "/proc/self/mountinfo":find(p.root .. "/m", 1, true))
    end)
  end)
end)

