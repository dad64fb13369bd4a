---@private
-- What `saros help TOPIC` says.

local topics = {}

topics["exit-codes"] = function()
  local lines = { "What a script can tell by the exit code of saros:", "" }
  local help = require "saros.cli.help"
  for _, code in ipairs(require "saros.cli.errors".codes) do
    local text = help.wrap(code[2], (" "):rep(6))
    text[1] = ("%4d  "):format(code[1]) .. text[1]:sub(7)
    table.move(text, 1, #text, #lines + 1, lines)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "'saros status' has those of monitoring instead: 0 OK, "
    .. "1 warning, 2 critical,"
  lines[#lines + 1] = "3 unknown, or called wrongly. 'saros hold' has those of "
    .. "its command."
  return table.concat(lines, "\n") .. "\n"
end

topics.json = function()
  return [[
With --json each line of the output is an object, and has

  "saros": 1      the version of this form: a program should look at it
  "type":         what it is

  progress        of an operation that runs, at most one a second: operation,
                  label, percent, phase, done, total (bytes where it moves
                  bytes), rate (a second), seconds_left, elapsed, files, path;
                  held (seconds that somebody has held still for it) and, while
                  he does, held_most (how long he may at most); lane, when it is
                  a part of a workflow
  warning         message
  error           exit_code, message; name and code of the error, its path, and
                  a cause of the same form; the last line when there is one,
                  also when it was interrupted, or called wrongly
  summary         the end of what went well, or in part: the figures of the verb
  help            text: what --help says
  others          one for each thing that is listed, named after it: version,
                  file, match, change, finding, group, …

Times are RFC 3339 with their offset, sizes are bytes. A path that is not UTF-8
is escaped in "path", and stands as it is, in base64, in "path_b64". New names
may come; what is there stays what it is as long as "saros" is 1.

Nothing else is written to the output. What is for people goes to the error
output; --quiet silences that.
]]
end

topics.configuration = function()
  return [[
A file of Lua that says what shall be, and can do nothing else: it reads no
file, starts no program, and is stopped when it takes too long. The first of
these counts:

  --config FILE, SAROS_CONFIG
  ~/.config/saros/config.lua     (XDG_CONFIG_HOME; root: /etc/saros/config.lua)
  /etc/saros/config.lua

  repository = "/mnt/backup"     where versions are kept
  password = { file = "/etc/saros/password" }
                                 or { command = "…" }, { env = "NAME" }
  workflow "nightly" { … }       what 'saros run nightly' does
  notify = { mail = "root" }     who is told of failures
  metrics = "/var/lib/node_exporter/saros.prom"
  max_age = "26h"                how old the last success may be
  state_dir = "/var/lib/saros"   where records of runs are

env "NAME" is a variable of the environment; env("NAME", "x") is x where it is
not set. Other names have to be local. A file that others may write to is
refused. 'saros init' writes one with comments.
]]
end

return topics
