---@private
-- What is done to its end, also when who waits for it is cancelled meanwhile: a
-- cancel that came between would leave what was to be taken away. It is raised
-- when that has gone.

local core = require "saros.core"

local surely = {}

--- Waits until an operation has ended: its result, or nil and why not; and the
--- cancel that came meanwhile, which is for the caller to raise.
---@param op saros.operation
---@return any result
---@return any err
---@return any cancelled
function surely.wait(op)
  local cancelled
  repeat
    local ok, err = pcall(op.wait, op)
    if not ok then cancelled = err end
  until op:done()
  local result, err = op:result()
  op:close()
  return result, err, cancelled
end

--- The same; its result. Raises why there is none, or the cancel.
function surely.finish(op)
  local result, err, cancelled = surely.wait(op)
  if cancelled then error(cancelled, 0) end
  if result == nil then error(err, 0) end
  return result
end

--- Takes these away with all that is in them, each within its file system.
--- Raises.
---@param ... string
function surely.remove(...)
  surely.finish(core.process { argv = { "rm", "-rf", "--one-file-system", "--",
    ... } })
end

--- Makes a directory that nobody else has and nobody else may look into: where
--- it is, or nil and why it is nowhere. Raises a cancel, and then it is not there.
---@param beginning string of its path
---@return string? path
---@return any err
function surely.directory(beginning)
  local made, err, cancelled = surely.wait(core.process { argv = { "mktemp",
    "-d", "--", beginning .. "XXXXXX" } })
  local path = made and made.stdout:gsub("\n$", "") or nil
  if cancelled then
    if path then surely.remove(path) end
    error(cancelled, 0)
  end
  return path, err
end

return surely
