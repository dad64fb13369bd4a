---@private
-- What a workflow is made of, checked when it is made: a slip of the pen is told
-- then, and not at night. What is wrong is raised without a position, which who
-- was called adds.

local arguments = require "saros.arguments"
local care = require "saros.repository.given"
local text = require "saros.text"

local options = {}

local WHAT <const> = "saros.workflow"

-- So long others are waited for who make a shadow, or have locked a repository:
-- at night several begin at once.
local PATIENCE <const> = 1800

local hook <const> = "function|table"
local hooks <const> = { before = hook, after = hook, failed = hook,
  finally = hook }

local function with(kinds)
  for name, kind in pairs(hooks) do kinds[name] = kind end
  return kinds
end

local kinds <const> = with { name = "string", writers = "table",
  sources = "string|table|function", to = "string|table",
  password = "bytes|table", provider = "string|table", exclude = "list",
  tags = "list", host = "string", type = { "copy", "full" }, keep = "table",
  prune = "boolean|string|number", check = "boolean",
  verify = "boolean|string|integer", drill = "boolean|string|number|table",
  retry = "table", timeout = "table", notify = "table", init = "boolean",
  require = "list", state_dir = "string", scratch = "string",
  patience = "number|string" }

local of_keep <const> = { tags = "table", within = "string" }
for _, span in ipairs { "hourly", "daily", "weekly", "monthly", "yearly" } do
  of_keep[span] = "integer|string"
  of_keep["within_" .. span] = "string"
end
of_keep.last = "integer|string"

local of_retry <const> = { tries = "integer", delay = "number",
  factor = "number", most = "number", jitter = "number", on = "function" }

local of_drill <const> = { every = "string|number|boolean", verify = "function",
  component = "string", application = "string", scratch = "string",
  timeout = "number|table", extract = "table" }

-- The steps, by the names that `timeout` takes.
local of_timeout <const> = {}
for _, name in ipairs { "open", "sources", "writers", "shadow", "check",
  "backup", "complete", "late", "verify", "forget", "prune", "drill", "hook",
  "reap" } do
  of_timeout[name] = "number|string"
end

-- How often something is due, in seconds.
local periods <const> = { hourly = 3600, daily = 86400, weekly = 7 * 86400,
  monthly = 30 * 86400 }

local function wrong(where, said, ...)
  error(("%s: %s: "):format(WHAT, where) .. said:format(...), 0)
end

-- Neither below nothing, nor no number at all.
local function check_number(where, given)
  if given and (given < 0 or given ~= given) then
    wrong(where, "0 or more expected, got %g", given)
  end
end

local function checked(where, given, of)
  return arguments.check(where == "" and WHAT or WHAT .. ": " .. where, given,
    of, 0)
end

-- A command is a list of texts.
local function check_hooks(where, o)
  for name in pairs(hooks) do
    local given = o[name]
    if type(given) == "table" then
      if not given[1] then wrong(where .. name, "a program expected") end
      for i, word in ipairs(given) do
        if type(word) ~= "string" or word:find("\0", 1, true) then
          wrong(("%s%s[%d]"):format(where, name, i), "string expected")
        end
      end
      for key in pairs(given) do
        if math.type(key) ~= "integer" then
          wrong(where .. name, "a function, or a program and its arguments "
            .. "expected")
        end
      end
    end
  end
end

-- true, false, or seconds.
local function period(where, given)
  if type(given) == "boolean" then return given end
  local seconds = type(given) == "number" and given >= 0 and given
    or periods[given] or text.seconds(given)
  if not seconds then
    wrong(where, "true, false, \"hourly\", \"daily\", \"weekly\", "
      .. "\"monthly\", or a time such as \"10d\" expected, got %q",
      tostring(given))
  end
  return seconds
end

-- 300, or "5m"; of a table, each.
local function times(where, given, of)
  if of then
    local o = checked(where, given, of)
    for name, item in pairs(o) do
      local seconds = times(where .. "." .. name, item)
      if seconds == 0 then wrong(where .. "." .. name, "more than 0") end
      o[name] = seconds
    end
    return o
  end
  local seconds = type(given) == "number" and given >= 0 and given
    or text.seconds(given)
  if not seconds then
    wrong(where, "seconds, or a time such as \"5m\" expected, got %q",
      tostring(given))
  end
  return seconds
end

local function check_verify(where, given)
  if given ~= nil and not care.is_share(given) then
    wrong(where, "true, a share (\"10%%\"), an amount (\"5G\") or a part "
      .. "(\"1/7\") expected, got %q", tostring(given))
  end
end

-- ------------------------------------------------------------------
-- Writers
-- ------------------------------------------------------------------

