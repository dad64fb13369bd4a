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
local arguments = require "saros.repository.arguments"
local core = require "saros.repository.core"
local print_out = require "saros.repository.print"
local sources = require "saros.repository.sources"

local check, need = arguments.check, arguments.need

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

-- Waits by the one rule for all waits; raises the error object.
local function result(op)
  local value, err = op:wait()
  if value == nil then error(err, 0) end
  return value
end

-- What is wrong is raised in the script's line: this one is called last.
local function call(self, work, given, name, streams, other)
  local good, op = pcall(self._call, self, work, given, name, streams, other)
  if good then return op end
  error(op, 2)
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

local choice = { host = "string", tags = "list", paths = "list" }

local function with(more)
  for name, kind in pairs(choice) do more[name] = kind end
  return more
end

local function without_name(options)
  local given = {}
  for name, item in pairs(options) do
    if name ~= "name" then given[name] = item end
  end
  return given
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
  filter = check("repo:versions", filter, choice)
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

---@class saros.repository.restore
---@field target string the directory to restore to; it is made when it is not there
---@field version? string "latest" (the default), the beginning of an id, or one of them with a folder: "latest:srv/www"
---@field host? string what "latest" means: only this host's
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field include? string|string[] only what matches one of these patterns, and what is in it
---@field iinclude? string|string[] the same, capitals or not
---@field exclude? string|string[] not what matches one of these
---@field iexclude? string|string[] the same, capitals or not
---@field overwrite? "always"|"if-changed"|"if-newer"|"never" files that are there already; always: those that are different
---@field delete? boolean remove what the version does not have, in the directories it has
---@field dry_run? boolean only say what would be done: `items`
---@field sparse? boolean leave holes where there are zeros
---@field verify? boolean read back what was written
---@field name? string of the operation

---@class saros.repository.restored
---@field version string its id
---@field path string the target
---@field files integer restored, with links and devices
---@field unchanged integer were there already, and right
---@field skipped integer stayed as they were, as `overwrite` says
---@field removed integer names that the version does not have
---@field directories integer made
---@field bytes integer of content
---@field not_given_away integer how many are the restorer's now, and were somebody else's: only root gives things away, and for it this is an error
---@field errors table[] { path, message, code }: what was not restored, or not as it was
---@field items? table[] of a dry run: { path, action = "create"|"replace"|"keep"|"skip"|"remove", type }

local of_restore = with {
  target = "string", version = "string", include = "list", iinclude = "list",
  exclude = "list", iexclude = "list", delete = "boolean",
  overwrite = { "always", "if-changed", "if-newer", "never" },
  dry_run = "boolean", sparse = "boolean", verify = "boolean", name = "string",
}

--- Restores a version, or a part of it, to a directory. A file appears there
--- when it is whole. One that is cancelled, or killed, may be started again,
--- and goes on. It succeeds with SAROS_S_PARTIAL when something could not be
--- restored as it was: that is in `errors`.
---@param options saros.repository.restore
---@return saros.operation op its result: `saros.repository.restored`
function handle:restore(options)
  options = check("repo:restore", options, of_restore)
  need("repo:restore", options, "target", "the directory to restore to")
  return self:_call("restore", without_name(options), options.name)
end

---@class saros.repository.ls
---@field version? string "latest" (the default), the beginning of an id, or one of them with a folder
---@field path? string only this, and what is in it
---@field recursive? boolean false: only what is directly in it
---@field long? boolean with owner, mode, times and all else
---@field host? string what "latest" means: only this host's
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field name? string of the operation

---@class saros.repository.node
---@field path string escaped where it is not UTF-8, or not to be shown
---@field path_b64? string its bytes, when they are not UTF-8
---@field type "file"|"dir"|"symlink"|"dev"|"chardev"|"fifo"|"socket"
---@field size? integer of a file
---@field mode? integer the permission bits
---@field uid? integer
---@field gid? integer
---@field user? string
---@field group? string
---@field mtime? string RFC 3339
---@field atime? string
---@field ctime? string
---@field target? string of a symbolic link
---@field version? string of what was found: the version it is in

--- What is in a version.
---@param options? saros.repository.ls
---@return saros.operation op its result: { version, items = `saros.repository.node[]`, errors }
function handle:ls(options)
  options = check("repo:ls", options, with { version = "string",
    path = "string", recursive = "boolean", long = "boolean", name = "string" })
  return self:_call("ls", without_name(options), options.name)
