-- An application in Lua that holds still while a shadow copy is taken: two
-- accounts, each in a file of its own, between which money moves all the time.
-- Copied just so, their sum would be wrong now and then.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local vss = require "saros.vss"
local place = require "demo.place"

local TOTAL = 1000

-- ------------------------------------------------------------------
-- The application, which knows nothing of shadows
-- ------------------------------------------------------------------

local bank = { alice = TOTAL, bob = 0, moves = 0, resting = true }

function bank:save(who)
  local file = assert(io.open(self.directory .. "/" .. who, "w"))
  file:write(self[who], "\n")
  assert(file:close())
end

function bank:move(amount)
  self.resting = false
  self.alice, self.bob = self.alice - amount, self.bob + amount
  self:save "alice"
  saros.sleep(0.001):wait() -- here the files do not add up
  self:save "bob"
  self.resting = true
end

function bank:run()
  while true do
    if not self.closed then
      self:move(self.moves % 2 == 0 and 7 or -7)
      self.moves = self.moves + 1
    end
    saros.sleep(0.001):wait()
  end
end

-- ------------------------------------------------------------------
-- What makes it a writer: how it holds still, and how it goes on
-- ------------------------------------------------------------------

local function subscribe(state_dir)
  return vss.writer {
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d21", -- its own, for ever: uuidgen
    name = "bank",
    state_dir = state_dir,
    components = {
      { type = "database", name = "accounts", files = { bank.directory } },
    },
    freeze = function() -- a task: it may wait
      bank.closed = true
      while not bank.resting do saros.sleep(0.001):wait() end
    end,
    thaw = function() bank.closed = false end, -- also when it is aborted
  }
end

local function sum(directory)
  local total = 0
  for _, who in ipairs { "alice", "bob" } do
    local file = assert(io.open(directory .. "/" .. who))
    total = total + file:read "n"
    file:close()
  end
  return total
end

saros.run(function()
  local scratch <close> = place.scratch()
  bank.directory = scratch.path .. "/accounts"
  place.run("mkdir", bank.directory)
  place.run("mkdir", "-m", "700", scratch.path .. "/state")
  bank:move(0)
  local running <close> = saros.spawn(bank.run, bank)
  local writer <close> = subscribe(scratch.path .. "/state")

  for i = 1, 5 do
    local set <close> = assert(vss.shadow { paths = { bank.directory },
      state_dir = scratch.path .. "/state",
      writers = { require = { writer.name } } }:wait())
    local shadow = set[bank.directory]
    local total = sum(shadow.path)
    print(("shadow %d by %s, %s for %.3f s: %d after %d moves"):format(i,
      shadow.provider, shadow.consistency, set.held, total, bank.moves))
    assert(total == TOTAL)
    assert(set:backup_complete():wait())
  end
  assert(not running:done())
end)
