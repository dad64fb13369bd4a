-- Leaving with work in flight, in every way there is to leave: no crash, no
-- hang, the right exit code, no process left. SAROS_LONG=1: each way 300
-- times, not 20.
local outside = require "spec.outside"
local system = outside.system

local times = os.getenv "SAROS_LONG" and 300 or os.getenv "SAROS_QUICK" and 3 or 20
local at_once = 4

-- What a healthy process needs, at the very most: two seconds for what does
-- not end in time, and the rest for a machine that is busy.
local limit = outside.patience


-- The children of this process, dead ones included.
local function children()
  local list = {}
  local path = ("/proc/self/task/%d/children"):format(system.pid())
  for pid in (outside.content(path) or ""):gmatch "%d+" do
    list[#list + 1] = tonumber(pid)
  end
  return list
end

-- Buries the dead among the children, and returns the others.
local function living()
  local list = {}
  for _, pid in ipairs(children()) do
    if not system.wait(pid, 0) then list[#list + 1] = pid end
  end
  return list
end

describe("leaving", function()
  local directory

  setup(function()
    system.adopt() -- whoever is left behind becomes a child of ours
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute(("mkdir '%s'"):format(directory)))
  end)

  teardown(function() os.execute(("rm -rf '%s'"):format(directory)) end)

  local function start(work, way)
    local p = outside.start(outside.lua, "spec/leaving.lua", tostring(work), way,
      directory)
    p.what = ("%s with work %d"):format(way, work)
    return p
  end

  -- No process that saros started goes on.
  local function alone()
    outside.eventually("the end of what was started", function()
      return #living() == 0
    end)
  end

  -- Runs `count` processes, some at once, and checks how each ended, and that
  -- nothing they started goes on.
  local function leave(way, count, how, code, check)
    local running = {}
    local _ <close> = setmetatable({}, {
      __close = function()
        for _, p in ipairs(running) do p:__close() end
        for pid in function() return living()[1] end do -- they have children
          system.kill(pid, 9)
          system.wait(pid, limit * 1000)
        end
      end
    })
    local function finish()
      local p = running[1]
      local output, how_it, code_it = p:finish(limit)
      table.remove(running, 1):__close()
      assert(output:find("left\n", 1, true),
        ("%s: it did not get that far:\n%s"):format(p.what, output))
      assert.same({ p.what, how, code }, { p.what, how_it, code_it }, output)
      if check then check(output) end
    end
    for i = 1, count do
      if #running == at_once then finish() end
      -- All there is every fourth time, else one kind or a mixture.
      local work = i % 4 == 0 and 255 or i % 4 == 1 and 1 << i // 4 % 8
        or i * 0x9E37 % 256
      running[#running + 1] = start(work, way)
    end
    while running[1] do finish() end
    alone()
  end

  local function traceback(output)
    assert.is_truthy(output:find("on purpose", 1, true))
  end

  it("by returning", function()
    leave("return", times, "exit", 0)
  end)

  it("by os.exit(code, true)", function()
    leave("close", times, "exit", 7)
  end)

  -- Nothing of Lua or saros runs then; what is left to do the kernel does.
  it("by os.exit(code, false)", function()
    leave("exit", times, "exit", 7)
  end)

  it("by an error", function()
    leave("error", times, "exit", 1, traceback)
  end)

  it("by SIGTERM", function() leave("term", times, "signal", 15) end)

  it("by SIGKILL", function() leave("kill", times, "signal", 9) end)

  local some = math.max(times // 5, 3)

  it("by errors that are objects", function()
    leave("object", some, "exit", 1, function(output)
      assert.is_truthy(output:find("lua5.4: an object", 1, true)
        or output:find("an object", 1, true))
    end)
    leave("failure", some, "exit", 1, function(output)
      assert.is_truthy(output:find("SAROS_S_PENDING", 1, true))
    end)
  end)

  it("from inside a task", function()
    leave("task", some, "exit", 7)
    leave("task error", some, "exit", 1, traceback)
    leave("task exit", some, "exit", 7)
  end)

  it("from inside on_done", function()
    leave("on_done", some, "exit", 7)
  end)

  it("from inside a finalizer", function()
    leave("gc close", some, "exit", 7)
    leave("gc", some, "exit", 7)
  end)

  it("with a finalizer that uses saros last", function()
    leave("gc last", some, "exit", 0, function(output)
      assert.is_truthy(output:find("finalized", 1, true), output)
    end)
  end)

  it("from inside a hook", function()
    leave("hook", some, "exit", 7)
  end)

  it("with a generator open, and with <close> pending", function()
    leave("generator", some, "exit", 0)
    leave("closing", some, "exit", 0)
  end)

  it("in a forked child", function()
    leave("fork", some, "exit", 0)
  end)

  it("after a shutdown", function()
    leave("shutdown", some, "exit", 0)
  end)

  -- A program that does not heed TERM is killed after a second.
  it("with an operation that does not end", function()
    leave("held", at_once, "exit", 0)
  end)
end)
