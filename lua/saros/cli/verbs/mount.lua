---@private
local shown = require "saros.text"

local function run(c)
  local o = c.options
  local at = c.arguments[1]
  local repo = c:repository()
  local op, err = repo:mount { at = at, host = o.host, tags = o.tag,
    paths = o.path, allow_other = o.allow_other }
  if not op then return nil, err end
  c:emit("mounted", { path = at })
  c:say("mounted at ", shown.safe(at), ": ids/ snapshots/ hosts/ tags/")
  c:say "Ctrl-C unmounts it"
  local _ <close> = op
  local ok, why = op:wait()
  if not ok then return nil, why end
end

return {
  name = "mount",
  usage = "DIRECTORY [options]",
  help = [[
All versions as directories, to be read with any program, until it is interrupted
or unmounted: ids/…, snapshots/… by their times, hosts/…, tags/…, each with a link
latest. Only root can mount.]],
  examples = {
    { "saros mount /mnt/versions", "then: ls /mnt/versions/snapshots/latest" },
  },
  options = {
    { "allow-other", help = "other users may look, too: each at what the "
      .. "files' permissions let them" },
  },
  arguments = { min = 1, max = 1, names = "DIRECTORY", complete = "directory" },
  repository = true,
  filter = true,
  until_interrupted = "unmounting",
  run = run,
}