-- Whether they are there for files that they name.
local writers <const> = { postgres = true, mariadb = true, redis = true,
  sqlite = true, process = false, command = false }

local function writer(where, kind, given)
  if writers[kind] == nil then
    local given_kinds = {}
    for name in pairs(writers) do given_kinds[name] = "table" end
    checked("writers", { [tostring(kind)] = {} }, given_kinds)
  end
  if type(given) == "function" then
    return { kind = kind, where = where, open = given }
  end
  local there, module = pcall(require, "saros.writers." .. kind)
  if not there then
    wrong(where, "cannot be had here: %s", tostring(module):match "^[^\n]*")
  end
  if type(given) ~= "table" then
    wrong(where, "a table of options, or a function that opens a writer, "
      .. "expected, got %s", type(given))
  end
  local o = checked(where, given, module.options)
  return { kind = kind, where = where, open = function(state_dir)
    local own = { state_dir = state_dir }
    for name, item in pairs(o) do own[name] = item end
    if not module.options.state_dir then own.state_dir = nil end
    local made, w, why = pcall(module.writer, own)
    if made then return w, why end
    -- Where in here it was seen helps nobody.
    error(type(w) ~= "string" and w or ("%s: %s: %s"):format(WHAT, where,
      (w:gsub("%S+%.lua:%d+: ", ""))), 0)
  end, of_files = writers[kind] }
end

