--- The backup of applications: a shadow while they hold still, a check of each
--- component on the shadow, and a version in a repository that knows what it is.
---
--- ```lua
--- local wsb = require "saros.wsb"
--- local w <close> = sqlite.writer { databases = { "/srv/app/app.db" } }
--- local v = assert(wsb.backup { repository = repo, paths = { "/srv/app" } }:wait())
--- print(v)   -- what consistency was reached, and what can be recovered of it
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local components = require "saros.wsb.components"
local files = require "saros.wsb.files"
local kind = require "saros.writers.kind"
local late = require "saros.wsb.late"
local manifest = require "saros.wsb.manifest"
local plan = require "saros.wsb.plan"
local print_out = require "saros.wsb.print"
local vss = require "saros.vss"

local finish = files.finish

local WHAT <const> = "wsb.backup"

-- Long for a check that reads everything, short for a server that hangs.
local CHECK_TIMEOUT <const> = 21600

local kinds <const> = { repository = "userdata", paths = "list",
  type = { "copy", "full" }, provider = "string|table", writers = "table",
  tags = "list", host = "string", exclude = "list", check = "boolean|table",
  timeouts = "table", state_dir = "string", scratch = "string",
  on_component = "function", whole = "boolean", name = "string" }


-- ------------------------------------------------------------------
-- The checks
-- ------------------------------------------------------------------

local function started(c, o, set, info)
  local snapshots = {}
  for i, path in ipairs(o.paths) do snapshots[i] = set[path].path end
  return require "saros.wsb".check_consistency { writer = c.writer.id,
    instance = c.writer.instance, component = c.name,
    logical_path = c.logical_path, metadata = info, sources = o.paths,
    snapshots = snapshots, said = set:said(c.writer.instance),
    scratch = o.scratch, timeout = o.check_timeout }
end

-- What is in a manifest is plain, and short.
local function problems_of(err)
  local list = {}
  for i, problem in ipairs(type(err.problems) == "table" and err.problems
    or {}) do
    if i > 50 then break end
    list[i] = tostring(problem):sub(1, 1000)
  end
  return #list > 0 and list or nil
end

-- A check that failed bars the component; one that could not be made does not.
local function check(c, o, set, info)
  if o.check == false then return { state = "none" } end
  if c.live then
    return { state = "untried", message = "there is no shadow of it that "
      .. "could be checked" }
  end
  if c.recoverable == false then
    return { state = "untried", message = "it cannot be recovered as it is" }
  end
  local op <close> = started(c, o, set, info)
  if not op then return { state = "none" } end
  local result, err = op:wait()
  if result ~= nil then
    -- What it found out is a table, when it is one that can be kept.
    return { state = "passed" }
  end
  if err.untried or err.cancelled or err.timeout then
    return { state = "untried", message = err.message }
  end
  c.recoverable, c.why = false, "its check failed: " .. err.message
  return { state = "failed", message = err.message,
    problems = problems_of(err) }
end

local function check_all(m, o, set)
  local chosen = set:components()
  for i, c in ipairs(m.components) do
    core.report { phase = "check", done = 30 + 10 * i // #m.components,
      total = 100 }
    c.check = check(c, o, set, chosen[i].writer)
    if o.on_component then o.on_component(c) end
  end
end


-- ------------------------------------------------------------------
-- What is known
-- ------------------------------------------------------------------

-- What holds of all of it: files of no application are as after a crash, if
-- they are of one instant.
local function consistency_of(m, o, set)
  local one = true
  for path, snapshot in pairs(set) do
    one = one and (not o.asked[path] or snapshot.consistency == "atomic"
      or snapshot.consistency == "held")
  end
  for _, pair in ipairs(set.skew or {}) do
    one = one and (pair.seconds == 0 or not (o.asked[pair.a]
      and o.asked[pair.b]))
  end
  m.consistency = one and "crash" or "none"
  return manifest.reached(m)
end

local function job_of(o)
  -- Which job's it is: versions of one are kept and forgotten together.
  local hash = 0xcbf29ce484222325
  for byte in (o.host .. "\0" .. table.concat(o.paths, "\0")):gmatch "." do
    hash = (hash ~ byte:byte()) * 0x100000001b3
  end
  return ("%s/%016x"):format(manifest.LATE, hash)
end

local function begin(o, set)
  local m = { saros = 1, id = core.guid(), host = o.host,
    created = os.date "!%Y-%m-%dT%H:%M:%SZ", type = o.type, paths = o.paths,
    set = { id = set.id, held = set.held, skew = set.skew },
    left_out = set.left_out,
    components = components.of(set, o.paths) }
  m.late = job_of(o)
  -- What a pattern of others takes out of a component is seen afterwards.
  for _, c in ipairs(m.components) do
    if #o.exclude > 0 then c.late = true end
  end
  return m
end

-- Everything that lies in `/.saros`, put together.
local function write(m, place, owners)
  for _, c in ipairs(m.components) do
    owners[c], c.owner = c.owner or owners[c], nil
    c.said.additions = nil -- they are in the version, not where it says
  end
  files.write(place.root .. "/restore-plan.txt", plan.text(m, function(c)
    return (kind.of(c.writer.id))
  end, function(c) return owners[c] end))
  files.write(place.root .. "/manifest.json", core.json_write(m, true))
end


-- ------------------------------------------------------------------
-- The task
-- ------------------------------------------------------------------

-- Waits for a step, whose progress is a part of ours.
local function step(op, from, to, phase)
  local _ <close> = op
  core.report { done = from, total = 100, phase = phase }
  for s in op:progress() do
    core.report { done = from + (to - from) * s.percent // 100, total = 100,
      phase = phase }
  end
  return finish(op)
end

-- Paths are where they lead to: a version has what is there, and the links that
-- lead to it, each as what it is. Applications know their files by those names.
local function follow(o)
  local real, links, seen, list = files.real(o.paths), {}, {}, {}
  local provider = type(o.provider) == "table" and {} or o.provider
  for _, path in ipairs(o.paths) do
    local at = ""
    for name in (real[path] == path and "" or path):gmatch "[^/]+" do
      local here = at .. "/" .. name
      local found = files.step("look", here)
      local is_link = found and found.type == "symlink"
      if is_link and not seen[here] then
        seen[here], links[#links + 1] = true, here
      end
      at = is_link and files.plain(files.real({ here })[here]) or here
      if at == "/" then at = "" end
    end
    local to = real[path]
    if type(o.provider) == "table" then
      provider[to] = o.provider[to] or o.provider[path]
    end
    if not seen[to] then seen[to], list[#list + 1] = true, to end
  end
  o.paths, o.links, o.provider = list, links, provider
end

local function shadow(o)
  local set = step(vss.shadow { paths = o.paths, provider = o.provider,
    writers = o.writers, type = o.type, timeouts = o.timeouts,
    state_dir = o.state_dir, whole = o.whole ~= false }, 0, 30, "shadow")
  -- From here on those that were added are as any others.
  o.asked = {}
  for _, path in ipairs(o.paths) do o.asked[path] = true end
  for _, one in ipairs(set.added) do o.paths[#o.paths + 1] = one.path end
  return set
end

-- What must be in the version, whole: what is known of it, and the files of what
-- can be recovered.
local function needed(m)
  local list = { manifest.DIRECTORY }
  for _, c in ipairs(m.components) do
    if c.recoverable then
      table.move(c.files, 1, #c.files, #list + 1, list)
    end
  end
  return list
end

local function store(o, m, set, place)
  local tags = { "saros", "saros-id:" .. m.id }
  if m.type == "copy" then tags[#tags + 1] = "saros-type:copy" end
  local exclude = components.excludes(m.components)
  table.move(o.exclude, 1, #o.exclude, #exclude + 1, exclude)
  if #exclude > 0 then
    exclude[#exclude + 1] = "!" .. manifest.DIRECTORY
    exclude[#exclude + 1] = "!" .. manifest.DIRECTORY .. "/**"
  end
  local sources = { set, { path = place.root,
    origin = { path = manifest.DIRECTORY } } }
  for _, link in ipairs(o.links) do
    if not files.inside(link, o.asked) then sources[#sources + 1] = link end
  end
  return step(o.repository:backup { sources = sources,
    tags = table.move(o.tags, 1, #o.tags, #tags + 1, tags), host = o.host,
    whole = needed(m), exclude = #exclude > 0 and exclude or nil }, 40, 90,
    "store")
end

-- A manifest that is in a repository never says of a component that it can be
-- recovered when it cannot, whoever dies when: one of which something cannot be
-- read makes no version, until the manifest says so.
local function store_whole(o, m, set, place)
  local owners = {}
  while true do
    write(m, place, owners)
    local r = store(o, m, set, place)
    if not r.torn then return r end
    if not late.torn(m, r) then
      local e = r.errors[1] or {}
      files.fail("E_FAIL", "what is known of the version could not be stored "
        .. "with it: %s: %s", tostring(e.path), tostring(e.message))
    end
  end
end

-- Who is told that it went well may let go of his history: nothing that is
-- barred is a reason for that.
local function succeeded(m, r)
  local barred = {}
  for _, c in ipairs(m.components) do
    local key = c.writer.instance .. "/" .. c.name
    barred[key] = barred[key] or not c.recoverable
  end
  return function(instance, component)
    return r.failed == 0 and barred[instance .. "/" .. component] == false
  end
end

local function backup(o)
  follow(o)
  local set <close> = shadow(o)
  local m = begin(o, set)
  check_all(m, o, set)
  m.consistency = consistency_of(m, o, set)
  local place <close> = require "saros.place".new { scratch = o.scratch }
  for _, c in ipairs(m.components) do
    late.add(c, c.said, place.root, c.additions)
  end
  local r = store_whole(o, m, set, place)
  -- Whoever waits for the end of it is told now; what he adds comes after.
  late.see(o, m, set, r)
  step(set:backup_complete(succeeded(m, r)), 90, 94, "complete")
  local more = late.store(o, m, set, r)
  return print_out.version { id = r.id, guid = m.id, time = m.created,
    components = m.components, consistency = m.consistency, host = m.host,
    type = m.type, paths = m.paths, set = m.set, left_out = m.left_out,
    added = set.added,
    late = more, partial = r.failed > 0, failed = r.failed, errors = r.errors,
    bytes_added = r.bytes_added, files = r.files }
end

---@class saros.wsb.backup.options
---@field repository saros.repository.handle where to, open
---@field paths string|string[] absolute; of one that is a link, or has one in it, what it leads to is in the version, by the name that that has
---@field type? "copy"|"full" copy (the default) leaves the applications' history alone; full lets them cut their logs
---@field provider? string|table<string, string> of the shadows: one for all, or by path
---@field writers? saros.vss.choice those without which it fails, and those that are left out
---@field tags? string|string[] of the version
---@field host? string instead of this machine's name
---@field exclude? string|string[] patterns, as restic has them. A component that loses files by one is stored, and cannot be recovered
---@field check? boolean|{ scratch: string?, timeout: number? } false: do not check the components. scratch: where copies for the checks are made; timeout: seconds for each of them (21600), then it is untried
---@field timeouts? table of the session of vss
---@field state_dir? string of the session of vss
---@field scratch? string where what is written meanwhile lies ($TMPDIR, or /var/tmp)
---@field whole? boolean also what a component has elsewhere, when the first of its files lies in the paths: its configuration, its log (true). What is not in the version bars it
---@field on_component? fun(c: table) called for each component when it was checked
---@field name? string of the operation

--- Makes a version of these paths, with all applications that have to do with
--- them holding still for the shadow. Each component is checked on the shadow;
--- one that fails is stored all the same, and barred from recovery. What is known
--- of the version, and a plan that restores it by hand, lie in it (`/.saros`).
---@param options saros.wsb.backup.options
---@return saros.operation op its result: `{ id, guid, components, consistency, added, partial, errors, … }`
local function start(options)
  local o = arguments.check(WHAT, options, kinds)
  arguments.need(WHAT, o, "repository", "an open one", 3)
  arguments.need(WHAT, o, "paths", "what to back up", 3)
  for i, path in ipairs(o.paths) do
    if not files.is_path(path) then
      error(("%s: option 'paths'[%d]: an absolute path expected"):format(WHAT,
        i), 2)
    end
    o.paths[i] = files.plain(path)
  end
  o.check_timeout = CHECK_TIMEOUT
  if type(o.check) == "table" then
    local more = arguments.check(WHAT .. ": option 'check'", o.check,
      { scratch = "string", timeout = "number" })
    o.scratch = more.scratch or o.scratch
    o.check_timeout = more.timeout or o.check_timeout
    o.check = true
  end
  o.type, o.tags, o.exclude = o.type or "copy", o.tags or {}, o.exclude or {}
  o.host = o.host or os.getenv "RESTIC_HOST"
    or (files.content "/proc/sys/kernel/hostname" or ""):gsub("\n$", "")
  return core.spawn_as(WHAT, o.name, backup, o)
end

return start
