---@private
-- Texts and figures for a person: what `tostring` of results is made of. Names
-- of files, of jobs, of hosts are somebody else's: nothing of them reaches a
-- terminal that could move its cursor.

local text = {}

--- Control characters as they are written.
function text.safe(given)
  given = tostring(given):gsub("[%c]", function(c)
    return ("\\x%02x"):format(c:byte())
  end)
  return (given:gsub("\xC2([\x80-\x9F])", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
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

--- "2026-11-21T21:42:08.999388971Z", as a person reads it.
function text.clock(time)
  local day, hour, zone = tostring(time):match
    "^(%d+%-%d+%-%d+)T(%d+:%d+:%d+)[%d.]*(.*)$"
  if not day then return text.safe(time) end
  return ("%s %s %s"):format(day, hour,
    zone == "Z" and "UTC" or text.safe(zone))
end

return text
