---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

local function show(c, report)
  for _, one in ipairs(report.components) do
    c:emit("component", { name = one.name, kind = one.kind, state = one.state,
      message = one.message, problems = one.problems,
      failed_at = one.failed_at, restored = one.restored,
      started = one.started, seconds = one.seconds, place = one.place })
  end
  c:prose(report)
  for _, one in ipairs(report.components) do
    for _, problem in ipairs(one.problems or {}) do
      c:out("    ", shown.safe(tostring(problem)))
    end
    if one.place then c:out("    kept in ", shown.safe(one.place)) end
  end
end

local function summary_of(report)
  local count = { passed = 0, failed = 0, untried = 0 }
  for _, one in ipairs(report.components) do
    count[one.state] = (count[one.state] or 0) + 1
  end
  count.version = report.version
  return count
end

local function run(c)
  local o = c.options
  local repo = c:repository()
  local learn
  if o.no_learn then learn = false end
  local record = c:record "drill"
  local op = require "saros.drill".start { repository = repo,
    version = c.arguments[1], component = o.component,
    application = o.application, keep = o.keep, learn = learn,
    timeout = o.timeout,
    scratch = o.scratch and where.absolute { o.scratch }[1] }
  local step = record:op { lane = "drill:" .. (o.component or o.application
    or "all"), name = "drill" }
  local report, err = c:progress(op, "drill")
  step:done(err)
  local found = report or err.report
  if not found then return nil, err end
  show(c, found)
  local count = summary_of(found)
  record:done(err, { drill = { state = count.failed > 0 and "failed"
    or count.untried > 0 and "untried" or "passed" },
    versions = { { id = found.version } } })
  c:emit("summary", count)
  if report then return 0 end
  -- A drill that could not be made is no proof of damage; one that was made and
  -- could not be noted was made.
  if count.failed > 0 or count.untried == 0 then return 3 end
  return nil, err
end

return {
  name = "drill",
  usage = "[VERSION] [options]",
  help = [[
Restores a version (the latest, when none is named) into a place of its own,
checks each application there and starts it, with no network, no other process
and no file of this machine within its reach; then takes all of it away. What
fails is noted in the repository, and not recovered from any more.

The exit code is 0 when every application was restored and started, 3 when one
of them failed or what was found could not be noted, 1 when one could not be
tried (a tool is missing, there was no room or no time). As root, but for
SQLite.]],
  examples = {
    { "saros drill --repo /mnt/x", "the latest version" },
    { "saros drill 5c9ffefa --component 15-main --keep",
      "one application, and leave the files to be looked at" },
  },
  options = {
    { "component", "c", value = "NAME", help = "only this one" },
    { "application", "a", value = "NAME", help = "only those of this kind or "
      .. "writer" },
    { "scratch", value = "DIR", complete = "directory",
      help = "where it is restored to ($TMPDIR, or /var/tmp)" },
    { "keep", help = "leave the files, and say where" },
    { "no-learn", help = "do not note in the repository how it went" },
    { "timeout", value = "SECONDS", type = "number", help = "for each step" },
    { "name", value = "TEXT", help = "what 'saros status' calls it" },
    where.state_dir,
  },
  arguments = { max = 1, names = "VERSION" },
  repository = true,
  run = run,
}
