---@private
local shown = require "saros.text"

local function run(c)
  local o = c.options
  if not o.target then
    c:usage "where to? Say --target DIRECTORY, or --target / for where it was"
  end
  local repo = c:repository()
  if not o.dry_run then c:noted "restore" end
  local r, err = c:progress(repo:restore { version = c.arguments[1] or "latest",
    target = o.target, host = o.host, tags = o.tag, paths = o.path,
    include = o.include, iinclude = o.iinclude, exclude = o.exclude,
    iexclude = o.iexclude, overwrite = o.overwrite, delete = o.delete,
    dry_run = o.dry_run, sparse = o.sparse, verify = o.verify }, "restore",
    "step")
  if not r then return nil, err end
  for _, e in ipairs(r.errors) do
    c:emit("failure", { path = e.path, message = e.message })
  end
  for _, item in ipairs(r.items or {}) do
    c:emit("item", { path = item.path, action = item.action,
      kind = item.type })
  end
  if #r.errors > 0 then
    c:partial()
    c:emit("warning", { message = shown.some(#r.errors, "item")
      .. " could not be restored, or not as it was" })
  end
  c:emit("summary", { version = r.version, target = r.path, files = r.files,
    bytes = r.bytes, unchanged = r.unchanged, skipped = r.skipped,
    removed = r.removed, failed = #r.errors,
    not_given_away = r.not_given_away })
  if o.dry_run then
    for _, item in ipairs(r.items) do
      c:out(("%-8s %s"):format(item.action, shown.safe(item.path)))
    end
    r.items = {}
  end
  c:prose(r)
end

return {
  name = "restore",
  usage = "[VERSION[:FOLDER]] --target DIRECTORY [options]",
  help = [[
Without a version it is the latest. With a folder what is in that comes straight
into the target; else the paths are made anew below it. A file appears when it is
whole; what is there already and right stays. Interrupted, it goes on when it is
begun again.

An application (a database) is brought back by 'saros recover'.]],
  examples = {
    { "saros restore latest --target /scratch", "all of the latest version" },
    { "saros restore 9f88a32f:/etc/nginx --target /etc/nginx",
      "what is in that folder, to where it was" },
    { "saros restore --path /srv --include '*.conf' --target /tmp/conf",
      "some files of the latest version of /srv" },
    { "saros restore latest --target / --dry-run",
      "what would be done to the machine" },
  },
  options = {
    { "target", "t", value = "DIRECTORY", complete = "directory",
      required = true, help = "where to; it is made when it is not there" },
    { "include", "i", value = "PATTERN", list = true,
      help = "only what matches, and what is in it" },
    { "iinclude", value = "PATTERN", list = true,
      help = "the same, capitals or not" },
    { "exclude", "e", value = "PATTERN", list = true,
      help = "not what matches" },
    { "iexclude", value = "PATTERN", list = true,
      help = "the same, capitals or not" },
    { "overwrite", value = "WHEN",
      choices = { "always", "if-changed", "if-newer", "never" },
      help = "files that are there and different" },
    { "delete", help = "remove what the version does not have, in directories "
      .. "that it has" },
    { "sparse", help = "leave holes where there are zeros" },
    { "verify", help = "read back what was written" },
    { "dry-run", "n", help = "only say what would be done" },
  },
  arguments = { max = 1, names = "VERSION" },
  repository = true,
  filter = true,
  run = run,
}
