---@private
-- What a script may say of a queue, a job and a file, and how it is passed on:
-- C knows each thing in one form only.

local arguments = require "saros.arguments"
local core = require "saros.bits.core"

local options = {}

-- By what they are, as arguments.check takes them.
options.manager = {
  path = "string", observe = "boolean",
}
options.settings = {
  limit_download = "integer|string", limit_upload = "integer|string",
  limits = "list", connections = "integer", connections_per_host = "integer",
  active = "boolean",
}
for name, kind in pairs(options.settings) do options.manager[name] = kind end

options.properties = {
  name = "string", description = "string",
  priority = { "foreground", "high", "normal", "low" },
  retry_delay = "number", no_progress_timeout = "number", max_time = "number",
  connect_timeout = "number", stall_timeout = "number",
  headers = "table", credentials = "table",
  proxy = "string|boolean", proxy_credentials = "table", s3 = "table",
  method = "string", cacert = "string", redirects = "integer",
  durability = { "file", "group", "none" }, overwrite = "boolean",
  length_required = "boolean", dynamic = "boolean",
  on_change = { "restart", "error" }, max_size = "integer|string",
  part_size = "integer|string", connections_per_host = "integer",
  limit_download = "integer|string", limit_upload = "integer|string",
  notify = "function|table|boolean", notify_flags = "integer|table",
  notify_command = "list",
}
options.creation = { type = { "download", "upload", "upload_reply" } }
for name, kind in pairs(options.properties) do options.creation[name] = kind end

options.file = {
  url = "string", path = "string", sha256 = "string", ranges = "table",
}

-- ------------------------------------------------------------------
-- One thing at a time
-- ------------------------------------------------------------------

local powers = { [""] = 0, K = 10, M = 20, G = 30, T = 40 }

-- "1.5M" --> 1572864
local function bytes_of(text)
  local number, unit = text:match "^(%d+%.?%d*)%s*([KMGTkmgt]?)i?B?$"
  local n = number and tonumber(number) * (1 << powers[unit:upper()])
  return n and math.tointeger(math.floor(n))
end

-- NAME or { env = } or { file = } or { text = }: the value, or where it is.
local function secret_of(what, given)
  if type(given) == "string" then return given end
  if type(given) == "table" then
    local place, where = next(given)
    if next(given, place) == nil and type(where) == "string" then
      if place == "text" then return where end
      if place == "env" then return nil, "env:" .. where end
      if place == "file" then return nil, "file:" .. core.absolute(where) end
    end
  end
  return nil, nil,
    what .. ": a text, { env = name } or { file = path } expected"
end

