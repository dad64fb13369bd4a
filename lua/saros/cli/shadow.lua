---@private
-- The shadow that a backup reads, where one can be had without copying
-- everything first.

local core = require "saros.core"
local E = require "saros.code"
local shown = require "saros.text"
local where = require "saros.cli.where"

local shadow = {}

-- Seconds that another one is waited for, unless --retry-lock says how long: one
-- shadow is made at a time on a machine, which is over in a moment.
local PATIENCE <const> = 60

-- Those of one instant. (The others read each file once more, or copy them.)
local cheap <const> = { "btrfs", "image", "lvm" }

-- Who can take one of each path, and those of which nobody can.
local function choose(c, paths)
  local vss = require "saros.vss"
  local session <close> = vss.components { state_dir = where.state(c) }
  session:initialize_for_backup()
  local providers, shadowed, live = {}, {}, {}
  for _, path in ipairs(paths) do
    for _, provider in ipairs(cheap) do
      local ok, can, info = pcall(session.is_volume_supported, session, path,
        provider)
      if not ok and type(can) == "table" and can.cancelled then
        error(can, 0)
      end
      if ok and can and info.atomic then
        providers[path] = provider
        break
      end
    end
    table.insert(providers[path] and shadowed or live, path)
  end
  return providers, shadowed, live
end

local function told(c, set, paths)
  for _, path in ipairs(paths) do
    local p = set[path]
    c:emit("shadow", { path = path, provider = p.provider,
      consistency = p.consistency, held = set.held })
  end
  local names = {}
  for i, path in ipairs(paths) do names[i] = shown.safe(path) end
  c:say(("shadow copy of %s (%s%s)"):format(table.concat(names, " "),
    set[paths[1]].provider,
    set.held > 0 and (", writes held %.3f s"):format(set.held) or ""))
  -- Of nested subvolumes above all: what is in them is in no version then.
  for _, path in ipairs(paths) do
    local warnings = set[path].warnings or {}
    for i = 1, math.min(#warnings, 8) do c:warn(shown.safe(warnings[i])) end
    if #warnings > 8 then
      c:warn(("%s: %d more such warnings"):format(shown.safe(path),
        #warnings - 8))
    end
  end
  for _, writer in ipairs(set.left_out) do
    c:partial(("the writer %s was left out: %s"):format(
      shown.safe(writer.name), shown.safe(writer.message)))
  end
end

local function make(c, paths, provider)
  local _, since = core.clocks()
  local waits = false
  while true do
    local set, err = c:progress(require "saros.vss".shadow { paths = paths,
      provider = provider, type = c.options.type,
      state_dir = where.state(c) }, "shadow copy", "step")
    if set then return set end
    local _, now = core.clocks()
    if err.code ~= E.VSS_E_SNAPSHOT_SET_IN_PROGRESS
      or now - since >= (c.options.retry_lock or PATIENCE)
    then
      error(err, 0)
    end
    if not waits then
      c:say "it waits for its turn: another shadow is being made"
      waits = true
    end
    core.sleep(0.1 + 0.2 * math.random()):wait()
  end
end

local function take(c, paths, provider)
  local set = make(c, paths, provider)
  if c.recorded then c.recorded:held(set) end
  c:defer(function() set:close() end)
  told(c, set, paths)
  return set
end

local function said_live(c, paths)
  local names = {}
  for i, path in ipairs(paths) do names[i] = shown.safe(path) end
  local list = table.concat(names, " ")
  if #list > 60 then list = #paths .. " paths" end
  c:emit("live", { paths = paths })
  c:say(("%s: neither on btrfs nor on LVM nor on an image, so there is no "
    .. "shadow copy: the files are read as they are"):format(list))
end

-- Absolute, as shadows are asked for; and those that are not there are left to
-- the backup, which says so of each.
local function split(paths)
  local steps, there, others = {}, {}, {}
  for i, path in ipairs(paths) do steps[i] = { "follow", path } end
  local looks = core.entries(steps):wait()
  for i, path in ipairs(paths) do
    local good = looks and looks[i] and path:sub(1, 1) == "/"
    table.insert(good and there or others, path)
  end
  return there, others
end

--- What is to be read for these paths: sources for `repo:backup`, and the set.
function shadow.sources(c, paths)
  local wanted = c.options.shadow or "auto"
  if wanted == "never" then return paths end
  local there, others = split(paths)
  if #there == 0 then return paths end
  if wanted ~= "auto" and wanted ~= "require" then
    local set = take(c, there, wanted)
    return { set, table.unpack(others) }, set
  end
  local providers, shadowed, live = choose(c, there)
  if #live > 0 and wanted == "require" then
    c:fail(1, "there can be no shadow copy of %s: it is neither on btrfs nor "
      .. "on LVM nor on an image ('saros doctor' says what is possible)",
      shown.safe(live[1]))
  end
  if #live > 0 then said_live(c, live) end
  local sources, set = {}, nil
  if #shadowed > 0 then
    set = take(c, shadowed, providers)
    sources[1] = set
  end
  table.move(live, 1, #live, #sources + 1, sources)
  table.move(others, 1, #others, #sources + 1, sources)
  return sources, set
end

return shadow
