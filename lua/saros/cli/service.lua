---@private
-- The program as a service: what there is to say goes to the journal with its
-- priority, and systemd is told what is done, and asked for time to undo it.

local core = require "saros.core"
local journal = require "saros.journal"
local sd = require "saros.sd"

local service = {}
service.__index = service

-- So often it is said what is done (seconds); so long an undoing may take until
-- it is said anew that it goes on.
local EVERY <const>, PATIENCE <const> = 5, 60

-- By the clock that nobody sets.
local function now() return (select(2, core.clocks())) end

--- Nil: this is no service.
---@param otherwise fun(record: table) has what the journal does not take
function service.new(c, otherwise)
  local notifies = (os.getenv "NOTIFY_SOCKET" or "") ~= ""
  if journal.is_ours() then
    require "saros".config { log = journal.logger { otherwise = otherwise,
      operation = function()
        return c.operation or c.recorded and c.recorded.id
      end } }
  end
  if not notifies then return nil end
  sd.notify { ready = true }
  return setmetatable({ said = "", at = now() }, service)
end

--- How long until it wants to be asked again.
function service:due() return self.at + EVERY - now() end

--- What is done now: a line for `systemctl status`.
function service:turn(list)
  if self:due() > 0 then return end
  self.at = now()
  if self.undoing then sd.notify { extend = PATIENCE } end
  local text = table.concat(list, "; ")
  if text == "" or text == self.said then return end
  self.said = text
  sd.notify { status = text }
end

--- What was begun is undone.
function service:stopping(text)
  self.undoing, self.said = true, text
  sd.notify { stopping = true, status = text, extend = PATIENCE }
end

return service
