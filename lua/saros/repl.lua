---@private
-- The prompt of saros: lines of Lua, each a task, so that it can wait for
-- operations while everything else goes on.

local chunk = require "saros.repl.chunk"
local core = require "saros.core"
local errors = require "saros.cli.errors"
local history = require "saros.repl.history"
local saros = require "saros"
local show = require "saros.repl.show"
local shown = require "saros.text"
local term = require "saros.term"

local IN <const> = 0
local PATIENCE <const> = 0.3 -- seconds before what runs is shown
local LINES <const> = 5      -- operations that are shown
local LONGEST <const> = 16 << 20 -- bytes of a line that is read

---@class saros.repl
---@field c saros.cli.context
---@field locals saros.repl.locals
---@field editor? saros.repl.editor on a terminal
---@field failed? boolean whether a line has
local repl = {}
repl.__index = repl

-- ------------------------------------------------------------------
-- Speaking
-- ------------------------------------------------------------------

-- Whoever speaks while a line is edited, or progress drawn, does so above it.
function repl:above(f)
  self.c.screen:hide()
  local editing = self.editor and self.editor.active
  if editing then self.editor:hide() end
  f()
  if editing then self.editor:show() end
end

function repl:write(text)
  self:above(function()
    local ok, why, number = io.stdout:write(text, "\n")
    if not ok and not self.lost then
      self.lost, self.gone = why, number == term.EPIPE
    end
  end)
end

-- For a person: on a terminal beside the results, elsewhere apart from them.
function repl:say(text)
  if self.terminal then return self:write(text) end
  io.stderr:write(text, "\n")
end

local function colored(self, text)
  return self.c.color and "\27[31m" .. text .. "\27[0m" or text
end

function repl:complain(err)
  self.failed = true
  if self.lost then return end -- which is said at the end
  if type(err) == "string" and not self.terminal then
    return io.stderr:write(shown.lines(err), "\n")
  end
  self:say(colored(self, table.concat(errors.lines(err), "\n  ")))
end

-- ------------------------------------------------------------------
-- A line that runs
-- ------------------------------------------------------------------

