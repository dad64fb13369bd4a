---@private
local shown = require "saros.text"
local term = require "saros.term"

local function run(c)
  local o = c.options
  local version, path = "latest", c.arguments[1]
  if c.arguments[2] then version, path = path, c.arguments[2] end
  if not o.to and o.json then
    c:usage "--json needs --to: the output is what was stored"
  end
  local repo = c:repository()
  if not o.to and term.isatty(1) then
    local r = assert(repo:ls { version = version, path = path,
      recursive = false, host = o.host, tags = o.tag, paths = o.path }:wait())
    local one = r.items[1]
    if not one or one.type == "dir" then
      c:usage("%s is a directory, of which a tar archive would be written to "
        .. "the terminal: say --to FILE, or | tar t", shown.safe(path))
    end
  end
  c.screen:flush()
  local r, err = c:progress(repo:dump { version = version, path = path,
    to = o.to or 1, host = o.host, tags = o.tag, paths = o.path }, "dump")
  if not r then
    if err.name == "ERROR_BROKEN_PIPE" and not o.to then return 141 end
    return nil, err
  end
  for _, e in ipairs(r.errors or {}) do
    c:partial(shown.safe(e.path or "?"), ": ", shown.safe(e.message))
  end
  c:emit("summary", { bytes = r.bytes, to = o.to })
  if o.to then c:prose(r) end
end

return {
  name = "dump",
  usage = "[VERSION[:FOLDER]] PATH [options]",
  help = [[
Without a version it is the latest. A directory becomes a tar archive. A file that
is written to with --to has its name when all of it is there.]],
  examples = {
    { "saros dump latest /etc/fstab", "to the terminal" },
    { "saros dump 9f88a32f /srv/www | tar x -C /scratch", "a directory" },
    { "saros dump --path /app.sql app.sql --to /tmp/app.sql",
      "what --stdin has stored: of the latest version with that" },
  },
  options = {
    { "to", value = "FILE", complete = "file",
      help = "write it there instead of to the output" },
  },
  arguments = { min = 1, max = 2, names = "PATH" },
  repository = true,
  filter = true,
  run = run,
}
