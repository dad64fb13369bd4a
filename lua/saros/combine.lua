--- Operations made of operations. Each is a task that waits, so each can be
--- waited for, cancelled and named like any other.

local core = require "saros.core"

local pack, unpack = table.pack, table.unpack

---@class saros
local saros = {}

local function is_operation(v)
  local mt = getmetatable(v)
  return type(v) == "userdata" and type(mt) == "table"
    and mt.__name == "saros.operation"
end

local function check_operations(ops, what)
  if type(ops) ~= "table" then
    error(("%s: table of operations expected, got %s")
      :format(what, type(ops)), 3)
  end
  for i = 1, #ops do
    if not is_operation(ops[i]) then
      error(("%s: number %d is no operation"):format(what, i), 3)
    end
  end
end

-- `known` has a first element when the list part is somebody else's to check.
local function check_names(options, what, known)
  if type(options) ~= "table" then
    error(("%s: table expected, got %s"):format(what, type(options)), 3)
  end
  for name in pairs(options) do
    local listed = known[1] and math.type(name) == "integer"
    if not known[name] and not listed then
      error(("%s has no option '%s'"):format(what, tostring(name)), 3)
    end
  end
end

-- A handle that was closed meanwhile has been put down already.
local function is_open(op)
  return tostring(op) ~= "saros.operation: closed"
end

-- Cancels what still runs and waits until it is unwound.
local function put_down(ops)
  for i = 1, #ops do
    if is_open(ops[i]) and not ops[i]:done() then ops[i]:cancel() end
  end
  for i = 1, #ops do
    if is_open(ops[i]) then ops[i]:wait() end
  end
end

-- What composes is spawned surely: cancelled or closed before it has begun, it
-- puts down what it was handed all the same.

-- Runs f; whatever raises out of it (a cancel above all) puts `ops` down
-- before it goes on its way.
local function guarded(ops, f, ...)
  local results = pack(pcall(f, ...))
  if results[1] then return unpack(results, 2, results.n) end
  put_down(ops)
  error(results[2], 0)
end

-- Which of them decided it; 0 when all are over and none did.
local function decisive(ops, how)
  local result, err = core.gather(ops, how):wait()
  if not result then error(err, 0) end
  local index = type(result) == "table" and result.index
  return index or error("not enough memory", 0)
end

--- Waits for all. The first failure cancels and unwinds the others, and is
--- the failure of the whole. Cancelling the whole cancels them all.
---@param ops { [integer]: saros.operation, name: string? }
---@return saros.operation op its result: a table of first results, in order
function saros.all(ops)
  check_operations(ops, "saros.all")
  check_names(ops, "saros.all", { true, name = true })
  local name = ops.name
  ops = { unpack(ops) }
  return core.spawn_surely({ name = name }, function()
    return guarded(ops, function()
      local first = decisive(ops, "failure")
      if first > 0 then
        local _, why = ops[first]:wait()
        put_down(ops)
        return nil, why
      end
      local results = {}
      for i = 1, #ops do results[i] = ops[i]:wait() end
      return results
    end)
  end)
end

--- Waits for the first that is over. The others go on, unless `cancel` is
--- set; then they are unwound before this one ends.
---@param ops { [integer]: saros.operation, cancel: boolean?, name: string? }
---@return saros.operation op its result: the index, then that one's results
function saros.any(ops)
  check_operations(ops, "saros.any")
  check_names(ops, "saros.any", { true, name = true, cancel = true })
  if #ops == 0 then error("saros.any: the table is empty", 2) end
  local name, cancel = ops.name, ops.cancel
  ops = { unpack(ops) }
  return core.spawn_surely({ name = name }, function()
    return guarded(cancel and ops or {}, function()
      local index = decisive(ops, "first")
      local results = pack(ops[index]:wait())
      if cancel then put_down(ops) end
      if results[1] == nil then return nil, results[2] end
      return index, unpack(results, 1, results.n)
    end)
  end)
end

--- Gives an operation so many seconds; then it is cancelled and unwound, and
--- the error has `timeout`. (`op:wait(seconds)` never cancels.)
---@param op saros.operation
---@param seconds number
---@param options? saros.task.options
---@return saros.operation op its results: those of `op`
function saros.timeout(op, seconds, options)
  if not is_operation(op) then
    error("saros.timeout: operation expected, got " .. type(op), 2)
  end
  if type(seconds) ~= "number" or seconds ~= seconds then
    error("saros.timeout: seconds expected", 2)
  end
  options = options or {}
  check_names(options, "saros.timeout", { name = true })
  return core.spawn_surely({ name = options.name }, function()
    return guarded({ op }, function()
      local result, why = op:wait(seconds)
      if not op:done() then
        if not result and not why.timeout then error(why, 0) end -- a cycle
        put_down { op }
        local _, left = op:result()
        if not op:ok() and type(left) == "table" and left.cancelled then
          local err = core.failure("saros", 0x800705B4,
            ("did not end within %g seconds and was cancelled"):format(seconds))
          err.op, err.timeout = op, true
          return nil, err
        end -- else it was just quick enough, or cannot be cancelled
      end
      return op:result()
    end)
  end)
end

local function retryable(on, err)
  if type(on) == "function" then return on(err) end
  local fields = type(err) == "table" and err or {}
  if type(on) == "table" then
    for _, wanted in ipairs(on) do
      if wanted == fields.code or wanted == fields.name then return true end
    end
    return false
  end
  return fields.retryable
end

