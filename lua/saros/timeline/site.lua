---@private
-- What a page is made of: the newest runs, and of all that are known the
-- versions that they made, the drills, and who succeeded last.

local model = require "saros.timeline.model"
local page = require "saros.timeline.page"
local record = require "saros.record"
local words = require "saros.timeline.words"

local site = {}

local LISTED <const> = 400
local DRAWN <const> = 24
local OPERATIONS <const> = 20000 -- of all runs that are drawn, about


-- ------------------------------------------------------------------
-- Reading
-- ------------------------------------------------------------------

-- The records that were asked for: what is at their beginning and end, and what
-- cannot be read.
local function listed(o)
  if not o.records then
    return record.list { state_dir = o.state_dir, name = o.name,
      limit = o.limit or LISTED }, {}
  end
  local list, unread = {}, {}
  for _, path in ipairs(o.records) do
    local ok, run = pcall(record.read, path)
    if ok then
      list[#list + 1] = run
    else
      unread[#unread + 1] = ("%s: %s"):format(path,
        type(run) == "table" and run.message or tostring(run))
    end
  end
  table.sort(list, function(a, b)
    if a.ahead ~= b.ahead then return b.ahead ~= nil end
    return tostring(a.begun) > tostring(b.begun)
  end)
  return list, unread
end

--- All of an entry's run; nil and why not.
function site.run_of(entry, now)
  local given = entry.given
  if not given.ops then
    local ok, run = pcall(record.read, entry.path)
    if not ok then
      return nil, type(run) == "table" and run.message or tostring(run)
    end
    given = run
  end
  local run = model.run(given, now)
  run.entry = entry
  return run
end

--- The entries, the newest first, and why some records are not among them.
function site.entries(o, now)
  local list, unread = listed(o)
  local entries = {}
  for i, given in ipairs(list) do
    local e = model.entry(given, now)
    e.given, e.path = given, given.path
    local held = e.result.held
    e.held = type(held) == "number" and held >= 0 and held * 1000 or nil
    entries[i] = e
  end
  return entries, unread
end


-- ------------------------------------------------------------------
-- What there is over time
-- ------------------------------------------------------------------

-- What somebody opens the page for; a restore or a check is beside it.
local backs_up <const> = { workflow = true, backup = true, hold = true }

-- The newest of each name, those first that need somebody.
local function board_of(entries)
  local seen, board = {}, {}
  for _, e in ipairs(entries) do
    local key = e.kind .. "\0" .. e.name
    if not seen[key] then
      seen[key] = true
      board[#board + 1] = e
    end
  end
  for i, e in ipairs(board) do e.place = i end
  table.sort(board, function(a, b)
    local one, other = page.urgency(a.state), page.urgency(b.state)
    if one ~= other then return one < other end
    one, other = backs_up[a.kind] or false, backs_up[b.kind] or false
    if one ~= other then return one end
    return a.place < b.place
  end)
  return board
end

-- A run's address in the page.
local function slugs_of(entries)
  local slugs, taken = {}, {}
  for i, e in ipairs(entries) do
    local slug = e.id:gsub("[^%w]", ""):sub(1, 40)
    if slug == "" or taken[slug] then slug = ("n%d"):format(i) end
    taken[slug] = true
    slugs[e] = slug
  end
  return slugs
end

-- A run of its own, or a step of a workflow.
local function drills_of(entries, runs)
  local drills, told = {}, {}
  for _, e in ipairs(entries) do
    for _, d in ipairs(model.drills(e)) do
      drills[#drills + 1] = d
      told[e] = true
    end
  end
  for _, run in ipairs(runs) do
    for _, lane in ipairs(told[run.entry] and {} or run.lanes) do
      if lane.kind == "drill" then
        local d = { name = run.name, what = lane.name, state = "succeeded",
          at = run.begun, took = 0 }
        for _, op in ipairs(lane.ops) do
          if page.urgency(op.state) < page.urgency(d.state) then
            d.state, d.why = op.state, (model.chain(op.error)[1] or {}).message
          end
          d.at = math.max(d.at, run.begun + math.floor(op.ended))
          d.took = d.took + (op.ended - op.at)
        end
        drills[#drills + 1] = d
      end
    end
  end
  table.sort(drills, function(a, b) return a.at > b.at end)
  return drills
end

-- What the records know of a version is more than what a repository does.
local function places_of(entries, listing)
  local places, by_location, known = {}, {}, {}
  local function place_of(location)
    local place = by_location[location]
    if not place then
      place = { location = location, versions = {} }
      by_location[location] = place
      places[#places + 1] = place
    end
    return place.versions
  end
  for i = #entries, 1, -1 do
    local e = entries[i]
    for _, v in ipairs(model.versions(e)) do
      v.time, v.name = e.begun, e.name
      known[v.id] = true
      table.insert(place_of(v.location), v)
    end
  end
  for _, v in ipairs(listing and listing.versions or {}) do
    local time = words.instant(v.time)
    if time and not known[v.id] then
      local summary = v.summary or {}
      table.insert(place_of(words.plain(listing.location)),
        { id = words.plain(v.id), time = time, added = summary.data_added,
          stored = summary.data_added_packed,
          total = summary.total_bytes_processed })
    end
  end
  for _, place in ipairs(places) do
    table.sort(place.versions, function(a, b) return a.time < b.time end)
  end
  table.sort(places, function(a, b) return a.location < b.location end)
  return places
end

local function newest(list, of, good)
  local found = {}
  for _, one in ipairs(list) do
    local name = of(one)
    if not found[name] and good(one) then found[name] = one end
  end
  return found
end


-- ------------------------------------------------------------------
-- All of it
-- ------------------------------------------------------------------

-- The one that is seen first, then the newest, as many as a browser shows at
-- once without being slow.
local function drawn(board, entries, now, unread)
  local runs, count, had = {}, 0, {}
  local function take(e)
    if had[e] or #runs >= DRAWN or count > OPERATIONS then return end
    had[e] = true
    local run, why = site.run_of(e, now)
    if not run then
      unread[#unread + 1] = why
    elseif #runs == 0 or count + #run.ops <= OPERATIONS then
      runs[#runs + 1] = run
      count = count + #run.ops
    end
  end
  for _, e in ipairs(board) do take(e) end
  for _, e in ipairs(entries) do take(e) end
  return runs
end

--- Everything that page.text needs.
---@param o table the options of timeline.html
---@return table
function site.of(o)
  local now = o.now or os.time() * 1000
  local entries, unread = site.entries(o, now)
  local board = board_of(entries)
  local runs = drawn(board, entries, now, unread)
  local all, slugs = slugs_of(entries), {}
  for _, run in ipairs(runs) do slugs[run.entry] = all[run.entry] end
  local drills = drills_of(entries, runs)
  local function name_of(one) return one.name end
  return { now = now, entries = entries, unread = unread, board = board,
    runs = runs, slugs = slugs, drills = drills,
    places = places_of(entries, o.listing),
    host = entries[1] and entries[1].host,
    program = require "saros"._VERSION,
    last_success = newest(entries, name_of, function(e)
      return e.state == "succeeded"
    end),
    last_drill = newest(drills, name_of, function() return true end) }
end

return site
