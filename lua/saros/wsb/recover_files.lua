---@private
-- Files from a version: those, and what is in them, where the version has them.
-- What it does not have stays as it is.

local exchange = require "saros.wsb.exchange"
local files = require "saros.wsb.files"
local manifest = require "saros.wsb.manifest"

local fail, within = files.fail, files.within

local function check_paths(o, elsewhere)
  for _, path in ipairs(o.files) do
    for _, own in ipairs { manifest.DIRECTORY, manifest.LATE,
      manifest.LEARNED } do
      if within(path, own) and not elsewhere then
        fail("SAROS_E_REFUSED", "%s is what saros wrote beside the files, and "
          .. "belongs to no place here; name a target", path)
      end
    end
    if path == "/" and not elsewhere then
      fail("SAROS_E_REFUSED", "all of a version is not laid over a system that "
        .. "runs; name a target")
    end
  end
end

-- What is at a path of the version, or nil.
local function node_at(o, m, path)
  local op <close> = o.repository:ls { version = m.id, path = path,
    recursive = false, long = true }
  local ls = op:wait()
  for _, node in ipairs(ls and ls.items or {}) do
    if files.unquoted(node.path) == path then return node end
  end
  return nil
end

-- Where a path leads in the version, links of the version followed; the last
-- name is what is meant, also when it is a link. The first link on the way.
local function followed(o, m, path)
  if path == "/" or node_at(o, m, path) then return path end
  local at, rest, first, hops = "", path, nil, 0
  while true do
    local name, more = rest:match "^/+([^/]+)(.*)$"
    if not name then return at == "" and "/" or at, first end
    local here = at .. "/" .. name
    local node = more ~= "" and name ~= ".." and name ~= "."
      and node_at(o, m, here)
    if name == ".." then
      at = at:match "^(.*)/" or ""
    elseif node and node.type == "symlink" then
      hops, first = hops + 1, first or here
      local to = node.target or ""
      if hops > 40 or to == "" then
        fail("E_INVALIDARG", "%s leads nowhere in version %s: %s is a link "
          .. "that cannot be followed", path, m.id:sub(1, 8), first)
      end
      if to:sub(1, 1) == "/" then at = "" end
      more = "/" .. to .. more
    elseif name ~= "." then
      at = here
    end
    rest = more
  end
end

-- What is named by way of a link of the version is where that leads to.
local function follow_all(o, m, r)
  local list = {}
  for i, path in ipairs(o.files) do
    local to, link = followed(o, m, path)
    list[i] = to
    if link and not node_at(o, m, to) then
      fail("E_INVALIDARG", "%s is not in version %s: %s is a link there, which "
        .. "leads to %s", path, m.id:sub(1, 8), link, to)
    elseif link then
      r.warnings[#r.warnings + 1] = ("%s is %s in the version, where %s is a "
        .. "link"):format(path, to, link)
    end
  end
  o.files = list
end

