---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

local vss

local function session_of(state_dir)
  local session = vss.components { state_dir = state_dir }
  session:initialize_for_backup()
  session:set_backup_state { type = "copy", select_components = true }
  return session
end

local function clean(path) return (path .. "/"):gsub("/+", "/") end

local function touch(a, b)
  a, b = clean(a), clean(b)
  return a:sub(1, #b) == b or b:sub(1, #a) == a
end

local function concerns(component, paths)
  if #paths == 0 or #(component.files or {}) == 0 then return true end
  for _, file in ipairs(component.files) do
    for _, path in ipairs(paths) do
      if touch(file, path) then return true end
    end
  end
  return false
end

-- Those that have to do with the paths, each with its components.
local function found(c, state_dir, paths)
  local session <close> = session_of(state_dir)
  local r, err = c:progress(session:gather_writer_metadata {}, "writers")
  if not r then error(err, 0) end
  local list = {}
  for _, w in ipairs(session:writers()) do
    local components = {}
    for _, one in ipairs(w.components or {}) do
      if concerns(one, paths) then components[#components + 1] = one end
    end
    if #components > 0 or #(w.components or {}) == 0 then
      list[#list + 1] = { info = w, components = components }
    end
  end
  return list, r.left_out or {}
end

local function show(c, list, left_out)
  local rows = {}
  for _, w in ipairs(list) do
    local info = w.info
    local guard = type(info.metadata) == "table" and info.metadata.guard
      or info.guard or ""
    for i, one in ipairs(#w.components > 0 and w.components
      or { { name = "-" } })
    do
      rows[#rows + 1] = { i == 1 and info.name or "", i == 1 and info.way or "",
        i == 1 and info.level or "", i == 1
          and ("%g s"):format(info.freeze_timeout or 60) or "",
        i == 1 and guard or "", one.name,
        table.concat(one.files or {}, " ") }
    end
    c:emit("writer", { id = info.id, instance = info.instance,
      name = info.name, way = info.way, level = info.level,
      freeze_timeout = info.freeze_timeout, guard = guard ~= "" and guard
        or nil, components = w.components })
  end
  c:table(rows, { { "WRITER", cut = true }, { "BY" }, { "LEVEL" }, { "HOLDS" },
    { "GUARD" }, { "COMPONENT", cut = true }, { "FILES", cut = "tail" } })
  for _, one in ipairs(left_out) do
    c:partial(shown.safe(one.name), " cannot say who it is: ",
      shown.safe(one.message))
  end
  if #list == 0 then c:say "no writers" end
end

-- ------------------------------------------------------------------
-- For real
-- ------------------------------------------------------------------

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

-- What of the writers' files is there, or the root: some path there must be.
local function paths_of(list)
  local paths, seen = {}, {}
  for _, w in ipairs(list) do
    for _, one in ipairs(w.components) do
      for _, file in ipairs(one.files or {}) do
        if not seen[file] and exists(file) and #paths < 64 then
          seen[file] = true
          paths[#paths + 1] = file
        end
      end
    end
  end
  return #paths > 0 and paths or { "/" }
end

local function test(c, state_dir, paths, list)
  local exclude, own = nil, #paths > 0 and paths or paths_of(list)
  if c.options.writer then
    local wanted = {}
    for _, name in ipairs(c.options.writer) do wanted[name] = true end
    for _, w in ipairs(list) do
      if not (wanted[w.info.name] or wanted[w.info.id]) then
        exclude = exclude or {}
        exclude[#exclude + 1] = w.info.instance
      end
    end
  end
  local set, err = c:progress(vss.shadow { paths = own, provider = "live",
    state_dir = state_dir, writers = { exclude = exclude,
      require = c.options.writer } }, "freeze and thaw")
  if not set then return nil, err end
  local _ <close> = set
  local by = {}
  for _, t in ipairs((set.times or {}).writers or {}) do
    by[t.name] = t
  end
  local rows, failed = {}, 0
  for _, w in ipairs(set.writers) do
    local t = by[w.name]
    local held = t and t.to - t.from
    local asked = t and t.asked and t.from - t.asked
    local good = w.failure == 0
    failed = failed + (good and 0 or 1)
    rows[#rows + 1] = { w.name, good and "ok" or "failed",
      asked and ("%.3f s"):format(asked) or "-",
      held and ("%.3f s"):format(held) or "-" }
    c:emit("tested", { name = w.name, id = w.id, ok = good, asked = asked,
      held = held, failure = not good and w.failure or nil })
  end
  c:table(rows, { { "WRITER" }, { "", called = "IT" },
    { "TO FREEZE", right = true }, { "HELD", right = true } })
  c:say(("nothing was copied; whoever held still did so for %.3f s at most")
    :format(set.held))
  if failed > 0 then c:partial() end
  for _, one in ipairs(set.left_out) do
    c:partial(shown.safe(one.name), " was left out: ", shown.safe(one.message))
  end
  c:emit("summary", { writers = #set.writers, failed = failed,
    held = set.held })
end

local function run(c)
  vss = require "saros.vss"
  local state_dir, paths = where.state(c), where.absolute(c.arguments)
  where.open_workflow(c)
  local list, left_out = found(c, state_dir, paths)
  if c.options.writer and not c.options.test then
    c:usage "--writer goes with --test"
  end
  if c.options.test then return test(c, state_dir, paths, list) end
  show(c, list, left_out)
  c:emit("summary", { writers = #list, left_out = #left_out })
end

return {
  name = "writers",
  usage = "[PATH…] [options]",
  help = [[
Who would hold still for a shadow of these paths (of any, when none is named):
programs that listen on a socket, and with --workflow those that this workflow
opens itself while it runs.

With --test they do hold still, for real and for a moment, without a shadow:
how long each took to, and how long it was held. Then they are told that nothing
came of it.]],
  examples = {
    { "saros writers", "all of them" },
    { "saros writers /var/lib/postgresql", "those that have files there" },
    { "saros writers --workflow nightly --test",
      "freeze its databases once, and thaw them" },
  },
  options = {
    { "test", "t", help = "freeze and thaw them, without a shadow" },
    { "writer", value = "NAME", list = true, help = "test only this one" },
    where.workflow,
    where.state_dir,
  },
  arguments = { names = "PATH", complete = "file" },
  run = run,
}