local function each_running(self, task)
  local list, waits = core.descent(task)
  local known
  for _, op in ipairs(list) do known = known or op == waits end
  if waits and not known then table.insert(list, waits) end
  local some = {}
  for _, op in ipairs(list) do
    local s = op:status()
    if s.kind ~= "saros.task" and #some < LINES then
      some[#some + 1] = { op = op, label = s.label or s.kind }
    end
  end
  self.some = some
end

-- What is shown is what runs now.
local function follow(self, task)
  local c = self.c
  each_running(self, task)
  for i = #c.shows.list, 1, -1 do
    local item, there = c.shows.list[i], false
    for _, one in ipairs(self.some) do there = there or one.op == item.op end
    if not there then table.remove(c.shows.list, i) end
  end
  for _, one in ipairs(self.some) do
    local there = false
    for _, item in ipairs(c.shows.list) do
      there = there or one.op == item.op
    end
    if not there then c.shows:add(one.op, one.label) end
  end
  c.shows:show()
  if #c.shows.list == 0 then c.screen:hide() end
end

-- Cancels what a line has begun. What was begun before it goes on.
local function cancel(self, task)
  local list, waits = core.descent(task)
  local earlier = waits
  for _, op in ipairs(list) do
    if op == waits then earlier = nil end
  end
  task:cancel()
  for _, op in ipairs(list) do op:cancel() end
  if earlier and not core.is_failure(earlier) then
    self:say(("%s goes on: an earlier line began it"):format(
      shown.safe(earlier:status().kind)))
  end
  return list
end

-- Until all that was cancelled is undone, or somebody has no time for that.
local function unwind(self, task, list)
  local function left()
    if not task:done() then return true end
    for _, op in ipairs(list) do
      if not op:done() then return true end
    end
  end
  while left() do
    local what = self:turn(0.2)
    if what == "INT" then
      self:say "what was begun is being undone, behind the prompt"
      return
    elseif what == "TERM" or what == "HUP" then
      self.over = what
      return
    end
  end
end

--- Lets everything go on, once: "time", "input" (when asked for), a signal.
--- Where a task has ended meanwhile nothing is waited for.
---@param task? saros.operation
function repl:turn(seconds, input, task)
  while saros.step(0) do end
  if task and task:done() then return "ready" end
  local warned = term.warned()
  if warned then
    self:say(colored(self, shown.lines((warned:gsub("\n$", "")))))
  end
  local what = term.wait(saros.fd(), seconds, input)
  if what == "WINCH" then self.c.screen:measure() end
  if what == "TSTP" then self.c.screen:suspend() end
  return what
end

-- Signals that were for a line that has ended by itself.
local function forget_signals(self)
  repeat
    local what = term.wait(-1, 0)
    if what == "TERM" or what == "HUP" then self.over = what end
  until what == "time"
end

local function attend(self, task)
  local _, begun = core.clocks()
  while true do
    while saros.step(0) do end
    if task:done() then break end
    local _, now = core.clocks()
    local late = now - begun >= PATIENCE
    if late and self.c.terminal then follow(self, task) end
    local due = late and 0.2 or PATIENCE
    local what = self:turn(self.c.terminal and due or nil, nil, task)
    if what == "INT" or what == "TERM" or what == "HUP" then
      if what ~= "INT" then self.over = what end
      self.interrupted = true
      local list = cancel(self, task)
      unwind(self, task, list)
      break
    end
  end
  self.c.shows.list = {}
  self.c.screen:hide()
end

local function with_trace(self)
  return function(err)
    if type(err) == "string" then
      self.trace = debug.traceback(nil, 2)
        :gsub("\n%s*%[C%]: in function 'xpcall'.*$", "")
    end
    return err
  end
end

local function is_interrupt(err)
  return type(err) == "string" and err:find "interrupted!$"
    or type(err) == "table" and core.is_failure(err) and err.cancelled
end

--- Runs a function as a line: false and its error, or true and what it
--- returned, packed.
function repl:perform(f)
  local results
  self.trace, self.interrupted = nil, false
  local task = core.spawn_root(function()
    term.interruptible()
    results = table.pack(xpcall(f, with_trace(self)))
  end)
  attend(self, task)
  forget_signals(self)
  task:ok() -- nobody else looks how it ended
  if not results and not task:done() then return false, nil end
  if not results or not results[1] and is_interrupt(results[2]) then
    -- It was computing: what it has begun before is cancelled now.
    local list = core.descent(task)
    for _, op in ipairs(list) do op:cancel() end
    unwind(self, task, list)
    self.interrupted = true
    return false, nil
  end
  if not results[1] then return false, results[2] end
  return true, table.pack(table.unpack(results, 2, results.n))
end

local function is_failed(results)
  return results.n >= 2 and results[1] == nil and core.is_failure(results[2])
end

-- As a part of the line, because showing a value may call somebody's function.
local function shown_by(self, f)
  return function()
    local results = table.pack(f())
    if is_failed(results) then
      return false, table.concat(errors.lines(results[2]), "\n  ")
    end
    if results.n == 0 then return true end
    if results[1] ~= nil then self.env._ = results[1] end
    return true, show.results(results, self.c.width - 1)
  end
end

local function print_results(self, results)
  local good, text = results[1], results[2]
  if not good then
    self.failed = true
    text = "nil  " .. colored(self, text)
  end
  if text then self:write(text) end
end

--- Compiles and runs some lines, and shows what comes of it. False: more have
--- to follow.
function repl:run(text)
  local f, why, incomplete = self.locals:compile(text, "=repl")
  if not f then
    if incomplete then return false end
    self:complain((why:gsub("^repl:1: ", "")))
    return true
  end
  local ok, results = self:perform(shown_by(self, f))
  if self.interrupted then
    self:say(colored(self, "interrupted"))
  elseif ok then
    print_results(self, results)
  elseif results ~= nil then
    self:complain(results)
  end
  for _, name in ipairs(why) do
    self:say(name .. " is <close>: it was closed at the end of the line")
  end
  return true
end

-- ------------------------------------------------------------------
-- Reading
-- ------------------------------------------------------------------

--- Whether no more lines are needed.
function repl:ends(text)
  if text:find "^%s*:" then return true end
  local f, _, incomplete = self.locals:compile(text, "=repl")
  return f ~= nil or not incomplete
end

-- The next line of what was read; `rest` is what follows.
local function cut(self, parts, more)
  local at = more:find("\n", 1, true)
  parts[#parts + 1] = at and more:sub(1, at - 1) or more
  self.rest = at and more:sub(at + 1) or ""
  return at ~= nil
end

-- A line that nobody edits here; nil at the end.
local function plain_line(self)
  local parts, size = {}, 0
  local whole = cut(self, parts, self.rest)
  while not whole do
    local what = self:turn(nil, IN)
    if what == "input" then
      local more = term.read(IN)
      if not more or more == "" then
        local line = table.concat(parts)
        return line ~= "" and line or nil
      end
      size = size + #more
      if size > LONGEST then
        self:complain(("a line of more than %s is not read")
          :format(shown.size(LONGEST)))
        return nil
      end
      whole = cut(self, parts, more)
    elseif what == "INT" or what == "TERM" or what == "HUP" then
      self.rest = table.concat(parts)
      if what ~= "INT" or not self.terminal then self.over = what end
      return nil, what
    end
  end
  return (table.concat(parts):gsub("\r$", ""))
end

local function plain_read(self)
  local text
  while true do
    if self.terminal then
      term.write(1, text and self.more or self.prompt)
    end
    local line, why = plain_line(self)
    if not line then return text, why or "end" end
    text = text and text .. "\n" .. line or line
    if self:ends(text) then return text end
  end
end

--- The next lines that belong together; nil, and why there are none.
function repl:read()
  if not self.editor then return plain_read(self) end
  local text, why = self.editor:read()
  if why == "TERM" or why == "HUP" then self.over = why end
  return text, why
end

-- ------------------------------------------------------------------
-- A session
-- ------------------------------------------------------------------

local function history_path(c)
  local state = require "saros.cli.where".state(c)
  local good, path = pcall(core.directory, "state", state)
  return good and path .. "/repl.history" or nil
end

-- What is there without being asked for.
local function populate(self)
  local env = self.env
  env.saros = saros
  for _, name in ipairs { "vss", "wsb", "vds", "bits", "repository" } do
    local there, module = pcall(require, "saros." .. name)
    if there then env[name] = module end
  end
  function env.await(op)
    local wait = (type(op) == "table" or type(op) == "userdata") and op.wait
    if not wait then
      error("await: an operation expected, got " .. type(op), 2)
    end
    return wait(op)
  end
  function env.help(what) require "saros.repl.help".tell(self, what) end
  function env.print(...)
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    self:write(table.concat(words, "\t"))
    -- Or a loop would go on printing for nobody.
    if self.lost then error("print: nobody reads it", 2) end
  end
  env._PROMPT, env._PROMPT2 = env._PROMPT or "> ", env._PROMPT2 or ">> "
end

--- Makes a session.
---@param c saros.cli.context
---@return saros.repl
function repl.new(c)
  local self = setmetatable({ c = c, locals = chunk.locals(), env = _G,
    rest = "", terminal = term.isatty(IN) and term.isatty(1) }, repl)
  populate(self)
  self.prompt, self.more = self.env._PROMPT, self.env._PROMPT2
  self.c.terminal = self.terminal and self.c.terminal
  if self.terminal and self.c.screen.terminal then
    self.editor = require "saros.repl.editor".new { prompt = self.prompt,
      more = self.more, history = history.open(history_path(c)),
      wait = function(seconds) return self:turn(seconds, IN) end,
      ends = function(text) return self:ends(text) end,
      complete = function(text, at)
        return require "saros.repl.complete".at(self, text, at)
      end }
  end
  return self
end

local commands = {}

commands.quit = function(self) self.over = "quit" end
commands.exit, commands.q = commands.quit, commands.quit

commands.help = function(self, rest)
  if rest ~= "" then return require "saros.repl.help".tell(self, rest) end
  self:write [[
A line is Lua; what it gives is shown. saros and its parts vss, wsb, vds, bits
and repository are there.

  await OP       waits for an operation, as OP:wait() does; Ctrl-C cancels what
                 the line has begun. Without it the operation goes on while you
                 type, and _ is the last thing that was shown
  local x = …    is there in the next lines, too; <const> stays constant, and
                 <close> is closed at the end of its own line
  help(x)        explains a function or an object: help(saros.copy),
                 help "vss.shadow"
  Tab            completes names, fields, options and, in a text, files
  ^R             searches what was typed; lines that begin with a blank or speak
                 of a password are not kept

  :tour          two minutes with a shadow, a backup and a restore
  :trace         where the last error came from
  :quit          or Ctrl-D: cancels what still runs, and leaves]]
end
commands.h = commands.help

commands.trace = function(self)
  self:write(self.trace and shown.lines((self.trace:gsub("\t", "  ")))
    or "there was no error")
end

commands.tour = function(self) require "saros.repl.tour".run(self) end

local function command(self, text)
  local name, rest = text:match "^%s*:%s*(%a*)%s*(.-)%s*$"
  if commands[name] then return commands[name](self, rest) end
  local names = { "quit", "help", "tour", "trace" }
  self:complain(("there is no :%s%s"):format(name,
    require "saros.arguments".nearest(name, names)))
end

--- What is one of ours, or Lua's.
function repl:take(text)
  if text:find "^%s*:" then return command(self, text) end
  if not text:find "%S" then return end
  if text:find "^%s*exit%s*$" or text:find "^%s*quit%s*$" then
    self.over = "quit"
    return
  end
  if not self:run(text) then self:complain "it does not end" end
end

local function leave(self)
  self.c.screen:hide()
  core.set_log(nil)
  saros.shutdown(30)
end

--- Reads and runs until somebody has enough: the exit code.
---@return integer
function repl:loop()
  io.stdout:setvbuf "no"
  saros.config { log = function(r)
    if r.level == "error" or r.level == "warning" then
      self:say(colored(self, r.level .. ": " .. shown.safe(r.text)))
    end
  end }
  if self.terminal then
    self:write(saros._VERSION
      .. "  :help explains, :tour shows, Ctrl-D leaves")
  end
  while not self.over and not self.lost do
    local text, why = self:read()
    if text then
      self:take(text)
    elseif why == "INT" then
      self:say "Ctrl-D or :quit leaves"
    elseif why == "end" then
      self.over = "end"
    end
  end
  leave(self)
  if self.gone then return 141 end
  if self.lost then
    self:say("saros: the output cannot be written: " .. self.lost)
    return 1
  end
  if self.over == "INT" or self.over == "TERM" or self.over == "HUP" then
    return 130
  end
  return self.failed and not self.terminal and 1 or 0
end

return repl