local function unknown(what, name, known)
  local names = {}
  for one in pairs(known) do names[#names + 1] = one end
  table.sort(names)
  return nil, ("%s has no '%s'; it takes %s"):format(what, tostring(name),
    table.concat(names, ", "))
end

local header_kinds = { name = "string", value = true, secret = "boolean" }

-- What is wrong with { name =, value =, secret = }. A "secert" that nobody
-- minds would be on the disk.
local function header_wrong(h)
  if type(h) ~= "table" or type(h.name) ~= "string" then
    return "headers: { name =, value = } expected"
  end
  for key, item in pairs(h) do
    local kind = header_kinds[key]
    if not kind then
      return ("headers: { name =, value =, secret = } has no '%s'")
        :format(tostring(key))
    elseif kind ~= true and type(item) ~= kind then
      return ("headers['%s'].%s: %s expected, got %s"):format(h.name, key, kind,
        type(item))
    end
  end
end

-- { Accept = "x", { name =, value =, secret = } } --> a list of the latter
local function headers_of(given)
  local list, wrong = {}, nil
  local function add(name, value, secret)
    local text, reference, complaint =
      secret_of(("headers['%s']"):format(name), value)
    wrong = wrong or complaint
    list[#list + 1] = { name = name, value = text, reference = reference,
      secret = secret or reference ~= nil or nil }
  end
  local names, count = {}, 0
  for name, value in pairs(given) do
    if math.type(name) == "integer" then
      count = count + 1
      wrong = wrong or header_wrong(value)
    elseif type(name) == "string" then
      names[#names + 1] = name
    else
      wrong = wrong or "headers: names expected"
    end
  end
  if count ~= #given then wrong = wrong or "headers: there is a hole in it" end
  if wrong then return nil, wrong end
  table.sort(names)
  for _, name in ipairs(names) do add(name, given[name]) end
  for _, h in ipairs(given) do add(h.name, h.value, h.secret) end
  return list, wrong
end

-- { user =, password = } or { token = }: one secret, itself or where it is.
local function login_of(what, given, secrets)
  local copy = {}
  for name, value in pairs(given) do
    if name == "user" then
      if type(value) ~= "string" then
        return nil, what .. ".user: a text expected"
      end
      copy.user = value
    elseif secrets[name] then
      local text, reference, wrong = secret_of(what .. "." .. name, value)
      if wrong then return nil, wrong end
      copy[name], copy.reference = text, reference
    else
      return unknown(what, name, secrets)
    end
  end
  if (given.user == nil) ~= (given.password == nil) and not given.token then
    return nil, ("%s: there is a %s, and no %s"):format(what,
      given.user and "user" or "password", given.user and "password" or "user")
  end
  return copy
end

local s3_names = { access_key = true, secret_key = true, session_token = true,
  region = true, env = true, file = true }

local function s3_of(given)
  local copy = {}
  for name, value in pairs(given) do
    if name == "env" and type(value) == "boolean" then
      copy.reference = value and "env:AWS" or copy.reference
    elseif type(value) ~= "string" then
      return nil, ("s3.%s: a text expected"):format(tostring(name))
    elseif name == "env" then
      copy.reference = "env:" .. value
    elseif name == "file" then
      copy.reference = "file:" .. core.absolute(value)
    elseif s3_names[name] then
      copy[name] = value
    else
      return unknown("s3", name, s3_names)
    end
  end
  return copy
end

local flags = { transferred = 1, error = 2, disable = 4, modified = 8,
  file = 16 }

local function flags_of(given)
  local sum = 0
  if not options.is_list(given) then
    return nil, "notify_flags: a list of names expected"
  end
  for _, name in ipairs(given) do
    if not flags[name] then
      return nil, ("notify_flags: '%s' is none of transferred, error, "
        .. "modified, file, disable"):format(tostring(name))
    end
    sum = sum | flags[name]
  end
  return sum
end

-- f, { transferred = f, … }, or false: nobody.
local function notify_of(given)
  if given == true then
    return nil, "notify: a function expected, or false for none"
  end
  for name, f in pairs(type(given) == "table" and given or {}) do
    if not flags[name] or name == "disable" then
      return nil, ("notify: '%s' is none of transferred, error, modified, file")
        :format(tostring(name))
    elseif type(f) ~= "function" then
      return nil, ("notify.%s: function expected, got %s"):format(name, type(f))
    end
  end
  return given
end

local ways = {
  headers = headers_of,
  credentials = function(given)
    return login_of("credentials", given, { password = true, token = true,
      user = true })
  end,
  proxy_credentials = function(given)
    return login_of("proxy_credentials", given, { password = true,
      user = true })
  end,
  s3 = s3_of,
  notify = notify_of,
  cacert = core.absolute,
  proxy = function(given)
    if given == true then return nil, "proxy: a URL, or false for none" end
    return given or ""
  end,
  notify_flags = function(given)
    if type(given) == "table" then return flags_of(given) end
    return given
  end,
}
for _, name in ipairs { "max_size", "part_size", "limit_download",
  "limit_upload" } do
  ways[name] = function(given)
    if type(given) ~= "string" then return given end
    local n = bytes_of(given)
    if n then return n end
    return nil, ("%s: bytes expected, as 1000000 or \"1M\", got %q")
      :format(name, given)
  end
end

--- Checks what a function that is called `what` was given, and returns it as C
--- takes it. Raises in the script's line.
function options.take(what, given, kinds, level)
  level = (level or 1) + 3
  local copy = arguments.check(what, given, kinds, level)
  for name, way in pairs(ways) do
    if copy[name] ~= nil then
      local value, wrong = way(copy[name])
      if wrong then error(("%s: option %s"):format(what, wrong), level - 1) end
      copy[name] = value
    end
  end
  return copy
end

--- Whether it is a list, and nothing else is in it.
function options.is_list(given)
  if type(given) ~= "table" then return false end
  local count = 0
  for _ in pairs(given) do count = count + 1 end
  return count == #given
end

--- A file as C takes it; paths may be relative. (One that a shell would have
--- looked for at home is left to C, which refuses it.)
function options.file_of(what, file, level)
  for _, name in ipairs { "url", "path" } do
    if not file[name] then
      error(("%s: option '%s' is missing"):format(what, name), (level or 1) + 2)
    end
  end
  if not file.path:find "^~/" then file.path = core.absolute(file.path) end
  return file
end

return options
