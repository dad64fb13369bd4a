---@private
local passed <const> = { "max_unused", "max_repack_size", "repack_small",
  "repack_uncompressed", "dry_run", "force" }

local function run(c)
  local repo = c:repository()
  if not c.options.dry_run then c:noted "prune" end
  if c.options.own then
    local mine, why = repo:claim_prune { force = c.options.force }:wait()
    if not mine then return nil, why end
    c:say "from now on it is this machine that prunes"
  end
  local given = {}
  for _, name in ipairs(passed) do given[name] = c.options[name] end
  local r, err = c:progress(repo:prune(given), "prune", "step")
  if not r then return nil, err end
  c:emit("summary", r)
  c:prose(r)
end

return {
  name = "prune",
  usage = "[options]",
  help = [[
Nobody else may use the repository meanwhile. It can be interrupted at any moment:
nothing that a version needs is ever gone.]],
  examples = {
    { "saros prune --dry-run", "how much would be freed" },
    { "saros prune --max-unused 0", "also what takes long" },
  },
  options = {
    { "max-unused", value = "LIMIT",
      help = "how much of what is not needed may stay: 5%, unlimited, 1G" },
    { "max-repack-size", value = "SIZE", type = "size",
      help = "copy no more than that" },
    { "repack-small", help = "also put small packs together" },
    { "repack-uncompressed", help = "also compress what is not" },
    { "own", help = "from now on this machine prunes, and no other" },
    { "force", help = "also where another machine does" },
    { "dry-run", "n", help = "only say what would be done" },
  },
  arguments = { max = 0 },
  repository = true,
  run = run,
}
