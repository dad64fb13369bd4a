---@private
-- Who writes to several databases in turns: n to the first, n to the second, …,
-- then n + 1; and notes when each was asked and when it was answered. A script
-- for a process of its own; in a spec, what starts and reads it.
--
--   lua5.4 spec/ledger.lua NOTES '{ name = …, … }' '{ name = …, … }'

local outside = require "spec.outside"

local ledger = {}

local function write_all()
  local databases = require "spec.databases"
  local wall = require "testmod".wall
  local notes = assert(io.open(arg[1], "w"))
  local clients = {}
  for i = 2, #arg do
    clients[i - 1] = databases.known(load("return " .. arg[i])()):client()
  end
  notes:setvbuf "line"
  local n = 0
  while true do
    n = n + 1
    for i, c in ipairs(clients) do
      local asked = wall()
      local ok, err = c.write(n):wait()
      if ok == nil and err then
        print(tostring(err))
        os.exit(1)
      end
      notes:write(("%d %d %.6f %.6f\n"):format(i, n, asked, wall()))
    end
  end
end

--- Starts one that writes to these; it ends with the block.
---@param list spec.database[]
function ledger.start(list, notes)
  local words = { outside.lua, "spec/ledger.lua", notes }
  for _, d in ipairs(list) do words[#words + 1] = d:told() end
  local self = { process = outside.start(table.unpack(words)) }

  -- The last so many bytes of the notes.
  local function tail(bytes)
    local file <close> = io.open(notes)
    if not file then return "" end
    local size = file:seek "end"
    file:seek("set", math.max(0, size - bytes))
    local text = file:read "a"
    return size > bytes and text:match "\n(.*)" or text
  end

  --- By database and number: { asked, answered }; of the last writes.
  function self.read()
    local all = {}
    for i = 1, #list do all[i] = {} end
    for i, n, asked, answered in tail(4 << 20)
      :gmatch "(%d+) (%d+) ([%d.]+) ([%d.]+)\n"
    do
      all[tonumber(i)][tonumber(n)] = { asked = tonumber(asked),
        answered = tonumber(answered) }
    end
    return all
  end

  local function last()
    local n = 0
    for one in tail(1000):gmatch "(%d+) [%d.]+ [%d.]+\n" do
      n = tonumber(one)
    end
    return n
  end

  --- Waits until so many more were written to all of them.
  function self.until_more(count)
    local before = last()
    outside.eventually("somebody writes to all of them", function()
      local stat = outside.content(("/proc/%d/stat"):format(self.process.pid))
      if not stat or stat:match "^.*%) (%a)" == "Z" then
        error("the writer ended: " .. self.process:finish(), 0)
      end
      return last() > before + count
    end)
  end

  return setmetatable(self, { __close = function()
    self.process:__close()
  end })
end

--- Between which moments the instant of a copy was that ends with n: n was
--- asked for before it, n + 1 was not answered then.
function ledger.instant(notes, n)
  local own, after = notes[n], notes[n + 1]
  return own and own.asked or 0, after and after.answered or math.huge
end

if arg and arg[0] and arg[0]:find "spec/ledger.lua$" then
  require "saros".run(write_all)
end

return ledger
