-- A MariaDB server backed up, drilled and brought back: everything that saros
-- does with it, one after the other.
require "spec.volumes" -- first: before there are threads
local case = require "spec.mariadb_case"
local app = require "spec.backup_app"

if case.missing or app.missing then
  describe("a backup of MariaDB", function()
    pending(case.missing or app.missing)
  end)
  return
end

local saros, outside, wsb = app.saros, app.outside, app.wsb

describe("a backup of MariaDB", function()
  it("is checked, drilled, and comes back whole", function()
    local m <close>, why = case.start()
    if not m then pending(why) return end
    app.with(function(t)
      local _ <close> = case.writer(m)
      local top = m.volume.path
      local v, held
      do
        local load <close> = case.load(m, 2)
        load.goes_on(30)
        local _ <close> = case.witness { freeze = function()
          held = m:sql "SELECT COUNT(*) FROM led"
        end }
        v = t.backup { paths = { top }, provider = "btrfs", type = "full" }
        load.goes_on(10)
      end
      local c = app.component(v, "data")
      assert.equal("mariadb", c.kind)
      assert.equal("application", c.consistency)
      assert.equal("passed", c.check.state, c.check.message)
      assert.is_true(c.recoverable, c.why)
      assert.match("GTID", c.position)

      -- Restored and started where it can do no harm.
      local ledger
      local report = assert(saros.drill { repository = t.repo,
        scratch = t.scratch,
        verify = function(db)
          ledger = case.audit(function(sql)
            return assert(db:query(sql):wait())[1].r
          end, 2)
          return true
        end,
        extract = { { database = "app", table = "acc",
          to = t.root .. "/acc.sql" } } }:wait())
      assert.is_true(report.ok, tostring(report))
      assert.equal(held, tostring(ledger[1] + ledger[2]))
      assert.match("INSERT INTO `acc`", outside.content(t.root .. "/acc.sql"))

      -- Not while it runs.
      local ok, err = wsb.recover { repository = t.repo, version = v.id,
        application = "mariadb" }:wait()
      assert.is_nil(ok)
      assert.match("runs on " .. m.data, err.message, 1, true)

      m:sql "DROP DATABASE app"
      m:stop()
      assert(wsb.recover { repository = t.repo, version = v.id,
        application = "mariadb" }:wait())
      m:go_on()
      local there = case.audit(function(sql)
        return m:sql((sql:gsub(" AS r ", " ")))
      end, 2)
      assert.equal(held, tostring(there[1] + there[2]))
    end)
  end)
end)
