---@private
-- The verbs, in the order in which they are told. Each is a file of
-- saros/cli/verbs, which is only read when it is asked for.

local groups = {
  { "Back up and restore", {
    { "versions", "list what there is" },
  } },
  { "Set up", {
    { "help", "explain a verb, or a topic" },
  } },
}

local verbs = { groups = groups, summary = {}, names = {} }

for _, group in ipairs(groups) do
  for _, verb in ipairs(group[2]) do
    verbs.names[#verbs.names + 1] = verb[1]
    verbs.summary[verb[1]] = verb[2]
  end
end

--- What a verb is, in all detail.
function verbs.load(name)
  return require("saros.cli.verbs." .. name:gsub("-", "_"))
end

return verbs
