-- saros status: what monitoring hears, and a person sees; and the judgement
-- behind it.
local cli = require "spec.cli"
local outside = require "spec.outside"
local shared = require "spec.vss"
require "spec.helper"

local core = require "saros.core"
local monitor = require "saros.monitor"
local record = require "saros.record"

local NOW <const> = 1800000000
local HOUR <const>, DAY <const> = 3600, 86400

local function run(ago, state, more)
  local r = { kind = "workflow", name = "nightly", state = state,
    time = NOW - ago, seconds = 60, path = "/runs/" .. ago }
  for name, item in pairs(more or {}) do r[name] = item end
  return r
end

local function judge(records, o)
  local list, worst = monitor.judge(records, o or {}, NOW)
  return list[1], worst, list
end

describe("how things stand", function()
  it("is fine after a success that is young enough", function()
    local w, worst = judge({ run(2 * HOUR, "succeeded", {
      result = { held = 0.25, consistency = "application" } }) },
      { max_age = 26 * HOUR })
    assert.equal(0, worst)
    assert.equal(2 * HOUR - 60, w.age)
    assert.equal(0.25, w.held)
    assert.same({}, w.reasons)
  end)

  it("is critical when the last success is too old, or never was", function()
    local w, worst = judge({ run(27 * HOUR, "succeeded") },
      { max_age = 26 * HOUR })
    assert.equal(2, worst)
    assert.match("26h ago", w.reasons[1])
    assert.equal(2, select(2, judge { run(HOUR, "failed") }))
    assert.match("never succeeded", judge { run(HOUR, "failed") }.reasons[1])
  end)

  it("is a warning after a failure, with the reason", function()
    local records = { run(HOUR, "failed", { error = {
      message = "the disk is full\27[2J" } }), run(DAY, "succeeded") }
    local w, worst = judge(records, { max_age = 2 * DAY })
    assert.equal(1, worst)
    assert.match("the last run failed: the disk is full\\x1b", w.reasons[1])
    assert.equal(2, select(2, judge(records, { strict = true })))
    assert.equal(1, w.failures)
  end)

  it("knows runs that were killed, left something out, or were cancelled",
    function()
      for state, text in pairs { interrupted = "was interrupted",
        partial = "left something out", cancelled = "was cancelled" } do
        local w, worst = judge { run(HOUR, state), run(DAY, "succeeded") }
        assert.equal(1, worst, state)
        assert.match(text, w.reasons[1])
      end
      -- Part of it is no success.
      assert.equal(2, select(2, judge { run(HOUR, "partial") }))
    end)

  it("waits for a run that goes on, but not for ever", function()
    local records = { run(3 * HOUR, "running"), run(DAY, "succeeded") }
    local w, worst = judge(records, { max_age = 26 * HOUR })
    assert.equal(0, worst)
    assert.equal(NOW - 3 * HOUR, w.running)
    assert.equal(1, select(2, judge(records, { max_run = 2 * HOUR })))
  end)

  it("knows drills, of the verb and of a workflow", function()
    local passed = { kind = "drill", name = "nightly", state = "succeeded",
      time = NOW - 3 * DAY, seconds = 0 }
    local records = { run(HOUR, "succeeded"), passed }
    local w, worst = judge(records, { max_drill = 7 * DAY })
    assert.same({ 0, "passed", 3 * DAY }, { worst, w.drill, w.drill_age })
    assert.equal(1, select(2, judge(records, { max_drill = 2 * DAY })))
    assert.match("no drill has ever", judge({ run(HOUR, "succeeded") },
      { max_drill = DAY }).reasons[1])
    w, worst = judge { run(HOUR, "succeeded", { result = { drill = {
      state = "failed" } } }), passed }
    assert.same({ 2, "failed", 3 * DAY }, { worst, w.drill, w.drill_age })
    assert.equal(1, select(2, judge { run(HOUR, "succeeded", { result = {
      drill = { state = "untried" } } }) }))
  end)

  it("is unknown where nothing is known", function()
    local _, worst, list = judge {}
    assert.same({ 3, {} }, { worst, list })
    local w
    w, worst = judge({ run(HOUR, "succeeded") }, { names = { "weekly" } })
    assert.same({ "weekly", 3, 3 }, { w.name, w.level, worst })
    -- A restore is no backup.
    assert.equal(3, select(2, judge { run(HOUR, "succeeded",
      { kind = "restore" }) }))
  end)

  it("is as bad as the worst, which is worse than not knowing", function()
    assert.equal(2, monitor.worst(2, 3))
    assert.equal(3, monitor.worst(1, 3))
    assert.equal(1, monitor.worst(1, 0))
  end)

  it("minds a clock that was set back", function()
    local w, worst = judge({ run(-HOUR, "succeeded") }, { max_age = DAY })
    assert.equal(0, worst)
    assert.equal("0 s", monitor.age(w.age))
    assert.equal(1, select(2, monitor.line({ w }, worst, {}):gsub("|", "")))
    -- Further ahead than a success is good for, it says nothing of now.
    w, worst = judge({ run(-2 * DAY, "succeeded") }, { max_age = DAY })
    assert.equal(1, worst)
    assert.match("dated 2d from now", w.reasons[1])
    assert.equal(0, select(2, judge({ run(-2 * DAY, "succeeded") }, {})))
  end)

  it("is one line, with figures that can be read by a program", function()
    local list, worst = monitor.judge({ run(HOUR, "succeeded",
      { name = "it's | a=b\n", result = { held = 0.5 } }) },
      { max_age = 7200 }, NOW)
    local line = monitor.line(list, worst, { max_age = 7200 })
    assert.is_nil(line:find "\n")
    local text, figures = line:match "^SAROS OK %- ([^|]+) | ([^|]+)$"
    assert.match("the oldest success 59 min ago", text)
    assert.equal("'it_s _ a_b\\x0a_age'=3540s;;7200;0 "
      .. "'it_s _ a_b\\x0a_held'=0.500s;;;0", figures)
  end)

  it("says ages as people do", function()
    for seconds, text in pairs { [0] = "0 s", [119] = "119 s",
      [120] = "2 min", [7200] = "2h", [172799] = "47h", [172800] = "2d",
      [180000] = "2d 2h" } do
      assert.equal(text, monitor.age(seconds))
    end
    assert.equal("never", monitor.age(nil))
  end)
end)

