-- also under valgrind
-- The handle: every method of the block in the reference, as far as no other spec
-- has it.
local helper = require "spec.helper"
local saros, gate, task = helper.saros, helper.gate, helper.task

describe("require 'saros'", function()
  it("has what the design promises, and no more functions", function()
    local names = {}
    for name, v in pairs(saros) do
      if type(v) == "function" then names[#names + 1] = name end
    end
    table.sort(names)
    assert.same({ "all", "any", "copy", "fd", "get", "list", "process", "report", "retry",
      "run", "scope", "shutdown", "sleep", "spawn", "step", "timeout" }, names)
  end)

  it("sets no global, no signal handler, and no hook", function()
    local output = helper.script [[
      local function status() -- what the kernel says is caught
        for line in io.lines "/proc/self/status" do
          -- The first 31: the others are libc's own, for its threads.
          local mask = line:match "^SigCgt:%s*(%x+)"
          if mask then return tonumber(mask, 16) & 0x7FFFFFFF end
        end
      end
      local caught, before = status(), {}
      for name in pairs(_G) do before[name] = true end
      local saros = require "saros"
      saros.run(function() saros.sleep(0):wait() end)
      for name in pairs(_G) do if not before[name] then print(name) end end
      assert(debug.gethook() == nil)
      print(status() == caught)
    ]]
    assert.equal("true\n", output)
  end)
end)

describe("query", function()
  it("never blocks and changes nothing, however often", function()
    local g, op = gate { run = "lane" }
    g:entered()
    local before, fds = nil, helper.testmod.fds()
    for round = 1, 2 do
      for _ = 1, 10000 do op:query() op:done() op:ok() end
      collectgarbage()
      if round == 1 then before = collectgarbage "count" end
    end
    assert.is_true(collectgarbage "count" - before < 1)
    assert.equal(fds, helper.testmod.fds())
    assert.equal("running", op:status().state)
    for _ = 1, 1000 do op:status() tostring(op) end
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 1)
    g:finish(0)
    op:wait()
  end)

  it("answers the same for ever after the end (A09)", function()
    local g, op = gate { facade = "vss" }
    g:finish(saros.code.VSS_E_INSUFFICIENT_STORAGE)
    local first = table.pack(op:query())
    for _ = 1, 1000 do assert.same(first, table.pack(op:query())) end
    assert.equal(saros.code.VSS_E_INSUFFICIENT_STORAGE, first[1])
    g:finish(0)
    op:cancel()
    g:progress(1, 2)
    assert.same(first, table.pack(op:query()))
  end)
end)

describe("status", function()
  it("tells of a pending one", function()
    local g, op = gate { kind = "vss.do_snapshot_set", facade = "vss", name = "operation.status" }
    g:progress(42, 100)
    g:phase "freeze"
    local s = op:status()
    helper.contains({ kind = "vss.do_snapshot_set", state = "running",
      code = saros.code.VSS_S_ASYNC_PENDING, name = "VSS_S_ASYNC_PENDING",
      percent = 42, phase = "freeze", done = 42, total = 100,
      label = "operation.status" }, s)
    assert.is_string(s.message)
    assert.is_true(s.elapsed >= 0)
    assert.equal("vss.do_snapshot_set: pending 42% (freeze)", tostring(op))
    g:finish(0)
    op:close()
  end)

  it("tells of every state", function()
    local g, op = gate { created = true, reopenable = true, facade = "bits" }
    assert.equal("created", op:status().state)
    g:start()
    assert.equal("running", op:status().state)
    assert.is_true(op:pause())
    assert.equal("paused", op:status().state)
    assert.match("paused", tostring(op))
    assert.is_true(op:resume())
    assert.equal("queued", op:status().state)
    g:running()
    g:retry(12002, 503)
    assert.equal("retrying", op:status().state)
    g:running()
    g:finish(0)
    assert.equal("succeeded", op:status().state)
    assert.match("succeeded", tostring(op))
    assert.is_false(op:pause())
    assert.is_false(op:resume())
  end)

  it("has the message of a failure", function()
    local g, op = gate()
    g:finish(saros.code.SAROS_E_DAMAGED, "pack 17 is damaged; run check")
    assert.equal("pack 17 is damaged; run check", op:status().message)
    assert.equal("SAROS_E_DAMAGED", op:status().name)
    local el = op:status().elapsed
    assert.equal(el, op:status().elapsed)
  end)
end)

