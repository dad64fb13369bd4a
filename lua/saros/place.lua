---@private
-- Places: writable copies that are nobody else's, where an application's files
-- lie at `root` .. their path. In a place a check may start a server, and a
-- drill does; whatever is in there goes with it.
--
-- A place is a directory of a scratch directory, and its name says whose it is:
-- process, boot and namespace. What a dead owner left the next one in the same
-- scratch directory takes away.

local core = require "saros.core"
local E = require "saros.code"
local surely = require "saros.surely"

local place = {}

local PREFIX <const> = "saros-p."

---@class saros.place
---@field root string where it lies: of a file of "/srv/app/db", root .. "/srv/app/db"
---@field owner { uid: integer, gid: integer } of whom its files are
---@field patience number seconds that a server there has to come to its end before it is killed (60)
---@field drilled? boolean what is in there may be anybody's: no server is started on it but in a cell
---@field private base string
local methods = { patience = 60 }
methods.__index = methods


-- ------------------------------------------------------------------
-- Programs
-- ------------------------------------------------------------------

-- To its end, which is that of the wait, also when that is cancelled.
local function run(...)
  local op <close> = core.process { argv = { ... }, limit = 16 << 20 }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result.stdout
end

local function fail(code, ...)
  error(core.failure("saros", code, string.format(...)), 0)
end

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

-- What is in a version was written by others.
local function is_path(path)
  return type(path) == "string" and path:sub(1, 1) == "/"
    and not path:find("\0", 1, true)
    and not (path .. "/"):find("/../", 1, true)
end


-- ------------------------------------------------------------------
-- Whose
-- ------------------------------------------------------------------

