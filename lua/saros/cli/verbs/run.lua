---@private
local options = require "saros.cli.options"
local shown = require "saros.text"
local where = require "saros.cli.where"

local function is_file(name)
  return name:find("/", 1, true) ~= nil or name:find "%.lua$" ~= nil
end

-- All of Lua: it is a program. What it says has no place of its own here.
local function loaded(c, path)
  local chunk, why = loadfile(path)
  if not chunk then
    local code = why:find("No such file", 1, true) and 4 or 2
    c:fail(code, "%s", shown.safe(why))
  end
  local names = { [0] = path, table.unpack(c.arguments, 2) }
  _G.arg = names
  local results = table.pack(pcall(chunk, table.unpack(names)))
  if not results[1] then
    local err = results[2]
    if require "saros.core".is_failure(err) then return nil, err end
    c:fail(1, "%s", shown.lines(err))
  end
  return results[2], results[3]
end

local function is_workflow(value)
  local meta = getmetatable(value)
  return type(value) == "table" and type(meta) == "table"
    and meta.__name == "saros.workflow"
end

-- What there is to say of a run beside why it ended. One that was cancelled has
-- stored something before that, perhaps.
local function tell_rest(c, run, err)
  for _, text in ipairs(run.warnings) do c:warn(shown.safe(text)) end
  for _, t in ipairs(run.targets) do
    if t.version then
      c:warn(shown.safe(t.location), " has the version ",
        shown.safe(t.version:sub(1, 8)))
    end
    if t.error and t.error.message ~= err.message then
      c:warn(shown.safe(t.location), ": ", shown.safe(t.error.message))
    end
  end
end

local function perform(c, workflow)
  local o = c.options
  local state_dir = where.state(c)
  if o.dry_run then
    local plan, err = c:progress(workflow:plan { only = o.only,
      state_dir = state_dir },
      workflow.name)
    if not plan then return nil, err end
    c:emit("summary", plan)
    c:prose(plan)
    return
  end
  local now
  local good, r, err = pcall(c.progress, c, workflow:run { only = o.only,
    resume = not o.anew, argv = c.argv, state_dir = state_dir,
    on_begin = function(run) now = run end }, workflow.name, nil, function()
    return now and now:running() or {}
  end)
  if not good then err = r end
  if err ~= nil then
    if now then tell_rest(c, now, err) end
    if not good then error(err, 0) end
    return nil, err
  end
  c:emit("summary", r)
  c:prose(r)
  if r.state == "partial" then c:partial() end
end

-- What a run can be told.
local of_run <const> = {
  { "only", value = "LOCATION", list = true,
    help = "only to these repositories" },
  { "anew", help = "do not go on with a run that was killed" },
  { "dry-run", "n", help = "only say what would be done" },
  where.state_dir,
}

-- Behind a file stands what its program is given; of a workflow these options,
-- too, and none that nobody would heed.
local function heed(c)
  local given, rest = options.parse({ options = of_run, arguments = {} },
    table.move(c.arguments, 2, #c.arguments, 1, {}))
  if not given then
    c:usage("%s (what is for the program in the file stands behind --)",
      shown.safe(rest))
  end
  for _, option in ipairs(options.common) do
    local name = option[1]
    if given[name] then c:usage("--%s stands before the file", name) end
  end
  given["--"] = nil
  for name, value in pairs(given) do c.options[name] = value end
end

-- What a program returned: that of its work, as an operation or its end.
local function judge(c, name, made, err)
  if require "saros.core".is_operation(made) then
    made, err = c:progress(made, name)
  end
  if not made and err ~= nil then
    if type(err) ~= "string" then return nil, err end
    c:fail(1, "%s: %s", shown.safe(name), shown.lines(err))
  end
  if made == false then c:fail(1, "%s returned false", shown.safe(name)) end
  if type(made) == "table" and made.state == "partial" then
    c:partial(shown.safe(name), ": it was done in part")
  end
end

local function run(c)
  local name = c.arguments[1]
  if not is_file(name) then return perform(c, c:workflow(name)) end
  local made, err = loaded(c, name)
  if is_workflow(made) then
    heed(c)
    return perform(c, made)
  end
  if (made or err == nil) and c.options.dry_run then
    c:fail(2, "%s is a program and no workflow: --dry-run was not for it, and "
      .. "it has done what it does", shown.safe(name))
  end
  return judge(c, name, made, err)
end

return {
  name = "run",
  usage = "[options] NAME | FILE.lua [ARGUMENT…]",
  help = [[
NAME is a workflow of the configuration. A file is a program in Lua: when it
returns a workflow, that is run, with these options before or behind its name;
else it has done what it wanted, and what stands behind its name was for it.

A run that was killed goes on when it is begun again: what is finished is not
done twice.]],
  examples = {
    { "saros run nightly", "what the configuration calls so" },
    { "saros run nightly --dry-run", "what it would do" },
    { "saros run ~/nightly.lua",
      "a file that returns a workflow, or is a program itself" },
  },
  options = of_run,
  arguments = { min = 1, names = "NAME", complete = "file" },
  stop = is_file,
  run = run,
}
