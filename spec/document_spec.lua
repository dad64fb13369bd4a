-- How documents are read, and what is held against them: spec/document.lua.
local document = require "spec.document"

describe("the reader of a document", function()
  it("has blocks of several kinds, with what comes before them", function()
    local blocks = document.blocks(table.concat({ "# x", "```lua", "x = 1", "```",
      "<!-- file: /etc/x -->", "```lua", "y", "```", "<!-- hidden", "true",
      "-->", "<!-- sketch: as it is -->", "", "```lua", "f(…)", "```" }, "\n"))
    assert.equal(4, #blocks)
    assert.same({ "x = 1\n", "y\n", "true\n", "f(…)\n" }, { blocks[1].text,
      blocks[2].text, blocks[3].text, blocks[4].text })
    assert.equal("/etc/x", blocks[2].file)
    assert.is_true(blocks[3].hidden)
    assert.equal("as it is", blocks[4].sketch)
    assert.has_error(function() document.blocks "```lua\nx" end)
  end)

  it("knows what differs from run to run, and what does not", function()
    local same = document.same
    assert.is_true(same({ "version 46006b7f: 12 files, 1.2 MiB" },
      { "version 5c9ffefa: 1804 files, 55.2 KiB" }))
    assert.is_false(same({ "version 46006b7f: 12 files" },
      { "version 46006b7f: 12 directories" }))
    assert.is_true(same({ "a", "b", "c", "d" }, { "a", "…", "d" }))
    assert.is_true(same({ "a" }, { "a", "…" }))
    assert.is_false(same({ "a", "b" }, { "a" }))
    assert.is_false(same({ "a" }, { "a", "b" }))
    assert.is_true(same({}, {}))
  end)

  it("finds what fails and what is not said", function()
    local told
    local stand_in = { write = function() end,
      run = function() return told end }
    local function console(said, text)
      told = said
      return pcall(document.run, stand_in, { line = 1, language = "console",
        text = text })
    end
    local MARK = "\030\031\030"
    assert.is_true(console("a\n" .. MARK .. "0\n", "$ echo a\na\n"))
    assert.is_false(console("b\n" .. MARK .. "0\n", "$ echo a\na\n"))
    assert.is_false(console("a\n" .. MARK .. "1\n", "$ echo a\na\n"))
    assert.is_false(console("a\n", "$ echo a\na\n"))
  end)
end)
