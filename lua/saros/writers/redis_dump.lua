---@private
-- A dump that a Redis server has made, laid out as what is to be loaded: a log,
-- where a server has one, begins with a dump.

local core = require "saros.core"

local dump = {}

function dump.exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function run(...)
  local op <close> = core.process { argv = { ... } }
  local ok, err = op:wait()
  if not ok then error(err, 0) end
end

-- The same owner, and the same rights.
local function like(model, path)
  run("chown", "--reference=" .. model, "--", path)
  run("chmod", "--reference=" .. model, "--", path)
end

local function copy(from, to)
  run("cp", "-a", "--reflink=auto", "--", from, to)
end

--- Copies the dump of a server with this layout into the new directory `stage`,
--- by the name that a server loads which starts on these files. Raises.
function dump.lay(l, stage)
  local from = l.dir .. "/" .. l.rdb
  run("mkdir", "-p", "--", stage)
  like(l.dir, stage)
  if not l.appendonly then
    copy(from, stage .. "/" .. l.rdb)
  elseif not l.aof_dir then
    copy(from, stage .. "/" .. l.aof)
  else
    local own, was = stage .. "/" .. l.aof_dir, l.dir .. "/" .. l.aof_dir
    -- A name that no server gives: never one that is there already.
    local base = l.aof .. ".dump.base.rdb"
    run("mkdir", "-p", "--", own)
    copy(from, own .. "/" .. base)
    local manifest = own .. "/" .. l.aof .. ".manifest"
    local file <close> = assert(io.open(manifest, "w"))
    assert(file:write(("file %s seq 1 type b\n"):format(base)))
    assert(file:close())
    like(from, manifest)
    like(dump.exists(was) and was or l.dir, own)
  end
end

return dump
