--- The session: what a requester talks to. It is used for one backup, for one
--- restore, or to look after shadows. A call that is not allowed now raises
--- VSS_E_BAD_STATE and changes nothing. What touches a disk waits inside, like
--- `op:wait()`; what may take its time returns an operation.
---
--- ```lua
--- local s <close> = vss.components()
--- s:initialize_for_backup()
--- s:set_backup_state { type = "full" }
--- assert(s:gather_writer_metadata():wait())
--- s:start_snapshot_set()
--- local id = s:add_to_snapshot_set("/srv/data")
--- assert(s:prepare_for_backup():wait())
--- assert(s:do_snapshot_set():wait())
--- print(s:snapshot_properties(id).path)
--- assert(s:backup_complete():wait())
--- ```

local core = require "saros.core"

local arguments = require "saros.vss.arguments"

local call = core.session_call
local check, check_fields = arguments.check, arguments.check_fields

---@class saros.vss.session
local session = {}

--- Begins a backup.
---@param document? string what `save` gave: to go on with its shadows
function session:initialize_for_backup(document)
  check("initialize_for_backup", "document", document, "string", true)
  call(self, "initialize_for_backup", { document = document })
end

--- Begins a restore.
---@param document string what `save` gave at the backup
function session:initialize_for_restore(document)
  check("initialize_for_restore", "document", document, "string")
  call(self, "initialize_for_restore", { document = document })
end

--- What kind of shadows these will be; at most once, before all else.
---@param context string|integer "backup" (the default), "file_share_backup", "nas_rollback", "app_rollback", "client_accessible", "client_accessible_writers", "all"
---@param attributes? integer bits of `vss.attribute` to be added
function session:set_context(context, attributes)
  check("set_context", "context", context, "string|number")
  check("set_context", "attributes", attributes, "number", true)
  call(self, "set_context", { context = context, attributes = attributes })
end

---@class saros.vss.backup_state
---@field type? string|integer "full" (the default), "copy", "incremental", "differential", "log", "other"
---@field select_components? boolean only writers of which components were added take part
---@field bootable_system_state? boolean
---@field partial_files? boolean

--- Says what kind of backup it is.
---@param state saros.vss.backup_state
function session:set_backup_state(state)
  check("set_backup_state", "state", state, "table")
  check_fields("set_backup_state", "state", state, { type = "string|number",
    select_components = "boolean", bootable_system_state = "boolean",
    partial_files = "boolean" })
  call(self, "set_backup_state", state)
end

--- Says how it is restored.
---@param type string|integer "by_copy", "import", "other"
function session:set_restore_state(type)
  check("set_restore_state", "type", type, "string|number")
  call(self, "set_restore_state", { type = type })
end

--- Only writers of these classes are asked.
---@param ids string[]
function session:enable_writer_classes(ids)
  check("enable_writer_classes", "ids", ids, "table")
  call(self, "enable_writer_classes", { ids = ids })
end

--- Writers of these classes are left out.
---@param ids string[]
function session:disable_writer_classes(ids)
  check("disable_writer_classes", "ids", ids, "table")
  call(self, "disable_writer_classes", { ids = ids })
end

--- These writers are left out.
---@param ids string[] their instances
function session:disable_writer_instances(ids)
  check("disable_writer_instances", "ids", ids, "table")
  call(self, "disable_writer_instances", { ids = ids })
end

---@class saros.vss.choice
---@field require? string[] writers (by id, instance or name) without which it fails
---@field exclude? string[] writers that are left out

---@class saros.vss.left_out
---@field id string
---@field instance string
---@field name string
---@field code integer how it failed
---@field code_name string
---@field message string

--- Finds the writers, of this process and of others, and asks who they are.
--- Whoever cannot say so takes no part, and is named in the result: an
--- application that was not asked to hold still.
---@param choice? saros.vss.choice
---@return saros.operation op its result: `{ left_out = saros.vss.left_out[] }`
function session:gather_writer_metadata(choice)
  check("gather_writer_metadata", "choice", choice, "table", true)
  check_fields("gather_writer_metadata", "choice", choice,
    { require = "table", exclude = "table" })
  return call(self, "gather_writer_metadata", choice or {})
end

