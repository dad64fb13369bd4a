---@private
local shown = require "saros.text"

local marks <const> = { added = "+", removed = "-", changed = "M",
  metadata = "U" }

local function run(c)
  local o = c.options
  local repo = c:repository()
  local r, err = c:progress(repo:diff { from = c.arguments[1],
    to = c.arguments[2] or "latest", metadata = o.metadata, host = o.host,
    tags = o.tag, paths = o.path }, "diff")
  if not r then return nil, err end
  for _, item in ipairs(r.items) do
    if o.json then
      item.kind, item.type = item.type, nil
      c:emit("change", item)
    else
      c:out(marks[item.change] or "?", "  ", shown.safe(item.path))
    end
  end
  for _, e in ipairs(r.errors or {}) do
    c:partial(shown.safe(e.path or "?"), ": ", shown.safe(e.message))
  end
  c:emit("summary", { from = r.from, to = r.to, added = r.added,
    removed = r.removed, changed = r.changed, metadata = r.metadata })
  c:say(("%d added (%s), %d removed (%s), %d changed"):format(r.added.files,
    shown.size(r.added.bytes), r.removed.files, shown.size(r.removed.bytes),
    r.changed))
end

return {
  name = "diff",
  usage = "VERSION [VERSION] [options]",
  help = [[
From the first to the second, which is the latest when it is not named. A line is
+ for what was added, - for removed, M for changed; with --metadata also U where
only owner, mode, times or attributes have changed.]],
  examples = {
    { "saros diff 9f88a32f", "what has changed since" },
    { "saros diff 9f88a32f:/etc 4698277b:/etc", "in one folder" },
  },
  options = {
    { "metadata", help = "also what is different in owner, mode or times" },
  },
  arguments = { min = 1, max = 2, names = "VERSION" },
  repository = true,
  filter = true,
  run = run,
}