end

---@class saros.repository.find
---@field pattern string|string[] of names, or of paths when there is a slash in it
---@field ignore_case? boolean
---@field type? "file"|"dir"|"symlink"|"dev"|"chardev"|"fifo"|"socket" only these
---@field version? string only in this one: "latest", or the beginning of its id
---@field host? string only in this host's versions
---@field tags? string|string[] only in those with all of these tags
---@field paths? string|string[] only in those of all of these paths
---@field name? string of the operation

--- In which versions something is.
---@param options saros.repository.find
---@return saros.operation op its result: { items = `saros.repository.node[]`, errors }
function handle:find(options)
  options = check("repo:find", options, with { pattern = "list",
    ignore_case = "boolean", version = "string", name = "string",
    type = { "file", "dir", "symlink", "dev", "chardev", "fifo", "socket" } })
  need("repo:find", options, "pattern", "of names, such as \"*.conf\"")
  return self:_call("find", without_name(options), options.name)
end

---@class saros.repository.diff
---@field from string a version, as `version` of a restore
---@field to string another one
---@field metadata? boolean tell also what has changed in owner, mode, times or attributes alone
---@field host? string what "latest" means: only this host's
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field name? string of the operation

--- What is different between two versions. Each item has a `change`: "added",
--- "removed", "changed" or "metadata".
---@param options saros.repository.diff
---@return saros.operation op its result: { from, to, items, added, removed, changed, metadata, errors }
function handle:diff(options)
  options = check("repo:diff", options, with { from = "string", to = "string",
    metadata = "boolean", name = "string" })
  need("repo:diff", options, "from", "a version")
  need("repo:diff", options, "to", "the other version, such as \"latest\"")
  return self:_call("diff", without_name(options), options.name)
end

---@class saros.repository.dump
---@field path? string a file, or a directory, which becomes a tar archive; without it all of the version
---@field to string|integer|file*|fun(piece: string) a path, a descriptor, an open file, or a function that is called with each piece. A path that is a device or a fifo is written to, and stays what it is
---@field version? string "latest" (the default), the beginning of an id, or one of them with a folder
---@field host? string what "latest" means: only this host's
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field name? string of the operation

-- Pieces go through a pipe: who reads slowly is waited for.
local function dump_to(self, given, to, name)
  local saros = require "saros"
  local function pass_on()
    local pipe <close> = assert(core.pipe())
    local reader <const> = { pipe:reader() }
    local dump <close> = self:_call("dump", given, nil, { pipe:writer() })
    pipe:end_writing() -- it has its own, and closes that
    while true do
      local piece = result(self:_call("read_pipe", nil, nil, reader))
      if piece == "" then break end
      to(piece)
    end
    return result(dump)
  end
  if name then return saros.spawn({ name = name }, pass_on) end
  return saros.spawn(pass_on)
end

--- Writes the content of a file, or a directory as a tar archive. A path that
--- it is written to is there when it is whole.
---@param options saros.repository.dump
---@return saros.operation op its result: { bytes, errors }
function handle:dump(options)
  options = check("repo:dump", options, with { path = "string",
    to = "string|integer|userdata|function", version = "string",
    name = "string" })
  need("repo:dump", options, "to",
    "a path, a descriptor, an open file or a function")
  local given, to = without_name(options), options.to
  given.to = nil
  if type(to) == "function" then
    return dump_to(self, given, to, options.name)
  end
  if type(to) == "userdata" then
    to = core.fileno(to)
    if not to then error("repo:dump: option 'to': this is no open file", 2) end
  end
  if type(to) == "string" then
    given.target = to
    return self:_call("dump", given, options.name)
  end
  -- It has a descriptor of its own: the caller's may be closed at any time.
  return call(self, "dump", given, options.name, { to })
end

---@class saros.repository.source
---@field path? string what is read
---@field origin? { path: string, device?: integer } what it is a shadow of: the version shows this path, and this device (that of the path, if it is not given), so that the next version finds everything unchanged. Shadows of `saros.vss` say it themselves
---@field name? string of what a stream is stored as
---@field stream? saros.operation|integer a process with `stdout = "stream"`, or an open descriptor. One that fails, also after its end, writes no version

