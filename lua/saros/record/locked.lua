---@private
-- How long a repository has been locked, for a record: asked while it is open,
-- when what was done has ended.

local core = require "saros.core"
local words = require "saros.timeline.words"
local E = require "saros.code"

local locked = {}

--- Whether there is any use in asking, after this error: not where it was
--- interrupted, or where the repository may be gone, and would be waited for.
function locked.may_ask(err)
  return err == nil or type(err) == "table" and err.code == E.SAROS_E_LOCKED
end

--- How old the oldest lock is, in seconds; 0: there is none. nil: nobody knows.
---@param repo saros.repository.handle
function locked.age(repo)
  local good, locks = pcall(repo.locks, repo)
  if not good then return nil end
  local now, oldest = core.clocks(), 0
  for _, l in ipairs(locks) do
    local since = words.instant(l.since or l.time)
    if since then oldest = math.max(oldest, now - since / 1000) end
  end
  return oldest
end

return locked
