-- A writer in a container, and whoever takes the shadow copy outside: see
-- examples/container/Containerfile. Here the container is made by unshare(1).
-- Once all goes well, and once the container is killed in the middle.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local PYTHON = "/usr/bin/python3"
local CAN = [[unshare --user --map-root-user --mount --pid --fork \
  mount -t tmpfs x /mnt >/dev/null 2>&1]]

if not os.execute(PYTHON .. " -c 'import sqlite3' 2>/dev/null") then
  print(PYTHON .. " with its sqlite3 is not installed")
  os.exit(77)
elseif not os.execute(CAN) then
  print "containers cannot be made here: no user namespaces"
  os.exit(77)
end

local function contained(sockets, data, ...)
  return saros.process { stdout = "lines", argv = { "sh",
    place.examples .. "/container/run.sh", sockets, data, place.examples,
    ... } }
end

local function listening(process)
  assert(process:lines()() == "listening", "the writer does not listen")
end

place.main(function()
  local scratch <close> = place.scratch()
  local data, state = scratch.path .. "/data", scratch.path .. "/state"
  local sockets = state .. "/run/writers" -- of the system: /run/saros/writers
  place.run("mkdir", data)
  place.run("mkdir", "-p", "-m", "700", state, state .. "/run", sockets)
  local database = data .. "/bank.db"

  -- The application and its writer, each in a container.
  local bank <close> = contained(sockets, data, PYTHON, "/app/demo/bank.py",
    "write", database)
  local said = 0
  local counting <close> = saros.spawn(function()
    for line in bank:lines() do said = tonumber(line) end
  end)
  while said == 0 and not counting:done() do saros.sleep(0.01):wait() end
  local writer <close> = contained(sockets, data, PYTHON, "/app/writer.py",
    "/run/saros/writers", database)
  listening(writer)

  local function shadow()
    return vss.shadow { paths = { data }, state_dir = state,
      writers = { require = { "sqlite" } } }:wait()
  end

  local before = said
  local set <close> = assert(shadow())
  for _, w in ipairs(set.writers) do
    print(("found in a container: writer %s: %s"):format(w.name,
      vss.state[w.state]))
  end
  local copy = scratch.path .. "/copy"
  assert(saros.copy { from = set[data].path, to = copy }:wait())
  local answer = place.run(PYTHON, place.examples .. "/demo/bank.py", "check",
    copy .. "/bank.db")
  local word, rows = answer:match "^(.-) (%d+)$"
  print(("the shadow's database: %s, %s rows; %d were said before, %d by now")
    :format(word, rows, before, said))
  assert(word == "ok" and tonumber(rows) >= before)
  assert(set:backup_complete():wait())
  set:close()

  -- Another writer is told to hold still when the first one does.
  local killer <close> = vss.writer { name = "killer", level = "back_end",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d22", state_dir = state,
    freeze = function() writer:close() end }
  local made, err = shadow()
  assert(not made, "the writer was killed, and nobody noticed")
  print("killed while it held still: " .. tostring(err))
  killer:close()
  local left = place.run("sh", "-c", "ls \"$1\"/state/shadows", "sh", state)
  assert(left == "", left)

  local again <close> = contained(sockets, data, PYTHON, "/app/writer.py",
    "/run/saros/writers", database)
  listening(again)
  local other <close> = assert(shadow())
  print "a new container, a new shadow: all is well"
  assert(other:backup_complete():wait())
  assert(not bank:done())
end)
