-- The five vocabularies as Lua hears them in every state.
local helper = require "spec.helper"
local saros, gate = helper.saros, helper.gate
local code = saros.code

local ERROR = { saros = 0x80070070, vss = 0x8004231F, wsb = 0x807A0001,
  vds = 0x80070070, bits = 0x80070070 }

local expected = {
  saros = { pending = 0x25A50001, retrying = 0x25A50001, ok = 0, cancelled = 0x800704C7 },
  vss = { pending = 0x00042309, retrying = 0x00042309, ok = 0x0004230A, cancelled = 0x0004230B },
  wsb = { pending = 0x407A0004, retrying = 0x407A0004, ok = 0, cancelled = 0x800704C7 },
  vds = { pending = 0x80042409, retrying = 0x80042409, ok = 0, cancelled = 0x8004240D },
  bits = { pending = 0x08, retrying = 0x18, ok = 0x04, cancelled = 0x81001004, failed = 0x10 },
}

local function check(op, facade, wanted, percent)
  local answers = table.pack(op:query())
  assert.equal(wanted, answers[1])
  assert.equal("integer", math.type(answers[1]))
  if facade == "wsb" then
    assert.equal(1, answers.n) -- A27
  else
    assert.equal("integer", math.type(answers[2])) -- A51
    assert.equal(2, answers.n)
    if percent then assert.equal(percent, answers[2]) end
  end
end

for facade, e in pairs(expected) do
  describe("query of " .. facade, function()
    it("in S0 created, S1 queued, S2 running, S3 paused, S4 retry wait", function()
      local g, op = gate { facade = facade, created = true }
      check(op, facade, e.pending, 0)
      g:start()
      check(op, facade, e.pending, 0)
      g:progress(42, 100)
      check(op, facade, e.pending, 42)
      op:pause()
      check(op, facade, e.pending, 42)
      op:resume()
      check(op, facade, e.pending, 42)
      g:running()
      g:retry(12002, 0)
      check(op, facade, e.retrying, 42)
      g:running()
      g:progress(100, 100)
      check(op, facade, e.pending, 99)
      g:finish(0)
      check(op, facade, e.ok)
    end)

    it("in S5 succeeded", function()
      local g, op = gate { facade = facade }
      g:finish(0)
      check(op, facade, e.ok, facade == "vds" and 100 or nil)
    end)

    it("in S5 with another success code", function()
      local g, op = gate { facade = facade }
      local other = facade == "vds" and 0x0004241A or 1
      g:finish(other)
      check(op, facade, facade == "bits" and 0x04 or other)
      assert.is_true(op:ok())
    end)

    it("in S6 failed", function()
      local g, op = gate { facade = facade }
      g:finish(ERROR[facade])
      check(op, facade, e.failed or ERROR[facade], facade == "vds" and 100 or nil)
      assert.equal(facade == "bits" and e.failed or ERROR[facade], (op:query()))
    end)

    it("in S7 cancelled", function()
      local _, op = gate { facade = facade }
      assert.equal(0, op:cancel())
      check(op, facade, e.cancelled, facade == "vds" and 100 or nil)
    end)

    it("never estimable: 0 while it runs", function()
      local g, op = gate { facade = facade, no_estimate = true }
      g:progress(50, 100)
      check(op, facade, e.pending, 0)
      g:finish(0)
      if facade == "vds" then check(op, facade, 0, 100) end -- A37
    end)
  end)
end

describe("cancel in the words of", function()
  local function ended(facade, how)
    local g, op = gate { facade = facade, fixed = how == "fixed" }
    if how == "ok" then g:finish(0) end
    if how == "failed" then g:finish(ERROR[facade]) end
    if how == "cancelled" then op:cancel() end
    if how == "too late" then g:no_return() end
    local answer = op:cancel()
    if not op:done() then g:finish(0) end
    return answer
  end

  local answers = {
    vss = { ok = 0x0004230A, failed = 0x8004231F, cancelled = 0x0004230B, fixed = 0x8004232F,
      ["too late"] = 0x8004232F },
    wsb = { ok = 0, failed = 0, cancelled = 0 },
    vds = { ok = 0x8004240C, failed = 0x8004240C, cancelled = 0x8004240D, fixed = 0x80042400,
      ["too late"] = 0x8004240C },
    saros = { ok = 0, failed = 0x80070070, cancelled = 0 },
  }
  for facade, list in pairs(answers) do
    it(facade, function()
      for how, wanted in pairs(list) do
        assert.equal(wanted, ended(facade, how), facade .. " " .. how)
      end
    end)
  end
end)

describe("A job's GetStatus", function()
  it("agrees with query: A70 to A83 as far as Lua sees them", function()
    local g, op = gate { facade = "bits", reopenable = true }
    assert.same({ 0, 0x08, 0, 0, 0 }, { g:bits() })
    g:retry(1225, 0)
    g:running()
    g:retry(1225, 0)
    assert.same({ 0, 0x18, 1225, 0, 2 }, { g:bits() })
    assert.equal(0x18, (op:query()))
    g:running()
    g:finish(0x80190194)
    assert.equal(0x10, (op:query()))
  end)
end)

describe("the codes an error carries", function()
  it("are those of query, with the facade's name for it", function()
    for facade, e in pairs(expected) do
      if facade ~= "bits" then
        local g, op = gate { facade = facade }
        g:finish(ERROR[facade])
        local _, err = op:wait()
        assert.equal(ERROR[facade], err.code)
        assert.equal(facade, err.facade)
        assert.equal(err.name, (code.name(facade, ERROR[facade])))
        _, op = gate { facade = facade }
        op:cancel()
        _, err = op:wait()
        assert.equal(e.cancelled, err.code)
        assert.is_true(err.cancelled)
        assert.equal(err.name, (code.name(facade, e.cancelled)))
      end
    end
  end)

  it("say the same of a failed job by every way", function()
    local g, op = gate { facade = "bits" }
    g:finish(0x80070070)
    local _, err = op:wait()
    assert.equal(0x80070070, err.code)
    _, op = gate { facade = "bits" }
    op:cancel()
    assert.is_true(select(2, op:wait()).cancelled)
  end)
end)

describe("what may not ask", function()
  it("is told E_ACCESSDENIED by cancel, and nothing happens", function()
    for facade, denied in pairs { vss = 0x80070005, wsb = 0x80070005, vds = 0x80042427 } do
      local g, op = gate { facade = facade }
      g:deny(0x80070005)
      assert.equal(denied, op:cancel())
      assert.equal("running", op:status().state)
      g:deny(0)
      g:finish(0)
    end
  end)
end)
