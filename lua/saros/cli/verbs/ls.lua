---@private
local shown = require "saros.text"

local letters <const> = { dir = "d", symlink = "l", dev = "b", chardev = "c",
  fifo = "p", socket = "s" }

-- "-rwxr-xr-x"
local function mode_of(item)
  local mode, text = item.mode or 0, { letters[item.type] or "-" }
  for shift = 6, 0, -3 do
    local bits = mode >> shift & 7
    text[#text + 1] = (bits & 4 ~= 0 and "r" or "-")
      .. (bits & 2 ~= 0 and "w" or "-") .. (bits & 1 ~= 0 and "x" or "-")
  end
  return table.concat(text)
end

local function line_of(item)
  local path = shown.safe(item.path)
  if item.target then path = path .. " -> " .. shown.safe(item.target) end
  return ("%s %-8s %-8s %12s %s  %s"):format(mode_of(item),
    shown.safe(item.user or item.uid or "-"),
    shown.safe(item.group or item.gid or "-"),
    item.size and tostring(item.size) or "-",
    item.mtime and shown.clock(item.mtime):sub(1, 19) or "-", path)
end

local function run(c)
  local o = c.options
  local repo = c:repository()
  local op = repo:ls { version = c.arguments[1] or "latest",
    path = c.arguments[2], recursive = not o.flat, long = o.long or o.json,
    host = o.host, tags = o.tag, paths = o.path }
  local r, err = c:progress(op, "ls")
  if not r then return nil, err end
  for _, item in ipairs(r.items) do
    if o.json then
      item.kind, item.type = item.type, nil
      c:emit("file", item)
    else
      c:out(o.long and line_of(item) or shown.safe(item.path))
    end
  end
  for _, e in ipairs(r.errors or {}) do
    c:partial(shown.safe(e.path or "?"), ": ", shown.safe(e.message))
  end
  c:emit("summary", { version = r.version, items = #r.items })
end

return {
  name = "ls",
  usage = "[VERSION[:FOLDER] [PATH]] [options]",
  help = "Without a version it is the latest, without a path all of it.",
  examples = {
    { "saros ls", "all files of the latest version" },
    { "saros ls latest /etc --flat --long",
      "what is directly in /etc, with owners, sizes and times" },
  },
  options = {
    { "long", "l", help = "with mode, owner, size and time" },
    { "flat", help = "only what is directly in it" },
  },
  arguments = { max = 2, names = "VERSION PATH" },
  repository = true,
  filter = true,
  run = run,
}
