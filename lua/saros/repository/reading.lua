-- What a repository gives back: restored, listed, compared, written elsewhere,
-- or looked at as directories.

local arguments = require "saros.arguments"
local calls = require "saros.repository.calls"
local core = require "saros.repository.core"

local check, need = arguments.check, arguments.need
local call, result = calls.call, calls.result
local with, without_name = calls.with, calls.without_name

---@class saros.repository.handle
local handle = core.methods

---@class saros.repository.restore
---@field target string the directory to restore to; it is made when it is not there
---@field version? string "latest" (the default; none that is ahead of the clock, if there is another), the beginning of an id, or one of them with a folder: "latest:srv/www"
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
---@field others integer how many of them are no files: links, devices, pipes
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
  dry_run = "boolean", sparse = "boolean", verify = "boolean",
  retry_lock = "number", name = "string",
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
