---@private
local shown = require "saros.text"

local function record(v)
  local copy = {}
  for name, value in pairs(v) do copy[name] = value end
  return copy
end

-- What saros notes for itself lies in versions as well: of no path of anybody's.
local function is_note(v)
  for _, path in ipairs(v.paths or {}) do
    if not path:find "^/%.saros" then return false end
  end
  return #(v.paths or {}) > 0
end

local function without(list, pattern, all)
  local some = {}
  for _, text in ipairs(list or {}) do
    if all or not text:find(pattern) then some[#some + 1] = text end
  end
  return some
end

local function run(c)
  local o = c.options
  local repo = c:repository()
  local list = repo:versions { host = o.host, tags = o.tag, paths = o.path }
  if not o.all and not o.json then
    local some = {}
    for _, v in ipairs(list) do
      if not is_note(v) then some[#some + 1] = v end
    end
    list = some
  end
  if o.last and #list > o.last then
    list = table.move(list, #list - o.last + 1, #list, 1, {})
  end
  local rows = {}
  for i, v in ipairs(list) do
    if v.error then c:partial(v.id:sub(1, 8), ": ", shown.safe(v.error)) end
    if o.json then
      c:emit("version", record(v))
    else
      rows[i] = { v.id:sub(1, 8), v.time and shown.clock(v.time) or "?",
        v.hostname or "-", table.concat(without(v.tags, "^saros", o.all), ","),
        table.concat(without(v.paths, "^/%.saros$", o.all), " ") }
    end
  end
  c:table(rows, { { "VERSION" }, { "TIME" }, { "HOST", cut = true },
    { "TAGS", cut = true }, { "PATHS", cut = "tail" } })
  c:emit("summary", { versions = #list })
  if #list == 0 then c:say "no versions" end
end

return {
  name = "versions",
  usage = "[options]",
  help = [[
The oldest comes first. A version is named by its id, the beginning of that,
"latest", or "latest~1" for the one before it. What saros notes in the repository
for itself (what a drill has shown, who prunes) is shown with --all.]],
  examples = {
    { "saros versions --repo /mnt/x", "all of them" },
    { "saros versions --host web1 --path /srv --last 5",
      "the last five of /srv on web1, in the repository of the configuration" },
    { "saros versions --json | jq -r 'select(.type == \"version\").id'",
      "for a program" },
  },
  options = {
    { "last", "n", value = "N", type = "integer",
      help = "only so many, the newest" },
    { "all", "a", help = "also what saros notes for itself, and its tags" },
  },
  arguments = { max = 0 },
  repository = true,
  filter = true,
  run = run,
}
