---@private
local core = require "saros.core"
local screen = require "saros.cli.screen"
local shown = require "saros.text"
local where = require "saros.cli.where"

-- Without these nothing can be backed up.
local essential <const> = { kernel = true, state = true, guard = true,
  ["shadow.copy"] = true, repository = true }

local titles <const> = { machine = "This machine",
  shadows = "Shadow copies", repository = "Versions",
  databases = "Databases", transfers = "Transfers and disks",
  service = "By the clock, and when something fails" }

local marks <const> = { works = "ok", missing = "--", degraded = "! ",
  untried = "? " }
local colors <const> = { works = "32", missing = "31", degraded = "33",
  untried = "36" }

local function wrapped(c, text, mark)
  local indent = (" "):rep(6)
  local lines = screen.wrap(text, indent, math.min(c.width, 81) - 1)
  if mark then lines[1] = "  " .. mark .. "  " .. lines[1]:sub(7) end
  for _, line in ipairs(lines) do c:out(line) end
end

local function show(c, check, room)
  if check.room ~= room then
    c:out((room and "\n" or ""), titles[check.room] or check.room)
  end
  local mark = marks[check.state]
  if c.color and c.screen.out_terminal then
    mark = ("\27[%sm%s\27[0m"):format(colors[check.state], mark)
  end
  wrapped(c, check.what, mark)
  if check.why and (check.state ~= "works" or not c.options.quiet) then
    wrapped(c, check.why)
  end
  if check.remedy then wrapped(c, "→ " .. check.remedy) end
end

-- ------------------------------------------------------------------
-- As another user
-- ------------------------------------------------------------------

local function run_to_end(argv)
  local op <close> = core.process { argv = argv, any_status = true }
  return op:wait()
end

local function account(c, name)
  local result = run_to_end { "getent", "passwd", "--", name }
  local line = result and result.status == 0 and result.stdout or ""
  local login, uid, gid, home =
    line:match "^([^:]*):[^:]*:(%d+):(%d+):[^:]*:([^:]*):"
  if not login then
    c:fail(4, "there is no user %s on this machine", shown.safe(name))
  end
  return { name = login, uid = uid, gid = gid, home = home }
end

-- The same program as him, with nothing of our environment.
local function command_of(c, user, paths)
  local program = arg[0]
  if program:sub(1, 1) ~= "/" and program:find("/", 1, true) then
    program = where.absolute { program }[1]
  end
  local argv = { "setpriv", "--reuid", user.uid, "--regid", user.gid,
    "--init-groups", "--", program, "doctor", "--json" }
  if c.options.quick then argv[#argv + 1] = "--quick" end
  if c.options.scratch then
    argv[#argv + 1] = "--scratch=" .. c.options.scratch
  end
  if c.options.state_dir then
    argv[#argv + 1] = "--state-dir=" .. c.options.state_dir
  end
  argv[#argv + 1] = "--"
  return table.move(paths, 1, #paths, #argv + 1, argv)
end

local function as(c, name, paths, told)
  if not require "saros.cli.user".is_root() then
    c:fail(13, "only root can look as another user; he can run 'saros "
      .. "doctor' himself")
  end
  local user = account(c, name)
  local env = { HOME = user.home, USER = user.name, LOGNAME = user.name,
    PATH = os.getenv "PATH", LANG = os.getenv "LANG" }
  local runtime = "/run/user/" .. user.uid
  local there <close> = io.open(runtime)
  if there then env.XDG_RUNTIME_DIR = runtime end
  local op <close> = core.process { argv = command_of(c, user, paths),
    clear_env = true, env = env, cwd = "/", any_status = true,
    limit = 4 << 20 }
  local result, err = c:progress(op, "as " .. user.name)
  if not result then error(err, 0) end
  local number = 0
  for line in result.stdout:gmatch "[^\n]+" do
    local record = core.json_read(line)
    if type(record) == "table" and record.type == "check" then
      number = number + 1
      told(record)
    end
  end
  if number == 0 then
    local said = result.stderr ~= "" and result.stderr or result.stdout
    c:fail(1, "%s cannot run saros: %s", user.name,
      shown.safe((said:gsub("\n+$", ""))))
  end
end

local function run(c)
  local o, room = c.options, nil
  local count, lacks = { works = 0, missing = 0, degraded = 0, untried = 0 },
    false
  local function told(check)
    count[check.state] = (count[check.state] or 0) + 1
    lacks = lacks or check.state == "missing" and essential[check.id] or false
    c:emit("check", check)
    if not o.problems or check.state ~= "works" then
      show(c, check, room)
      room = check.room
    end
  end
  local paths = where.absolute(c.arguments)
  if o.as then
    as(c, o.as, paths, told)
  else
    local op = require "saros.doctor".start { paths = paths, quick = o.quick,
      scratch = o.scratch and where.absolute { o.scratch }[1],
      state_dir = where.state(c), on_check = told }
    local report, err = c:progress(op, "doctor")
    if not report then return nil, err end
  end
  c:out(("\n%d work, %d are missing, %d work in part, %d were not tried")
    :format(count.works, count.missing, count.degraded, count.untried))
  if lacks then c:out "nothing can be backed up like this" end
  c:emit("summary", count)
  return lacks and 14 or 0
end

return {
  name = "doctor",
  usage = "[PATH…] [options]",
  help = [[
Tries everything on something of its own: file systems in files, shadows of
them, a repository, a queue, a process that is stopped for a moment, the tools
of databases. Nothing else is touched, and nothing stays. What does not work
comes with the reason and how it is to be had. Of each PATH: who could take a
shadow of it, and why the others cannot.

The exit code is 14 when something is missing without which nothing can be
backed up, and 0 otherwise: nobody needs all databases.]],
  examples = {
    { "saros doctor", "everything, as you are" },
    { "saros doctor /srv /home", "and who can take shadows of these" },
    { "saros doctor --as backup", "what this user could do (as root)" },
    { "saros doctor --problems --quick", "what does not work, at once" },
  },
  options = {
    { "as", value = "USER", help = "look as this user (as root)" },
    { "problems", "p", help = "only what does not work" },
    { "quick", help = "make no file systems to try shadows on" },
    { "scratch", value = "DIR", complete = "directory",
      help = "where what is tried lies ($TMPDIR, or /var/tmp)" },
    where.state_dir,
  },
  arguments = { names = "PATH", complete = "file" },
  run = run,
}