-- When a process started; nil: there is none, or it is dead and nobody has
-- asked how.
local function start_of(pid)
  local text = content(("/proc/%s/stat"):format(pid))
  local rest = text and text:match "^.*%)%s+(.*)$"
  if not rest then return nil end
  local fields = {}
  for word in rest:gmatch "%S+" do fields[#fields + 1] = word end
  if fields[1] == "Z" or fields[1] == "X" then return nil end
  return fields[20]
end

local function us()
  local stat = content "/proc/self/stat" or ""
  local boot = content "/proc/sys/kernel/random/boot_id" or ""
  local space = run("readlink", "/proc/self/ns/pid"):match "%[(%d+)%]"
  local pid = stat:match "^%d+"
  return { pid = pid or "0", start = pid and start_of(pid) or "0",
    boot = boot:sub(1, 8), space = ("%x"):format(tonumber(space) or 0) }
end

local count = 0

-- Short: a socket's path has 107 bytes.
local function name_of(who)
  count = count + 1
  return ("%s%x.%x.%s.%s.%x"):format(PREFIX, tonumber(who.pid),
    tonumber(who.start), who.boot, who.space, count)
end

-- Whether its owner is surely dead.
local function is_left(name, who)
  local pid, start, boot, space = name:sub(#PREFIX + 1)
    :match "^(%x+)%.(%x+)%.(%x+)%.(%x+)%.%x+$"
  if not pid then return false end
  if boot ~= who.boot then return #boot == 8 and #who.boot == 8 end
  if space ~= who.space then return false end
  local now = start_of(tonumber(pid, 16))
  return now == nil or tonumber(now) ~= tonumber(start, 16)
end

local function scratch_of(scratch)
  return scratch or os.getenv "TMPDIR" or "/var/tmp"
end

--- Takes away what dead owners left in this scratch directory; how many places
--- that were. Raises.
---@param scratch? string $TMPDIR, or /var/tmp
---@return integer
function place.sweep(scratch)
  scratch = scratch_of(scratch)
  local who, number = us(), 0
  local list = run("find", scratch .. "/", "-mindepth", "1", "-maxdepth", "1",
    "-type", "d", "-user", run("id", "-u"):match "%d+", "-name", PREFIX .. "*",
    "-printf", "%f\n")
  for name in list:gmatch "[^\n]+" do
    if is_left(name, who) then
      surely.remove(scratch .. "/" .. name)
      number = number + 1
    end
  end
  return number
end


-- ------------------------------------------------------------------
-- A place
-- ------------------------------------------------------------------

--- Where what lay at this path lies now; nil: there is no such thing here.
---@param path string absolute
---@return string?
function methods:at(path)
  if not is_path(path) then return nil end
  local here = self.root .. path:gsub("/+$", "")
  return exists(here) and here or nil
end

--- Removes it with all that is in it.
function methods:close()
  local base = self.base
  self.base = nil
  if base then surely.remove(base) end
end

methods.__close = methods.close

--- Whether its file system has no room left: fewer bytes than these (1 MiB).
---@param least? integer
function methods:is_full(least)
  local blocks, size = run("stat", "-f", "-c", "%a %S", "--", self.root)
    :match "(%d+) (%d+)"
  return tonumber(blocks) * tonumber(size) < (least or 1 << 20)
end

--- Leaves the files where somebody can look at them; returns where that is.
function methods:keep()
  local kept = self.base:gsub("[^/]*$", "saros-kept" .. self.base:match
    "saros%-p([^/]*)$")
  run("mv", "-T", "--", self.base, kept)
  self.base = nil
  return kept .. "/p"
end

function methods:__tostring() return "place " .. self.root end

-- Everything above `path` in the place, the outermost first.
local function above(self, path)
  local list, at = {}, self.root
  for name in path:gmatch "/([^/]+)%f[/]" do
    at = at .. "/" .. name
    list[#list + 1] = at
  end
  return list
end

-- What a server writes to by a link could be anybody's: the file itself, or the
-- directory, must be in here. What lies in that is the business of its kind.
local function check_no_link(self, path)
  local here = self.root .. path:gsub("/+$", "")
  local op <close> = core.process { any_status = true,
    argv = { "readlink", "--", here } }
  local found, err = op:wait()
  if not found then error(err, 0) end
  if found.status == 0 then
    fail(E.SAROS_E_REFUSED, "%s is a symbolic link, to %s: what an application "
      .. "would do to it, it would do there", here,
      (found.stdout:gsub("\n$", "")))
  end
end

-- The directories on the way belong to the owner; none is a link, which could
-- lead anywhere.
local function open_way(self, path, make)
  local u = ("%d:%d"):format(self.owner.uid, self.owner.gid)
  for _, directory in ipairs(above(self, path)) do
    if make then run("mkdir", "-p", "-m", "700", "--", directory) end
    local kind = run("stat", "-c", "%F", "--", directory):gsub("\n", "")
    if kind ~= "directory" then
      fail(E.SAROS_E_REFUSED, "%s: on the way to a file of the application "
        .. "there is a %s, where a directory was expected", directory, kind)
    end
    run("chown", u, "--", directory)
    run("chmod", "u+rwx", "--", directory)
  end
end

local function owner_of(path)
  local uid, gid = run("stat", "-c", "%u %g", "--", path):match "(%d+) (%d+)"
  return { uid = math.tointeger(uid), gid = math.tointeger(gid) }
end

-- The owner comes to it by directories that are not his.
local function check_scratch(scratch)
  if not is_path(scratch) then
    fail(E.E_INVALIDARG, "the scratch directory must be an absolute path, not "
      .. "%q", tostring(scratch))
  end
  local real = run("realpath", "-e", "--", scratch):gsub("\n$", "")
  local at = ""
  for name in real:gmatch "[^/]+" do
    at = at .. "/" .. name
    local mode = run("stat", "-c", "%a", "--", at):match "%d+"
    if tonumber(mode, 8) & 1 == 0 then
      fail(E.E_ACCESSDENIED, "%s: the owner of an application's files cannot "
        .. "come through it (mode %s) to a copy in %s; name another scratch "
        .. "directory, or let others pass (chmod o+x)", at, mode, scratch)
    end
  end
  return real
end

--- Whoever would start a server beside us, because there can be no cell, asks:
--- what is of a version, and not of this machine's shadow, may be anybody's, and
--- none is started as root. Raises.
---@param p saros.place
function place.may_go_without(p)
  local why = p.drilled and "nothing of a version is started outside of one"
    or p.owner.uid == 0 and run("id", "-u"):match "%d+" == "0"
    and "its files are root's: no server is started as root outside of one"
  if not why then return end
  local err = core.failure("saros", E.E_ACCESSDENIED,
    "there can be no cell here, and " .. why)
  err.untried = true
  error(err, 0)
end

--- Those of these paths, where production has its files, that are there and lie
--- outside of the place: what nobody in a cell is to see.
---@param p saros.place
---@param paths string[]
---@return string[]
function place.outside(p, paths)
  local list = {}
  for _, path in ipairs(type(paths) == "table" and paths or {}) do
    local inside = is_path(path)
      and (p.root .. "/"):sub(1, #path + 1) == path .. "/"
    if is_path(path) and not inside and exists(path) then
      list[#list + 1] = path
    end
  end
  return list
end

--- The directory `root`/run for what a server makes: its socket, its log. What
--- was restored may have one of that name, and links in it that lead to where
--- we, who write there as root, must not: a directory it must be, and what it
--- has by these names goes. Raises.
---@param p saros.place
---@param ... string names of files
---@return string
function place.room(p, ...)
  local here = p.root .. "/run"
  run("mkdir", "-p", "-m", "700", "--", here)
  local kind = run("stat", "-c", "%F", "--", here):gsub("\n", "")
  if kind ~= "directory" then
    fail(E.SAROS_E_REFUSED, "%s: there is a %s, where a server's directory was "
      .. "to be made", here, kind)
  end
  run("chown", ("%d:%d"):format(p.owner.uid, p.owner.gid), "--", here)
  for _, name in ipairs { ... } do
    run("rm", "-f", "--", here .. "/" .. name)
  end
  return here
end

-- Removes it when the block that makes it is left in a hurry.
local function unless_done(self)
  return setmetatable({}, { __close = function(guard)
    if not guard.done then self:close() end
  end })
end

--- An empty place. Raises.
---@param options { scratch: string?, owner: { uid: integer, gid: integer }? }
---@return saros.place
function place.new(options)
  local scratch = scratch_of(options.scratch)
  place.sweep(scratch)
  local root = run("id", "-u"):match "%d+" == "0"
  if root then scratch = check_scratch(scratch) end
  local base = scratch .. "/" .. name_of(us())
  local self = setmetatable({ base = base, root = base .. "/p" }, methods)
  self.owner = options.owner
    or { uid = math.tointeger(run("id", "-u"):match "%d+"),
      gid = math.tointeger(run("id", "-g"):match "%d+") }
  local guard <close> = unless_done(self)
  run("mkdir", "-m", "711", "--", base)
  run("mkdir", "-m", "700", "--", self.root)
  if root then
    run("chown", ("%d:%d"):format(self.owner.uid, self.owner.gid), "--",
      self.root)
  end
  guard.done = true
  return self
end

--- The files that were laid into the place are of this component: its owner is
--- theirs, and comes to all of them. Raises when links are in the way.
---@param paths string[] where they lay
---@return saros.place self
function methods:adopt(paths)
  local found
  for _, path in ipairs(paths) do
    if not is_path(path) then
      fail(E.SAROS_E_REFUSED, "%q is no path that can be in a place",
        tostring(path))
    end
    check_no_link(self, path)
    local here = self:at(path)
    if here and not found then
      found = true
      self.owner = owner_of(here)
      run("chown", ("%d:%d"):format(self.owner.uid, self.owner.gid), "--",
        self.root)
    end
    if here then open_way(self, path) end
  end
  if not found then
    fail(E.E_FAIL, "none of the files is there: %s", table.concat(paths, ", "))
  end
  return self
end

--- The same of a tree that somebody else has made and removes.
---@param options { root: string, paths: string[] }
---@return saros.place
function place.of_tree(options)
  local self = setmetatable({ root = options.root }, methods)
  return self:adopt(options.paths)
end


-- ------------------------------------------------------------------
-- Of a shadow
-- ------------------------------------------------------------------

-- Without those that lie in others, the outer ones first.
local function outermost(paths, at)
  local list, kept = { table.unpack(paths) }, {}
  table.sort(list)
  for _, path in ipairs(list) do
    local inside = false
    for _, one in ipairs(kept) do
      -- Of what lies on another volume the shadow is another one, too.
      inside = inside or (path .. "/"):sub(1, #one + 1) == one .. "/"
        and at(path) == at(one) .. path:sub(#one + 1)
    end
    if not inside then kept[#kept + 1] = path end
  end
  return kept
end

local function copy(from, to)
  local op <close> = core.copy { from = from, to = to }
  local ok, err = op:wait()
  if not ok then error(err, 0) end
end

--- A writable copy of what lies in shadows. Blocks are shared where the file
--- system can, which it does within one file system. Raises.
---@param options { paths: string[], at: (fun(path: string): string?), scratch: string?, owner: table? }
---@return saros.place
function place.of_shadow(options)
  local at, there = options.at, {}
  for _, path in ipairs(options.paths) do
    local from = is_path(path) and at(path)
    if not from then
      fail(E.E_INVALIDARG, "%s is in none of the shadows", tostring(path))
    end
    if exists(from) then there[#there + 1] = (path:gsub("(.)/+$", "%1")) end
  end
  if #there == 0 then
    fail(E.E_FAIL, "none of the files is in the shadows: %s",
      table.concat(options.paths, ", "))
  end
  local self = place.new { scratch = options.scratch,
    owner = options.owner or owner_of(at(there[1])) }
  local guard <close> = unless_done(self)
  for _, path in ipairs(outermost(there, at)) do
    open_way(self, path, true)
    -- Where another volume was mounted, its shadow has an empty directory.
    if exists(self.root .. path) then run("rmdir", "--", self.root .. path) end
    copy(at(path), self.root .. path)
  end
  for _, path in ipairs(there) do check_no_link(self, path) end
  guard.done = true
  return self
end

return place
