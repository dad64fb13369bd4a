-- saros.config: budget, log, pause.
local helper = require "spec.helper"
local saros, gate = helper.saros, helper.gate

describe("saros.config", function()
  it("refuses what is no option or not of its type", function()
    assert.has_error(function() saros.config { bugdet = 1 } end)
    assert.has_error(function() saros.config { budget = 0 } end)
    assert.has_error(function() saros.config { budget = "x" } end)
    assert.has_error(function() saros.config { log = 1 } end)
    assert.has_error(function() saros.config { pause = 1 } end)
    assert.has_error(function() saros.config() end)
    assert.equal(256, saros.config.budget)
  end)

  it("budget is how many tasks one step resumes", function()
    saros.config { budget = 3 }
    assert.equal(3, saros.config.budget)
    local ran = 0
    for _ = 1, 7 do saros.spawn(function() ran = ran + 1 end) end
    local more = saros.step(0)
    assert.equal(3, ran)
    assert.is_true(more)
    assert.is_true(saros.step(0))
    assert.equal(6, ran)
    assert.is_false(saros.step(0))
    assert.equal(7, ran)
    saros.config { budget = 256 }
  end)
end)

describe("the log function", function()
  after_each(function() saros.config { log = false } end)

  local function make_a_record(text)
    local g, op = gate { holds = true }
    op:cancel()
    g:cleanup(text)
    g:finish(0)
  end

  it("gets records at the next step, and in no other place", function()
    local records = {}
    saros.config { log = function(r) records[#records + 1] = r end }
    make_a_record "first"
    make_a_record "second"
    assert.equal(0, #records)
    helper.settle()
    assert.equal(2, #records)
    assert.match("first", records[1].text)
    assert.match("second", records[2].text)
    assert.equal("error", records[1].level)
    assert.equal("op", records[1].area)
    assert.is_true(records[1].time > 1.6e9)
  end)

  it("gets them in a wait that turns the loop, too", function()
    local g, op = gate()
    saros.config { log = function() g:finish(0) end }
    make_a_record "x"
    assert.is_true(op:wait())
  end)

  it("that fails is warned of, whatever it raises", function()
    for _, raise in ipairs { function() error "in the log" end, function() error {} end,
      function() error(setmetatable({}, { __tostring = function() error "x" end })) end } do
      saros.config { log = raise }
      local said = helper.warnings(function()
        make_a_record "x"
        helper.settle()
      end)
      assert.match("saros: error in the log function", said)
    end
  end)

  it("may take itself away, or another in its place", function()
    local first, second = 0, 0
    saros.config { log = function()
      first = first + 1
      saros.config { log = false }
    end }
    make_a_record "x"
    make_a_record "y"
    helper.settle()
    assert.equal(1, first)
    saros.config { log = function()
      saros.config { log = function() second = second + 1 end }
    end }
    make_a_record "x"
    make_a_record "y"
    helper.settle()
    assert.equal(1, second)
  end)

  it("may wait, and call step", function()
    local ran = 0
    saros.config { log = function()
      saros.step(0)
      assert(saros.spawn(function() ran = ran + 1 end):wait())
    end }
    make_a_record "x"
    make_a_record "y"
    assert.equal("", helper.warnings(helper.settle))
    assert.equal(2, ran)
  end)

  it("hears how many were lost when there were too many", function()
    local lost, kept = 0, 0
    saros.config { log = function(r)
      if r.lost then lost = lost + r.lost else kept = kept + 1 end
    end }
    for _ = 1, 300 do make_a_record "x" end
    helper.settle()
    assert.equal(300, lost + kept)
    assert.is_true(lost > 0)
  end)
end)

describe("pause", function()
  after_each(function() saros.config { pause = false } end)

  it("lets a host's coroutine wait as the host does", function()
    local paused = 0
    saros.config { pause = function(ms)
      assert(ms > 0)
      paused = paused + 1
      coroutine.yield "paused"
    end }
    local g, op = gate()
    local co = coroutine.wrap(function() return "result", op:wait() end)
    assert.equal("paused", co())
    assert.equal("paused", co())
    g:finish(0)
    local name, value = co()
    assert.equal("result", name)
    assert.is_true(value)
    assert.equal(2, paused)
  end)

  it("runs what the awaited operation needs meanwhile", function()
    saros.config { pause = function() coroutine.yield "paused" end }
    local co = coroutine.wrap(function()
      return saros.spawn(function() return "from a task" end):wait()
    end)
    assert.equal("from a task", co())
  end)

  it("keeps the time of a wait", function()
    saros.config { pause = function() coroutine.yield() end }
    local g, op = gate()
    local co = coroutine.wrap(function() return "end", op:wait(0.012) end)
    local turns = 0
    local name, _, err
    repeat
      name, _, err = co()
      turns = turns + 1
    until name == "end"
    assert.equal(4, turns)
    assert.is_true(err.timeout)
    g:finish(0)
  end)

  it("leaves a generator in a task alone", function()
    saros.config { pause = function() coroutine.yield "paused" end }
    local values = {}
    saros.run(function()
      for v in coroutine.wrap(function()
        for i = 1, 3 do
          saros.sleep(0):wait()
          coroutine.yield(i)
        end
      end) do values[#values + 1] = v end
    end)
    assert.same({ 1, 2, 3 }, values)
  end)

  it("is not asked where nothing can yield", function()
    saros.config { pause = function() error "asked" end }
    assert.is_true(saros.sleep(0):wait())
    coroutine.wrap(function()
      table.sort({ 2, 1 }, function() saros.sleep(0):wait() return false end)
    end)()
  end)
end)
