--- Somebody is told: when a run has failed, when there was none for too long,
--- when no drill has shown for too long that there is a way back, and once when
--- all is well again. By a URL, a command or mail.
---
--- ```lua
--- local notify = require "saros.notify"
--- local told = notify.check { name = "nightly", max_age = 26 * 3600,
---   to = { mail = "root", url = { file = "/etc/saros/hook" } } }:wait()
--- ```
---
--- What was told is kept in the state's directory, so that nobody is told twice
--- of one failure, by whichever process. What could not be delivered is tried
--- again with the next check.

local core = require "saros.core"
local arguments = require "saros.arguments"

---@class saros.notify
local notify = {}

-- Everything that can be told, in the order of what it is worth.
local EVENTS <const> = { "failed", "partial", "late", "drill", "recovered" }

-- By what they are, as arguments.check takes them.
local PLACES <const> = { url = "string|table", command = "list",
  mail = "list", headers = "table", sendmail = "string", from = "string",
  cacert = "string", timeout = "number", on = "list",
  max_age = "number|string", drill_age = "number|string" }

-- 93600, or "26h"
local function seconds_of(what, option, given, level)
  if type(given) ~= "string" then return given end
  return require "saros.text".seconds(given)
    or error(("%s: option '%s': a time such as \"26h\" or \"7d\" expected, "
    .. "got %q"):format(what, option, given), level + 1)
end

---@class saros.notify.to
---@field url? string|{ env: string }|{ file: string } a POST of JSON: event, name, host, state, subject, text, causes, log
---@field headers? table<string, string|saros.bits.secret> sent with it
---@field cacert? string a file with the certificates to trust
---@field command? string|string[] a program and its arguments: the text is its input, SAROS_EVENT, SAROS_NAME, SAROS_HOST, SAROS_RUN, SAROS_STATE and SAROS_SUBJECT are in its environment
---@field mail? string|string[] addresses; by sendmail
---@field from? string the sender's address
---@field sendmail? string the program ("/usr/sbin/sendmail")
---@field timeout? number seconds for each of these, all tries together (60)
---@field on? string[] as notify.check has it, when that is not told
---@field max_age? number|string
---@field drill_age? number|string

-- What is wrong with an address: a line that goes on would be a header of its
-- own, an option is no address.
local function check_places(what, to, level)
  local o = arguments.check(what, to, PLACES, level + 1)
  for _, address in ipairs(o.mail or {}) do
    if address:find "[%c%s,;<>]" or address:find "^%-" or address == "" then
      error(("%s: option 'mail': %q is no address"):format(what, address),
        level)
    end
  end
  if o.from and (o.from:find "[%c]" or o.from == "") then
    error(what .. ": option 'from': an address expected", level)
  end
  if type(o.url) == "table" and type(o.url.env or o.url.file) ~= "string" then
    error(what .. ": option 'url': a text, { env = name } or { file = path } "
      .. "expected", level)
  end
  if o.command and not o.command[1] then
    error(what .. ": option 'command': a program expected", level)
  end
  o.max_age = seconds_of(what, "max_age", o.max_age, level)
  o.drill_age = seconds_of(what, "drill_age", o.drill_age, level)
  local known = {}
  for _, event in ipairs(EVENTS) do known[event] = true end
  for _, event in ipairs(o.on or {}) do
    if not known[event] then
      error(("%s: option 'on': there is no '%s'; it takes %s"):format(what,
        event, table.concat(EVENTS, ", ")), level)
    end
  end
  return o
end

--- Checks what a configuration says of it, at once. Raises.
---@param to saros.notify.to
---@return saros.notify.to
function notify.options(to)
  local o = check_places("notify", to, 3)
  if type(o.url) == "string" and not o.url:find "^https?://[^/]" then
    error("notify: option 'url': http://… or https://… expected", 2)
  end
  return o
end


-- ------------------------------------------------------------------
-- Sending
-- ------------------------------------------------------------------

---@class saros.notify.send.options
---@field to saros.notify.to
---@field event string
---@field run saros.record.summary of `record.list`
---@field log? table[] { at, level, text }: only the last ones are sent
---@field skip? table<string, boolean> the destinations ("url", …) that have it already
---@field good? saros.record.summary the last run that succeeded
---@field drill_said? string what there is to say of drills
---@field state_dir? string

--- Sends one message to all that are named in `to`, each by itself.
---
--- ```lua
--- local r = notify.send { to = { mail = "root" }, event = "failed", run = run }:wait()
--- for _, f in ipairs(r.failed) do print(f.to, f.message) end
--- ```
---@param options saros.notify.send.options
---@return saros.operation op result: `{ told = { mail = true }, failed = { { to, message } } }`; it does not fail when nobody could be told
function notify.send(options)
  local o = arguments.check("notify.send", options, { to = "table",
    run = "table", log = "table", event = EVENTS, skip = "table",
    good = "table", drill_said = "string", state_dir = "string" })
  arguments.need("notify.send", o, "to", '{ mail = "root" }')
  arguments.need("notify.send", o, "run", "one of record.list()")
  arguments.need("notify.send", o, "event", '"failed"')
  local to = check_places("notify.send", o.to, 3)
  return core.spawn(function()
    local deliver = require "saros.notify.deliver"
    local resolved = deliver.resolve(to)
    local message = require "saros.notify.message".of(o, resolved)
    return deliver.all(message, resolved, o)
  end)
end


-- ------------------------------------------------------------------
-- When
-- ------------------------------------------------------------------

---@class saros.notify.check.options
---@field name string of the workflow
---@field to saros.notify.to
---@field on? string[] of "failed" (and interrupted), "partial", "late", "drill", "recovered" (all)
---@field max_age? number|string without a success after which it is late: seconds, or "26h"
---@field drill_age? number|string without a drill that succeeded
---@field now? number seconds since 1970
---@field run? saros.record.summary the run that has just ended: where its record could not be written, it is told all the same
---@field state_dir? string

--- Looks at the records of a name and tells what has not been told yet: after a
--- run, and now and then by a timer, because what never ran says nothing.
---@param options saros.notify.check.options
---@return saros.operation op result: a list of `{ event, run, told, failed }`, empty when there was nothing to tell
function notify.check(options)
  local o = arguments.check("notify.check", options, { name = "string",
    to = "table", on = "list", max_age = "number|string",
    drill_age = "number|string", now = "number", state_dir = "string",
    run = "table" })
  arguments.need("notify.check", o, "name", "of a workflow")
  arguments.need("notify.check", o, "to", '{ mail = "root" }')
  local to = check_places("notify.check", o.to, 3)
  local more = check_places("notify.check", { on = o.on or to.on or EVENTS,
    max_age = o.max_age or to.max_age,
    drill_age = o.drill_age or to.drill_age }, 3)
  o.on, o.max_age, o.drill_age = more.on, more.max_age, more.drill_age
  return core.spawn(function()
    return require "saros.notify.told".check(o, to, notify.send)
  end)
end

return notify
