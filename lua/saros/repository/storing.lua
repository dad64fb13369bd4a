-- What a repository is given: backups, and versions of another one.

local arguments = require "saros.arguments"
local calls = require "saros.repository.calls"
local core = require "saros.repository.core"
local sources = require "saros.repository.sources"

local check, need = arguments.check, arguments.need
local call, with, without_name = calls.call, calls.with, calls.without_name

---@class saros.repository.handle
local handle = core.methods

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
---@field whole? string|string[] absolute paths: write no version when something of these could not be read. (Of `wsb.backup`, which says this of all that can be recovered, the same word is about what components have elsewhere)
---@field ignore_ctime? boolean a file with another ctime is unchanged all the same
---@field ignore_inode? boolean … and one with another inode
---@field with_atime? boolean keep the times of the last access
---@field compression? "auto"|"off"|"fastest"|"better"|"max"
---@field pack_size? integer|string from 4M to 128M (16M)
---@field read_concurrency? integer how many files to read at once
---@field limit_upload? integer|string bytes a second of new data: 1000000, "1M"
---@field dry_run? boolean store nothing, only say what would be
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
---@field name? string of the operation

---@class saros.repository.backed_up
---@field id? string the version; none when nothing was to be written
---@field parent? string the version it was compared with
---@field tree string
---@field skipped boolean it was the same as the one before (skip_if_unchanged)
---@field torn boolean there is no version: something could not be read of what must be whole (whole)
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
  whole = "list",
  ignore_ctime = "boolean", ignore_inode = "boolean", with_atime = "boolean",
  compression = { "auto", "off", "fastest", "better", "max" },
  pack_size = "integer|string", read_concurrency = "integer",
  limit_upload = "integer|string", dry_run = "boolean",
  retry_lock = "number", name = "string",
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
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
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
    dry_run = "boolean", retry_lock = "number", name = "string" })
  need("repo:copy", options, "to", "a repository expected, which is open")
  local given = without_name(options)
  given.to = nil
  return call(self, "copy", given, options.name, nil, options.to)
end
