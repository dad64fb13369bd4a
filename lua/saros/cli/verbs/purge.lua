---@private
local leftovers = require "saros.leftovers"
local shown = require "saros.text"
local where = require "saros.cli.where"

local function run(c)
  local o = c.options
  if not o.really and o.yes then
    c:usage "--yes does nothing without --really"
  end
  local list = leftovers.list { state_dir = where.state(c),
    scratch = o.scratch and where.absolute { o.scratch }[1] }
  local rows, gone, bytes = {}, 0, 0
  for i, item in ipairs(list) do
    rows[i] = { item.kind, item.bytes and shown.size(item.bytes) or "",
      item.name, item.keep and "stays: " .. item.keep or item.what }
    c:emit("leftover", { kind = item.kind, name = item.name, what = item.what,
      bytes = item.bytes, keep = item.keep })
    if not item.keep then
      gone, bytes = gone + 1, bytes + (item.bytes or 0)
    end
  end
  c:table(rows, { { "KIND" }, { "SIZE", right = true },
    { "NAME", cut = "tail" }, { "WHAT" } })
  if gone == 0 then
    c:say "there is nothing to remove"
    c:emit("summary", { found = #list, removed = 0, failed = 0 })
    return 0
  end
  if not o.really then
    c:say(("%d of these, %s, would go with 'saros purge --really'; "
      .. "repositories are never touched"):format(gone, shown.size(bytes)))
    c:emit("summary", { found = #list, removed = 0, failed = 0 })
    return 0
  end
  if not o.yes and not c:confirm(("Remove %d of these for ever?"):format(gone))
  then
    c:fail(1, "nothing was removed (without a terminal, say --yes)")
  end
  local removed = 0
  local failed = leftovers.remove(list, function(item, err)
    if err then
      c:partial(shown.safe(item.name), ": ", err)
    else
      removed = removed + 1
      c:say("removed ", item.kind, " ", shown.safe(item.name))
    end
  end)
  c:emit("summary", { found = #list, removed = removed, failed = failed })
end

return {
  name = "purge",
  usage = "[--really]",
  help = [[
Lists what saros has made on this machine and what would stay when it is
uninstalled: shadow copies, disks that are attached, queues of transfers, what
drills have kept, units of systemd, records. With --really it asks, and removes
that. Repositories are never touched, and configurations, with their passwords,
are yours to remove.]],
  examples = {
    { "saros purge", "look" },
    { "saros purge --really", "remove it, after a question" },
  },
  options = {
    { "really", help = "remove it" },
    { "yes", "y", help = "do not ask" },
    { "scratch", value = "DIR", complete = "directory",
      help = "where drills have worked ($TMPDIR, or /var/tmp)" },
    where.state_dir,
  },
  arguments = { max = 0 },
  run = run,
}
