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

wsb.application = application.register
wsb.check_consistency = check.start
wsb.order_components = restore.order
wsb.pre_restore = restore.pre
wsb.post_restore = restore.post
wsb.is_roll_forward_supported = restore.is_roll_forward_supported

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