---@class saros.repository.backup
---@field paths? string|string[] what to back up
---@field sources? (string|saros.vss.set|saros.vss.snapshot|saros.repository.source)[]|saros.vss.set instead of paths: shadows, sets of them, paths and streams in one version
---@field tags? string|string[]
---@field host? string instead of this machine's name (RESTIC_HOST)
---@field time? number|string of the version: seconds since 1970, or RFC 3339
---@field parent? string the version to compare with; without it the last one of this host and these paths
---@field force? boolean compare with none: read everything
---@field exclude? string|string[] patterns, as restic has them
---@field iexclude? string|string[] the same, whether they are capitals or not
---@field exclude_file? string|string[] files of patterns, one a line
---@field iexclude_file? string|string[]
---@field exclude_if_present? string|string[] "NAME" or "NAME:HEADER": leave out what is in a directory with such a file
---@field exclude_caches? boolean leave out what is in a directory with a CACHEDIR.TAG
---@field exclude_larger_than? integer|string leave out larger files: bytes, or a text as "10M"
---@field one_file_system? boolean do not go into other file systems
---@field skip_if_unchanged? boolean write no version that is the same as the one before
---@field ignore_ctime? boolean a file with another ctime is unchanged all the same
---@field ignore_inode? boolean … and one with another inode
---@field with_atime? boolean keep the times of the last access
---@field compression? "auto"|"off"|"fastest"|"better"|"max"
---@field pack_size? integer|string from 4M to 128M (16M)
---@field read_concurrency? integer how many files to read at once
---@field limit_upload? integer|string bytes a second of new data: 1000000, "1M"
---@field dry_run? boolean store nothing, only say what would be
---@field name? string of the operation

---@class saros.repository.backed_up
---@field id? string the version; none when nothing was to be written
---@field parent? string the version it was compared with
---@field tree string
---@field skipped boolean it was the same as the one before (skip_if_unchanged)
---@field failed integer items that could not be read, or not all of them
---@field errors table[] the first 1000 of them: { path, message, code, errno }
---@field files integer
---@field bytes integer that they have
---@field files_new integer
---@field files_changed integer
---@field files_unmodified integer
---@field dirs_new integer
---@field dirs_changed integer
---@field dirs_unmodified integer
---@field data_blobs integer that were not there yet
---@field tree_blobs integer
---@field bytes_added integer what these have
---@field bytes_packed integer … and take, compressed and sealed
---@field packs_adopted integer that a killed backup had stored, and that are used
---@field duration number seconds

local of_backup = {
  paths = "list", sources = "table", tags = "list", host = "string",
  time = "number|string", parent = "string", force = "boolean",
  exclude = "list", iexclude = "list", exclude_file = "list",
  iexclude_file = "list", exclude_if_present = "list",
  exclude_caches = "boolean", exclude_larger_than = "integer|string",
  one_file_system = "boolean", skip_if_unchanged = "boolean",
  ignore_ctime = "boolean", ignore_inode = "boolean", with_atime = "boolean",
  compression = { "auto", "off", "fastest", "better", "max" },
  pack_size = "integer|string", read_concurrency = "integer",
  limit_upload = "integer|string", dry_run = "boolean", name = "string",
}

--- Makes a version of what is in these paths. What could not be read is left
--- out and listed: then the operation's code is SAROS_S_PARTIAL. Cancelling it
--- loses nothing: what is stored is found the next time.
---
--- ```lua
--- local r = assert(repo:backup { paths = { "/srv" }, exclude = { "*.tmp" } }:wait())
--- print(r.id, r.files_new, r.bytes_added, #r.errors)
--- ```
---@param options saros.repository.backup
---@return saros.operation op its result: `saros.repository.backed_up`
function handle:backup(options)
  options = check("repo:backup", options, of_backup)
  local given, streams = without_name(options), nil
  if options.sources and options.paths then
    error("repo:backup: paths or sources, not both", 2)
  end
  if options.sources then
    given.sources, streams = sources.take(options.sources, 3)
  end
  if #(given.sources or given.paths or {}) == 0 then
    error("repo:backup: say what to back up: paths = { \"/srv\" }, or "
      .. "sources with shadows and streams", 2)
  end
  return call(self, "backup", given, options.name, streams)
end

