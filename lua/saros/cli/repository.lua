---@private
-- The repository that a verb works with: where it is, and who knows its
-- password.

local core = require "saros.core"
local errors = require "saros.cli.errors"
local shown = require "saros.text"

local repository = {}

--- Whether it is on a server.
function repository.is_remote(location)
  return location:find "^%a%w+:" ~= nil
end

--- With … for what is secret in it.
function repository.without_secret(location)
  return (location:gsub("(//[^/@:]*):[^/@]*@", "%1:…@"))
end

-- For a person.
local function location_shown(location)
  return repository.without_secret(shown.safe(location))
end

repository.shown = location_shown

-- The repository of the configuration.
local function of_config(c)
  local first = c:config().repository
  if type(first) == "table" then first = first.location or first[1] end
  return first
end

--- Where it is, by the option, the environment, or the configuration.
function repository.location(c)
  local given = c.options.repo
  if given then return given end
  local env = os.getenv "RESTIC_REPOSITORY"
  if env and env ~= "" then return env end
  if os.getenv "RESTIC_REPOSITORY_FILE" then return nil end -- repository.open
  local first = of_config(c)
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
function repository.password(c, location)
  local o = c.options
  if o.password_file then
    return { file = o.password_file }, "--password-file"
  end
  if o.password_command then
    return { command = o.password_command }, "--password-command"
  end
  local env = from_environment()
  if env then return nil, env end -- repository.open takes it itself
  local config, ours = c:config(), require "saros.cli.password".file
  local file = location and ours(location)
  local there <close> = file and io.open(file) or nil
  -- What was made for that place is better than what is of another one.
  local first = config.password and of_config(c)
  if config.password and not (there and first and ours(first) ~= file) then
    return config.password, config.file
  end
  if there then return { file = file }, file end
end

-- Who mistyped the place is not asked for a password. nil: nobody knows before
-- it is opened.
local function is_missing(location)
  if not location or repository.is_remote(location) then return nil end
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
  if errors.is_absent(err) then missing(c, location or "there") end
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
  local password, origin = repository.password(c, location)
  local options = { location = location, password = password,
    retry_lock = o.retry_lock, no_lock = o.no_lock, cacert = o.cacert }
  for name, value in pairs(more or {}) do options[name] = value end
  return options, origin, location
end

-- Opens it; closed with the verb.
local function opened(c, options, origin, location)
  local module = c:need "saros.repository"
  local ok, repo = pcall(module.open, options)
  if not ok then
    if not core.is_failure(repo) then
      error(errors.ending(2, shown.lines(repo)), 0)
    end
    explain(c, repo, location, origin)
  end
  c:opened(repo, location_shown(location))
  return repo, location, options.password
end

--- Opens it; closed with the verb. Also returns where it is, and the password
--- as `repository.open` was told it.
function repository.open(c, more)
  local options, origin, location = repository.options(c, more)
  if not origin then
    if is_missing(location) then missing(c, location) end
    options.password, origin = asked(c, location)
  end
  return opened(c, options, origin, location)
end

-- ------------------------------------------------------------------
-- A new one
-- ------------------------------------------------------------------

-- A place that somebody may have mistyped is no place for a repository.
local function check_place(c, location)
  if repository.is_remote(location) then return end
  local parent = location:gsub("/+$", ""):match "^(.*)/[^/]*$" or "."
  if parent == "" then parent = "/" end
  local is = assert(core.entries { { "follow", parent },
    { "follow", location } }:wait())
  if not is[1] or is[1].type ~= "dir" then
    c:fail(10, "%s is no directory: a repository is made in one that is there",
      shown.safe(parent))
  end
  if is[2] and is[2].type ~= "dir" then
    c:fail(10, "%s is there, and no directory", shown.safe(location))
  end
  local names = is[2] and assert(core.entries { { "names", location } }:wait())
  if names and #names[1] > 0
    and not (#names[1] == 1 and names[1][1] == "lost+found")
  then
    c:fail(10, "%s has other files in it: name a directory that is empty, or "
      .. "not there", shown.safe(location))
  end
end

-- Where there was one, nobody wants another.
local function check_new(c, location)
  local note = require "saros.cli.password".note(location)
  if note then
    c:fail(10, "there was a repository in %s: is its disk mounted?\n"
      .. "If it is gone for good, move %s away", location_shown(location),
      shown.safe(note))
  end
end

--- Makes one, with a password file of its own where nobody has said another,
--- and opens it.
function repository.make(c)
  local options, origin, location = repository.options(c)
  check_place(c, location)
  check_new(c, location)
  local module = c:need "saros.repository"
  local made
  if not origin then
    local password = require "saros.cli.password"
    made = password.make(location)
    options.password = { file = made }
  end
  options.retry_lock, options.no_lock = nil, nil
  local ok, repo = pcall(module.init, options)
  if not ok then
    if not core.is_failure(repo) then
      error(errors.ending(2, shown.lines(repo)), 0)
    end
    error(repo, 0)
  end
  c:opened(repo, location_shown(location))
  require "saros.cli.password".know(location)
  local file = made or options.password and options.password.file
  c:emit("repository", { location = location_shown(location),
    password_file = file })
  c:say(("made a NEW repository in %s"):format(location_shown(location)))
  if file then
    c:say(("its password is %s %s"):format(made and "new, in" or "that in",
      shown.safe(file)))
    c:say("keep a copy of that elsewhere: without it nobody can read the "
      .. "backups")
  end
  return repo, location, options.password
end

-- Nobody knows before it is opened; and without a password only a new one
-- could be.
local function open_or_make_remote(c, options, origin, location)
  if not origin then return repository.make(c) end
  local ok, repo = pcall(c:need "saros.repository".open, options)
  if ok then
    c:opened(repo, location_shown(location))
    return repo, location, options.password
  end
  if errors.is_absent(repo) then return repository.make(c) end
  explain(c, repo, location, origin)
end

--- Opens it. Where a directory that was named on the command line is not there
--- yet, or is empty, it is made; elsewhere only when that is `wanted`, or
--- somebody says so; never where there was one.
---@param wanted? boolean false: never
function repository.open_or_make(c, wanted)
  local options, origin, location = repository.options(c)
  local not_there = is_missing(location)
  if not_there == nil and wanted then
    return open_or_make_remote(c, options, origin, location)
  end
  if not not_there or wanted == false then return repository.open(c) end
  check_new(c, location)
  local where = location_shown(location)
  if wanted or c.options.repo
    or c:confirm("There is no repository in " .. where .. ". Make one there?")
  then
    return repository.make(c)
  end
  c:fail(10, "there is no repository in %s\n--init makes one", where)
end

return repository
