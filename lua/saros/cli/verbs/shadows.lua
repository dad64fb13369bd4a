---@private
local shadows = require "saros.shadows"
local shown = require "saros.text"
local where = require "saros.cli.where"

local function paths_of(set)
  local list = {}
  for i, p in ipairs(set.snapshots) do list[i] = p.original end
  return list
end

local function state_of(set)
  if set.missing then return "missing" end
  if set.exposed then return "exposed" end
  return set.persistent and "stays" or set.left and "left" or "in use"
end

local function sets_of(state_dir)
  local op <close> = shadows.sets { state_dir = state_dir }
  local sets, err = op:wait()
  if not sets then error(err, 0) end
  return sets
end

local function short(set) return set.id:sub(1, 8) end

local function list(c, state_dir)
  local rows = {}
  local sets = sets_of(state_dir)
  for _, set in ipairs(sets) do
    for _, p in ipairs(set.snapshots) do
      rows[#rows + 1] = { short(set), shown.clock(set.created),
        state_of(set), p.provider, p.consistency or "", p.original, p.exposed
          or p.missing or p.path or "" }
      c:emit("shadow", { set = set.id, id = p.id, created = set.created,
        state = state_of(set), provider = p.provider,
        consistency = p.consistency, original = p.original, path = p.path,
        exposed = p.exposed, missing = p.missing, held = p.held,
        pid = type(p.owner) == "table" and p.owner.pid or nil })
    end
  end
  c:table(rows, { { "SET" }, { "TIME" }, { "STATE" }, { "BY" }, { "IS" },
    { "OF", cut = true }, { "AT", cut = "tail" } })
  c:emit("summary", { sets = #sets })
  if #sets == 0 then c:say "no shadows" end
end

-- A set by the beginning of its id, or of a shadow's in it.
local function find(c, sets, id)
  local found, one
  if not id:find "^%x[%x-]*$" then
    c:fail(4, "%s is not the id of a set of shadows", shown.safe(id))
  end
  id = id:lower()
  for _, set in ipairs(sets) do
    for _, p in ipairs(set.snapshots) do
      if set.id:lower():sub(1, #id) == id or p.id:lower():sub(1, #id) == id
      then
        if found and found ~= set then
          c:fail(2, "more than one set begins with %s", id)
        end
        found, one = set, p
      end
    end
  end
  if not found then c:fail(4, "there is no set of shadows %s", id) end
  return found, one
end

local function session_of(state_dir)
  local session = require "saros.vss".components { state_dir = state_dir }
  session:initialize_for_backup()
  return session
end

-- ------------------------------------------------------------------
-- One word each
-- ------------------------------------------------------------------

local words = { list = list }

function words.take(c, state_dir, ...)
  local o = c.options
  local paths = where.absolute { ... }
  local workflow = where.open_workflow(c)
  if #paths == 0 and workflow then paths = workflow:paths() end
  if #paths == 0 then c:usage "of what? saros shadows take PATH…" end
  local set, err = c:progress(require "saros.vss".shadow { paths = paths,
    provider = o.provider, context = o.no_writers and "nas_rollback"
      or "app_rollback", state_dir = state_dir,
    writers = { require = o.require, exclude = o.without } }, "shadow")
  if not set then return nil, err end
  local _ <close> = set
  local told, why = set:backup_complete(true):wait()
  if not told then c:partial(shown.safe(why.message)) end
  for _, writer in ipairs(set.left_out) do
    c:partial(("the writer %s was left out, and did not hold still: %s")
      :format(shown.safe(writer.name), shown.safe(writer.message)))
  end
  local rows = {}
  for i, path in ipairs(paths) do
    local p = set[path]
    rows[i] = { path, p.provider, p.consistency, p.path }
    c:emit("shadow", { set = set.id, id = p.id, original = path,
      path = p.path, provider = p.provider, consistency = p.consistency })
    for _, text in ipairs(p.warnings or {}) do c:warn(shown.safe(text)) end
  end
  c:out(set.id:sub(1, 8), "  held ", ("%.3f s"):format(set.held))
  c:table(rows, { { "OF" }, { "BY" }, { "IS" }, { "AT" } })
  c:emit("summary", { set = set.id, held = set.held })
end

function words.delete(c, state_dir, ...)
  local ids = { ... }
  if #ids == 0 then c:usage "which? saros shadows delete ID…" end
  local sets, chosen = sets_of(state_dir), {}
  for i, id in ipairs(ids) do chosen[i] = find(c, sets, id) end
  local session <close> = session_of(state_dir)
  local deleted = 0
  for _, set in ipairs(chosen) do
    local ok, err = pcall(session.delete_snapshots, session, set.id,
      { set = true, force = c.options.force })
    if not ok and #chosen == 1 then error(err, 0) end
    if ok then
      deleted = deleted + 1
      c:emit("deleted", { set = set.id })
      c:say("deleted ", short(set))
    else
      c:partial(short(set), ": ", shown.safe(tostring(err)))
    end
  end
  c:emit("summary", { deleted = deleted })
end

local function rules_of(c)
  local o, rules = c.options, {}
  for _, name in ipairs { "last", "hourly", "daily", "weekly", "monthly",
    "yearly", "within" } do
    rules[name] = o["keep_" .. name]
  end
  return rules
end

function words.prune(c, state_dir)
  local o, rules = c.options, rules_of(c)
  local free = o.keep_free and tonumber((o.keep_free:gsub("%%$", "")))
  if o.keep_free and not (free and free > 0 and free < 100) then
    c:usage("--keep-free: percent expected, such as 20%%, got %q",
      shown.safe(o.keep_free))
  end
  if next(rules) == nil and not free then
    c:usage "what shall stay? --keep-daily 7, --keep-last 3, --keep-free 20%, …"
  end
  local r, err = c:progress(shadows.prune { keep = rules, keep_free = free,
    dry_run = o.dry_run, state_dir = state_dir }, "prune")
  if not r then return nil, err end
  local rows = {}
  for _, one in ipairs(r.kept) do
    rows[#rows + 1] = { "keep", short(one.set), shown.clock(one.set.created),
      table.concat(one.why, ","), table.concat(paths_of(one.set), " ") }
    c:emit("kept", { set = one.set.id, why = one.why,
      paths = paths_of(one.set) })
  end
  for _, one in ipairs(r.deleted) do
    rows[#rows + 1] = { o.dry_run and "would go" or "deleted", short(one.set),
      shown.clock(one.set.created), one.why,
      table.concat(paths_of(one.set), " ") }
    c:emit("deleted", { set = one.set.id, why = one.why,
      dry_run = o.dry_run or false, paths = paths_of(one.set) })
  end
  for _, one in ipairs(r.failed) do
    c:partial(short(one.set), ": ", shown.safe(one.message))
  end
  c:table(rows, { { "", called = "NOW" }, { "SET" }, { "TIME" },
    { "WHY", cut = true }, { "OF" } })
  c:emit("summary", { kept = #r.kept, deleted = #r.deleted,
    failed = #r.failed, dry_run = o.dry_run or false })
end

function words.reap(c, state_dir)
  local r, err = c:progress(require "saros.vss".reap { state_dir = state_dir },
    "reap")
  if not r then return nil, err end
  for _, s in ipairs(r.shadows or {}) do
    c:emit("deleted", { id = s.id, set = s.set, original = s.original })
    c:out("took away the shadow of ", shown.safe(s.original))
  end
  for _, text in ipairs(r.thawed or {}) do
    c:emit("thawed", { message = text })
    c:out(shown.safe(text))
  end
  for _, s in ipairs(r.surfaced or {}) do
    c:emit("surfaced", { id = s.id, original = s.original, path = s.path })
    c:out("can be read again: ", shown.safe(s.path))
  end
  for _, f in ipairs(r.failed or {}) do
    c:partial(f.id, ": ", shown.safe(f.message))
  end
  c:emit("summary", { deleted = #(r.shadows or {}), thawed = #(r.thawed or {}),
    failed = #(r.failed or {}) })
  if #(r.shadows or {}) + #(r.thawed or {}) == 0 then
    c:say "nothing was left"
  end
end

function words.expose(c, state_dir, id, at)
  if not at then c:usage "saros shadows expose ID DIRECTORY" end
  local set, one = find(c, sets_of(state_dir), id)
  if #set.snapshots > 1 and set.id:sub(1, #id):lower() == id:lower() then
    c:fail(2, "set %s has %d shadows: name one by its own id ('saros shadows "
      .. "--json' has them)", short(set), #set.snapshots)
  end
  local session <close> = session_of(state_dir)
  at = where.absolute { at }[1]
  session:expose_snapshot(one.id, at)
  c:emit("summary", { id = one.id, path = at })
  c:say("read-only at ", shown.safe(at), ", until 'saros shadows unexpose ",
    one.id:sub(1, 8), "'")
end

function words.unexpose(c, state_dir, id)
  if not id then c:usage "saros shadows unexpose ID" end
  local set, one = find(c, sets_of(state_dir), id)
  if not one.exposed then
    for _, p in ipairs(set.snapshots) do if p.exposed then one = p end end
  end
  local session <close> = session_of(state_dir)
  session:unexpose_snapshot(one.id)
  c:emit("summary", { id = one.id })
end

local most <const> = { list = 0, prune = 0, reap = 0, expose = 2, unexpose = 1 }

local function run(c)
  local word = c.arguments[1] or "list"
  local f = words[word]
  if not f then
    local names = {}
    for name in pairs(words) do names[#names + 1] = name end
    c:usage("'%s' is nothing to do with shadows%s", shown.safe(word),
      require "saros.arguments".nearest(word, names))
  end
  local count = #c.arguments - 1
  if most[word] and count > most[word] then
    c:usage("too many arguments, from %q on",
      shown.safe(c.arguments[most[word] + 2]))
  end
  return f(c, where.state(c), table.unpack(c.arguments, 2))
end

local function count(name, what)
  return { "keep-" .. name, value = "N", type = "integer",
    help = "prune: keep " .. what .. " (-1: all)" }
end

return {
  name = "shadows",
  usage = "[list | take | prune | delete | reap | expose | unexpose] …",
  help = [[
  list                  all that there are
  take PATH…            make some that stay
  prune                 delete those that no rule keeps
  delete SET…           delete these
  expose SHADOW DIR     make one appear at a directory, read-only
  unexpose SHADOW       take that away
  reap                  take away what dead processes left

Shadows that stay are a way back that costs nothing, as long as the disk lives:
'take' makes them, all of one instant, with the applications holding still;
'prune' deletes those that no rule keeps, sets of the same paths by themselves,
and with --keep-free the oldest of them while there is too little room, but not
the newest. What is exposed stays.

'list' also shows those that somebody uses now, and those that a dead process
has left; 'reap' takes the latter away and lets go whatever is still frozen. A
set is named by its id or the beginning of that.]],
  examples = {
    { "saros shadows", "all that there are" },
    { "saros shadows take /srv /home", "of one instant; they stay" },
    { "saros shadows prune --keep-hourly 24 --keep-daily 7 --keep-free 20%",
      "as a timer does it" },
    { "saros shadows expose 5c9ffefa /mnt/before", "look into one" },
    { "saros shadows delete 5c9ffefa", "let one go" },
  },
  options = {
    count("last", "so many, the newest"),
    count("hourly", "the newest of so many hours"),
    count("daily", "the newest of so many days"),
    count("weekly", "the newest of so many weeks"),
    count("monthly", "the newest of so many months"),
    count("yearly", "the newest of so many years"),
    { "keep-within", value = "TIME", type = "duration",
      help = "prune: keep all of the last 7d, before the newest" },
    { "keep-free", value = "PERCENT", help = "prune: delete the oldest while "
      .. "less is free" },
    { "dry-run", "n", help = "prune: only say which" },
    { "provider", value = "NAME", choices = { "btrfs", "image", "lvm",
      "reflink", "copy" }, help = "take: who makes them" },
    { "no-writers", help = "take: no application holds still" },
    { "require", value = "WRITER", list = true,
      help = "take: fail without this writer" },
    { "without", value = "WRITER", list = true,
      help = "take: leave this writer out" },
    where.workflow,
    { "force", "f", help = "delete: also what is exposed or in use" },
    where.state_dir,
  },
  arguments = { names = "WORD", complete = "file", words = {
    "list", "take", "prune", "delete", "reap", "expose", "unexpose" } },
  run = run,
}
