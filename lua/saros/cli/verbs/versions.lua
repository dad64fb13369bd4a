---@private
local shown = require "saros.text"

local function record(v)
  local copy = {}
  for name, value in pairs(v) do copy[name] = value end
  return copy
end

local function run(c)
  local o = c.options
  local repo = c:repository()
  local list = repo:versions { host = o.host, tags = o.tag, paths = o.path }
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
        v.hostname or "-", table.concat(v.tags or {}, ","),
        table.concat(v.paths or {}, " ") }
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
The oldest comes first. A version is named by its id, the beginning of that, or
"latest".]],
  examples = {
    { "saros versions --repo /mnt/x", "all of them" },
    { "saros versions --host web1 --path /srv --last 5",
      "the last five of /srv on web1, in the repository of the configuration" },
    { "saros versions --json | jq -r .id", "for a program" },
  },
  options = {
    { "last", "n", value = "N", type = "integer",
      help = "only so many, the newest" },
  },
  arguments = { max = 0 },
  repository = true,
  filter = true,
  run = run,
}
