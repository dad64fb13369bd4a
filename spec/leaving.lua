---@private
-- Leaves with work in flight: spec/exit_spec.lua runs it, with what is in
-- flight (a number of which each bit is one kind of work), the way to leave
-- and a directory to write to. A line "left" tells that it got that far.
local saros = require "saros"
local testmod = require "testmod"
local work, way, directory = tonumber(arg[1]), arg[2], arg[3]
local kept = {}

local function keep(x)
  kept[#kept + 1] = x
  return x
end

local kinds = {
  function() -- sleeps
    for i = 1, 20 do
      local op = saros.sleep(i % 2 * 1000)
      if i % 3 == 0 then keep(op) end
    end
  end,
  function() -- on workers
    for _, run in ipairs { "cpu", "lane", "lane" } do
      keep(testmod.gate { run = run })
    end
    for _ = 1, 50 do testmod.work() end
  end,
  function() -- tasks that wait, with something to close
    for _ = 1, 10 do
      saros.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() end })
        saros.sleep(1000):wait()
      end)
    end
    saros.step(0)
    saros.spawn(function() end) -- and one that never began
  end,
  function() -- callbacks
    keep(saros.sleep(0)):on_done(function() kept.called = true end)
    saros.sleep(1000):on_done(function() end)
  end,
  function() -- iterators
    local gate = keep(testmod.gate {})
    saros.spawn(function()
      for s in gate:op():progress() do kept.status = s end
    end)
    saros.step(0)
    gate:progress(1, 2)
    for s in gate:op():progress() do
      kept.status = s
      break
    end
  end,
  function() -- processes
    keep(saros.process { argv = { "sleep", "1000" } })
    saros.process { argv = { "sh", "-c", "sleep 1000 & echo x; wait" } }
    saros.process { argv = { "true" } }
    local family = saros.process { argv = { "sh", "-c",
      "trap '' HUP INT; (sleep 1000 & echo x; wait); wait" }, stdout = "lines" }
    for _ in family:lines() do break end -- all of it is there
  end,
  function() -- copies
    keep(saros.copy { from = arg[0]:gsub("[^/]*$", "c"), to = directory .. "/copy" })
  end,
  function() -- operations made of operations
    keep(saros.all { saros.sleep(1000), saros.sleep(0) })
    saros.timeout(saros.sleep(1000), 500)
    saros.retry({ delay = 1000 }, function() return nil, "again" end)
    saros.step(0)
  end,
}

local ways = {}

ways["return"] = function() end
ways["close"] = function() os.exit(7, true) end
ways["exit"] = function() os.exit(7, false) end
ways["error"] = function() error("on purpose", 0) end
ways["object"] = function() error(setmetatable({}, { __tostring = function()
  return "an object"
end })) end
ways["failure"] = function() assert(nil, select(2, saros.sleep(1000):wait(0))) end
ways["term"] = function()
  testmod.system.kill(testmod.system.pid(), 15)
  while true do testmod.poll(-1, 1000) end
end

ways["kill"] = function()
  testmod.system.kill(testmod.system.pid(), 9)
  while true do testmod.poll(-1, 1000) end
end

-- From places where one does not usually leave.
ways["task"] = function()
  saros.run(function()
    saros.sleep(0):wait()
    os.exit(7, true)
  end)
end
ways["task exit"] = function()
  saros.run(function()
    saros.sleep(0):wait()
    os.exit(7, false)
  end)
end
ways["task error"] = function()
  saros.run(function()
    saros.spawn(function() saros.sleep(0.01):wait() end)
    saros.sleep(0):wait()
    error("on purpose", 0)
  end)
end
ways["on_done"] = function()
  saros.sleep(0):on_done(function() os.exit(7, true) end)
  saros.run(function() saros.sleep(1000):wait() end)
end
ways["gc"] = function()
  setmetatable({}, { __gc = function() os.exit(7, false) end })
  collectgarbage()
end
ways["gc close"] = function()
  setmetatable({}, { __gc = function() os.exit(7, true) end })
  collectgarbage()
end
ways["gc last"] = function() -- a finalizer that waits while the state closes
  local op = saros.sleep(0.001)
  kept.last = setmetatable({}, { __gc = function()
    assert(op:wait())
    saros.sleep(1000)
    assert(not saros.sleep(1000):wait(0))
    saros.spawn(function() end)
    print "finalized"
  end })
end
ways["hook"] = function()
  debug.sethook(function()
    debug.sethook()
    os.exit(7, true)
  end, "l")
  local _ = 0
end
ways["generator"] = function()
  local op = saros.sleep(1000)
  kept.next = coroutine.wrap(function()
    local _ <close> = op
    coroutine.yield(1)
    op:wait()
  end)
  kept.next()
end
ways["closing"] = function() -- a pending <close> of the main chunk
  local _ <close> = keep(saros.sleep(1000))
  local _ <close> = saros.spawn(function() saros.sleep(1000):wait() end)
end
ways["fork"] = function() -- a child of ours leaves, and we do
  local pid = testmod.system.fork()
  if pid == 0 then os.exit(7, true) end
  local how, code = testmod.system.wait(pid, 60000)
  assert(how == "exit" and code == 7, ("%s %s"):format(how, code))
  pid = testmod.system.fork()
  if pid == 0 then os.exit(8, false) end
  how, code = testmod.system.wait(pid, 60000)
  assert(how == "exit" and code == 8, ("%s %s"):format(how, code))
end
ways["shutdown"] = function()
  saros.shutdown(5)
end
-- What does not heed TERM is killed after a second.
ways["held"] = function()
  local op = saros.process { argv = { "sh", "-c",
    "trap '' TERM; echo ready; while :; do sleep 0.1; done" }, stdout = "lines" }
  for line in op:lines() do
    if line == "ready" then return end
  end
end

for bit, start in ipairs(kinds) do
  if work & (1 << (bit - 1)) ~= 0 then start() end
end
io.stdout:write "left\n"
io.stdout:flush()
ways[way]()
