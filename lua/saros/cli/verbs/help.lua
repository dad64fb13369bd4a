---@private
local verbs = require "saros.cli.verbs"

local topics = { ["exit-codes"] = true, json = true, configuration = true }

local function none(name, json)
  local names = table.move(verbs.names, 1, #verbs.names, 1, {})
  for topic in pairs(topics) do names[#names + 1] = topic end
  local why = ("there is no verb or topic '%s'%s"):format(
    require "saros.text".safe(name),
    require "saros.arguments".nearest(name, names))
  if json then
    io.stdout:write(require "saros.core".json_write { saros = 1,
      type = "error", exit_code = 2, message = why }, "\n")
  else
    io.stderr:write("saros: ", why, "\n")
  end
  return 2
end

local function plain(given, arguments)
  local help = require "saros.cli.help"
  local name = arguments[1]
  local text
  if name == nil then
    text = help.all()
  elseif verbs.summary[name] then
    text = help.of(verbs.load(name))
  elseif topics[name] then
    text = require "saros.cli.topics"[name]()
  else
    return none(name, given.json)
  end
  if given.json then
    text = require "saros.core".json_write { saros = 1, type = "help",
      text = text } .. "\n"
  end
  return io.stdout:write(text) and io.stdout:flush() and 0 or 1
end

return {
  name = "help",
  usage = "[VERB|TOPIC]",
  help = "The topics are exit-codes, json and configuration.",
  examples = {
    { "saros help backup", "the same as saros backup --help" },
    { "saros help exit-codes", "what a script can tell by them" },
  },
  arguments = { max = 1, names = "VERB|TOPIC" },
  plain = plain,
}
