---@private
-- Live writers in a recovery: those of whom a component comes back to where it
-- was are told before and after, in one restore session of VSS. Who does not
-- run is not told, and need not be.

local core = require "saros.core"
local files = require "saros.wsb.files"
local surely = require "saros.surely"
local vss = require "saros.vss"

local telling = {}

local finish = files.finish

-- What a session needs to know of the backup: the document that it would have
-- saved, of these components.
local function document(m, list)
  local writers, by = {}, {}
  for _, c in ipairs(list) do
    local key = c.writer.id .. c.writer.instance
    local w = by[key]
    if not w then
      w = { id = c.writer.id, instance = c.writer.instance,
        name = c.writer.name, components = {} }
      by[key], writers[#writers + 1] = w, w
    end
    if not w[c.name] then
      w[c.name] = true
      w.components[#w.components + 1] = { name = c.name,
        type = c.type == "database" and "database" or "filegroup",
        logical_path = c.logical_path, selected = true, succeeded = true }
    end
    if next(c.said) then
      w.said = w.said or { components = {} }
      w.said.components[c.name] = c.said
    end
  end
  for i, w in ipairs(writers) do
    writers[i] = { id = w.id, instance = w.instance, name = w.name,
      components = w.components, said = w.said }
  end
  return core.json_write { format = "saros.backup_components", version = 1,
    mode = "backup", context = vss.context.backup, attributes = 0,
    backup = { type = m.type == "full" and "full" or "copy",
      select_components = true, bootable_system_state = false,
      partial_files = false },
    snapshots = {}, writers = writers, machine = m.host or "",
    created = os.date "!%Y-%m-%dT%H:%M:%S+00:00" }
end

local function touch(own, c, real)
  for _, a in ipairs(own.files) do
    for _, b in ipairs(c.files) do
      if files.within(a, b) or files.within(b, a)
        or files.within(real[a], real[b]) or files.within(real[b], real[a])
      then
        return true
      end
    end
  end
  return #own.files == 0
end

-- Whether it is his: of the writer that it was, or, as one that was started
-- again is another one, of one of the same class that has it where it was.
local function is_of(w, c)
  if w.id ~= c.writer.id then return false end
  for _, own in ipairs(w.components) do
    if own.name == c.name
      and (own.logical_path or "") == (c.logical_path or "")
    then
      if w.instance == c.writer.instance then return true end
      local all = table.move(c.files, 1, #c.files, #own.files + 1,
        { table.unpack(own.files) })
      return touch(own, c, files.real(all))
    end
  end
  return false
end

local methods = {}
methods.__index = methods

-- Whoever could have been told, and could not say who he is: unless somebody
-- else is told for him.
local function warn_of(self, left)
  for _, w in ipairs(left) do
    local mine = false
    for _, c in ipairs(self.list) do
      mine = mine or c.writer.id == w.id and not self.heard[c]
    end
    if mine then
      self.warnings[#self.warnings + 1] = ("the writer %s was not told: %s")
        :format(w.name, w.message)
    end
  end
end

--- Who is told in the recovery of these components of a version. `heard[c]`: its
--- application is told in another way.
---@param m table the manifest
---@param list table[]
---@param o saros.wsb.recover.options
---@param r table the result: `writers`, `warnings`
function telling.new(m, list, o, r, heard)
  r.writers = {}
  return setmetatable({ m = m, list = list, heard = heard, choice = o.writers,
    told = r.writers, warnings = r.warnings, chosen = {},
    session = vss.components { state_dir = o.state_dir,
      timeouts = o.timeouts } }, methods)
end

-- Who runs, of those whose components these are. A program that is told by a
-- hook of its own is not asked as a writer, too: the hook may have stopped the
-- container that it is called in.
local function choose(self)
  local s = self.session
  for _, w in ipairs(s:writers()) do
    local any = false
    for _, c in ipairs(self.list) do
      if is_of(w, c) and not (w.way == "command" and self.heard[c]) then
        s:set_selected_for_restore(w.instance, c.name)
        self.chosen[#self.chosen + 1] = { w.instance, c.name }
        any = true
      end
    end
    if any then
      self.told[#self.told + 1] = { id = w.id, instance = w.instance,
        name = w.name }
    end
  end
end

--- Tells them that their components are about to be replaced. Raises when one
--- says no: the others hear of the end of it all the same.
function methods:before()
  local s, classes = self.session, {}
  for i, c in ipairs(self.list) do classes[i] = c.writer.id end
  s:initialize_for_restore(document(self.m, self.list))
  s:enable_writer_classes(classes)
  local found, err = s:gather_writer_metadata(self.choice or {}):wait()
  if not found and err.name == "VSS_E_WRITER_INFRASTRUCTURE" then
    files.fail("E_FAIL", "nobody can tell which writers run: %s; name another "
      .. "directory for that (state_dir)", err.message)
  elseif not found then
    error(err, 0)
  end
  warn_of(self, found.left_out)
  choose(self)
  if not self.told[1] then return end
  local op = s:pre_restore()
  self.begun = true
  finish(op)
end

-- To its end; true when we were cancelled meanwhile: it goes on all the same.
local function is_late(op) return select(3, surely.wait(op)) ~= nil end

-- What became of those who were told, after the second time.
local function look(self)
  local by = {}
  for _, w in ipairs(self.session:writer_status()) do by[w.instance] = w end
  for _, told in ipairs(self.told) do
    local w = by[told.instance]
    -- Who has said no before was not told again.
    if w and w.failure ~= 0 and w.state ~= vss.state.failed_at_pre_restore then
      told.failure = w.failure
      told.message = w.message or w.failure_name or "it does not say why"
      self.warnings[#self.warnings + 1] = ("the writer %s failed at "
        .. "post_restore: %s"):format(w.name, told.message)
    end
  end
end

--- Tells whoever was told, whatever came of it, and ends the session. True when
--- we were cancelled meanwhile. Who fails now is told in the result.
---@param laid boolean whether the files are there
function methods:after(laid)
  local late, s = false, self.session
  local ok, err = pcall(function()
    if not self.begun then return end
    for _, one in ipairs(self.chosen) do
      s:set_file_restore_status(one[1], one[2], laid and "all" or "none")
    end
    late = is_late(s:post_restore())
    late = is_late(s:gather_writer_status()) or late
    look(self)
  end)
  -- Of a session that was ended before it told anybody there is nothing to say.
  if not ok and err.name ~= "VSS_E_BAD_STATE" then
    self.warnings[#self.warnings + 1] = "the writers were not told of the end: "
      .. tostring(err.message or err)
  end
  -- Once more, if we were cancelled in the middle of it.
  if not pcall(s.close, s) then
    late = true
    pcall(s.close, s)
  end
  return late
end

return telling
