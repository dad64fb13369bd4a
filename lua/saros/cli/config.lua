---@private
-- The configuration: a chunk of Lua that can do nothing but say what shall be.
-- What is wrong with it is told with its line, while it runs.

local arguments = require "saros.arguments"
local core = require "saros.core"
local errors = require "saros.cli.errors"
local shown = require "saros.text"
local term = require "saros.term"

local config = {}

local MEMORY <const>, STEPS <const>, SECONDS <const> = 16 << 20, 5000000, 5
local LARGEST <const> = 1 << 20 -- of a file that somebody has written

-- What may be said: by its type, and in words.
local known <const> = {
  repository = { "string|table", "a location, such as \"/mnt/x\"" },
  password = { "table|string", "where it is: { file = \"…\" }" },
  notify = { "table", "{ url = \"…\" }, { command = { … } } or "
    .. "{ mail = \"…\" }" },
  metrics = { "string", "a path, such as \"/var/lib/saros/saros.prom\"" },
  max_age = { "string", "a time, such as \"26h\"" },
  state_dir = { "string", "a directory" },
}

local function names_of(t, more)
  local names = { table.unpack(more or {}) }
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- (It is called while texts have the sandbox's methods.)
local function is_of(value, types)
  for word in string.gmatch(types, "[^|]+") do
    if type(value) == word then return true end
  end
  return false
end

-- ------------------------------------------------------------------
-- Where it is
-- ------------------------------------------------------------------

--- The files that are looked for, the first one counts.
function config.places()
  local directory = require "saros.cli.password".directory()
  local list = { directory .. "/config.lua" }
  if directory ~= "/etc/saros" then list[2] = "/etc/saros/config.lua" end
  return list
end

-- Whoever may write it decides what is done by who reads it.
local function distrust(path, is, what)
  local me = require "saros.cli.user".id()
  if is.uid ~= 0 and is.uid ~= me then
    return ("%s%s belongs to user %d, who could change what is done: it has "
      .. "to be yours, or root's"):format(shown.safe(path), what, is.uid)
  end
  if is.mode & 18 ~= 0 and not (what ~= "" and is.mode & 512 ~= 0) then
    return ("others may write to %s%s, and could change what is done: "
      .. "chmod go-w '%s'"):format(shown.safe(path), what, shown.safe(path))
  end
end

-- What a path names in the end, through links; each of them could be another
-- if somebody may write to the directory that it is in.
local function found_at(path)
  local at = path
  for _ = 1, 16 do
    local folder = at:match "^(.*)/[^/]*$" or "."
    if folder == "" then folder = "/" end
    local is, err = core.entries { { "look", at }, { "follow", folder } }:wait()
    if not is then return nil, shown.safe(err.message) end
    if not is[1] then break end
    local wrong = distrust(folder, is[2], " (its directory)")
    if is[1].type ~= "symlink" then return at, is[1], wrong end
    if wrong then error(errors.ending(2, wrong), 0) end
    local target = is[1].target
    at = target:sub(1, 1) == "/" and target or folder .. "/" .. target
  end
  return nil, "there is no " .. shown.safe(path)
end

local function content_of(path)
  if path == "/dev/null" then return "" end -- none
  local at, is, in_folder = found_at(path)
  if not at then return nil, is end
  if is.type ~= "file" then return nil, shown.safe(path) .. " is no file" end
  local wrong = distrust(at, is, "") or in_folder
  if wrong then error(errors.ending(2, wrong), 0) end
  if is.size > LARGEST then
    return nil, shown.safe(path) .. " is no configuration: it is too large"
  end
  local file <close>, why = io.open(at, "rb")
  if not file then return nil, why end
  local text = file:read(LARGEST) or ""
  -- As Lua reads files: without a mark of UTF-8, and a first line for the shell.
  return (text:gsub("^\xef\xbb\xbf", ""):gsub("^#[^\n]*", ""))
end

-- ------------------------------------------------------------------
-- The sandbox
-- ------------------------------------------------------------------

local function copy_of(library, names)
  local copy = {}
  for name in names:gmatch "%S+" do copy[name] = library[name] end
  return copy
end

-- What needs no look at anything outside. Not the patterns: a bad one takes
-- for ever, and counts as one step.
local strings = copy_of(string, "byte char format len lower reverse sub upper")

-- Nothing, very often, is neither memory nor a step.
function strings.rep(text, n, separator)
  if text == "" and (separator or "") == "" then n = 1 end
  return string.rep(text, n, separator)
end

local function environment(found)
  local env = {
    pairs = pairs, ipairs = ipairs, next = next, select = select, type = type,
    tonumber = tonumber, tostring = tostring, error = error, assert = assert,
    string = strings, table = copy_of(table, "concat insert remove unpack "
      .. "pack sort"), math = copy_of(math, "abs ceil floor fmod huge max "
      .. "maxinteger min mininteger tointeger type ult"),
  }
  function env.env(name, otherwise)
    local value = os.getenv(tostring(name))
    if value == nil then value = otherwise end
    if value == nil then
      error(("the environment has no %s"):format(tostring(name)), 2)
    end
    return value
  end
  function env.workflow(name)
    if type(name) ~= "string" or name == "" then
      error("workflow \"NAME\" { … } expected", 2)
    end
    local before = found.workflows[name]
    if before then
      error(("there is a workflow %q already, in line %d"):format(name,
        before.line), 2)
    end
    local line = debug.getinfo(2, "l").currentline
    return function(options)
      if type(options) ~= "table" then
        error(("workflow %q: a table expected, got %s"):format(name,
          type(options)), 2)
      end
      found.workflows[name] = { name = name, options = options, line = line }
      found.names[#found.names + 1] = name
    end
  end
  return env
end

-- What was said is checked where it is said.
local function guarded(env, found)
  local all = names_of(known, names_of(env))
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, name)
      if known[name] then return found[name] end
      if env[name] ~= nil then return env[name] end
      error(("there is no '%s' here%s"):format(tostring(name),
        arguments.nearest(tostring(name), all)), 2)
    end,
    __newindex = function(_, name, value)
      local what = known[name]
      if not what then
        local names = names_of(known)
        name = tostring(name)
        error(("there is nothing called '%s'%s (there are %s; others have "
          .. "to be local)"):format(name, arguments.nearest(name, names),
          table.concat(names, ", ")), 2)
      end
      if not is_of(value, what[1]) then
        error(("%s: %s expected, got %s"):format(name, what[2], type(value)), 2)
      end
      found[name] = value
      found.lines[name] = debug.getinfo(2, "l").currentline
    end,
  })
