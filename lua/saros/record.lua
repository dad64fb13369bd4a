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
local directory = require "saros.record.directory"
local E = require "saros.code"
local format = require "saros.format"
local text = require "saros.text"
local begin = require "saros.record.writing"

---@class saros.record
local record = {}

require "saros.record.reading"(record)

local function fail(code, ...)
  error(core.failure("saros", E[code], string.format(...)), 0)
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


--- Takes a name for a run that may only be there once at a time: a handle, which
--- gives it back when it is closed, or with the end of this process. nil:
--- somebody else has it. No clock has to be right for that.
---@param name string
---@param state_dir? string
---@return file*?
function record.claim(name, state_dir)
  directory.made(state_dir) -- and what it lies in
  local path = ("%s/%s.claim"):format(core.directory("state", state_dir),
    text.hash(name))
  local file, why, number = core.claimed_file(path)
  if file then return file end
  if number == 11 then return nil end
  fail("E_FAIL", "nobody can tell whether %s is running already: %s", name, why)
end

--- An error as it is kept: its name, code, message and cause, and nothing that
--- is an object.
---@param err any
---@param said? fun(text: string): string of its messages, what may be said
---@return table?
function record.error(err, said)
  return require "saros.record.failure"(err, said)
end

---@class saros.record.begin.options
---@field kind string "workflow", "backup", "restore", "drill", "hold", "prune", …
---@field name? string of whom: a workflow's
---@field argv? string[] the command, without its secrets
---@field host? string
---@field resumes? string the id of the run that this one ends
---@field said? fun(text: string): string what may be said of a text: without what is secret
---@field state_dir? string

--- Begins a record: STATE/runs/<when>-<id>.jsonl, for its owner alone. Raises
--- when it cannot be written.
---@param options saros.record.begin.options
---@return saros.record.writer
function record.begin(options)
  local o = arguments.check("record.begin", options, { kind = "string",
    name = "string", argv = "table", host = "string", state_dir = "string",
    resumes = "string", said = "function" })
  arguments.need("record.begin", o, "kind", "\"backup\"")
  local at, self = directory.made(o.state_dir), {}
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
  local owner = core.owner()
  return begin(self, { saros_record = format.record, id = self.id,
    name = o.name, kind = o.kind, host = o.host or hostname(),
    pid = owner.pid, owner = owner, begun = rfc3339(wall),
    version = format.program, argv = words_of(o.argv), resumes = o.resumes },
    o.said)
end

return record
