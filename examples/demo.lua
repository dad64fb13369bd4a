-- make demo: a small backup from end to end, and all of it is real. A program
-- writes into SQLite; two nights it is held still, its shadow checked, stored in
-- two repositories, looked at again and drilled. Then all is lost, comes back,
-- and is held against a ledger.
--
-- As root the data is on a btrfs of its own, otherwise shadows are copies.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"
local screen = require "demo.screen"
local shop = require "demo.shop"

-- Without these there is nothing to be shown.
for _, name in ipairs { "saros.repository", "saros.client.sqlite" } do
  if not pcall(require, name) then
    print(name .. " was not built: the headers of its libraries are missing")
    os.exit(77)
  end
end
if place.run("sh", "-c", "command -v python3 || :") == "" then
  print "python3 is not installed, in which the demo's application is written"
  os.exit(77)
end

local build <const> = place.run("realpath", os.getenv "SAROS_BUILD" or "build")

local WORKFLOW <const> = [[
local saros = require "saros"
return saros.workflow { name = "shop", sources = { "$disk/shop" },
  writers = { sqlite = { databases = { "$disk/shop/orders.db" } } },
  to = { "$at/one", "$at/two" }, init = true,
  password = { file = "$at/password" },$provider
  keep = { last = 1 }, prune = true, verify = true,
  drill = { verify = function(db)
    local r = assert(db:query [=[SELECT count(*) AS orders,
      max(n) AS last FROM row]=]:wait())[1]
    return r.orders == r.last
  end } }
]]

local FILL <const> = [[
  set -e; umask 022; mkdir -p "$1/tmp" "$1/disk/shop" && cd "$1/disk/shop"
  head -c 16000000 /dev/urandom >film
  seq 1 1000000 >list
  umask 077; head -c 24 /dev/urandom | base64 >"$1/password"]]

-- What there is besides the database: two large files, and some hundred small
-- ones, half of them text.
local function fill(d)
  place.run("sh", "-c", FILL, "sh", d.at)
  local random <close> = assert(io.open("/dev/urandom", "rb"))
  for i = 0, 332 do
    local name = ("%s/disk/shop/photo-%03d"):format(d.at, i)
    local file <close> = assert(io.open(name, "wb"))
    assert(file:write(random:read(12000)))
  end
  for i = 0, 199 do
    local name = ("%s/disk/shop/page-%03d"):format(d.at, i)
    local file <close> = assert(io.open(name, "w"))
    for line = i * 500 + 1, i * 500 + 500 do file:write(line, "\n") end
  end
end

-- ------------------------------------------------------------------
-- Commands, as somebody would type them
-- ------------------------------------------------------------------

-- Runs one where the demo is; how it ends is how the demo ends, if not well.
local function run(d, line, argv)
  screen.command(line)
  local r = assert(saros.process { argv = argv, cwd = d.at, any_status = true,
    stdin = "inherit", stdout = "inherit", stderr = "inherit",
    foreground = true, env = { SAROS_STATE_DIR = d.at .. "/state",
      SAROS_CONFIG = "/dev/null", TMPDIR = d.at .. "/tmp",
      RESTIC_REPOSITORY = d.at .. "/one", RESTIC_PASSWORD = false,
      RESTIC_PASSWORD_COMMAND = false, RESTIC_REPOSITORY_FILE = false,
      RESTIC_PASSWORD_FILE = d.at .. "/password" } }:wait())
  if r.status ~= 0 then error({ status = r.status, line = line }, 0) end
end

local function saros_does(d, line, ...)
  run(d, "saros " .. line, { place.lua, build .. "/bin/saros", ... })
end

-- ------------------------------------------------------------------
-- The story
-- ------------------------------------------------------------------

local function nights(d)
  local open <close> = shop.open(d.database, d.at .. "/ledger")
  screen.say [[A shop commits order after order into SQLite, all the while, and
    each that is safe goes into a ledger elsewhere. It knows nothing of saros.]]
  open:more(100)

  screen.head "Every night"
  screen.command "cat shop.lua"
  screen.file(place.run("cat", d.at .. "/shop.lua"))
  saros_does(d, "run shop.lua", "run", "shop.lua")
  open:more(100)
  d.before = open:last()
  saros_does(d, "run shop.lua", "run", "shop.lua")
  d.after = open:last()
  open:more(20)
  d.lost, d.waited = open:last(), open:waited(d.before, d.after)
end

local function disaster(d)
  screen.head "The disaster"
  screen.say("The power fails after order %d, and the data is gone.", d.lost)
  run(d, "rm -rf disk/shop", { "rm", "-rf", "disk/shop" })
  saros_does(d, "recover --file disk/shop --yes", "recover", "--file",
    "disk/shop", "--yes")
