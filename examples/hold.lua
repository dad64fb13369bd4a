-- Lends shadow copies to any other backup program:
--
--     lua5.4 examples/hold.lua PATH… -- COMMAND ARGUMENT…
--
-- runs COMMAND while there are shadows of the paths, which may be on several
-- file systems, and tells their writers how it ended. In its arguments {PATH}
-- stands for the shadow of PATH, and {} for that of the first; in its
-- environment they are SAROS_SHADOW_1, SAROS_SHADOW_2, … Its status is ours.
-- SAROS_STATE_DIR and SAROS_PROVIDER choose what vss.shadow calls so.
--
--     hold.lua /srv -- restic backup {}
--     hold.lua /srv /home -- tar -cf /backup/all.tar {/srv} {/home}
--
-- Without arguments it shows itself with tar.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local function split(words)
  local paths, command = {}, nil
  for _, word in ipairs(words) do
    if command then
      command[#command + 1] = word
    elseif word == "--" then
      command = {}
    else
      paths[#paths + 1] = word
    end
  end
  return paths, command
end

local function complain(text)
  io.stderr:write("hold.lua: ", text, "\n")
end

-- Which words of the command are shadows, and its environment.
local function with_shadows(set, paths, command)
  local argv, env = {}, {}
  for i, word in ipairs(command) do
    argv[i] = word:gsub("{(.-)}", function(name)
      local shadow = set[name == "" and paths[1] or name]
      return shadow and shadow.path -- else it stays as it is
    end)
  end
  for i, path in ipairs(paths) do
    env["SAROS_SHADOW_" .. i] = set[path].path
  end
  return argv, env
end

-- The command's status; 125: there were no shadows, 127: no such command.
local function hold(paths, command)
  local set <close>, err = vss.shadow { paths = paths,
    provider = os.getenv "SAROS_PROVIDER",
    state_dir = os.getenv "SAROS_STATE_DIR" }:wait()
  if not set then
    complain(tostring(err))
    return 125
  end
  local argv, env = with_shadows(set, paths, command)
  local result, why = saros.process { argv = argv, env = env,
    stdin = "inherit", stdout = "inherit", stderr = "inherit",
    any_status = true }:wait()
  if not result then complain(tostring(why)) end
  local status = result and result.status or 127
  local told, trouble = set:backup_complete(status == 0):wait()
  if not told then complain(tostring(trouble)) end
  return status
end

local function show()
  local scratch <close> = place.scratch()
  local data = scratch.path .. "/data"
  place.run("mkdir", data)
  place.run("mkdir", "-m", "700", scratch.path .. "/state")
  place.run("sh", "-c", "echo one >\"$1\"/a; echo two >\"$1\"/b", "sh", data)
  print("hold.lua " .. data .. " -- tar -C {} -cvf all.tar .")
  assert(saros.process { stdout = "inherit", stderr = "inherit",
    env = { SAROS_STATE_DIR = scratch.path .. "/state" },
    argv = { place.lua, arg[0], data, "--", "tar", "-C", "{}", "-cvf",
      scratch.path .. "/all.tar", "." } }:wait())
  local names = place.run("tar", "-tf", scratch.path .. "/all.tar")
  assert(names:find("./a", 1, true) and names:find("./b", 1, true))
end

local paths, command = split(arg)
if #arg == 0 then
  saros.run(show)
elseif #paths == 0 or not command or #command == 0 then
  complain "hold.lua PATH… -- COMMAND ARGUMENT…"
  os.exit(2, true)
else
  os.exit(saros.run(hold, paths, command), true)
end
