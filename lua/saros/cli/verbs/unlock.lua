---@private
local shown = require "saros.text"

local function run(c)
  local repo = c:repository()
  local removed, err = c:progress(repo:unlock { all = c.options.all }, "unlock")
  if not removed then return nil, err end
  c:out(("%s removed"):format(shown.some(removed, "lock")))
  local left = repo:locks()
  if #left > 0 then c:prose(left) end
  c:emit("summary", { removed = removed, left = #left })
end

return {
  name = "unlock",
  usage = "[options]",
  help = [[
A lock whose process is gone, or that was not refreshed for half an hour, is in
nobody's way: whoever meets it removes it. This removes all such at once, and says
who holds those that are left.]],
  examples = {
    { "saros unlock", "what nobody holds any more" },
    { "saros unlock --all", "when certainly nobody uses the repository" },
  },
  options = {
    { "all", "a", help = "also those that are held" },
  },
  arguments = { max = 0 },
  repository = true,
  run = run,
}
