---@private
local repositories = require "saros.cli.repository"
local shown = require "saros.text"

-- What `repo:backup` calls the same.
local passed <const> = { "host", "exclude", "iexclude", "exclude_file",
  "exclude_if_present", "exclude_caches", "exclude_larger_than",
  "one_file_system", "dry_run", "parent", "force", "skip_if_unchanged",
  "compression", "limit_upload", "read_concurrency" }

local absolute <const> = require "saros.cli.place".absolute

-- "-" is the input.
local function sources_of(c)
  local paths, streams = {}, {}
  if c.options.stdin then
    streams[1] = { name = c.options.stdin, stream = 0 }
  end
  for i, path in ipairs(c.arguments) do paths[i] = absolute(path) end
  if #paths == 0 then return streams end
  local sources, set = require "saros.cli.shadow".sources(c, paths)
  table.move(streams, 1, #streams, #sources + 1, sources)
  return sources, set
end

-- How who has only this text gets it back.
local function how_to_restore(c, id, location, password)
  local who = {}
  if password and password.file then
    who = { "--password-file", absolute(password.file) }
  elseif password and type(password.command) == "string" then
    who = { "--password-command", password.command }
  end
  local short = id:sub(1, 8)
  if c.options.cacert then
    table.move({ "--cacert", absolute(c.options.cacert) }, 1, 2, #who + 1, who)
  end
  -- A password in it stays out of what is kept of this text.
  local where = repositories.is_remote(location)
    and repositories.without_secret(location) or absolute(location)
  c:say ""
  c:say "To restore it, with saros or with restic:"
  for _, program in ipairs { "saros", "restic" } do
    c:say_command(program, "restore", short, "--target", "/scratch", "--repo",
      where, table.unpack(who))
  end
end

local function summary(c, r)
  c:emit("summary", { version = r.id, parent = r.parent, files = r.files,
    bytes = r.bytes, files_new = r.files_new, files_changed = r.files_changed,
    files_unmodified = r.files_unmodified, bytes_added = r.bytes_added,
    bytes_stored = r.bytes_packed, failed = r.failed, skipped = r.skipped,
    duration = r.duration, partial = r.failed > 0 })
  c:prose(r)
end

local function run(c)
  local o = c.options
  if o.init and o.no_init then c:usage "--init, or --no-init: not both" end
  if #c.arguments == 0 and not o.stdin then
    c:usage "what shall be backed up? Name paths"
  end
  local wanted = o.init
  if o.no_init then wanted = false end
  local repo, location, password =
    repositories.open_or_make(c, wanted)
  if not o.dry_run then c:noted "backup" end
  local at = "target:" .. repositories.shown(location)
  local sources, set = sources_of(c)
  local given = { sources = sources, tags = o.tag }
  for _, name in ipairs(passed) do given[name] = o[name] end
  local r, err = c:progress(repo:backup(given), "backup", at)
  if not r then return nil, err end
  for _, e in ipairs(r.errors or {}) do
    c:emit("failure", { path = e.path, message = e.message })
  end
  if r.failed > 0 then
    c:partial()
    c:emit("warning", { message = shown.some(r.failed, "item")
      .. " could not be read, or not all of it" })
  end
  if set then
    local told, why = c:finish(set:backup_complete(r.failed == 0), "writers")
    if told == nil then c:partial(shown.safe(why.message)) end
  end
  summary(c, r)
  c.result = { partial = r.failed > 0, versions = { r.id and {
    location = repositories.shown(location), id = r.id, files = r.files,
    bytes = r.bytes, bytes_added = r.bytes_added,
    bytes_stored = r.bytes_packed } },
    held = set and set.held }
  if r.id and not o.dry_run then
    -- There is a version, whoever interrupts us now.
    pcall(require "saros.cli.password".know, location)
    how_to_restore(c, r.id, location, password)
  end
end

return {
  name = "backup",
  usage = "PATH… [options]",
  help = [[
Where a shadow copy can be taken that costs nothing (btrfs, LVM, an image on a
file system that shares blocks) the backup reads that: what the paths held at
one instant, while databases that saros knows of held still. Elsewhere the files
are read as they are, and a line says so. One shadow is made at a time: another
one is waited for, a minute or as long as --retry-lock says.

What could not be read is left out, named, and makes the exit code 3. A backup
that is interrupted leaves no version; the next one finds what was stored.

A repository that --repo names and that is not there yet is made, with a password
file that is named. None is made where there was one before (its disk is not
mounted), in a directory with other files, or below one that is not there.

A shadow of btrfs ends where a nested subvolume begins: those are named, and are
backed up by themselves.]],
  examples = {
    { "saros backup /etc --repo /mnt/x",
      "makes the repository if there is none, with a password file that it "
        .. "names, and backs up /etc" },
    { "saros backup /srv /home --exclude '*.tmp' --tag weekly",
      "to the repository of the configuration" },
    { "pg_dump app | saros backup --stdin app.sql",
      "what comes by a pipe; only if all of it came" },
    { "saros backup /srv --shadow require",
      "fails where the files would be read as they are" },
  },
  options = {
    { "init", help = "make the repository if there is none, also one of the "
      .. "configuration, or on a server" },
    { "no-init", help = "never make a repository" },
    { "tag", value = "TEXT", list = true, help = "a mark of this version" },
    { "host", "H", value = "NAME", env = "RESTIC_HOST",
      help = "the name of this machine in the version" },
    { "exclude", "e", value = "PATTERN", list = true,
      help = "leave out what matches" },
    { "iexclude", value = "PATTERN", list = true,
      help = "the same, capitals or not" },
    { "exclude-file", value = "FILE", list = true, complete = "file",
      help = "a file of patterns, one a line" },
    { "exclude-if-present", value = "NAME", list = true,
      help = "leave out directories with such a file" },
    { "exclude-caches", help = "leave out directories with a CACHEDIR.TAG" },
    { "exclude-larger-than", value = "SIZE", type = "size",
      help = "leave out larger files" },
    { "one-file-system", "x", help = "stay in the file systems of the paths" },
    { "shadow", value = "HOW",
      choices = { "auto", "require", "never", "btrfs", "image", "lvm",
        "reflink", "copy" },
      help = "whether a shadow copy is read, or which" },
    { "type", value = "TYPE", choices = { "copy", "full" },
      help = "what writers are told; after full they may cut their logs" },
    { "stdin", value = "NAME", help = "store the input under this name, too" },
    { "parent", value = "VERSION", help = "compare with this one" },
    { "force", "f", help = "compare with none: read everything" },
    { "skip-if-unchanged",
      help = "write no version that is as the one before" },
    { "compression", value = "HOW",
      choices = { "auto", "off", "fastest", "better", "max" },
      help = "of what is new" },
    { "limit-upload", value = "SIZE", type = "size",
      help = "bytes a second, at most" },
    { "read-concurrency", value = "N", type = "integer",
      help = "files that are read at once" },
    { "dry-run", "n", help = "store nothing, only say what would be" },
  },
  arguments = { min = 0, names = "PATH…", complete = "file" },
  repository = true,
  run = run,
}