-- Files of an application that runs are laid as little as the whole of it.
local function concerned(m, paths)
  local list = {}
  for _, c in ipairs(m.components) do
    local hit = false
    for _, path in ipairs(paths) do
      for _, own in ipairs(c.files) do
        hit = hit or within(path, own) or within(own, path)
      end
    end
    if hit then list[#list + 1] = c end
  end
  return list
end

-- The files of an application are of one instant: all of them come, or none,
-- and what the version does not have of them goes. `wholes[path]` is "lay" or
-- "skip" for each.
local function wholes_of(m, o, r, tops)
  local wholes, asked = {}, {}
  for _, top in ipairs(tops) do asked[top.path] = top end
  local function place(path)
    local at = path
    while not asked[at] do at = files.parent(at) end
    return asked[at], asked[at].to .. path:sub(#(at == "/" and "" or at) + 1)
  end
  for _, c in ipairs(concerned(m, o.files)) do
    local all, there, gone = true, false, {}
    for _, path in ipairs(c.files) do
      all = all and files.inside(path, asked)
    end
    for _, path in ipairs(c.absent or {}) do gone[path] = true end
    if all then
      for _, path in ipairs(c.files) do
        local _, to = place(path)
        local seen = files.step("look", to)
        there = there or seen and not gone[path]
        all = all and not (seen and seen.mounted)
      end
    end
    for _, path in ipairs(all and files.outermost(c.files) or {}) do
      wholes[path] = there and o.overwrite == "skip" and "skip" or "lay"
      if gone[path] and wholes[path] == "lay" then
        local top, to = place(path)
        wholes[#wholes + 1] = { top = top, path = path, to = to }
      end
    end
    if not all then
      r.warnings[#r.warnings + 1] = ("%s %s: only a part of its files is laid, "
        .. "or they are laid among others; they are of different times then")
        :format(c.writer.name, c.name)
    end
  end
  return wholes
end

-- Directories that are there already stay, and what is in them is looked at.
-- Without `from` what is there only goes.
local function merge(x, o, r, from, to, top, wholes)
  local seen = files.steps { { "look", to }, from and { "look", from } }
  local old, new = seen[1], seen[2]
  local path = files.plain(top.path .. to:sub(#top.to + 1))
  local whole = wholes[path]
  if old and new and new.type == "dir" and old.type == "dir" and not whole then
    for _, name in ipairs(files.step("names", from)) do
      merge(x, o, r, files.plain(from .. "/" .. name),
        files.plain(to .. "/" .. name), top, wholes)
    end
    return
  end
  if not old and not new then return end
  local told = { path = path, to = to, gone = not from or nil }
  if whole == "skip" or old and not whole and o.overwrite == "skip" then
    told.skipped = true
  else
    if old then
      top.kept = top.kept or exchange.free(top.to, "kept")
      told.kept = top.kept .. to:sub(#top.to + 1)
      if to ~= top.to then
        -- The same directories again, for what is taken out of them.
        local at = top.kept
        for name in ("/" .. files.parent(to):sub(#top.to + 2))
          :gmatch "/([^/]*)" do
          if name ~= "" then at = at .. "/" .. name end
          if not files.step("look", at) then
            x:make(at)
          end
        end
      end
    end
    x:add(from, to, told.kept)
  end
  r.laid[#r.laid + 1] = told
end

--- `check_busy(components, root)` raises when one of them runs.
return function(o, m, r, check_busy)
  local root = o.target and files.plain(o.target) or ""
  if root == "/" then root = "" end
  check_paths(o, root ~= "")
  follow_all(o, m, r)
  check_paths(o, root ~= "")
  local tops, places, include = {}, {}, {}
  for i, path in ipairs(files.outermost(o.files)) do
    path = files.plain(path)
    local to = files.join(root, path)
    if o.overwrite == "copy" and files.step("look", to) then
      to = exchange.free(to, "copy")
    end
    tops[i] = { path = path, to = to }
    places[i] = path == "/" and { inside = root } or to
    include[i] = path ~= "/" and files.escape(path) or nil
  end
  if o.dry_run then
    local ls = {}
    for _, top in ipairs(tops) do
      ls[#ls + 1] = { path = top.path, to = top.to }
    end
    r.laid = ls
    return
  end
  local own = root == "" and o.overwrite == "overwrite"
    and concerned(m, o.files) or {}
  check_busy(own, root)
  local x <close> = exchange.begin(places, { version = m.id,
    began = os.date "!%Y-%m-%dT%H:%M:%SZ" })
  r.found = x.found
  local back = files.finish(o.repository:restore { version = m.id,
    target = x.stage, overwrite = "always",
    include = #include > 0 and include or nil })
  for _, e in ipairs(back.errors) do
    r.warnings[#r.warnings + 1] = ("%s: %s"):format(e.path or "?", e.message)
  end
  local wholes = wholes_of(m, o, r, tops)
  for _, top in ipairs(tops) do
    local from = files.plain(x.stage .. top.path)
    if not files.step("look", from) then
      fail("E_INVALIDARG", "%s is not in version %s", top.path, m.id:sub(1, 8))
    end
    merge(x, o, r, from, top.to, top, wholes)
  end
  for _, one in ipairs(wholes) do
    merge(x, o, r, nil, one.to, one.top, wholes)
  end
  x:dress(root)
  check_busy(own, root)
  local ok, err = pcall(x.swap, x)
  if not ok then error(x:undone(err), 0) end
end
