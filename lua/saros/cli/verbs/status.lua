---@private
local core = require "saros.core"
local errors = require "saros.cli.errors"
local monitor = require "saros.monitor"
local shown = require "saros.text"
local where = require "saros.cli.where"

local UNKNOWN <const> = 3

local function hosts(c, o, now)
  local repo = c:repository()
  local list = repo:versions { host = c.options.host, tags = c.options.tag,
    paths = c.options.path }
  return monitor.hosts(list, o, now, require "saros.record".time)
end

-- Those of the configuration that have never run are told, too.
local function of_records(c, o, now)
  local records = require "saros.record".list {
    state_dir = where.state(c) }
  local list, worst = monitor.judge(records, o, now)
  if o.names then return list, worst end
  local by = {}
  for _, w in ipairs(list) do by[w.name] = true end
  for name in pairs(c:config().workflows or {}) do
    if not by[name] then
      list[#list + 1] = { name = name, runs = 0, failures = 0, level = UNKNOWN,
        reasons = { "it has never run" } }
      worst = monitor.worst(worst, UNKNOWN)
    end
  end
  if #list > 0 and worst == UNKNOWN then
    for _, w in ipairs(list) do worst = monitor.worst(w.level, worst) end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list, worst
end

local function stamp(at)
  return at and os.date("!%Y-%m-%dT%H:%M:%S+00:00", math.floor(at)) or nil
end

-- The line for monitoring. The figures behind its bar are in the table, where
-- a person reads that.
local function show_line(c, line)
  if c.options.quiet or not c.screen.out_terminal then return c:out(line) end
  c:prose((line:gsub(" | [^|]*$", "")))
end

local function show(c, list, worst, o)
  show_line(c, monitor.line(list, worst, o))
  local rows = {}
  for i, w in ipairs(list) do
    rows[i] = { monitor.levels[w.level], (shown.safe(w.name):gsub("|", "/")),
      w.running and "running" or w.last or "-", monitor.age(w.age),
      w.drill and ("%s %s"):format(w.drill, w.drill_age
        and monitor.age(w.drill_age) or "") or "-",
      w.held and ("%.3f s"):format(w.held) or "-",
      -- The bar is for figures, in each line.
      (table.concat(w.reasons, "; "):gsub("|", "/")) }
    c:emit("workflow", { name = w.name, level = w.level,
      state = monitor.levels[w.level], reasons = w.reasons, last = w.last,
      last_at = stamp(w.last_at), success_at = stamp(w.success_at),
      age = w.age, drill = w.drill, drill_age = w.drill_age, held = w.held,
      running = w.running ~= nil, runs = w.runs, failures = w.failures,
      record = w.record })
  end
  if not c.options.quiet then
    c:table(rows, { { "", called = "STATE" },
      { c.options.all_hosts and "HOST" or "NAME", cut = true }, { "LAST" },
      { "SUCCESS" }, { "DRILL" }, { "HELD" }, { "WHY" } })
  end
  c:emit("summary", { level = worst, state = monitor.levels[worst],
    line = monitor.line(list, worst, o) })
end

-- Who is named in the configuration hears what he has not heard yet: a run that
-- never came says nothing itself. False: somebody could not be told.
local function tell(c, rules)
  local found, good = c:config(), true
  local names = {}
  for name in pairs(found.workflows or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local said = found.workflows[name].options
    local to = said.notify or found.notify
    if to then
      local op <close> = require "saros.notify".check { to = to,
        name = said.name or name, state_dir = said.state_dir or where.state(c),
        max_age = to.max_age or rules.max_age,
        drill_age = to.drill_age or rules.max_drill }
      local list, err = op:wait()
      if not list then
        good = false
        c:warn("nobody could be told of ", shown.safe(name), ": ",
          shown.safe(err.message))
      end
      for _, told in ipairs(list or {}) do
        for _, bad in ipairs(told.failed) do
          good = false
          c:warn(shown.safe(name), ": ", bad.to, ": ", shown.safe(bad.message))
        end
        local ways = {}
        for way in pairs(told.told) do ways[#ways + 1] = way end
        table.sort(ways)
        c:emit("told", { name = name, event = told.event, to = ways })
      end
    end
  end
  return good
end

local function look(c)
  local o = c.options
  local rules = { max_age = o.max_age, max_drill = o.max_drill,
    max_run = o.max_run, strict = o.strict,
    names = #c.arguments > 0 and c.arguments or nil }
  if not rules.max_age and c:config().max_age then
    rules.max_age = shown.seconds(c:config().max_age)
  end
  local now = core.clocks()
  local list, worst = (o.all_hosts and hosts or of_records)(c, rules, now)
  show(c, list, worst, rules)
  if o.tell and not tell(c, rules) then worst = monitor.worst(worst, 1) end
  return worst
end

-- Whatever went wrong: that nobody knows is an answer, too.
local function run(c)
  if c.options.all_hosts and #c.arguments > 0 then
    c:fail(UNKNOWN, "with --all-hosts all are told: no name, but --host")
  end
  local ok, worst = pcall(look, c)
  if ok then return worst end
  local err = worst
  if type(err) == "table" and err.cancelled or c.screen.lost then
    error(err, 0)
  end
  local record = errors.record(err)
  record.exit_code = UNKNOWN
  c:emit("error", record)
  c:out("SAROS UNKNOWN - ", (table.concat(errors.lines(err), "; ")
    :gsub("[\n|]", " ")))
  return UNKNOWN
end

return {
  name = "status",
  usage = "[NAME…] [options]",
  help = [[
Judges by the records that each run leaves on this machine, or, with
--all-hosts, by the versions of all machines in a repository. The first line is
for monitoring, with figures behind the bar, which a terminal is spared; --quiet
writes that line alone. The exit code is monitoring's: 0 OK, 1 warning, 2 critical, 3 unknown, or called
wrongly.

Critical: it has never succeeded, its last success is older than --max-age, its
last drill failed. A warning: its last run failed (with --strict that is
critical), left something out or was cancelled, no drill has passed for
--max-drill, --tell could not tell somebody. Unknown: there is no record of it. A run that is killed counts as
interrupted, which is a failure.]],
  examples = {
    { "saros status --max-age 26h", "everything; critical when one is late" },
    { "saros status nightly --max-age 26h --max-drill 14d --quiet",
      "one line, for Nagios, Icinga or Zabbix" },
    { "saros status --all-hosts --repo /mnt/x --max-age 2d",
      "every machine that backs up to a repository" },
    { "saros status --tell --quiet --max-age 26h",
      "for a timer: tells whom the configuration's notify names, once" },
    { "saros status --json | jq 'select(.type == \"workflow\")'",
      "for a program" },
  },
  options = {
    { "max-age", value = "TIME", type = "duration",
      help = "the last success must not be older, such as 26h or 7d "
        .. "(max_age of the configuration)" },
    { "max-drill", value = "TIME", type = "duration",
      help = "a drill must have passed since then" },
    { "max-run", value = "TIME", type = "duration",
      help = "no run must take longer" },
    { "tell", help = "tell whom notify names what he has not been told: of "
      .. "runs that are late, too" },
    { "strict", help = "a last run that failed is critical" },
    { "all-hosts", "a", help = "by the versions of all machines in the "
      .. "repository" },
    where.state_dir,
  },
  arguments = { names = "NAME" },
  repository = true,
  filter = true,
  misuse = UNKNOWN,
  run = run,
}
