--- What `vss.shadow` results in: the shadows of some paths.
---
--- ```lua
--- for path, p in pairs(set) do print(path, p.path, p.consistency) end
--- ```

local core = require "saros.core"

--- Seconds on a clock that nobody sets: one may be taken from another.
---@class saros.vss.times
---@field writers { name: string, instance: string, asked: number, from: number, to: number }[] asked to freeze; held still from, to
---@field volumes { path: string, frozen: boolean, from: number, to: number }[] frozen from, to; or, when nobody froze it, its shadow was made from, to

---@class saros.vss.set: { [string]: saros.vss.snapshot }
---@field id string
---@field held number seconds that anybody had to hold still
---@field rehearsed number seconds that writes waited once before, while the freeze was tried out
---@field skew { a: string, b: string, seconds: number }[] of each pair: 0 when both are of one instant
---@field times saros.vss.times who held still, from when to when
---@field writers { id: string, instance: string, name: string, state: integer, failure: integer, said: table? }[] those that took part, with what they said so far
---@field left_out saros.vss.left_out[] those that could not say who they are, and were not asked
---@field added { path: string, writer: string, component: string }[] paths that were not given, of components that were (`whole`)
local set = {}

-- What a script does not see: by set.
local hidden = setmetatable({}, { __mode = "k" })

--- The backup's document, for a restore or to import the shadows.
---@return string
function set:save()
  return hidden[self].session:save()
end

--- What a writer has said beyond yes, by now: see `session:said`.
---@param writer string its id, instance or name
---@return table? said
function set:said(writer)
  local h = hidden[self]
  if h.tells then return h.session:said(writer) end
end

--- The components that take part, with what their writers say of themselves.
---@return { writer: saros.vss.writer_info, component: saros.vss.component }[]
function set:components()
  local h, list, by = hidden[self], {}, {}
  for _, writer in ipairs(h.tells and h.session:writers() or {}) do
    by[writer.instance] = writer
  end
  for _, chosen in ipairs(h.components) do
    local writer = by[chosen.writer]
    for _, c in ipairs(writer and writer.components or {}) do
      if c.name == chosen.component then
        list[#list + 1] = { writer = writer, component = c }
      end
    end
  end
  return list
end

--- Tells the writers that the backup is done, before `close`.
---@param ok? boolean|fun(instance: string, component: string): boolean whether it went well (true): all of it, or this component
---@return saros.operation
function set:backup_complete(ok)
  local h = hidden[self]
  if not h.tells then return core.sleep(0) end
  for _, c in ipairs(h.components) do
    local well = ok ~= false
    if type(ok) == "function" then well = ok(c.writer, c.component) end
    h.session:set_backup_succeeded(c.writer, c.component, well)
  end
  return h.session:backup_complete()
end

--- Lets the shadows go, if they were not meant to stay. A backup that was not
--- said to be complete is aborted: its writers are told so. Also `__close`.
---@param seconds? number wait at most so long
---@return boolean? closed
---@return saros.error? err
function set:close(seconds)
  return hidden[self].session:close(seconds)
end

local class = { __name = "saros.vss.set", __index = set }

function class.__close(self) set.close(self) end

function class.__tostring(self)
  local lines = {
    ("saros.vss.set: %s, held %.3f s"):format(self.id, self.held),
  }
  for _, path in ipairs(hidden[self].paths) do
    lines[#lines + 1] = ("%s  %s (%s, %s)"):format(path, self[path].path,
      self[path].provider, self[path].consistency)
  end
  for _, writer in ipairs(self.left_out) do
    lines[#lines + 1] = ("the writer %s was left out: %s"):format(writer.name,
      writer.message)
  end
  return table.concat(lines, "\n")
end

-- `for path, p in pairs(set)`, in the order in which they were given.
function class.__pairs(self)
  local i, paths = 0, hidden[self].paths
  return function()
    i = i + 1
    return paths[i], paths[i] and self[paths[i]]
  end
end

function set._new(session, outcome, o)
  local made = { id = outcome.set, held = outcome.held,
    rehearsed = outcome.rehearsed, skew = outcome.skew,
    times = outcome.times,
    writers = outcome.writers, left_out = o.left_out or {},
    added = o.added or {} }
  for i, path in ipairs(o.paths) do made[path] = outcome.snapshots[i] end
  hidden[made] = { session = session, paths = o.paths, tells = o.tells,
    components = o.components }
  return setmetatable(made, class)
end

return set
