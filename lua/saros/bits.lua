--- Transfers in the background, as the Background Intelligent Transfer Service
--- makes them: a queue on the disk that survives its process and the machine,
--- downloads that are continued only where that is provably right, and files
--- that have their names when all of them is there.
---
--- ```lua
--- local bits = require "saros.bits"
--- local q <close> = bits.manager { path = "queue.db" }
--- local job = q:create_job { name = "images", priority = "low" }
--- job:add_file { url = "https://example.org/a.iso", path = "/srv/a.iso" }
--- job:resume()
--- for s in job:progress() do print(s) end
--- assert(job:wait())
--- job:complete()
--- ```
---
--- Methods wait inside, by the rule of all waits, and raise what went wrong;
--- `job:wait()` returns it. `q:create_group(guid)` has the older objects, QMgr's,
--- with their own methods. The module is not there when OpenSSL, SQLite or
--- libcurl were not when saros was built.

local arguments = require "saros.arguments"
local calls = require "saros.bits.calls"
local core = require "saros.bits.core"
local manager = require "saros.bits.manager"
local options = require "saros.bits.options"
require "saros.bits.group"

---@class saros.bits
local bits = {}

---@class saros.bits.options: saros.bits.settings
---@field path string the queue's file; made when there is none
---@field observe? boolean only look, also when nobody owns it

--- Opens a queue. Its owner is one process that lives: who opens it while there
--- is one may look, and nothing else. What was queued or running goes on.
---@param given saros.bits.options
---@return saros.bits.manager
function bits.manager(given)
  local o = options.take("bits.manager", given, options.manager)
  arguments.need("bits.manager", o, "path", "the queue's file")
  o.path = core.absolute(o.path)
  local op = core.open(o)
  local told = calls.result(op)
  local own = core.opened(op)
  if not own then calls.raise(0x80004005, "the queue was closed meanwhile") end
  return manager._new(own, told ~= true and told or nil)
end

return bits
