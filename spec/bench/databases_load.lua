---@private
-- Who writes to a database all the time, over some connections: notes when each
-- statement began and ended. A process of its own.
--   lua5.4 spec/bench/databases_load.lua '{ name = …, … }' NOTES [CONNECTIONS]
-- NOTES.stop ends it.

local saros = require "saros"
local databases = require "spec.databases"
local wall = require "testmod".wall

local db = databases.known(load("return " .. arg[1])())
local notes = assert(io.open(arg[2], "w"))
local connections = tonumber(arg[3]) or 4

local function stopped()
  local file = io.open(arg[2] .. ".stop")
  if file then file:close() end
  return file ~= nil
end

notes:setvbuf("full", 1 << 16)
saros.run(function()
  local over = false
  for i = 1, connections do
    saros.spawn(function()
      local c <close> = db:client()
      local n = i
      while not over do
        local begun = wall()
        local ok, err = c.write(n):wait()
        if ok == nil and err then error(err, 0) end
        notes:write(("%.6f %.6f\n"):format(begun, wall()))
        if i == 1 then over = stopped() end
        n = n + connections
      end
    end)
  end
end)
notes:close()
