---@private
-- A component's files, from a version to a tree: what a recovery, a drill and a
-- hand that lays them have in common. Each file comes to root .. its path, and
-- the additions over them. Nothing is started, and nothing is settled.

local files = require "saros.wsb.files"
local manifest = require "saros.wsb.manifest"

local fail, join = files.fail, files.join

-- What a restore could not give back as it was is no restore of a database.
local function restored(repo, options, what)
  local r = files.finish(repo:restore(options))
  local first = r.errors[1]
  if first then
    fail("SAROS_E_DAMAGED", "%s could not be restored whole: %s: %s%s", what,
      tostring(first.path), tostring(first.message), #r.errors > 1
      and (" (and %d more)"):format(#r.errors - 1) or "")
  end
  return r
end

-- The way from the root to there is made of directories: by a link, what is
-- laid would come to somewhere else.
local function check_way(root, path)
  local at = root == "/" and "" or root
  local list = {}
  for name in path:gmatch "[^/]+" do
    at = at .. "/" .. name
    list[#list + 1] = { "look", at }
  end
  for i, found in ipairs(files.steps(list)) do
    if found and found.type ~= "dir" then
      fail("SAROS_E_REFUSED", "%s is a %s: what belongs into it would be laid "
        .. "somewhere else", list[i][2], found.type)
    end
  end
end

-- Nothing but files and directories, and none where the tree has a link.
local function check_addition(repo, id, from, root, to)
  local ls = files.finish(repo:ls { version = id, path = from })
  for _, node in ipairs(ls.items) do
    if node.type ~= "file" and node.type ~= "dir" then
      fail("SAROS_E_REFUSED", "%s of version %s is a %s: what a writer adds "
        .. "are files and directories", node.path, id:sub(1, 8), node.type)
    end
    local rest = node.path:sub(#from + 1)
    if node.type == "dir" then check_way(root, to .. rest) end
  end
end

--- Lays the files of a component below `root`, which is there. Raises.
---@param repo saros.repository.handle
---@param m table the manifest, of catalogue.read
---@param c table its component
---@param root string
local function lay(repo, m, c, root)
  local include = {}
  for i, path in ipairs(c.files) do include[i] = files.escape(path) end
  if #include == 0 then
    fail("E_INVALIDARG", "the component %s names no files", c.name)
  end
  local what = ("the component %s of version %s"):format(c.name, m.id:sub(1, 8))
  restored(repo, { version = m.id, target = root, include = include,
    overwrite = "always" }, what)
  local looks, there = {}, false
  for i, path in ipairs(c.files) do looks[i] = { "look", join(root, path) } end
  for _, found in ipairs(files.steps(looks)) do there = there or found end
  if not there then
    fail("SAROS_E_DAMAGED", "%s: none of its files is in the version", what)
  end
  for _, one in ipairs(c.additions) do
    local id = one.version or m.id
    local from = (one.directory or manifest.DIRECTORY) .. "/" .. one.from
    local to = join(root, one.to)
    check_way(root, one.to)
    check_addition(repo, id, from, root, one.to)
    restored(repo, { version = id .. ":" .. from:sub(2), target = to,
      overwrite = "always" }, what)
  end
end

return lay
