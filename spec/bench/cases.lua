-- One measurement, in a process of its own: prints microseconds of CPU per
-- operation (all threads), or bytes, or nanoseconds. run.lua starts it.
--   lua5.4 spec/bench/cases.lua NAME

local cases = {}

local function cpu_us(n, f)
  f(math.max(1, n // 10)) -- warm: threads, memory
  local begun = os.clock()
  f(n)
  return (os.clock() - begun) / n * 1e6
end

-- What needs a library is loaded where it is used: a peer that is not
-- installed leaves out its column.
local function saros_work(in_flight)
  local saros, testmod = require "saros", require "testmod"
  return function(n)
    saros.run(function()
      for _ = 1, in_flight do
        saros.spawn(function()
          for _ = 1, n // in_flight do testmod.work():wait() end
        end)
      end
    end)
  end
end

local function luv_work(in_flight)
  local uv = require "luv"
  return function(n)
    for _ = 1, in_flight do
      coroutine.wrap(function()
        local me = coroutine.running()
        local work = uv.new_work(function() end, function()
          coroutine.resume(me)
        end)
        for _ = 1, n // in_flight do
          work:queue()
          coroutine.yield()
        end
      end)()
    end
    uv.run()
  end
end

function cases.saros_one() return cpu_us(30000, saros_work(1)) end
function cases.luv_one() return cpu_us(30000, luv_work(1)) end
function cases.saros_thousand() return cpu_us(300000, saros_work(1000)) end
function cases.luv_thousand() return cpu_us(300000, luv_work(1000)) end

-- A thousand coroutines that sleep for no time, again and again.
function cases.saros_sleep()
  local saros = require "saros"
  return cpu_us(200000, function(n)
    saros.run(function()
      for _ = 1, 1000 do
        saros.spawn(function()
          for _ = 1, n // 1000 do saros.sleep(0):wait() end
        end)
      end
    end)
  end)
end

function cases.luv_sleep()
  local uv = require "luv"
  return cpu_us(200000, function(n)
    for _ = 1, 1000 do
      coroutine.wrap(function()
        local me, timer = coroutine.running(), uv.new_timer()
        for _ = 1, n // 1000 do
          timer:start(0, 0, function() coroutine.resume(me) end)
          coroutine.yield()
        end
        timer:close()
      end)()
    end
    uv.run()
  end)
end

function cases.cqueues_sleep()
  local cqueues = require "cqueues"
  return cpu_us(200000, function(n)
    local cq = cqueues.new()
    for _ = 1, 1000 do
      cq:wrap(function()
        for _ = 1, n // 1000 do cqueues.sleep(0) end
      end)
    end
    assert(cq:loop())
  end)
end

function cases.saros_finished()
  local op = require "saros".sleep(0)
  op:wait()
  local n = 5000000
  local begun = os.clock()
  for _ = 1, n do op:wait() end
  return (os.clock() - begun) / n * 1e9
end

function cases.saros_step()
  local saros = require "saros"
  saros.sleep(1000)
  local n = 1000000
  local step = saros.step
  collectgarbage() collectgarbage "stop"
  local before, begun = collectgarbage "count", os.clock()
  for _ = 1, n do step(0) end
  local spent = (os.clock() - begun) / n * 1e9
  assert(collectgarbage "count" - before < 1, "step(0) allocates")
  return spent
end

local function resident()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "VmRSS:%s+(%d+)"
    if kib then return tonumber(kib) * 1024 end
  end
end

-- Bytes of resident memory each of n pending ones costs.
local function bytes_each(n, start)
  local held = table.move({}, 1, 0, 1)
  for i = 1, n do held[i] = false end
  collectgarbage() collectgarbage()
  local before = resident()
  for i = 1, n do held[i] = start() end
  collectgarbage() collectgarbage()
  return (resident() - before) / n
end

function cases.saros_bytes()
  local saros = require "saros"
  return bytes_each(100000, function() return saros.sleep(3600) end)
end

function cases.saros_bytes_task()
  local saros = require "saros"
  local function sleeper() saros.sleep(3600):wait() end
  saros.config { budget = 1000000 }
  saros.sleep(0):wait()
  local n = 100000
  return bytes_each(n, function()
    saros.spawn(sleeper)
    n = n - 1
    if n == 0 then saros.step(0) end
    return false
  end)
end

function cases.luv_bytes_task()
  local uv = require "luv"
  return bytes_each(100000, function()
    local co = coroutine.create(function()
      local me, timer = coroutine.running(), uv.new_timer()
      timer:start(3600000, 0, function() coroutine.resume(me) end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    return false
  end)
end

function cases.cqueues_bytes_task()
  local cqueues = require "cqueues"
  local cq = cqueues.new()
  local n = 100000
  return bytes_each(n, function()
    cq:wrap(function() cqueues.sleep(3600) end)
    n = n - 1
    if n == 0 then cq:step(0) end
    return false
  end)
end

-- Starting n timers and seeing them all fire.
local function timers(n)
  local saros = require "saros"
  local begun = os.clock()
  local last
  for i = 1, n do last = saros.sleep(1 + i % 1000 / 1000) end
  last:wait()
  saros.sleep(1.1):wait()
  return (os.clock() - begun) / n * 1e6
end

function cases.saros_timers_10k() return timers(10000) end
function cases.saros_timers_100k() return timers(100000) end
function cases.saros_timers_1m() return timers(1000000) end

local ok, result = pcall(cases[arg[1]] or error)
print(ok and ("%.4f"):format(result) or "- " .. tostring(result))
os.exit(ok, false)