end

-- Somebody else's program, on the other repository.
local function restic(d)
  if place.run("sh", "-c", "command -v restic || :") == "" then
    return nil, "is not installed here: left out"
  end
  run(d, "restic -q -r two restore latest --target tmp/two", { "restic", "-q",
    "--no-cache", "-r", "two", "restore", "latest", "--target", "tmp/two" })
  local there <const> = "tmp/two" .. d.at .. "/disk/shop"
  run(d, "diff -r disk/shop " .. there, { "diff", "-r", "disk/shop", there })
  return true, "reads what saros wrote: every byte is the same in the second "
    .. "repository"
end

local function proof(d)
  local word, orders = shop.check(d.database)
  -- One may have been committed and not yet told.
  d.agrees = word == "ok" and orders >= d.before and orders <= d.after + 1
  d.ledger = d.agrees and ("agrees: orders 1 to %d are back, whole and in "
    .. "order; %d came after that night"):format(orders, d.lost - orders)
    or ("does NOT agree: %s, %d orders, of %d to %d"):format(word, orders,
      d.before, d.after)
  local again <close> = shop.open(d.database, d.at .. "/ledger.again")
  d.goes_on = again:more(20, orders)
end

local function report(d)
  place.run("mkdir", "-p", build .. "/demo")
  local out <const> = build .. "/demo/report.html"
  saros_does(d, "report --out " .. out, "report", "--out", out)
  return out
end

-- ------------------------------------------------------------------
-- What there was to see
-- ------------------------------------------------------------------

local function size(bytes)
  return require "saros.text".size(bytes)
end

local function facts(d, out, is_read, of_restic)
  local runs = require "saros.record".list { state_dir = d.at .. "/state",
    name = "shop" }
  local second, first = runs[1].result, runs[2].result
  local was, is = first.versions[1], second.versions[1]
  local drilled = first.drill.state == "passed"
    and second.drill.state == "passed"
  screen.head "What there was to see"
  screen.fact(true, "held still", ("%.1f and %.1f ms; in the second night the "
    .. "shop never waited longer than %.0f ms for an order"):format(
      first.held * 1000, second.held * 1000, d.waited * 1000))
  screen.fact(second.consistency == "application", "consistency",
    "application-consistent, and checked on the shadow")
  screen.fact(true, "stored", "%s of %d files as %s, twice; the night after "
    .. "only %s more", size(was.bytes), was.files, size(was.bytes_stored),
    size(is.bytes_stored))
  screen.fact(drilled, "drill", drilled and "passed, both nights: the database "
    .. "of the version was opened apart from the world, and asked"
    or tostring(second.drill.message or second.drill.state))
  screen.fact(d.agrees, "the ledger", "%s", d.ledger)
  screen.fact(true, "the shop", "is open again, and at order %d", d.goes_on)
  screen.fact(is_read, "restic", "%s", of_restic)
  screen.fact(true, "the page", "%s", out)
  print()
  screen.say "Nothing else is left of this. Next: examples/getting-started.md"
  return drilled and d.agrees
end

local function story(dir, why)
  local scratch <close> = not dir and place.scratch() or nil
  local d = { at = dir or scratch.path }
  screen.head "A small backup, from end to end"
  if dir then
    place.btrfs(d.at .. "/disk")
    screen.say [[As root: on a btrfs of its own, of which shadows cost nothing,
      and which nobody else sees.]]
  else
    screen.say("Shadows are copies here, of %s: %s. The rest is the same.",
      d.at, why)
  end
  fill(d)
  d.database = d.at .. "/disk/shop/orders.db"
  local provider = dir and "" or "\n  provider = \"copy\","
  local file <close> = assert(io.open(d.at .. "/shop.lua", "w"))
  file:write((WORKFLOW:gsub("%$(%l+)", { at = d.at, disk = d.at .. "/disk",
    provider = provider })))
  file:close()

  nights(d)
  disaster(d)
  local is_read, of_restic = restic(d)
  proof(d)
  return facts(d, report(d), is_read, of_restic) and 0 or 1
end

-- As root this script is run once more, where what it mounts is its own.
local dir, why = place.private "btrfs"

place.main(function()
  local results = table.pack(pcall(story, dir, why))
  if results[1] then return results[2] end
  local err = results[2]
  if type(err) ~= "table" or not err.status then error(err, 0) end
  if err.status ~= 130 then
    screen.say("'%s' has failed; the demo ends here.", err.line)
  end
  return err.status
end)
