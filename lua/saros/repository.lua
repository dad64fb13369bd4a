--- Repositories: where backups are kept, in the format of restic, versions 1
--- and 2. What saros writes restic reads, and the other way round; both keep
--- off each other's work by the same locks.
---
--- ```lua
--- local repository = require "saros.repository"
--- local repo <close> = repository.open {
---   location = "/backup", password = { file = "/etc/backup.password" } }
--- for _, version in ipairs(repo:versions { host = "web1" }) do
---   print(version.time, version.id)
--- end
--- ```
---
--- What lists returns a list, and raises when it cannot; what works returns an
--- operation. The module is not there when OpenSSL, zstd or libcurl were not
--- when saros was built.

local floor = require "saros.core"
local core = require "saros.repository.core"

---@class saros.repository
local repository = {}

---@class saros.repository.password
---@field file? string a file with it; one newline at its end is not part of it
---@field command? string|string[] a program that prints it; a string is for the shell
---@field env? string a variable of the environment
---@field text? string itself
---@field none? boolean there is none: the repository is open to everybody

---@class saros.repository.options
---@field location? string a directory, or `s3:https://host/bucket/prefix`. Without it RESTIC_REPOSITORY, RESTIC_REPOSITORY_FILE
---@field password? string|saros.repository.password without it RESTIC_PASSWORD_FILE, RESTIC_PASSWORD_COMMAND, RESTIC_PASSWORD
---@field key? string the id of the key file to try first (RESTIC_KEY_HINT)
---@field retry_lock? number seconds to wait while others have it locked (0)
---@field no_lock? boolean read without a lock: where nobody can write one
---@field version? integer of the format of a new one: 2 (the default), or 1, which does not compress
---@field access_key? string S3; else AWS_ACCESS_KEY_ID
---@field secret_key? string S3; else AWS_SECRET_ACCESS_KEY
---@field session_token? string S3; else AWS_SESSION_TOKEN
---@field region? string S3; else AWS_DEFAULT_REGION, AWS_REGION
---@field cacert? string a file with the certificates to trust
---@field connections? integer how many calls to make to the store at once
---@field retry_seconds? number how long to go on when a server fails
---@field durable? boolean false: do not wait for the disk (a directory only)
---@field name? string of the operation that opens it

-- By what they are, as the checks below take them.
local known = {
  location = "string", password = "string|table", key = "string",
  retry_lock = "number", no_lock = "boolean", version = "number",
  access_key = "string", secret_key = "string", session_token = "string",
  region = "string", cacert = "string", connections = "number",
  retry_seconds = "number", durable = "boolean", name = "string",
}

-- Raises in the script's line, two calls up (a tail call counts for none).
-- `what` is the function that was called.
local function check(what, options, kinds)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: a table of options expected, got %s")
      :format(what, type(options)), 3)
  end
  for name, item in pairs(options) do
    local expected = kinds[name]
    if not expected then
      error(("%s has no option '%s'"):format(what, tostring(name)), 3)
    end
    local fits = false
    for kind in expected:gmatch "[^|]+" do fits = fits or type(item) == kind end
    if not fits then
      error(("%s: option '%s': %s expected, got %s"):format(what, name,
        expected:gsub("|", " or "), type(item)), 3)
    end
  end
  return options
end

-- Waits by the one rule for all waits; raises the error object.
local function result(op)
  local value, err = op:wait()
  if value == nil then error(err, 0) end
  return value
end

local function begin(work, what, options)
  options = check(what, options, known)
  local given = {}
  for name, item in pairs(options) do
    if name ~= "name" then given[name] = item end
  end
  local repo, code, message = core.new(given)
  if not repo then error(floor.failure("saros", code, message), 0) end
  local ok, err = repo:_call(work, nil, options.name):wait()
  if ok then return repo end
  repo:close()
  error(err, 0)
end

--- Opens a repository: finds the key that the password is for, and reads the
--- config. Raises SAROS_E_WRONG_PASSWORD, or that there is none.
---@param options? saros.repository.options
---@return saros.repository.handle
function repository.open(options)
  return begin("open", "repository.open", options)
end

