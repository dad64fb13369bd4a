-- A backup from shadow to proof: a database that is written to all the time, a
-- shadow copy of it, versions of that in a repository, a check of all bytes, a
-- restore that is compared with the shadow, and then old versions go. Needs no
-- root. What is in the repository restic can read, too.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local has_sqlite, sqlite = pcall(require, "saros.writers.sqlite")
local has_repository, repository = pcall(require, "saros.repository")
if not has_sqlite or not has_repository then
  print "saros was built without SQLite, or without OpenSSL, zstd or curl"
  os.exit(77)
end

-- What an application does, in a process of its own.
local APPLICATION = [[
  local db = require "saros.client.sqlite".open { path = arg[1], create = true }
  assert(db:exec "PRAGMA journal_mode = WAL; CREATE TABLE log (n INTEGER)":wait())
  for n = 1, math.huge do
    assert(db:exec("INSERT INTO log VALUES (?)", n):wait())
    if n == 50 then print "busy" io.stdout:flush() end
  end]]

local function start_application(at)
  local script <close> = assert(io.open(at .. "/app.lua", "w"))
  script:write(APPLICATION)
  script:flush()
  local app = saros.process { argv = { place.lua, at .. "/app.lua",
    at .. "/data/app.db" }, stdout = "lines" }
  assert(app:lines()() == "busy")
  return app
end

local function rows(path)
  local db <close> = require "saros.client.sqlite".open { path = path }
  local r = assert(db:query "SELECT count(*) AS n, max(n) AS last FROM log"
    :wait())
  assert(r[1].n == r[1].last, "there is a row missing")
  return r[1].n
end

-- Waits for a call, and says how far it is: a line that is written again on a
-- terminal, and only what became of it elsewhere.
local is_terminal = os.execute "test -t 1"

local function follow(what, op)
  for s in op:progress() do
    if is_terminal then
      io.write(("\r\27[K%-8s %3d%%  %.1f MiB  %s"):format(what, s.percent,
        (s.done or 0) / 1048576, s.phase or s.state))
      io.flush()
    end
  end
  if is_terminal then io.write "\r\27[K" end
  local result = assert(op:wait())
  print(("%-8s %s"):format(what, tostring(result):gsub("\n", "\n         ")))
  return result
end

place.main(function()
  local scratch <close> = place.scratch()
  local at = scratch.path
  local data, out = at .. "/data", at .. "/restored"
  place.run("mkdir", "-m", "700", at .. "/state", data)
  place.run("sh", "-c", "cd \"$1\" && mkdir files && head -c 6000000 "
    .. "/dev/urandom | split -a 3 -b 20000 - files/file-", "sh", data)
  local _ <close> = start_application(at)
  local _ <close> = sqlite.writer { databases = { data .. "/app.db" } }

  -- The password is in a file, as it would be in /etc.
  local password = at .. "/password"
  place.run("sh", "-c", "umask 077; head -c 24 /dev/urandom | base64 >\"$1\"",
    "sh", password)
  local repo <close> = repository.init { location = at .. "/repository",
    password = { file = password } }
  print(repo)

  for night = 1, 2 do
    local set <close> = assert(vss.shadow { paths = { data },
      state_dir = at .. "/state" }:wait())
    print(("night %d: a shadow by %s, held for %.0f ms"):format(night,
      set[data].provider, set.held * 1000))
    follow("backup", repo:backup { sources = { set }, tags = { "nightly" },
      exclude = { "*.tmp" } })
    assert(set:backup_complete():wait())
    if night == 2 then
      -- The proof, as long as the shadow is there: byte for byte the same.
      follow("check", repo:check { read_data = true })
      follow("restore", repo:restore { target = out, version = "latest:"
        .. data })
      place.run("diff", "-r", set[data].path, out)
      print "compared byte for byte the same as the shadow"
    end
  end
  assert(sqlite.check(out .. "/app.db"):wait())
  print(("the database in it is whole, with %d rows"):format(
    rows(out .. "/app.db")))

  follow("forget", repo:forget { keep_last = 1, prune = true })
  print(repo:versions())
  follow("check", repo:check { read_data = true })
end)
