---@private
-- A text comes to a name at once, when all of it is on the disk: who reads there
-- sees what was before or what is now, never a part of it. What could not be
-- written leaves what was before.
--
-- Until then it lies beside, under a name that says whose it is; what a killed
-- process left there the next one takes away.

local core = require "saros.core"
local E = require "saros.code"

local publish = {}

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end

-- As it was cancelled, or why nothing was written.
local function fail(path, err)
  if err.cancelled then error(err, 0) end
  local failure = core.failure("saros", err.code, ("%s cannot be written, and "
    .. "is as it was: %s"):format(path, err.message))
  failure.cause = err
  error(failure, 0)
end

-- Names of whoever is dead: ".saros.prom.1f3a-77b2.saros-new"
local function sweep(folder, base)
  local names = finish(core.entries { { "names", folder } })[1]
  local prefix = "." .. base .. "."
  for _, name in ipairs(names) do
    if name:sub(1, #prefix) == prefix then
      local pid = name:sub(#prefix + 1):match "^(%d+)%-%x+%.saros%-new$"
      local lives = pid and io.open("/proc/" .. pid .. "/stat")
      if lives then lives:close() end
      if pid and not lives then os.remove(folder .. "/" .. name) end
    end
  end
end

--- Waits. Raises.
---@param path string
---@param text string
---@param mode? string "644": for whom it is; else for its owner alone
function publish.text(path, text, mode)
  local folder, base = path:match "^(.*)/([^/]+)$"
  if not folder then folder, base = ".", path end
  if folder == "" then folder = "/" end
  sweep(folder, base)
  local part = ("%s/.%s.%d-%s.saros-new"):format(folder, base,
    core.owner().pid, core.guid():sub(1, 8))
  local guard <close> = setmetatable({}, { __close = function(self)
    if not self.done then os.remove(part) end
  end })
  local stored <close> = core.entries { { "store", part, text } }
  local ok, err = stored:wait()
  if not ok then fail(path, err) end
  if mode then
    finish(core.process { argv = { "chmod", mode, "--", part } })
  end
  local renamed, why = os.rename(part, path)
  if not renamed then fail(path, core.failure("saros", E.E_FAIL, why)) end
  guard.done = true
end

return publish
