-- A MariaDB server in a storm of transactions, and shadows of it, one after the
-- other: whatever was acknowledged is in them, whole, and nothing else.
local case = require "spec.mariadb_case"

if case.missing then
  describe("saros.writers.mariadb", function() pending(case.missing) end)
  return
end

local SHADOWS <const> = os.getenv "SAROS_LONG" and 200
  or os.getenv "SAROS_QUICK" and 2 or 5
local STREAMS <const> = 3
-- With as many, the ledger begins anew.
local ROUND <const> = 5

-- So many shadows, while it storms.
local function round(m, count)
  local w <close> = case.writer(m)
  local load <close> = case.load(m, STREAMS)
  local before, held
  local _ <close> = case.witness {
    freeze = function()
      before = load.acknowledged()
      held = m:sql "SELECT COUNT(*) FROM led"
    end,
  }
  for _ = 1, count do
    load.goes_on(20)
    local set <close> = assert(case.shadow(m):wait())
    load.goes_on(20)
    local said = set:said(w.instance).components.data
    local r = assert(case.checked(m, set, said))
    assert.is_nil(r.warnings)
    local there = assert(case.on_copy(m, set, said, function(one)
      return case.audit(one, STREAMS)
    end))
    local all = 0
    for i, n in ipairs(there) do
      all = all + n
      assert(before[i] <= n, ("%d was acknowledged, and %d are there")
        :format(before[i], n))
    end
    assert.equal(held, tostring(all))
    assert(set:backup_complete():wait())
  end
end

describe("a storm of transactions", function()
  local m, why

  setup(function() m, why = case.start() end)
  teardown(function() if m then getmetatable(m).__close() end end)

  for first = 1, SHADOWS, ROUND do
    local last = math.min(first + ROUND - 1, SHADOWS)
    it(("leaves every shadow whole: %d to %d"):format(first, last), function()
      if not m then pending(why) return end
      round(m, last - first + 1)
      -- There is only so much room.
      m:sql [[DROP TABLE led; DROP TABLE acc; FLUSH BINARY LOGS;
        PURGE BINARY LOGS BEFORE NOW()]]
      assert.equal("", m.d.left())
    end)
  end
end)
