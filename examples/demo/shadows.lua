-- Shadow copies of two disks that are busy: a bank, which knows nothing of
-- shadows, and a ledger, which is a writer. `dir`: where there can be disks; or
-- nil and `why`: then two directories are copied.

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"
local screen = require "demo.screen"

local BANK = place.examples .. "/demo/bank.py"

-- ------------------------------------------------------------------
-- The bank: a process that commits rows, and says so
-- ------------------------------------------------------------------

local function open_bank(database)
  local bank = { said = 0, database = database }
  local process = saros.process {
    argv = { "python3", BANK, "write", database }, stdout = "lines",
  }
  saros.spawn(function()
    for line in process:lines() do bank.said = tonumber(line) end
    local _, err = process:wait()
    if err and not err.cancelled then error(err) end
  end)
  --- Waits until it has committed so many more.
  function bank.more(rows)
    local goal = bank.said + rows
    while bank.said < goal do
      if process:done() then error(select(2, process:wait())) end
      saros.sleep(0.01):wait()
    end
  end
  return setmetatable(bank, { __close = function() process:close() end })
end

--- What a database says of itself, and how many rows there are.
local function check(database)
  local text = place.run("python3", BANK, "check", database)
  local word, rows = text:match "^(.-) (%d+)$"
  return word, tonumber(rows)
end

-- ------------------------------------------------------------------
-- The ledger: in Lua, with two accounts that must always add up
-- ------------------------------------------------------------------

local function write(path, number)
  local file = assert(io.open(path, "w"))
  file:write(number, "\n")
  assert(file:close())
end

local function read(path)
  local file = assert(io.open(path))
  local number = file:read "n"
  file:close()
  return number or 0 / 0
end

local function sum(at) return read(at .. "/alice") + read(at .. "/bob") end

local function open_ledger(at, options)
  local alice, bob, moves, still, at_rest = 1000, 0, 0, false, true
  local ledger = { let_go = 0 }
  local function move()
    alice, bob = alice - 1, bob + 1
    if alice == 0 then alice, bob = bob, alice end
    write(at .. "/alice", alice)
    saros.sleep(0):wait() -- in between they do not add up
    write(at .. "/bob", bob)
    moves = moves + 1
  end
  move()
  local mover = saros.spawn(function()
    while true do
      if not still then
        at_rest = false
        move()
        at_rest = true
      end
      saros.sleep(0.002):wait()
    end
  end)
  options.freeze = function()
    still = true
    while not at_rest do saros.sleep(0.001):wait() end
    ledger.frozen()
  end
  options.thaw = function() still = false end
  options.abort = function()
    if still then ledger.let_go = ledger.let_go + 1 end
    still = false
  end
  function ledger.moves() return moves end
  function ledger.more(count)
    local goal = moves + count
    while moves < goal do
      if mover:done() then error(select(2, mover:wait())) end
      saros.sleep(0.005):wait()
    end
  end
  ledger.frozen = function() end
  local writer = vss.writer(options)
  return setmetatable(ledger, { __close = function()
    writer:close()
    mover:close()
  end })
end

-- ------------------------------------------------------------------
-- A shadow
-- ------------------------------------------------------------------

local function ms(seconds) return ("%.1f ms"):format(seconds * 1000) end

local function show_shadow(d, bank, ledger)
  local said -- before anything was frozen
  ledger.frozen = function() said = bank.said end
  local op = vss.shadow { paths = { d.bank, d.ledger }, provider = d.provider,
    state_dir = d.state, writers = { require = d.require } }
  screen.watch("shadow of both", op):wait()
  screen.settle()
  local set <close> = assert(op:wait())
  local p = set[d.bank]
  print()
  screen.fact(true, "provider, consistency", "%s, %s", p.provider,
    p.consistency)
  screen.fact(true, "held still for", "%s; tried out before in %s",
    ms(set.held), ms(set.rehearsed))
  screen.fact(true, "skew of the two", "%s", set.skew[1].seconds == 0
    and "none: one instant" or ms(set.skew[1].seconds))

  bank.more(1) -- it goes on, of course
  assert(saros.copy { from = p.path, to = d.copy }:wait())
  local word, rows = check(d.copy .. "/bank.db")
  screen.fact(word == "ok" and rows >= said, "SQLite in the shadow",
    "integrity_check: %s; %d rows, %d said", word, rows, said)
  local total = sum(set[d.ledger].path)
  screen.fact(total == 1000, "the ledger in the shadow", "adds up to %d", total)
  assert(set:backup_complete():wait())
  assert(word == "ok" and rows >= said and total == 1000, "this shadow is bad")
  return { "two busy " .. d.things, "held still", ms(set.held),
    set.skew[1].seconds == 0 and "one instant, nothing torn" or "nothing torn" }
