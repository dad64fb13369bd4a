-- A PostgreSQL cluster that is written to, backed up: held, shadowed, checked on
-- the shadow, stored with all that a restore needs. Then the version is proved:
-- restored into a scratch place, started apart from everything else, and asked.
-- At last, how somebody would restore it who has nothing but restic and
-- PostgreSQL. The cluster is a throw-away one, on a socket of its own.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"

local function skip(why)
  print(why)
  os.exit(77)
end

local bin = place.run("sh", "-c",
  "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1")
if bin == "" then skip "there is no PostgreSQL here (Debian: postgresql)" end
local has_repository, repository = pcall(require, "saros.repository")
local has_postgres, postgres = pcall(require, "saros.writers.postgres")
if not has_repository or not has_postgres then
  skip "saros was built without libpq, or without OpenSSL, zstd or curl"
end

local is_root = place.run("id", "-u") == "0"

-- PostgreSQL refuses root.
local function as_somebody(...)
  if not is_root then return ... end
  return "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", ...
end

-- A server that ends with the block.
local function start_cluster(at)
  local data, run = at .. "/data", at .. "/run"
  place.run("sh", "-c", [[chmod 755 "$1"; mkdir -m 700 "$1/data"
    mkdir -m 755 "$1/run"
    test "$(id -u)" != 0 || chown 65534:65534 "$1/data" "$1/run"]], "sh", at)
  place.run(as_somebody(bin .. "/initdb", "--no-sync", "-k", "-A", "trust",
    "-U", "pg", "-D", data))
  local server = saros.process { stderr = "stdout", stdout = "lines", cwd = "/",
    argv = { as_somebody(bin .. "/postgres", "-D", data, "-k", run, "-c",
      "listen_addresses=", "-c", "lc_messages=C") } }
  for line in server:lines() do
    if line:find "ready to accept connections" then break end
  end
  return server, ("host=%s dbname=postgres user=pg"):format(run)
end

place.main(function()
  local scratch <close> = place.scratch()
  local at = scratch.path
  place.run("sh", "-c", [[chmod 755 "$1"; mkdir -m 700 "$1/state"
    mkdir -m 755 "$1/pg" "$1/drill"]], "sh", at)
  local _ <close>, conninfo = start_cluster(at .. "/pg")
  local db <close> = require "saros.client.postgres".open {
    conninfo = conninfo }
  assert(db:exec [[CREATE TABLE orders (n serial PRIMARY KEY, what text)]]
    :wait())

  -- What an application does all the time.
  local over = false
  local application <const> = saros.spawn(function()
    local own <close> = require "saros.client.postgres".open {
      conninfo = conninfo }
    while not over do
      assert(own:exec "INSERT INTO orders (what) VALUES ('a thing')":wait())
    end
  end)
  saros.sleep(0.2):wait()

  local password = at .. "/password"
  place.run("sh", "-c", "umask 077; head -c 24 /dev/urandom | base64 >\"$1\"",
    "sh", password)
  local repo <close> = repository.init { location = at .. "/repository",
    password = { file = password } }

  -- The backup. Where the file system can make snapshots, leave out `provider`.
  local _ <close> = postgres.writer { conninfo = conninfo,
    state_dir = at .. "/state" }
  local version = assert(saros.wsb.backup { repository = repo,
    paths = { at .. "/pg" }, type = "full", provider = "copy",
    scratch = at .. "/drill", state_dir = at .. "/state" }:wait())
  print(version)
  over = true
  assert(application:wait())

  -- The proof.
  local why = require "saros.cell".why()
  if not why then
    local report = assert(saros.drill { repository = repo,
      scratch = at .. "/drill", verify = function(restored)
        local rows = assert(restored:query [[
          SELECT count(*) AS count, max(n) AS last FROM orders]]:wait())
        print(("the restored one has %s orders"):format(rows[1].count))
        return tonumber(rows[1].count) > 0
      end }:wait())
    print(report)
  else
    print("no drill: " .. tostring(why))
  end

  -- How it is done without saros.
  local plan = {}
  assert(repo:dump { path = "/.saros/restore-plan.txt", version = version.id,
    to = function(piece) plan[#plan + 1] = piece end }:wait())
  print("\nrestore-plan.txt:\n" .. table.concat(plan))
end)