---@class saros.repository.check
---@field read_data? boolean|string|integer also read what is in the packs: all (`true`), a share by chance (`"10%"`), as many bytes (`"5G"`), or the n-th of t parts (`"1/7"`: one a day, and all are read in a week)
---@field name? string of the operation

---@class saros.repository.finding
---@field kind string `pack_missing`, `pack_size`, `pack_damaged`, `blob_missing`, `tree_damaged`, `copy_damaged`, `index_damaged`, `index_contradicts`, `version_damaged`, `key_damaged`, `config_damaged`
---@field message string
---@field id? string of what it is about
---@field blobs? table[] of a pack: the pieces that are bad, each with id, type, offset, length and message; `blob_count` of them
---@field versions? string[] the versions that are hit; `version_count` of them
---@field paths? string[] what is hit in them; `path_count` in all versions together

---@class saros.repository.check_report
---@field versions integer
---@field trees integer directories, each counted once
---@field packs integer
---@field blobs integer
---@field index_files integer
---@field packs_read integer
---@field bytes_read integer
---@field findings saros.repository.finding[] what is damaged, the first thousand
---@field finding_count integer all of them
---@field hints table[] what is no damage: kind, message, id
---@field hint_count integer
---@field impact_is_whole boolean whether `versions` and `paths` of the findings are all that are hit

--- Whether everything that the versions need is there, and is what it was.
--- Nothing is changed, and backups may go on meanwhile.
---
--- When something is damaged it fails with SAROS_E_DAMAGED, and the report is in
--- the status of the operation:
---
--- ```lua
--- local ok, err = repo:check { read_data = "10%" }:wait()
--- if not ok and err.name == "SAROS_E_DAMAGED" then
---   for _, f in ipairs(err.op:status().findings) do print(f.message) end
--- end
--- ```
---@param options? saros.repository.check
---@return saros.operation op its result: `saros.repository.check_report`
function handle:check(options)
  options = check("repo:check", options,
    { read_data = "boolean|string|integer", name = "string" })
  return self:_call("check", { read_data = options.read_data }, options.name)
end

---@class saros.repository.prune
---@field max_unused? string|integer how much of what is not needed may stay: `"5%"` (the default), `"unlimited"`, bytes, `"1G"`
---@field max_repack_size? string|integer bytes that are copied at most
---@field pack_size? string|integer of new packs: 16 MiB
---@field repack_small? boolean also put small packs together
---@field repack_uncompressed? boolean also compress what is not
---@field repack_trees_only? boolean only copy packs with directories
---@field dry_run? boolean only say what would be done
---@field name? string of the operation

---@class saros.repository.prune_report
---@field packs integer by the index, before
---@field packs_kept integer
---@field packs_repacked integer what is needed of them was copied
---@field packs_removed integer nothing in them was needed
---@field packs_unreferenced integer no index named them
---@field packs_missing integer the index named them, and nobody needs them
---@field packs_new integer
---@field blobs_used integer
---@field blobs_unused integer
---@field blobs_duplicate integer
---@field bytes_freed integer about how much smaller it is
---@field bytes_unused_after integer what is not needed, and stays

local prune_options = {
  max_unused = "integer|string", max_repack_size = "integer|string",
  pack_size = "integer|string", repack_small = "boolean",
  repack_uncompressed = "boolean", repack_trees_only = "boolean",
  dry_run = "boolean", name = "string",
}

--- Removes what no version needs any more. Nobody else may use the repository
--- meanwhile. It can be ended at any moment, and begun again: nothing that is
--- needed is ever gone.
---@param options? saros.repository.prune
---@return saros.operation op its result: `saros.repository.prune_report`
function handle:prune(options)
  options = check("repo:prune", options, prune_options)
  return self:_call("prune", without_name(options), options.name)
end

---@class saros.repository.forget
---@field keep_last? integer|string so many of the latest; `"unlimited"`: all
---@field keep_hourly? integer|string the latest of each of so many hours
---@field keep_daily? integer|string
---@field keep_weekly? integer|string
---@field keep_monthly? integer|string
---@field keep_yearly? integer|string
---@field keep_within? string all that are no older than that, before the latest: `"1y5m7d2h"`
---@field keep_within_hourly? string the latest of each hour of that span
---@field keep_within_daily? string
---@field keep_within_weekly? string
---@field keep_within_monthly? string
---@field keep_within_yearly? string
---@field keep_tags? (string|string[])[] those with one of these tags, or with all of a list
---@field group_by? string|string[] the rules count in each group by itself: `{ "host", "paths" }`; also `"tags"`
---@field host? string only this host's versions are looked at
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field ids? string|string[] these, or the beginnings of their ids, and no rules
---@field dry_run? boolean only say what would be done
---@field prune? boolean|saros.repository.prune also remove what they alone needed
---@field unsafe_allow_remove_all? boolean rules may keep nothing of a group; without rules all that the filter lets through goes
---@field name? string of the operation

