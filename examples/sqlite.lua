-- A database that is written to all the time, and a shadow copy of it: as it
-- was at one instant, with nothing half done. Needs no root: the shadow is a
-- plain copy, made while the database is held still. (Where the file system
-- can make snapshots, leave `provider` out: then that takes a moment.)

local saros = require "saros"
local vss = require "saros.vss"

local there, sqlite = pcall(require, "saros.writers.sqlite")
if not there then
  print "saros was built without SQLite: there was no sqlite3.h"
  os.exit(77)
end

-- What an application does, in a process of its own.
local application = [[
  local db = require "saros.client.sqlite".open { path = arg[1], create = true }
  assert(db:exec "PRAGMA journal_mode = WAL; CREATE TABLE log (n INTEGER)":wait())
  for n = 1, math.huge do
    assert(db:exec("INSERT INTO log VALUES (?)", n):wait())
    if n == 50 then print "busy" io.stdout:flush() end
  end]]

local function run(...)
  return assert(saros.process { argv = { ... } }:wait()).stdout
end

local function rows(path)
  local db <close> = require "saros.client.sqlite".open { path = path }
  local count = db:query "SELECT count(*) AS n, max(n) AS last FROM log"
  local r = assert(count:wait())
  assert(r[1].n == r[1].last, "there is a row missing")
  return r[1].n
end

local function example(directory)
  run("mkdir", "-m", "700", directory .. "/state", directory .. "/data")
  local path, script = directory .. "/data/app.db", directory .. "/app.lua"
  local file = assert(io.open(script, "w"))
  file:write(application)
  file:close()
  local app <close> = saros.process { argv = { arg[-1], script, path },
    stdout = "lines" }
  assert(app:lines()() == "busy")

  -- From here on it is what a backup does.
  local _ <close> = sqlite.writer { databases = { path } }
  local set <close> = assert(vss.shadow { paths = { directory .. "/data" },
    provider = "copy", state_dir = directory .. "/state" }:wait())
  print(set)

  local shadow = set[directory .. "/data"].path .. "/app.db"
  assert(sqlite.check(shadow):wait())
  -- A backup of it has all of its files: what is in its log counts.
  local restored = directory .. "/restored"
  assert(saros.copy { from = set[directory .. "/data"].path, to = restored }
    :wait())
  print(("%d rows in the shadow, held for %.0f ms; %d rows by now"):format(
    rows(restored .. "/app.db"), set.held * 1000, rows(path)))
  assert(set:backup_complete():wait())
end

local directory = run("mktemp", "-d", "-t", "saros-sqlite.XXXXXX")
  :gsub("\n", "")
local ok, err = pcall(saros.run, example, directory)
run("rm", "-rf", directory)
if not ok then error(err, 0) end
