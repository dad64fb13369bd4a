-- A Redis with a log of its own that many write to, while it is shadowed.
require "spec.helper"
local storm = require "spec.redis_storm"

local function test(name, round)
  it(name, function()
    local why = round()
    if why then pending(why) end
  end)
end

describe("a storm of writes to Redis", function()
  storm("btrfs", true, 3, test)
end)
