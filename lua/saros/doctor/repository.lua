---@private
-- Whether versions can be made and read back: in a repository of its own.

local function module(d, name, packages)
  local ok, found = pcall(require, name)
  if ok then return found end
  local text = tostring(found)
  if text:find("not found", 1, true) and text:find("no file", 1, true) then
    text = "it is not in this build"
  end
  return nil, d.last(text), "install " .. packages .. ", and build it again"
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  local ok, why = file:write(text)
  if ok then ok, why = file:flush() end -- a full disk is seen only there
  if not ok then error(("%s: %s"):format(path, why), 0) end
end

local function finished(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end

local function mounted(d, repo)
  local at = d.scratch .. "/mount"
  d.run { "mkdir", at }
  local mount <close>, err = repo:mount { at = at }
  if not mount then
    return "missing", d.message(err), d.root
      and "modprobe fuse; in a container: /dev/fuse and CAP_SYS_ADMIN"
      or "as root: only root can mount; restore and dump need nothing"
  end
  local file <close> = io.open(at .. "/snapshots/latest" .. d.scratch
    .. "/files/a")
  if not file or file:read "a" ~= "one\n" then
    return "missing", "it was mounted, and has not what it should"
  end
  return "works", "FUSE"
end

local function through(d, repository)
  local files, back = d.scratch .. "/files", d.scratch .. "/back"
  d.run { "mkdir", files }
  write(files .. "/a", "one\n")
  local repo = repository.init { location = d.scratch .. "/repository",
    password = "doctor" }
  finished(repo:backup { paths = { files } })
  finished(repo:restore { target = back, version = "latest" })
  local file <close> = assert(io.open(back .. files .. "/a"))
  assert(file:read "a" == "one\n", "what came back is not what was stored")
  finished(repo:check {})
  return repo
end

return function(d)
  local repo, opened
  d:try("repository", "versions: stored, checked, and read back", function()
    local found, why, remedy = module(d, "saros.repository",
      "libssl, zstd and curl (Debian: libssl-dev libzstd-dev "
      .. "libcurl4-openssl-dev)")
    if not found then return "missing", why, remedy end
    repo = through(d, found)
    return "works", "format 2, as restic has it"
  end)
  opened = repo
  local _ <close> = setmetatable({}, { __close = function()
    if opened then opened:close() end
  end })
  d:try("mount", "looking at versions as directories", function()
    if not repo then return "untried", "there is no repository to mount" end
    return mounted(d, repo)
  end)
end
