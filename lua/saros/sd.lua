--- What a service tells systemd about itself, over NOTIFY_SOCKET. Where there is
--- none, all of this does nothing.
---
--- ```lua
--- local sd = require "saros.sd"
--- sd.notify { ready = true, status = "waiting for the night" }
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local shown = require "saros.text"

---@class saros.sd
local sd = {}

---@class saros.sd.state
---@field ready? boolean it has begun
---@field reloading? boolean it reads its configuration anew
---@field stopping? boolean it ends
---@field status? string one line for `systemctl status`
---@field extend? number so many seconds more until it must have begun, or ended
---@field watchdog? boolean it still lives
---@field errno? integer why it failed
---@field main_pid? integer which process is the service

local known <const> = { ready = "boolean", reloading = "boolean",
  stopping = "boolean", status = "string", extend = "number",
  watchdog = "boolean", errno = "integer", main_pid = "integer" }

local function microseconds(seconds)
  return ("%d"):format(math.floor(seconds * 1e6))
end

-- In this order: who reads READY=1 has read the status.
local function lines(o)
  local list <const> = {}
  local function add(name, value)
    if value then list[#list + 1] = name .. "=" .. value end
  end
  -- A line break would be the end of it, and the beginning of something else.
  add("STATUS", o.status and shown.safe(o.status))
  add("ERRNO", o.errno and ("%d"):format(o.errno))
  add("MAINPID", o.main_pid and ("%d"):format(o.main_pid))
  add("EXTEND_TIMEOUT_USEC", o.extend and microseconds(o.extend))
  add("WATCHDOG", o.watchdog and "1")
  add("RELOADING", o.reloading and "1")
  add("READY", o.ready and "1")
  add("STOPPING", o.stopping and "1")
  return table.concat(list, "\n")
end

--- Tells it. True when it was told, false when nobody asks; nil and why when
--- nobody took it. Never waits longer than a second.
---@param state saros.sd.state
---@return boolean? told
---@return saros.error? err
function sd.notify(state)
  local o <const> = arguments.check("sd.notify", state, known)
  if o.extend and not (o.extend >= 0 and o.extend < 1e9) then
    error("sd.notify: option 'extend': seconds expected, not negative", 2)
  end
  local path = os.getenv "NOTIFY_SOCKET"
  if not path or path == "" then return false end
  return core.datagram(path, lines(o))
end

--- How often (in seconds) systemd wants to hear `watchdog = true`: half of what
--- it waits. Nil: it does not.
---@return number? seconds
function sd.watchdog()
  local usec = math.tointeger(tonumber(os.getenv "WATCHDOG_USEC"))
  if not usec or usec <= 0 then return nil end
  local pid = math.tointeger(tonumber(os.getenv "WATCHDOG_PID"))
  local file <close> = io.open "/proc/self/stat"
  if pid and file and file:read "n" ~= pid then return nil end
  return usec / 2e6
end

return sd
