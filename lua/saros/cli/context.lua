---@private
-- What a verb is handed: its options, ways to speak, and what it works with.

local core = require "saros.core"
local errors = require "saros.cli.errors"
local progress = require "saros.cli.progress"
local screen = require "saros.cli.screen"
local shown = require "saros.text"
local term = require "saros.term"

---@class saros.cli.context
---@field options table by long name, with _ for -
---@field arguments string[]
---@field verb table
---@field terminal boolean whether progress is drawn
---@field color boolean
---@field width integer columns
local context = {}

local class = { __index = function(self, name)
  if name == "width" then return self.screen.width end
  return context[name]
end }

function context.new(verb, options, arguments)
  local c = setmetatable({ verb = verb, options = options,
    arguments = arguments, closing = {}, repositories = {} }, class)
  c.screen = screen.new(options.quiet)
  c.terminal = c.screen.terminal and not options.quiet and not options.json
  c.color = c.screen.color
  c.shows = progress.new(c)
  return c
end

-- ------------------------------------------------------------------
-- Speaking
-- ------------------------------------------------------------------

local function joined(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  return table.concat(parts)
end

--- A line of the result, for the output; nothing with --json. Who calls it
--- escapes what is somebody else's (saros.text).
function context:out(...)
  if self.options.json then return end
  self:write(joined(...) .. "\n")
end

--- Bytes of the result, as they are.
function context:write(bytes)
  if not self.screen:out(bytes) then self:unread() end
end

-- The output is gone: there is nothing to be done any more.
function context:unread()
  if self.screen.gone then error(errors.ending(141), 0) end
  error(errors.ending(1, "the output cannot be written: "
    .. self.screen.lost), 0)
end

--- The same of what only a person reads: on a terminal it goes on between
--- words.
function context:prose(...)
  local text = joined(...)
  if self.screen.out_terminal then
    text = table.concat(screen.wrap(text, "", self.width - 1), "\n")
  end
  self:out(text)
end

--- A line for people, beside the result; nothing with --quiet.
function context:say(...) self.screen:say(joined(...)) end

--- The same of a command that can be copied.
function context:say_command(...)
  self.screen:say("  " .. require "saros.cli.quote".command(...), true)
end

--- A warning: a line that --quiet does not silence.
function context:warn(...)
  local text = joined(...)
  self:emit("warning", { message = text })
  if not self.options.json then
    self.screen:tell(("saros: %s: %s"):format(self.verb.name, text))
  end
end

--- The same, of what was not done: the exit code is 3 at the end.
function context:partial(...)
  self.is_partial = true
  if select("#", ...) > 0 then self:warn(...) end
end

--- A line of --json.
function context:emit(kind, record)
  if not self.options.json then return end
  local line = { saros = 1, type = kind }
  for name, value in pairs(record) do line[name] = value end
  self.screen:out(core.json_write(line) .. "\n")
  if kind ~= "progress" then self.screen:flush() end
end

--- Rows in columns that fit the width: `columns` are { { "title", right = true,
--- cut = "tail" }, … }; the last one is cut where it does not fit. What has no
--- title is `called` something where each row is some lines.
function context:table(rows, columns)
  if self.options.json then return end
  require "saros.cli.table".write(self, rows, columns)
end

-- ------------------------------------------------------------------
-- Ending
-- ------------------------------------------------------------------

--- Ends the verb with an exit code and a message.
function context.fail(_, code, text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error(errors.ending(code, text), 0)
end

--- Ends it because it was called wrongly.
function context:usage(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error(errors.ending(2, ("%s\n'saros %s --help' shows how it is used")
    :format(text, self.verb.name)), 0)
end

--- Calls f when the verb has ended, however it ended; the last one first.
function context:defer(f) table.insert(self.closing, f) end

--- A repository that is closed when the verb has ended.
---@param location string as it may be shown
function context:opened(repo, location)
  table.insert(self.repositories, { repo, location })
  self:defer(function() repo:close() end)
end

--- For the record: how long what was opened has been locked.
---@param err any why the verb failed
function context:note_locks(err)
  if not self.recorded then return end
  local locked = require "saros.record.locked"
  for _, one in ipairs(locked.may_ask(err) and self.repositories or {}) do
    local age = locked.age(one[1])
    if age then
      self.locks = self.locks or {}
      table.insert(self.locks, { location = one[2], age = age })
    end
  end
end

-- ------------------------------------------------------------------
-- Working
-- ------------------------------------------------------------------

--- Shows an operation until it has ended, and returns what its `wait` does.
--- It is cancelled with the verb.
---@param lane? string where it stands in the record of the verb, if it has one
---@param parts? fun(): table[] what it is made of now: { lane, name, status }
function context:progress(op, label, lane, parts)
  if self.stopped then -- and the last one was not to be stopped any more
    op:close()
    error(self.stopped, 0)
  end
  return self:finish(op, label, lane, parts)
end

-- Until it has ended, also for who is cancelled meanwhile: it may be too late
-- for that, and then it has been done.
local function to_its_end(self, op)
  local good, result, err = pcall(op.wait, op)
  if good then return result, err end
  self.stopped = result
  op:cancel()
  while not op:done() do op:wait() end
  result, err = op:result()
  if result == nil then error(err.cancelled and err or self.stopped, 0) end
  return result, err
end

--- The same of what belongs to the one before, and is done even if somebody
--- interrupted that, when it was too late.
function context:finish(op, label, lane, parts)
  local note = lane and self.recorded
    and self.recorded:op { lane = lane, name = label }
  if note then
    note:watch(op, false)
    local result, err = self:finish(op, label)
    note:done(result == nil and err or nil)
    return result, err
  end
  local item = self.shows:add(op, label, parts)
  -- It is shown until it is unwound. One that has ended still has its status.
  local _ <close> = setmetatable({}, { __close = function()
    if not op:done() then op:close() end
    self.shows:remove(item)
  end })
  return to_its_end(self, op)
end

--- A module that may have been left out of this build.
function context:need(module)
  local there, found = pcall(require, module)
  if there then return found end
  self:fail(14, "%s is not there: %s", module,
    shown.safe(tostring(found):match "^[^\n]*"))
end

-- The words that it was called with, without a password in an address.
local function without_secrets(argv)
  local words = {}
  for i = 1, #argv do
    words[i] = argv[i]:gsub("(//[^/@:]*):[^/@]*@", "%1:…@")
    if argv[i - 1] == "--password-command" then words[i] = "…" end
    words[i] = words[i]:gsub("^(%-%-password%-command=).*", "%1…")
  end
  return words
end

--- A record of what this is (saros.record), which ends with the verb.
function context:record(kind)
  if not self.recorded then
    self.recorded = require "saros.record".begin { kind = kind,
      name = self.options.name, argv = without_secrets(self.argv),
      state_dir = require "saros.cli.where".state(self) }
  end
  return self.recorded
end

--- The same of work that matters more than its record: without one it is done
--- all the same.
function context:noted(kind)
  local good, err = pcall(self.record, self, kind)
  if not good then
    if type(err) == "table" and err.cancelled then error(err, 0) end
    self:warn("there is no record of this: ", shown.safe(type(err) == "table"
      and err.message or err))
  end
end

--- The configuration: `repository`, `password`, `workflows`, …
function context:config()
  if not self.configuration then
    self.configuration = require "saros.cli.config".load(self)
  end
  return self.configuration
end

--- A workflow of the configuration.
function context:workflow(name)
  return require "saros.cli.config".workflow(self, name)
end

--- The repository that was named, open; closed with the verb.
---@param options? table more for `repository.open`
function context:repository(options)
  return require "saros.cli.repository".open(self, options)
end

--- Asks on the terminal: an answer, or nil when there is none to ask.
---@param hidden? boolean a password
function context:ask(question, hidden)
  self.screen:flush()
  self.screen:hide()
  local answer, why, number = term.ask(shown.safe(question) .. " ", hidden)
  self.screen:measure()
  if answer then return answer end
  if number == term.EINTR then core.sleep(3600):wait() end -- it is cancelled
  return nil, why
end

--- Whether that is wanted: false where nobody can be asked.
function context:confirm(question)
  local answer = self:ask(question .. " [y/N]")
  return answer ~= nil and answer:lower():match "^%s*y" ~= nil
end

return context
