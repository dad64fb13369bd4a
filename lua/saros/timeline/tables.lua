---@private
-- The tables behind the drawings: all that they show, for who reads, listens,
-- or has no script.

local model = require "saros.timeline.model"
local words = require "saros.timeline.words"

local html, span, size = words.html, words.span, words.size

local tables = {}

local FEW <const> = 12 -- rows of a list before the rest is folded away


-- ------------------------------------------------------------------
-- Small things
-- ------------------------------------------------------------------

--- A name of somebody else's, which turns no line.
function tables.name(given) return "<bdi>" .. html(given) .. "</bdi>" end

function tables.state(state)
  return ('<span class="state %s">%s</span>'):format(state, state)
end

--- A moment; `short`: without its seconds.
function tables.clock(ms, short)
  return ('<time datetime="%s"%s>%s</time>'):format(words.rfc3339(ms),
    short and " data-short" or "", words.clock(ms))
end

--- How long before `now` that was; a browser knows better when it is. Of what
--- was done before the clock was put back nobody knows.
function tables.age(ms, now)
  return ('<time datetime="%s" data-age>%s</time>'):format(words.rfc3339(ms),
    ms - now > 60000 and "ahead of the clock"
      or words.age(math.max(0, now - ms)) .. " ago")
end

local function bytes(n) return n and size(math.floor(n)) or "–" end

-- `columns`: { title, class }; rows are lists of cells that are HTML already.
local function put(out, caption, columns, rows)
  out('<div class="scroll"><table><caption>', caption,
    "</caption><thead><tr>")
  for _, c in ipairs(columns) do
    out('<th scope="col"', c[2] and ' class="' .. c[2] .. '"' or "", ">",
      c[1], "</th>")
  end
  out "</tr></thead><tbody>"
  for _, row in ipairs(rows) do
    out("<tr", row.id and ' id="' .. row.id .. '"' or "", ">")
    for i, cell in ipairs(row) do
      local class = columns[i][2]
      out(i == 1 and '<th scope="row"' or "<td",
        class and ' class="' .. class .. '">' or ">", cell,
        i == 1 and "</th>" or "</td>")
    end
    out "</tr>"
  end
  out "</tbody></table></div>\n"
end

-- The first rows, and the rest behind a word.
local function put_long(out, caption, columns, rows)
  if #rows <= FEW + 3 then return put(out, caption, columns, rows) end
  put(out, caption, columns, table.move(rows, 1, FEW, 1, {}))
  out("<details><summary>", ("%d more"):format(#rows - FEW),
    '</summary><div class="many">')
  put(out, caption .. ", continued", columns,
    table.move(rows, FEW + 1, #rows, 1, {}))
  out "</div></details>\n"
end


-- ------------------------------------------------------------------
-- Of a run
-- ------------------------------------------------------------------

local operation_columns <const> = { { "Operation" }, { "Where" }, { "State" },
  { "From", "n" }, { "For", "n" }, { "Bytes", "n" }, { "What it said" } }

local function said(op)
  if op.error == nil then return "" end
  local parts = {}
  for i, cause in ipairs(model.chain(op.error)) do
    parts[i] = tables.name(cause.message)
  end
  return table.concat(parts, "<br>↳ ")
end

--- Every operation, in the order in which they began.
function tables.operations(out, run)
  local rows = {}
  for i, op in ipairs(run.ops) do
    local last = op.samples[#op.samples]
    local carried = type(last) == "table" and type(last.bytes) == "number"
      and bytes(last.bytes) or ""
    rows[i] = { tables.name(op.name), tables.name(model.lane_name(op.lane)),
      tables.state(op.state), span(op.at), span(op.ended - op.at), carried,
      said(op) }
  end
  out('<details class="operations"><summary>',
    #rows > 1 and "All " or "The ", words.some(#rows, "operation"),
    ' as a table</summary><div class="many">')
  put(out, "Operations of " .. tables.name(run.name)
    .. "; times count from its beginning", operation_columns, rows)
  out "</div></details>\n"
end

--- Who had to hold still.
function tables.held(out, run)
  local held = run.held
  if not held then return end
  local rows = {}
  for i, row in ipairs(held.rows) do
    rows[i] = { tables.name(row.name), html(row.kind),
      span(row.from - held.from), span(row.to - row.from) }
  end
  out "<details><summary>Who was held, as a table</summary>"
  put(out, ("%s from when the first was asked until the last went on%s; times "
    .. "count from there"):format(span(held.to - held.from),
    held.skew and ", skew " .. span(held.skew) or ""),
    { { "Name" }, { "What" }, { "From", "n" }, { "For", "n" } }, rows)
  out "</details>\n"
end


-- ------------------------------------------------------------------
-- Of all runs
-- ------------------------------------------------------------------

local function ratio(v)
  if not v.total or v.total <= 0 or not v.added then return "–" end
  return ("%.1f %%"):format(100 * math.max(0, 1 - v.added / v.total))
end

--- The versions of a location, the newest first.
function tables.versions(out, place, now)
  local rows = {}
  for i = #place.versions, 1, -1 do
    local v = place.versions[i]
    rows[#rows + 1] = { "<code>" .. html(v.id:sub(1, 8)) .. "</code>",
      tables.clock(v.time, true), tables.age(v.time, now),
      v.name and tables.name(v.name) or "–", bytes(v.total), bytes(v.added),
      bytes(v.stored), ratio(v) }
  end
  put_long(out, "Versions in " .. tables.name(place.location),
    { { "Version" }, { "Made", "t" }, { "Age", "t" }, { "By" }, { "Size", "n" },
      { "New", "n" }, { "As stored", "n" }, { "There before", "n" } }, rows)
end

--- Drills, the newest first.
function tables.drills(out, drills, now)
  local rows = {}
  for i, d in ipairs(drills) do
    rows[i] = { tables.name(d.what or d.name), tables.state(d.state),
      tables.clock(d.at, true), tables.age(d.at, now),
      d.took and span(d.took) or "–",
      d.version and "<code>" .. html(d.version:sub(1, 8)) .. "</code>" or "–",
      d.why and tables.name(d.why) or "" }
  end
  put_long(out, "Drills, the newest first", { { "What" }, { "State" },
    { "When", "t" }, { "Age", "t" }, { "Took", "n" }, { "Version" },
    { "What it said" } }, rows)
end

--- The runs, the newest first. `slugs`: where each is drawn.
function tables.runs(out, entries, slugs, now)
  local rows = {}
  for i, e in ipairs(entries) do
    local added = 0
    for _, v in ipairs(model.versions(e)) do added = added + (v.added or 0) end
    local slug = slugs[e]
    local name = tables.name(e.name)
    rows[i] = { slug and ('<a href="#run-%s">%s</a>'):format(slug, name)
      or name, tables.state(e.state), tables.clock(e.begun, true),
      tables.age(e.begun, now), e.took and span(e.took) or "–",
      e.held and span(e.held) or "–", added > 0 and size(added) or "–",
      html(e.host) }
  end
  put_long(out, "Runs, the newest first", { { "Run" }, { "State" },
    { "Begun", "t" }, { "Age", "t" }, { "Took", "n" }, { "Held", "n" },
    { "New", "n" }, { "Host" } }, rows)
end

return tables
