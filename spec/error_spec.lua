-- Error objects: fields, text, misuse.
local helper = require "spec.helper"
local saros, gate, core = helper.saros, helper.gate, helper.core

describe("an error object", function()
  local function failed(code, message, facade)
    local g, op = gate { facade = facade }
    g:finish(code, message)
    return select(2, op:wait()), op
  end

  it("has code, name, facade, message, op, retryable", function()
    local err, op = failed(saros.code.SAROS_E_LOCKED, "somebody holds the lock")
    helper.contains({ code = 0xA5A50011, name = "SAROS_E_LOCKED", facade = "saros",
      message = "somebody holds the lock", op = op }, err)
    assert.is_boolean(err.retryable)
    assert.equal("integer", math.type(err.code))
  end)

  it("has a sentence when the operation gave none", function()
    for _, case in ipairs { { 0x8004231F, "vss" }, { 0x80070070, "vds" },
      { 0x80070005, "saros" }, { 0x8ABCDEF0, "wsb" } } do
      local err = failed(case[1], nil, case[2])
      assert.is_string(err.message)
      assert.match("test.gate failed", err.message)
      assert.match(("%%[.*0x%08X%%]$"):format(case[1]), tostring(err))
    end
  end)

  it("tells a person what happened", function()
    assert.equal("out of order [VSS_E_BAD_STATE 0x80042301]",
      tostring((failed(0x80042301, "out of order", "vss"))))
    assert.equal("x [0x8ABCDEF0]", tostring((failed(0x8ABCDEF0, "x"))))
  end)

  it("has what a server said of it", function()
    local g, op = gate {}
    g:fail(saros.code.E_FAIL, "refused", 1040, "Too many connections")
    local _, err = op:wait()
    helper.contains({ code = saros.code.E_FAIL, errno = 1040, retryable = true,
      server = "Too many connections", message = "refused", op = op }, err)
    assert.match("^refused %[", tostring(err))
  end)

  it("can be put into a text", function()
    local err = failed(0x80042301, "out of order", "vss")
    assert.equal("so: out of order [VSS_E_BAD_STATE 0x80042301]", "so: " .. err)
    assert.equal("out of order [VSS_E_BAD_STATE 0x80042301].", err .. ".")
    assert.match("out of order", ("%s"):format(err))
  end)

  it("says its cause", function()
    local err = failed(0x80042301, "out of order", "vss")
    err.cause = failed(0x80070005, "the writer said no")
    assert.match("out of order .*, because: the writer said no", tostring(err))
  end)

  it("says nothing twice", function()
    local err = failed(0x80042301, "the writer said no: out of order", "vss")
    err.cause = failed(0x80070005, "out of order")
    err.cause.cause = failed(0x80070005, "no light")
    assert.match("^the writer said no: out of order %[[^]]*%], because: no light",
      tostring(err))
    err.cause = err -- a knot
    assert.is_string(select(2, pcall(tostring, err)))
  end)

  it("says where, unless its sentence does", function()
    local err = failed(0x80042301, "cannot be opened", "vss")
    err.path = "/srv/x"
    assert.match("^cannot be opened %(/srv/x%) %[", tostring(err))
    err.message = "/srv/x cannot be opened"
    assert.match("^/srv/x cannot be opened %[", tostring(err))
    err.path = "/srv/\27[2J"
    assert.match("^/srv/x cannot be opened %[", tostring(err))
  end)

  it("survives fields that are not as they should be", function()
    local err = failed(0x80042301, "x", "vss")
    err.message, err.code, err.name, err.cause = {}, "x", 7, "cause"
    assert.is_string(tostring(err))
    err.message, err.code, err.name, err.cause = nil, nil, nil, nil
    assert.is_string(tostring(err))
    assert.equal("saros.error", getmetatable(err).__name)
  end)

  it("is retryable as its code is", function()
    local seen = {}
    for _, code in ipairs { 0x800700AA, 0x80070005, 0x800704C9, 0x80070002 } do
      seen[#seen + 1] = failed(code).retryable
    end
    assert.same({ true, false, true, false }, seen)
  end)

  it("comes from assert as it is", function()
    local _, op = failed(0x80042301, "x", "vss")
    local ok, err = pcall(_G.rawequal and function() return error((select(2, op:wait()))) end)
    assert.is_false(ok)
    assert.equal(0x80042301, err.code)
  end)

  it("is a timeout's, a cancel's, a cycle's", function()
    local g, op = gate()
    assert.is_true(select(2, op:wait(0)).timeout)
    assert.is_nil(select(2, op:wait(0)).cancelled)
    op:cancel()
    assert.is_true(select(2, op:wait()).cancelled)
    assert.is_nil(select(2, op:wait()).timeout)
    g:finish(0)
  end)

  it("can be made by a script", function()
    local err = core.failure("vds", 0x80042400, "no")
    helper.contains({ facade = "vds", code = 0x80042400, name = "VDS_E_NOT_SUPPORTED",
      message = "no" }, err)
    assert.has_error(function() core.failure("xyz", 1, "no") end)
    assert.has_error(function() core.failure("vds", {}, "no") end)
  end)

  it("raised in a task keeps its code as the task's", function()
    local t = saros.spawn(function() error(core.failure("vss", 0x80042301, "no")) end)
    local _, err = t:wait()
    assert.equal(0x80042301, err.code)
    assert.equal(0x80042301, (t:query()))
    -- A code that is no failure cannot be the code of a failed task.
    t = saros.spawn(function() error(core.failure("saros", 0, "no")) end)
    assert.equal(saros.code.SAROS_E_LUA, (function() t:wait() return (t:query()) end)())
  end)
end)

describe("what cannot be started", function()
  it("raises an error object", function()
    local a <close> = saros.sleep(1000, { name = "error.busy" }) -- luacheck: ignore
    local ok, err = pcall(saros.sleep, 0, { name = "error.busy" })
    assert.is_false(ok)
    assert.equal(saros.code.SAROS_E_BUSY_NAME, err.code)
    assert.equal("SAROS_E_BUSY_NAME", err.name)
  end)
end)