describe("done and ok", function()
  it("answer in every state", function()
    local g, op = gate()
    assert.is_false(op:done())
    assert.is_false(op:ok())
    g:finish(0)
    assert.is_true(op:done())
    assert.is_true(op:ok())
    g, op = gate()
    g:finish(saros.code.SAROS_S_PARTIAL)
    assert.is_true(op:ok()) -- a success
    g, op = gate()
    g:finish(saros.code.SAROS_E_FAIL)
    assert.is_true(op:done())
    assert.is_false(op:ok())
  end)
end)

describe("the output of an operation", function()
  it("comes as Lua values", function()
    local cases = {
      { "7", 7 }, { "-1.5", -1.5 }, { '"text"', "text" }, { "true", true },
      { "[1,[2],{}]", { 1, { 2 }, {} } },
      { '{"a":{"b":[1,2]},"n":null}', { a = { b = { 1, 2 } } } },
      { "9007199254740993", 9007199254740993 },
    }
    for _, case in ipairs(cases) do
      local g, op = gate()
      assert.equal(0, g:output(case[1]))
      g:finish(0)
      assert.same(case[2], (op:wait()))
      assert.same(case[2], (op:result()))
      assert.same(case[2], (task(function() return (op:wait()) end)))
    end
  end)

  it("that is null or false makes wait say true, result exactly", function()
    for json, v in pairs { ["false"] = false } do
      local g, op = gate()
      g:output(json)
      g:finish(0)
      assert.same({ n = 2, true, v }, table.pack(op:wait()))
      assert.same({ n = 1, v }, table.pack(op:result()))
    end
    local g, op = gate()
    g:output "null"
    g:finish(0)
    assert.is_true((op:wait()))
    g, op = gate()
    g:finish(0)
    assert.same({ n = 1, true }, table.pack(op:wait()))
    assert.same({ n = 0 }, table.pack(op:result()))
  end)

  it("is there only in success (I3)", function()
    local g, op = gate()
    g:output "7"
    assert.is_nil((op:result()))
    g:finish(saros.code.SAROS_E_FAIL)
    assert.is_nil((op:result()))
    assert.is_nil((op:wait()))
  end)
end)

describe("sleep", function()
  it("ends, and takes what is a time", function()
    for _, s in ipairs { 0, 0.001, -1, -math.huge } do
      assert.is_true(saros.sleep(s):wait())
    end
    for _, s in ipairs { 1e300, math.huge, math.maxinteger } do
      local op <close> = saros.sleep(s)
      assert.is_false(op:done())
    end
    for _, s in ipairs { "x", {}, true, 0 / 0 } do
      assert.has_error(function() saros.sleep(s) end)
    end
    assert.has_error(function() saros.sleep() end)
    assert.has_error(function() saros.sleep(1, { nme = "x" }) end)
  end)
end)

describe("a misuse", function()
  it("raises: methods on what is no operation", function()
    local g, op = gate()
    for _, method in ipairs { "query", "status", "done", "ok", "wait", "result",
      "cancel", "on_done", "progress", "close", "lines" } do
      for _, wrong in ipairs { 1, "x", {}, io.stdout, print } do
        assert.has_error(function() op[method](wrong) end)
      end
      assert.has_error(function() op[method]() end)
    end
    assert.has_error(function() op:lines() end) -- it is no process
    assert.has_error(function() return op.no_such_method() end)
    assert.has_error(function() op.field = 1 end)
    g:finish(0)
  end)
end)

describe("a handle", function()
  it("equals another handle of the same operation", function()
    local g, op = gate()
    assert.is_true(op == g:op())
    assert.is_false(op == select(2, gate()))
    assert.is_false(op == 1)
    g:finish(0)
  end)

  it("is an operation by name", function()
    assert.equal("saros.operation", getmetatable(saros.sleep(0)).__name)
  end)
end)
