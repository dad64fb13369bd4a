---@private
-- The files of a cluster as they lie in a place, and the programs of its
-- version. What a version says is somebody else's word: paths are looked at
-- before they are used, and no program is run because it is named there.

local core = require "saros.core"
local E = require "saros.code"

local files = {}


-- ------------------------------------------------------------------
-- Errors
-- ------------------------------------------------------------------

--- It is not whole.
function files.damaged(problems, text, ...)
  local err = core.failure("wsb",
    E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, text:format(...))
  err.problems = problems
  return err
end

--- f, which raises how it failed, as a function that returns that.
function files.told(f)
  return function(...)
    local ok, result, err = pcall(f, ...)
    if ok then return result, err end
    if type(result) == "table" and result.cancelled then error(result, 0) end
    return nil, result
  end
end

--- Nothing was found out.
function files.untried(text, ...)
  local err = core.failure("wsb", E.E_FAIL,
    "the check could not be run: " .. text:format(...))
  err.untried = true
  return err
end

function files.refused(text, ...)
  return core.failure("wsb", E.SAROS_E_REFUSED, text:format(...))
end


-- ------------------------------------------------------------------
-- Programs and small files
-- ------------------------------------------------------------------

--- Runs a program to its end: what it wrote. Raises.
function files.run(...)
  local op <close> = core.process { argv = { ... }, limit = 16 << 20,
    env = { LC_ALL = "C" } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result.stdout
end

function files.content(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

function files.exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

--- Adds to a small file, or makes it. Raises.
function files.write(path, text, mode)
  local file <close>, why = io.open(path, mode or "w")
  if not file then error(files.refused("%s", why), 0) end
  local ok, err = file:write(text)
  if ok then ok, err = file:flush() end -- a full disk is seen only there
  if not ok then error(files.refused("%s: %s", path, err), 0) end
end

--- Whether we are root: it tells who else we can be.
function files.is_root()
  files.root = files.root or files.run("id", "-u"):match "%d+"
  return files.root == "0"
end

--- Gives paths to the owner of the place, when we can.
function files.give(place, ...)
  if not files.is_root() then return end
  files.run("chown", "-h", ("%d:%d"):format(place.owner.uid,
    place.owner.gid), "--", ...)
end

-- Without "." and "..", which is right where nothing on the way is a link.
function files.clean(path)
  local parts = {}
  for name in path:gmatch "[^/]+" do
    if name == ".." then
      parts[#parts] = nil
    elseif name ~= "." then
      parts[#parts + 1] = name
    end
  end
  return "/" .. table.concat(parts, "/")
end

function files.is_path(path)
  return type(path) == "string" and path:sub(1, 1) == "/"
    and not path:find "[\0\n\r]" and not (path .. "/"):find("/../", 1, true)
end

function files.within(path, directory)
  return path == directory or path:sub(1, #directory + 1) == directory .. "/"
    or directory == "/"
end


-- ------------------------------------------------------------------
-- The cluster
-- ------------------------------------------------------------------

local function first_path(list)
  return type(list) == "table" and list[1] or nil
end

---@class saros.writers.postgres_kind.cluster
---@field original string the data directory where it was
---@field data string the data directory where it lies
---@field version string "15"
---@field said table

--- The cluster of a component in a place; nil, err.
function files.cluster(c, place)
  local said = type(c.said) == "table" and c.said or {}
  local original = said.data_directory or first_path(c.files)
  if not files.is_path(original) then
    return nil, files.refused("the component %s does not say where its data "
      .. "directory was", tostring(c.name))
  end
  original = files.clean(original)
  local data = place:at(original)
  -- A version may have it by the name of a link that led there.
  local other = first_path(c.files)
  if not data and files.is_path(other) then data = place:at(other) end
  if not data then
    return nil, files.damaged(nil,
      "the data directory %s is not among the files", original)
  end
  local text = files.content(data .. "/PG_VERSION")
  local version = text and text:match "^(%d+)%s*$"
    or text and text:match "^(9%.%d)%s*$"
  if not version then
    return nil, files.damaged(nil, "%s has no PG_VERSION that can be "
      .. "understood: it is no data directory of PostgreSQL", original)
  end
  return { original = original, data = data, version = version, said = said }
end

-- Where packages put the programs of a version.
local function directories(version)
  local list = { ("/usr/lib/postgresql/%s/bin"):format(version),
    ("/usr/pgsql-%s/bin"):format(version) }
  for path in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    if path:sub(1, 1) == "/" then list[#list + 1] = path end
  end
  return list
end

--- The directory with the programs of this major version, or nil.
function files.programs(version)
  for _, directory in ipairs(directories(version)) do
    local postgres = directory .. "/postgres"
    if files.exists(postgres) then
      local said = files.run(postgres, "--version")
      local is = said:match "%s(%d+%.?%d*)"
      if is == version or is and is:match "^[^.]*" == version then
        return directory, said:match "(PostgreSQL%)? [%d.]+)" and
          "PostgreSQL " .. is
      end
    end
  end
  return nil
end

return files