---@class saros.repository.forget_group
---@field host? string
---@field paths? string[]
---@field tags? string[]
---@field keep saros.repository.version[] with `reasons`, a list of texts
---@field remove saros.repository.version[]

---@class saros.repository.forget_report
---@field groups saros.repository.forget_group[]
---@field removed string[] the ids
---@field kept? integer how many
---@field dry_run boolean
---@field prune? saros.repository.prune_report

local forget_options = {
  keep_last = "integer|string", keep_hourly = "integer|string",
  keep_daily = "integer|string", keep_weekly = "integer|string",
  keep_monthly = "integer|string", keep_yearly = "integer|string",
  keep_within = "string", keep_within_hourly = "string",
  keep_within_daily = "string", keep_within_weekly = "string",
  keep_within_monthly = "string", keep_within_yearly = "string",
  keep_tags = "table", group_by = "list", host = "string", tags = "list",
  paths = "list", ids = "list", dry_run = "boolean",
  prune = "boolean|table", unsafe_allow_remove_all = "boolean",
  name = "string",
}

--- Removes the versions that no rule keeps. What they alone needed stays until
--- the next prune. Without rules nothing is removed.
---@param options? saros.repository.forget
---@return saros.operation op its result: `saros.repository.forget_report`
function handle:forget(options)
  options = check("repo:forget", options, forget_options)
  if type(options.prune) == "table" then
    options.prune = check("repo:forget (prune)", options.prune, prune_options)
  end
  return self:_call("forget", without_name(options), options.name)
end

---@class saros.repository.copy
---@field to saros.repository.handle the repository to copy to, which is open
---@field versions? string|string[] only these: ids or their beginnings, or "latest"
---@field host? string only this host's versions
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field compression? "auto"|"off"|"fastest"|"better"|"max"
---@field pack_size? integer|string from 4M to 128M (16M)
---@field limit_upload? integer|string bytes a second
---@field dry_run? boolean store nothing, only say what would be
---@field name? string of the operation

---@class saros.repository.copied
---@field copied table[] { version, id }: which version, and its id there (none in a dry run)
---@field skipped string[] the versions that were there already
---@field failed table[] { version, message }: those that are damaged; nothing of them was written
---@field data_blobs integer pieces of files that were not there
---@field tree_blobs integer directories
---@field bytes_added integer what these have
---@field bytes_packed integer … and take there, compressed and sealed

--- Copies versions into another repository, which has a key and a way to cut
--- files of its own. What is there already is not copied again. Each piece is
--- looked at on the way; a version that is damaged is left out, and then the
--- operation's code is SAROS_S_PARTIAL. It can be ended at any moment, and begun
--- again: then it goes on.
---
--- ```lua
--- local away <close> = repository.open { location = "s3:https://host/bucket" }
--- local r = assert(repo:copy { to = away, host = "web1" }:wait())
--- print(#r.copied, #r.skipped, r.bytes_packed)
--- ```
---@param options saros.repository.copy
---@return saros.operation op its result: `saros.repository.copied`
function handle:copy(options)
  options = check("repo:copy", options, with { to = "userdata",
    versions = "list", compression = { "auto", "off", "fastest", "better",
      "max" }, pack_size = "integer|string", limit_upload = "integer|string",
    dry_run = "boolean", name = "string" })
  need("repo:copy", options, "to", "a repository expected, which is open")
  local given = without_name(options)
  given.to = nil
  return call(self, "copy", given, options.name, nil, options.to)
end

