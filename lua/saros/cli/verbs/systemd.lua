---@private
local core = require "saros.core"
local errors = require "saros.cli.errors"
local shown = require "saros.text"
local where = require "saros.cli.where"

-- The program that this is, wherever it was called from.
local function program(c)
  local name = c.options.program or (_G.arg or {})[0] or ""
  if name:sub(1, 1) ~= "/" then
    local pipe <close> = assert(io.popen(("command -v -- '%s'")
      :format((name:gsub("'", "'\\''")))))
    name = pipe:read "l" or ""
    if name:sub(1, 1) ~= "/" and name ~= "" then
      name = (os.getenv "PWD" or "") .. "/" .. name
    end
  end
  if name:sub(1, 1) ~= "/" or name:find "[%c]" then
    c:fail(2, "--program: where saros is installed expected, an absolute path")
  end
  return name
end

-- Where runs note what they hold, and maybe this workflow others. What cannot be
-- read of the configuration keeps nothing frozen.
local function states(c, name)
  local list, seen = { {} }, {}
  local function add(directory)
    if type(directory) == "string" and not seen[directory] then
      seen[directory] = true
      list[#list + 1] = { state_dir = directory }
    end
  end
  local ok, found = pcall(c.config, c)
  if not ok then
    for _, line in ipairs(errors.lines(found)) do c:warn(line) end
    add(os.getenv "SAROS_STATE_DIR")
    return list
  end
  add(where.state(c))
  local workflow = name and found.workflows[name]
  if workflow then add(workflow.options.state_dir) end
  return list
end

-- What a dead run has left.
local function reap(c, name)
  for _, state in ipairs(states(c, name)) do
    local report, err = require "saros.vss".reap(state):wait()
    if report then
      for _, text in ipairs(report.thawed or {}) do c:say(shown.safe(text)) end
      for _, one in ipairs(report.shadows or {}) do
        c:say("took away the shadow of ", shown.safe(one.original))
      end
      for _, one in ipairs(report.failed or {}) do
        c:partial(one.id and one.id .. ": " or "", shown.safe(one.message))
      end
    else
      c:partial(state.state_dir and shown.safe(state.state_dir) .. ": " or "",
        shown.safe(err.message))
    end
  end
end

-- Where they lie, and whether that is of a user.
local function home(c)
  local own <const> = c.options.user or false
  return c.options.directory
    or require "saros.systemd.units".directory(own), own
end

local function check_name(c, name)
  if require "saros.systemd".is_name(name) then return end
  c:fail(2, "a workflow that is to be a unit is called by letters, digits, "
    .. ":, _, . and -, and '%s' is not", shown.safe(name))
end

-- The workflow may be gone from the configuration.
local function remove(c, name)
  local here, own = home(c)
  local list = require "saros.systemd.units".remove { directory = here,
    name = name, own = own, told = not c.options.directory }
  if #list == 0 then
    local others = require "saros.systemd.units".names(here)
    c:fail(4, "%s has no units in %s%s", shown.safe(name), shown.safe(here),
      #others > 0 and "; these have: " .. shown.safe(table.concat(others,
        ", ")) or "")
  end
  for _, path in ipairs(list) do
    c:emit("removed", { path = path })
    c:say("removed ", shown.safe(path))
  end
end

local function units(c, name)
  local systemd = require "saros.systemd"
  local found = c:config()
  local workflow = found.workflows[name]
  if not workflow then c:workflow(name) end -- says which there are
  local paths = require "saros.systemd.paths".of({
    sources = workflow.options.sources, to = workflow.options.to
      or found.repository, state_dir = workflow.options.state_dir },
    { found.metrics })
  local here, own = home(c)
  local p <const> = program(c)
  local list = {
    { here .. "/saros@.service", systemd.service(p, own) },
    { here .. "/saros@.timer", systemd.timer(p) },
    { ("%s/saros@%s.service.d/saros.conf"):format(here, name),
      systemd.of_service { paths = paths, program = p, own = own,
        config = c.options.config and found.file } },
  }
  local timer = systemd.of_timer(c.options)
  if timer then
    list[4] = { ("%s/saros@%s.timer.d/saros.conf"):format(here, name), timer }
  end
  return list, paths
