---@private
-- The page: one file that asks nobody for anything. First what needs somebody,
-- then one run from its failure to its bytes, then what there is over time.

local core = require "saros.core"
local advice = require "saros.timeline.advice"
local model = require "saros.timeline.model"
local script = require "saros.timeline.script"
local style = require "saros.timeline.style"
local tables = require "saros.timeline.tables"
local words = require "saros.timeline.words"

local page = {}

local html, span = words.html, words.span
local name, clock, age = tables.name, tables.clock, tables.age

local FIRST <const> = 3 -- failures that are told at length
local ABOVE <const> = 4 -- names above the first run
local LAST_WORDS <const> = 10 -- lines of the log below them

local became <const> = { succeeded = "succeeded", failed = "failed",
  partial = "did only part of its work", cancelled = "was stopped",
  interrupted = "was interrupted", running = "is running",
  skipped = "had nothing to do" }

-- What a state is worth to who looks: the lower, the sooner.
local urgency <const> = { failed = 1, interrupted = 2, partial = 3,
  cancelled = 4, running = 5, succeeded = 6, skipped = 6 }


-- ------------------------------------------------------------------
-- What went wrong
-- ------------------------------------------------------------------

local function advice_of(chain)
  for i = #chain, 1, -1 do
    local text = advice[chain[i].name]
    if text then return text end
  end
  return nil
end

-- `x` as code.
local function marked(text)
  return (html(text):gsub("`([^`]+)`", "<code>%1</code>"))
end

local function put_cause(out, cause)
  out(name(cause.message))
  if cause.name then
    out(' <code class="code">', html(cause.name), "</code>")
  end
end

