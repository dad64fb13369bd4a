-- saros.journal and saros.sd: what is said to the journal and to systemd, to
-- sockets of our own. (The real ones are asked in a guest: systemd_spec.)
-- also under valgrind
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local core = require "saros.core"
local journal = require "saros.journal"

local python = outside.installed "python3"
local it_listens = python and it or function(name)
  pending(name .. " (no python3 that would listen)")
end

-- Somebody who listens: l.path, l:next() is the next that came.
local listener = {}
listener.__index = listener
function listener:next()
  self.process:expect "\n"
  local at = self.process.seen
  self.process:expect "\n"
  local text = self.process.output:sub(at, self.process.seen - 2)
  self.process.seen = self.process.seen - 1
  return assert(core.json_read(text))
end

local function listening(path, kind, f)
  local process <close> = outside.start("python3", "-u", "spec/listener.py",
    path, kind)
  process:expect "listening"
  return f(setmetatable({ path = path, process = process }, listener))
end

local function with_journal(f)
  outside.directory(function(d) listening(d .. "/socket", "journal", f) end)
end

-- A script that has this in its environment.
local function run(environment, text)
  local path = os.tmpname()
  outside.write(path, text)
  local words = { "env" }
  for name, value in pairs(environment) do
    words[#words + 1] = name .. "=" .. value
  end
  words[#words + 1] = "LUA_PATH=" .. outside.lua_path
  words[#words + 1] = "LUA_CPATH=" .. outside.lua_cpath
  words[#words + 1] = outside.lua
  words[#words + 1] = path
  local output, how, code = outside.run(table.unpack(words))
  os.remove(path)
  assert.equal("exit 0", how .. " " .. code, output)
  return output
end

describe("the journal", function()
  it_listens("gets fields with any bytes and any number of lines", function()
    with_journal(function(l)
      local bytes = {}
      for i = 0, 255 do bytes[i + 1] = string.char(i) end
      bytes = table.concat(bytes)
      assert(journal.send({ MESSAGE = "one\ntwo\n", PRIORITY = 4,
        SAROS_BYTES = bytes, SAROS_EMPTY = "", SAROS_FALSE = "=\n=" }, l.path))
      local got = l:next()
      assert.equal("datagram", got.way)
      local f = got.fields
      assert.same({ "one\ntwo\n" }, f.MESSAGE)
      assert.same({ "4" }, f.PRIORITY)
      assert.same({ "" }, f.SAROS_EMPTY)
      assert.same({ "=\n=" }, f.SAROS_FALSE)
      local exact = {}
      for _, c in utf8.codes(f.SAROS_BYTES[1]) do
        exact[#exact + 1] = string.char(c)
      end
      assert.equal(bytes, table.concat(exact))
    end)
  end)

  it_listens("gets what is too large for a datagram as a sealed file", function()
    with_journal(function(l)
      local long = ("0123456789abcde\n"):rep(1 << 16) -- a MiB
      assert(journal.send({ MESSAGE = long }, l.path))
      local got = l:next()
      assert.equal("file", got.way)
      assert.equal(long, got.fields.MESSAGE[1])
      assert(journal.send({ MESSAGE = "small" }, l.path))
      assert.equal("small", l:next().fields.MESSAGE[1])
    end)
  end)

  it("has no fields that it would not take", function()
    for _, name in ipairs { "message", "_PID", "9LIVES", "A-B", "A\nB=1", "",
      ("A"):rep(65) }
    do
      assert.has_error(function() journal.send({ [name] = "x" }, "/nowhere") end)
      assert.has_error(function()
        journal.logger { fields = { [name] = "x" } }
      end)
    end
    assert.has_error(function() journal.logger { identifier = 1 } end)
    assert.has_error(function() journal.logger { operator = "x" } end)
  end)

  it("is nil and why when there is none", function()
    local ok, err = journal.send({ MESSAGE = "x" }, "/nowhere/socket")
    assert.is_nil(ok)
    assert.matches("/nowhere/socket", tostring(err))
    ok, err = journal.send({ MESSAGE = "x" }, "/" .. ("n"):rep(200))
    assert.is_nil(ok)
    assert.is_truthy(core.is_failure(err))
    ok = journal.send({ MESSAGE = "x" }, "relative")
    assert.is_nil(ok)
  end)

  it_listens("has saros' log, with its priorities and the operation", function()
    with_journal(function(l)
      local id = "first"
      local log = journal.logger { socket = l.path, fields = { SAROS_RUN = 7 },
        operation = function() return id end }
      local wanted = { error = "3", warning = "4", notice = "5", debug = "7" }
      for level, priority in pairs(wanted) do
        log { time = 12.5, level = level, area = "op", text = "it\nis" }
        local f = l:next().fields
        assert.same({ { priority }, { "it\nis" }, { "op" }, { "first" },
          { "saros" }, { "7" }, { "12500000" } }, { f.PRIORITY, f.MESSAGE,
          f.SAROS_AREA, f.SAROS_OPERATION, f.SYSLOG_IDENTIFIER, f.SAROS_RUN,
          f.SAROS_TIME_USEC })
      end
      id = nil
      log { lost = 3 }
      local f = l:next().fields
      assert.matches("^3 messages were lost", f.MESSAGE[1])
      assert.is_nil(f.SAROS_OPERATION)
    end)
  end)

  it_listens("is what saros.config takes", function()
    with_journal(function(l)
      saros.config { log = journal.logger { socket = l.path, operation = "x" } }
      local _ <close> = setmetatable({}, { __close = function()
        saros.config { log = false }
      end })
      local g, op = helper.gate { holds = true }
      op:cancel()
      g:cleanup "removing the file"
      g:finish(0)
      helper.settle()
      local f = l:next().fields
      assert.matches("removing the", f.MESSAGE[1])
      assert.same({ "x" }, f.SAROS_OPERATION)
    end)
  end)

  it("leaves to another what it does not take, and does not insist", function()
    local got = {}
    local log = journal.logger { socket = "/nowhere",
      otherwise = function(record) got[#got + 1] = record end }
    for _ = 1, 3 do
      log { time = 1, level = "error", area = "op", text = "x" }
    end
    assert.equal(3, #got)
  end)

  it_listens("is not waited for when nobody reads there", function()
    with_journal(function(l)
      outside.system.kill(l.process.pid, 19) -- SIGSTOP
      local ok, err
      for _ = 1, 100000 do
        ok, err = journal.send({ MESSAGE = "x" }, l.path)
        if not ok then break end
      end
      assert.is_nil(ok)
      assert.is_truthy(core.is_failure(err))
    end)
  end)

  it("is ours when the standard error is", function()
    local text = [[print(require "saros.journal".is_ours())]]
    local script = [[io.write(tostring(require "saros.journal".is_ours()))]]
    assert.equal("false\n", run({}, text))
    assert.equal("false\n", run({ JOURNAL_STREAM = "1:1" }, text))
    assert.equal("false\n", run({ JOURNAL_STREAM = "x" }, text))
    local pipe <close> = io.popen(("exec 2>/dev/null; JOURNAL_STREAM=$(stat -L "
      .. "-c %%d:%%i /dev/null) LUA_PATH='%s' LUA_CPATH='%s' %s -e '%s'")
      :format(outside.lua_path, outside.lua_cpath, outside.lua, script))
    assert.equal("true", pipe:read "a")
  end)
end)

local NOTIFY <const> = [[
  local sd = require "saros.sd"
  print(sd.notify { ready = true, status = "a\nREADY=1\27[2J", extend = 1.5 })
  print(sd.notify { stopping = true, errno = 5 })
  print(sd.notify { watchdog = true, reloading = true, main_pid = 12 })
]]

describe("the service manager", function()
  for _, where in ipairs { "path", "abstract" } do
    it_listens("is told, at a socket by " .. where, function()
      outside.directory(function(d)
        local path = where == "path" and d .. "/notify" or "@" .. d
        listening(path, nil, function(l)
          assert.equal("true\ntrue\ntrue\n", run({ NOTIFY_SOCKET = path }, NOTIFY))
          assert.equal("STATUS=a\\x0aREADY=1\\x1b[2J\n"
            .. "EXTEND_TIMEOUT_USEC=1500000\nREADY=1", l:next().text)
          assert.equal("ERRNO=5\nSTOPPING=1", l:next().text)
          assert.equal("MAINPID=12\nWATCHDOG=1\nRELOADING=1", l:next().text)
        end)
      end)
    end)
  end

  it_listens("is asked for time, again and again, until all is undone", function()
    outside.directory(function(d)
      -- What it undoes takes until there is a file.
      outside.write(d .. "/program.lua", ([[
        local saros = require "saros"
        saros.run(function()
          local op <close> = saros.process { grace = 600, stdout = "inherit",
            argv = { "sh", "-c", "trap 'until test -e %s/file; do sleep 0.1; "
              .. "done; echo was undone; exit' TERM; echo has begun; "
              .. "while :; do sleep 0.1; done" } }
          op:wait()
        end)]]):format(d))
      listening(d .. "/notify", nil, function(l)
        local program <close> = outside.start("env", "NOTIFY_SOCKET=" .. l.path,
          os.getenv "SAROS_BUILD" .. "/bin/saros", "run", d .. "/program.lua")
        program:expect "has begun"
        assert.equal("READY=1", l:next().text)
        outside.system.kill(program.pid, 15)
        local seen
        repeat seen = l:next().text until seen:find "STOPPING=1"
        assert.equal("STATUS=undoing what was begun\nEXTEND_TIMEOUT_USEC=60000000"
          .. "\nSTOPPING=1", seen)
        for _ = 1, 2 do
          assert.equal("EXTEND_TIMEOUT_USEC=60000000", l:next().text)
        end
        outside.write(d .. "/file", "")
        program:expect "was undone"
        program:expect "undone"
        local _, how, code = program:finish()
        assert.equal("exit 130", how .. " " .. code)
      end)
    end)
  end)

  it_listens("is asked no later when the clock is set back", function()
    outside.directory(function(d)
      listening(d .. "/notify", nil, function(l)
        assert.equal("true\n", run({ NOTIFY_SOCKET = l.path }, [[
          local s = require "saros.cli.service".new {}
          local time = os.time
          function os.time() return time() - 3600 end
          print(s:due() <= 5)]]))
      end)
    end)
  end)

  it("is not told when nobody asks, and it is said when nobody hears", function()
    assert.equal("false\nfalse\nfalse\n", run({ NOTIFY_SOCKET = "" }, NOTIFY))
    assert.matches("^nil\t.*/nowhere/socket", run({
      NOTIFY_SOCKET = "/nowhere/socket" }, NOTIFY))
    assert.matches("^nil\t", run({ NOTIFY_SOCKET = "relative" }, NOTIFY))
    local sd = require "saros.sd"
    for _, wrong in ipairs { { extend = -1 }, { extend = 0 / 0 }, { redy = true },
      { status = true }, { extend = 1e300 } }
    do
      assert.has_error(function() sd.notify(wrong) end)
    end
  end)

  it("says how often it wants to hear from us, and from nobody else", function()
    local text = [[print(require "saros.sd".watchdog())]]
    assert.equal("1.5\n", run({ WATCHDOG_USEC = "3000000" }, text))
    assert.equal("nil\n", run({ WATCHDOG_USEC = "3000000", WATCHDOG_PID = "1" },
      text))
    assert.equal("nil\n", run({ WATCHDOG_USEC = "soon" }, text))
    assert.equal("nil\n", run({}, text))
  end)
end)