-- Calls f; an operation that it returns is waited for, and put down when the
-- wait is cancelled. Whether that went well, then the results or the error.
local function attempt(f, try)
  local results = pack(pcall(f, try))
  if not results[1] then return false, true, results[2] end
  local op = results[2]
  if is_operation(op) then
    guarded({ op }, op.wait, op)
    results = pack(true, op:result())
    if not op:ok() then return false, false, results[3] end
  elseif results[2] == nil and results[3] ~= nil then
    return false, false, results[3]
  end
  return unpack(results, 1, results.n)
end

local retry_options = {
  tries = "number", delay = "number", factor = "number", most = "number",
  jitter = "number", name = "string", on = true,
}

---@class saros.retry.options
---@field tries? integer how often in all (5)
---@field delay? number seconds before the second try (1)
---@field factor? number each further delay is so much longer (2)
---@field most? number the longest delay in seconds (300)
---@field jitter? number a delay varies by this part of it, up or down (0.1)
---@field on? (fun(err: any): boolean)|(integer|string)[] what is tried again: by default what has `err.retryable`
---@field name? string

--- Calls f until it succeeds: until it returns something other than nil, err
--- and raises nothing. An operation that f returns is waited for.
---@param options saros.retry.options
---@param f fun(try: integer): any
---@return saros.operation op its results: those of f
function saros.retry(options, f)
  local o = options or {}
  check_names(o, "saros.retry", retry_options)
  for name, kind in pairs(retry_options) do
    if kind ~= true and o[name] ~= nil and type(o[name]) ~= kind then
      error(("saros.retry: option '%s': %s expected, got %s")
        :format(name, kind, type(o[name])), 2)
    end
  end
  if o.on ~= nil and type(o.on) ~= "function" and type(o.on) ~= "table" then
    error("saros.retry: option 'on': function or list expected", 2)
  end
  if type(f) ~= "function" then error("saros.retry: function expected", 2) end
  local tries, delay = o.tries or 5, o.delay or 1
  local factor, jitter, most = o.factor or 2, o.jitter or 0.1, o.most or 300
  if tries < 1 then error("saros.retry: 'tries' must be 1 or more", 2) end
  return core.spawn({ name = o.name }, function()
    for try = 1, tries do
      local results = pack(attempt(f, try))
      if results[1] then return unpack(results, 2, results.n) end
      local raised, err = results[2], results[3]
      local cancelled = type(err) == "table" and err.cancelled
      if try + 1 > tries or cancelled or not retryable(o.on, err) then
        if raised then error(err, 0) end
        return nil, err
      end
      local wait = math.min(delay * factor ^ (try - 1), most)
      core.sleep(wait * (1 + jitter * (2 * math.random() - 1))):wait()
    end
  end)
end

---@class saros.scope
---@field package ops saros.operation[]
local scope = {}
scope.__index = scope

--- Starts a task that belongs to the scope; with options in front as for
--- `saros.spawn`.
---@overload fun(self: saros.scope, options: saros.task.options, f: function, ...: any): saros.operation
---@param f function
---@param ... any its arguments
---@return saros.operation
function scope:spawn(f, ...)
  if self.closed then error("scope:spawn: the scope was left already", 2) end
  return self:add(core.spawn(f, ...))
end

--- Makes an operation belong to the scope.
---@param op saros.operation
---@return saros.operation op the same
function scope:add(op)
  if not is_operation(op) then error("scope:add: operation expected", 2) end
  if self.closed then
    op:cancel()
    error("scope:add: the scope was left already", 2)
  end
  self.ops[#self.ops + 1] = op
  if self.changed then self.changed:cancel() end
  return op
end

-- Waits until all are over, or one has failed; members may come meanwhile.
local function first_failure(s)
  while true do
    local pending, watched = false, {}
    for i = 1, #s.ops do
      local op = s.ops[i]
      if not op:done() then
        pending = true
      elseif not op:ok() then
        return op
      end
      watched[i] = op
    end
    if not pending then return nil end
    s.changed = core.gather(watched, "failure")
    local _, err = s.changed:wait()
    s.changed = nil
    if err and not err.cancelled then error(err, 0) end -- a cycle
  end
end

-- Members that come while the others are put down are put down, too.
local function put_down_all(s)
  local count
  repeat
    count = #s.ops
    put_down(s.ops)
  until count == #s.ops
  s.closed = true
end

local function run_scope(options, f)
  if type(options) ~= "table" then options, f = {}, options end
  check_names(options, "saros.scope", { name = true })
  if type(f) ~= "function" then error("saros.scope: function expected", 2) end
  local s = setmetatable({ ops = {} }, scope)
  local whole = core.spawn({ name = options.name }, function()
    local body = core.spawn(f, s)
    s.ops[1] = body
    local ok, failed = pcall(first_failure, s)
    if ok and not failed then
      s.closed = true
      return body:result()
    end
    put_down_all(s)
    if not ok then error(failed, 0) end
    local _, why = failed:wait()
    error(type(why) == "table" and why.value or why, 0)
  end)
  -- Whoever is cancelled here takes the scope with him.
  local _, why = guarded({ whole }, whole.wait, whole)
  if whole:ok() then return whole:result() end
  if type(why) == "table" and why.value ~= nil then why = why.value end
  error(why, 0)
end

--- Runs f(scope) and leaves only when everything that was started in the
--- scope (`scope:spawn`, `scope:add`) has ended. When f raises, is cancelled,
--- or a member fails, the rest is cancelled and unwound first. With a name
--- in front others find the whole, and can cancel it.
---
--- ```lua
--- saros.scope(function(scope)
---   scope:spawn(dump, "a")
---   scope:add(saros.copy { from = "/srv", to = "/backup/srv" })
--- end)
--- ```
---@overload fun(options: saros.task.options, f: fun(scope: saros.scope): ...): ...
---@param f fun(scope: saros.scope): ...
---@return any ... what f returns; its error, or that of the member that failed, is raised
saros.scope = run_scope

return saros
