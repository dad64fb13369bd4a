-- Records as they are read: their beginnings and ends, or all of one. A line may
-- be torn, damaged, or of a newer saros.

local core = require "saros.core"
local arguments = require "saros.arguments"
local directory = require "saros.record.directory"
local E = require "saros.code"
local format = require "saros.format"
local words = require "saros.timeline.words"

---@class saros.record
local reading = {}

local function fail(code, ...)
  error(core.failure("saros", E[code], string.format(...)), 0)
end

--- RFC 3339, of any zone, in seconds since 1970; nil: it is none.
---@param text string
---@return number?
function reading.time(text)
  local ms = words.instant(text)
  return ms and ms / 1000
end

local function line_of(text)
  local line = text and core.json_read(text)
  return type(line) == "table" and line or nil
end

-- nil: there is none, or none that says what it is, and when it was begun.
local function header_of(file)
  local header = line_of(file:read "l")
  return header and math.type(header.saros_record) == "integer"
    and reading.time(header.begun) and header or nil
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
---@field ahead? boolean it was begun in time to come: a clock was wrong, then or now

local function summary(path, header, ending, now)
  local time = reading.time(header.begun)
  return { path = path, id = header.id, kind = header.kind, name = header.name,
    host = header.host, begun = header.begun, time = time,
    ahead = reading.is_ahead(time, now) or nil,
    pid = header.pid, argv = header.argv, resumes = header.resumes,
    version = header.version,
    newer = header.saros_record > format.record or nil,
    seconds = seconds(ending), state = judged(header, ending),
    error = ending and ending.error, code = ending and ending.code,
    result = ending and ending.result }
end

-- Seconds that a clock is put back by those who keep it right.
local SLIGHT <const> = 600

--- Whether a time lies further ahead than a clock that is right is ever wrong: who
--- wrote it had another one.
---@param time number seconds since 1970
---@param now? number
---@return boolean
function reading.is_ahead(time, now)
  return time > (now or os.time()) + SLIGHT
end

-- The oldest first. What lies ahead was written before the clock was put back,
-- and so before all that was written since.
local function in_order(names, now)
  local ahead, list = {}, {}
  local last = os.date("!%Y%m%dT%H%M%SZ", (now or os.time()) // 1 + SLIGHT)
  for _, name in ipairs(names) do
    local to = name:match "^[^-]*" > last and ahead or list
    to[#to + 1] = name
  end
  return table.move(list, 1, #list, #ahead + 1, ahead)
end

---@class saros.record.list.options
---@field state_dir? string
---@field name? string
---@field kind? string
---@field limit? integer
---@field now? number seconds since 1970

--- The runs, the newest first: their beginnings and ends. Those that were begun
--- in time to come, as a clock had it that has been put back since, are the oldest.
--- Files that are none, or are damaged at the beginning, are passed over.
---@param options? saros.record.list.options
---@return saros.record.summary[]
function reading.list(options)
  local o = arguments.check("record.list", options, { state_dir = "string",
    name = "string", kind = "string", limit = "integer", now = "number" })
  local at, list = directory.path(o.state_dir), {}
  local names = in_order(directory.names(at), o.now)
  for i = #names, 1, -1 do
    if o.limit and #list >= o.limit then break end
    local path = at .. "/" .. names[i]
    local file <close> = io.open(path, "rb")
    local header = file and header_of(file)
    if header and (not o.name or header.name == o.name)
      and (not o.kind or header.kind == o.kind)
    then
      list[#list + 1] = summary(path, header, ending_of(file), o.now)
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
    if type(line.lane) == "string" then
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
function reading.read(path)
  local file <close>, why = io.open(path, "rb")
  if not file then fail("E_FAIL", "this record cannot be read: %s", why) end
  local header = header_of(file)
  if not header then
    fail("SAROS_E_DAMAGED", "%s is no record of a run", path)
  end
  local newer = format.newer("the record " .. path, {
    saros = header.saros_record, program = header.version }, format.record)
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

-- What a run says that somebody will ask for: the newest that says it stays. A
-- yearly drill of what is run hourly is the last of nine thousand.
local function said_by(run)
  local result = type(run.result) == "table" and run.result or {}
  local said = { tostring(run.state) }
  if type(result.drill) == "table" then
    said[2] = "drill " .. tostring(result.drill.state)
  end
  for _, t in ipairs(type(result.targets) == "table" and result.targets
    or {}) do
    if type(t) == "table" and t.pruned then
      said[#said + 1] = "pruned " .. tostring(t.location)
    end
  end
  return said
end

--- Removes old records: of each kind and name so many stay, with the newest of
--- each state, the newest drill, and all that are not over.
---@param options? { state_dir: string?, keep: integer? }
---@return integer removed
function reading.prune(options)
  local o = arguments.check("record.prune", options, { state_dir = "string",
    keep = "integer" })
  local keep, seen, known, removed = o.keep or 400, {}, {}, 0
  for _, run in ipairs(reading.list { state_dir = o.state_dir }) do
    local of = tostring(run.kind) .. "\0" .. tostring(run.name)
    seen[of] = (seen[of] or 0) + 1
    local new = false
    for _, text in ipairs(said_by(run)) do
      new = new or not known[of .. "\0" .. text]
      known[of .. "\0" .. text] = true
    end
    if seen[of] > keep and not new and run.state ~= "running"
      and os.remove(run.path)
    then
      removed = removed + 1
    end
  end
  return removed
end

return function(record)
  for name, f in pairs(reading) do record[name] = f end
end