---@class saros.vss.writer_info
---@field id string
---@field instance string
---@field name string
---@field level string
---@field freeze_timeout number
---@field components saros.vss.component[]
---@field way string how it is reached: "lua", "command", "socket"
---@field state integer see `vss.state`
---@field takes_part boolean

--- The writers that were found, with what they say of themselves.
---@return saros.vss.writer_info[]
function session:writers()
  return call(self, "writers", {})
end

--- Makes a component part of the backup.
---@param writer_id string the writer's id, instance or name
---@param component string its name
---@param type? "database"|"filegroup" must be its own, when given
function session:add_component(writer_id, component, type)
  check("add_component", "writer_id", writer_id, "string")
  check("add_component", "component", component, "string")
  check("add_component", "type", type, "string", true)
  call(self, "add_component",
    { writer = writer_id, component = component, type = type })
end

--- Begins a set: there is one creation at a time on a machine.
---@return string id
function session:start_snapshot_set()
  return call(self, "start_snapshot_set", {})
end

--- Adds what is to be shadowed.
---@param path string absolute
---@param provider? string "btrfs", "image", "lvm", "reflink", "copy", …: nothing takes the best that can
---@return string id of the shadow
function session:add_to_snapshot_set(path, provider)
  check("add_to_snapshot_set", "path", path, "string")
  check("add_to_snapshot_set", "provider", provider, "string", true)
  return call(self, "add_to_snapshot_set", { path = path, provider = provider })
end

--- Tells the writers that a backup comes.
---@return saros.operation
function session:prepare_for_backup()
  return call(self, "prepare_for_backup", {})
end

--- Takes the shadows: writers hold still, all of it at one instant.
---@return saros.operation op its result: `{ set, held, rehearsed, skew, snapshots, writers }`
function session:do_snapshot_set()
  return call(self, "do_snapshot_set", {})
end

--- Asks how the writers fare; then `writer_status` answers. Whoever is not
--- there any more, or, in another process, does not answer within
--- `timeouts.identify`, has failed with VSS_E_WRITER_NOT_RESPONDING.
---@return saros.operation
function session:gather_writer_status()
  return call(self, "gather_writer_status", {})
end

---@class saros.vss.writer_status
---@field id string
---@field instance string
---@field name string
---@field state integer see `vss.state`
---@field failure integer 0, or how it failed
---@field failure_name? string
---@field message? string

--- How the writers fared.
---@return saros.vss.writer_status[]
function session:writer_status()
  return call(self, "writer_status", {})
end

--- What a writer said beyond yes, in this session or, in one that began with a
--- document, in that backup; nil: nothing.
---@param writer string its id, instance or name
---@return table? said
function session:said(writer)
  check("said", "writer", writer, "string")
  return call(self, "said", { writer = writer })
end

---@class saros.vss.snapshot
---@field id string
---@field set string
---@field count integer members of its set
---@field path string read it here: the counterpart of `original`
---@field original string the path that was given
---@field provider string
---@field consistency string "atomic", "held", "per-file", "fuzzy", "live"
---@field held number seconds that writes were held for it
---@field rehearsed? number seconds that writes waited once before, while the freeze was tried out
---@field attributes integer bits of `vss.attribute`
---@field created string RFC 3339
---@field warnings? string[]
---@field torn? string[] files in it that were written to while being copied under the hold (the first 100)
---@field torn_count? integer how many there are
---@field unread? string[] files that could not be read, and are not in it (the first 100)
---@field unread_count? integer how many there are
---@field device? string
---@field exposed? string
---@field missing? string why it cannot be there any more
---@field owner table who made it: a process, as `core.owner_lives` knows it

--- Everything about one shadow. One that persists can be read again then, if
--- it was unmounted.
---@param id string
---@return saros.vss.snapshot
function session:snapshot_properties(id)
  check("snapshot_properties", "id", id, "string")
  return call(self, "snapshot_properties", { id = id })
end

--- The shadows of this session's set.
---@return saros.vss.snapshot[]
function session:snapshots()
  return call(self, "snapshots", {})
end

--- All shadows there are, or those of one set.
---@param set? string
---@return saros.vss.snapshot[]
function session:query(set)
  check("query", "set", set, "string", true)
  return call(self, "query", { set = set })
end

