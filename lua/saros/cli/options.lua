---@private
-- What options there are for a verb, and what was given. An option is
-- { "name", "n", value = "WHAT", list = true, type = "integer", choices = { … },
-- help = "…", env = "VARIABLE" }: without `value` it is a switch. It is found
-- under its name, with _ for -.

local arguments = require "saros.arguments"

local options = {}

--- Every verb has these.
options.common = {
  { "json", help = "write lines of JSON, for programs (saros help json)" },
  { "quiet", "q", help = "say nothing but results and errors" },
  { "config", value = "FILE", complete = "file", env = "SAROS_CONFIG",
    help = "the configuration, instead of that of the user or the machine" },
  { "help", "h", help = "show this" },
}

-- Those with `repository = true` in their table.
local of_repository = {
  { "repo", "r", value = "LOCATION", complete = "directory",
    env = "RESTIC_REPOSITORY",
    help = "a directory, s3:https://host/bucket/prefix, or "
      .. "rest:https://host:8000/" },
  { "password-file", "p", value = "FILE", complete = "file",
    env = "RESTIC_PASSWORD_FILE", help = "a file with the password" },
  { "password-command", value = "COMMAND", env = "RESTIC_PASSWORD_COMMAND",
    help = "a command that prints the password" },
  { "retry-lock", value = "TIME", type = "seconds",
    help = "wait so long while others have it locked" },
  { "no-lock", help = "do not lock it: where nothing can be written" },
  { "cacert", value = "FILE", complete = "file",
    help = "the certificates to trust" },
}

-- Those with `filter = true`: which versions are meant.
local of_filter = {
  { "host", "H", value = "NAME", help = "only versions of this machine" },
  { "tag", value = "TEXT", list = true,
    help = "only versions with this tag (several: with all of them)" },
  { "path", value = "PATH", list = true, complete = "file",
    help = "only versions of this path (several: of all of them)" },
}

