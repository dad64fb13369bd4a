--- A run of a workflow in a process of its own, which dies at a known place of its
--- record.

local outside = require "spec.outside"
local saros = require "spec.helper".saros

local child = {}

-- It dies when so many lines of its record were written (DIES_AT; 0: not by
-- itself), or with the n-th that has a text in it (DIES_ON, DIES_AFTER). It says
-- how many there were. How far something is, is a line now and then, as the
-- clock has it: those do not count.
local SCRIPT <const> = [[
  local lines, most = 0, tonumber(os.getenv "DIES_AT" or 0)
  local word, n = os.getenv "DIES_ON", tonumber(os.getenv "DIES_AFTER")
  local core, system = require "saros.core", require "testmod".system
  local private_file = core.private_file
  function core.private_file(path)
    local file, why, number = private_file(path)
    if not file then return file, why, number end
    return { setvbuf = function() end, close = function() file:close() end,
      write = function(_, text)
        local good, wrong = file:write(text)
        file:flush()
        local line = core.json_read(text)
        if line.bytes and not line.ended then return good, wrong end
        lines = lines + 1
        if word and text:find(word, 1, true) then n = n - 1 end
        if lines == most or word and n == 0 then
          system.kill(core.owner().pid, 9)
        end
        return good, wrong
      end }
  end
  local saros = require "saros"
  io.stdout:setvbuf "no"
  print "begins"
  local run, err = saros.workflow(%s):run():wait()
  print(run and run.state or err, lines)]]

local function options_text(t)
  return ([[{ name = "nightly", sources = { %q }, to = { %q, %q },
    password = { file = %q }, provider = %q, state_dir = %q, scratch = %q,
    host = "here", writers = { sqlite = { databases = { %q } } },
    %s }]]):format(t.data, t.a, t.b, t.password, t.provider or "copy", t.state,
    t.scratch, t.db, t.more)
end

--- Starts it: t.db is a database, t.more are further options, as Lua has them.
function child.start(t, environment)
  local path = t.root .. "/child.lua"
  outside.write(path, SCRIPT:format(options_text(t)))
  local argv = { "env" }
  for name, item in pairs(environment) do
    argv[#argv + 1] = name .. "=" .. item
  end
  argv[#argv + 1], argv[#argv + 2] = outside.lua, path
  return outside.start(table.unpack(argv))
end

--- The same workflow, here.
function child.workflow(t)
  return saros.workflow(assert(load("return " .. options_text(t)))())
end

return child
