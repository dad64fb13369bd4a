-- A real prosody with a module of ours: waits in its async contexts, also
-- after it has gone to the background.
local outside = require "spec.outside"

local module_text = [[
package.path, package.cpath = %q, %q
local saros = require "saros"
local async = require "util.async"
require "saros.host.prosody"
local timer = require "util.timer"

local function say(...)
  local file = assert(io.open(%q, "a"))
  file:write(table.concat({ ... }, " "), "\n")
  file:close()
end

local function context(f)
  async.runner(function()
    local ok, err = pcall(f)
    if not ok then say("ERROR", tostring(err)) end
  end):run(true)
end

local ticks = 0
timer.add_task(0, function()
  ticks = ticks + 1
  return 0.002
end)

-- Begun before `prosody -D` forks.
local early = saros.sleep(1000)
context(function()
  local _, err = early:wait()
  say("early", err and err.name or "no error")
end)

timer.add_task(0.05, function()
  local _, serial = saros.fd()
  say("descriptor", serial)
  context(function()
    local before = ticks
    while ticks < before + 5 do assert(saros.sleep(0.002):wait()) end
    say "timers go on"
    local _, err = saros.sleep(1000):wait(0.002)
    say("limit", tostring(err.timeout))
    local next_value = coroutine.wrap(function()
      coroutine.yield "first"
      coroutine.yield(saros.sleep(0.002):wait())
    end)
    say("generator", next_value(), tostring(next_value()))
    local task = saros.spawn(function()
      saros.sleep(0.002):wait()
      return "task"
    end)
    say(task:wait())
    say(saros.run(function() return saros.sleep(0.002):wait() and "run" end))
    local out, why = saros.process { argv = { "/bin/echo", "process" } }:wait()
    say(out and out.stdout:sub(1, -2) or tostring(why))
    pcall(function() saros.sleep(0.002):wait() error "x" end)
    say "end"
    prosody.shutdown "done"
  end)
end)
]]

local config_text = [[
pidfile = "DIR/pid"
data_path = "DIR/data"
plugin_paths = { "DIR" }
modules_enabled = { "posix", "sarostest" }
modules_disabled = { "s2s", "c2s", "http", "offline", "tls" }
run_as_root = true
c2s_ports, s2s_ports, http_ports, https_ports = {}, {}, {}, {}
log = { { levels = { min = "info" }, to = "file", filename = "DIR/log" } }
VirtualHost "localhost"
]]

local after_start = [[
timers go on
limit true
generator first true
task
run
process
end
]]

describe("saros.host.prosody", function()
  if not outside.installed "prosody" then
    it("suspends", function() pending "prosody is not installed" end)
    return
  end

  -- Runs prosody until the module shuts it down; what the module said.
  local function prosody(mode)
    return outside.directory(function(dir)
      local said = dir .. "/said"
      assert(os.execute(("mkdir '%s/data'"):format(dir)))
      outside.write(dir .. "/mod_sarostest.lua", module_text
        :format(outside.lua_path, outside.lua_cpath, said))
      outside.write(dir .. "/prosody.cfg.lua", (config_text:gsub("DIR", dir)))
      -- Prosody may be meant for another user: here it is ours.
      local p <close> = outside.start("prosody", "--config",
        dir .. "/prosody.cfg.lua", mode)
      local pid
      local _ <close> = setmetatable({}, {
        __close = function() -- also the one in the background
          if pid and pcall(outside.system.kill, pid, 0) then
            outside.system.kill(pid, 9)
          end
        end
      })
      local text = outside.eventually("the end of prosody's module", function()
        pid = pid or tonumber(outside.content(dir .. "/pid"))
        local text = outside.content(said)
        return text and (text:find "end\n$" or text:find "ERROR") and text
      end)
      outside.eventually("the end of prosody", function()
        return not pid or outside.content(dir .. "/pid") == nil
      end)
      pid = nil
      p:finish()
      return text, outside.content(dir .. "/log")
    end)
  end

  it("suspends an async context and nothing else", function()
    local text, log = prosody "-F"
    assert.equal("descriptor 1\n" .. after_start, text)
    assert.is_nil(log:find("Traceback", 1, true))
  end)

  it("goes on after a fork to the background", function()
    local text, log = prosody "-D"
    assert.equal("early SAROS_E_FORKED\ndescriptor 2\n" .. after_start, text)
    assert.is_nil(log:find("Traceback", 1, true))
  end)
end)
