--- What the specs share: gates, a deadline for each test (busted knows no
--- waiting), scripts in processes of their own.

local busted = require "busted"
local saros = require "saros"
local testmod = require "testmod"

local helper = { saros = saros, testmod = testmod, core = require "saros.core" }

-- Valgrind and the sanitizers take their time. More than spec.outside has for
-- one wait, so that what hangs is named.
local patience = os.getenv "SAROS_LONG" and 1800
  or os.getenv "SAROS_SANITIZER" and 300 or 120

busted.subscribe({ "test", "start" }, function(element)
  testmod.deadline(patience, element.name)
end)
busted.subscribe({ "test", "end" }, function() testmod.deadline(0) end)

--- A gate and its operation: nothing moves but what the spec moves.
---@param options? table as testmod.gate has them
function helper.gate(options)
  local gate = assert(testmod.gate(options or {}))
  return gate, gate:op()
end

--- Runs f as a task, and returns what it returned.
function helper.task(f, ...) return saros.run(f, ...) end

--- Lets the loop turn until nothing is ready any more.
function helper.settle()
  while saros.step(0) do end
end

--- Calls f in a comparison of table.sort, where nothing can yield, and returns
--- what it returned.
function helper.in_sort(f)
  local results
  table.sort({ 2, 1 }, function(a, b)
    results = results or table.pack(f())
    return a < b
  end)
  return table.unpack(results, 1, results.n)
end

--- The same in a generator, where a yield is a value of the loop.
function helper.in_generator(f)
  local results
  for _ in coroutine.wrap(function() results = table.pack(f()) end) do end
  return table.unpack(results, 1, results.n)
end

--- What warn() was given while f ran (and everything became garbage).
function helper.warnings(f)
  testmod.warnings()
  f()
  collectgarbage()
  collectgarbage()
  return testmod.warnings()
end

--- A script in an interpreter of its own: its output (both streams) and how
--- it ended.
function helper.script(text, options)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local lua = os.getenv "LUA" or "lua5.4"
  local pipe = io.popen(("timeout %d %s %s %s 2>&1")
    :format(patience, lua, options or "", path))
  local output = pipe:read "a"
  local _, how, code = pipe:close()
  os.remove(path)
  return output, how, code
end

--- Whether everything of `wanted` is in the table.
function helper.contains(wanted, actual)
  for name, value in pairs(wanted) do
    assert(actual[name] == value,
      ("%s is %s, not %s"):format(name, tostring(actual[name]), tostring(value)))
  end
end

return helper