-- A record that was begun so long ago, as a file has it.
local function write_record(d, number, ago, lines)
  local wall = core.clocks()
  local begun = os.date("!%Y-%m-%dT%H:%M:%S.000+00:00",
    math.floor(wall - ago))
  local header = { saros_record = 1, id = ("%08x"):format(number),
    kind = "workflow", name = "nightly", host = "here", pid = 1,
    owner = { pid = 1, boot = "another", start = 1 }, begun = begun,
    version = "saros scm" }
  for name, item in pairs(lines.header or {}) do header[name] = item end
  local text = core.json_write(header) .. "\n"
  for _, line in ipairs(lines) do text = text .. core.json_write(line) .. "\n" end
  outside.write(("%s/state/runs/%s-%08x.jsonl"):format(d.state,
    os.date("!%Y%m%dT%H%M%SZ", math.floor(wall - ago)), number), text)
end

local function scene()
  local d = shared.directory()
  os.execute(("mkdir -p -m 700 '%s/state/runs'"):format(d.state))
  local number = 0
  function d.record(ago, ...)
    number = number + 1
    write_record(d, number, ago, ...)
  end
  function d.status(code, argv, env)
    local all = { SAROS_STATE_DIR = d.state }
    for name, item in pairs(env or {}) do all[name] = item end
    return cli.ends(code, { "status", table.unpack(argv or {}) },
      { env = all })
  end
  return d
end

local SUCCESS <const> = { { ended = 60000, state = "succeeded",
  result = { held = 0.1 } } }

