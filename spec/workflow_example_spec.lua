-- The example: a PostgreSQL cluster, a SQLite file and two directories to two
-- repositories, in at most fifteen lines; run against real ones.
local helper = require "spec.helper"
local volumes = require "spec.volumes"
local case = require "spec.workflow_case"
local databases = require "spec.databases"
local record = require "saros.record"

local saros, app, outside = helper.saros, case.app, case.outside
local EXAMPLE <const> = "examples/workflow.lua"

local missing = case.missing or databases.missing "postgres"

-- Loaded as `saros run` does, with these variables.
local function loaded(variables)
  local env = setmetatable({ os = setmetatable({ getenv = function(name)
    return variables[name]
  end }, { __index = os }) }, { __index = _G })
  return assert(loadfile(EXAMPLE, "t", env))()
end

describe(EXAMPLE, function()
  it("has at most fifteen lines", function()
    local _, lines = outside.content(EXAMPLE):gsub("\n", "")
    assert.is_true(lines <= 15)
  end)

  it("backs up a cluster, a file and directories, and drills", function()
    if missing then return pending(missing) end
    local v <close>, why = volumes.make("btrfs", 700)
    if not v then return pending(tostring(why)) end
    volumes.run("chmod 755 '%s'; btrfs subvolume create '%s/srv'; mkdir "
      .. "'%s/etc'; echo x >'%s/etc/file'", v.path, v.path, v.path, v.path)
    case.with(function(t)
      local pg <close> = databases.start("postgres", v.path)
      pg.server:must "INSERT INTO ledger VALUES (1, 'x')"
      app.database(v.path .. "/srv/app.db", 10)
      os.execute(("rm -rf '%s' '%s'"):format(t.a, t.b))
      case.shared.cheap_at(t.a, case.shared.PASSWORD)
      case.shared.cheap_at(t.b, case.shared.PASSWORD)
      local nightly = loaded { CONNINFO = pg.server.conninfo, PGDATA = pg.path,
        SRV = v.path .. "/srv", ETC = v.path .. "/etc", ONE = t.a, TWO = t.b,
        PASSWORD = t.password, SAROS_STATE = t.state }
      local plan = tostring(assert(nightly:plan():wait()))
      assert.truthy(plan:find("hold postgres", 1, true), plan)
      local run = assert(nightly:run():wait())
      helper.contains({ state = "succeeded", consistency = "application" }, run)
      assert.equal(2, #run.components)
      for _, c in ipairs(run.components) do
        assert.equal("passed", c.check.state)
      end
      if not require "saros.cell".why() then
        assert.equal("passed", run.drill.state)
      end
      assert.equal(1, #t.versions(t.a))
      assert.equal(1, #t.versions(t.b))
      assert.equal(2, #record.list { state_dir = t.state }[1].result.versions)
      assert.equal(0, saros.workflow and nightly:status().failures)
    end)
  end)
end)
