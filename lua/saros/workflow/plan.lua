---@private
-- A dry run: what a workflow would do now, without doing any of it. It opens the
-- writers, asks them what they have, and looks into the repositories.

local core = require "saros.core"
local files = require "saros.wsb.files"
local journal = require "saros.workflow.journal"
local print_out = require "saros.workflow.print"
local place = require "saros.place"
local sources = require "saros.workflow.sources"
local target = require "saros.workflow.target"
local vss = require "saros.vss"

---@class saros.workflow.plan
---@field name string
---@field steps string[]
---@field paths string[]
---@field components table[] { writer, name, files }
---@field targets table[] { location, versions, forgets, new }
---@field warnings string[]

local function doubt(plan, ...)
  plan.warnings[#plan.warnings + 1] = string.format(...)
end

local function step(plan, ...)
  plan.steps[#plan.steps + 1] = string.format(...)
end

local function message_of(err)
  return tostring(type(err) == "table" and err.message or err)
end

-- What fails is said, and the rest is looked at. A cancel is none of that.
local function try(plan, what, f)
  local good, why = pcall(f)
  if good then return end
  if type(why) == "table" and why.cancelled then error(why, 0) end
  doubt(plan, "%s: %s", what, message_of(why))
end

local function hook_of(plan, of, owner)
  for _, name in ipairs { "before", "after", "failed", "finally" } do
    local f = owner[name]
    if f then
      step(plan, "call %s, %s %s", type(f) == "table" and f[1]
        or "a function", name, of)
    end
  end
end

local function close(session)
  if not pcall(session.close, session) then pcall(session.close, session) end
end

-- Where writers and who asks them meet, when somebody has been there before; else
-- a place that goes again, because whoever asks makes one.
local function meeting(o)
  local run = core.directory("run", o.state_dir, false)
  if run and core.directory("state", o.state_dir, false)
    and files.steps({ { "look", run .. "/writers" } })[1]
  then
    return o.state_dir
  end
  local at = place.new {} -- in no directory that is the workflow's
  return at.root, at
end

-- Who there is, by asking who he is: nobody prepares for anything.
local function ask_writers(plan, o)
  local state_dir, made <close> = meeting(o)
  local writers <close> = sources.open_writers { writers = o.writers,
    state_dir = state_dir }
  local _, _ = made, writers
  local session = vss.components { state_dir = state_dir }
  local guard <close> = setmetatable({}, { __close = function()
    close(session)
  end })
  local _ = guard
  session:initialize_for_backup()
  session:set_backup_state { type = o.type, select_components = true }
  local asked = files.finish(session:gather_writer_metadata {
    require = o.require or {}, exclude = {} })
  for _, one in ipairs(asked.left_out or {}) do
    doubt(plan, "the writer %s cannot say who it is: %s", one.name,
      one.message)
  end
  for _, writer in ipairs(session:writers()) do
    for _, c in ipairs(writer.components) do
      local concerns = #c.files == 0
      for _, file in ipairs(c.files) do
        for _, path in ipairs(plan.paths) do
          concerns = concerns or files.within(file, path)
            or files.within(path, file)
        end
        if #plan.paths > 0 and not files.inside(file, setmetatable({}, {
          __index = function(_, at)
            for _, path in ipairs(plan.paths) do
              if path == at then return true end
            end
          end }))
        then
          doubt(plan, "%s of %s is in none of the sources", file, c.name)
        end
      end
      if concerns then
        plan.components[#plan.components + 1] = { writer = writer.name,
          name = c.name, files = c.files }
        step(plan, "hold %s %s still", writer.name, c.name)
      end
    end
  end
end

local function look_into(plan, o, t, had)
  local entry = { location = t.location }
  plan.targets[#plan.targets + 1] = entry
  hook_of(plan, t.location, t)
  local given = {}
  for name, item in pairs(t.open) do given[name] = item end
  given.no_lock = true
  local good, repo = pcall(require "saros.repository".open, given)
  if not good then
    if type(repo) == "table" and repo.cancelled then error(repo, 0) end
    if t.init and target.is_missing(repo) then
      entry.new = true
      step(plan, "make a repository in %s, and store a version", t.location)
      return
    end
    doubt(plan, "%s: %s", t.location, message_of(repo))
    return
  end
  local _ <close> = repo
  entry.versions = #repo:versions()
  if had then
    step(plan, "store none in %s, which has %s of that run", t.location,
      had.stored.version:sub(1, 8))
  else
    step(plan, "store a version in %s, which has %d", t.location,
      entry.versions)
  end
  if t.verify and not (had and had.done.verify) then
    step(plan, "verify %s%s", t.location, t.verify ~= true
      and ", and read " .. tostring(t.verify) or "")
  end
  if t.keep then
    local rules = { dry_run = true, host = o.host,
      tags = { "saros-workflow:" .. o.name } }
    for name, item in pairs(t.keep) do rules[name] = item end
    local op <close> = repo:forget(rules)
    entry.forgets = #files.finish(op).removed
    step(plan, "forget %d of the versions in %s", entry.forgets, t.location)
  end
  if journal.due(o, t.prune, "prune", t.location) then
    step(plan, "prune %s", t.location)
  end
end

local function make(o, how)
  local wanted = target.wanted(o, how.only)
  local plan = setmetatable({ name = o.name, steps = {}, paths = {},
    components = {}, targets = {}, warnings = {} }, print_out.plan)
  local root, finished
  try(plan, "records", function() root, finished = journal.interrupted(o) end)
  if root then
    step(plan, "go on with the run %s, which was interrupted", root)
  end
  hook_of(plan, "the run", o)
  for _, source in ipairs(o.sources) do
    hook_of(plan, tostring(source.path or "a source"), source)
  end
  try(plan, "sources", function() plan.paths = sources.resolve(o) end)
  try(plan, "writers", function() ask_writers(plan, o) end)
  if #plan.paths > 0 then
    step(plan, "take a shadow of %s", table.concat(plan.paths, ", "))
  end
  for _, t in ipairs(wanted) do
    try(plan, t.location, function()
      look_into(plan, o, t, root and finished[t.location])
    end)
  end
  try(plan, "drill", function()
    if not o.drill or not journal.due(o, o.drill.every, "drill") then
      return
    elseif #plan.components == 0 then
      doubt(plan, "no drill: there is no application in what is stored")
    else
      step(plan, "restore and start the version, as a drill")
    end
  end)
  return plan
end

return make
