--- What a document promises, done: each block of code in it is run, in order,
--- in a world of its own, and what it shows is held against what came.
---
--- - `console`: what follows a `$ ` is run by bash, what follows a `> ` is typed
---   into it, the rest is what it says. Numbers, ids and sizes may differ; a
---   line `…` stands for any lines, at the end of one for any rest.
--- - `sh`, `lua`, `python`, `c`: it is run, and succeeds.
--- - After `<!-- file: PATH -->` a block is not run but written there. After
---   `<!-- hidden`, lines up to `-->` are run by bash and not shown: what a reader
---   has and a world has not. `<!-- sketch: why -->`: Lua that is only compiled.

local document = {}

-- ------------------------------------------------------------------
-- Reading
-- ------------------------------------------------------------------

--- Its blocks: { line, language, text, file?, sketch?, hidden? }.
function document.blocks(text)
  local blocks, number = {}, 0
  local open, note, close
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if open then
      if line:find(close) then
        open.text = table.concat(open, "\n") .. "\n"
        blocks[#blocks + 1], open = open, nil
      else
        open[#open + 1] = line
      end
    elseif line:find "^```" then
      open = { line = number, language = line:match "^```(%S*)" }
      if note then open[note[1]] = note[2] end
      note, close = nil, "^```%s*$"
    elseif line:find "^<!%-%- hidden" then
      open, close = { line = number, language = "sh", hidden = true }, "^%-%->"
    else
      local what, value = line:match "^<!%-%- (%l+): (.-) %-%->$"
      if what then note = { what, value } elseif line ~= "" then note = nil end
    end
  end
  if open then
    error(("the block of line %d does not end"):format(open.line), 0)
  end
  return blocks
end

--- A console's commands: { command, typed = lines, shown = lines }.
function document.commands(text)
  local list = {}
  for line in text:gmatch "(.-)\n" do
    local command, typed = line:match "^[$#] (.*)", line:match "^>>? ?(.*)"
    local last = list[#list]
    if last and last.command:find "\\$" and #last.shown == 0 then
      last.command = last.command .. "\n" .. line
    elseif command then
      list[#list + 1] = { command = command, typed = {}, shown = {} }
    elseif not last then
      error("a console begins with a command: " .. line, 0)
    elseif typed and (last.command:find "lua5.4"
      or last.command:find "saros repl") then
      last.typed[#last.typed + 1] = typed
    else
      last.shown[#last.shown + 1] = line
    end
  end
  return list
end

-- ------------------------------------------------------------------
-- Comparing
-- ------------------------------------------------------------------

-- What differs from one run to the next: ids, numbers, sizes, blanks of columns.
local function plain(line)
  return (line:gsub("%f[%w]%x+/%x+%f[%W]", "N")
    :gsub("%f[%w]%x%x%x%x%x%x%x%x[%x-]*%f[^%w-]", "N")
    :gsub("%d[%d.,:]*", "N"):gsub("N [KMGT]?i?B%f[%W]", "N B")
    :gsub("N bytes?", "N B"):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- The end of a line may be left open as well.
local function alike(said, shown)
  local head = shown:match "^(.-)%s*…$"
  if not head then return plain(said) == plain(shown) end
  head = plain(head)
  return plain(said):sub(1, #head) == head
end

--- Whether these lines are those that are shown; if not, which is not there.
---@param said string[]
---@param shown string[]
---@return boolean same
---@return string? missing
function document.same(said, shown)
  local missing
  local function from(i, j)
    if j > #shown then return i > #said, "and nothing more" end
    if shown[j]:match "^%s*…%s*$" then
      for k = i, #said + 1 do
        if from(k, j + 1) then return true end
      end
      return false
    end
    if i <= #said and alike(said[i], shown[j]) then
      return from(i + 1, j + 1)
    end
    missing = missing or shown[j]
    return false
  end
  if from(1, 1) then return true end
  return false, missing or "nothing more"
end

local function lines_of(text)
  local list = {}
  for line in (text:gsub("%s+$", "") .. "\n"):gmatch "(.-)\n" do
    list[#list + 1] = line
  end
  return text:find "%S" and list or {}
end

-- ------------------------------------------------------------------
-- Running
-- ------------------------------------------------------------------

local function fail(block, what, said)
  error(("line %d: %s; it said:\n%s"):format(block.line, what, said), 0)
end

-- Between two commands; nobody prints that.
local MARK <const> = "\030\031\030"

-- What an interpreter said: without its name, its prompts and, as its line
-- editor shows it again, what was typed.
local function answers(said, typed)
  local left, next_typed = {}, 1
  said = said:gsub("^Lua 5[^\n]*\n", ""):gsub("%f[^\0\n]>[> ]*", "")
  for line in (said .. "\n"):gmatch "(.-)\n" do
    if line == typed[next_typed] then
      next_typed = next_typed + 1
    else
      left[#left + 1] = line
    end
  end
  return table.concat(left, "\n")
end

local function console(world, block)
  local commands, script = document.commands(block.text), {}
  for i, c in ipairs(commands) do
    local input = "/dev/null"
    if #c.typed > 0 then
      input = ("/tmp/typed.%d"):format(i)
      world:write(input, table.concat(c.typed, "\n") .. "\n")
    end
    -- As wide as it may be, or what was typed is not shown whole.
    script[i] = ("%s{ %s\n} <%s\nprintf '%s%%d\\n' $?\n"):format(
      #c.typed > 0 and "COLUMNS=9999; export COLUMNS\n" or "unset COLUMNS\n",
      c.command, input, MARK)
  end
  world:write("/tmp/block", table.concat(script))
  local said = world:run("bash", "/tmp/block")
  local at = 1
  for _, c in ipairs(commands) do
    local first, last, status = said:find(MARK .. "(%d+)\n", at)
    if not first then fail(block, "the shell ended early", said:sub(at)) end
    local own = said:sub(at, first - 1)
    at = last + 1
    if #c.typed > 0 then own = answers(own, c.typed) end
    if status ~= "0" and not c.command:find "# fails" then
      fail(block, ("%s ended with %s"):format(c.command, status), own)
    end
    local same, missing = document.same(lines_of(own), c.shown)
    if not same then
      fail(block, ("after %q it is said to show %q"):format(c.command, missing),
        own)
    end
  end
end

local run_by = { sh = { "bash", "-eu" }, lua = { "lua5.4" },
  python = { "python3" } }

local function program(world, block)
  world:write("/tmp/block", block.text)
  local words = table.move(run_by[block.language], 1, 9, 1, {})
  words[#words + 1] = "/tmp/block"
  local said, status = world:run(table.unpack(words))
  if status ~= 0 then fail(block, "it ended with " .. status, said) end
end

local function c_program(world, block)
  world:write("/tmp/block.c", block.text)
  local said, status = world:run("sh", "-ec", [[
    gcc -std=c11 -Wall -Wextra -Werror -DSAROS_STATIC -Icsrc /tmp/block.c \
      -o /tmp/block.run -L"$BUILD" -lsaros -pthread
    /tmp/block.run]])
  if status ~= 0 then fail(block, "it ended with " .. status, said) end
end

--- Runs one; raises what is not as it is told.
function document.run(world, block)
  if block.file then
    local directory = block.file:match "^(.*)/"
    world:run("mkdir", "-p", directory)
    world:write(block.file, block.text)
    if block.text:find "^#!" then world:run("chmod", "755", block.file) end
  elseif block.sketch then
    assert(block.language == "lua", "only Lua is sketched")
    local good, why = load(block.text, "=line " .. block.line)
    if not good then error(why, 0) end
  elseif block.language == "console" then
    console(world, block)
  elseif block.language == "c" then
    c_program(world, block)
  elseif run_by[block.language] then
    program(world, block)
  elseif block.language ~= "text" then
    error(("line %d: a block says what it is: console, sh, lua, c, python, "
      .. "or text"):format(block.line), 0)
  end
end

return document
