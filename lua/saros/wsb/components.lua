---@private
-- The components of a backup: whose they are, where their files lie in the
-- version, and whether the version has all of them.

local core = require "saros.core"
local files = require "saros.wsb.files"
local kind = require "saros.writers.kind"
local manifest = require "saros.wsb.manifest"

local components = {}

local within, join = files.within, files.join

-- Where something that lies there lies in the version: below one of its paths,
-- which may be the name of a link.
local function in_version(file, real, paths)
  local best
  for _, path in ipairs(paths) do
    if within(real[file], real[path])
      and (not best or #real[path] > #real[best])
    then
      best = path
    end
  end
  if not best then return nil end
  local rest = real[best] == "/" and real[file]
    or real[file]:sub(#real[best] + 1)
  return join(best, rest), best
end

local function bar(c, why, ...)
  c.recoverable, c.why = false, c.why or why:format(...)
end

-- Patterns with the names that the files have in the version.
local function as_stored(patterns, own, paths, real)
  if type(patterns) ~= "table" then return patterns end
  local list = {}
  for i, pattern in ipairs(patterns) do
    list[i] = pattern
    for _, file in ipairs(own.files) do
      local path = within(pattern, file) and in_version(file, real, paths)
      if path then list[i] = path .. pattern:sub(#file + 1) end
    end
  end
  return list
end

-- The files as they are in the version; what the version does not have of them
-- bars the component.
local function find_files(c, own, set, paths, real)
  local looks, kept = {}, {}
  for _, file in ipairs(own.files or {}) do
    local path, top = in_version(file, real, paths)
    if path and not manifest.is_file(path) then
      bar(c, "its files cannot be written down as %q", path)
    elseif path then
      kept[#kept + 1] = path
      looks[#looks + 1] = { "look", join(set[top].path,
        path:sub(#(top == "/" and "" or top) + 1)) }
      if set[top].provider == "live" then c.live, c.late = true, true end
      c.provider = c.provider or set[top].provider
      c.atomic = c.atomic and set[top].consistency == "atomic"
    else
      looks[#looks + 1] = { "look", file }
      kept[#kept + 1] = false
    end
  end
  local there = false
  for i, found in ipairs(files.steps(looks)) do
    if kept[i] then
      c.files[#c.files + 1] = kept[i]
      if found then
        there = true
        c.owner = c.owner or ("%d:%d"):format(found.uid, found.gid)
      else
        c.absent[#c.absent + 1] = kept[i]
      end
    elseif found then
      bar(c, "%s is not in the paths that were backed up: name it there, too",
        own.files[i])
    end
  end
  if not there and #own.files > 0 then
    bar(c, "none of its files is in what was backed up")
  elseif #own.files == 0 then
    bar(c, "its writer names no files")
  end
end

-- Whether its patterns leave it out.
local function is_out(c, at)
  for _, pattern in ipairs(components.excludes { c }) do
    if files.matches(pattern, at) then return true end
  end
  return false
end

-- Where something is mounted, names decoded.
local function mount_points()
  local list = {}
  for line in (files.content "/proc/self/mountinfo" or ""):gmatch "[^\n]+" do
    local point = line:match "^%S+ %S+ %S+ %S+ (%S+)"
    list[#list + 1] = point and point:gsub("\\(%d%d%d)", function(octal)
      return string.char(tonumber(octal, 8))
    end)
  end
  return list
end

-- A shadow has an empty directory where another file system is mounted, or
-- another subvolume lies.
local function find_holes(c, own, set, paths, real)
  local function hole(at)
    if not is_out(c, at) then
      bar(c, "%s is a file system of its own, and not in the shadow of what it "
        .. "lies in", at)
    end
  end
  for _, point in ipairs(mount_points()) do
    for _, file in ipairs(own.files or {}) do
      if point ~= real[file] and within(point, real[file]) then
        real[point] = point
        local at, top = in_version(point, real, paths)
        local shadow = false
        for _, snapshot in pairs(set) do
          shadow = shadow or within(point, snapshot.path)
        end
        if at and real[top] ~= point and set[top].provider ~= "live"
          and not shadow
        then
          hole(at)
        end
      end
    end
  end
  for _, path in ipairs(c.files) do
    local _, top = in_version(path, setmetatable({ [path] = path }, {
      __index = function(_, other) return other end }), paths)
    local here = join(set[top].path, path:sub(#(top == "/" and "" or top) + 1))
    if set[top].provider == "btrfs" then
      -- What is left of a subvolume in a snapshot.
      local found = files.finish(core.process { any_status = true,
        limit = 16 << 20, argv = { "find", here, "-mindepth", "1", "-type", "d",
          "-inum", "2", "!", "-name", ".saros-shadows", "-print0" } }).stdout
      for name in found:gmatch "[^\0]+" do
        local at = path .. name:sub(#here + 1)
        if not set[at] then hole(at) end
      end
    end
  end
end

-- A pattern of a component for one of its files, or what is below that; nil: it
-- is not for that one. The name of the file in it stands for itself.
local function pattern_for(file, pattern)
  local own = files.escape(file)
  if pattern:sub(1, 1) ~= "/" then
    return own .. (pattern:find("/", 1, true) and "/" or "/**/") .. pattern
  elseif within(pattern, file) then
    return own .. pattern:sub(#file + 1)
  end
  return within(pattern, own) and pattern or nil
end

-- Whether its recovery mends it, or makes it anew: then a torn copy will do.
local function mends(c, all, at)
  if all == true then return true end
  for _, file in ipairs(c.files) do
    for _, one in ipairs(all or {}) do
      local pattern = pattern_for(file, one)
      if pattern and files.matches(pattern, at) then return true end
    end
  end
  return false
end

local LACKS <const> = {
  { "unread", "%s could not be read when the shadow was made" },
  { "torn", "%s changed while being copied, when all should have held still: "
    .. "let its writer hold all that writes there, or use a provider that is "
    .. "atomic" },
}

-- Of those that a shadow names, what is this component's; nil: nothing is. What
-- has no name there may be anybody's.
local function lacking(c, mended, snapshot, top, what)
  local named, first, count = snapshot[what] or {}, nil, 0
  for _, at in ipairs(named) do
    local is = false
    for _, file in ipairs(c.files) do
      is = is or within(at, file) or what == "unread" and within(file, at)
    end
    is = is and not is_out(c, at)
    if is and not (what == "torn" and mends(c, mended, at)) then
      first, count = first or at, count + 1
    end
  end
  if count > 1 then return ("%s and %d more"):format(first, count - 1) end
  local more = (snapshot[what .. "_count"] or 0) - #named
  if first or more <= 0 or what == "torn" and mended == true then
    return first
  end
  for _, file in ipairs(c.files) do
    if within(file, top) or within(top, file) then
      return ("%d files, some of its own perhaps among them,"):format(more)
    end
  end
end

-- What was copied file by file may lack something, or have half of what was
-- written to it just then.
local function find_lacks(c, mended, set)
  for top, snapshot in pairs(set) do
    for _, lack in ipairs(LACKS) do
      local which = lacking(c, mended, snapshot, top, lack[1])
      if which then
        c.consistency = "none"
        bar(c, lack[2], which)
      end
    end
  end
end

-- Who is not root may come to something that he may not read.
local function find_unreadable(c, set, paths)
  if c.recoverable == false or files.run("id", "-u"):match "%d+" == "0" then
    return
  end
  for _, path in ipairs(c.files) do
    for _, top in ipairs(paths) do
      if within(path, top) then
        local here = join(set[top].path, path:sub(#(top == "/" and "" or top)
          + 1))
        local op <close> = core.process { any_status = true, argv = { "find",
          here, "(", "-type", "d", "(", "!", "-readable", "-o", "!",
          "-executable", ")", "-o", "-type", "f", "!", "-readable", ")",
          "-print", "-quit" } }
        local r = files.finish(op)
        if r.stdout ~= "" then
          bar(c, "%s may not be read by who made the backup",
            path .. r.stdout:gsub("\n$", ""):sub(#here + 1))
        end
      end
    end
  end
end

-- What the writer says of this component.
local function said_of(said, name)
  local all = type(said) == "table" and said.components
  local own = type(all) == "table" and all[name]
  return type(own) == "table" and own or {}
end
components.said_of = said_of

local CONSISTENCIES <const> = { application = true, crash = true, none = true }

--- What a writer said, put where it belongs. Its failures bar the component.
function components.hear(c, said)
  local own = said_of(said, c.name)
  c.said = own
  local lost = c.recoverable == false and c.consistency == "none"
  if CONSISTENCIES[own.consistency] and not lost then
    c.consistency = own.consistency
  end
  for _, name in ipairs { "position", "server", "note" } do
    if type(own[name]) == "string" then c[name] = own[name] end
  end
  if own.pending == true then c.late = true end
  if own.consistency == "none" then
    bar(c, "%s", type(own.why) == "string" and own.why
      or "its writer says that it is of no one instant")
  end
end

local function writer_failed(c, set)
  for _, writer in ipairs(set.writers or {}) do
    if writer.instance == c.writer.instance and writer.failure ~= 0 then
      c.consistency = "none"
      bar(c, "its writer failed: %s", writer.message
        or require "saros.code".name("vss", writer.failure))
    end
  end
end

--- The components of a set, as a manifest has them. Raises.
function components.of(set, paths)
  local list, all = {}, { table.unpack(paths) }
  local chosen = set:components()
  for _, one in ipairs(chosen) do
    table.move(one.component.files or {}, 1, #(one.component.files or {}),
      #all + 1, all)
  end
  local real = files.real(all)
  for n, one in ipairs(chosen) do
    local writer, own = one.writer, one.component
    local k = kind.of(writer.id)
    local c = { n = n, kind = k and k.name, name = own.name,
      writer = { id = writer.id, instance = writer.instance,
        name = writer.name },
      logical_path = own.logical_path, type = own.type, files = {},
      absent = {}, exclude = as_stored(own.exclude or {}, own, paths, real),
      additions = {},
      atomic = true, recoverable = true,
      consistency = "application" }
    find_files(c, own, set, paths, real)
    if c.live then c.consistency = "none" end
    find_holes(c, own, set, paths, real)
    find_unreadable(c, set, paths)
    components.hear(c, set:said(writer.instance))
    find_lacks(c, as_stored(own.mends, own, paths, real), set)
    writer_failed(c, set)
    list[n] = c
  end
  return list
end

-- Whether a pattern of one component, for what is below `file`, would take away
-- what is another's, too.
local function is_shared(list, c, file, pattern)
  for _, other in ipairs(list) do
    for _, its in ipairs(other ~= c and other.files or {}) do
      if within(file, its) then return true end
      -- Of a directory that is left out nothing comes back.
      if within(its, file) and files.matches(pattern, files.parent(its)) then
        return true
      end
    end
  end
  return false
end

--- The patterns that leave out what components want left out, each of its own
--- files alone: what belongs to another, too, stays. What lies in one and is
--- another's comes back after it.
function components.excludes(list)
  local patterns, all = {}, {}
  for _, c in ipairs(list) do
    for _, file in ipairs(c.files) do all[#all + 1] = { c = c, file = file } end
  end
  table.sort(all, function(a, b)
    if #a.file ~= #b.file then return #a.file < #b.file end
    if a.file ~= b.file then return a.file < b.file end
    return a.c.n < b.c.n
  end)
  for _, one in ipairs(all) do
    local file = one.file
    if #patterns > 0 then
      patterns[#patterns + 1] = "!" .. files.escape(file)
    end
    for _, e in ipairs(one.c.exclude) do
      local pattern = pattern_for(file, e)
      if pattern and not is_shared(list, one.c, file, pattern) then
        patterns[#patterns + 1] = pattern
      end
    end
  end
  return patterns
end

return components
