-- Records of runs: what is written line by line, what is read of it, also when
-- the line is torn or the process is dead.
local helper = require "spec.helper"

local saros, core = helper.saros, helper.core
local record = require "saros.record"
local timeline = require "spec.timeline"

local function sh(command, ...)
  local pipe = assert(io.popen("exec 2>&1; " .. command:format(...)))
  local text = pipe:read "a"
  pipe:close()
  return (text:gsub("\n$", ""))
end

local function directory()
  local root = sh "mktemp -d /tmp/saros-${SAROS_SUITE:-spec}-XXXXXX"
  sh("mkdir -m 700 %s/s", root)
  return root .. "/s", setmetatable({}, { __close = function()
    sh("rm -rf %s", root)
  end })
end

local function append(path, text)
  local file <close> = assert(io.open(path, "ab"))
  file:write(text)
end

-- A record of a process that is dead, without an end.
local function killed(state, more)
  return helper.script(([[
    local r = require "saros.record".begin { kind = "workflow", name = "n",
      state_dir = %q }
    r:op { lane = "step", name = "shadow" }
    %s
    require "saros".process { argv = { "sh", "-c", "kill -9 $PPID" } }:wait()
  ]]):format(state, more or ""))
end

describe("record.begin", function()
  it("writes a line for each thing as it happens", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "workflow", name = "nightly",
      state_dir = state, argv = { [-1] = "lua", "saros", "run", "nightly" } }
    assert.match("^" .. state:gsub("%-", "%%-") .. "/state/runs/%d+T%d+Z%-%x%x%x%x%x%x%x%x%.jsonl$",
      r.path)
    assert.equal("600", sh("stat -c %%a %s", r.path))
    assert.equal("700", sh("stat -c %%a %s/state/runs", state))
    local run = record.read(r.path)
    helper.contains({ state = "running", kind = "workflow", name = "nightly",
      id = r.id, version = "saros scm", torn = 0 }, run)
    assert.same({ "saros", "run", "nightly" }, run.argv)
    assert.is_true(math.abs(run.time - os.time()) < 100)
    local whole = r:op { lane = "step", name = "backup" }
    local part = r:op { lane = "target:/mnt/a", name = "backup",
      parent = whole }
    for i = 1, 10000 do part:sample(i, 10000) end -- too soon, nearly all
    r:log("warning", "a\27[2Jb")
    part:done()
    whole:done(core.failure("saros", saros.code.E_FAIL, "no"),
      { tries = 2 })
    whole:done()
    r:done(nil, { versions = { { location = "/mnt/a" } }, partial = true })
    r:done()
    run = record.read(r.path)
    helper.contains({ state = "partial", torn = 0 }, run)
    assert.is_number(run.seconds)
    assert.equal("/mnt/a", run.result.versions[1].location)
    assert.equal(2, #run.ops)
    helper.contains({ state = "failed", code = saros.code.E_FAIL, n = 1,
      lane = "step", name = "backup" }, run.ops[1])
    assert.equal("no", run.ops[1].error.message)
    assert.equal(2, run.ops[1].detail.tries)
    helper.contains({ state = "succeeded", parent = 1 }, run.ops[2])
    assert.is_true(run.ops[2].ended >= run.ops[2].at)
    local samples <const> = run.ops[2].samples
    helper.contains({ bytes = 1, total = 10000 }, samples[1])
    for i = 2, #samples do
      assert.is_true(samples[i].at - samples[i - 1].at >= 500)
    end
    assert.equal("a\27[2Jb", run.log[1].text)
    assert.is_nil(io.open(r.path):read "a":find("\27", 1, true))
  end)

  it("keeps the chain of an error, and nothing that is an object", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "backup", state_dir = state }
    local inner = core.failure("saros", saros.code.SAROS_E_EXIT, "inner")
    local outer = core.failure("vss", saros.code.VSS_E_PROVIDER_VETO, "outer")
    outer.cause, outer.op = inner, saros.sleep(0)
    r:done(outer)
    local run = record.read(r.path)
    helper.contains({ state = "failed" }, run)
    assert.equal("VSS_E_PROVIDER_VETO", run.error.name)
    assert.equal("inner", run.error.cause.message)
    assert.is_nil(run.error.op)
  end)

  it("has any bytes for a name", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "backup", name = "n\xff\n",
      state_dir = state }
    r:op { lane = "target:/a\xfe", name = "x" }
    r:done(nil, { path = "/\xfd" })
    local run = record.read(r.path)
    assert.equal("n\xff\n", run.name)
    assert.equal("target:/a\xfe", run.ops[1].lane)
    assert.equal("/\xfd", run.result.path)
  end)

  it("ends as its block does", function()
    local state, _ <close> = directory()
    local path
    assert.is_false(pcall(function()
      local r <close> = record.begin { kind = "backup", state_dir = state }
      path = r.path
      error "oh"
    end))
    assert.equal("failed", record.read(path).state)
    assert.match("oh", record.read(path).error.message)
    local before = path
    local task = saros.spawn(function()
      local r <close> = record.begin { kind = "backup", state_dir = state }
      path = r.path
      saros.sleep(100):wait()
    end)
    while path == before do saros.sleep(0.005):wait() end
    task:cancel()
    task:wait()
    assert.equal("cancelled", record.read(path).state)
  end)

  it("watches an operation to its end", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "backup", state_dir = state }
    saros.run(function()
      local gate, op = helper.gate()
      local o = r:op { lane = "step", name = "gate", watch = op }
      local failing = saros.process { argv = { "false" } }
      r:op { lane = "step", name = "false", watch = failing }
      failing:wait()
      gate:finish(0)
      op:wait()
      while not o.over do saros.sleep(0.01):wait() end
    end)
    local run = record.read(r.path)
    assert.equal("succeeded", run.ops[1].state)
    assert.equal("failed", run.ops[2].state)
    assert.equal("SAROS_E_EXIT", run.ops[2].error.name)
  end)

  it("is no reason to fail when its disk is full", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "backup", state_dir = state }
    r.file:close()
    r.file = assert(io.open("/dev/full", "a"))
    r.file:setvbuf "no"
    local said = helper.warnings(function()
      r:op { lane = "step", name = "x" }:done()
    end)
    assert.match("is not whole", said)
    local _, times = said:gsub("is not whole", "")
    assert.equal(1, times)
    r:done()
  end)

  it("raises what is wrong with its options", function()
    assert.error_matches(function() record.begin {} end, "'kind' is missing")
    assert.error_matches(function() record.begin { kid = "x" } end,
      "no option 'kid'; 'kind' perhaps%?")
    local state, _ <close> = directory()
    sh("chmod 777 %s", state)
    sh("mkdir -m 777 %s/state; chmod 777 %s/state", state, state)
    local ok, err = pcall(record.begin, { kind = "backup", state_dir = state })
    assert.is_false(ok)
    assert.equal("SAROS_E_REFUSED", err.name)
  end)
