-- A run that is killed, at any instant: the next one goes on. Each repository
-- has one version of that run, nobody is held, no shadow is left.
local volumes = require "spec.volumes"
local case = require "spec.workflow_case"
local process = require "spec.workflow_child"
local record = require "saros.record"

local app, outside = case.app, case.outside

if case.missing then
  describe("a workflow that is killed", function()
    it("goes on", function() pending(case.missing) end)
  end)
  return
end

local function child(t, dies_at)
  return process.start(t, { DIES_AT = dies_at })
end

local function of_run(versions, id)
  local found = 0
  for _, v in ipairs(versions) do
    for _, tag in ipairs(v.tags) do
      if tag == "saros-run:" .. id then found = found + 1 end
    end
  end
  return found
end

-- Whether somebody can write: nobody holds it.
local function is_free(t)
  app.execute(t.db, "INSERT INTO t SELECT max(n) + 1 FROM t")
end

local function first_of(t)
  local list = record.list { state_dir = t.state }
  return list[#list]
end

-- After the death of the first run: another one, and what there is then.
local function goes_on(t, when)
  local first = first_of(t)
  if not first or first.state ~= "interrupted" then
    return first and first.state -- it was over, or had not begun
  end
  is_free(t)
  local run, err = process.workflow(t):run():wait()
  assert(run, when .. ": " .. tostring(err))
  assert.equal("succeeded", run.state, when .. ": " .. tostring(run))
  assert.equal(first.id, run.resumes, when)
  for _, location in ipairs { t.a, t.b } do
    local versions = t.versions(location)
    assert.equal(1, of_run(versions, first.id), when .. ": " .. location)
    assert.equal(1, #versions, when)
  end
  assert.equal("", t.left(), when)
  is_free(t)
  return "interrupted", run
end

local function with(f)
  local v <close>, why = volumes.make("btrfs", 256)
  if v then volumes.run("btrfs subvolume create '%s/data'", v.path) end
  case.with(function(t)
    t.provider = v and "btrfs" or "copy"
    t.db = t.data .. "/app.db"
    t.more = "verify = true, keep = { last = 3 }"
    app.database(t.db, 50)
    f(t)
  end, v and { data = v.path .. "/data" })
  return why
end

-- As if nothing had ever been done there.
local function again(t)
  os.execute(("rm -rf '%s' '%s' '%s/state/runs'"):format(t.a, t.b, t.state))
  case.shared.cheap_at(t.a, case.shared.PASSWORD)
  case.shared.cheap_at(t.b, case.shared.PASSWORD)
end

-- The same one each time, but for a long run, which looks for what is rare.
local seed = tonumber(os.getenv "SAROS_SEED")
  or os.getenv "SAROS_LONG" and os.time() or 20261124

describe("a workflow that is killed", function()
  it("goes on, whatever was written last (seed " .. seed .. ")", function()
    with(function(t)
      local p <close> = child(t, 0)
      local said = p:finish()
      local lines = tonumber(said:match "succeeded\t(%d+)")
      assert(lines, said)
      math.randomseed(seed)
      local rounds = os.getenv "SAROS_LONG" and lines or 5
      local finished = 0
      for round = 1, rounds do
        again(t)
        local at = rounds == lines and round
          or (round - 1) * lines // rounds
            + math.random(math.max(1, lines // rounds))
        local dying <close> = child(t, at)
        local output, how = dying:finish()
        assert.equal("signal", how, output)
        local state, run = goes_on(t, ("killed at line %d of %d"):format(at,
          lines))
        for _, one in ipairs(run and run.targets or {}) do
          finished = finished + (one.resumed and 1 or 0)
        end
        assert.is_true(state == "interrupted" or state == "succeeded", state)
      end
      -- The last ones of them had something that was not done again.
      assert.is_true(finished > 0)
    end)
  end)

  it("goes on, whenever that was (seed " .. seed .. ")", function()
    with(function(t)
      math.randomseed(seed)
      for round = 1, os.getenv "SAROS_LONG" and 30 or 3 do
        again(t)
        local p <close> = child(t, 0)
        p:expect "begins"
        local ms = math.random(0, 600)
        outside.system.read(-1, ms)
        outside.system.kill(p.pid, 9)
        p:finish()
        goes_on(t, ("round %d, killed after %d ms"):format(round, ms))
      end
    end)
  end)

  it("goes on once more when that is killed, too", function()
    with(function(t)
      local p <close> = child(t, 14)
      p:finish()
      local first = first_of(t).id
      local second <close> = child(t, 22)
      second:finish()
      local run = assert(process.workflow(t):run():wait())
      assert.equal(first, run.resumes)
      for _, location in ipairs { t.a, t.b } do
        assert.equal(1, of_run(t.versions(location), first))
      end
      -- And it is over: the next one is a new one.
      run = assert(process.workflow(t):run():wait())
      assert.is_nil(run.resumes)
      assert.equal(2, #t.versions(t.a))
    end)
  end)

  it("begins anew when it was long ago, or is told to", function()
    with(function(t)
      local p <close> = child(t, 14)
      p:finish()
      local run = assert(process.workflow(t):run { resume = false }:wait())
      assert.is_nil(run.resumes)
      assert.equal("", t.left())
    end)
  end)
end)