--- Makes a shadow appear at a path, read-only.
---@param id string
---@param path string an empty directory, made when it is missing
function session:expose_snapshot(id, path)
  check("expose_snapshot", "id", id, "string")
  check("expose_snapshot", "path", path, "string")
  call(self, "expose_snapshot", { id = id, path = path })
end

--- Takes that appearance away.
---@param id string
function session:unexpose_snapshot(id)
  check("unexpose_snapshot", "id", id, "string")
  call(self, "unexpose_snapshot", { id = id })
end

--- Says how the backup of a component went.
---@param writer string its id, instance or name
---@param component string
---@param ok? boolean (true)
function session:set_backup_succeeded(writer, component, ok)
  check("set_backup_succeeded", "writer", writer, "string")
  check("set_backup_succeeded", "component", component, "string")
  check("set_backup_succeeded", "ok", ok, "boolean", true)
  call(self, "set_backup_succeeded",
    { writer = writer, component = component, ok = ok })
end

--- Options that only the writer understands.
---@param writer string
---@param component string
---@param text string
function session:set_backup_options(writer, component, text)
  check("set_backup_options", "writer", writer, "string")
  check("set_backup_options", "component", component, "string")
  check("set_backup_options", "text", text, "string")
  call(self, "set_backup_options",
    { writer = writer, component = component, text = text })
end

--- The stamp of the backup that this one builds upon.
---@param writer string
---@param component string
---@param text string
function session:set_previous_backup_stamp(writer, component, text)
  check("set_previous_backup_stamp", "writer", writer, "string")
  check("set_previous_backup_stamp", "component", component, "string")
  check("set_previous_backup_stamp", "text", text, "string")
  call(self, "set_previous_backup_stamp",
    { writer = writer, component = component, text = text })
end

--- Tells the writers that the backup is done.
---@return saros.operation
function session:backup_complete()
  return call(self, "backup_complete", {})
end

--- The backup's document, for the restore.
---@return string
function session:save()
  return call(self, "save", {})
end

--- Gives the backup up: what runs is cancelled, the writers are told.
function session:abort_backup()
  call(self, "abort_backup", {})
end

--- Deletes a shadow, or a set, one after the other; stops at the first that
--- cannot be deleted and raises: then `err.op:status()` has `deleted`, how many
--- were, and `not_deleted`, the id of that one.
---@param id string
---@param options? { set: boolean?, force: boolean? } set: `id` is a set's
---@return integer deleted how many
---@return string not_deleted_id zeros: none
function session:delete_snapshots(id, options)
  check("delete_snapshots", "id", id, "string")
  check("delete_snapshots", "options", options, "table", true)
  check_fields("delete_snapshots", "options", options,
    { set = "boolean", force = "boolean" })
  options = options or {}
  local r = call(self, "delete_snapshots",
    { id = id, set = options.set, force = options.force })
  return r.deleted, r.not_deleted
end

---@class saros.vss.broken
---@field id string
---@field original string
---@field path string where it is
---@field device? string
---@field stays? string `path` is a mount, and after a restart of the machine nobody mounts it again: this is what can be mounted then

--- Turns a set into plain data: what was made stays, and is nobody's shadow.
--- `writable`: it may be written to, and is mounted no more: of the provider
--- `image` it is the file of an image then, of `lvm` a volume. If that fails,
--- call it again: nothing is lost.
---@param set string
---@param options? { writable: boolean? }
---@return saros.vss.broken[] paths
function session:break_snapshot_set(set, options)
  check("break_snapshot_set", "set", set, "string")
  check("break_snapshot_set", "options", options, "table", true)
  check_fields("break_snapshot_set", "options", options,
    { writable = "boolean" })
  return call(self, "break_snapshot_set",
    { set = set, writable = (options or {}).writable })
end

--- Takes over the shadows of the document that the session began with.
---@return saros.operation
function session:import_snapshots()
  return call(self, "import_snapshots", {})
end

--- Rolls the original back to a persistent shadow of btrfs (all others:
--- SAROS_E_NOTIMPL). Who has files open there would go on with what was, and
--- what he writes would be lost: VSS_E_VOLUME_IN_USE names them, and `force`
--- does it all the same. What is mounted of it or nested in it forbids it, also
--- with `force`.
---@param id string
---@param options? { force: boolean? } force: also when somebody has files open there
function session:revert_to_snapshot(id, options)
  check("revert_to_snapshot", "id", id, "string")
  check("revert_to_snapshot", "options", options, "table", true)
  check_fields("revert_to_snapshot", "options", options, { force = "boolean" })
  call(self, "revert_to_snapshot", { id = id, force = (options or {}).force })
