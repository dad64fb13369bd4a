-- SQLite databases that a process writes to all the time, and shadows of them,
-- one after the other: each has every row that was committed before the freeze,
-- and none in part.
local shared = require "spec.vss"

if not pcall(require, "saros.client.sqlite") then
  describe("a storm of SQLite", function()
    pending "saros.client.sqlite was left out of this build"
  end)
  return
end

local busy = require "spec.sqlite_busy"

local SHADOWS <const> = os.getenv "SAROS_LONG" and 100
  or os.getenv "SAROS_QUICK" and 1 or 4
local ROUND <const> = 20

describe("a storm of SQLite", function()
  for _, mode in ipairs { "delete", "wal", "persist" } do
    for first = 1, SHADOWS, ROUND do
      local last = math.min(first + ROUND - 1, SHADOWS)
      it(("leaves every shadow whole (%s): %d to %d"):format(mode, first, last),
        function()
          for _ = first, last do
            local d <close> = shared.directory()
            busy.shadow(d.a, d.state, "copy", mode)
            assert.equal("", d.left())
          end
        end)
    end
  end
end)
