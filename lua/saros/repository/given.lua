---@private
-- Whether what somebody has said of a repository's care is what `repo:forget` and
-- `repo:check` take: known before anything is done, and not behind all of it.

local given = {}

--- How many versions a rule keeps.
function given.is_count(n)
  return n == "unlimited" or math.type(n) == "integer" and n >= -1
    and n <= 0x7fffffff
end

--- "1y5m7d2h"
function given.is_span(text)
  return text ~= "" and not text:gsub("%d+[ymdh]", ""):find "."
end

--- How much of the data is read: true, "10%", "5G", "1/7", or bytes.
function given.is_share(share)
  if type(share) ~= "string" then
    return type(share) ~= "number" or share > 0
  end
  if #share > 20 then return false end
  local n, of = share:match "^(%d+)/(%d+)$"
  if n then
    n, of = math.tointeger(tonumber(n)), math.tointeger(tonumber(of))
    return n and of and 1 <= n and n <= of and of <= 256
  end
  local percent = tonumber(share:match "^(%d+%.?%d*)%%$")
  if percent then return 0 < percent and percent <= 100 end
  return share:find "^%d+[KMGT]?$" and share:find "[1-9]"
end

return given
