---@private
-- What an application does about a restore: the order of its components, and
-- what comes before and after the files of each.

local core = require "saros.core"
local E = require "saros.code"
local answer = require "saros.wsb.answer"
local registry = require "saros.wsb.registry"

local restore = { MAX_COMPONENTS = 4096 }

local function misuse(what, text, level)
  error(("%s: %s"):format(what, text), level + 1)
end

-- Of a component as a version or a check has it: whose it is.
local function writer_of(what, c, level)
  if type(c) ~= "table" then
    misuse(what, ("a component expected, got %s"):format(type(c)), level + 1)
  end
  local w = c.writer
  local id = type(w) == "table" and w.id or w
  local instance = type(w) == "table" and w.instance or c.instance
  return registry.guid(id)
    or misuse(what, "a component without the GUID of its writer", level + 1),
    registry.guid(instance)
end

-- What is wrong with a list that shall be another one in another order.
local function no_permutation(ordered, list)
  local left, count = {}, 0
  for _, c in ipairs(list) do left[c] = true end
  for i = 1, #list do
    local c = rawget(ordered, i)
    if c == nil then return ("number %d is missing"):format(i) end
    if not left[c] then
      return ("number %d is none of them, or there twice"):format(i)
    end
    left[c] = nil
  end
  for _ in next, ordered do count = count + 1 end
  return count > #list and "there is more in it than that" or nil
end

-- Components of one application, in the order that it wants.
local function arranged(own)
  if not own.order or #own.list < 2 then return own.list end
  local given = {}
  for i, c in ipairs(own.list) do given[i] = c end
  local who = ("the order of %s"):format(own.name)
  local ordered = answer.of(E.E_FAIL, who, own.order, given)
  if ordered == true then return own.list end
  local wrong = no_permutation(ordered, own.list)
  if wrong then
    error(core.failure("wsb", E.E_FAIL, ("%s: %s; it must be the components "
      .. "that it was given, each once"):format(who, wrong)), 0)
  end
  return table.move(ordered, 1, #own.list, 1, {})
end

local function order(groups)
  local list = {}
  for _, own in ipairs(groups) do
    for _, c in ipairs(arranged(own)) do list[#list + 1] = c end
  end
  return list
end

function restore.order(list)
  local what <const> = "wsb.order_components"
  if type(list) ~= "table" then
    misuse(what, ("a list expected, got %s"):format(type(list)), 2)
  elseif #list > restore.MAX_COMPONENTS then
    misuse(what, ("%d components: at most %d"):format(#list,
      restore.MAX_COMPONENTS), 2)
  end
  local groups, by = {}, {}
  for _, c in ipairs(list) do
    local id, instance = writer_of(what, c, 2)
    local f, _, name = registry.get(id, instance, "order")
    -- What is registered for an instance is another application.
    local key = f or id
    if not by[key] then
      by[key] = { order = f, name = name, list = {}, at = #groups + 1,
        rank = registry.get(id, instance, "rank") or 0 }
      groups[#groups + 1] = by[key]
    end
    local own = by[key].list
    own[#own + 1] = c
  end
  table.sort(groups, function(a, b)
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.at < b.at
  end)
  return core.spawn_as(what, nil, order, groups)
end

local function hook(what, field, code)
  return function(c, no_roll_forward)
    local id, instance = writer_of(what, c, 2)
    local f, err, name = registry.get(id, instance, field)
    return core.spawn_as(what, nil, function()
      if err then
        error(core.failure("wsb", code, tostring(err)), 0)
      end
      if not f then return true end
      return answer.of(code, ("%s of %s"):format(field, name), f, c,
        no_roll_forward == true)
    end)
  end
end

restore.pre = hook("wsb.pre_restore", "pre_restore",
  E.WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED)

restore.post = hook("wsb.post_restore", "post_restore",
  E.WSBAPP_E_COMPONENT_POST_RESTORE_FAILED)

function restore.is_roll_forward_supported(writer)
  local id = registry.guid(writer)
    or error("wsb.is_roll_forward_supported: a GUID expected", 2)
  return registry.get(id, nil, "roll_forward") == true
end

return restore
