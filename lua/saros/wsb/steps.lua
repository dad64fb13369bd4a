---@private
-- The steps of a backup of applications, one by one: for who makes all of it
-- (`wsb.backup`), and for who keeps one shadow for several repositories. All of
-- them are called in tasks, report how far they are, and raise what went wrong.
--
-- A job is the shadow and what is known of it; a copy is what one repository has
-- of it, which may end in another way than the next one's.

local core = require "saros.core"
local components = require "saros.wsb.components"
local files = require "saros.wsb.files"
local format = require "saros.format"
local kind = require "saros.writers.kind"
local late = require "saros.wsb.late"
local manifest = require "saros.wsb.manifest"
local plan = require "saros.wsb.plan"
local print_out = require "saros.wsb.print"
local vss = require "saros.vss"

local steps = {}

local finish = files.finish

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

--- Each component, on the shadow.
function steps.check(job)
  local m, o, set = job.m, job.o, job.set
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
  return manifest.LATE .. "/" .. require "saros.text".hash(o.host .. "\0"
    .. table.concat(o.paths, "\0"))
end

local function begin(o, set)
  local m = format.stamp({ id = core.guid(), host = o.host,
    created = os.date "!%Y-%m-%dT%H:%M:%SZ", type = o.type, paths = o.paths,
    set = { id = set.id, held = set.held, skew = set.skew },
    left_out = set.left_out,
    components = components.of(set, o.paths) }, format.manifest)
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
-- The steps
-- ------------------------------------------------------------------

-- Waits for an operation, whose progress is a part of ours.
local function follow(op, from, to, phase)
  local _ <close> = op
  core.report { done = from, total = 100, phase = phase }
  for s in op:progress() do
    core.report { done = from + (to - from) * s.percent // 100, total = 100,
      phase = phase, held_since = s.held_since, held_until = s.held_until,
      held = s.held }
  end
  return finish(op)
end

-- Paths are where they lead to: a version has what is there, and the links that
-- lead to it, each as what it is. Applications know their files by those names.
local function lead(o)
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

---@class saros.wsb.job
---@field o table the options
---@field set saros.vss.set
---@field m table the manifest, as it was before anything was stored
---@field place? saros.place what lies in /.saros
---@field owners table whose a component's files are, by component
local job_type = { __name = "saros.wsb.job" }
job_type.__index = job_type

--- Lets the shadows go.
function job_type:close()
  local _ <close> = self.set
  if self.place then self.place:close() end
end

job_type.__close = job_type.close

--- The shadow, while the applications hold still.
---@return saros.wsb.job
function steps.shadow(o)
  lead(o)
  local set = follow(vss.shadow { paths = o.paths, provider = o.provider,
    writers = o.writers, type = o.type, timeouts = o.timeouts,
    state_dir = o.state_dir, whole = o.whole ~= false }, 0, 30, "shadow")
  -- From here on those that were added are as any others.
  o.asked = {}
  for _, path in ipairs(o.paths) do o.asked[path] = true end
  for _, one in ipairs(set.added) do o.paths[#o.paths + 1] = one.path end
  local job = setmetatable({ o = o, set = set, owners = {} }, job_type)
  local good, why = pcall(function() job.m = begin(o, set) end)
  if good then return job end
  job:close()
  error(why, 0)
end

--- What was found out is written down, for whoever stores it.
function steps.write(job)
  local m = job.m
  m.consistency = consistency_of(m, job.o, job.set)
  job.place = require "saros.place".new { scratch = job.o.scratch }
  for _, c in ipairs(m.components) do
    late.add(c, c.said, job.place.root, c.additions)
  end
  write(m, job.place, job.owners)
end

local function copied(item)
  if type(item) ~= "table" then return item end
  local copy = {}
  for name, field in pairs(item) do copy[name] = copied(field) end
  return copy
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

local function store(job, o, m, place, watch)
  local tags = { "saros", "saros-id:" .. m.id }
  if m.type == "copy" then tags[#tags + 1] = "saros-type:copy" end
  local exclude = components.excludes(m.components)
  table.move(o.exclude, 1, #o.exclude, #exclude + 1, exclude)
  if #exclude > 0 then
    exclude[#exclude + 1] = "!" .. manifest.DIRECTORY
    exclude[#exclude + 1] = "!" .. manifest.DIRECTORY .. "/**"
  end
  local sources = { job.set, { path = place.root,
    origin = { path = manifest.DIRECTORY } } }
  for _, link in ipairs(o.links) do
    if not files.inside(link, o.asked) then sources[#sources + 1] = link end
  end
  local op = o.repository:backup { sources = sources,
    tags = table.move(o.tags, 1, #o.tags, #tags + 1, tags), host = o.host,
    whole = needed(m), exclude = #exclude > 0 and exclude or nil }
  if watch then watch(op) end
  return follow(op, 40, 90, "store")
end

-- The same as the job has, for a copy that says something else.
local function own_place(job)
  local place = require "saros.place".new { scratch = job.o.scratch }
  local good, why = pcall(function()
    finish(core.process { argv = { "cp", "-a", "--reflink=auto", "--",
      job.place.root .. "/.", place.root } })
  end)
  if good then return place end
  place:close()
  error(why, 0)
end

--- A version in this repository. `watch` is called with the operation that
--- stores. A manifest that is in a repository never says of a component that it
--- can be recovered when it cannot, whoever dies when: one of which something
--- cannot be read makes no version, until the manifest says so.
---@return table copy
function steps.store(job, repository, watch)
  local o = setmetatable({ repository = repository }, { __index = job.o })
  local m, owners = copied(job.m), {}
  for i, c in ipairs(m.components) do
    late.twin(job.m.components[i], c)
    owners[c] = job.owners[job.m.components[i]]
  end
  local r = store(job, o, m, job.place, watch)
  local own <close> = r.torn and own_place(job) or nil
  while r.torn do
    if not late.torn(m, r) then
      local e = r.errors[1] or {}
      files.fail("E_FAIL", "what is known of the version could not be stored "
        .. "with it: %s: %s", tostring(e.path), tostring(e.message))
    end
    write(m, own, owners)
    r = store(job, o, m, own, watch)
  end
  late.see(o, m, job.set, r)
  return { o = o, m = m, r = r }
end

-- Who is told that it went well may let go of his history: nothing that is
-- barred in one of the copies, or not all there, is a reason for that.
local function succeeded(copies, all)
  local good = {}
  for _, copy in ipairs(copies) do
    for _, c in ipairs(copy.m.components) do
      local key = c.writer.instance .. "/" .. c.name
      good[key] = good[key] ~= false and c.recoverable and copy.r.failed == 0
    end
  end
  return function(instance, component)
    return all and good[instance .. "/" .. component] == true
  end
end

--- Whoever waits for the end of it is told now; what he adds comes after.
--- `all`: there is a copy everywhere where there was to be one.
function steps.complete(job, copies, all)
  follow(job.set:backup_complete(succeeded(copies, all)), 90, 94, "complete")
end

--- What was known only now is stored, too.
---@return saros.wsb.version version
function steps.late(job, copy)
  local m, r = copy.m, copy.r
  local more = late.store(copy.o, m, job.set, r)
  return print_out.version { id = r.id, guid = m.id, time = m.created,
    components = m.components, consistency = m.consistency, host = m.host,
    type = m.type, paths = m.paths, set = m.set, left_out = m.left_out,
    added = job.set.added, late = more, partial = r.failed > 0,
    failed = r.failed, errors = r.errors,
    bytes_added = r.bytes_added, bytes_stored = r.bytes_packed,
    bytes = r.bytes,
    files = r.files }
end

return steps
