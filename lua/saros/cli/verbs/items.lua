---@private
local shown = require "saros.text"

local function component(v, c, item)
  c:emit("component", { version = v.id,
    writer = item.writer and item.writer.name,
    kind = item.kind, name = item.name, consistency = item.consistency,
    recoverable = item.recoverable, why = item.why, check = item.check,
    drill = item.drill, position = item.position })
end

local function version(c, v)
  local record = { id = v.id, guid = v.guid, time = v.time, host = v.host,
    consistency = v.consistency, paths = v.paths, partial = v.partial,
    components = #(v.components or {}) }
  record.kind = v.type
  c:emit("version", record)
end

local function run(c)
  local o = c.options
  local filter = { host = o.host, tags = o.tag, paths = o.path }
  local wsb, repo = require "saros.wsb", c:repository()
  filter.repository = repo
  if o.all then
    if #c.arguments > 0 then c:usage "a version, or --all" end
    local list, err = c:progress(wsb.versions(filter), "versions")
    if not list then return nil, err end
    for _, v in ipairs(list) do
      if v.error then
        c:partial(v.id:sub(1, 8), ": ", shown.safe(tostring(v.error)))
      else
        version(c, v)
        c:prose(v)
      end
    end
    c:emit("summary", { versions = #list })
    if #list == 0 then c:say "no versions with applications" end
    return 0
  end
  filter.version = c.arguments[1] or "latest"
  local v, err = c:progress(wsb.items(filter), "items")
  if not v then return nil, err end
  version(c, v)
  for _, item in ipairs(v.components) do component(v, c, item) end
  c:prose(v)
  local good
  for _, one in ipairs(v.components) do
    good = good or one.recoverable and one
  end
  if good then
    c:say ""
    c:say "To have one back:"
    c:say_command("saros", "recover", v.id:sub(1, 8), "--component", good.name)
  elseif #v.components > 0 then
    c:say ""
    c:say "Another version may be whole: saros items --all"
  end
  c:emit("summary", { version = v.id, components = #v.components })
end

return {
  name = "items",
  usage = "[VERSION] [options]",
  help = [[
What there is of applications in a version (the latest, when none is named):
what state each was stored in, whether its check passed, whether a drill has
started it, and whether it can be recovered, or why not.]],
  examples = {
    { "saros items --repo /mnt/x", "of the latest version" },
    { "saros items 5c9ffefa", "of this one" },
    { "saros items --all", "a line for each version with applications" },
  },
  options = { { "all", "a", help = "all versions, a line each" } },
  arguments = { max = 1, names = "VERSION" },
  repository = true,
  filter = true,
  run = run,
}