end

local function write(path, text)
  local temporary = ("%s.%s"):format(path, core.guid())
  assert(core.entries { { "store", temporary, text } }:wait())
  local op = core.process { argv = { "sh", "-c",
    'chmod 644 -- "$1" && mv -fT -- "$1" "$2" || { rm -f -- "$1"; exit 1; }',
    "sh", temporary, path } }
  return op:wait()
end

local function install(c, list, paths)
  for _, unit in ipairs(list) do
    local directory = unit[1]:match "^(.*)/"
    assert(core.process { argv = { "mkdir", "-p", "-m", "755", "--",
      directory } }:wait())
    assert(write(unit[1], unit[2]))
    c:emit("unit", { path = unit[1] })
    c:say("wrote ", shown.safe(unit[1]))
  end
  for _, path in ipairs(paths) do
    -- Where all the rest is read-only, it must be there before.
    if path == "/.saros-shadows" and not c.options.directory
      and not c.options.user
    then
      assert(core.process { argv = { "mkdir", "-p", "-m", "700", "--", path } }
        :wait())
    end
  end
end

local function run(c)
  local name = c.arguments[1]
  if c.options.reap then return reap(c, name) end
  if not name then c:usage "which workflow?" end
  check_name(c, name)
  if c.options.remove then
    if c.options.install then
      c:usage "--install and --remove exclude each other"
    end
    return remove(c, name)
  end
  local list, paths = units(c, name)
  if not c.options.install then
    for i, unit in ipairs(list) do
      c:emit("unit", { path = unit[1], text = unit[2] })
      c:out(i > 1 and "\n" or "", "# ", shown.safe(unit[1]), "\n",
        (unit[2]:gsub("\n$", "")))
    end
    return
  end
  install(c, list, paths)
  local systemctl = "systemctl" .. (c.options.user and " --user" or "")
  c:say "now:"
  for _, text in ipairs { "%s daemon-reload", "%s enable --now saros@%s.timer",
    "%s start saros@%s    # the first, at once" }
  do
    c.screen:say("  " .. text:format(systemctl, name), true)
  end
  if c.options.user then
    c.screen:say("  loginctl enable-linger    # also while nobody is logged in",
      true)
  end
end

return {
  name = "systemd",
  usage = "[options] WORKFLOW",
  help = [[
Prints, or installs, what systemd needs to run a workflow of the configuration:
saros@.service and saros@.timer, which all workflows share, and where this one
writes. The service may do what a backup has to, and little else: 'systemd-analyze
security saros@NAME.service' shows it. What you want otherwise goes beside it
('systemctl edit saros@NAME.service'), and stays.

Say it again when the workflow has other sources or another repository. With
--user it is a service of your own, with the rights that you have.]],
  examples = {
    { "saros systemd nightly", "look at it" },
    { "saros systemd nightly --install --calendar '*-*-* 02:30'",
      "each night, at half past two or a little later" },
    { "journalctl -u saros@nightly", "what it had to say" },
    { "saros systemd nightly --remove", "never again" },
  },
  options = {
    { "install", help = "write them" },
    { "remove", help = "take them away; with the last, what all have shared" },
    { "user", help = "for the systemd of your own user" },
    { "calendar", value = "WHEN",
      help = "when it runs, as 'systemd-analyze calendar' has it (daily)" },
    { "delay", value = "TIME", type = "duration",
      help = "by chance, up to so much later (1h)" },
    { "directory", value = "DIRECTORY", complete = "file",
      help = "of the units (/etc/systemd/system, or your own)" },
    { "program", value = "PATH", complete = "file",
      help = "where saros is installed (this one)" },
    { "reap",
      help = "let go what a run that was killed held (the service does so)" },
  },
  arguments = { max = 1, names = "WORKFLOW" },
  run = run,
}
