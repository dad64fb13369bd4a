---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

local function run(c)
  local o = c.options
  local timeline = require "saros.timeline"
  for _, path in ipairs(c.arguments) do
    local file <close>, why = io.open(path, "rb")
    if not file then c:fail(4, "%s", shown.safe(why)) end
  end
  local given = { state_dir = where.state(c), name = o.name, limit = o.limit,
    mode = o.mode, records = #c.arguments > 0
      and where.absolute(c.arguments) or nil }
  if o.repo or o.with_versions then given.repository = c:repository() end
  local out = o.out
  if not out and (c.screen.out_terminal or o.json) then
    out = o.chrome and "saros-trace.json" or "saros-report.html"
  end
  if out and out ~= "-" then given.out = where.absolute { out }[1] end
  local op = (o.chrome and timeline.chrome or timeline.html)(given)
  local r, err = c:progress(op, "report")
  if not r then return nil, err end
  if r.text then c:write(r.text) end
  if r.path then c:out(shown.safe(r.path)) end
  c:emit("summary", { path = r.path, runs = r.runs, records = r.records,
    bytes = r.bytes })
  if r.records == 0 then c:say "there is no record of a run yet" end
end

return {
  name = "report",
  usage = "[RECORD…] [options]",
  help = [[
One page of HTML that needs nothing else, no network either: operations over
time, who had to hold still and for how long, what failed and why, what there is
to go back to. On a terminal it is written to saros-report.html, else to the
output.]],
  examples = {
    { "saros report", "of all runs on this machine" },
    { "saros report --name nightly -o /srv/www/backup.html --mode 644",
      "a page for others" },
    { "saros report --repo /mnt/x", "with the versions of a repository" },
    { "saros report --chrome -o trace.json --limit 1",
      "the last run, for chrome://tracing or Perfetto" },
  },
  options = {
    { "out", "o", value = "FILE", complete = "file",
      help = "where to; - is the output" },
    { "name", value = "TEXT", help = "only runs of this name" },
    { "limit", "n", value = "N", type = "integer",
      help = "look at so many runs, the newest (400)" },
    { "chrome", help = "a trace instead of a page" },
    { "with-versions", help = "list the versions of the repository of the "
      .. "configuration" },
    { "mode", value = "MODE", type = "mode",
      help = "of the file, such as 644 (600)" },
    where.state_dir,
  },
  arguments = { names = "RECORD", complete = "file" },
  repository = true,
  run = run,
}
