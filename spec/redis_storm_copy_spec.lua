-- A Redis that many write to, while its files are copied one after the other.
require "spec.helper"
local storm = require "spec.redis_storm"

local function test(name, round)
  it(name, function()
    local why = round()
    if why then pending(why) end
  end)
end

describe("a storm of writes to Redis", function()
  storm("copy", true, 2, test)
end)