-- { postgres = {…} }, or { { kind = "postgres", … }, … }.
local function writers_of(given)
  local list = {}
  for i, one in ipairs(given) do
    local where = ("writers[%d]"):format(i)
    if type(one) == "function" then
      list[i] = { kind = where, where = where, open = one }
    else
      if type(one) ~= "table" or type(one.kind) ~= "string" then
        wrong(where, "{ kind = \"postgres\", … } expected")
      end
      local own = {}
      for name, item in pairs(one) do own[name] = item end
      own.kind = nil
      list[i] = writer(where, one.kind, own)
    end
  end
  local names = {}
  for kind in pairs(given) do
    if math.type(kind) ~= "integer" then names[#names + 1] = kind end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, kind in ipairs(names) do
    list[#list + 1] = writer("writers." .. tostring(kind), kind, given[kind])
  end
  return list
end


-- ------------------------------------------------------------------
-- Sources
-- ------------------------------------------------------------------

--- A source as it was given, or as a function returned it. Raises.
function options.source(where, given)
  if type(given) == "string" then given = { path = given } end
  if type(given) == "function" then return { resolve = given } end
  if type(given) ~= "table" then
    wrong(where, "a path, { path = … } or a function expected, got %s",
      type(given))
  end
  local o = checked(where, given, with { path = "string|function",
    exclude = "list" })
  if o.path == nil then wrong(where, "option 'path' is missing") end
  check_hooks(where .. ".", o)
  if type(o.path) == "function" then o.resolve, o.path = o.path, nil end
  if o.path and not require "saros.wsb.files".is_path(o.path) then
    wrong(where, "an absolute path without '..' and line breaks expected, got "
      .. "%s", require "saros.text".safe(o.path))
  end
  return o
end

local function sources_of(given)
  if type(given) ~= "table" or given.path ~= nil then given = { given } end
  local list = {}
  for i, one in ipairs(given) do
    list[i] = options.source(("sources[%d]"):format(i), one)
  end
  if #list == 0 then wrong("sources", "nothing is to be backed up") end
  return list
end


-- ------------------------------------------------------------------
-- Targets
-- ------------------------------------------------------------------

local function check_rule(where, name, item)
  if name:find "^within" and not care.is_span(item) then
    wrong(where, "a span such as \"1y5m7d2h\" expected, got %q", item)
  elseif of_keep[name] == "integer|string" and not care.is_count(item) then
    wrong(where, "a number of versions, or \"unlimited\", expected, got %q",
      item)
  end
end

local function keep_of(where, given)
  if given == nil then return nil end
  local o = checked(where, given, of_keep)
  if next(o) == nil then wrong(where, "no rule: { daily = 7 }") end
  local rules = {}
  for name, item in pairs(o) do
    check_rule(where .. "." .. name, name, item)
    rules["keep_" .. name] = item
  end
  return rules
end

local of_password <const> = { text = "bytes", file = "string",
  command = "string|table", env = "string", none = "boolean" }

local function check_password(where, given)
  if type(given) ~= "table" then return end
  local o = checked(where, given, of_password)
  local way = next(o)
  if not way or next(o, way) ~= nil then
    wrong(where, "a text, or one of { file = }, { command = }, { env = }, "
      .. "{ text = } and { none = true } expected")
  end
end

local own <const> = with { keep = "table", prune = "boolean|string|number",
  verify = "boolean|string|integer", init = "boolean" }

local function target(where, given, o)
  if type(given) == "string" then given = { location = given } end
  if type(given) ~= "table" then
    wrong(where, "the location of a repository, or { location = … } expected, "
      .. "got %s", type(given))
  end
  local all, rest, mine = {}, {}, {}
  local known = require "saros.repository".options
  for name, kind in pairs(known) do all[name] = kind end
  for name, kind in pairs(own) do all[name] = kind end
  for name, item in pairs(checked(where, given, all)) do
    if own[name] then mine[name] = item else rest[name] = item end
  end
  if not rest.location then wrong(where, "option 'location' is missing") end
  check_hooks(where .. ".", mine)
  check_password(where .. ".password", rest.password)
  if rest.password == nil then rest.password = o.password end
  for name in pairs(own) do
    if mine[name] == nil and not hooks[name] and name ~= "keep" then
      mine[name] = o[name]
    end
  end
  mine.keep = keep_of(where .. ".keep", mine.keep) or o.keep
  if mine.prune == nil then mine.prune = mine.keep ~= nil and "weekly" end
  mine.prune = period(where .. ".prune", mine.prune)
  check_verify(where .. ".verify", mine.verify)
  rest.retry_lock = rest.retry_lock or o.patience
  mine.open = rest
  -- As it may be shown: a location may have a password in it.
  mine.location = rest.location:gsub("://[^/@]*@", "://")
  return mine
end

local function targets_of(given, o)
  if type(given) ~= "table" or given.location ~= nil then given = { given } end
  local list, seen = {}, {}
  for i, one in ipairs(given) do
    list[i] = target(("to[%d]"):format(i), one, o)
    local location = list[i].open.location:gsub("(.)/+$", "%1")
    if seen[location] then wrong("to", "%s is there twice", location) end
    seen[location] = true
  end
  if #list == 0 then wrong("to", "there is no repository") end
  return list
end


-- ------------------------------------------------------------------
-- All of it
-- ------------------------------------------------------------------

local function check_name(name)
  if name == "" or #name > 100 or name:find "[%c/,]" then
    wrong("name", "a short name without '/', ',' and control characters "
      .. "expected, got %q", name:sub(1, 100))
  end
end

local function drill_of(given)
  if given == nil or given == false then return nil end
  if type(given) ~= "table" then given = { every = given } end
  local o = checked("drill", given, of_drill)
  if o.every == nil then o.every = true end
  o.every = period("drill.every", o.every)
  return o
end

local function check_notify(given)
  if not given then return end
  local good, why = pcall(require "saros.notify".options, given)
  if not good then
    wrong("notify", "%s", tostring(why):gsub("^[^\n]-:%d+: ", "")
      :gsub("^notify:? ?", ""))
  end
end

-- What is in its versions, in short: who has changed that does not go on with
-- what was interrupted before.
local function content_of(o)
  local list = { o.type, o.exclude, {}, {} }
  for i, source in ipairs(o.sources) do
    list[3][i] = { source.path or "function", source.exclude or {} }
  end
  for i, one in ipairs(o.writers) do list[4][i] = one.kind end
  return text.hash(require "saros.core".json_write(list))
end

--- All options of a workflow, as the run takes them. Raises.
function options.check(given)
  local o = checked("", given, kinds)
  for _, name in ipairs { "name", "sources", "to" } do
    arguments.need(WHAT, o, name, ({ name = "\"nightly\"",
      sources = "{ \"/srv\" }", to = "{ \"/mnt/backup\" }" })[name], 0)
  end
  check_name(o.name)
  check_hooks("", o)
  if o.prune ~= nil then o.prune = period("prune", o.prune) end
  check_verify("verify", o.verify)
  check_password("password", o.password)
  o.keep = keep_of("keep", o.keep)
  o.drill = drill_of(o.drill)
  check_notify(o.notify)
  if o.retry then
    o.retry = checked("retry", o.retry, of_retry)
    if (o.retry.tries or 5) < 1 then wrong("retry.tries", "1 or more") end
    for _, name in ipairs { "delay", "factor", "most", "jitter" } do
      check_number("retry." .. name, o.retry[name])
    end
  end
  o.timeout = times("timeout", o.timeout or {}, of_timeout)
  o.writers = writers_of(o.writers or {})
  o.sources = sources_of(o.sources)
  o.patience = times("patience", o.patience or PATIENCE)
  o.targets = targets_of(o.to, o)
  o.type, o.exclude = o.type or "copy", o.exclude or {}
  o.content = content_of(o)
  o.tags = o.tags or {}
  o.host = o.host or os.getenv "RESTIC_HOST"
    or (require "saros.wsb.files".content "/proc/sys/kernel/hostname" or "")
      :gsub("\n$", "")
  return o
end

return options
