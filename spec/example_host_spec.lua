-- examples/host: builds it as its first lines say, and runs it.
local outside = require "spec.outside"

describe("examples/host", function()
  local directory, host

  setup(function()
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute(("mkdir '%s'"):format(directory)))
    host = directory .. "/host"
    local said, how, code = outside.run("sh", "-c",
      ("${CC:-cc} -std=c11 -Wall -Wextra -Werror -Icsrc examples/host/host.c -o '%s' "
        .. "$(pkg-config --cflags --libs lua5.4 2>/dev/null || "
        .. "echo -I/usr/include/lua5.4 -llua5.4)"):format(host))
    assert.same({ "", "exit", 0 }, { said, how, code })
  end)

  teardown(function() os.execute(("rm -rf '%s'"):format(directory)) end)

  it("waits in its script, and its heart goes on", function()
    local file = directory .. "/file"
    outside.write(file, ("Wikipedia"):rep(1000000))
    local said, how, code = outside.run(host, "examples/host/script.lua", file)
    assert.same({ "exit", 0 }, { how, code }, said)
    local first = 1
    for _, text in ipairs {
      file .. ": succeeded 100%\n",
      "of 9000000 bytes\n",
      -- Only the loop can beat: had it blocked, there would be none of these.
      "beat 1: still reading\n",
      "beat 5: still reading\n",
      "host.checksum was cancelled",
      "cannot read /does/not/exist: No such file or directory [ERROR_FILE_NOT_FOUND",
      "3 at once\n",
    } do
      local at, last = said:find(text, first, true)
      assert.is_truthy(at, ("no %q in\n%s"):format(text, said))
      first = last + 1
    end
    assert.is_true(tonumber(said:match "(%d+) heartbeats\n$") >= 6)
  end)

  it("computes what everybody computes", function()
    local file = directory .. "/small"
    outside.write(file, "Wikipedia") -- whose Adler-32 is in Wikipedia
    local said = outside.run(host, "examples/host/script.lua", file)
    assert.is_truthy(said:find("adler32 11e60398 of 9 bytes\n", 1, true), said)
  end)

  it("cancels the script on SIGTERM, and lets it close", function()
    local script = directory .. "/script.lua"
    outside.write(script, [[
      local op <close> = host.checksum "/dev/zero"
      local _ <close> = setmetatable({}, { __close = function() print "closed" end })
      io.stdout:setvbuf "no"
      print "waiting"
      op:wait()
    ]])
    local p <close> = outside.start(host, script)
    p:expect "waiting\n"
    outside.system.kill(p.pid, 15)
    local said, how, code = p:finish()
    assert.same({ "exit", 1 }, { how, code })
    assert.is_truthy(said:find("closed\n", 1, true), said)
    assert.is_truthy(said:find("cancelled", 1, true), said)
  end)

  it("says what is wrong with a script", function()
    for text, expected in pairs {
      ["error 'on purpose'"] = "on purpose",
      ["return nil, 'a reason'"] = "a reason",
      ["this is not Lua"] = "syntax error",
    } do
      local script = directory .. "/script.lua"
      outside.write(script, text)
      local said, how, code = outside.run(host, script)
      assert.same({ "exit", 1 }, { how, code })
      assert.is_truthy(said:find(expected, 1, true), said)
    end
  end)
end)
