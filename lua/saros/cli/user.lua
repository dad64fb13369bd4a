---@private
-- Who runs the program.

local user = {}

local known

--- The effective user.
function user.id()
  if known then return known end
  local file <close> = io.open "/proc/self/status"
  local text = file and file:read "a" or ""
  known = math.tointeger(tonumber(text:match "\nUid:%s+%d+%s+(%d+)")) or -1
  return known
end

function user.is_root() return user.id() == 0 end

return user
