-- saros.code: numbers by name, names per facade.
local helper = require "spec.helper"
local code = helper.saros.code

describe("saros.code", function()
  it("has numbers as unsigned 32-bit integers", function()
    for name, number in pairs {
      VSS_S_ASYNC_PENDING = 0x00042309, VSS_E_BAD_STATE = 0x80042301,
      VDS_E_OPERATION_PENDING = 0x80042409, WSBAPP_ASYNC_IN_PROGRESS = 0x407A0004,
      SAROS_S_PENDING = 0x25A50001, SAROS_S_PARTIAL = 0x25A50002,
      SAROS_E_FORKED = 0xA5A50001, E_ACCESSDENIED = 0x80070005,
      BG_E_INVALID_STATE = 0x80200002, QM_E_ITEM_NOT_FOUND = 0x81001004,
    } do
      assert.equal(number, code[name], name)
      assert.equal("integer", math.type(code[name]))
      assert.is_true(code[name] >= 0 and code[name] <= 0xFFFFFFFF)
    end
  end)

  it("names the same number as each facade does", function()
    assert.equal("VDS_E_OPERATION_PENDING", (code.name("vds", 0x80042409)))
    assert.not_equal("VDS_E_OPERATION_PENDING", (code.name("vss", 0x80042409)))
    assert.equal("VSS_E_BAD_STATE", (code.name("vss", 0x80042301)))
    assert.is_string(select(2, code.name("vss", 0x80042301)))
  end)

  it("names what nobody named by its number", function()
    assert.equal("0x8ABCDEF0", (code.name("vss", 0x8ABCDEF0)))
    assert.equal("0x00000007", (code.name("saros", 7)))
  end)

  it("raises at a misspelt name, and only there", function()
    assert.has_error(function() return code.VSS_S_ASYNC_PENDNG end)
    assert.is_nil(code.something)
    assert.is_nil(code[1])
    assert.has_error(function() code.name("xyz", 1) end)
    assert.has_error(function() code.name("vss", "x") end)
    assert.has_error(function() code.name() end)
  end)

  it("tells a failure code", function()
    assert.is_true(code.failed(0x80042409))
    assert.is_false(code.failed(0x0004230B))
  end)
end)
