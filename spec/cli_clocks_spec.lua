-- Every verb, the rules of keeping, and what is late, while the clock on the wall
-- is changed: summer time, a step of a day back, of a year forward.
local matrix = require "spec.cli_matrix"
local outside = require "spec.outside"
local helper = require "spec.helper"
local core = helper.core

if matrix.missing then
  describe("a clock", function() pending(matrix.missing) end)
  return
end

local DAY <const> = 86400
local CLOCK <const> = os.getenv "SAROS_BUILD" .. "/spec/clock.so"

-- The environment of a program whose clock is so many seconds off.
local function off(seconds, more)
  local env = { LD_PRELOAD = CLOCK, SAROS_TEST_CLOCK = tostring(seconds) }
  for name, value in pairs(more or {}) do env[name] = value end
  return { env = env }
end

local function in_scene(f)
  helper.task(function()
    local s <close> = matrix.scene()
    local t = { s = s }
    function t.run(how, line)
      return matrix.run(s, matrix.words(s, line), how)
    end
    function t.ends(code, how, line)
      local r = t.run(how, line)
      assert.equal(code, r.code, line .. ": " .. r.out .. r.err)
      return r
    end
    function t.lines(how, line)
      local list = {}
      for text in t.ends(0, how, line .. " --json").out:gmatch "[^\n]+" do
        list[#list + 1] = core.json_read(text)
      end
      return list
    end
    f(t)
  end)
end

teardown(matrix.close)

local BACKUP <const> = "backup {root}/src --shadow never --host clock {repo}"

describe("every verb", function()
  for what, seconds in pairs { ["a day before all that there is"] = -DAY,
    ["a year after it"] = 365 * DAY, ["before 1970"] = -70 * 365 * DAY } do
    it("withstands a clock " .. what, function()
      assert.equal("", matrix.of { name = "a clock " .. what,
        how = off(seconds), code = function(row)
          -- A year without a success.
          if row.monitors then return { 0, 1, 2 } end
          return 0
        end })
    end)
  end
end)

describe("a clock that was put back", function()
  it("leaves the versions in the order of their times, and latest the newest",
    function()
      in_scene(function(t)
        t.ends(0, off(DAY), BACKUP .. " --tag ahead")
        t.ends(0, off(0), BACKUP .. " --tag now --force")
        t.ends(0, off(-DAY), BACKUP .. " --tag behind --force")
        local tags = {}
        for _, v in ipairs(t.lines(nil, "versions --host clock {repo}")) do
          if v.type == "version" then tags[#tags + 1] = v.tags[1] end
        end
        assert.same({ "behind", "now", "ahead" }, tags)
        for name, tag in pairs { ["latest"] = "ahead", ["latest~1"] = "now",
          ["latest~2"] = "behind" } do
          local list = t.lines(nil, "ls " .. name .. " --host clock {repo}")
          local id = list[#list].version
          local of = t.lines(nil, "versions --host clock --tag " .. tag .. " {repo}")
          assert.equal(of[1].id, id, name)
        end
        t.ends(4, nil, "ls latest~3 --host clock {repo}")
      end)
    end)

  it("is no reason to be late, nor to be on time", function()
    in_scene(function(t)
      local status = "status --max-age 26h --config {root}/conf.lua --json"
      t.ends(0, off(0), status)
      t.ends(2, off(2 * DAY), status)
      t.ends(2, off(365 * DAY), status)
      -- What was done in time to come says nothing of now, but nobody has
      -- been late either.
      local r = t.ends(0, off(-DAY), status)
      assert.is_nil(r.out:find('"age":%-1%d%d'))
      -- In a year to come it says nothing at all, and somebody has to know.
      r = t.ends(1, off(-365 * DAY), status)
      assert.matches("from now: the clock is wrong", r.out)
      t.ends(0, off(0), status)
    end)
  end)

  it("after a year ahead, takes no new version for an old one", function()
    in_scene(function(t)
      for i = 1, 2 do t.ends(0, off((365 + i) * DAY), BACKUP .. " --force") end
      for i = 1, 3 do
        t.ends(0, off(0), BACKUP .. " --force --tag v" .. i)
        t.ends(0, off(0), "forget --host clock --keep-last 2 {repo}")
      end
      local tags = {}
      for _, v in ipairs(t.lines(off(0), "versions --host clock {repo}")) do
        if v.type == "version" then tags[#tags + 1] = (v.tags or {})[1] or "ahead" end
      end
      assert.same({ "v2", "v3", "ahead", "ahead" }, tags)
      local list = t.lines(off(0), "ls latest --host clock {repo}")
      local of = t.lines(off(0), "versions --host clock --tag v3 {repo}")
      assert.equal(of[1].id, list[#list].version)
    end)
  end)

  it("does not let a workflow run twice at once", function()
    in_scene(function(t)
      local s = t.s
      outside.write(s.root .. "/conf.lua", (outside.content(s.root .. "/conf.lua")
        :gsub("keep = { last = 2 }", ("before = { 'sh', '-c', 'touch %s/in; "
        .. "exec cat %s/gate' }"):format(s.root, s.root))))
      assert(os.execute("mkfifo " .. s.root .. "/gate"))
      local first = helper.saros.spawn(t.run, off(0),
        "run nightly --config {root}/conf.lua")
      while not outside.content(s.root .. "/in") do
        helper.saros.sleep(0.01):wait()
      end
      for _, seconds in ipairs { -DAY, 0, DAY } do
        local r = t.ends(11, off(seconds), "run nightly --config {root}/conf.lua")
        assert.matches("running already, as process %d+", r.err)
      end
      outside.write(s.root .. "/gate", "")
      assert.equal(0, first:wait().code)
    end)
  end)

  it("does not put off what is done weekly", function()
    in_scene(function(t)
      outside.write(t.s.root .. "/conf.lua",
        (outside.content(t.s.root .. "/conf.lua"):gsub("keep = { last = 2 }",
        "keep = { last = 2 }, prune = 'weekly'")))
      local function pruned(seconds)
        local r = t.ends(0, off(seconds), "run nightly --config {root}/conf.lua")
        return r.out:find("prune", 1, true) ~= nil
      end
      pruned(0)
      assert.is_false(pruned(DAY))
      assert.is_true(pruned(8 * DAY))
      assert.is_false(pruned(9 * DAY))
      -- Back again: who pruned then has not pruned since.
      assert.is_false(pruned(2 * DAY))
      assert.is_true(pruned(365 * DAY))
    end)
  end)

  it("while a backup runs, changes nothing of it", function()
    in_scene(function(t)
      local s = t.s
      local clock = s.root .. "/clock"
      outside.write(clock, "0")
      assert(os.execute(("mkfifo %s/fifo"):format(s.root)))
      local how = { env = { LD_PRELOAD = CLOCK, SAROS_TEST_CLOCK_FILE = clock },
        wrap = function(argv)
          return { "sh", "-c", 'exec "$@" <"$0"', s.root .. "/fifo",
            table.unpack(argv) }
        end }
      local task = helper.saros.spawn(t.run, how,
        "backup --stdin s --host clock --json {repo}")
      local pipe
      local opened = helper.saros.process { argv = { "sh", "-c",
        'exec >"$0"; echo some; echo -86400 >"$1"; sleep 0.2; '
        .. 'echo 31536000 >"$1"; sleep 0.2; echo more', s.root .. "/fifo", clock } }
      assert(opened:wait())
      pipe = task:wait()
      assert.equal(0, pipe.code, pipe.err)
      local last = core.json_read(pipe.out:match "([^\n]+)\n$")
      assert.is_true(last.duration >= 0 and last.duration < 600,
        tostring(last.duration))
      t.ends(0, off(0), "check --read-data {repo}")
    end)
  end)
end)

-- ------------------------------------------------------------------
-- Summer time
-- ------------------------------------------------------------------

-- Versions made at these times, and what a rule leaves of them: by restic, which
-- only looks, and by saros.
local function kept(zone, times, rule)
  local left, theirs = {}, {}
  in_scene(function(t)
    local now = os.time()
    for i, at in ipairs(times) do
      t.ends(0, off(at - now, { TZ = zone }), ("backup --stdin n --host clock "
        .. "--force --tag v%d {repo}"):format(i))
    end
    local s = t.s
    local r = matrix.run(s, {}, { wrap = function()
      return { "restic", "--no-cache", "--json", "-r", s.root .. "/r", "-p",
        s.root .. "/password", "forget", "--host", "clock", "--group-by", "host",
        "--dry-run", table.unpack(rule) }
    end, env = { TZ = zone } })
    assert.equal(0, r.code, r.err)
    for _, v in ipairs(core.json_read(r.out:match "[^\n]+")[1].keep) do
      theirs[#theirs + 1] = v.tags[1]
    end
    -- Also where that is still to come: then those would be ahead of the clock.
    local later = math.max(0, times[#times] + 60 - now)
    t.ends(0, off(later, { TZ = zone }), "forget --host clock --group-by host "
      .. table.concat(rule, " ") .. " {repo}")
    for _, v in ipairs(t.lines(nil, "versions --host clock {repo}")) do
      if v.type == "version" then left[#left + 1] = v.tags[1] end
    end
  end)
  table.sort(left)
  table.sort(theirs)
  assert.same(theirs, left)
  return table.concat(left, " ")
end

describe("rules of keeping", function()
  if not outside.installed "restic" then
    return pending "there is no restic, which knows what it keeps"
  end
  -- The last Sundays of March and of October 2026, at 01:00 UTC.
  local SPRING <const>, AUTUMN <const> = 1774746000, 1792890000

  it("know the day that has 23 hours", function()
    local times = {}
    for i = 1, 4 do times[i] = SPRING + (i - 3) * DAY + 1800 end
    assert.equal("v2 v3 v4", kept("Europe/Berlin", times,
      { "--keep-daily", "3" }))
  end)

  it("know the hour that is there twice", function()
    local times = { AUTUMN - 5400, AUTUMN - 1800, AUTUMN + 1800, AUTUMN + 5400 }
    assert.equal("v2 v3 v4", kept("UTC", times, { "--keep-hourly", "3" }))
    kept("Europe/Berlin", times, { "--keep-hourly", "4" })
    kept("America/New_York", times, { "--keep-hourly", "2" })
  end)
end)
