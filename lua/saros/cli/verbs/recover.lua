---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

-- As wsb wants them: nobody guesses what is meant by a way up.
local function plain(c, name, path)
  if path and (path:find "\n" or (path .. "/"):find "/%.%./") then
    c:usage("--%s: %s has '..' or a line break in it, which cannot be here",
      name, shown.safe(path))
  end
  return path
end

local function run(c)
  local o = c.options
  if not (o.application or o.component or o.file) then
    c:usage "what? --application NAME, --component NAME or --file PATH"
  end
  if o.file and (o.application or o.component) then
    c:usage "files, or an application and its component, not both"
  end
  local paths = o.file and where.absolute(o.file)
  for _, path in ipairs(paths or {}) do plain(c, "file", path) end
  local target = plain(c, "target", o.target and where.absolute { o.target }[1])
  local repo = c:repository()
  local given = { repository = repo, version = c.arguments[1],
    application = o.application, component = o.component,
    files = paths, host = o.host, target = target,
    overwrite = o.overwrite, no_roll_forward = o.no_roll_forward,
    dry_run = o.dry_run, force = o.force }
  if not (o.target or o.dry_run or o.yes) then
    -- What would be done is shown before it is asked for.
    local plan = {}
    for name, item in pairs(given) do plan[name] = item end
    plan.dry_run = true
    local would, why = c:progress(require "saros.wsb".recover(plan), "plan")
    if not would then return nil, why end
    c:say(tostring(would))
    if not c:confirm "Put it where it was? What is there is kept aside." then
      c:fail(1, "nothing was recovered (without a terminal, say --yes; "
        .. "--target DIR puts it elsewhere)")
    end
  end
  if not o.dry_run then c:record "restore" end
  local r, err = c:progress(require "saros.wsb".recover(given), "recover")
  if not r then
    for _, one in ipairs(err.recovered and err.recovered.laid or {}) do
      c:emit("laid", { path = one.path, to = one.to, kept = one.kept })
    end
    return nil, err
  end
  for _, one in ipairs(r.laid) do
    c:emit("laid", { path = one.path, to = one.to, kept = one.kept,
      skipped = one.skipped })
  end
  c:prose(r)
  for _, text in ipairs(r.warnings or {}) do
    c:emit("warning", { message = shown.safe(text) })
  end
  c:emit("summary", { version = r.version, laid = #r.laid,
    dry_run = r.dry_run })
  if #r.laid == 0 and not o.dry_run then c:say "nothing was laid" end
end

return {
  name = "recover",
  usage = "[VERSION] (--application | --component | --file) NAME",
  help = [[
Brings applications, a component, or files of a version (the latest, when none
is named) back, in the order that the applications want, between what they do
before and after a restore. What is there already is kept aside, and named. What
runs refuses it; what a check or a drill has found damaged is barred, unless
--force.

It shows what it would do, and asks, before it puts anything where it was.]],
  examples = {
    { "saros recover --application postgres --dry-run",
      "what would be done" },
    { "saros recover 5c9ffefa --component 15-main",
      "one cluster, to where it was" },
    { "saros recover --component app.db --target /scratch",
      "to look at, below another directory" },
    { "saros recover --file /srv/app/app.db --overwrite copy",
      "beside what is there" },
  },
  options = {
    { "application", "a", value = "NAME", help = "all of it: the name of a "
      .. "writer or of its kind" },
    { "component", "c", value = "NAME", help = "this one" },
    { "file", "f", value = "PATH", list = true,
      help = "these, with what is in them" },
    { "target", "t", value = "DIR", complete = "directory",
      help = "below this directory, instead of where it was" },
    { "overwrite", value = "HOW", choices = { "overwrite", "copy", "skip" },
      help = "what is there is kept aside; or stays, and the copy lies beside "
        .. "it; or stays, and nothing is laid (overwrite)" },
    { "host", "H", value = "NAME", help = "the latest of this machine" },
    { "no-roll-forward", help = "to this point in time: later logs go" },
    { "force", help = "also what is barred" },
    { "dry-run", "n", help = "only say what would be done" },
    { "yes", "y", help = "do not ask" },
  },
  arguments = { max = 1, names = "VERSION" },
  repository = true,
  run = run,
}
