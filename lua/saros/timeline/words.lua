---@private
-- What a page says in words: times, durations, and texts of strangers. Names of
-- files, of hosts, of databases are somebody else's: nothing of them is markup,
-- moves a cursor, or turns the line that it stands in.

local text = require "saros.text"

local words = {}


-- ------------------------------------------------------------------
-- Texts
-- ------------------------------------------------------------------

--- A text of somebody else's, as it may be shown: UTF-8, and no character that
--- does anything.
---@param given any
---@return string
words.plain = text.safe

local entities <const> = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
  ['"'] = "&quot;", ["'"] = "&#39;" }

--- The same as HTML has it.
---@param given any
---@return string
function words.html(given)
  return (words.plain(given):gsub("[&<>\"']", entities))
end


-- ------------------------------------------------------------------
-- Times
-- ------------------------------------------------------------------

-- Days since 1970 of a day in the calendar.
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year
    - 719468
end

--- Milliseconds since 1970 of "2026-11-23T02:14:07.120+01:00"; nil: it is none.
---@param given any
---@return integer?
function words.instant(given)
  local year, month, day, hour, minute, second, rest = tostring(given):match
    "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.*)$"
  if not year then return nil end
  local fraction = rest:match "^%.(%d+)"
  local zone = rest:gsub("^%.%d+", "")
  local sign, zone_hour, zone_minute = zone:match "^([+-])(%d%d):?(%d%d)$"
  if not sign and zone ~= "Z" and zone ~= "z" then return nil end
  local seconds = days_of(math.tointeger(year), math.tointeger(month),
    math.tointeger(day)) * 86400 + hour * 3600 + minute * 60 + second
  if sign then
    local offset = zone_hour * 3600 + zone_minute * 60
    seconds = seconds + (sign == "+" and -offset or offset)
  end
  local ms = fraction and math.tointeger((fraction .. "00"):sub(1, 3)) or 0
  return math.tointeger(seconds) * 1000 + ms
end

--- "2026-11-23 01:14:07 UTC"
---@param ms integer since 1970
---@return string
function words.clock(ms)
  return os.date("!%Y-%m-%d %H:%M:%S UTC", ms // 1000) --[[@as string]]
end

--- "2026-11-23T01:14:07.120Z"
---@param ms integer since 1970
---@return string
function words.rfc3339(ms)
  return ("%s.%03dZ"):format(os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000),
    ms % 1000)
end

--- "38 ms", "4.2 s", "3 min 12 s", "1 h 04 min", "2 d 3 h"
---@param ms number
---@return string
function words.span(ms)
  if ms < 10 then return ("%.1f ms"):format(ms) end
  if ms < 1000 then return ("%.0f ms"):format(ms) end
  if ms < 60000 then return ("%.1f s"):format(ms / 1000) end
  local s = ms // 1000
  if s < 3600 then return ("%d min %02d s"):format(s // 60, s % 60) end
  if s < 86400 then
    return ("%d h %02d min"):format(s // 3600, s % 3600 // 60)
  end
  return ("%d d %d h"):format(s // 86400, s % 86400 // 3600)
end

--- How long ago, roughly: "now", "3 min", "26 h", "12 d"
---@param ms number
---@return string
function words.age(ms)
  local s = ms // 1000
  if s < 60 then return "a moment" end
  if s < 7200 then return ("%d min"):format(s // 60) end
  if s < 2 * 86400 then return ("%d h"):format(s // 3600) end
  return ("%d d"):format(s // 86400)
end

words.size = function(bytes) return text.size(math.tointeger(bytes) or 0) end
words.some = text.some

return words
