--- Records of runs: what was done when, how long anybody had to hold still, and
--- what came of it, a line of JSON for each as it happens. Whoever is killed
--- leaves a record that says how far he was.
---
--- ```lua
--- local record = require "saros.record"
--- local r <close> = record.begin { kind = "backup", name = "by hand" }
--- local o = r:op { lane = "target:/mnt/a", name = "backup" }
--- local v, err = saros.wsb.backup { … }:wait()
--- o:done(err)
--- r:done(err, v and { versions = { { location = "/mnt/a", id = v.id } } })
--- for _, run in ipairs(record.list { limit = 10 }) do print(run.name, run.state) end
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local E = require "saros.code"
local format = require "saros.format"

---@class saros.record
local record = {}

local VERSION <const> = 1
local PAUSE <const> = 0.5 -- seconds between two samples of an operation


-- ------------------------------------------------------------------
-- Where they are
-- ------------------------------------------------------------------

local function fail(code, ...)
  error(core.failure("saros", E[code], string.format(...)), 0)
end

local function names_in(path)
  local op <close> = core.entries { { "names", path } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result[1]
end

-- For who writes it is made; nobody else may look into it.
local function directory(state_dir)
  local path = core.directory("state", state_dir) .. "/runs"
  local op <close> = core.entries { { "look", path } }
  local there, err = op:wait()
  if not there then error(err, 0) end
  if there[1] then return path end
  local made <close> = core.entries { { "make", path } }
  local ok, why = made:wait()
  -- Somebody else was quicker, perhaps.
  if not ok and why.errno ~= 17 then error(why, 0) end
  return path
end

local function hostname()
  local file <close> = io.open "/proc/sys/kernel/hostname"
  return file and file:read "l" or "localhost"
end

-- Of Lua's `arg`, too, which has more than words.
local function words_of(argv)
  if not argv then return nil end
  local words = {}
  for i, word in ipairs(argv) do words[i] = tostring(word) end
  return words
end

-- Names in their order are the order in which they were begun.
local function new_name(now)
  local us = math.floor(now * 1000000)
  local id = ("%05x%s"):format(us % 1000000, core.guid():sub(1, 3))
  return os.date("!%Y%m%dT%H%M%SZ-", us // 1000000) .. id .. ".jsonl", id
end

local function rfc3339(now)
  local ms = math.floor(now * 1000)
  return ("%s.%03d+00:00"):format(os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000),
    ms % 1000)
end


-- ------------------------------------------------------------------
-- What is written
-- ------------------------------------------------------------------

-- An error as a record has it: its chain, and nothing that is an object.
local function plain_error(err, depth)
  if err == nil then return nil end
  if type(err) ~= "table" then return { message = tostring(err) } end
  depth = depth or 0
  return { name = err.name, code = err.code,
    message = tostring(err.message or err),
    timeout = err.timeout and true or nil,
    cause = err.cause ~= nil and depth < 8
      and plain_error(err.cause, depth + 1) or nil }
end

local error_type = { __name = "saros.record.error",
  __tostring = function(err) return err.message end }

--- An error as a record has it: its name, code, message and cause, and nothing
--- that is an object.
---@param err any
---@return table?
function record.error(err)
  local plain = plain_error(err)
  return plain and setmetatable(plain, error_type)
end

local function state_of(err, partial)
  if type(err) == "table" and err.cancelled then return "cancelled" end
  if err ~= nil then return "failed" end
  return partial and "partial" or "succeeded"
end

---@class saros.record.writer
---@field id string
---@field path string
---@field private file file*
local writer = {}
writer.__index = writer
writer.__name = "saros.record.writer"

local function ms(self, at) return math.floor((at - self.steady) * 1000) end

local function now_ms(self)
  local _, steady = core.clocks()
  return ms(self, steady)
end

-- A record that cannot be written is no reason for a run to fail: that is said
-- once. What is torn stays on a line of its own.
local function put(self, line)
  if not self.file then return end
  local text = core.json_write(line) .. "\n"
  if self.torn then text = "\n" .. text end
  local good, why = self.file:write(text)
  self.torn = not good
  if good or self.told then return end
  self.told = true
  warn(("saros: the record %s is not whole: %s"):format(self.path, why))
end

---@class saros.record.operation
---@field private of saros.record.writer
local operation = {}
operation.__index = operation

---@class saros.record.op.options
---@field lane string what it belongs to: "step", "writer:NAME", "volume:PATH", "target:LOCATION", …
---@field name string
---@field parent? saros.record.operation
---@field watch? saros.operation its bytes are noted, and its end

--- Something begins.
---@param options saros.record.op.options
---@return saros.record.operation
function writer:op(options)
  local o = arguments.check("record:op", options, { lane = "string",
    name = "string", parent = "table", watch = "userdata" })
  arguments.need("record:op", o, "lane", "\"step\"")
  arguments.need("record:op", o, "name", "what is done")
  self.count = self.count + 1
  local op = setmetatable({ of = self, n = self.count }, operation)
  put(self, { op = op.n, parent = o.parent and o.parent.n, lane = o.lane,
    name = o.name, at = now_ms(self) })
  if o.watch then op:watch(o.watch) end
  return op
end

--- How far it is, now. At most two a second are kept.
---@param bytes integer
---@param total? integer
function operation:sample(bytes, total)
  local at = now_ms(self.of)
  if self.over or bytes == self.bytes
    or self.sampled and at - self.sampled < PAUSE * 1000
  then
    return
  end
  self.sampled, self.bytes = at, bytes
  put(self.of, { op = self.n, at = at, bytes = bytes, total = total })
end

-- How far it came in the end, if its handle is still open.
local function put_last(self)
  local op = self.watched
  if not op then return end
  local good, s = pcall(op.status, op)
  if good and s.done and s.done ~= self.bytes then
    put(self.of, { op = self.n, at = now_ms(self.of), bytes = s.done,
      total = s.total })
  end
end

--- Notes how far an operation is, until that has ended, or this is done.
---@param op saros.operation
---@param finish? boolean it is done when the operation is (true)
function operation:watch(op, finish)
  self.watched = op
  core.spawn(function()
    local over = core.gather({ op }, "all")
    while not self.over do
      local ended = over:wait(PAUSE)
      local s = op:status()
      if s.done and not self.over then self:sample(s.done, s.total) end
      if ended then
        if finish ~= false then
          self:done(not op:ok() and (select(2, op:result())) or nil)
        end
        break
      end
    end
    over:close()
  end)
end

--- It has ended. The first to say so is right.
---@param err? any why it failed
---@param detail? table what there is to know of it; `state` overrides what follows from the error: "skipped", "partial"
function operation:done(err, detail)
  if self.over then return end
  put_last(self)
  self.over = true
  local state = detail and detail.state or state_of(err)
  local more
  for name, item in pairs(detail or {}) do
    if name ~= "state" then
      more = more or {}
      more[name] = item
    end
  end
  local good, text = pcall(core.json_write, more or {})
  put(self.of, { op = self.n, ended = now_ms(self.of), state = state,
    code = type(err) == "table" and err.code or nil, error = plain_error(err),
    detail = good and more or more and { text = text } or nil })
end

-- What is held is held for milliseconds: tenths of them can be told apart.
local function finely(self, at)
  return math.floor((at - self.steady) * 10000) / 10
end

--- Who had to hold still for a set, and from when to when.
---@param set saros.vss.set
function writer:held(set)
  local from, to, writers, volumes = nil, nil, {}, {}
  local function span(list, one, more)
    more.from, more.to = finely(self, one.from), finely(self, one.to)
    list[#list + 1] = more
    from = math.min(from or more.from, more.from)
    to = math.max(to or more.to, more.to)
  end
  for _, w in ipairs(set.times.writers) do
    span(writers, w, { name = w.name, asked = finely(self, w.asked) })
  end
  for _, v in ipairs(set.times.volumes) do
    span(volumes, v, { path = v.path, frozen = v.frozen })
  end
  local skew = 0
  for _, pair in ipairs(set.skew or {}) do
    skew = math.max(skew, pair.seconds)
  end
  put(self, { held = { from = from, to = to, writers = writers,
    volumes = volumes, skew = math.floor(skew * 10000 + 0.5) / 10,
    held = set.held * 1000 } })
end

--- Something was said.
---@param level "error"|"warning"|"notice"|"debug"
---@param text string
function writer:log(level, text)
  put(self, { log = { at = now_ms(self), level = level,
    text = tostring(text) } })
end

--- A line of the caller's own: others pass over it.
---@param name string
---@param item any
function writer:note(name, item) put(self, { [name] = item }) end

--- The end.
---@param err? any why it failed
---@param result? table what came of it; `partial`: not all of it
function writer:done(err, result)
  if not self.file then return end
  put(self, { ended = now_ms(self),
    state = result and result.state or state_of(err, result and result.partial),
    code = type(err) == "table" and err.code or nil, error = plain_error(err),
    result = result })
  self.file:close()
  self.file = nil
end

function writer:__close(err)
  self:done(err == nil and "it was left without an end" or err)
end

-- A name for a file, whatever the name is.
local function hash(text)
  local sum = 0xcbf29ce484222325
  for byte in text:gmatch "." do
    sum = (sum ~ byte:byte()) * 0x100000001b3
  end
  return ("%016x"):format(sum)
end

--- Takes a name for a run that may only be there once at a time: a handle, which
--- gives it back when it is closed, or with the end of this process. nil:
--- somebody else has it. No clock has to be right for that.
---@param name string
---@param state_dir? string
---@return file*?
function record.claim(name, state_dir)
  directory(state_dir) -- which makes it
  local path = ("%s/%s.claim"):format(core.directory("state", state_dir),
    hash(name))
  local file, why, number = core.claimed_file(path)
  if file then return file end
  if number == 11 then return nil end
  fail("E_FAIL", "nobody can tell whether %s is running already: %s", name, why)
end

---@class saros.record.begin.options
---@field kind string "workflow", "backup", "restore", "drill", "hold", "prune", …
---@field name? string of whom: a workflow's
---@field argv? string[] the command, without its secrets
---@field host? string
---@field resumes? string the id of the run that this one ends
---@field state_dir? string

--- Begins a record: STATE/runs/<when>-<id>.jsonl, for its owner alone. Raises
--- when it cannot be written.
---@param options saros.record.begin.options
---@return saros.record.writer
function record.begin(options)
  local o = arguments.check("record.begin", options, { kind = "string",
    name = "string", argv = "table", host = "string", state_dir = "string",
    resumes = "string" })
  arguments.need("record.begin", o, "kind", "\"backup\"")
  local at = directory(o.state_dir)
  local self = setmetatable({ count = 0 }, writer)
  local wall
  repeat
    local name, why, number
    wall, self.steady = core.clocks()
    name, self.id = new_name(wall)
    self.path = at .. "/" .. name
    self.file, why, number = core.private_file(self.path)
    if not self.file and number ~= 17 then
      fail("E_FAIL", "no record of this run can be written: %s", why)
    end
  until self.file
  self.file:setvbuf "no"
  local owner = core.owner()
  put(self, { saros_record = VERSION, id = self.id, name = o.name,
    kind = o.kind, host = o.host or hostname(),
    pid = owner.pid, owner = owner, begun = rfc3339(wall),
    version = format.program, argv = words_of(o.argv), resumes = o.resumes })
  return self
end


-- ------------------------------------------------------------------
-- What is read
-- ------------------------------------------------------------------

local function line_of(text)
  local line = text and core.json_read(text)
  return type(line) == "table" and line or nil
end

-- nil: there is none, or none that says what it is.
local function header_of(file)
  local header = line_of(file:read "l")
  return header and math.type(header.saros_record) == "integer" and header
    or nil
end

-- The last whole line, if that is an ending.
local function ending_of(file)
  local size, back = file:seek "end", 4096
  repeat
    local from = math.max(0, size - back)
    file:seek("set", from)
    local tail = file:read "a" or ""
    if tail:sub(-1) ~= "\n" then return nil end
    local last = tail:match "\n([^\n]+)\n$"
    if last then
      local line = line_of(last)
      return line and line.op == nil and line.ended and line or nil
    end
    back = back * 16
  until from == 0
  return nil
end

local function judged(header, ending)
  if ending then return ending.state end
  local lives = type(header.owner) == "table"
    and core.owner_lives(header.owner)
  return lives and "running" or "interrupted"
end

local function seconds(ending)
  return ending and math.type(ending.ended) and ending.ended / 1000 or nil
end

---@class saros.record.summary
---@field path string
---@field id string
---@field kind string
---@field name? string
---@field host string
---@field begun string RFC 3339
---@field time number the same, in seconds since 1970
---@field seconds? number how long it took; nil: it has not ended
---@field state "running"|"interrupted"|"succeeded"|"failed"|"cancelled"|"partial"
---@field error? table
---@field result? table

local function summary(path, header, ending)
  return { path = path, id = header.id, kind = header.kind, name = header.name,
    host = header.host, begun = header.begun, time = record.time(header.begun),
    pid = header.pid, argv = header.argv, resumes = header.resumes,
    version = header.version, newer = header.saros_record > VERSION or nil,
    seconds = seconds(ending), state = judged(header, ending),
    error = ending and ending.error, code = ending and ending.code,
    result = ending and ending.result }
end

--- RFC 3339 as records have it, in seconds since 1970; nil: it is none.
---@param text string
---@return number?
function record.time(text)
  local y, mo, d, h, mi, s = tostring(text):match
    "^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):([%d.]+)"
  s = tonumber(s)
  if not s then return nil end
  -- Days of a year that begins in March.
  y, mo, d = math.tointeger(y), math.tointeger(mo), math.tointeger(d)
  if mo <= 2 then y, mo = y - 1, mo + 12 end
  local days = 365 * y + y // 4 - y // 100 + y // 400
    + (153 * (mo - 3) + 2) // 5 + d - 719469
  return days * 86400 + h * 3600 + mi * 60 + s
end

---@class saros.record.list.options
---@field state_dir? string
---@field name? string
---@field kind? string
---@field limit? integer

--- The runs, the newest first: their beginnings and ends. Files that are none,
--- or are damaged at the beginning, are passed over.
---@param options? saros.record.list.options
---@return saros.record.summary[]
function record.list(options)
  local o = arguments.check("record.list", options, { state_dir = "string",
    name = "string", kind = "string", limit = "integer" })
  local at, list = directory(o.state_dir), {}
  local names = names_in(at)
  for i = #names, 1, -1 do
    if o.limit and #list >= o.limit then break end
    if names[i]:find "^%d+T%d+Z%-%x+%.jsonl$" then
      local path = at .. "/" .. names[i]
      local file <close> = io.open(path, "rb")
      local header = file and header_of(file)
      if header and (not o.name or header.name == o.name)
        and (not o.kind or header.kind == o.kind)
      then
        list[#list + 1] = summary(path, header, ending_of(file))
      end
    end
  end
  return list
end

---@class saros.record.run: saros.record.summary
---@field ops table[] { n, parent, lane, name, at, ended, state, code, error, detail, samples = { { at, bytes, total } } } in the order of their beginnings; times in ms since it was begun
---@field held table[] { from, to, writers, volumes, skew, held }
---@field log table[] { at, level, text }
---@field notes table<string, table> what else there is, by name: a list
---@field torn integer lines that are not whole

local function take(run, by, line)
  if line.op then
    local op = by[line.op]
    if line.lane then
      op = { n = line.op, parent = line.parent, lane = line.lane,
        name = line.name, at = line.at, samples = {} }
      by[line.op] = op
      run.ops[#run.ops + 1] = op
    elseif op and line.ended then
      op.ended, op.state, op.code = line.ended, line.state, line.code
      op.error, op.detail = line.error, line.detail
    elseif op and line.bytes then
      op.samples[#op.samples + 1] = { at = line.at, bytes = line.bytes,
        total = line.total }
    end
  elseif line.held then
    run.held[#run.held + 1] = line.held
  elseif line.log then
    run.log[#run.log + 1] = line.log
  elseif not line.ended and not line.saros_record then
    for name, item in pairs(line) do
      run.notes[name] = run.notes[name] or {}
      table.insert(run.notes[name], item)
    end
  end
end

--- All of one record. A last line that is torn, as a killed process or a full
--- disk leaves it, counts in `torn`. Raises when it is no record, or of a newer
--- saros.
---@param path string
---@return saros.record.run
function record.read(path)
  local file <close>, why = io.open(path, "rb")
  if not file then fail("E_FAIL", "this record cannot be read: %s", why) end
  local header = header_of(file)
  if not header then
    fail("SAROS_E_DAMAGED", "%s is no record of a run", path)
  end
  local newer = format.newer("the record " .. path, {
    saros = header.saros_record, program = header.version }, VERSION)
  if newer then error(newer, 0) end
  local ending = ending_of(file)
  local run = summary(path, header, ending)
  run.ops, run.held, run.log, run.notes, run.torn = {}, {}, {}, {}, 0
  local by = {}
  file:seek "set"
  for text in file:lines "L" do
    local line = text:sub(-1) == "\n" and line_of(text)
    if line then
      take(run, by, line)
    elseif text ~= "\n" then
      run.torn = run.torn + 1
    end
  end
  return run
end

--- Removes old records: of each kind and name so many stay, and all that are
--- not over.
---@param options? { state_dir: string?, keep: integer? }
---@return integer removed
function record.prune(options)
  local o = arguments.check("record.prune", options, { state_dir = "string",
    keep = "integer" })
  local keep, seen, removed = o.keep or 400, {}, 0
  for _, run in ipairs(record.list { state_dir = o.state_dir }) do
    local of = tostring(run.kind) .. "\0" .. tostring(run.name)
    seen[of] = (seen[of] or 0) + 1
    if seen[of] > keep and run.state ~= "running"
      and os.remove(run.path)
    then
      removed = removed + 1
    end
  end
  return removed
end

return record
