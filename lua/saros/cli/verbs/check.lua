---@private
local shown = require "saros.text"

local function found(c, report)
  for _, f in ipairs(report.findings) do
    c:emit("finding", { kind = f.kind, message = f.message, id = f.id,
      versions = f.versions, paths = f.paths })
    c:prose(shown.safe(f.kind), ": ", shown.safe(f.message))
    for _, path in ipairs(f.paths or {}) do c:out("    ", shown.safe(path)) end
  end
  if report.finding_count > #report.findings then
    c:out(("… and %d more"):format(report.finding_count - #report.findings))
  end
end

local function summary(c, r)
  c:emit("summary", { versions = r.versions, trees = r.trees, packs = r.packs,
    blobs = r.blobs, packs_read = r.packs_read, bytes_read = r.bytes_read,
    findings = r.finding_count, hints = r.hint_count })
end

local function run(c)
  local o = c.options
  local repo = c:repository()
  c:noted "check"
  local op = repo:check { read_data = o.read_data_subset or o.read_data }
  local r, err = c:progress(op, "check", "step")
  if r then
    for _, hint in ipairs(r.hints or {}) do c:say(shown.safe(hint.message)) end
    summary(c, r)
    c:prose(r)
    return
  end
  local report = op:status()
  if err.name ~= "SAROS_E_DAMAGED" or not report.findings then
    return nil, err
  end
  found(c, report)
  summary(c, report)
  c:prose(shown.safe(err.message))
  if c.recorded then c.recorded:done(err) end
  return 3
end

return {
  name = "check",
  usage = "[options]",
  help = [[
Whether everything that the versions need is there, and, with --read-data, still
what it was. Nothing is changed. Damage makes the exit code 3.]],
  examples = {
    { "saros check", "the structure" },
    { "saros check --read-data-subset 1/7",
      "and a seventh of the data: one a day, and all is read in a week" },
  },
  options = {
    { "read-data", help = "also read all data" },
    { "read-data-subset", value = "PART", type = "share",
      help = "also read a part: 10%, 5G, or 1/7" },
  },
  arguments = { max = 0 },
  repository = true,
  run = run,
}
