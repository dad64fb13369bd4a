-- A shop: a program that knows nothing of saros and commits order after order
-- into SQLite (bank.py), and what it has said of each in a ledger elsewhere.

local saros = require "saros"
local place = require "demo.place"

local BANK <const> = place.examples .. "/demo/bank.py"

local shop = {}
shop.__index = shop

--- Opens it; the ledger is a new one.
function shop.open(database, ledger)
  local process = saros.process { argv = { "python3", BANK, "write", database,
    ledger }, stderr = "capture" }
  return setmetatable({ process = process, ledger = ledger }, shop)
end

-- What is whole of the ledger: { number, when }, in its order.
local function read(ledger)
  local orders, file = {}, io.open(ledger)
  if not file then return orders end
  for n, at in file:read "a":gmatch "(%d+) ([%d.]+)\n" do
    orders[#orders + 1] = { tonumber(n), tonumber(at) }
  end
  file:close()
  return orders
end

--- The number of the last order that it was told is safe.
function shop:last()
  local orders = read(self.ledger)
  return orders[#orders] and orders[#orders][1] or 0
end

--- Waits until there are so many orders more (than `from`); the number of the
--- last.
function shop:more(count, from)
  local goal = (from or self:last()) + count
  while self:last() < goal do
    if self.process:done() then
      local _, err = self.process:wait()
      error(err or "the shop has closed", 0)
    end
    saros.sleep(0.05):wait()
  end
  return self:last()
end

--- The longest that it waited for an order from `first` to `last`, in seconds.
function shop:waited(first, last)
  local longest, before = 0, nil
  for _, order in ipairs(read(self.ledger)) do
    if order[1] > last then break end
    if before and order[1] > first then
      longest = math.max(longest, order[2] - before)
    end
    before = order[2]
  end
  return longest
end

--- Closes it at once, as a power cut would.
function shop:close() self.process:close() end
shop.__close = shop.close

--- What a database says of itself, and how many orders are in it, if they are
--- the first that there were, all of them and as they were.
function shop.check(database)
  local text = place.run("python3", BANK, "check", database)
  local word, orders = text:match "^(.-) (%d+)$"
  return word, tonumber(orders)
end

return shop