--- All options of a verb, in groups: { { title, list }, … }.
function options.groups(verb)
  local groups = { { "Options", verb.options or {} } }
  if verb.filter then groups[#groups + 1] = { "Which versions", of_filter } end
  if verb.repository then
    groups[#groups + 1] = { "The repository", of_repository }
  end
  groups[#groups + 1] = { "Always", options.common }
  return groups
end

local function index(verb)
  local by, names = {}, {}
  for _, group in ipairs(options.groups(verb)) do
    for _, option in ipairs(group[2]) do
      by["--" .. option[1]] = by["--" .. option[1]] or option
      local short = option[2] and "-" .. option[2]
      if short then by[short] = by[short] or option end
      names[#names + 1] = "--" .. option[1]
    end
  end
  return by, names
end

local function key_of(option) return (option[1]:gsub("-", "_")) end

local LONGEST <const> = 60 -- bytes of what was given that are said

-- What somebody has given, as it is said to him: it may be anything.
local function named(text)
  local safe = require "saros.text".safe
  if #text <= LONGEST then return safe(text) end
  return safe(text:sub(1, LONGEST)) .. "…"
end

local AGES <const> = 1e11 -- seconds that nobody means

-- No sign, and an end to it.
local function positive(n) return n and n >= 0 and n <= AGES and n or nil end

local function duration(text)
  if #text > LONGEST then return nil end
  return positive(require "saros.text".seconds(text))
end

local function given_of() return require "saros.repository.given" end

local types <const> = {
  integer = { math.tointeger, "a whole number" },
  number = { function(text) return positive(tonumber(text)) end,
    "a number of seconds" },
  duration = { duration, "a time such as 90m, 26h or 7d" },
  seconds = { function(text)
    return positive(tonumber(text)) or duration(text)
  end, "seconds, or a time such as 90s or 10m," },
  mode = { function(text) return text:match "^0?[0-7][0-7][0-7]$" end,
    "a mode such as 644" },
  size = { function(text)
    return #text < 20 and text:match "^%d+%.?%d*[KMGTkmgt]?$" and text or nil
  end, "a size such as 500K or 10M" },
  count = { function(text)
    local n = math.tointeger(tonumber(text)) or text
    return given_of().is_count(n) and n
  end, "a whole number, or unlimited," },
  span = { function(text) return given_of().is_span(text) and text end,
    "a span such as 1y5m7d2h" },
  share = { function(text) return given_of().is_share(text) and text end,
    "a part such as 10%, 5G or 1/7" },
}

-- The value as it is passed on; nil and what was expected.
local function taken(option, text)
  if text:find("\0", 1, true) then return nil, "a text without NUL bytes" end
  if option.choices then
    for _, choice in ipairs(option.choices) do
      if choice == text then return text end
    end
    return nil, "one of " .. table.concat(option.choices, ", ")
  end
  local kind = types[option.type]
  if not kind then return text end
  local value = kind[1](option.type == "integer" and tonumber(text) or text)
  if not value then return nil, kind[2] end
  return value
end

local Misuse = {}

local function misuse(...) error(setmetatable({ (...):format(
  select(2, ...)) }, Misuse), 0) end

local function set(given, option, name, text)
  local key = key_of(option)
  if not option.value then
    if text then misuse("option %s takes no value", name) end
    given[key] = true
    return
  end
  local value, expected = taken(option, text)
  if value == nil then
    misuse("option %s: %s expected, got \"%s\"", name, expected, named(text))
  end
  if option.list then
    given[key] = given[key] or {}
    table.insert(given[key], value)
  else
    given[key] = value
  end
end

-- A cluster of short ones: -qr /mnt, -r/mnt, -r=/mnt is not.
local function short(given, by, names, argument, following)
  local at, used = 2, 0
  while at <= #argument do
    local name = "-" .. argument:sub(at, at)
    local option = by[name]
    if not option then
      misuse("there is no option %s%s", named(name), arguments.nearest(
        "-" .. argument, names))
    end
    if option.value then
      local text = argument:sub(at + 1)
      if text == "" then
        text, used = following, 1
        if not text then
          misuse("option %s: %s is missing", name, option.value)
        end
      end
      set(given, option, name, text)
      return used
    end
    set(given, option, name)
    at = at + 1
  end
  return used
end

local function long(given, by, names, argument, following)
  local name, text = argument:match "^(%-%-[^=]+)=(.*)$"
  name = name or argument
  local option = by[name]
  if not option then
    misuse("there is no option %s%s", named(name), arguments.nearest(name,
      names))
  end
  local used = 0
  if option.value and not text then
    text, used = following, 1
    if not text then
      misuse("option %s: %s is missing", name, option.value)
    end
  end
  set(given, option, name, text)
  return used
end

-- Whether what follows belongs to somebody else.
local function stops(verb, argument)
  if type(verb.stop) == "function" then return verb.stop(argument) end
  return verb.stop
end

local function walk(verb, argv, given, rest)
  local by, names = index(verb)
  local i, n = 1, #argv
  while i <= n do
    local argument = argv[i]
    if argument == "--" then
      given["--"] = #rest -- so many stood before it
      table.move(argv, i + 1, n, #rest + 1, rest)
      return
    elseif argument:sub(1, 2) == "--" then
      i = i + 1 + long(given, by, names, argument, argv[i + 1])
    elseif argument:sub(1, 1) == "-" and #argument > 1 then
      i = i + 1 + short(given, by, names, argument, argv[i + 1])
    elseif stops(verb, argument) then
      table.move(argv, i, n, #rest + 1, rest)
      return
    else
      rest[#rest + 1] = argument
      i = i + 1
    end
  end
end

local function count(verb, rest)
  local wanted = verb.arguments or { max = 0 }
  if #rest < (wanted.min or 0) then
    misuse("%s is missing", wanted.names or "an argument")
  end
  if wanted.max and #rest > wanted.max then
    misuse(wanted.max == 0 and "there is nothing to be named here: \"%s\""
      or "too many arguments, from \"%s\" on", named(rest[wanted.max + 1]))
  end
end

--- What was given: options by name, and arguments; nil and what is wrong.
function options.parse(verb, argv)
  local given, rest = {}, {}
  local ok, err = pcall(walk, verb, argv, given, rest)
  if ok and not given.help then ok, err = pcall(count, verb, rest) end
  if ok then return given, rest end
  if getmetatable(err) ~= Misuse then error(err, 0) end
  return nil, err[1]
end

--- Whether a program reads what is said of these words, which may be wrong.
function options.wants_json(verb, argv)
  for _, argument in ipairs(argv) do
    if argument == "--json" then return true end
    if argument == "--" then return false end
    if argument:sub(1, 1) ~= "-" and stops(verb, argument) then
      return false
    end
  end
  return false
end

return options
