---@private
local shown = require "saros.text"
local where = require "saros.cli.where"

local names <const> = { "btrfs", "image", "lvm", "reflink", "copy" }

local function session_of(c)
  local session = require "saros.vss".components {
    state_dir = where.state(c) }
  session:initialize_for_backup()
  return session
end

-- Who would be taken for a path.
local function provider(session, path)
  local ok, info = session:is_volume_supported(path)
  if ok then return info.provider, info end
  return "-", info
end

local function list(c)
  local ok, vds = pcall(require, "saros.vds")
  if not ok then
    c:fail(14, "disks cannot be listed: saros.vds is not in this build "
      .. "(libfdisk, libblkid, libmount); of a path, say saros volumes PATH")
  end
  local session <close> = session_of(c)
  local rows = {}
  local volumes = vds.volumes()
  for i, v in ipairs(volumes) do
    local by, info = "", nil
    if v.mounted then by, info = provider(session, v.mounted) end
    rows[i] = { v.path, shown.size(v.size or 0), v.fs or "-",
      v.label ~= "" and v.label or "", by, v.mounted or "" }
    c:emit("volume", { path = v.path, size = v.size, fs = v.fs,
      label = v.label, uuid = v.uuid, mounted = v.mounted,
      provider = info and info.supported and by or nil,
      worth = info and info.worth, atomic = info and info.atomic,
      reason = info and info.reason })
  end
  c:table(rows, { { "VOLUME" }, { "SIZE", right = true }, { "HOLDS" },
    { "LABEL", cut = true }, { "SHADOW BY" }, { "MOUNTED AT", cut = "tail" } })
  c:emit("summary", { volumes = #rows })
  if #rows == 0 then c:say "no volumes" end
end

local function of_paths(c, paths)
  local session <close> = session_of(c)
  local missing = false
  for n, path in ipairs(paths) do
    local best, info = provider(session, path)
    c:out(n > 1 and "\n" or "", shown.safe(path))
    local rows = {}
    for i, name in ipairs(names) do
      local ok, r = session:is_volume_supported(path, name)
      rows[i] = { name == best and "*" or "", name, ok and "yes" or "no",
        ok and r.worth or r.reason or "" }
      c:emit("provider", { original = path, provider = name, supported = ok,
        best = name == best, worth = ok and r.worth or nil,
        atomic = ok and r.atomic or nil, reason = not ok and r.reason or nil })
    end
    c:table(rows, { { "", called = "BEST" }, { "BY" }, { "CAN" },
      { "WHAT IT IS WORTH, OR WHY NOT" } })
    if best == "-" then
      missing = true
      c:partial(shown.safe(path), ": ", shown.safe(info.reason
        or "nobody can take a shadow of it"))
    end
  end
  c:emit("summary", { paths = #paths })
  return missing and 4 or 0
end

local function run(c)
  if #c.arguments == 0 then return list(c) end
  return of_paths(c, where.absolute(c.arguments))
end

return {
  name = "volumes",
  usage = "[PATH…]",
  help = [[
The volumes of this machine, and which provider would take a shadow of each that
is mounted. Of a PATH: what each provider says of it; the one with the star is
taken.]],
  examples = {
    { "saros volumes", "all of them" },
    { "saros volumes /srv", "why it is this provider, and not another" },
  },
  options = { where.state_dir },
  arguments = { names = "PATH", complete = "file" },
  run = run,
}
