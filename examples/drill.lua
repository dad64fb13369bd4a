-- A drill: nobody knows that a backup can be restored who has not done it. Two
-- versions of a database: the first is whole, the second was spoiled by the
-- application itself, which no check can see. The drill restores each, asks it
-- what only its owner can ask, and the repository learns the answer: a version
-- that failed is not recovered from any more.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"

local has_sqlite, sqlite = pcall(require, "saros.writers.sqlite")
local has_repository, repository = pcall(require, "saros.repository")
if not has_sqlite or not has_repository then
  print "saros was built without SQLite, or without OpenSSL, zstd or curl"
  os.exit(77)
end

local why = require "saros.cell".why()
if why then
  print("nothing can be started apart here: " .. tostring(why))
  os.exit(77)
end

-- What must hold, and no database knows: of two accounts nothing is lost.
local function verify(db)
  local rows = assert(db:query "SELECT sum(amount) AS all_of_it FROM accounts"
    :wait())
  local sum = tonumber(rows[1].all_of_it)
  if sum == 100 then return true end
  return nil, ("the accounts have %s together, not 100"):format(sum)
end

place.main(function()
  local scratch <close> = place.scratch()
  local at = scratch.path
  local file = at .. "/data/app.db"
  place.run("sh", "-c", [[mkdir -m 700 "$1/state" "$1/data"
    chmod 755 "$1"; mkdir -m 755 "$1/drill"]], "sh", at)
  local db <close> = require "saros.client.sqlite".open { path = file,
    create = true }
  assert(db:exec [[CREATE TABLE accounts (name TEXT, amount INTEGER);
    INSERT INTO accounts VALUES ('left', 60), ('right', 40)]]:wait())

  local password = at .. "/password"
  place.run("sh", "-c", "umask 077; head -c 24 /dev/urandom | base64 >\"$1\"",
    "sh", password)
  local repo <close> = repository.init { location = at .. "/repository",
    password = { file = password } }
  local _ <close> = sqlite.writer { databases = { file } }

  local function back_up()
    local version = assert(saros.wsb.backup { repository = repo,
      paths = { at .. "/data" }, provider = "copy", scratch = at .. "/drill",
      state_dir = at .. "/state" }:wait())
    print(version)
    return version
  end

  local function drill(version)
    local report, err = saros.drill { repository = repo, version = version.id,
      scratch = at .. "/drill", verify = verify }:wait()
    print(report or err)
    return report and report.ok
  end

  assert(drill(back_up()), "the first one is good")
  -- Half a transfer: whole for SQLite, and wrong.
  assert(db:exec "UPDATE accounts SET amount = amount - 10 WHERE name = 'left'"
    :wait())
  local spoiled = back_up()
  warn "@off" -- what follows is expected
  assert(not drill(spoiled), "the second one is not")
  warn "@on"

  -- The repository knows by now.
  for _, item in ipairs(assert(saros.wsb.items { repository = repo,
    version = spoiled.id }:wait()).components) do
    print(("%s of the second version: %s"):format(item.name,
      item.recoverable and "recoverable" or item.why))
    assert(not item.recoverable)
  end
end)
