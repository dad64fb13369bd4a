---@private
-- Texts and figures for a person: what `tostring` of results is made of. Names
-- of files, of jobs, of hosts are somebody else's: nothing of them reaches a
-- terminal that could move its cursor.

local text = {}

local function escaped(bytes)
  return (bytes:gsub(".", function(c) return ("\\x%02x"):format(c:byte()) end))
end

-- What changes the direction of a line, or ends it, without being seen:
-- U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069.
local function of_direction(lead, last)
  local b = last:byte()
  if lead == "\xE2\x80" and (b == 0x8E or b == 0x8F or b >= 0xA8 and b <= 0xAE)
    or lead == "\xE2\x81" and b >= 0xA6 and b <= 0xA9
  then
    return escaped(lead .. last)
  end
end

-- Bytes that are no UTF-8 as they are written.
local function valid(given)
  local parts, at = {}, 1
  while true do
    local _, bad = utf8.len(given, at)
    if not bad then break end
    parts[#parts + 1] = given:sub(at, bad - 1)
    parts[#parts + 1] = escaped(given:sub(bad, bad))
    at = bad + 1
  end
  parts[#parts + 1] = given:sub(at)
  return table.concat(parts)
end

--- Control characters as they are written, and what is no UTF-8.
function text.safe(given)
  given = tostring(given):gsub("[%c]", escaped)
  if not given:find "[\x80-\xFF]" then return given end
  given = valid(given):gsub("\xC2[\x80-\x9F]", escaped)
    :gsub("\xD8\x9C", escaped)
  return (given:gsub("(\xE2[\x80\x81])([\x80-\xBF])", of_direction))
end

--- The same of several lines, which stay so.
function text.lines(given)
  return (tostring(given):gsub("[^\n]+", text.safe))
end

--- "1.5 MiB"
function text.size(bytes)
  local units, at = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" }, 1
  if bytes < 1024 then return ("%d B"):format(bytes) end
  while bytes >= 1024 and at < #units do bytes, at = bytes / 1024, at + 1 end
  return ("%.1f %s"):format(bytes, units[at])
end

local plurals = { directory = "directories", entry = "entries" }

--- "2 files"
function text.some(n, word)
  return ("%d %s"):format(n, n == 1 and word or plurals[word] or word .. "s")
end

local spans <const> = { s = 1, m = 60, h = 3600, d = 86400, w = 604800 }

--- The seconds of "90s", "26h", "7d", "1d12h"; nil: it is no such text.
function text.seconds(given)
  local sum, rest = 0, tostring(given)
  repeat
    local n, unit, more = rest:match "^(%d+%.?%d*)%s*([smhdw])(.*)$"
    if not n then return nil end
    sum, rest = sum + tonumber(n) * spans[unit], more
  until rest == ""
  return sum
end

--- A short name for a text, for those who mean no harm: 16 hexadecimal digits.
function text.hash(given)
  local sum = 0xcbf29ce484222325
  for byte in given:gmatch "." do
    sum = (sum ~ byte:byte()) * 0x100000001b3
  end
  return ("%016x"):format(sum)
end

--- "2026-11-21T21:42:08.999388971Z", as a person reads it.
function text.clock(time)
  local day, hour, zone = tostring(time):match
    "^(%d+%-%d+%-%d+)T(%d+:%d+:%d+)[%d.]*(.*)$"
  if not day then return text.safe(time) end
  return ("%s %s %s"):format(day, hour,
    (zone == "Z" or zone == "+00:00") and "UTC" or text.safe(zone))
end

return text
