-- What the documents tell their readers to do is done, block by block.
local volumes = require "spec.volumes" -- first: before there are threads
local document = require "spec.document"
local outside = require "spec.outside"
local world = require "spec.world"

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

local missing = volumes.missing or world.missing()
local files = outside.run("sh", "-c", "ls ${SAROS_DOCUMENTS:-README.md examples/*.md} 2>/dev/null")

for name in files:gmatch "[^\n]+" do
  describe(name, function()
    if missing then
      pending(missing)
      return
    end
    local w, broken
    teardown(function() if w then w:__close() end end)
    for _, block in ipairs(document.blocks(outside.content(name))) do
      if block.language ~= "text" or block.file then
        it(("holds at line %d"):format(block.line), function()
          assert(not broken, broken)
          broken = ("line %d before it does not hold"):format(block.line)
          w = w or world.start()
          document.run(w, block)
          broken = nil
        end)
      end
    end
  end)
end
