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
local shadow = require "saros.vss.shadow"
require "saros.vss.session"
require "saros.vss.writer"

---@class saros.vss
local vss = {}

--- The contexts, by the names that `set_context` takes.
---@type table<string, integer>
vss.context = {
  backup = 0x00, file_share_backup = 0x10, nas_rollback = 0x19,
  app_rollback = 0x09, client_accessible = 0x1D,
  client_accessible_writers = 0x0D, all = 0xFFFFFFFF,
}

--- The bits of a shadow's attributes.
---@type table<string, integer>
vss.attribute = {
  persistent = 0x1, no_autorecovery = 0x2, client_accessible = 0x4,
  no_auto_release = 0x8, no_writers = 0x10, transportable = 0x20,
  not_surfaced = 0x40, not_transacted = 0x80, hardware_assisted = 0x10000,
  differential = 0x20000, plex = 0x40000, imported = 0x80000,
  exposed_locally = 0x100000, exposed_remotely = 0x200000,
  autorecover = 0x400000, rollback_recovery = 0x800000,
}

--- The states of a writer, both ways: `vss.state.stable` is 1, `vss.state[1]`
--- is "stable".
---@type table<string|integer, integer|string>
vss.state = {
  [0] = "unknown", "stable", "waiting_for_freeze", "waiting_for_thaw",
  "waiting_for_post_snapshot", "waiting_for_backup_complete",
  "failed_at_identify", "failed_at_prepare_backup",
  "failed_at_prepare_snapshot", "failed_at_freeze", "failed_at_thaw",
  "failed_at_post_snapshot", "failed_at_backup_complete",
  "failed_at_pre_restore", "failed_at_post_restore",
  "failed_at_backupshutdown",
}
for number = 0, 15 do vss.state[vss.state[number]] = number end

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
    local good = kind == true or is == kind
      or kind == "function" and callable
      or kind == "string or number" and (is == "string" or is == "number")
    if not good then
      error(("%s: option '%s': %s expected, got %s")
        :format(what, name, kind, is), level)
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
  state_dir = "string", closed = "function" }
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
---@field exclude? string[] patterns of those of its files that need not be in a backup: absolute, or of what lies in its files
---@field mends? boolean|string[] whether its own recovery mends a copy of these files (patterns; true: of all) that were written to while being copied, or makes them anew. Any other of its files of which that was seen bars its recovery; one that could not be read always does

---@class saros.vss.event
---@field event string "freeze", …
---@field set? string the snapshot set
---@field session? string
---@field reason? string why it is aborted
---@field deadline? number seconds from now; then the handler is cancelled
---@field backup_type? string
---@field components? string[] those that were selected
---@field succeeded? string[] of backup_complete: those that were backed up; of post_restore: those whose files were laid
---@field volumes? { path: string, provider: string, atomic: boolean, shadow: string?, writable: boolean }[]

---@class saros.vss.veto
---@field message? string for a person
---@field code? integer|string how it fails: `VSS_E_WRITERERROR_…`, its number or its name
---@field retryable? boolean whether it may go well another time

---@alias saros.vss.handler fun(event: saros.vss.event): ... nothing or true consents, and so does a table with names: what is to be kept with the backup (see `session:said`); `nil|false, err` or an error is a veto: a text, an error, or a `saros.vss.veto`

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
---@field pre_restore? saros.vss.handler let go of the files: they are about to be replaced
---@field post_restore? saros.vss.handler that is over, whatever came of it
---@field closed? fun() the writer is closed, and does not hold still: what it has begun it lets go

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
  handlers.closed = options.closed
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
      error("vss.command_writer: option 'env': { NAME = \"text\" } expected",
        2)
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

local session_options = { state_dir = "string", timeouts = "table",
  on_veto = "string", force = "boolean" }

---@class saros.vss.components.options
---@field state_dir? string absolute: where records, lock and sockets are kept
---@field timeouts? { identify: number?, prepare: number?, freeze: number?, hold: number?, post: number?, complete: number? } seconds
---@field on_veto? "fail"|"ignore" whether the set fails with a writer (fail)
---@field force? boolean freeze also what holds our own state

--- Opens a session (IVssBackupComponents). Nothing is touched yet.
---@param options? saros.vss.components.options
---@return saros.vss.session
function vss.components(options)
  options = options or {}
  check("vss.components", options, session_options, 3)
  return core.vss_session(options)
end

local shadow_options = { paths = "table", provider = true, writers = "table",
  context = "string or number", type = "string", name = "string",
  whole = "boolean" }
for name, kind in pairs(session_options) do shadow_options[name] = kind end

local function texts(what, list, level)
  local seen = {}
  for i, text in ipairs(list) do
    if type(text) ~= "string" then
      error(("%s[%d]: string expected, got %s"):format(what, i, type(text)),
        level + 1)
    end
    seen[i] = text
  end
  for key in pairs(list) do
    if not seen[key] then
      error(("%s: list of strings expected"):format(what), level + 1)
    end
  end
  return seen
end

local function check_shadow(o)
  check("vss.shadow", o, shadow_options, 4)
  need("vss.shadow", o, { "paths" }, 4)
  local paths = texts("vss.shadow: option 'paths'", o.paths, 3)
  if #paths == 0 then error("vss.shadow: option 'paths' is empty", 3) end
  local provider = o.provider
  if provider ~= nil and type(provider) ~= "string"
    and type(provider) ~= "table"
  then
    error("vss.shadow: option 'provider': a name or { [path] = name } expected",
      3)
  end
  local writers = o.writers or {}
  check("vss.shadow: option 'writers'", writers,
    { require = "table", exclude = "table" }, 4)
  local session = {}
  for name in pairs(session_options) do session[name] = o[name] end
  return { paths = paths, provider = provider,
    writers = {
      require = texts("vss.shadow: option 'require'", writers.require or {}, 3),
      exclude = texts("vss.shadow: option 'exclude'", writers.exclude or {}, 3),
    },
    context = o.context or "backup", type = o.type or "copy", whole = o.whole,
    session = session }
end

---@class saros.vss.shadow.options: saros.vss.components.options
---@field paths string[] absolute
---@field provider? string|table<string, string> one for all, or by path; nothing takes the best that can
---@field writers? saros.vss.choice
---@field context? string|integer "backup"
---@field type? string "copy" (the default: leaves the writers' history alone), "full", …
---@field whole? boolean also what a component has elsewhere, of which the first file lies in the paths: see `set.added`
---@field name? string

--- Takes shadow copies of the paths, all at one instant, with all writers that
--- have to do with them: those of which a component lies there, and those that
--- name no files. When it fails or is cancelled, nothing is left.
---
--- ```lua
--- local set <close> = assert(vss.shadow { paths = { "/srv" } }:wait())
--- saros.copy { from = set["/srv"].path, to = "/backup/srv" }:wait()
--- assert(set:backup_complete():wait())
--- ```
---@param options saros.vss.shadow.options
---@return saros.operation op its result: a `saros.vss.set`, `set["/srv"].path`
function vss.shadow(options)
  local o = check_shadow(options)
  return core.spawn_as("vss.shadow", options.name, shadow.take, o)
end

--- Takes away what dead owners left: file systems that are still frozen,
--- shadows that were not finished or not meant to stay. Those that persist can
--- be read again, when the machine was restarted. A new set begins with that.
---@param options? { state_dir: string? }
---@return saros.operation op its result: `{ shadows, thawed, surfaced, exposed, failed }`
function vss.reap(options)
  check("vss.reap", options or {}, { state_dir = "string" }, 3)
  return core.vss_reap((options or {}).state_dir)
end

return vss
