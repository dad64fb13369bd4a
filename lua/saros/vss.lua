--- Shadow copies: what a set of paths held at one instant, while the
--- applications that write there hold still.
---
--- ```lua
--- local vss = require "saros.vss"
--- local w <close> = vss.writer { id = ID, name = "app",
---   freeze = function() app:lock() end, thaw = function() app:unlock() end }
--- local set <close> = assert(vss.shadow { paths = { "/srv" } }:wait())
--- print(set["/srv"].path)     -- read it here
--- ```

local core = require "saros.core"
require "saros.vss.writer"

---@class saros.vss
local vss = {}

local events = {
  "identify", "prepare_backup", "prepare_snapshot", "freeze", "thaw",
  "post_snapshot", "abort", "backup_complete", "backup_shutdown",
  "pre_restore", "post_restore",
}

-- Options that are of another type than they may be, or unknown, raise.
local function check(what, options, known, level)
  if type(options) ~= "table" then
    error(("%s: table expected, got %s"):format(what, type(options)), level)
  end
  for name, item in pairs(options) do
    local kind = known[name]
    if not kind then
      error(("%s has no option '%s'"):format(what, tostring(name)), level)
    end
    local is = type(item)
    local callable = is == "table" and getmetatable(item)
      and getmetatable(item).__call
    if is ~= kind and not (kind == "function" and callable)
      and not (kind == "string or number" and (is == "string" or is == "number"))
    then
      error(("%s: option '%s': %s expected, got %s"):format(what, name, kind, is),
        level)
    end
  end
end

local function need(what, options, names, level)
  for _, name in ipairs(names) do
    if options[name] == nil then
      error(("%s: option '%s' is missing"):format(what, name), level)
    end
  end
end

local metadata_options = {
  id = "string", instance = "string", name = "string", usage = "string",
  source = "string", level = "string", freeze_timeout = "number",
  guard = "string", restore_method = "string", components = "table",
}
local writer_options = { metadata = "table", listen = "boolean",
  state_dir = "string" }
for name, kind in pairs(metadata_options) do writer_options[name] = kind end
for _, name in ipairs(events) do writer_options[name] = "function" end

local function metadata_of(options)
  local metadata = {}
  for name, item in pairs(options.metadata or {}) do metadata[name] = item end
  for name in pairs(metadata_options) do
    if options[name] ~= nil then metadata[name] = options[name] end
  end
  return metadata
end

local function listening(w, options)
  if not options.listen then return w end
  local ok, err = core.writer_listen(w, options.state_dir):wait()
  if ok then return w end
  w:close()
  error(err, 0)
end

---@class saros.vss.component
---@field type "database"|"filegroup"
---@field name string
---@field logical_path? string
---@field caption? string
---@field files? string[] absolute paths of files and directories that are its
---@field exclude? string[]

---@class saros.vss.event
---@field event string "freeze", …
---@field set? string the snapshot set
---@field session? string
---@field reason? string why it is aborted
---@field deadline? number seconds from now; then the handler is cancelled
---@field backup_type? string
---@field components? string[] those that were selected
---@field volumes? { path: string, provider: string, atomic: boolean, shadow: string?, writable: boolean }[]

---@alias saros.vss.handler fun(event: saros.vss.event): ... nothing or true consents; `nil|false, err` or an error is a veto

---@class saros.vss.writer.options
---@field id string its class: a GUID, always the same one
---@field instance? string this one of its class, a GUID
---@field name string
---@field usage? string
---@field source? string
---@field level? "front_end"|"back_end"|"system" who is frozen first (front_end)
---@field freeze_timeout? number seconds from its freeze to its thaw (60)
---@field guard? "connection"|"expiry"|"process" what lets go when this process is killed
---@field restore_method? string
---@field components? saros.vss.component[]
---@field metadata? table what else it likes to say of itself
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look
---@field identify? fun(event: saros.vss.event): table? what it adds to all this
---@field prepare_backup? saros.vss.handler
---@field prepare_snapshot? saros.vss.handler
---@field freeze? saros.vss.handler hold still
---@field thaw? saros.vss.handler go on
---@field post_snapshot? saros.vss.handler
---@field abort? saros.vss.handler go on: nothing came of it (none: `thaw` is called)
---@field backup_complete? saros.vss.handler
---@field backup_shutdown? saros.vss.handler
---@field pre_restore? saros.vss.handler
---@field post_restore? saros.vss.handler

--- Subscribes a writer: functions that are called when a shadow is made. Each
--- runs as a task and may wait, so a database session may stay open in an
--- upvalue from freeze to thaw. What has no handler consents. It lives as long
--- as its handle is reachable.
---@param options saros.vss.writer.options
---@return saros.vss.writer
function vss.writer(options)
  check("vss.writer", options, writer_options, 3)
  need("vss.writer", options, { "id", "name" }, 3)
  local handlers = {}
  for _, name in ipairs(events) do handlers[name] = options[name] end
  return listening(core.vss_writer(metadata_of(options), handlers), options)
end

local command_options = { command = "table", env = "table", cwd = "string",
  metadata = "table", listen = "boolean", state_dir = "string" }
for name, kind in pairs(metadata_options) do command_options[name] = kind end

---@class saros.vss.command_writer.options
---@field id string a GUID, always the same one
---@field name string
---@field command string[] the program and its arguments; the verb is added
---@field env? table<string, string> added to the environment
---@field cwd? string
---@field level? "front_end"|"back_end"|"system"
---@field freeze_timeout? number
---@field components? saros.vss.component[]
---@field usage? string
---@field source? string
---@field guard? string
---@field restore_method? string
---@field instance? string
---@field metadata? table what else there is to say of it
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes an executable as a writer: it is called with the event's name
--- as its last argument. For `freeze` it stays alive as long as it holds, and
--- lets go at the end of its standard input.
---@param options saros.vss.command_writer.options
---@return saros.vss.writer
function vss.command_writer(options)
  check("vss.command_writer", options, command_options, 3)
  need("vss.command_writer", options, { "id", "name", "command" }, 3)
  local env
  for name, text in pairs(options.env or {}) do
    if type(name) ~= "string" or type(text) ~= "string" then
      error("vss.command_writer: option 'env': { NAME = \"value\" } expected", 2)
    end
    env = env or {}
    env[#env + 1] = name .. "=" .. text
  end
  local says = false
  for name in pairs(metadata_options) do
    says = says or (options[name] ~= nil and name ~= "id" and name ~= "name")
  end
  local metadata = (says or options.metadata) and metadata_of(options) or nil
  return listening(core.command_writer(options.id, options.name,
    options.command, env, options.cwd, metadata), options)
end

--- Takes away what dead owners left: file systems that are still frozen,
--- shadows that were not finished or not meant to stay.
---@param options? { state_dir: string? }
---@return saros.operation op its result: `{ shadows, thawed, failed }`
function vss.reap(options)
  check("vss.reap", options or {}, { state_dir = "string" }, 3)
  return core.vss_reap((options or {}).state_dir)
end

return vss
