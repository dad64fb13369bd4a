---@private
-- The task behind `vss.shadow`: everything from the session to the set.

local core = require "saros.core"
local set = require "saros.vss.set"
require "saros.vss.session"

-- ------------------------------------------------------------------
-- Which writers
-- ------------------------------------------------------------------

local function clean(path)
  path = path:gsub("/+", "/"):gsub("/%./", "/"):gsub("/%.?$", "")
  return path .. "/"
end

-- Whether one lies in the other: of files below the path that is shadowed, and
-- of a path below the directory that is the writer's.
local function touch(a, b)
  a, b = clean(a), clean(b)
  return a:sub(1, #b) == b or b:sub(1, #a) == a
end

-- A writer may call a directory by another name than who asks: by a link.
local function concerns(component, paths, real)
  if #component.files == 0 then return true end
  for _, file in ipairs(component.files) do
    for _, path in ipairs(paths) do
      if touch(file, path) or touch(real[file], real[path]) then return true end
    end
  end
  return false
end

-- Where all that is named leads, by its name.
local function real_paths(writers, paths)
  local list, real = table.move(paths, 1, #paths, 1, {}), {}
  for _, writer in ipairs(writers) do
    for _, c in ipairs(writer.components) do
      table.move(c.files, 1, #c.files, #list + 1, list)
    end
  end
  local found, err = core.real_paths(list):wait()
  if not found then error(err, 0) end
  for i, path in ipairs(list) do real[path] = found[i] end
  return real
end

local function named(list, writer)
  for _, name in ipairs(list or {}) do
    if name == writer.name or name:lower() == writer.id
      or name:lower() == writer.instance
    then
      return true
    end
  end
  return false
end

local function choose_components(session, o)
  local chosen, writers = {}, session:writers()
  local real = real_paths(writers, o.paths)
  for _, writer in ipairs(writers) do
    local needed = named(o.writers.require, writer)
    for _, c in ipairs(writer.components) do
      if needed or concerns(c, o.paths, real) then
        session:add_component(writer.instance, c.name)
        chosen[#chosen + 1] = { writer = writer.instance, component = c.name,
          files = c.files }
      end
    end
  end
  return chosen, real
end

-- ------------------------------------------------------------------
-- What they have elsewhere
-- ------------------------------------------------------------------

local MOST_PATHS <const> = 64

local function lies_in(path, directories, real)
  for _, directory in ipairs(directories) do
    local a, b = clean(real[path] or path), clean(real[directory] or directory)
    if a:sub(1, #b) == b then return true end
  end
  return false
end

-- Of a component that is asked for, what lies in none of the paths: a
-- configuration, a log, a tablespace. It is asked for when the first of its files
-- is, which is the one that it is about: who shadows /etc wants no database.
local function add_elsewhere(session, o, real)
  local provider = type(o.provider) == "string" and o.provider or nil
  o.added = {}
  for _, chosen in ipairs(o.components) do
    local own = lies_in(chosen.files[1] or "/", o.paths, real) and chosen.files
      or {}
    for _, path in ipairs(own) do
      local to = real[path]
      local op <close> = core.entries { { "look", to } }
      local seen, err = op:wait()
      if not seen then error(err, 0) end
      local above = false
      for _, one in ipairs(o.paths) do
        above = above or lies_in(one, { path }, real)
      end
      if seen[1] and not above and not lies_in(path, o.paths, real)
        and #o.paths < MOST_PATHS
      then
        o.paths[#o.paths + 1] = to
        o.added[#o.added + 1] = { path = to, writer = chosen.writer,
          component = chosen.component }
        if provider and not session:is_volume_supported(to, provider) then
          o.instead[to] = true
        end
      end
    end
  end
end

-- ------------------------------------------------------------------
-- The task
-- ------------------------------------------------------------------

-- Waits for a step, whose progress is a part of ours.
local function step(op, from, to, phase)
  core.report { done = from, total = 100, phase = phase }
  for s in op:progress() do
    core.report { done = from + (to - from) * s.percent // 100, total = 100,
      phase = s.phase or phase, held_since = s.held_since,
      held_until = s.held_until, held = s.held }
  end
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result
end

local NO_WRITERS = 0x10
local without_writers = { file_share_backup = true, nas_rollback = true,
  client_accessible = true }

local function tells_writers(context)
  if type(context) == "number" then return context & NO_WRITERS == 0 end
  return not without_writers[context]
end

local function make(session, o)
  o.tells = tells_writers(o.context)
  session:initialize_for_backup()
  session:set_context(o.context)
  session:set_backup_state { type = o.type, select_components = true }
  o.components, o.instead = {}, {}
  if o.tells then
    o.left_out = step(session:gather_writer_metadata(o.writers), 1, 10,
      "writers").left_out
    local real
    o.components, real = choose_components(session, o)
    if o.whole then add_elsewhere(session, o, real) end
  end
  core.report { done = 10, total = 100, phase = "paths" }
  session:start_snapshot_set()
  for _, path in ipairs(o.paths) do
    local provider = o.provider
    if type(provider) == "table" then provider = provider[path] end
    if o.instead[path] then provider = nil end
    session:add_to_snapshot_set(path, provider)
  end
  if o.tells then
    step(session:prepare_for_backup(), 12, 25, "prepare_backup")
  end
  local outcome = step(session:do_snapshot_set(), 25, 99, "prepare")
  return set._new(session, outcome, o)
end

-- Closed means: nothing of it is left. Somebody who is impatient may cancel
-- the wait for that once more; then it goes on behind him.
local function close(session)
  if not pcall(session.close, session) then pcall(session.close, session) end
end

local function take(o)
  local session = core.vss_session(o.session)
  local ok, made = pcall(make, session, o)
  if ok then return made end
  close(session)
  error(made, 0)
end

return { take = take }