end

-- "FILE:LINE: what", however Lua has said it.
local function placed(path, err, line)
  local text = tostring(err)
  local at, what = text:match "^config:(%d+): (.*)$"
  -- (It may have been said in here.)
  text = text:gsub("^%S*/cli/config%.lua:%d+: ", "")
  return ("%s:%d: %s"):format(shown.safe(path), at or line, what or text)
end

-- What can be seen only when texts have all their methods again.
local function check(found)
  local function wrong(name, ...)
    error(errors.ending(2, placed(found.file, name .. ": " .. (...):format(
      select(2, ...)), found.lines[name])), 0)
  end
  if found.max_age and not shown.seconds(found.max_age) then
    wrong("max_age", "a time such as \"26h\" or \"7d\" expected, got %q",
      found.max_age)
  end
  if found.notify then
    local good, why = pcall(require "saros.notify".options, found.notify)
    if not good then
      wrong("notify", "%s", tostring(why):gsub("^%S+%.lua:%d+: ", "")
        :gsub("^notify:? ?", ""))
    end
  end
end

local function run(path, text)
  local found = { workflows = {}, names = {}, lines = {}, file = path,
    text = text }
  local chunk, wrong = load(text, "=config", "t",
    guarded(environment(found), found))
  if not chunk then
    error(errors.ending(2, placed(path, wrong, 1)), 0)
  end
  -- ("x"):rep is that of the sandbox, too.
  local class = getmetatable ""
  local before = class.__index
  class.__index = strings
  local ok, err, line = term.limited(chunk, MEMORY, STEPS, SECONDS)
  class.__index = before
  if not ok then error(errors.ending(2, placed(path, err, line)), 0) end
  check(found)
  return found
end

--- Loads it: what it says, or an empty one. Ends the program where it is wrong.
function config.load(c)
  local given = c.options.config or os.getenv "SAROS_CONFIG"
  if given and given ~= "" then
    local text, why = content_of(given)
    if text then return run(given, text) end
    local is = core.entries { { "look", given } }:wait()
    if not c.verb.configures or not is or is[1] then c:fail(2, "%s", why) end
    return { workflows = {}, names = {} }
  end
  for _, path in ipairs(config.places()) do
    local ok, text = pcall(content_of, path)
    if not ok then
      -- What somebody may not read was not written for him.
      if text.name ~= "E_ACCESSDENIED" then error(text, 0) end
    elseif text then
      return run(path, text)
    end
  end
  return { workflows = {}, names = {} }
end

-- ------------------------------------------------------------------
-- Workflows
-- ------------------------------------------------------------------

-- The line where something of a workflow is said: "writers.postgres.conninfo".
local function line_of(found, workflow, path)
  local lines, n = {}, 0
  for line in (found.text .. "\n"):gmatch "([^\n]*)\n" do
    n = n + 1
    lines[n] = line
  end
  local at = workflow.line
  for name in path:gmatch "[%a_][%w_]*" do
    for i = at, n do
      if lines[i]:find("%f[%w_]" .. name .. "%f[^%w_]%s*=") then
        at = i
        break
      end
    end
  end
  return at
end

--- A workflow of the configuration, made.
function config.workflow(c, name)
  local found = c:config()
  local said = found.workflows[name]
  if not said then
    c:fail(4, "there is no workflow '%s'%s%s", shown.safe(name),
      arguments.nearest(name, found.names), #found.names > 0 and "\nthere are "
        .. shown.safe(table.concat(found.names, ", "))
        or found.file and "\nthe configuration has none: '"
          .. shown.safe(found.file) .. "' ('saros help configuration')"
        or "\nthere is no configuration; 'saros init' writes one")
  end
  local options = {}
  for key, value in pairs(said.options) do options[key] = value end
  options.name = options.name or name
  if options.to == nil then options.to = found.repository end
  for _, key in ipairs { "password", "notify" } do
    if options[key] == nil then options[key] = found[key] end
  end
  if options.state_dir == nil then
    options.state_dir = require "saros.cli.where".state(c)
  end
  local ok, made = pcall(require "saros".workflow, options)
  if ok then return made end
  local text = tostring(core.is_failure(made) and made.message or made)
  local line = line_of(found, said, text:match "option '([^']*)'"
    or text:gsub("^saros%.workflow:? ?", ""):match "^[%a_][%w_.%[%]]*" or "")
  c:fail(2, "%s:%d: workflow %q: %s", shown.safe(found.file), line, name,
    (text:gsub("^[^:\n]+:%d+: ", "")))
end

return config
