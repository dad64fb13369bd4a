--- Applications: what is checked on the shadow before anybody relies on it, and
--- what is done before and after a restore; and the backup that does so.
---
--- ```lua
--- local wsb = require "saros.wsb"
--- local app <close> = wsb.application { writer = ID, name = "ledger",
---   check = function(c) return verify(c.at "/srv/ledger/data") end }
--- local op = wsb.check_consistency { writer = ID, component = "ledger",
---   sources = { "/srv/ledger" }, snapshots = { set["/srv/ledger"].path } }
--- print(op:query())           -- 0x407A0004, 0, or why it is not whole
--- ```
---
--- A component of which the check failed is backed up all the same, and barred
--- from recovery.

local application = require "saros.wsb.application"
local check = require "saros.wsb.check"
local restore = require "saros.wsb.restore"

---@class saros.wsb
local wsb = {}

--- The most volumes that a check is handed, as of a snapshot set.
wsb.MAX_VOLUMES = check.MAX_VOLUMES

--- The most components that are put into order at once.
wsb.MAX_COMPONENTS = restore.MAX_COMPONENTS

---@class saros.wsb.component_handed
---@field writer string its class
---@field instance? string
---@field component string
---@field logical_path? string
---@field metadata? table what the writer says of itself
---@field sources string[] where it lies
---@field snapshots string[] its shadows, in the same order: read these
---@field said? table what the writer said in this session
---@field scratch? string a directory for what is written
---@field at fun(path: string): string? where a path lies in the shadows

---@alias saros.wsb.check fun(c: saros.wsb.component_handed): ... true, nothing or a table of details: it is whole; `nil, err`: it is not; or an operation that finds out

---@class saros.wsb.application.options
---@field writer string the class of its writers, or one instance: a GUID
---@field name string for a person: at most 256 bytes, and nobody else's
---@field check? saros.wsb.check|false false: none, also where the kind has one
---@field order? fun(list: table[]): table[]? the components in the order of their restore; nil: any
---@field pre_restore? fun(c: table, no_roll_forward: boolean): ... `nil, err` fails it
---@field post_restore? fun(c: table, no_roll_forward: boolean): ...
---@field roll_forward? boolean whether it can go on from a version with later logs

--- Registers what is known of a writer's components: until it is closed, or the
--- state is. Of two with one name, or for one writer, the second is ignored: its
--- handle says so. One for an instance stands for it alone: the one for its class
--- is not asked then, also for what this one has not.
---@param options saros.wsb.application.options
---@return saros.wsb.application
function wsb.application(options) return application._register(options) end

---@class saros.wsb.check_consistency.options
---@field writer string the class of the writer, or its instance
---@field instance? string
---@field component string
---@field logical_path? string
---@field metadata? table what the writer says of itself
---@field sources? string[] where it lies: absolute, at most 64
---@field snapshots? string[] the shadow of each: the check reads these
---@field said? table what the writer said in this session
---@field scratch? string a directory for what is written
---@field timeout? number seconds; then it is ended, and untried (as long as it takes)
---@field name? string of the operation

--- Checks a component on its shadows. It answers 0x407A0004 while it runs, then
--- 0 or the failure: `WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED` unless the
--- check has a code of its own; `err.problems` may list what was found, and
--- `err.untried` says that nothing was found out. Its `cancel` is Abort.
---@param options saros.wsb.check_consistency.options
---@return saros.operation? op nil: no check is needed
function wsb.check_consistency(options) return check.start(options) end

--- The components in the order of their restore. Applications by the rank of
--- their kind, else as they came; those of one application as its `order` says,
--- which must answer with the same components, each once (or nil: any order).
---@param list table[] components, as a version has them; at most 4096
---@return saros.operation op its result: a new list
function wsb.order_components(list) return restore.order(list) end

--- Before the files of a component are laid.
---@param c table the component, as a version has it
---@param no_roll_forward? boolean to this point in time: later logs go
---@return saros.operation op fails with WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED
function wsb.pre_restore(c, no_roll_forward)
  return restore.pre(c, no_roll_forward)
end

--- After the files of a component were laid.
---@param c table the component, as a version has it
---@param no_roll_forward? boolean
---@return saros.operation op fails with WSBAPP_E_COMPONENT_POST_RESTORE_FAILED
function wsb.post_restore(c, no_roll_forward)
  return restore.post(c, no_roll_forward)
end

--- Whether the application can go on from a version with later logs.
---@param writer string the class of a writer, or its instance
---@return boolean
function wsb.is_roll_forward_supported(writer)
  return restore.is_roll_forward_supported(writer)
end

-- What needs a repository is loaded when it is asked for: a module that is that
-- function, or has one of that name.
local lazy <const> = {
  backup = "saros.wsb.backup",
  versions = "saros.wsb.items",
  items = "saros.wsb.items",
  recover = "saros.wsb.recover",
}

return setmetatable(wsb, {
  __index = function(_, name)
    local module = lazy[name]
    if not module then return nil end
    local found = require(module)
    if type(found) == "table" and found[name] ~= nil then
      found = found[name]
    end
    wsb[name] = found
    return found
  end,
})
