-- A writer in another language and another process: examples/writer.py holds a
-- SQLite database, over a socket, while its shadow copy is taken. Meanwhile a
-- third program goes on committing.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

if not os.execute "python3 -c 'import sqlite3' 2>/dev/null" then
  print "python3 with its sqlite3 is not installed"
  os.exit(77)
end

saros.run(function()
  local scratch <close> = place.scratch()
  local data, state = scratch.path .. "/data", scratch.path .. "/state"
  local sockets = state .. "/run/writers" -- of the system: /run/saros/writers
  place.run("mkdir", data)
  place.run("mkdir", "-p", "-m", "700", state, state .. "/run", sockets)
  local database = data .. "/bank.db"

  local bank <close> = saros.process { stdout = "lines", argv = { "python3",
    place.examples .. "/demo/bank.py", "write", database } }
  local said = 0
  local listening <close> = saros.spawn(function()
    for line in bank:lines() do said = tonumber(line) end
  end)
  while said == 0 and not listening:done() do saros.sleep(0.01):wait() end

  local writer <close> = saros.process { stdout = "lines", argv = { "python3",
    place.examples .. "/writer.py", sockets, database } }
  assert(writer:lines()() == "listening")

  local before = said
  local set <close> = assert(vss.shadow { paths = { data }, state_dir = state,
    writers = { require = { "sqlite" } } }:wait())
  local shadow = set[data]
  print(("%s by %s: %s for %.3f s"):format(data, shadow.provider,
    shadow.consistency, set.held))
  for _, w in ipairs(set.writers) do
    print(("writer %s: %s"):format(w.name, vss.state[w.state]))
  end

  -- A shadow is read-only, and SQLite likes to write where it reads.
  local copy = scratch.path .. "/copy"
  assert(saros.copy { from = shadow.path, to = copy }:wait())
  local answer = place.run("python3", place.examples .. "/demo/bank.py",
    "check", copy .. "/bank.db")
  local word, rows = answer:match "^(.-) (%d+)$"
  print(("the shadow's database: %s, %s rows; %d were said before, %d by now")
    :format(word, rows, before, said))
  assert(word == "ok" and tonumber(rows) >= before)
  assert(set:backup_complete():wait())
end)
