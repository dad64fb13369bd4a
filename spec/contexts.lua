--- Every place in Lua from which somebody may want to wait. Each entry calls
--- `wait` there and returns what it returned; `yields` says whether Lua can
--- yield through it or cannot.

local contexts = {}

local function context(name, yields, f)
  contexts[#contexts + 1] = { name = name, yields = yields, run = f }
end

-- A value that keeps what `wait` said, for callbacks whose results Lua drops.
local function keeper(wait)
  local kept
  return function(...)
    kept = table.pack(wait())
    return ...
  end, function() return table.unpack(kept, 1, kept.n) end
end

local function closing(f)
  return setmetatable({}, { __close = f })
end


-- These yield.

context("a plain call", true, function(wait) return wait() end)

context("pcall", true, function(wait)
  return select(2, pcall(wait))
end)

context("pcall of the method itself", true, function(_, op)
  return select(2, pcall(op.wait, op))
end)

context("the body of xpcall", true, function(wait)
  return select(2, xpcall(wait, debug.traceback))
end)

context("dofile", true, function(wait)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write "return WAIT()"
  file:close()
  WAIT = wait -- luacheck: ignore
  local a, b = dofile(path)
  WAIT = nil -- luacheck: ignore
  os.remove(path)
  return a, b
end)

context("__index", true, function(wait)
  local call, kept = keeper(wait)
  local _ = setmetatable({}, { __index = function() return call(1) end }).x
  return kept()
end)

context("__newindex", true, function(wait)
  local call, kept = keeper(wait)
  local t = setmetatable({}, { __newindex = function() call() end })
  t.x = 1
  return kept()
end)

context("__add", true, function(wait)
  local call, kept = keeper(wait)
  local _ = setmetatable({}, { __add = function() return call(1) end }) + 1
  return kept()
end)

context("__lt", true, function(wait)
  local call, kept = keeper(wait)
  local mt = { __lt = function() return call(true) end }
  local _ = setmetatable({}, mt) < setmetatable({}, mt)
  return kept()
end)

context("__eq", true, function(wait)
  local call, kept = keeper(wait)
  local mt = { __eq = function() return call(true) end }
  local _ = setmetatable({}, mt) == setmetatable({}, mt)
  return kept()
end)

context("__concat", true, function(wait)
  local call, kept = keeper(wait)
  local _ = "a" .. setmetatable({}, { __concat = function() return call("") end })
  return kept()
end)

context("__len", true, function(wait)
  local call, kept = keeper(wait)
  local _ = #setmetatable({}, { __len = function() return call(0) end })
  return kept()
end)

context("__call", true, function(wait)
  return setmetatable({}, { __call = function() return wait() end })()
end)

context("a for iterator", true, function(wait)
  local call, kept = keeper(wait)
  for _ in function(_, i) if not i then return call(1) end end do end
  return kept()
end)

context("__pairs", true, function(wait)
  local call, kept = keeper(wait)
  local t = setmetatable({}, { __pairs = function() return call(next, {}) end })
  for _ in pairs(t) do error "it is empty" end
  return kept()
end)

context("__close at the end of a block", true, function(wait)
  local call, kept = keeper(wait)
  do
    local _ <close> = closing(function() call() end)
  end
  return kept()
end)

context("__close at a return", true, function(wait)
  local call, kept = keeper(wait);
  (function()
    local _ <close> = closing(function() call() end)
    return 1
  end)()
  return kept()
end)

context("__close at a break", true, function(wait)
  local call, kept = keeper(wait)
  while true do
    local _ <close> = closing(function() call() end)
    break
  end
  return kept()
end)

context("__close after an error", true, function(wait)
  local call, kept = keeper(wait)
  assert(not pcall(function()
    local _ <close> = closing(function() call() end)
    error "on purpose"
  end))
  return kept()
end)

context("the fourth value of for", true, function(wait)
  local call, kept = keeper(wait)
  for _ in function(_, i) return not i or nil end, nil, nil,
    closing(function() call() end) do break end
  return kept()
end)


-- These do not.

context("a message handler", false, function(wait)
  local call, kept = keeper(wait)
  xpcall(error, function() call() end, "on purpose")
  return kept()
end)

context("table.sort", false, function(wait)
  local call, kept = keeper(wait)
  table.sort({ 2, 1 }, function(a, b) return call(a < b) end)
  return kept()
end)

context("string.gsub", false, function(wait)
  local call, kept = keeper(wait);
  ("a"):gsub("a", function() call() end)
  return kept()
end)

context("ipairs over __index", false, function(wait)
  local call, kept = keeper(wait)
  local t = setmetatable({}, { __index = function() call() end })
  for _ in ipairs(t) do error "it is empty" end
  return kept()
end)

context("table.concat over __index", false, function(wait)
  local call, kept = keeper(wait)
  table.concat(setmetatable({}, { __index = function() return call "x" end }), "", 1, 1)
  return kept()
end)

context("table.unpack over __index", false, function(wait)
  local call, kept = keeper(wait)
  local _ = table.unpack(
    setmetatable({}, { __index = function() return call(1) end }), 1, 1)
  return kept()
end)

context("table.insert over __newindex", false, function(wait)
  local call, kept = keeper(wait)
  table.insert(setmetatable({}, { __newindex = function() call() end }), 1)
  return kept()
end)

context("tostring", false, function(wait)
  local call, kept = keeper(wait)
  tostring(setmetatable({}, { __tostring = function() return call "" end }))
  return kept()
end)

context("string.format", false, function(wait)
  local call, kept = keeper(wait);
  ("%s"):format(setmetatable({}, { __tostring = function() return call "" end }))
  return kept()
end)

context("require", false, function(wait)
  package.preload["spec.wait"] = wait
  package.loaded["spec.wait"] = nil
  local result = require "spec.wait"
  package.preload["spec.wait"] = nil
  return result, 2
end)

context("a load reader", false, function(wait)
  local call, kept = keeper(wait)
  load(function() return call(nil) end)
  return kept()
end)

context("a debug hook", false, function(wait)
  local call, kept = keeper(wait)
  local hook, mask, count = debug.gethook()
  debug.sethook(function()
    debug.sethook()
    call()
  end, "", 1)
  local _ = 1 + 1
  debug.sethook(hook, mask, count)
  return kept()
end)

context("__gc in a collection", false, function(wait)
  local call, kept = keeper(wait)
  setmetatable({}, { __gc = function() call() end })
  collectgarbage()
  return kept()
end)

context("__gc in an allocation", false, function(wait)
  local call, kept = keeper(wait)
  local collected
  setmetatable({}, { __gc = function() call() collected = true end })
  local waste
  while not collected do waste = { waste = { {} } } end -- luacheck: ignore
  return kept()
end)

context("__close by coroutine.close", false, function(wait)
  local call, kept = keeper(wait)
  local co = coroutine.create(function()
    local _ <close> = closing(function() call() end)
    coroutine.yield()
  end)
  coroutine.resume(co)
  coroutine.close(co)
  return kept()
end)

context("__close by coroutine.wrap", false, function(wait)
  local call, kept = keeper(wait)
  pcall(coroutine.wrap(function()
    local _ <close> = closing(function() call() end)
    error "on purpose"
  end))
  return kept()
end)

return contexts
