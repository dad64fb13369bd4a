---@private
-- The repository that a verb works with: where it is, and who knows its
-- password.

local core = require "saros.core"
local errors = require "saros.cli.errors"
local shown = require "saros.text"

local repository = {}

-- Shown without what is secret in it.
local function location_shown(location)
  return (shown.safe(location):gsub("(//[^/@:]*):[^/@]*@", "%1:…@"))
end

--- Where it is, by the option, the environment, or the configuration.
function repository.location(c)
  local given = c.options.repo
  if given then return given end
  local env = os.getenv "RESTIC_REPOSITORY"
  if env and env ~= "" then return env end
  if os.getenv "RESTIC_REPOSITORY_FILE" then return nil end -- repository.open
  local config = c:config()
  local first = config.repository
  if type(first) == "table" then first = first.location or first[1] end
  if first then return first end
  c:fail(2, "which repository? Say --repo LOCATION, or write it into a "
    .. "configuration ('saros init --repo LOCATION')")
end

local function from_environment()
  for _, name in ipairs { "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND",
    "RESTIC_PASSWORD" } do
    local value = os.getenv(name)
    if value and value ~= "" then return name end
  end
end

--- The password as `repository.open` takes it, and where it is from; nothing
--- when nobody has said.
function repository.password(c)
  local o = c.options
  if o.password_file then
    return { file = o.password_file }, "--password-file"
  end
  if o.password_command then
    return { command = o.password_command }, "--password-command"
  end
  local env = from_environment()
  if env then return nil, env end -- repository.open takes it itself
  local config = c:config()
  if config.password then return config.password, config.file end
  local file = require "saros.cli.password".file()
  local there <close> = io.open(file)
  if there then return { file = file }, file end
end

-- Who mistyped the place is not asked for a password.
local function is_missing(location)
  if not location or location:find "^%a%w+:" then return false end
  return not assert(core.entries { { "follow",
    location .. "/config" } }:wait())[1]
end

local function missing(c, location)
  local where = location_shown(location)
  c:fail(10, "there is no repository in %s\n"
    .. "'saros init --repo %s' makes one", where, where)
end

local function asked(c, location)
  if not c.options.json then
    local text = c:ask(("password of %s:"):format(location_shown(location)),
      true)
    if text then return { text = text }, "the terminal" end
  end
  c:fail(12, "there is no password for %s: say --password-file FILE",
    location_shown(location))
end

local function explain(c, err, location, origin)
  local where = location and location_shown(location) or "there"
  if err.name == "ERROR_FILE_NOT_FOUND" and err.message:find("no repository",
    1, true)
  then
    return missing(c, location or "there")
  end
  if err.name == "SAROS_E_WRONG_PASSWORD" then
    return c:fail(12, "the password (of %s) is not that of %s",
      shown.safe(origin or "?"), where)
  end
  error(err, 0)
end

--- What `repository.open` is told, and where the password is from.
function repository.options(c, more)
  local o = c.options
  local location = repository.location(c)
  local password, origin = repository.password(c)
  local options = { location = location, password = password,
    retry_lock = o.retry_lock, no_lock = o.no_lock, cacert = o.cacert }
  for name, value in pairs(more or {}) do options[name] = value end
  return options, origin, location
end

--- Opens it; closed with the verb.
function repository.open(c, more)
  local options, origin, location = repository.options(c, more)
  local module = c:need "saros.repository"
  if not origin then
    if is_missing(location) then missing(c, location) end
    options.password, origin = asked(c, location or "the repository")
  end
  local ok, repo = pcall(module.open, options)
  if not ok then
    if not core.is_failure(repo) then error(errors.ending(2, repo), 0) end
    explain(c, repo, location, origin)
  end
  c:defer(function() repo:close() end)
  return repo, location
end

return repository
