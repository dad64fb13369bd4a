--- saros: long operations, and coroutines that wait on them.
---
--- An operation is work that has started and has not necessarily ended. It
--- lives in C and goes on without Lua; Lua looks at it, waits for it, cancels
--- it. `op:wait()` is right everywhere: in a task it yields, in plain code it
--- blocks.
---
--- ```lua
--- local saros = require "saros"
--- saros.run(function()
---   local copy = saros.copy { from = "/srv/a", to = "/backup/a" }
---   for s in copy:progress() do print(s.percent, s.phase) end
---   assert(copy:wait())
--- end)
--- ```

local core = require "saros.core"
local combine = require "saros.combine"

---@class saros
local saros = {}

saros.sleep = core.sleep
saros.process = core.process
saros.copy = core.copy
saros.run = core.run
saros.spawn = core.spawn
saros.get = core.get
saros.fd = core.fd
saros.step = core.step
saros.shutdown = core.shutdown
saros.report = core.report

saros.all = combine.all
saros.any = combine.any
saros.timeout = combine.timeout
saros.retry = combine.retry
saros.scope = combine.scope

-- At the prompt the list shows itself: a line for each, in order.
local listing = {
  __tostring = function(list)
    local names, width = {}, 0
    for name in pairs(list) do
      names[#names + 1] = name
      width = math.max(width, #name)
    end
    table.sort(names)
    for i, name in ipairs(names) do
      names[i] = name .. (" "):rep(width + 2 - #name) .. tostring(list[name])
    end
    return #names > 0 and table.concat(names, "\n") or "no operation has a name"
  end,
}

function saros.list()
  return setmetatable(core.list(), listing)
end

saros.code = require "saros.code"
saros.config = require "saros.config"
saros.vss = require "saros.vss"
saros._VERSION = require "saros.format".program

-- What most scripts never need is loaded when it is asked for.
local lazy <const> = { wsb = "saros.wsb", drill = "saros.drill",
  workflow = "saros.workflow", hold = "saros.hold",
  shadows = "saros.shadows", doctor = "saros.doctor" }

return setmetatable(saros, {
  __index = function(_, name)
    if not lazy[name] then return nil end
    saros[name] = require(lazy[name])
    return saros[name]
  end,
})
