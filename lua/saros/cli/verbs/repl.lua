---@private
local where = require "saros.cli.where"

local function plain(options, arguments)
  assert(require "saros.term".signals())
  local context = require "saros.cli.context"
  local c = context.new(require "saros.cli.verbs.repl", options, arguments)
  return require "saros.repl".new(c):loop(), true
end

return {
  name = "repl",
  usage = "[options]",
  help = [[
A line of Lua is run when it is entered, and what it gives is shown. Each is a
task: 'await op', or op:wait(), shows how far the operation is, Ctrl-C cancels
what the line has begun, and everything else goes on meanwhile. Local variables
last, Tab completes, help(x) explains what is public, and :tour shows a shadow
copy, a backup and a restore in two minutes, of files of its own.

Where the input is no terminal, lines are read from it and only results are
written; the exit code is 1 when one of them has failed.]],
  examples = {
    { "saros repl", "':help' there says what there is" },
    { "echo 'await saros.sleep(1)' | saros repl", "lines of a pipe" },
  },
  options = { where.state_dir },
  arguments = { max = 0 },
  plain = plain,
}