end

--- Watches a revert.
---@param volume string
---@return saros.operation
function session:query_revert_status(volume)
  check("query_revert_status", "volume", volume, "string")
  return call(self, "query_revert_status", { volume = volume })
end

--- Chooses a component for the restore.
---@param writer string
---@param component string
---@param selected? boolean (true)
function session:set_selected_for_restore(writer, component, selected)
  check("set_selected_for_restore", "writer", writer, "string")
  check("set_selected_for_restore", "component", component, "string")
  check("set_selected_for_restore", "selected", selected, "boolean", true)
  call(self, "set_selected_for_restore",
    { writer = writer, component = component, selected = selected })
end

--- Options of the restore that only the writer understands.
---@param writer string
---@param component string
---@param text string
function session:set_restore_options(writer, component, text)
  check("set_restore_options", "writer", writer, "string")
  check("set_restore_options", "component", component, "string")
  check("set_restore_options", "text", text, "string")
  call(self, "set_restore_options",
    { writer = writer, component = component, text = text })
end

--- Another place for files of a component.
---@param writer string
---@param component string
---@param target table
function session:add_new_target(writer, component, target)
  check("add_new_target", "writer", writer, "string")
  check("add_new_target", "component", component, "string")
  check("add_new_target", "target", target, "table")
  call(self, "add_new_target",
    { writer = writer, component = component, target = target })
end

--- Where files of a component may go instead.
---@param writer string
---@param component string
---@param mapping table
function session:add_alternative_location_mapping(writer, component, mapping)
  check("add_alternative_location_mapping", "writer", writer, "string")
  check("add_alternative_location_mapping", "component", component, "string")
  check("add_alternative_location_mapping", "mapping", mapping, "table")
  call(self, "add_alternative_location_mapping",
    { writer = writer, component = component, mapping = mapping })
end

--- Says what became of a component's files.
---@param writer string
---@param component string
---@param status string|integer "none", "all", "failed"
function session:set_file_restore_status(writer, component, status)
  check("set_file_restore_status", "writer", writer, "string")
  check("set_file_restore_status", "component", component, "string")
  check("set_file_restore_status", "status", status, "string|number")
  call(self, "set_file_restore_status",
    { writer = writer, component = component, status = status })
end

--- Says whether more is to be restored to a component after this.
---@param writer string
---@param component string
---@param more? boolean (true)
function session:set_additional_restores(writer, component, more)
  check("set_additional_restores", "writer", writer, "string")
  check("set_additional_restores", "component", component, "string")
  check("set_additional_restores", "more", more, "boolean", true)
  call(self, "set_additional_restores",
    { writer = writer, component = component, more = more })
end

--- Tells the writers that a restore comes.
---@return saros.operation
function session:pre_restore()
  return call(self, "pre_restore", {})
end

--- Tells the writers that the files are there again; those that have consented
--- to pre_restore, also when another one has not: `set_file_restore_status` says
--- what came of it.
---@return saros.operation
function session:post_restore()
  return call(self, "post_restore", {})
end

--- Whether a shadow of this can be taken, and by whom.
---@param path string
---@param provider? string
---@return boolean supported
---@return table info `{ provider, atomic, worth }`, or `{ reason }`
function session:is_volume_supported(path, provider)
  check("is_volume_supported", "path", path, "string")
  check("is_volume_supported", "provider", provider, "string", true)
  local r = call(self, "is_volume_supported",
    { path = path, provider = provider })
  return r.supported, r
end

--- Ends it: cancels and unwinds what runs, aborts a backup that is not
--- complete, tells the writers, deletes shadows that were not meant to stay.
--- Waits for that. Also `__close`; of a session that is garbage, too, without
--- anybody waiting.
---@param seconds? number wait at most so long
---@return boolean? closed nil: it goes on behind you
---@return saros.error? err
function session:close(seconds)
  local op = core.session_close(self)
  if op then return op:wait(seconds) end
  return true
end

local class = core.session_class()

class.__index = session

function class.__close(self) session.close(self) end

function class.__tostring(self)
  return "saros.vss.session: " .. core.session_state(self)
end

return session
