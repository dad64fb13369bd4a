---@private
local shown = require "saros.text"

local function run(c)
  local o = c.options
  local repo = c:repository()
  local r, err = c:progress(repo:find { pattern = c.arguments,
    ignore_case = o.ignore_case, type = o.type, version = o.version,
    host = o.host, tags = o.tag, paths = o.path }, "find")
  if not r then return nil, err end
  local rows = {}
  for i, item in ipairs(r.items) do
    if o.json then
      item.kind, item.type = item.type, nil
      c:emit("match", item)
    else
      rows[i] = { item.version:sub(1, 8), item.size or "-",
        item.mtime and shown.clock(item.mtime):sub(1, 19) or "-", item.path }
    end
  end
  c:table(rows, { { "VERSION" }, { "SIZE", right = true }, { "MODIFIED" },
    { "PATH", cut = "tail" } })
  for _, e in ipairs(r.errors or {}) do
    c:partial(shown.safe(e.path or "?"), ": ", shown.safe(e.message))
  end
  c:emit("summary", { items = #r.items })
  if #r.items == 0 and not c.is_partial then
    c:say "nothing of that name is in any version"
    return 4
  end
end

return {
  name = "find",
  usage = "PATTERN… [options]",
  help = [[
A pattern is of names, or of paths when there is a slash in it; * ? and [ ] mean
what they mean in a shell. The exit code is 4 when nothing is found.]],
  examples = {
    { "saros find nginx.conf", "in which versions it is" },
    { "saros find '/etc/**/*.conf' --version latest", "in the latest alone" },
  },
  options = {
    { "ignore-case", "i", help = "capitals or not" },
    { "type", value = "TYPE", choices = { "file", "dir", "symlink", "dev",
      "chardev", "fifo", "socket" }, help = "only these" },
    { "version", value = "VERSION", help = "only in this one" },
  },
  arguments = { min = 1, names = "PATTERN" },
  repository = true,
  filter = true,
  run = run,
}
