---@private
-- The verbs, in the order in which they are told. Each is a file of
-- saros/cli/verbs, which is only read when it is asked for.

local groups = {
  { "Back up and restore", {
    { "backup", "make a version of files, from a shadow copy where possible" },
    { "restore", "bring a version, or some of it, back" },
    { "versions", "list what there is" },
    { "ls", "list the files of a version" },
    { "find", "find files in all versions" },
    { "diff", "compare two versions" },
    { "dump", "write a file of a version to the output" },
    { "mount", "look at all versions as directories" },
  } },
  { "Keep a repository", {
    { "forget", "remove versions that no rule keeps" },
    { "prune", "remove what no version needs" },
    { "check", "find out whether anything is damaged" },
    { "unlock", "remove the locks of who is gone" },
  } },
  { "Prove it", {
    { "drill", "restore a version into a place apart, and start it" },
    { "items", "list the applications in a version" },
    { "recover", "bring an application back" },
  } },
  { "Know", {
    { "status", "how the last runs went, for people and monitoring" },
    { "report", "make a page of what happened" },
    { "doctor", "what works here, what is missing, how to get it" },
    { "writers", "list who would hold still" },
    { "volumes", "list volumes, and who can take their shadows" },
  } },
  { "Shadows and transfers", {
    { "hold", "run another backup program over shadow copies" },
    { "shadows", "list, take, expose and prune shadow copies" },
    { "transfer", "move files in the background, over HTTP" },
    { "purge", "list, or remove, what an uninstall would leave" },
  } },
  { "Set up", {
    { "init", "write a configuration, and make a repository" },
    { "run", "run a workflow of the configuration, or a file" },
    { "systemd", "have systemd run a workflow, each night or when you like" },
    { "repl", "try it: lines of Lua, and what they give" },
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
