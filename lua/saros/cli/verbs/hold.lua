---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

-- Its own failures, where the command has not run.
local NO_SHADOW <const> = 125

local function split(c)
  local at = c.options["--"]
  if not at then
    c:usage "-- and a command are missing: saros hold PATH… -- COMMAND …"
  end
  local paths = where.absolute(table.move(c.arguments, 1, at, 1, {}))
  local command = table.move(c.arguments, at + 1, #c.arguments, 1, {})
  if #paths == 0 and not c.options.workflow then
    c:usage "of what? A path is missing before -- (or --workflow NAME)"
  end
  if #command == 0 then c:usage "a command is missing behind --" end
  local seen = {}
  for _, path in ipairs(paths) do
    if seen[path] then c:usage("%s is there twice", shown.safe(path)) end
    seen[path] = true
  end
  return paths, command
end

-- What is mounted below a path is not in its shadow.
local function warn_of_mounts(c, paths)
  local named = {}
  for _, path in ipairs(paths) do named[path] = true end
  local file <close> = io.open "/proc/self/mounts"
  for line in file and file:lines() or function() end do
    local at, kind = line:match "^%S+ (%S+) (%S+)"
    at = at and at:gsub("\\(%d%d%d)", function(o)
      return string.char(tonumber(o, 8))
    end)
    for _, path in ipairs(paths) do
      local below = path == "/" and "/" or path .. "/"
      if at and at ~= path and at:sub(1, #below) == below and not named[at]
        and not (kind == "tmpfs" or kind == "proc" or kind == "sysfs"
          or kind:find "^cgroup" or kind:find "^dev" or at:find "^/run/"
          or at:find "/%.saros")
      then
        c:warn(shown.safe(at), " is another file system (", shown.safe(kind),
          "), and not in the shadow of ", shown.safe(path), ": name it, too")
        break
      end
    end
  end
end

local function tell(c, set, paths)
  for _, path in ipairs(paths) do
    local p = set[path]
    c:emit("shadow", { original = path, path = p.path, provider = p.provider,
      consistency = p.consistency, held = p.held })
    for _, text in ipairs(p.warnings or {}) do c:warn(shown.safe(text)) end
    c:say(("shadow of %s: %s (%s)"):format(shown.safe(path),
      shown.safe(p.path), p.provider .. ", " .. p.consistency))
  end
  for _, writer in ipairs(set.left_out) do
    c:partial(("the writer %s was left out, and did not hold still: %s")
      :format(shown.safe(writer.name), shown.safe(writer.message)))
  end
  c:say(("held still for %.3f s"):format(set.held))
end

-- What is in the words of a command may be a password: its name will do.
local function record_of(c, paths, command, state_dir)
  local argv = { "hold", table.unpack(paths) }
  argv[#argv + 1] = "--"
  argv[#argv + 1] = command[1]
  c.recorded = require "saros.record".begin { kind = "hold",
    name = c.options.name, argv = argv, state_dir = state_dir }
  return c.recorded
end

local function options_of(c, paths, command, state_dir)
  local o = c.options
  if o.json then -- the output is ours
    command = { "sh", "-c", 'exec "$@" >&2', "sh", table.unpack(command) }
  end
  return { paths = paths, argv = command, in_place = o.in_place,
    provider = o.provider, type = o.type,
    writers = { require = o.require, exclude = o.without },
    on_veto = o.ignore_veto and "ignore" or nil, state_dir = state_dir,
    cwd = where.here(), foreground = true }
end

local function hold_all(c, o, record)
  local steps, shadow_item = {}, nil
  function o.on_shadow(op)
    shadow_item = c.shows:add(op, "shadow")
    steps.shadow = record:op { lane = "step", name = "shadow" }
  end
  local function shadow_over(err)
    if shadow_item then c.shows:remove(shadow_item) end
    shadow_item = nil
    if steps.shadow then steps.shadow:done(err) end
  end
  function o.on_set(set)
    shadow_over()
    record:held(set)
    tell(c, set, o.paths)
    c.screen:flush()
    steps.command = record:op { lane = "step", name = "command" }
  end
  local _ <close> = setmetatable({}, { __close = function(_, err)
    shadow_over(err)
  end })
  local op <close> = require "saros.hold".start(o)
  local r, err = op:wait()
  if not r then shadow_over(err) end
  return r, err, steps.command
end

-- The command has not run.
local function refused(c, err)
  local errors = require "saros.cli.errors"
  local record = errors.record(err)
  record.exit_code = NO_SHADOW
  c:emit("error", record)
  for _, line in ipairs(c.options.json and {} or errors.lines(err)) do
    c.screen:tell("saros: hold: " .. line)
  end
  return NO_SHADOW
end

local function run(c)
  local o = c.options
  local paths, command = split(c)
  local state_dir = where.state(c)
  local workflow = where.open_workflow(c)
  if #paths == 0 then paths = workflow:paths() end
  if not o.quiet then warn_of_mounts(c, paths) end
  local given = options_of(c, paths, command, state_dir)
  local misfit = not o.in_place
    and require "saros.hold".misfit(command, paths)
  if misfit then c:usage("%s", shown.safe(misfit)) end
  local begun, record = pcall(record_of, c, paths, command, state_dir)
  if not begun then
    if type(record) == "table" and record.cancelled then error(record, 0) end
    return refused(c, record)
  end
  local r, err, step = hold_all(c, given, record)
  if not r then
    if not err.before or err.cancelled then return nil, err end
    record:done(err)
    return refused(c, err)
  end
  local failed = not r.succeeded and { message = ("%s ended with status %d")
    :format(shown.safe(command[1]), r.status) } or nil
  if r.error then
    failed = r.error
    c:warn(shown.safe(r.error.message))
  end
  step:done(failed, { status = r.status })
  if r.untold then
    c:partial("not every writer could be told: ", shown.safe(r.untold.message))
  end
  record:done(failed, { held = r.held, partial = c.is_partial })
  c:emit("summary", { status = r.status, held = r.held, set = r.set,
    succeeded = r.succeeded })
  return r.status
end

return {
  name = "hold",
  usage = "PATH… [options] -- COMMAND [ARGUMENT…]",
  help = [[
Takes shadow copies of the paths, all at one instant, with their applications
holding still; lets these go on; runs any backup program over the shadows; and
tells the applications how it ended. The shadows go with the command.

In its words {} is the shadows' paths (within a word: the only one's), {1} the
first one's, {/srv} that of /srv, and {{}} is {}. Its environment has
SAROS_SHADOW_1, SAROS_ORIGINAL_1 and so on, SAROS_SHADOWS (how many) and
SAROS_SET. With --in-place the shadows lie over the originals, for the command
alone, and it needs no change at all.

The exit code is the command's; 126: it cannot be run, 127: there is none, 128
and its number: a signal ended it; 125: there was no shadow, and it has not run.
While it runs it has the terminal, and Ctrl-C is for it; Ctrl-Z does nothing.]],
  examples = {
    { "saros hold /srv --in-place -- restic backup /srv",
      "restic finds everything where it has always been" },
    { "saros hold /srv /home -- tar -cf /mnt/all.tar {}",
      "tar reads the shadows" },
    { "saros hold /srv -- sh -c 'rsync -a \"$SAROS_SHADOW_1/\" nas:/srv/'",
      "by the environment" },
    { "saros hold /etc /srv --in-place -- borgmatic create",
      "a tool with a configuration of its own" },
    { "saros hold --workflow nightly -i -- restic backup /srv",
      "of the paths of a workflow, with the databases that it names" },
    { "saros hold /srv -- bash", "look around in it" },
  },
  options = {
    { "in-place", "i", help = "lay the shadows over the originals, for the "
      .. "command alone (as root)" },
    { "provider", value = "NAME", choices = { "btrfs", "image", "lvm",
      "reflink", "copy", "live" }, help = "who makes the shadows; else the "
      .. "best that can" },
    { "require", value = "WRITER", list = true,
      help = "fail without this writer" },
    { "without", value = "WRITER", list = true,
      help = "leave this writer out" },
    { "ignore-veto", help = "go on when a writer says no" },
    { "type", value = "TYPE", choices = { "copy", "full" },
      help = "full: the writers may cut their logs (copy)" },
    where.workflow,
    { "name", value = "TEXT", help = "what 'saros status' calls it" },
    where.state_dir,
  },
  arguments = { names = "PATH… -- COMMAND…", complete = "file" },
  run = run,
}