end

-- ------------------------------------------------------------------
-- The same, and the requester is killed
-- ------------------------------------------------------------------

local REQUESTER = [[
  local vss = require "saros.vss"
  assert(vss.shadow { paths = { %q, %q }, provider = %q,
    state_dir = %q }:wait()):close()]]

local function show_murder(d, bank, ledger)
  screen.head "The same, and the requester is killed while they are frozen"
  ledger.frozen = function() end
  local before = bank.said
  local shot = place.run("python3", place.examples .. "/demo/shooter.py",
    d.bank .. "/heart", d.state .. "/run/frozen", place.lua, "-e",
    REQUESTER:format(d.bank, d.ledger, d.provider, d.state))
  local tries, silence, after = shot:match "^(%d+) (%S+) (%S+)$"
  local moves = ledger.moves()
  screen.fact(true, "hit it", "at attempt %s, %s ms after the last write",
    tries, silence)
  screen.fact(true, "thawed by the guard",
    "the next write came %s ms after the kill", after)
  bank.more(10)
  ledger.more(2)
  local said = bank.said
  local word, rows = check(bank.database)
  local whole = word == "ok" and rows >= said
  screen.fact(whole, "the bank goes on", "integrity_check: %s; %d rows more",
    word, said - before)
  local moved = ledger.moves() - moves
  screen.fact(moved > 0, "the ledger was let go", "%d moves more", moved)
  local left = assert(vss.reap { state_dir = d.state }:wait())
  screen.fact(#left.failed == 0, "vss.reap() took away",
    "%d half-made shadow%s", #left.shadows, #left.shadows == 1 and "" or "s")
  assert(whole and moved > 0 and #left.failed == 0, "something was lost")
  return { "requester killed", "thawed", after .. " ms",
    "by the guard, nothing lost" }
end

-- ------------------------------------------------------------------
-- With disks, or without
-- ------------------------------------------------------------------

local LEDGER = "6f6a2d0c-3c1b-4f1e-9d3e-2b8f5a7c9e10"

local function with_disks(dir)
  place.disks(dir, "bank", "ledger")
  place.run("mkdir", "-m", "700", dir .. "/state")
  screen.head "Shadow copies of two busy disks, at one instant"
  screen.say "ext4 on loop devices, their images on an XFS with reflinks."
  return { bank = dir .. "/bank", ledger = dir .. "/ledger",
    provider = "image", things = "disks", state = dir .. "/state",
    copy = dir .. "/copy" }
end

local function without_disks(dir)
  place.run("mkdir", dir .. "/bank", dir .. "/ledger")
  place.run("mkdir", "-m", "700", dir .. "/state")
  screen.head "Shadow copies of two busy directories"
  screen.say "Copied while their writers hold still: anybody can do that."
  return { bank = dir .. "/bank", ledger = dir .. "/ledger",
    provider = "copy", things = "directories", state = dir .. "/state",
    copy = dir .. "/copy",
    require = { "sqlite" } }
end

-- Who has no disk to freeze must ask the bank's database to hold still.
local function open_holder(d)
  local directory = d.state .. "/run/writers"
  place.run("mkdir", "-p", directory)
  local process = saros.process { argv = { "python3",
    place.examples .. "/writer.py", directory, d.bank .. "/bank.db" },
    stdout = "lines" }
  assert(process:lines()() == "listening", "examples/writer.py does not listen")
  return process
end

return function(dir, why)
  local scratch <close> = not dir and place.scratch() or nil
  local d = dir and with_disks(dir) or without_disks(scratch.path)
  screen.say "A bank in Python commits row after row into SQLite;"
  screen.say "a ledger in Lua moves money, and holds still when it is told.\n"
  local bank <close> = open_bank(d.bank .. "/bank.db")
  bank.more(1)
  local _ <close> = not dir and open_holder(d) or nil
  local ledger <close> = open_ledger(d.ledger, { id = LEDGER,
    name = "ledger", listen = true, state_dir = d.state, components = {
      { type = "filegroup", name = "accounts", files = { d.ledger } } } })
  bank.more(200)
  local summary = { show_shadow(d, bank, ledger) }
  if dir then
    summary[2] = show_murder(d, bank, ledger)
  else
    print()
    screen.say "As root this shows two disks that are frozen at one instant,"
    screen.say("and what happens when the requester is killed just then.")
    screen.say("(Here: %s.)", why)
  end
  d.check = check
  require "demo.backup" (d, bank, summary)
  screen.table("saros", summary)
end
