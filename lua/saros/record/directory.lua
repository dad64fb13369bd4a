---@private
-- Where records lie: in STATE/runs. For who writes one it is made, for its owner
-- alone; who only looks makes nothing.

local core = require "saros.core"

local directory = {}

local function did(step)
  local op <close> = core.entries { step }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result[1]
end

--- Its path; nil: there are no records, and nothing is made for that.
function directory.path(state_dir)
  local state = core.directory("state", state_dir, false)
  return state and state .. "/runs"
end

--- Its path, when it is there. Waits. Raises.
function directory.made(state_dir)
  local path = core.directory("state", state_dir) .. "/runs"
  if did { "look", path } then return path end
  local good, why = pcall(did, { "make", path })
  -- Somebody else was quicker, perhaps.
  if not good and why.errno ~= 17 then error(why, 0) end
  return path
end

--- The names of all records in a directory, the oldest first. Waits. Raises.
function directory.names(path)
  local list = {}
  if not path or not did { "look", path } then return list end
  for _, name in ipairs(did { "names", path }) do
    if name:find "^%d+T%d+Z%-%x+%.jsonl$" then list[#list + 1] = name end
  end
  return list
end

--- Waits until what was written to a file is on the disk. Raises.
function directory.settle(path) did { "flush", path } end

return directory
