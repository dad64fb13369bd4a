--- What a spec that starts servers in cells needs and has not: why, or nil. Root,
--- a repository, and these modules.
---@param ... string
---@return string?
return function(...)
  if not os.execute "test $(id -u) = 0" then return "needs root" end
  for _, name in ipairs { "spec.repository", ... } do
    local ok, module = pcall(require, name)
    if not ok then return tostring(module):match "^[^\n]*" end
    if type(module) == "table" and module.missing then return module.missing end
  end
end
