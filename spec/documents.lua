---@private
-- Describes what documents tell their readers to do: it is done, block by block,
-- in a world of each one's own. For suites.

local volumes = require "spec.volumes" -- first: before there are threads
local document = require "spec.document"
local outside = require "spec.outside"
local world = require "spec.world"

-- Those that take long have suites of their own; the rest shares one.
local apart <const> = { ["README.md"] = true, ["examples/cookbook.md"] = true,
  ["examples/databases.md"] = true, ["examples/getting-started.md"] = true }

local missing = volumes.missing or world.missing()

-- `suite` is the environment of a suite, which has busted's words.
local function told(suite, name)
  suite.describe(name, function()
    if missing then
      suite.pending(missing)
      return
    end
    local w, broken
    suite.teardown(function() if w then w:__close() end end)
    for _, block in ipairs(document.blocks(outside.content(name))) do
      if block.language ~= "text" or block.file then
        suite.it(("holds at line %d"):format(block.line), function()
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

--- Describes this one, or all that have no suite of their own.
return function(suite, name)
  if name then
    assert(apart[name], name .. " is in the suite of the others")
    return told(suite, name)
  end
  local all = outside.run("sh", "-c", "ls README.md examples/*.md")
  for one in all:gmatch "[^\n]+" do
    if not apart[one] then told(suite, one) end
  end
end
