--- What happened, as a page: each run leaves a record (`saros.record`), and of
--- these is made one file of HTML that needs nothing else: operations over time,
--- the moment for which anybody was held, what failed and because of what, and
--- what there is to go back to.
---
--- ```lua
--- local timeline = require "saros.timeline"
--- assert(timeline.html { out = "report.html" }:wait())
--- assert(timeline.chrome { out = "trace.json", limit = 1 }:wait())
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"

---@class saros.timeline
local timeline = {}

local KINDS <const> = { records = "list", state_dir = "string",
  repository = "userdata|table", out = "string", name = "string",
  limit = "integer", mode = "string" }

---@class saros.timeline.options
---@field records? string[] paths of records; nothing: those of `state_dir`
---@field state_dir? string where saros keeps its state, when not where it is usually
---@field name? string only runs of this name
---@field limit? integer so many runs are looked at (400)
---@field repository? saros.repository.handle its versions are listed, too
---@field out? string the file to write, at once or not at all; nothing: the text is the result
---@field mode? string of that file ("600")

---@class saros.timeline.result
---@field runs integer that are shown whole
---@field records integer
---@field bytes integer
---@field path? string
---@field text? string when there is no `out`


-- By a repository that nobody can reach no report is lost.
local function listing_of(repository, site_unread)
  if not repository then return nil end
  local ok, versions = pcall(repository.versions, repository)
  if ok then
    return { location = repository:location(), versions = versions }
  end
  site_unread[#site_unread + 1] = "the repository: " .. tostring(versions)
  return nil
end

local function delivered(text, o, runs, records)
  if o.out then
    core.report { phase = "writing" }
    require "saros.publish".text(o.out, text, o.mode)
  end
  return { runs = runs, records = records, bytes = #text, path = o.out,
    text = not o.out and text or nil }
end

local function checked(what, options)
  local o = arguments.check(what, options, KINDS, 4)
  if o.mode and not o.mode:find "^[0-7]+$" then
    error(("%s: option 'mode': \"644\" or the like expected, got %q"):format(
      what, o.mode), 3)
  end
  return o
end

--- Makes the page. What cannot be read is named at its end; it fails when `out`
--- cannot be written, and leaves what was there.
---@param options? saros.timeline.options
---@return saros.operation op result: saros.timeline.result
function timeline.html(options)
  local o = checked("timeline.html", options)
  return core.spawn(function()
    core.report { phase = "reading" }
    local unread = {}
    o.listing = listing_of(o.repository, unread)
    local site = require "saros.timeline.site".of(o)
    table.move(unread, 1, #unread, #site.unread + 1, site.unread)
    local text = require "saros.timeline.page".text(site)
    return delivered(text, o, #site.runs, #site.entries)
  end)
end

--- Makes a trace of the same runs that Chrome (chrome://tracing) and Perfetto
--- show: a process for each run, a thread for each lane.
---@param options? saros.timeline.options
---@return saros.operation op result: saros.timeline.result
function timeline.chrome(options)
  local o = checked("timeline.chrome", options)
  return core.spawn(function()
    core.report { phase = "reading" }
    local site, chrome = require "saros.timeline.site",
      require "saros.timeline.chrome"
    local now, runs = os.time() * 1000, {}
    local entries = site.entries(o, now)
    for _, e in ipairs(entries) do
      runs[#runs + 1] = site.run_of(e, now)
    end
    return delivered(chrome.text(runs), o, #runs, #entries)
  end)
end

return timeline