end)

describe("a record of who was killed", function()
  it("is interrupted, whatever its last line is", function()
    local state, _ <close> = directory()
    killed(state)
    local list = record.list { state_dir = state }
    assert.equal(1, #list)
    helper.contains({ state = "interrupted", name = "n" }, list[1])
    append(list[1].path, '{"op":1,"ended":5,"sta')
    local run = record.read(list[1].path)
    helper.contains({ state = "interrupted", torn = 1 }, run)
    assert.equal("shadow", run.ops[1].name)
    assert.is_nil(run.ops[1].ended)
    assert.equal("interrupted", record.list { state_dir = state }[1].state)
  end)

  it("is judged by the process, not by its number alone", function()
    local state, _ <close> = directory()
    killed(state)
    local path = record.list { state_dir = state }[1].path
    local file <close> = io.open(path)
    local text = file:read "a":gsub('"pid":%d+',
      '"pid":' .. core.owner().pid)
    local again <close> = io.open(path, "w")
    again:write(text)
    again:flush()
    assert.equal("interrupted", record.list { state_dir = state }[1].state)
  end)
end)

describe("record.list", function()
  it("has the newest first, and finds an ending of any length", function()
    local state, _ <close> = directory()
    for i = 1, 5 do
      local r <close> = record.begin { kind = i == 3 and "drill" or "backup",
        name = "n" .. i % 2, state_dir = state }
      r:done(nil, { text = ("x"):rep(i == 4 and 1000000 or 1) })
    end
    local list = record.list { state_dir = state }
    assert.equal(5, #list)
    for i = 1, 5 do
      assert.equal("n" .. (6 - i) % 2, list[i].name)
      assert.equal("succeeded", list[i].state)
      assert.is_true(i == 1 or list[i].time <= list[i - 1].time)
    end
    assert.equal(1000000, #list[2].result.text)
    assert.equal(2, #record.list { state_dir = state, limit = 2 })
    assert.equal(3, #record.list { state_dir = state, name = "n1" })
    assert.equal("n1", record.list { state_dir = state, kind = "drill" }[1].name)
  end)

  it("has what lies ahead of the clock as the oldest", function()
    local state, _ <close> = directory()
    local now = 1795443746
    for _, at in ipairs { -90000, -100, 300, 700, 31536000 } do
      timeline.write(state, timeline.good(now + at))
    end
    local function ages(time, limit)
      local list = {}
      for i, run in ipairs(record.list { state_dir = state, now = time,
        limit = limit }) do
        list[i] = math.tointeger(run.time) - now
      end
      return list
    end
    -- A little ahead is as clocks are.
    assert.same({ 300, -100, -90000, 31536000, 700 }, ages(now))
    assert.same({ 300, -100 }, ages(now, 2))
    assert.same({ 31536000, 700, 300, -100, -90000 }, ages(now + 31536000))
    assert.same({ 31536000, 700, 300, -100, -90000 }, ages(now - 31536000))
  end)

  it("passes over what is no record", function()
    local state, _ <close> = directory()
    assert.same({}, record.list { state_dir = state })
    local r <close> = record.begin { kind = "backup", state_dir = state }
    local at = r.path:match "^(.*)/"
    for i, text in ipairs { "", "{", "[]\n", '{"saros_record":"x"}\n',
      "\0\0\0\n" }
    do
      append(("%s/20260101T000000Z-0000000%d.jsonl"):format(at, i), text)
    end
    append(at .. "/notes.txt", "x")
    assert.equal(1, #record.list { state_dir = state })
    assert.equal("SAROS_E_DAMAGED", select(2, pcall(record.read,
      at .. "/20260101T000000Z-00000001.jsonl")).name)
  end)

  it("tells times right", function()
    assert.equal(0, record.time "1970-01-01T00:00:00.000+00:00")
    assert.equal(1709164799.5, record.time "2024-02-28T23:59:59.500+00:00")
    assert.equal(1709251200, record.time "2024-03-01T00:00:00.000+00:00"
      - 0)
    assert.equal(4102444800, record.time "2100-01-01T00:00:00.000+00:00")
    -- As the versions of other machines have it.
    assert.equal(1709251200, record.time "2024-03-01T05:30:00.000000001+05:30")
    assert.equal(1709251200, record.time "2024-02-29T16:00:00-08:00")
    assert.equal(1709251200, record.time "2024-03-01T00:00:00Z")
    assert.is_nil(record.time "yesterday")
  end)

  it("refuses to read what a newer one wrote, and lists it", function()
    local state, _ <close> = directory()
    local r <close> = record.begin { kind = "backup", state_dir = state }
    r:done()
    sh("sed -i 's/\"saros_record\":1/\"saros_record\":2/' %s", r.path)
    assert.is_true(record.list { state_dir = state }[1].newer)
    local ok, err = pcall(record.read, r.path)
    assert.is_false(ok)
    assert.match("newer saros", err.message)
  end)
end)

describe("record.prune", function()
  it("keeps the newest of each name, and what is not over", function()
    local state, _ <close> = directory()
    local running <close> = record.begin { kind = "backup", name = "a",
      state_dir = state }
    for _, name in ipairs { "a", "a", "a", "b" } do
      local r <close> = record.begin { kind = "backup", name = name,
        state_dir = state }
      r:done()
    end
    assert.equal(2, record.prune { state_dir = state, keep = 1 })
    local list = record.list { state_dir = state }
    assert.equal(3, #list)
    assert.equal(running.id, list[3].id)
    running:done()
    assert.equal(1, record.prune { state_dir = state, keep = 1 })
  end)

  it("keeps what somebody will ask for, however old that is", function()
    local state, _ <close> = directory()
    local function add(err, result)
      local r <close> = record.begin { kind = "workflow", name = "hourly",
        state_dir = state }
      r:done(err, result)
      return r.id
    end
    local here = { location = "/here", pruned = true }
    add(nil, { state = "succeeded", drill = { state = "passed" } })
    local asked = {
      add(nil, { state = "succeeded", targets = { here } }),
      add(nil, { state = "partial", drill = { state = "passed" } }),
      add(nil, { state = "partial", drill = { state = "untried" } }),
      add(nil, { state = "succeeded" }),
    }
    for i = 1, 5 do asked[4 + i] = add "no room" end
    -- The first drill, and all but the newest that failed.
    assert.equal(5, record.prune { state_dir = state, keep = 1 })
    local list = record.list { state_dir = state }
    assert.same({ asked[9], asked[4], asked[3], asked[2], asked[1] },
      { list[1].id, list[2].id, list[3].id, list[4].id, list[5].id })
  end)
end)

describe("a record that is ahead of the clock", function()
  it("is none of those that count", function()
    local state, _ <close> = directory()
    local paths = {}
    for i, days in ipairs { 365, 1, -1, 0 } do
      paths[i] = timeline.write(state, { name = "n", ops = {}, ended = 1,
        wall = os.time() + days * 86400, result = { state = "succeeded",
          drill = { state = "passed" } } })
    end
    local list = record.list { state_dir = state }
    for i, n in ipairs { 4, 3, 1, 2 } do
      assert.equal(paths[n], list[i].path)
      assert.equal(n < 3 or nil, list[i].ahead)
    end
    local journal = require "saros.workflow.journal"
    local o = { state_dir = state, name = "n" }
    assert.is_false(journal.due(o, 7 * 86400, "drill"))
    assert.equal(paths[4], journal.status(o).last.path)
    for _, n in ipairs { 4, 3, 2 } do os.remove(paths[n]) end
    assert.is_true(journal.due(o, 7 * 86400, "drill"))
    assert.is_nil(journal.status(o).age)
    -- Who is to be told of a run that is late is not told of another year.
    local told = require "saros.notify.told"
    local late = { { state = "failed", time = os.time() - 3 * 86400, id = "x",
      kind = "workflow", host = "h", begun = "2026-01-01T00:00:00.000+00:00" },
      record.list { state_dir = state }[1] }
    local due = told.due(late, { max_age = 86400 }, os.time())
    assert.equal("late", due[2].event)
    assert.is_nil(due[2].good)
  end)
end)
