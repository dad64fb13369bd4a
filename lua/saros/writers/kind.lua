---@private
-- Kinds: what is known of an application without its live writer. How its files
-- are found to be whole, made to start, and restored.

local core = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local registry = require "saros.wsb.registry"

local kind = {}

-- Those that saros has, by the class of their writers: what is in a version
-- never names a module.
local built_in <const> = {
  ["6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01"] = "postgres",
  ["2f6d1c1b-0b5e-4b5c-9a9e-3d5e7c2a4b02"] = "mariadb",
  ["9e8b7a54-3c1d-4e2f-8a6b-1f0e2d3c4b03"] = "redis",
  ["117e4d77-1643-4daa-8178-1d30245ee094"] = "sqlite",
  ["5d3e1f2a-7b6c-4d8e-9f01-2a3b4c5d6e05"] = "process",
}

-- Where each is defined.
local modules <const> = {
  postgres = "saros.writers.postgres_kind",
  mariadb = "saros.writers.mariadb_kind",
  redis = "saros.writers.redis_kind",
  sqlite = "saros.writers.sqlite_kind",
  process = "saros.writers.process",
}

local by_id, by_name = {}, {}

---@class saros.writers.kind
---@field name string
---@field id string the class of its writers
---@field check? fun(c: table, place: saros.place): ... on a writable copy that is nobody else's: true or a table of details; nil, err
---@field settle? fun(c: table, place: saros.place): ... makes the files startable, and independent of those they were copied from
---@field start? fun(c: table, place: saros.place, cell: table): ... for a drill: an instance with a `db`, to be closed
---@field busy? fun(c: table, place: saros.place): string? why nothing may be laid there
---@field plan? fun(c: table, plan: table): string[]? how it is restored by hand
---@field order? number which comes first in a restore (0)
---@field roll_forward? boolean

local fields <const> = { name = "string", id = "string", check = "function",
  settle = "function", start = "function", busy = "function",
  plan = "function", order = "number", roll_forward = "boolean" }


-- ------------------------------------------------------------------
-- The check of a kind, on a copy of the shadow
-- ------------------------------------------------------------------

-- The component as a version has it, of what a check is handed.
local function component_of(k, c)
  local made = {}
  for _, own in ipairs(c.metadata and c.metadata.components or {}) do
    if own.name == c.component
      and (own.logical_path or "") == (c.logical_path or "")
    then
      for name, item in pairs(own) do made[name] = item end
    end
  end
  local said = type(c.said) == "table" and c.said.components
  said = type(said) == "table" and said[c.component]
  made.kind, made.name = k.name, c.component
  made.logical_path = c.logical_path
  made.writer = { id = c.writer, instance = c.instance,
    name = c.metadata and c.metadata.name }
  made.said = type(said) == "table" and said or {}
  return made
end

-- A program, to its end; raises how it failed.
local function run(...)
  local op <close> = core.process { argv = { ... } }
  local ok, err = op:wait()
  if not ok then error(err, 0) end
end

local function refuse(...)
  error(core.failure("saros", E.SAROS_E_REFUSED, string.format(...)), 0)
end

local function real(path)
  local op <close> = core.process { argv = { "realpath", "-e", "--", path } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return (result.stdout:gsub("\n$", ""))
end

-- What belongs over the files before it can start. Links in the copy still lead
-- to where production is: nothing is laid through one (cp -a puts a directory
-- over none).
local function lay_additions(place, list)
  if list == nil then return end
  if type(list) ~= "table" then refuse "the additions are no list" end
  for _, one in ipairs(list) do
    local path, to = type(one) == "table" and one.path,
      type(one) == "table" and one.to
    local here = type(to) == "string" and place:at(to)
    if type(path) ~= "string" or path:sub(1, 1) ~= "/" or not here
      or real(here) ~= real(place.root) .. to:gsub("/+$", "")
    then
      refuse("%s is to be laid over %s, which is not in the copy",
        tostring(path), tostring(to))
    end
    run("cp", "-a", "--remove-destination", "--reflink=auto", "--",
      path .. "/.", here)
  end
end

local function untried(err)
  if type(err) == "table" then
    if not err.cancelled then err.untried = true end
    return err
  end
  local failure = core.failure("wsb", E.E_FAIL,
    "the check could not be run: " .. tostring(err))
  failure.untried = true
  return failure
end

--- f, of which a mistake says nothing about the files: what it raises is
--- untried, unless that is the error of somebody who looked.
function kind.careful(f)
  return function(...)
    local results = table.pack(pcall(f, ...))
    if results[1] then return table.unpack(results, 2, results.n) end
    local err = results[2]
    error(type(err) == "table" and err or untried(err), 0)
  end
end

local function laid(c, component)
  return require "saros.place".of_shadow { paths = component.files or {},
    at = c.at, scratch = c.scratch }
end

-- Of a copy that could not be made nothing is known.
local function checker(k)
  return function(c)
    local component = component_of(k, c)
    core.report { phase = "copying" }
    local ok, made = pcall(laid, c, component)
    if not ok then error(untried(made), 0) end
    local place <close> = made
    local laid_well, err = pcall(lay_additions, place,
      component.said.additions)
    if not laid_well then error(untried(err), 0) end
    if c.timeout then place.patience = math.min(place.patience, c.timeout) end
    if k.settle then
      local settled, why = kind.careful(k.settle)(component, place)
      if settled == nil and why ~= nil then return nil, why end
    end
    core.report { phase = "checking" }
    return kind.careful(k.check)(component, place)
  end
end


-- ------------------------------------------------------------------
-- Which there are
-- ------------------------------------------------------------------

--- Makes a kind known, and its check the default for the writers of its class.
---@param options saros.writers.kind
---@return saros.writers.kind
function kind.define(options)
  local what <const> = "kind.define"
  local k = arguments.check(what, options, fields)
  arguments.need(what, k, "name", "of the application", 3)
  arguments.need(what, k, "id", "the class of its writers", 3)
  k.id = registry.guid(k.id)
    or error(what .. ": option 'id': a GUID expected", 2)
  local other = by_id[k.id]
  if other and other.name ~= k.name then
    error(("%s: %s is the class of %q"):format(what, k.id, other.name), 2)
  end
  by_id[k.id], by_name[k.name] = k, k
  registry.of_kind(k.id, { name = k.name, check = k.check and checker(k),
    rank = k.order, roll_forward = k.roll_forward })
  return k
end

--- The kind of this name, or of the writers of this class; nil: there is none.
--- nil, err: there is one, and it could not be loaded.
---@param which string
---@return saros.writers.kind?
---@return saros.error?
function kind.of(which)
  local id = registry.guid(which)
  local found = id and by_id[id] or by_name[which]
  if found then return found end
  local name = id and built_in[id] or which
  local module = modules[name]
  if not module then return nil end
  local ok, err = pcall(require, module)
  if ok and by_name[name] then return by_name[name] end
  return nil, core.failure("saros", E.E_NOTIMPL,
    ("what is known of %s is not there: %s"):format(name,
      ok and module .. " does not say" or tostring(err):match "^[^\n]*"))
end

return kind
