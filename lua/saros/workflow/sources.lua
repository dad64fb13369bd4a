---@private
-- What a run backs up, as it is now: the paths of its sources, and the writers of
-- its applications.

local files = require "saros.wsb.files"
local options = require "saros.workflow.options"

local sources = {}

local function add_source(list, source, where)
  if not source.resolve then
    list[#list + 1] = source
    return
  end
  local found, why = source.resolve()
  if not found and why ~= nil then error(why, 0) end
  if type(found) ~= "table" or found.path ~= nil then found = { found } end
  for _, one in ipairs(found) do
    local good, made = pcall(options.source, where, one)
    if not good then error(made, 0) end
    if made.resolve then
      files.fail("E_INVALIDARG", "saros.workflow: %s: a function returned a "
        .. "function", where)
    end
    for _, hook in ipairs { "before", "after", "failed", "finally" } do
      if made[hook] then
        files.fail("E_INVALIDARG", "saros.workflow: %s: what a function "
          .. "returns has no hooks; '%s' goes to the source itself, beside "
          .. "path = f", where, hook)
      end
    end
    for _, pattern in ipairs(source.exclude or {}) do
      made.exclude = made.exclude or {}
      table.insert(made.exclude, pattern)
    end
    list[#list + 1] = made
  end
end

-- Each once, and without those that lie in others: with these they come, unless
-- they are a file system of their own, whose shadow is another one.
local function outermost(paths)
  local kept, device, looks = files.outermost(paths), {}, {}
  for i, path in ipairs(paths) do looks[i] = { "look", path } end
  for i, found in ipairs(files.steps(looks)) do
    if not found then
      files.fail("E_FAIL", "%s is not there: nothing of it can be backed up",
        paths[i])
    end
    device[paths[i]] = found.id:match "^%d+:%d+"
  end
  for _, path in ipairs(paths) do
    for _, top in ipairs(kept) do
      if files.within(path, top) and device[path] ~= device[top] then
        files.fail("E_INVALIDARG", "%s lies in %s and is a file system of its "
          .. "own: one version cannot have both; name what else is wanted of "
          .. "%s, or make it a workflow of its own", path, top, top)
      end
    end
  end
  return kept
end

--- The paths and the patterns, as they are now. Raises.
function sources.resolve(o)
  local list, paths, exclude = {}, {}, table.move(o.exclude, 1, #o.exclude, 1,
    {})
  for i, source in ipairs(o.sources) do
    add_source(list, source, ("sources[%d]"):format(i))
  end
  for _, source in ipairs(list) do
    local path = files.plain(source.path)
    paths[#paths + 1] = path
    for _, pattern in ipairs(source.exclude or {}) do
      exclude[#exclude + 1] = pattern:sub(1, 1) == "/" and pattern
        or files.escape(path == "/" and "" or path) .. "/**/" .. pattern
    end
  end
  if #paths == 0 then
    files.fail("E_INVALIDARG", "there is nothing to back up: the sources "
      .. "named no path")
  end
  return outermost(paths), exclude
end

--- Opens all writers; closing what is returned closes them. Raises.
function sources.open_writers(o)
  local open = setmetatable({}, { __close = function(list)
    for i = #list, 1, -1 do pcall(list[i].close, list[i]) end
  end })
  local good, why = pcall(function()
    for _, one in ipairs(o.writers) do
      local w, none = one.open(o.state_dir)
      if not w and none ~= nil then error(none, 0) end
      if type(w) ~= "table" and type(w) ~= "userdata" then
        files.fail("E_INVALIDARG", "saros.workflow: %s returned no writer",
          one.where)
      end
      open[#open + 1] = w
    end
  end)
  if good then return open end
  getmetatable(open).__close(open)
  error(why, 0)
end

return sources
