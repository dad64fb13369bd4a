--- A writer of this process: what `vss.writer` and `vss.command_writer`
--- return.

local core = require "saros.core"

---@class saros.vss.writer
---@field id string its class, a GUID
---@field instance string this one of its class
---@field name string
local writer = {}

-- The handlers of a writer that was closed while it held still are asked to
-- let go, as by a session that ends. `held`: closing it is the last chance.
local function let_go(handlers, name)
  local f = handlers.abort or handlers.thaw
  if not f then return end
  local ok, result, err = pcall(f,
    { event = "abort", reason = "the writer was closed" })
  if ok and (result or err == nil) then return end
  warn(("saros: writer '%s' was closed while it held still, and its abort "
    .. "failed: %s"):format(name, tostring(ok and err or result)))
end

--- Not told anything any more. A handler that runs is cancelled (but for the
--- one that calls this), and a writer that holds still lets go: its `abort`
--- is run, else its `closed`. Waits until all that is over. Also `__close`; a
--- writer that is garbage is unsubscribed, too.
---@param seconds? number wait at most so long
function writer:close(seconds)
  local name, open = self.name, core.writer_is_open(self)
  local ops, held, handlers = core.writer_close(self)
  if held then
    ops[#ops + 1] = core.spawn(let_go, handlers, name)
  elseif open and handlers and handlers.closed then
    ops[#ops + 1] = core.spawn(handlers.closed)
  end
  if #ops > 0 then core.gather(ops, "all"):wait(seconds) end
end

--- Whether sessions find it.
---@return boolean
function writer:is_open()
  return core.writer_is_open(self)
end

local fields = {
  id = core.writer_id,
  instance = core.writer_instance,
  name = core.writer_name,
}

local class = core.writer_class()

function class.__index(self, key)
  local field = fields[key]
  if field then return field(self) end
  return writer[key]
end

function class.__close(self) writer.close(self) end

function class.__tostring(self)
  if not self:is_open() then return "saros.vss.writer: closed" end
  return ("saros.vss.writer: %s %s"):format(self.name, self.id)
end

return writer
