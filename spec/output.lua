-- How busted tells what happened: only what failed and what was skipped, with
-- the reason, and the closing line that every suite here prints. See spec/run.
local base = require "busted.outputHandlers.base"


local function text(message)
  if message == nil then return "no reason given" end
  if type(message) == "string" then return message end
  local mt = debug.getmetatable(message)
  if mt and mt.__tostring then return tostring(message) end
  return require "pl.pretty".write(message)
end


-- "file:line: message"; assert has put the place there already.
local function placed(entry)
  local trace = entry.element.trace or entry.trace
  local message = text(entry.message)
  if not trace or not trace.short_src
    or message:find(trace.short_src, 1, true) == 1 then
    return message
  end
  return ("%s:%s: %s"):format(trace.short_src, trace.currentline, message)
end


return function()
  local busted = require "busted"
  local handler = base()

  function handler.suiteEnd()
    for _, skipped in ipairs(handler.pendings) do
      print(("SKIPPED %s: %s"):format(skipped.name, text(skipped.message)))
    end
    for _, list in ipairs { handler.failures, handler.errors } do
      for _, bad in ipairs(list) do
        print(("FAILED %s\n%s"):format(bad.name, placed(bad)))
        -- An error is a surprise: where it came from is worth knowing.
        if bad.isError and bad.trace and bad.trace.traceback then
          print((bad.trace.traceback:gsub("^\n+", "")))
        end
      end
    end
    print(("%d passed, %d failed, %d skipped"):format(handler.successesCount,
      handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    io.stdout:flush()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
