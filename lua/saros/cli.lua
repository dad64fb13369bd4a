---@private
-- The command line: finds the verb, reads its options, and runs it. Nothing is
-- loaded that is not needed, so that it answers at once.

local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"

local cli = {}

local function show(text)
  local ok = io.stdout:write(text) and io.stdout:flush()
  return ok and 0 or 1
end

local function emit(record)
  record.saros = 1
  return show(require "saros.core".json_write(record) .. "\n")
end

-- For people, or for a program.
local function complain(text, why, json, code)
  if json then
    emit { type = "error", exit_code = code or 2, message = why }
  else
    io.stderr:write("saros: ", text, "\n")
  end
  return code or 2
end

-- Names come from whoever called: nothing of them moves a cursor.
local function safe(text) return require "saros.text".safe(text) end

local function unknown(name, argv)
  local why = ("there is no verb '%s'%s"):format(safe(name),
    require "saros.arguments".nearest(name, verbs.names))
  return complain(why .. "\n'saros help' lists them", why,
    options.wants_json({}, argv))
end

local function wrong(verb, why, argv)
  return complain(("%s: %s\n'saros %s --help' shows how it is used"):format(
    verb.name, safe(why), verb.name), why, options.wants_json(verb, argv),
    verb.misuse)
end

-- What stands before a verb: --help, --version.
local function before(argument)
  local help = require "saros.cli.help"
  if argument == nil then
    io.stderr:write(help.short())
    return 2
  end
  if argument == "--help" or argument == "-h" then return show(help.all()) end
  if argument == "--version" then
    return show((require "saros")._VERSION .. "\n")
  end
  return complain(("there is no option %s before the verb\n"
    .. "'saros help' shows how it is used"):format(safe(argument)))
end

--- Runs the program: its exit code, and whether Lua shall be closed.
function cli.main(argv)
  local name = argv[1]
  if name == nil or name:sub(1, 1) == "-" then return before(name), false end
  local words = table.move(argv, 2, #argv, 1, {})
  if not verbs.summary[name] then return unknown(name, words), false end
  local verb = verbs.load(name)
  local given, rest = options.parse(verb, words)
  if not given then return wrong(verb, rest, words), false end
  if given.help then
    local text = require "saros.cli.help".of(verb)
    return given.json and emit { type = "help", text = text } or show(text),
      false
  end
  if verb.plain then return verb.plain(given, rest) end
  return require "saros.cli.run".verb(verb, given, rest,
    table.move(argv, 1, #argv, 1, {}))
end

return cli
