--- Checking, forgetting and pruning from Lua: what they are given, what they
--- return, and how they fail.

local helper = require "spec.helper"
local saros = helper.saros
local shared = require "spec.repository"

local function folder()
  local pipe = assert(io.popen "mktemp -d /tmp/saros-care-XXXXXX")
  local path = pipe:read "l"
  pipe:close()
  return path
end

describe("the care of a repository", function()
  if shared.missing then
    pending(shared.missing)
    return
  end

  local place, repo

  setup(function()
    place = folder()
    repo = shared.cheap { location = place .. "/r", password = "x",
      durable = false }
  end)

  teardown(function()
    repo:close()
    os.execute("rm -rf '" .. place .. "'")
  end)

  it("finds nothing wrong with an empty one", function()
    local report = assert(repo:check { read_data = true }:wait())
    assert.equal(0, report.finding_count)
    assert.equal(0, #report.findings)
    assert.equal(0, report.versions)
  end)

  it("says what is damaged in the status", function()
    local id = ("ab"):rep(32)
    local name = place .. "/r/index/" .. id
    local file = assert(io.open(name, "w"))
    file:write "nothing of the kind"
    file:close()
    local ok, err = repo:check():wait()
    assert.is_nil(ok)
    assert.equal("SAROS_E_DAMAGED", err.name)
    local status = err.op:status()
    assert.equal(1, status.finding_count)
    assert.equal("index_damaged", status.findings[1].kind)
    assert.equal(id, status.findings[1].id)
    -- Nothing is removed while that is so.
    ok, err = repo:prune():wait()
    assert.is_nil(ok)
    assert.equal("SAROS_E_DAMAGED", err.name)
    assert(os.remove(name))
    assert(repo:check():wait())
  end)

  it("prunes and forgets where there is nothing to do", function()
    local report = assert(repo:prune { max_unused = "0", dry_run = true }:wait())
    assert.is_true(report.dry_run)
    assert.equal(0, report.packs)
    report = assert(repo:forget { keep_last = 1, prune = true }:wait())
    assert.equal(0, #report.removed)
    assert.equal(0, report.prune.packs_removed)
  end)

  it("is waited for in a task", function()
    local report = saros.run(function()
      return assert(repo:check { read_data = "1/3" }:wait())
    end)
    assert.equal(0, report.finding_count)
  end)

  it("refuses what it does not understand", function()
    for _, data in ipairs { "x", "101%", "9/3" } do
      local ok, err = repo:check { read_data = data }:wait()
      assert.is_nil(ok)
      assert.equal("E_INVALIDARG", err.name)
    end
    local ok, err = repo:forget { keep_within = "soon" }:wait()
    assert.is_nil(ok)
    assert.equal("E_INVALIDARG", err.name)
    assert.error_matches(function() repo:check { read = true } end,
      "repo:check has no option 'read'")
    assert.error_matches(function() repo:forget { keep_last = {} } end,
      "option 'keep_last'")
    assert.error_matches(function()
      repo:forget { prune = { max_unsed = 1 } }
    end, "has no option 'max_unsed'")
    assert.error_matches(function() repo:prune { dry_run = 1 } end,
      "option 'dry_run'")
  end)
end)
