---@private
local core = require "saros.core"
local shown = require "saros.text"

local HERE <const> = "/etc/systemd/system"

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

-- What a dead run has left: so much that nobody has to wait for it.
local function reap(c)
  local report, err = require "saros.vss".reap():wait()
  if not report then return nil, err end
  for _, text in ipairs(type(report) == "table" and report or {}) do
    c:say(shown.safe(tostring(text)))
  end
end

local function units(c, name)
  local systemd = require "saros.systemd"
  if not systemd.is_name(name) then
    c:fail(2, "a workflow that is to be a unit is called by letters, digits, "
      .. ":, _, . and -, and '%s' is not", shown.safe(name))
  end
  local found = c:config()
  local workflow = found.workflows[name]
  if not workflow then c:workflow(name) end -- says which there are
  local paths = require "saros.systemd.paths".of({
    sources = workflow.options.sources, to = workflow.options.to
      or found.repository, state_dir = workflow.options.state_dir },
    { found.metrics })
  local here, p = c.options.directory or HERE, program(c)
  local list = {
    { here .. "/saros@.service", systemd.service(p) },
    { here .. "/saros@.timer", systemd.timer(p) },
    { ("%s/saros@%s.service.d/saros.conf"):format(here, name),
      systemd.of_service { paths = paths, program = p,
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
    if path == "/.saros-shadows" and not c.options.directory then
      assert(core.process { argv = { "mkdir", "-p", "-m", "700", "--", path } }
        :wait())
    end
  end
end

local function run(c)
  if c.options.reap then return reap(c) end
  local name = c.arguments[1]
  if not name then c:usage "which workflow?" end
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
  c:say "now: systemctl daemon-reload"
  c:say(("     systemctl enable --now saros@%s.timer"):format(name))
  c:say(("     systemctl start saros@%s    # the first, at once"):format(name))
end

return {
  name = "systemd",
  usage = "[options] WORKFLOW",
  help = [[
Prints, or installs, what systemd needs to run a workflow of the configuration:
saros@.service and saros@.timer, which all workflows share, and where this one
writes. The service may do what a backup has to, and nothing else; 'systemd-analyze
security saros@NAME.service' shows it.

Say it again when the workflow has other sources or another repository.]],
  examples = {
    { "saros systemd nightly", "look at it" },
    { "saros systemd nightly --install --calendar '*-*-* 02:30'",
      "each night, at half past two or a little later" },
    { "journalctl -u saros@nightly", "what it had to say" },
  },
  options = {
    { "install", help = "write them" },
    { "calendar", value = "WHEN",
      help = "when it runs, as 'systemd-analyze calendar' has it (daily)" },
    { "delay", value = "TIME", type = "duration",
      help = "by chance, up to so much later (1h)" },
    { "directory", value = "DIRECTORY", complete = "file",
      help = "of the units (/etc/systemd/system)" },
    { "program", value = "PATH", complete = "file",
      help = "where saros is installed (this one)" },
    { "reap",
      help = "let go what a run that was killed held (the service does so)" },
  },
  arguments = { max = 1, names = "WORKFLOW" },
  run = run,
}
