--- The log, in the journal of systemd: with its priorities, and with fields of
--- its own by which `journalctl SAROS_OPERATION=…` finds what belongs together.
---
--- ```lua
--- saros.config { log = require "saros.journal".logger { operation = run.id } }
--- ```
---
--- It speaks the journal's own protocol: a message may have any bytes and any
--- number of lines.

local core = require "saros.core"
local arguments = require "saros.arguments"

---@class saros.journal
local journal = {}

local SOCKET <const> = "/run/systemd/journal/socket"

-- As syslog has them.
local priorities <const> = { error = 3, warning = 4, notice = 5, debug = 7 }

-- Of what the journal takes; what begins with "_" is its own.
local function is_name(name)
  return type(name) == "string" and #name <= 64
    and name:find "^[A-Z][A-Z0-9_]*$" ~= nil
end

local function field(name, value)
  value = tostring(value)
  if not value:find("\n", 1, true) then return name .. "=" .. value .. "\n" end
  return ("%s\n%s\n"):format(name, string.pack("<s8", value))
end

-- In a fixed order; MESSAGE first, because people look at it.
local function message(fields)
  local names, text = {}, {}
  for name in pairs(fields) do
    if not is_name(name) then
      error(("journal: '%s' is no field's name (A-Z, 0-9 and _, a letter "
        .. "first)"):format(tostring(name)), 3)
    end
    if name ~= "MESSAGE" then names[#names + 1] = name end
  end
  table.sort(names)
  if fields.MESSAGE ~= nil then table.insert(names, 1, "MESSAGE") end
  for i, name in ipairs(names) do text[i] = field(name, fields[name]) end
  return table.concat(text)
end

--- Sends one entry: `{ MESSAGE = "…", PRIORITY = 4, … }`. What it cannot have
--- is `nil` and why; no journal waits longer than a second.
---@param fields table<string, string|number>
---@param socket? string of another journal than the system's
---@return boolean? sent
---@return saros.error? err
function journal.send(fields, socket)
  return core.datagram(socket or SOCKET, message(fields), true)
end

--- Whether what this process writes to its standard error goes to the journal
--- anyway, as that of a service does: then its log should, too.
---@return boolean
function journal.is_ours()
  local device, inode = (os.getenv "JOURNAL_STREAM" or ""):match
    "^(%d+):(%d+)$"
  if not device then return false end
  -- Who is started by a service inherits the variable, and not always the
  -- stream.
  local pipe <close> = io.popen
    "exec 3>&2 2>/dev/null; stat -L -c '%d:%i' /proc/self/fd/3"
  return pipe ~= nil and pipe:read "l" == device .. ":" .. inode
end

---@class saros.journal.logger
---@field operation? string|fun(): string? what SAROS_OPERATION says: of a run its id
---@field identifier? string SYSLOG_IDENTIFIER ("saros")
---@field fields? table<string, string|number> of every entry
---@field otherwise? saros.logger has what the journal does not take; without it that is lost
---@field socket? string of another journal than the system's

-- So long nobody tries a journal that does not answer.
local RESTS <const> = 10

local function entry(o, record)
  local operation = o.operation
  if type(operation) == "function" then operation = operation() end
  local fields <const> = {}
  for name, value in pairs(o.fields or {}) do fields[name] = value end
  fields.SYSLOG_IDENTIFIER = o.identifier or "saros"
  fields.SAROS_OPERATION = operation
  if record.lost then
    fields.PRIORITY = priorities.warning
    fields.MESSAGE = ("%d messages were lost: they came faster than they were "
      .. "taken"):format(record.lost)
  else
    fields.PRIORITY = priorities[record.level] or priorities.notice
    fields.MESSAGE = record.text
    fields.SAROS_AREA = record.area
    fields.SAROS_TIME_USEC = math.floor(record.time * 1e6)
  end
  return fields
end

--- A function for `saros.config { log = }`.
---@param options? saros.journal.logger
---@return saros.logger
function journal.logger(options)
  local o <const> = arguments.check("journal.logger", options, {
    operation = "string|function", identifier = "string", fields = "table",
    otherwise = "function", socket = "string" })
  for name in pairs(o.fields or {}) do
    if not is_name(name) then
      error(("journal.logger: '%s' is no field's name"):format(tostring(name)),
        2)
    end
  end
  local again = 0
  return function(record)
    local sent = os.time() >= again and journal.send(entry(o, record), o.socket)
    if sent then return end
    if os.time() >= again then again = os.time() + RESTS end
    if o.otherwise then o.otherwise(record) end
  end
end

return journal