describe("saros status", function()
  it("has the exit codes of monitoring", function()
    local d <close> = scene()
    assert.match("^SAROS UNKNOWN %- there is no record", d.status(3).out)
    d.record(2 * HOUR, SUCCESS)
    assert.match("^SAROS OK %- nightly", d.status(0).out)
    d.status(0, { "--max-age", "26h" })
    local r = d.status(2, { "--max-age", "30m", "--quiet" })
    local age = tonumber(r.out:match("^SAROS CRITICAL %- nightly: the last "
      .. "success is [^|]- ago %(at most 30 min%) | nightly_age=(%d+)s;;1800;0 "
      .. "nightly_held=0%.100s;;;0\n$"))
    -- It goes on while this runs.
    assert.is_true(age and age >= 7140 and age < 7140 + HOUR, r.out)
    d.record(HOUR, { { ended = 10, state = "failed", error = {
      message = "no room" } } })
    assert.match("WARNING %- nightly: the last run failed: no room",
      d.status(1).out)
    d.status(2, { "--strict" })
    d.status(3, { "weekly" })
    assert.match("weekly", d.status(3, { "nightly", "weekly" }).out)
  end)

  it("sees a run that was killed, and one that goes on", function()
    local d <close> = scene()
    d.record(DAY, SUCCESS)
    d.record(HOUR, { { op = 1, lane = "step", name = "shadow", at = 0 } })
    assert.match("was interrupted", d.status(1).out)
    local r = record.begin { kind = "workflow", name = "nightly",
      state_dir = d.state }
    assert.match("running", d.status(1).out)
    r:done(nil, {})
    assert.match("^SAROS OK", d.status(0).out)
  end)

  it("passes over what is no record", function()
    local d <close> = scene()
    d.record(HOUR, SUCCESS)
    for name, text in pairs { ["20990101T000000Z-00000001.jsonl"] = "{",
      ["20990101T000000Z-00000002.jsonl"] = "", ["x.jsonl"] = "{}\n",
      ["20990101T000000Z-00000003.jsonl"] = ("\0"):rep(5000) } do
      outside.write(d.state .. "/state/runs/" .. name, text)
    end
    d.status(0)
  end)

  it("tells of workflows that have never run, and takes max_age", function()
    local d <close> = scene()
    d.record(2 * HOUR, SUCCESS)
    local config = d.root .. "/config.lua"
    outside.write(config, 'max_age = "1h"\n'
      .. 'workflow "weekly" { sources = { "/etc" }, to = "/mnt/x" }\n')
    os.execute(("chmod 600 '%s'; chmod 755 '%s'"):format(config, d.root))
    local r = d.status(2, {}, { SAROS_CONFIG = config })
    assert.match("nightly: the last success", r.out)
    assert.match("weekly: it has never run", r.out)
    r = d.status(3, { "--max-age", "1d" }, { SAROS_CONFIG = config })
    assert.match("UNKNOWN", r.out)
  end)

  it("does not know when the configuration is wrong", function()
    local d <close> = scene()
    d.record(HOUR, SUCCESS)
    local config = d.root .. "/config.lua"
    outside.write(config, "max_age = \n")
    os.execute(("chmod 600 '%s'"):format(config))
    local r = d.status(3, {}, { SAROS_CONFIG = config })
    assert.match("^SAROS UNKNOWN %- [^\n]*config.lua:", r.out)
  end)

  it("is for programs, too", function()
    local d <close> = scene()
    d.record(HOUR, SUCCESS)
    local lines = {}
    for line in d.status(0, { "--json" }).out:gmatch "[^\n]+" do
      lines[#lines + 1] = assert(core.json_read(line))
    end
    assert.same({ "workflow", "nightly", 0 },
      { lines[1].type, lines[1].name, lines[1].level })
    assert.match("^%d+%-%d+%-%d+T", lines[1].success_at)
    assert.same({ "summary", "OK" }, { lines[2].type, lines[2].state })
  end)

  it("judges machines by the versions in a repository", function()
    local ok, repository = pcall(require, "saros.repository")
    if not ok then return pending "saros.repository is not in this build" end
    local d <close> = scene()
    local where = { location = d.root .. "/repo", password = "x" }
    local repo = repository.init(where)
    -- A clock that was ahead for a while hides nothing.
    for _, one in ipairs { { "young", -HOUR }, { "old", -5 * DAY },
      { "old", 300 * DAY } } do
      assert(repo:backup { paths = { d.a }, host = one[1],
        time = math.floor(core.clocks() + one[2]) }:wait())
    end
    repo:close()
    local env = { RESTIC_PASSWORD = "x" }
    local r = d.status(2, { "--all-hosts", "--repo", d.root .. "/repo",
      "--max-age", "2d" }, env)
    assert.match("^SAROS CRITICAL %- old: ", r.out)
    local age = tonumber(r.out:match "young_age=(%d+)")
    assert.is_true(age and age >= HOUR and age < 2 * HOUR, r.out)
    d.status(0, { "-a", "-r", d.root .. "/repo", "--max-age", "2d", "--host",
      "young" }, env)
    -- No repository, or no way in: nobody knows.
    r = d.status(3, { "-a", "-r", d.root .. "/none" }, env)
    assert.match("^SAROS UNKNOWN %- ", r.out)
    d.status(3, { "-a", "-r", d.root .. "/repo" }, { RESTIC_PASSWORD = "y" })
  end)

  it("ends with the code that it tells programs", function()
    local d <close> = scene()
    local r = d.status(3, { "--json", "--config", "/nowhere/config.lua" })
    local last
    for line in r.out:gmatch "[^\n]+" do last = core.json_read(line) end
    assert.same({ "error", 3 }, { last.type, last.exit_code })
  end)

  it("is called wrongly", function()
    local d <close> = scene()
    assert.match("a time such as", d.status(3, { "--max-age", "soon" }).err)
    assert.match("perhaps", d.status(3, { "--maxage", "1h" }).err)
    assert.match("no name", d.status(3, { "-a", "nightly" }).err)
  end)
end)
