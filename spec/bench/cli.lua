-- make bench: what the command line costs. How soon it answers, what its
-- progress takes of a backup, and how it lists a thousand versions beside
-- restic.
-- (The wall says something on a quiet machine alone.)
--   lua5.4 spec/bench/cli.lua [ROUNDS]

local figures = require "spec.bench.figures"
local outside = require "spec.outside"
local volumes = require "spec.volumes"
local wall = require "testmod".wall
local shared = require "spec.repository"
local PASSWORD <const> = "x"

local rounds = math.tointeger(tonumber(arg[1])) or 5
local program = (os.getenv "SAROS_BUILD" or "build") .. "/bin/saros"
if program:sub(1, 1) ~= "/" then program = os.getenv "PWD" .. "/" .. program end

local root = volumes.scratch()
local _ <close> = setmetatable({}, { __close = function()
  os.execute(("rm -rf '%s'"):format(root))
end })

local settings <const> = ("cd %s; export SAROS_CONFIG=/dev/null TERM=xterm "
  .. "XDG_CONFIG_HOME=/dev/null SAROS_STATE_DIR=%s/state RESTIC_PASSWORD=%s "
  .. "RESTIC_REPOSITORY=%s/r RESTIC_CACHE_DIR=%s/cache\n"):format(root, root,
  PASSWORD, root, root)

-- Seconds of a command: of the wall, and of the processor.
local function timed(command)
  outside.write(root .. "/command", settings .. "TIMEFORMAT='%3R %3U %3S'\n"
    .. "time { " .. command .. " >>" .. root .. "/said 2>&1; } 2>&1\n")
  local text = volumes.run("bash '%s/command'", root)
  local w, user, system = text:match "([%d.]+) ([%d.]+) ([%d.]+)%s*$"
  return tonumber(w), tonumber(user) + tonumber(system)
end

-- ------------------------------------------------------------------
-- The first word
-- ------------------------------------------------------------------

local help, empty = {}, {}
for i = 1, 4 * rounds do
  help[i] = timed(program .. " --help") * 1000
  empty[i] = timed "lua5.4 -e ''" * 1000
end
figures.tell("saros --help", "ms", { { "saros", help }, { "an empty Lua", empty } },
  {}, 30)
if not shared.repository then return end

-- ------------------------------------------------------------------
-- Progress
-- ------------------------------------------------------------------

local repo <close> = shared.cheap { location = root .. "/r",
  password = PASSWORD, durable = false }
assert(os.execute(("mkdir '%s/src' && head -c 400000000 /dev/urandom "
  .. ">'%s/src/large'"):format(root, root)))

-- On a terminal. Nothing is new after the first: so it is the most of it.
local backup <const> = "script -qec '" .. program
  .. " backup src --force --shadow never%s' /dev/null"
timed(backup:format "")
local drawn, quiet = {}, {}
for i = 1, 2 * rounds do
  drawn[i] = select(2, timed(backup:format ""))
  quiet[i] = select(2, timed(backup:format " --quiet"))
end
figures.tell("a backup of 400 MB on a terminal", "s of the processor",
  { { "drawn", drawn }, { "--quiet", quiet } }, { { "drawn/quiet", 1, 2, 1.01 } })

-- ------------------------------------------------------------------
-- A thousand versions
-- ------------------------------------------------------------------

os.remove(root .. "/src/large")
for i = 1, 1000 do
  outside.write(root .. "/src/small", tostring(i))
  assert(repo:backup { paths = root .. "/src" }:wait())
end

-- The aim: a list on an open repository takes 0.3 of what restic takes beyond
-- its key. The key of this repository costs nothing (scrypt with N = 16; it costs
-- half a second on purpose otherwise, and would hide the rest), so that restic
-- without its key is all of `restic snapshots --json`: with its start and the
-- opening of the repository, which a script on an open one has behind it. That
-- is the first ratio. The second is stricter: from restic's time is taken what
-- `restic cat config` took in the same round, which starts, derives the key,
-- opens, and lists nothing. Both for a handle that was just opened and has never
-- listed anything; a handle keeps nothing of a list, so that the second time
-- costs as much. And the command, beyond a command that only opens.
outside.write(root .. "/open.lua", ([[
  local repo <close> = require "saros.repository".open { location = %q,
    password = %q }]]):format(root .. "/r", PASSWORD))
local commands <const> = { saros = program .. " versions",
  saros_key = program .. " run open.lua", restic = "restic snapshots --json",
  restic_key = "restic cat config" }
for _, command in pairs(commands) do timed(command) end -- restic has its cache

local function listed(handle)
  collectgarbage() -- of the last one
  collectgarbage()
  local from, of = wall(), os.clock()
  assert(#handle:versions() >= 1000) -- and those of the backups above
  return wall() - from, os.clock() - of
end

local FIRST <const>, AGAIN <const>, COMMAND <const>, RESTIC <const>,
  BEYOND <const> = 1, 2, 3, 4, 5
local walls, cpus = { {}, {}, {}, {}, {} }, { {}, {}, {}, {}, {} }
for i = 1, 2 * rounds do
  local w, cpu = {}, {}
  for name, command in pairs(commands) do w[name], cpu[name] = timed(command) end
  walls[COMMAND][i] = w.saros - w.saros_key
  walls[RESTIC][i], walls[BEYOND][i] = w.restic, w.restic - w.restic_key
  cpus[COMMAND][i] = cpu.saros - cpu.saros_key
  cpus[RESTIC][i], cpus[BEYOND][i] = cpu.restic, cpu.restic - cpu.restic_key
  local fresh <close> = shared.repository.open { location = root .. "/r",
    password = PASSWORD }
  walls[FIRST][i], cpus[FIRST][i] = listed(fresh)
  walls[AGAIN][i], cpus[AGAIN][i] = listed(fresh)
end

for what, of in pairs { ["s"] = walls, ["s of the processor"] = cpus } do
  figures.tell("a list of 1000 versions", what,
    { { "repo:versions()", of[FIRST] }, { "again", of[AGAIN] },
      { "saros versions beyond opening", of[COMMAND] },
      { "restic snapshots", of[RESTIC] }, { "beyond opening", of[BEYOND] } },
    { { "call/restic", FIRST, RESTIC, 0.3 },
      { "call/restic beyond opening", FIRST, BEYOND },
      { "again/restic", AGAIN, RESTIC, 0.3 },
      { "again/restic beyond opening", AGAIN, BEYOND },
      { "command/restic, both beyond opening", COMMAND, BEYOND } })
end
