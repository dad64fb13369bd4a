---@private
-- The programs that lie beside the core.

local found <const> = {}

local function find(name)
  local module = package.searchpath("saros.core", package.cpath)
  local path = module and module:gsub("[^/]*$", name) or "saros-" .. name
  -- It is run from elsewhere.
  if path:sub(1, 1) == "/" or not path:find "/" then return path end
  local cwd <close> = io.popen "pwd"
  return cwd:read "l" .. "/" .. path
end

--- Where this one is.
---@param name string
---@return string
return function(name)
  found[name] = found[name] or find(name)
  return found[name]
end