local function where_of(failure)
  local parts = {}
  for i, step in ipairs(failure.path) do parts[i] = name(step) end
  if failure.op then
    parts[#parts + 1] = name(failure.op.name)
    local lane = failure.op.lane
    if lane.name then parts[#parts] = parts[#parts] .. " · " ..
      html(lane.kind) .. " " .. name(lane.name) end
  end
  local text = table.concat(parts, " › ")
  if failure.at then
    text = text .. (text == "" and "" or " · ") .. span(failure.at)
      .. " after its beginning"
  end
  return text
end

local function put_failure(out, failure, last_good, class)
  local chain = failure.chain
  out('<section class="wrong', class or "", '"><p class="where">',
    where_of(failure), "</p>")
  out '<p class="what">'
  put_cause(out, chain[1] or { message = "it failed and did not say why" })
  out "</p>"
  if #chain > 1 then
    out '<ol class="chain" aria-label="because of">'
    for i = 2, #chain do
      out "<li>"
      put_cause(out, chain[i])
      out "</li>"
    end
    out "</ol>"
  end
  local todo = advice_of(chain)
  if todo then
    out('<p class="todo"><b>What to do.</b> ', marked(todo), "</p>")
  end
  if last_good then out('<p class="safe">', last_good, "</p>") end
  out "</section>\n"
end

local function versions_of(entry)
  local ids = {}
  for i, v in ipairs(model.versions(entry)) do
    ids[i] = ("<code>%s</code> in %s"):format(html(v.id:sub(1, 8)),
      name(v.location))
  end
  return #ids > 0 and table.concat(ids, ", ") or nil
end

-- What somebody who has lost everything tonight can still have.
local function last_good_of(run, site)
  local own = versions_of(run)
  local text = own and ("<b>Was stored all the same:</b> %s. "):format(own)
    or ""
  local good = site.last_success[run.name]
  if good then
    local ids = versions_of(good)
    return text .. ("<b>Can be restored:</b> what the run of %s (%s) kept%s.")
      :format(clock(good.begun, true), age(good.begun, site.now),
        ids and ": " .. ids or "")
  end
  if own then return text end
  return "<b>There is nothing to go back to:</b> no run of this name has "
    .. "succeeded, as far as the records go."
end

local function put_failures(out, run, site)
  local class = run.state == "partial" and " partial" or ""
  local last_good = run.state ~= "succeeded" and last_good_of(run, site) or nil
  for i, failure in ipairs(run.failures) do
    if i == FIRST + 1 then
      out("<details><summary>", ("%d more that failed"):format(
        #run.failures - FIRST), '</summary><div class="many">')
    end
    put_failure(out, failure, i == 1 and last_good or nil, class)
  end
  if #run.failures > FIRST then out "</div></details>\n" end
  if run.state == "partial" and #run.failures == 0 then
    put_failure(out, { path = {}, chain = { { message = "Something was left "
      .. "out; the log below says what." } } }, last_good, class)
  elseif run.state == "interrupted" and #run.failures == 0 then
    local op
    for _, one in ipairs(run.ops) do
      if one.state == "interrupted" then op = one end
    end
    put_failure(out, { path = {}, op = op, chain = { { message =
      "Its process ended in the middle: it was killed, or the machine went "
      .. "down. The next run takes away what it left, and goes on where it "
      .. "was." } } }, last_good)
  end
end

-- What failed in a run that came to its end all the same: it was tried again.
local function put_mended(out, run)
  if #run.failures == 0 then return end
  out("<details><summary>", words.some(#run.failures, "operation"),
    ' failed on the way, and it went on</summary><div class="many">')
  for _, failure in ipairs(run.failures) do
    put_failure(out, failure, nil, " partial")
  end
  out "</div></details>\n"
end

local function put_log(out, run)
  local lines = run.log
  if #lines == 0 then return end
  local first = math.max(1, #lines - LAST_WORDS + 1)
  out('<h3>', first > 1 and "The last lines of the log" or "The log",
    '</h3><pre class="log">')
  for i = first, #lines do
    local l = lines[i]
    local level = l.level:match "^%l+$" or "notice"
    out(('<span class="at">%11s</span>  <span class="%s">%s</span>\n'):format(
      span(l.at), level, (level == "notice" and "" or level .. ": ")
      .. html(l.text)))
  end
  out "</pre>\n"
end


-- ------------------------------------------------------------------
-- A run
-- ------------------------------------------------------------------

local function put_facts(out, run, site)
  local function fact(title, value, more)
    out("<div><dt>", title, "</dt><dd>", value)
    if more then out("<small>", more, "</small>") end
    out "</dd></div>"
  end
  local added, total, places = 0, 0, 0
  for _, v in ipairs(model.versions(run)) do
    added, total = added + (v.added or 0), total + (v.total or 0)
    places = places + 1
  end
  out '<dl class="facts">'
  if run.took then fact("Took", span(run.took)) end
  -- As it is told everywhere; what is drawn begins when somebody was asked.
  local held = run.result.held
  held = type(held) == "number" and held >= 0 and held * 1000
    or run.held and run.held.to - run.held.from
  if held then
    fact("Held", span(held), run.held and run.held.skew
      and "skew " .. span(run.held.skew))
  end
  if places > 0 then
    fact("New", words.size(math.floor(added)), total > 0
      and "of " .. words.size(math.floor(total)) or nil)
  end
  if run.result.consistency then
    fact("Consistency", html(run.result.consistency))
  end
  local good = site.last_success[run.name]
  if good and run.state ~= "succeeded" then
    fact("Last success", age(good.begun, site.now), clock(good.begun, true))
  end
  local drill = site.last_drill[run.name]
  if drill then
    fact("Last drill", age(drill.at, site.now), tables.state(drill.state))
  end
  out "</dl>\n"
end

local function put_run(out, run, slug, first, site)
  out(('<section class="run %s%s" id="run-%s" aria-label="%s">\n'):format(
    run.state, first and " first" or "", slug,
    html(("%s, %s"):format(run.name, words.clock(run.begun)))))
  out("<h1>", name(run.name), " <em>", became[run.state], "</em></h1>\n")
  out('<p class="when">', age(run.begun, site.now), " · ", clock(run.begun),
    " · on ", name(run.host), "</p>\n")
  if run.state ~= "succeeded" then put_failures(out, run, site) end
  if run.state ~= "succeeded" then put_log(out, run) end
  put_facts(out, run, site)
  if #run.ops > 0 then
    out "<h2>What was done when</h2>\n"
    out('<div class="figure"></div>\n')
    tables.held(out, run)
    tables.operations(out, run)
  end
  if run.state == "succeeded" then
    put_mended(out, run)
    put_log(out, run)
  end
  out "</section>\n"
end


-- ------------------------------------------------------------------
-- The whole
-- ------------------------------------------------------------------

-- The newest of each name. Few stand above what failed, however many there are.
local function put_rows(out, site, first, last)
  out '<ul class="board" aria-label="Newest run of each">\n'
  for i = first, last do
    local e = site.board[i]
    local slug = site.slugs[e]
    local good = site.last_success[e.name]
    out("<li>", slug and ('<a href="#run-%s">'):format(slug) or "<a>",
      '<span class="who">', name(e.name), "</span> ", tables.state(e.state),
      ' <span class="rest">', age(e.begun, site.now))
    if e.state ~= "succeeded" then
      out(good and " · last success " .. age(good.begun, site.now)
        or " · never succeeded")
    end
    out "</span></a></li>\n"
  end
  out "</ul>\n"
end

local function put_board(out, site)
  local count = #site.board
  if count < 2 then return end
  local few = count <= ABOVE + 1 and count or ABOVE
  put_rows(out, site, 1, few)
  if few == count then return end
  local bad = 0
  for i = few + 1, count do
    if urgency[site.board[i].state] <= 3 then bad = bad + 1 end
  end
  out('<details class="others"><summary>', ("%d more"):format(count - few),
    bad > 0 and (", %d of them need somebody"):format(bad) or "",
    "</summary>")
  put_rows(out, site, few + 1, count)
  out "</details>\n"
end

local function put_over_time(out, site)
  if #site.places > 0 then
    out "<h2>Versions</h2>\n"
    out('<p class="about">How large each version is, and what of it was not in '
      .. "the repository before.</p>\n")
  end
  for i, place in ipairs(site.places) do
    out("<h3>", name(place.location), "</h3>\n")
    out('<ul class="key"><li><i class="k-whole"></i>size</li>'
      .. "<li><i></i>new in it</li></ul>")
    out(('<div class="plot" data-place="%d"></div>\n'):format(i - 1))
    tables.versions(out, place, site.now)
  end
  if #site.drills > 0 then
    out "<h2>Drills</h2>\n"
    out('<p class="about">Versions that were restored and started, to see '
      .. "whether they can be.</p>\n")
    tables.drills(out, site.drills, site.now)
  end
  if #site.entries > 0 then
    out "<h2>Runs</h2>\n"
    out('<div class="plot" data-past></div>\n')
    tables.runs(out, site.entries, site.slugs, site.now)
  end
end

-- JSON that ends no element and is no markup, whatever is in it.
local function embedded(value)
  return (core.json_write(value):gsub("[<>&]", function(c)
    return ("\\u%04x"):format(c:byte())
  end):gsub("\u{2028}", "\\u2028"):gsub("\u{2029}", "\\u2029"))
end

local function data_of(site)
  local runs, places, past = {}, {}, {}
  for i, run in ipairs(site.runs) do
    runs[i] = model.data(run)
    runs[i].id = site.slugs[run.entry]
  end
  for i, place in ipairs(site.places) do
    local versions = {}
    for k, v in ipairs(place.versions) do
      versions[k] = { id = v.id:sub(1, 8), total = v.total, added = v.added }
    end
    places[i] = { versions = versions }
  end
  for i, e in ipairs(site.entries) do
    past[i] = { id = site.slugs[e] or "", drawn = site.slugs[e] ~= nil,
      name = e.name, state = e.state, took = e.took }
  end
  return { states = model.states, runs = runs, places = places, past = past }
end

local HEAD <const> = [==[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="saros">
<title>%s</title>
<style nonce="%s">
]==]

local MOON <const> = '<svg class="moon" viewBox="0 0 24 24" aria-hidden="true">'
  .. '<circle class="sun" cx="12" cy="12" r="10"/>'
  .. '<circle class="disc" cx="13.6" cy="10.9" r="7.4"/></svg>'

local function title_of(site)
  local first = site.runs[1]
  if not first then return "saros: no run yet" end
  return ("%s %s – saros"):format(first.name, became[first.state])
end

--- The page of a site (see saros.timeline.site), as a text.
---@param site table
---@return string
function page.text(site)
  local parts = {}
  local function out(...)
    for i = 1, select("#", ...) do parts[#parts + 1] = (select(i, ...)) end
  end
  -- Nobody whose texts are in here could know it.
  local nonce = core.guid():gsub("%-", "")
  out(HEAD:format(nonce, nonce, html(title_of(site)), nonce), style.css,
    "</style>\n</head>\n<body>\n")
  out('<a class="skip" href="#main">To the newest run</a>\n')
  out('<header class="top">', MOON, "<b>saros</b>")
  if site.host then out('<span class="host">', name(site.host), "</span>") end
  out('<span class="made">made ', clock(site.now, true), "</span>",
    '<button type="button" id="theme" hidden>Theme</button></header>\n')
  out '<main id="main" tabindex="-1">\n'
  put_board(out, site)
  if #site.runs == 0 then
    out("<h1>There is no run yet</h1>\n<p class=\"when\">",
      "Every run leaves a record: <code>saros backup</code>, ",
      "<code>saros run</code>, then make this page again.</p>\n")
  end
  for i, run in ipairs(site.runs) do
    put_run(out, run, site.slugs[run.entry], i == 1, site)
  end
  put_over_time(out, site)
  for _, why in ipairs(site.unread) do
    out('<p class="more">Not shown: ', name(why), "</p>\n")
  end
  out("<footer>Made by ", html(site.program), " of ",
    words.some(#site.entries, "record"), ". ",
    "This page asks nobody for anything.</footer>\n</main>\n")
  out('<script type="application/json" id="data">', embedded(data_of(site)),
    "</script>\n")
  out(('<script nonce="%s">\n'):format(nonce), script.text,
    "</script>\n</body>\n</html>\n")
  return table.concat(parts)
end

--- The sooner somebody must look at it, the lower.
function page.urgency(state) return urgency[state] or 7 end

return page
