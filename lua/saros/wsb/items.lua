--- What there is to recover: the versions that `wsb.backup` made, and what is in
--- each of them.
---
--- ```lua
--- print(assert(wsb.versions { repository = repo }:wait()))
--- print(assert(wsb.items { repository = repo, version = "latest" }:wait()))
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local catalogue = require "saros.wsb.catalogue"
local print_out = require "saros.wsb.print"

local items = {}

local function checked(what, options, more)
  local kinds = { repository = "userdata", host = "string", tags = "list",
    paths = "list", name = "string" }
  for name, kind in pairs(more) do kinds[name] = kind end
  local o = arguments.check(what, options, kinds, 4)
  arguments.need(what, o, "repository", "an open one", 4)
  local filter = { host = o.host, tags = o.tags, paths = o.paths }
  return o, next(filter) and filter or nil
end

local function described(m)
  m.paths = m.paths or {}
  return { id = m.id, guid = m.guid, time = m.time, host = m.host,
    type = m.type, consistency = m.consistency, components = m.components,
    paths = m.paths, set = m.set, left_out = m.left_out, error = m.error,
    partial = m.partial }
end

---@class saros.wsb.versions.options
---@field repository saros.repository.handle
---@field host? string only this host's
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field name? string of the operation

--- The versions that `wsb.backup` made, the oldest first.
---@param options saros.wsb.versions.options
---@return saros.operation op its result: a list of `{ id, guid, time, host, type, consistency, components, paths }`; of one that cannot be read `error`
function items.versions(options)
  local o, filter = checked("wsb.versions", options, {})
  return core.spawn_as("wsb.versions", o.name, function()
    local list = catalogue.versions(o.repository, filter)
    for i, m in ipairs(list) do list[i] = described(m) end
    return print_out.versions(list)
  end)
end

---@class saros.wsb.items.options: saros.wsb.versions.options
---@field version? string "latest" (the default), an id or its beginning, or a guid

--- What may be recovered of a version: each component with `recoverable` or
--- `why` not, `check` and `drill`; and the paths that it has.
---@param options saros.wsb.items.options
---@return saros.operation op its result: `{ id, guid, components, paths, consistency, … }`
function items.items(options)
  local o, filter = checked("wsb.items", options, { version = "string" })
  return core.spawn_as("wsb.items", o.name, function()
    return print_out.version(described(catalogue.read(o.repository,
      o.version or "latest", filter)))
  end)
end

return items
