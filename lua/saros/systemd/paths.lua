---@private
-- Where a workflow writes: shadow copies lie on the file system of what they are
-- of, or of the file that this lies in; versions in their repository.

local paths = {}

-- "/mnt/a\040b" as it is called.
local function decoded(text)
  return (text:gsub("\\(%d%d%d)", function(digits)
    return string.char(tonumber(digits, 8))
  end))
end

local function content(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

--- Mounts, as /proc/self/mountinfo has them: { path, type, source, device }.
function paths.mounts(text)
  local list = {}
  for line in (text or content "/proc/self/mountinfo" or ""):gmatch "[^\n]+" do
    local device, path, kind, source = line:match
      "^%S+ %S+ (%S+) %S+ (%S+) .- %- (%S+) (%S+)"
    if path then
      list[#list + 1] = { path = decoded(path), type = kind,
        source = decoded(source), device = device }
    end
  end
  return list
end

-- The last of those that cover it: later ones lie on top.
local function mount_of(mounts, path)
  local found
  for _, m in ipairs(mounts) do
    local covers = m.path == "/" or path == m.path
      or path:sub(1, #m.path + 1) == m.path .. "/"
    if covers and (not found or #m.path >= #found.path) then found = m end
  end
  return found
end

local function backing_file(source)
  local name = source:match "^/dev/(loop%d+)"
  local file = name and content("/sys/block/" .. name .. "/loop/backing_file")
  return file and file:gsub("\n$", "")
end

-- What LVM's own programs write to when they make a snapshot, beside disks.
local lvm <const> = { "/etc/lvm", "/run/lock", "/run/lvm" }

local function is_logical(m)
  return (content("/sys/dev/block/" .. m.device .. "/dm/uuid") or "")
    :find "^LVM%-" ~= nil
end

-- Of the file system of everything only the place of the shadows.
local function add_volume(set, mounts, path, depth)
  local m = mount_of(mounts, path)
  if not m then return end
  set[m.path == "/" and "/.saros-shadows" or m.path] = true
  if is_logical(m) then set.disks = true end
  local file = depth < 4 and backing_file(m.source)
  if file then add_volume(set, mounts, file, depth + 1) end
end

local function each(list, f)
  if type(list) == "string" then list = { list } end
  for _, one in ipairs(type(list) == "table" and list or {}) do f(one) end
end

-- What is a path: given as one, or in a table as `name`.
local function path_of(one, name)
  if type(one) == "table" then one = one[name] end
  return type(one) == "string" and one:sub(1, 1) == "/" and one or nil
end

--- Where a workflow with these options writes, in order, beside what every one
--- does; `disks` in it: to disks as well. `more`: files that are written besides
--- (metrics).
---@param options table
---@param more? string[]
---@param mounts? table as paths.mounts has them
---@return string[]
function paths.of(options, more, mounts)
  local set, list = {}, {}
  mounts = mounts or paths.mounts()
  each(options.sources, function(one)
    local path = path_of(one, "path")
    if path then add_volume(set, mounts, path, 0) end
  end)
  for _, name in ipairs { "to", "repository" } do
    each(options[name], function(one)
      local path = path_of(one, "location")
      if path then set[path] = true end
    end)
  end
  if path_of(options.state_dir) then set[options.state_dir] = true end
  each(more, function(file)
    local directory = file:match "^(/.*)/[^/]+$"
    if directory then set[directory] = true end
  end)
  list.disks, set.disks = set.disks, nil
  if list.disks then each(lvm, function(path) set[path] = true end) end
  for path in pairs(set) do list[#list + 1] = path end
  table.sort(list)
  return list
end

return paths
