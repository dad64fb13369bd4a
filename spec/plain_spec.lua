-- JSON and identities, for what is written in Lua.
-- also under valgrind
local helper = require "spec.helper"

local core = helper.core

describe("json", function()
  it("is read as it was written", function()
    local value = { list = { 1, 2.5, true, "x" }, map = { a = { b = {} } },
      big = 2 ^ 53 | 0, least = math.mininteger, small = 0.1,
      text = 'quotes " and \\ and \n and \0 and ünïcödé' }
    for _, indented in ipairs { false, true } do
      local text = core.json_write(value, indented)
      assert.same(value, core.json_read(text))
      assert.equal(indented, text:find "\n" ~= nil)
    end
    assert.equal("7", core.json_write(7))
    assert.equal("[]", core.json_write {})
    assert.equal('{"a":1.0}', core.json_write { a = 1.0 })
    assert.equal("float", math.type(core.json_read("[1.0]")[1]))
  end)

  it("keeps bytes that are no text", function()
    local value = { path = "/a\xff", list = { { name = "\x80" } } }
    local text = core.json_write(value)
    assert.is_not_nil(utf8.len(text))
    assert.same(value, core.json_read(text))
  end)

  it("leaves out a null", function()
    assert.same({ a = 1 }, core.json_read '{"a":1,"b":null}')
    assert.is_nil((core.json_read "null"))
  end)

  -- Names of long lists are made once, as many as are remembered.
  it("has the names of long lists in any order", function()
    for _, count in ipairs { 3, 40, 47, 48, 49, 200 } do
      local list = { {}, { [""] = 0 } }
      for i = 1, 60 do
        local item = { ["a\0b"] = i, ["a\0c"] = -i, deep = {} }
        for k = 1, count do
          local n = (k * 7 + i * 13) % (count + i % 3)
          item["name" .. n] = n
          item.deep["d" .. n % 5] = { ["name" .. k] = { i } }
        end
        list[#list + 1] = item
      end
      assert.same(list, core.json_read(core.json_write(list)))
      local map = { list = list, name1 = "x" }
      assert.same(map, core.json_read(core.json_write(map)))
    end
  end)

  it("says where it is none", function()
    for _, text in ipairs { "", "{", "[1,]", "{a:1}", '{"a":1,"a":2}', "nil",
      "\xff", "[1] 2", ("["):rep(100) } do
      local value, err = core.json_read(text)
      assert.is_nil(value)
      assert.match("line 1, column %d+", err.message)
      assert.is_true(core.is_failure(err))
    end
  end)

  it("is nobody's object", function()
    require "saros.vds"
    local value = core.json_read '{"__class":"saros.vds.disk","path":"/x"}'
    assert.is_nil(getmetatable(value))
    assert.equal("saros.vds.disk", value.__class)
  end)

  it("raises what it cannot be", function()
    local ring = {}
    ring.ring = ring
    for _, wrong in ipairs { print, ring, { f = print }, { [1.5] = 1 },
      { 1, a = 2 }, io.stdout } do
      assert.has_error(function() core.json_write(wrong) end)
    end
    assert.has_error(function() core.json_write() end)
    assert.has_error(function() core.json_read() end)
  end)
end)

describe("identities", function()
  it("are GUIDs of version 4, and differ", function()
    local seen = {}
    for _ = 1, 1000 do
      local id = core.guid()
      assert.match("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-"
        .. ("%x"):rep(12) .. "$", id)
      assert.is_nil(seen[id])
      seen[id] = true
    end
  end)

  it("of operations and failures are known", function()
    local _, op = helper.gate()
    assert.is_true(core.is_operation(op))
    for _, other in ipairs { 7, "op", {}, io.stdout, print } do
      assert.is_false(core.is_operation(other))
      assert.is_false(core.is_failure(other))
    end
    assert.is_false(core.is_operation())
    assert.is_true(core.is_failure(core.failure("wsb", 0x807A0001, "x")))
    op:close()
  end)
end)