---@class saros.repository.repair
---@field what "index"|"packs"|"versions" index: a new one is made from the packs that there are. packs: that, and all packs are read; what is good of those that are damaged is stored anew. versions: they are written once more, without what is lost. After damage: first packs (or index), then versions
---@field packs? string|string[] of packs: only these are read, by their ids
---@field read_all_packs? boolean of index: ask all packs what they have, not only those that the index is wrong about
---@field versions? string|string[] of versions: only these, by ids or their beginnings
---@field host? string of versions: only this host's
---@field tags? string|string[] of versions: only those with all of these tags
---@field paths? string|string[] of versions: only those of all of these paths
---@field forget? boolean of versions: the old ones go; else they stay, and the new ones have the tag "repaired"
---@field dry_run? boolean only say what would be done
---@field name? string of the operation

---@class saros.repository.repaired
---@field changed boolean something was, or would be
---@field packs integer
---@field packs_read integer from end to end
---@field packs_added integer that no index file named
---@field packs_missing integer that the index named
---@field packs_damaged integer what was good of them is in other packs now
---@field packs_unreadable integer nobody can say what was in them; they stay
---@field packs_removed integer of the damaged ones
---@field blobs_saved integer pieces of damaged packs that there still are
---@field blobs_lost integer pieces that there are no more
---@field blobs_unread integer pieces that the disk did not give this time; they stay
---@field index_files_damaged integer
---@field index_files_new integer
---@field index_files_removed integer
---@field findings table[] the first thousand: kind (`index_damaged`, `pack_missing`, `pack_added`, `pack_other`, `pack_damaged`, `pack_unreadable`, `blob_lost`, `blob_unread`), message, id
---@field finding_count integer

---@class saros.repository.versions_repaired
---@field versions table[] those of which something is lost: { version, id, removed, lost, lost_count }: id of the new one, if there is anything left; lost: the first hundred of { path, type, missing }
---@field whole integer versions of which nothing is
---@field unreadable table[] { version, message }: forget them by their ids

--- Repairs what is damaged. Nothing old goes before what takes its place is
--- there, so it can be ended at any moment, and begun again. Nobody else may use
--- the repository meanwhile. When something is lost the operation's code is
--- SAROS_S_PARTIAL.
---
--- ```lua
--- local r = assert(repo:repair { what = "packs" }:wait())
--- if r.blobs_lost > 0 then
---   for _, v in ipairs(assert(repo:repair { what = "versions", forget = true }
---       :wait()).versions) do
---     for _, item in ipairs(v.lost) do print(v.version, item.path) end
---   end
--- end
--- ```
---@param options saros.repository.repair
---@return saros.operation op its result: `saros.repository.repaired`, or of versions `saros.repository.versions_repaired`
function handle:repair(options)
  options = check("repo:repair", options, with { packs = "list",
    what = { "index", "packs", "versions" }, versions = "list",
    read_all_packs = "boolean",
    forget = "boolean", dry_run = "boolean", name = "string" })
  need("repo:repair", options, "what", "\"index\", \"packs\" or \"versions\"")
  return self:_call("repair", without_name(options), options.name)
end

---@class saros.repository.mount
---@field at string the directory to mount at, which is there
---@field host? string only this host's versions
---@field tags? string[] only those with all of these tags
---@field paths? string[] only those of all of these paths
---@field allow_other? boolean other users may look, too: each at what the files' own permissions let them
---@field name? string of the operation

--- Mounts the repository, to be read with any program: `ids/…`, `snapshots/…`
--- by their times, `hosts/…/…`, `tags/…/…`, each with a link `latest`. The
--- versions are those that there are now. A file of which something is damaged
--- fails to be read (EIO). Only root can mount.
---
--- It returns when it is mounted. It is unmounted when the operation is closed
--- or cancelled, when the program ends, whatever ends it, or by `umount`.
---
--- ```lua
--- local mount <close> = assert(repo:mount { at = "/mnt" })
--- os.execute "ls -l /mnt/snapshots/latest"
--- ```
---@param options saros.repository.mount
---@return saros.operation? op pending as long as it is mounted; closing it unmounts
---@return saros.error? err why it could not be
function handle:mount(options)
  options = check("repo:mount", options, with { at = "string",
    allow_other = "boolean", name = "string" })
  need("repo:mount", options, "at", "the directory to mount at, which is there")
  local op = self:_call("mount", without_name(options), options.name)
  local progress = op:progress()
  while op:status().phase ~= "mounted" do
    if op:done() or not progress() then
      local ok, err = op:wait()
      if ok then return op end -- it was mounted, and is not any more
      return nil, err
    end
  end
  return op
end

return repository
