---@private
-- A verb as a task, the loop around it, and how it ends.

local saros = require "saros"
local context = require "saros.cli.context"
local core = require "saros.core"
local errors = require "saros.cli.errors"
local shown = require "saros.text"
local term = require "saros.term"

local run = {}

-- What is still to be done, in the words of the operations.
local function left(c)
  local list = {}
  for _, item in ipairs(c.shows.list) do
    local s = item.op:status()
    list[#list + 1] = ("%s: %s"):format(item.label,
      s.step or s.phase or s.state)
  end
  return list
end

-- Ctrl-C: once cancels, twice leaves.
local function interrupt(c, task, signal)
  if not c.interrupted then
    c.interrupted = signal
    task:cancel()
    local list = left(c)
    if c.service then
      c.service:stopping(c.verb.until_interrupted or "undoing what was begun")
    end
    c.screen:tell(("%s: %s%s"):format(
      signal == "INT" and "interrupted" or "ended by SIG" .. signal,
      c.verb.until_interrupted or "undoing what was begun",
      #list > 0 and " (" .. shown.safe(table.concat(list, "; ")) .. ")" or ""))
    return
  end
  local list = left(c)
  c.screen:hide()
  c:emit("error", { exit_code = 130, message = "left in the middle of undoing: "
    .. table.concat(list, "; ") })
  c.screen:tell "left in the middle of undoing:"
  for _, line in ipairs(list) do c.screen:tell("  " .. shown.safe(line)) end
  c.screen:tell("  what is frozen is let go by its guard; shadow copies and "
    .. "locks that are left go with the next run")
  c.screen:flush()
  os.exit(130, false)
end

local function turn(c, task)
  while true do
    while saros.step(0) do end
    if task:done() then return end
    c.shows:show()
    c.screen:flush()
    local due = c.shows:due()
    if c.service then
      c.service:turn(left(c))
      local other = math.max(c.service:due(), 0)
      due = due and math.min(due, other) or other
    end
    local what = term.wait(saros.fd(), due)
    if what == "WINCH" then
      c.screen:measure()
    elseif what == "TSTP" then
      c.screen:suspend()
    elseif what ~= "ready" and what ~= "time" then
      interrupt(c, task, what)
    end
  end
end

-- What saros has to say beside errors.
local function listen(c)
  local function tell_record(r)
    if r.level == "error" or r.level == "warning" then
      c:warn(shown.safe(r.text))
    end
  end
  saros.config { log = tell_record }
  -- Only what systemd starts has one of these.
  if os.getenv "JOURNAL_STREAM" or os.getenv "NOTIFY_SOCKET" then
    c.service = require "saros.cli.service".new(c, tell_record)
  end
end

local function close(c, failure)
  pcall(c.note_locks, c, failure) -- a verb has its outcome without that
  for i = #c.closing, 1, -1 do
    local ok, err = pcall(c.closing[i])
    if not ok and type(err) == "table" and err.cancelled then -- but once
      ok, err = pcall(c.closing[i])
    end
    if not ok then c:warn(shown.safe(tostring(err))) end
  end
end

-- A verb may return an exit code, or nil and an error.
local function work(c)
  local _ <close> = setmetatable({}, {
    __close = function(_, err) close(c, err) end })
  local code, err = c.verb.run(c)
  if code == nil and err ~= nil then error(err, 0) end
  c.came_to = math.type(code) == "integer" and code or 0
  return c.came_to
end

local function tell(c, err, code)
  local record = errors.record(err)
  record.exit_code = code
  c:emit("error", record)
  if c.options.json then return end
  local lines = errors.lines(err)
  if lines[1] == "" then return end
  c.screen:tell(("saros: %s: %s"):format(c.verb.name, lines[1]))
  for i = 2, #lines do c.screen:tell("  " .. lines[i]) end
end

-- What Prometheus reads, after each run. That it cannot be written fails none.
local function put_metrics(c)
  if not c.recorded and c.verb.name ~= "run" then return end
  local good, found = pcall(c.config, c)
  if not good or not found.metrics then return end
  local op <close> = require "saros.metrics".write(found.metrics, {
    state_dir = require "saros.cli.where".state(c) })
  local ok, err = op:wait()
  if not ok then c:warn("metrics: ", shown.safe(err.message)) end
end

local function tell_interrupted(c, err, code)
  if code == 0 then return end
  c:emit("error", { exit_code = code, message = err.cancelled
    and "interrupted, and undone" or err.message,
    cause = err.cause and errors.record(err.cause) or nil })
  local why = err.cancelled and err.cause or err -- it had failed before that
  if not why.cancelled then c.screen:tell(shown.safe(why.message)) end
  if err.cancelled then c.screen:tell "undone" end
end

-- What there is to say at the end is the last thing that is said.
local function ended(c, task)
  local code, err = task:wait()
  local said = tell
  if code == nil and err.cancelled and c.came_to then
    code, err = c.came_to, nil -- it was too late for that
  elseif code == nil and c.interrupted then
    code = err.cancelled and c.verb.until_interrupted and 0 or 130
    said = tell_interrupted
  elseif code == nil then
    code = errors.exit_code(err)
  end
  if code == 0 and c.is_partial then code = 3 end
  if c.recorded then
    local result = c.result or c.is_partial and {} or nil
    if c.is_partial then result.partial = true end
    if c.locks then
      result = result or {}
      result.locks = c.locks
    end
    c.recorded:done(err, result)
  end
  put_metrics(c)
  if err ~= nil then said(c, err, code) end
  return code
end

--- Runs a verb; its exit code, and whether Lua shall be closed.
function run.verb(verb, options, arguments, argv)
  local c = context.new(verb, options, arguments)
  c.argv = argv
  assert(term.signals())
  listen(c)
  local task = saros.spawn(work, c)
  turn(c, task)
  c.screen:hide()
  local code = ended(c, task)
  c.screen:flush()
  if c.screen.lost and code == 0 then
    if c.screen.gone then return 141, true end
    c.screen:tell("saros: the output cannot be written: " .. c.screen.lost)
    return 1, true
  end
  core.set_log(nil)
  return code, true
end

return run
