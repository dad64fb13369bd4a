-- A Redis without a log that many write to, while it is shadowed.
require "spec.helper"
local storm = require "spec.redis_storm"

local function test(name, round)
  it(name, function()
    local why = round()
    if why then pending(why) end
  end)
end

describe("a storm of writes to Redis", function()
  storm("btrfs", false, 5, test)
end)
