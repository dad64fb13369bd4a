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
local arguments = require "saros.arguments"
local calls = require "saros.repository.calls"
local core = require "saros.repository.core"
local print_out = require "saros.repository.print"

local check, need = arguments.check, arguments.need
local result, with, without_name =
  calls.result, calls.with, calls.without_name

---@class saros.repository
local repository = {}

---@class saros.repository.password
---@field file? string a file with it; one newline at its end is not part of it
---@field command? string|string[] a program that prints it; a string is for the shell
---@field env? string a variable of the environment
---@field text? string itself
---@field none? boolean there is none: the repository is open to everybody

---@class saros.repository.object_lock
---@field mode "GOVERNANCE"|"COMPLIANCE" whether who may can end it, or nobody
---@field days integer how long, from when it is stored

---@class saros.repository.options
---@field location? string a directory, `s3:https://host/bucket/prefix`, or `rest:https://host:8000/path/` for restic's REST protocol. Without it RESTIC_REPOSITORY, RESTIC_REPOSITORY_FILE
---@field password? string|saros.repository.password without it RESTIC_PASSWORD_FILE, RESTIC_PASSWORD_COMMAND, RESTIC_PASSWORD
---@field key? string the id of the key file to try first (RESTIC_KEY_HINT)
---@field retry_lock? number seconds to wait while others have it locked (0)
---@field no_lock? boolean read without a lock: where nobody can write one
---@field version? integer of the format of a new one: 2 (the default), or 1, which does not compress
---@field access_key? string S3; else AWS_ACCESS_KEY_ID
---@field secret_key? string S3; else AWS_SECRET_ACCESS_KEY
---@field session_token? string S3; else AWS_SESSION_TOKEN
---@field region? string S3; else AWS_DEFAULT_REGION, AWS_REGION, the profile's, or as the server says
---@field profile? string S3; in ~/.aws/credentials, before the environment's keys; else AWS_PROFILE, behind them
---@field bucket_lookup? "auto"|"path"|"dns" S3: where the bucket's name stands in an address
---@field multipart_size? integer S3: from how many bytes on a pack goes in parts (64 MiB); 0 for never
---@field object_lock? saros.repository.object_lock S3: what is stored, locks apart, nobody may remove for so long
---@field rest_username? string REST; else that of the location, else RESTIC_REST_USERNAME
---@field rest_password? string REST; else that of the location, else RESTIC_REST_PASSWORD
---@field cacert? string a file with the certificates to trust; else RESTIC_CACERT, AWS_CA_BUNDLE
---@field connections? integer how many calls to make to the store at once
---@field retry_seconds? number how long to go on when a server fails (900)
---@field stall_seconds? number how long nothing may come or go before that is a failure (120)
---@field durable? boolean false: do not wait for the disk (a directory only)
---@field limit_upload? integer|string bytes a second that are written to it, all operations together: 1000000, "1M"
---@field limit_download? integer|string bytes a second that are read from it
---@field name? string of the operation that opens it

-- By what they are, as arguments.check takes them.
local known = {
  location = "string", password = "bytes|table", key = "string",
  retry_lock = "number", no_lock = "boolean", version = "integer",
  access_key = "string", secret_key = "string", session_token = "string",
  region = "string", cacert = "string", connections = "integer",
  retry_seconds = "number", stall_seconds = "number", durable = "boolean",
  limit_upload = "integer|string", limit_download = "integer|string",
  bucket_lookup = { "auto", "path", "dns" }, multipart_size = "integer",
  object_lock = "table", profile = "string", rest_username = "string",
  rest_password = "string", name = "string",
}

--- What opening or making one takes, and what that is.
repository.options = known

local function begin(work, what, options)
  options = check(what, options, known)
  local repo, code, message = core.new(without_name(options))
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
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths

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
  filter = check("repo:versions", filter, calls.choice)
  return print_out.versions(result(self:_call("versions", filter)))
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
function handle:keys() return print_out.keys(result(self:_call "keys")) end

---@class saros.repository.new_key
---@field password string|saros.repository.password
---@field name? string of the operation

--- Lets another password in.
---@param options saros.repository.new_key
---@return saros.operation op its result: the id of the new key file
function handle:add_key(options)
  options = check("repo:add_key", options,
    { password = "bytes|table", name = "string" })
  need("repo:add_key", options, "password", "the new one")
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
    { password = "bytes|table", name = "string" })
  need("repo:change_password", options, "password", "the new one")
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
function handle:locks() return print_out.locks(result(self:_call "locks")) end

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

---@class saros.repository.sizes
---@field mode? "index"|"restore-size"|"raw-data" index (the default): what the index knows. restore-size: what versions take when they are restored. raw-data: what they take in the repository, where what they share counts once
---@field version? string only this one: "latest", or the beginning of its id
---@field host? string only this host's versions
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field name? string of the operation

--- What is in it. With a mode other than "index" its result is
--- `{ versions, files, directories, others, bytes }` or `{ versions,
--- data_blobs, tree_blobs, blob_bytes, plain_bytes }`, and `errors`.
---@param options? saros.repository.sizes
---@return saros.operation op its result: `saros.repository.stats`, or as said above
function handle:stats(options)
  options = check("repo:stats", options, with { version = "string",
    mode = { "index", "restore-size", "raw-data" }, name = "string" })
  local given = without_name(options)
  if options.mode ~= nil and options.mode ~= "index" then
    return self:_call("sizes", given, options.name)
  end
  given.mode = nil
  if next(given) then
    error(("repo:stats: option '%s' needs mode = \"restore-size\" or "
      .. "\"raw-data\": the index knows nothing of versions")
      :format(next(given)), 2)
  end
  return self:_call("stats", nil, options.name)
end

-- The rest of its methods.
require "saros.repository.storing"
require "saros.repository.reading"
require "saros.repository.care"
require "saros.repository.owner"

return repository
