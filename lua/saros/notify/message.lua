---@private
-- What is said: a subject, a text for a person, and the same for a program.
-- Whoever reads it may be anybody: nothing that is secret is in there.

local advice = require "saros.timeline.advice"
local model = require "saros.timeline.model"
local secrets = require "saros.secrets"
local words = require "saros.timeline.words"

local message = {}

local LAST_WORDS <const> = 20 -- lines of the log

local became <const> = { failed = "failed", partial = "did only part of its "
  .. "work", late = "is late", drill = "has no drill to rely on",
  recovered = "is well again" }


-- ------------------------------------------------------------------
-- Words
-- ------------------------------------------------------------------

local function add_failure(lines, failure)
  local where = {}
  for i, step in ipairs(failure.path) do where[i] = step end
  if failure.op then
    where[#where + 1] = failure.op.name
    if failure.op.lane.name then
      where[#where] = where[#where] .. " · "
        .. model.lane_name(failure.op.lane)
    end
  end
  if #where > 0 then
    lines[#lines + 1] = table.concat(where, " › ") .. (failure.at
      and (", %s after its beginning:"):format(words.span(failure.at)) or ":")
  end
  for i, cause in ipairs(failure.chain) do
    lines[#lines + 1] = (i == 1 and "  " or "  because: ") .. cause.message
      .. (cause.name and (" [%s]"):format(cause.name) or "")
  end
  for i = #failure.chain, 1, -1 do
    local what = advice[failure.chain[i].name]
    if what then
      lines[#lines + 1] = "  What to do: " .. what
      break
    end
  end
  lines[#lines + 1] = ""
end

local function add_log(lines, log)
  if #log == 0 then return end
  lines[#lines + 1] = "The last lines of the log:"
  for i = math.max(1, #log - LAST_WORDS + 1), #log do
    local l = log[i]
    lines[#lines + 1] = ("%11s  %s%s"):format(words.span(l.at),
      l.level == "notice" and "" or l.level .. ": ", l.text)
  end
  lines[#lines + 1] = ""
end

local function add_circumstances(lines, o, entry, now)
  local took = entry.took and ", took " .. words.span(entry.took) or ""
  if o.event == "late" then
    lines[#lines + 1] = ("The last run was begun %s (%s).%s"):format(
      words.clock(entry.begun), entry.state, entry.state == "running"
        and " It is not over." or "")
  else
    lines[#lines + 1] = ("Begun %s%s. Run %s."):format(
      words.clock(entry.begun), took, entry.id)
  end
  if o.event == "recovered" then return end
  local good = o.good and model.entry(o.good, now)
  lines[#lines + 1] = good and ("The last success was begun %s, %s ago.")
    :format(words.clock(good.begun), words.age(now - good.begun))
    or "No run of this name has succeeded, as far as the records go."
end

local function add_drill(lines, o, entry)
  for _, d in ipairs(model.drills(entry)) do
    if d.state ~= "succeeded" then
      lines[#lines + 1] = ("The drill of %s %s%s"):format(
        words.clock(d.at), d.state, d.why and ": " .. d.why or "")
    end
  end
  if o.drill_said then lines[#lines + 1] = o.drill_said end
end

--- { event, name, host, run, state, subject, text, causes, log }
---@param o table the options of notify.send
---@param to table
function message.of(o, to)
  local now = os.time() * 1000
  local run = model.run(o.run, now)
  local log = {}
  for _, l in ipairs(o.log or run.log) do
    log[#log + 1] = { at = l.at or 0, level = words.plain(l.level or "notice"),
      text = words.plain(l.text or "") }
  end
  local subject = ("saros: %s %s on %s"):format(run.name,
    o.event == "failed" and run.state == "interrupted" and "was interrupted"
    or became[o.event], run.host)
  local lines = { subject:gsub("^saros: ", "") .. ".", "" }
  if o.event == "failed" or o.event == "partial" then
    for i = 1, math.min(3, #run.failures) do
      add_failure(lines, run.failures[i])
    end
    if #run.failures > 3 then
      lines[#lines + 1] = ("… and %d more that failed."):format(
        #run.failures - 3)
    end
  elseif o.event == "drill" then
    add_drill(lines, o, run)
  end
  add_circumstances(lines, o, run, now)
  lines[#lines + 1] = ""
  if o.event ~= "recovered" then add_log(lines, log) end
  local own = secrets.of_url(to.secret_url)
  local function said(text) return secrets.scrub(text, own) end
  local causes = {}
  for i, cause in ipairs(o.event ~= "recovered" and run.failures[1]
    and run.failures[1].chain or {}) do
    causes[i] = { message = said(cause.message), name = cause.name }
  end
  local last = {}
  for i = math.max(1, #log - LAST_WORDS + 1), #log do
    last[#last + 1] = { at = log[i].at, level = log[i].level,
      text = said(log[i].text) }
  end
  return { saros = 1, type = "notification", event = o.event, name = run.name,
    host = run.host, run = run.id, state = run.state,
    begun = words.rfc3339(run.begun), subject = said(subject),
    text = said(table.concat(lines, "\n")), causes = causes, log = last }
end

return message
