---@private
local keeps <const> = { "last", "hourly", "daily", "weekly", "monthly",
  "yearly" }

local function rules_of(o)
  local rules, any = {}, false
  for _, name in ipairs(keeps) do
    local n = o["keep_" .. name]
    rules["keep_" .. name], any = n, any or n ~= nil
  end
  for _, name in ipairs { "keep_within", "keep_within_hourly",
    "keep_within_daily", "keep_within_weekly", "keep_within_monthly",
    "keep_within_yearly", "keep_tags" } do
    rules[name], any = o[name], any or o[name] ~= nil
  end
  return rules, any
end

local function words(text)
  local list = {}
  for word in text:gmatch "[^,]+" do list[#list + 1] = word end
  return list
end

local function tell(c, r)
  for _, group in ipairs(r.groups) do
    for _, kind in ipairs { "keep", "remove" } do
      for _, v in ipairs(group[kind]) do
        c:emit("version", { action = kind, id = v.id, time = v.time,
          hostname = v.hostname, paths = v.paths, tags = v.tags,
          reasons = v.reasons })
      end
    end
  end
  c:emit("summary", { removed = r.removed, kept = r.kept,
    dry_run = r.dry_run, prune = r.prune })
  c:prose(r)
end

local function run(c)
  local o = c.options
  local given, any = rules_of(o)
  local ids = #c.arguments > 0 and c.arguments or nil
  if not any and not ids and not o.unsafe_allow_remove_all then
    c:usage("which versions shall stay? Say --keep-last 7, --keep-daily 7, …, "
      .. "or name those that go")
  end
  if any and ids then c:usage "rules, or versions that go: not both" end
  given.ids, given.dry_run, given.prune = ids, o.dry_run, o.prune
  given.group_by = o.group_by and words(o.group_by)
  given.host, given.tags, given.paths = o.host, o.tag, o.path
  given.unsafe_allow_remove_all = o.unsafe_allow_remove_all
  local repo = c:repository()
  local r, err = c:progress(repo:forget(given),
    o.prune and "forget and prune" or "forget")
  if not r then return nil, err end
  tell(c, r)
end

local function number(name, what)
  return { "keep-" .. name, value = "N", type = "count", help = what }
end

local function span(name, what)
  return { "keep-" .. name, value = "SPAN", type = "span", help = what }
end

return {
  name = "forget",
  usage = "[VERSION…] [options]",
  help = [[
What at least one rule keeps stays; the rules count for each machine and its paths
by themselves (--group-by). What the versions alone needed goes with the next
'saros prune', or at once with --prune. N may be "unlimited", a SPAN is such as
1y5m7d2h.

What saros stores for itself is in no group of yours: the newest of its notes stays,
and what belongs to a version stays as long as that does. restic sees all of it as
versions like any other (paths /.saros-…), and its rules may remove it; so give
restic --group-by host,paths, which is its default.]],
  examples = {
    { "saros forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --prune",
      "what most people want" },
    { "saros forget --keep-last 3 --dry-run", "what would go" },
    { "saros forget 9f88a32f", "this one" },
  },
  options = {
    number("last", "so many of the latest"),
    number("hourly", "the latest of each of so many hours"),
    number("daily", "… days"),
    number("weekly", "… weeks"),
    number("monthly", "… months"),
    number("yearly", "… years"),
    span("within", "all that are no older than that"),
    span("within-hourly", "the latest of each hour of that span"),
    span("within-daily", "… day"),
    span("within-weekly", "… week"),
    span("within-monthly", "… month"),
    span("within-yearly", "… year"),
    { "keep-tags", value = "TEXT", list = true, help = "those with this tag" },
    { "group-by", "g", value = "LIST",
      help = "what the rules count for: host,paths,tags" },
    { "prune", help = "also remove what they alone needed" },
    { "unsafe-allow-remove-all", help = "rules may keep nothing" },
    { "dry-run", "n", help = "only say what would be done" },
  },
  arguments = { names = "VERSION…" },
  repository = true,
  filter = true,
  run = run,
}