--- Makes a repository, where there must be none, and opens it. Keep the
--- password: without it nobody can read what is in there.
---@param options? saros.repository.options
---@return saros.repository.handle
function repository.init(options)
  return begin("create", "repository.init", options)
end


--- A repository that is open. As a to-be-closed variable it is closed when the
--- block is left.
---@class saros.repository.handle
local handle = core.methods

---@class saros.repository.filter
---@field host? string only this host's
---@field tags? string[] only those with all of these tags
---@field paths? string[] only those of all of these paths

---@class saros.repository.version
---@field id string 64 hex digits
---@field time string RFC 3339, with the offset it was made in
---@field tree string the root of its files
---@field paths string[] what was backed up
---@field hostname? string
---@field username? string
---@field tags? string[]
---@field parent? string the version it was compared with
---@field summary? table what was new then, in files and bytes

--- The versions in it, the oldest first.
---@param filter? saros.repository.filter
---@return saros.repository.version[]
function handle:versions(filter)
  return result(self:_call("versions", check("repo:versions", filter,
    { host = "string", tags = "table", paths = "table" })))
end

---@class saros.repository.key
---@field id string
---@field created? string RFC 3339
---@field username? string who made it
---@field hostname? string where
---@field current boolean the repository was opened with it
---@field error? string why it cannot be read

--- The key files: each lets one password in.
---@return saros.repository.key[]
function handle:keys() return result(self:_call "keys") end

---@class saros.repository.new_key
---@field password string|saros.repository.password
---@field name? string of the operation

--- Lets another password in.
---@param options saros.repository.new_key
---@return saros.operation op its result: the id of the new key file
function handle:add_key(options)
  options = check("repo:add_key", options,
    { password = "string|table", name = "string" })
  return self:_call("add_key", { password = options.password }, options.name)
end

--- Removes a key file: its password does not open the repository any more. The
--- one that this repository was opened with is refused. Whoever has copied the
--- file before can still open it with its password.
---@param id string its id, or the beginning of it
---@return saros.operation op
function handle:remove_key(id)
  if type(id) ~= "string" then
    error("repo:remove_key: the id of a key expected, got " .. type(id), 2)
  end
  return self:_call("remove_key", { id = id })
end

--- Makes another password the one for the key file that this repository was
--- opened with: a new one is made, tried, and the old one removed.
---@param options saros.repository.new_key
---@return saros.operation op its result: the id of the new key file
function handle:change_password(options)
  options = check("repo:change_password", options,
    { password = "string|table", name = "string" })
  return self:_call("change_password", { password = options.password },
    options.name)
end

---@class saros.repository.lock
---@field id string
---@field exclusive boolean
---@field pid integer
---@field hostname string
---@field username string
---@field time string when it was refreshed last, RFC 3339
---@field since? string when it was taken
---@field stale boolean nobody need mind it: it was not refreshed for half an hour, or its process is gone
---@field dead boolean its process is proved to be gone: it is removed by who finds it in the way
---@field error? string why it cannot be read

--- Who has it locked.
---@return saros.repository.lock[]
function handle:locks() return result(self:_call "locks") end

---@class saros.repository.unlock
---@field all? boolean all locks, also those that are held: when certainly nobody uses the repository
---@field name? string of the operation

--- Removes the locks that are stale.
---@param options? saros.repository.unlock
---@return saros.operation op its result: how many were removed
function handle:unlock(options)
  options = check("repo:unlock", options, { all = "boolean", name = "string" })
  return self:_call("unlock", { all = options.all }, options.name)
end

---@class saros.repository.stats
---@field id string of the repository
---@field format integer version of the format
---@field versions integer
---@field keys integer
---@field packs integer
---@field pack_bytes integer what the packs take
---@field index_files integer
---@field data_blobs integer pieces of files
---@field tree_blobs integer directories
---@field blob_bytes integer what these take, compressed and sealed
---@field plain_bytes integer what they were before

--- What is in it, by the index.
---@param options? table { name = of the operation }
---@return saros.operation op its result: `saros.repository.stats`
function handle:stats(options)
  options = check("repo:stats", options, { name = "string" })
  return self:_call("stats", nil, options.name)
end

return repository
