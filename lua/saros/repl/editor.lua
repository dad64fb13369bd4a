---@private
-- Edits a line, or several, on a terminal. What it waits with is somebody
-- else's, so that operations and tasks go on meanwhile.

local shown = require "saros.text"
local keys = require "saros.repl.keys"
local term = require "saros.term"

local IN <const>, OUT <const> = 0, 1
local ESCAPE <const> = 0.05 -- seconds after which it was the key
local OFFERED <const> = 60  -- candidates that are listed

---@class saros.repl.editor
---@field prompt string
---@field more string before the second line, and the next ones
---@field wait fun(seconds: number?): string "input", "time", or a signal's name
---@field history { lines: string[], add: function }
---@field complete fun(text: string, at: integer): integer?, string[]?
---@field ends fun(text: string): boolean whether no more lines are needed
local editor = {}
editor.__index = editor

--- Makes one of those fields.
function editor.new(o)
  o.bytes, o.text, o.at, o.killed = "", "", 1, ""
  return setmetatable(o, editor)
end

-- ------------------------------------------------------------------
-- Characters
-- ------------------------------------------------------------------

local function is_joined(text, at)
  return at <= #text and text:byte(at) >= 0xC0 and utf8.len(text, at, at)
    and term.columns(utf8.char(utf8.codepoint(text, at))) == 0
end

-- Behind the one at `at`, with what is joined to it.
local function behind(text, at)
  if at > #text then return at end
  local function one(i)
    return utf8.len(text, i, i) and utf8.offset(text, 2, i) or i + 1
  end
  at = one(at)
  while is_joined(text, at) do at = one(at) end
  return at
end

-- The beginning of the one before `at`.
local function before(text, at)
  local i = at - 1
  while i > 1 and (at - i < 4 and text:byte(i) & 0xC0 == 0x80
    or is_joined(text, i)) do
    i = i - 1
  end
  return math.max(behind(text, i) >= at and i or at - 1, 1)
end

-- What a character looks like, and its columns.
local function look(char)
  if #char == 1 and char >= " " and char <= "~" then return char, 1 end
  if char == "\t" then return "  ", 2 end
  local text = shown.safe(char)
  return text, term.columns(text)
end

-- ------------------------------------------------------------------
-- Drawing
-- ------------------------------------------------------------------

local function prompt_of(self)
  local s = self.searching
  if not s then return self.prompt end
  return ("(%s: %s) "):format(s.failed and "nothing has" or "search",
    shown.safe(s.text))
end

-- The rows that it takes, and where the cursor is in them.
local function layout(self, width)
  local text, rows, row, used = self.text, {}, {}, 0
  local cursor_row, cursor_column
  local function put(piece, columns)
    if used + columns > width and used > 0 then
      rows[#rows + 1], row, used = table.concat(row), {}, 0
    end
    row[#row + 1] = piece
    used = used + columns
  end
  local function lead(prompt)
    for _, c in utf8.codes(prompt) do put(look(utf8.char(c))) end
  end
  lead(prompt_of(self))
  local at = 1
  while at <= #text + 1 do
    local char = text:sub(at, behind(text, at) - 1)
    local piece, columns = "", 1
    if char ~= "\n" and char ~= "" then piece, columns = look(char) end
    if at == self.at then
      if used + columns > width then put("", columns) used = 0 end
      cursor_row, cursor_column = #rows + 1, used
    end
    if char == "\n" then
      rows[#rows + 1], row, used = table.concat(row), {}, 0
      lead(self.more)
    elseif char ~= "" then
      put(piece, columns)
    end
    at = at + math.max(#char, 1)
  end
  rows[#rows + 1] = table.concat(row)
  return rows, cursor_row, cursor_column
end

-- To the beginning of what was drawn, which may be broken otherwise since.
local function home(self, width)
  local up = 0
  for i = 1, (self.drawn_row or 1) - 1 do
    up = up + math.max(1, (self.drawn[i] + width - 1) // width)
  end
  return "\r" .. (up > 0 and ("\27[%dA"):format(up) or "")
end

--- Takes away what is drawn, for something else to be written.
function editor:hide()
  if not self.drawn then return end
  local width = term.size(OUT) or 80
  term.write(OUT, home(self, width) .. "\27[J")
  self.drawn = nil
end

--- Draws it.
function editor:show()
  if not self.active then return end
  local columns, height = term.size(OUT)
  local width = math.max((columns or 80) - 1, 4)
  height = math.max((height or 24) - 1, 1)
  local rows, row, column = layout(self, width)
  if #rows > height then -- a part of it, with the cursor
    local top = math.min(math.max(row - height // 2, 1), #rows - height + 1)
    rows = table.move(rows, top, top + height - 1, 1, {})
    row = row - top + 1
  end
  local parts = { self.drawn and home(self, columns or 80) or "\r" }
  local drawn = {}
  for i, line in ipairs(rows) do
    drawn[i] = term.columns(line)
    parts[#parts + 1] = line .. "\27[K" .. (i < #rows and "\n" or "")
  end
  parts[#parts + 1] = "\27[J"
  if #rows > row then parts[#parts + 1] = ("\27[%dA"):format(#rows - row) end
  parts[#parts + 1] = "\r"
  if column > 0 then parts[#parts + 1] = ("\27[%dC"):format(column) end
  term.write(OUT, table.concat(parts))
  self.drawn, self.drawn_row = drawn, row
end

-- Leaves it standing, and goes below it.
local function leave(self)
  self.at, self.searching = #self.text + 1, nil
  self:show()
  term.write(OUT, "\n")
  self.drawn = nil
end

-- ------------------------------------------------------------------
-- Editing
-- ------------------------------------------------------------------

local function put(self, text)
  self.text = self.text:sub(1, self.at - 1) .. text .. self.text:sub(self.at)
  self.at = self.at + #text
end

local function remove(self, from, to, keep)
  if from >= to then return end
  if keep then self.killed = self.text:sub(from, to - 1) end
  self.text = self.text:sub(1, from - 1) .. self.text:sub(to)
  self.at = from
end

local function line_begin(self)
  return self.text:sub(1, self.at - 1):match "^.*\n()" or 1
end

local function line_end(self)
  return self.text:find("\n", self.at, true) or #self.text + 1
end

-- Where a word begins before the cursor; words of Lua, or of a shell.
local function word_begin(self, pattern)
  local head = self.text:sub(1, self.at - 1)
  return head:match(pattern or "()[%w_\x80-\xFF]*[^%w_\x80-\xFF]*$")
end

local function word_end(self)
  return self.text:match("^[^%w_\x80-\xFF]*[%w_\x80-\xFF]*()", self.at)
end

-- Up or down by a line of several; false: there is none.
local function move(self, step)
  local first = line_begin(self)
  local column = utf8.len(self.text, first, self.at - 1, true)
    or self.at - first
  local target
  if step < 0 then
    if first == 1 then return false end
    target = self.text:sub(1, first - 2):match "^.*\n()" or 1
  else
    target = line_end(self) + 1
    if target > #self.text + 1 then return false end
  end
  self.at = target
  for _ = 1, column do
    if self.at > #self.text or self.text:sub(self.at, self.at) == "\n" then
      break
    end
    self.at = behind(self.text, self.at)
  end
  return true
end

local function recall(self, step)
  local lines = self.history.lines
  local to = self.place + step
  if to < 1 or to > #lines + 1 then return end
  if self.place == #lines + 1 then self.draft = self.text end
  self.place = to
  self.text = lines[to] or self.draft or ""
  self.at = #self.text + 1
end

-- ------------------------------------------------------------------
-- Completion
-- ------------------------------------------------------------------

local function common(list)
  local first = list[1]
  local size = #first
  for i = 2, #list do
    while list[i]:sub(1, size) ~= first:sub(1, size) do size = size - 1 end
  end
  while size > 0 and size < #first and first:byte(size + 1) & 0xC0 == 0x80 do
    size = size - 1
  end
  return first:sub(1, size)
end

local function offer(self, list)
  local width = term.size(OUT) or 80
  local widest, count = 0, math.min(#list, OFFERED)
  local texts = {}
  for i = 1, count do
    texts[i] = shown.safe(list[i])
    widest = math.max(widest, term.columns(texts[i]))
  end
  local across = math.max((width - 1) // (widest + 2), 1)
  local rows = {}
  for i = 1, count, across do
    local parts = {}
    for j = i, math.min(i + across - 1, count) do
      parts[#parts + 1] = texts[j] .. (" "):rep(widest + 2
        - term.columns(texts[j]))
    end
    rows[#rows + 1] = (table.concat(parts):gsub("%s+$", ""))
  end
  if #list > count then
    rows[#rows + 1] = ("… %d more"):format(#list - count)
  end
  local at, text = self.at, self.text
  leave(self)
  self.at, self.text = at, text
  term.write(OUT, table.concat(rows, "\n") .. "\n")
end

local function tab(self)
  if self.text:sub(line_begin(self), self.at - 1):find "^%s*$" then
    return put(self, "  ")
  end
  local from, list = self.complete(self.text, self.at)
  if not from or #list == 0 then return end
  local head = common(list)
  if #head > self.at - from or #list == 1 then
    remove(self, from, self.at)
    put(self, head)
  elseif self.last_key == "tab" then
    offer(self, list)
  end
end

-- ------------------------------------------------------------------
-- Searching
-- ------------------------------------------------------------------

local function seek(self, from)
  local s = self.searching
  for i = from, 1, -1 do
    local line = self.history.lines[i]
    local at = line:find(s.text, 1, true)
    if at then
      self.place, self.text, self.at, s.failed = i, line, at, false
      return
    end
  end
  s.failed = true
end

-- True: the key was meant for the search.
local function search(self, name, text)
  local s = self.searching
  if text then
    s.text = s.text .. text
    seek(self, math.min(self.place, #self.history.lines))
  elseif name == "C-r" then
    seek(self, self.place - 1)
  elseif name == "backspace" then
    s.text = s.text:sub(1, before(s.text, #s.text + 1) - 1)
    seek(self, #self.history.lines)
  elseif name == "C-g" or name == "escape" then
    self.text, self.at, self.place = s.before, s.at, s.place
    self.searching = nil
  else
    self.searching = nil
    return false
  end
  return true
end

-- ------------------------------------------------------------------
-- Keys
-- ------------------------------------------------------------------

local act = {}

act.left = function(self) self.at = before(self.text, self.at) end
act.right = function(self) self.at = behind(self.text, self.at) end
act.home = function(self) self.at = line_begin(self) end
act["end"] = function(self) self.at = line_end(self) end
act.up = function(self) if not move(self, -1) then recall(self, -1) end end
act.down = function(self) if not move(self, 1) then recall(self, 1) end end
act["word-left"] = function(self) self.at = word_begin(self) end
act["word-right"] = function(self) self.at = word_end(self) end
act["C-p"] = function(self) recall(self, -1) end
act["C-n"] = function(self) recall(self, 1) end
act["C-k"] = function(self)
  local last = line_end(self)
  remove(self, self.at, last > self.at and last or last + 1, true)
end
act["C-u"] = function(self) remove(self, line_begin(self), self.at, true) end
act["C-w"] = function(self)
  remove(self, word_begin(self, "()%S*%s*$"), self.at, true)
end
act["M-backspace"] = function(self)
  remove(self, word_begin(self), self.at, true)
end
act["M-d"] = function(self) remove(self, self.at, word_end(self), true) end
act["C-y"] = function(self) put(self, self.killed) end
act["M-enter"] = function(self) put(self, "\n") end
act["C-l"] = function(self)
  term.write(OUT, "\27[H\27[2J")
  self.drawn = nil
end
act["C-r"] = function(self)
  self.searching = { text = "", before = self.text, at = self.at,
    place = self.place }
end
act.tab = tab
act.backspace = function(self)
  remove(self, before(self.text, self.at), self.at)
end
act.delete = function(self)
  remove(self, self.at, behind(self.text, self.at))
end

for key, other in pairs { ["C-b"] = "left", ["C-f"] = "right",
  ["C-a"] = "home", ["C-e"] = "end", ["M-b"] = "word-left",
  ["M-f"] = "word-right", ["C-h"] = "backspace" } do
  act[key] = act[other]
end

-- The next key; nil and a signal, or "end".
local function key(self)
  while true do
    local name, text, rest = keys.take(self.bytes, false)
    local how
    if not rest then
      how = self.wait(self.bytes ~= "" and ESCAPE or nil)
      if how == "time" and self.bytes ~= "" then
        name, text, rest = keys.take(self.bytes, true)
      end
    end
    if rest then
      self.bytes = rest
      return name or "text", text
    elseif how == "input" then
      local more = term.read(IN)
      if not more or more == "" then return nil, "end" end
      self.bytes = self.bytes .. more
    elseif how ~= "time" and how ~= "ready" then
      return nil, how
    end
  end
end

local function paste(self)
  while true do
    local text, rest = keys.pasted(self.bytes)
    if text then
      self.bytes = rest
      return put(self, text)
    end
    local how = self.wait()
    local more = how == "input" and term.read(IN) or ""
    if how == "input" and more == "" then return end
    self.bytes = self.bytes .. more
  end
end

-- Whether Enter ends it: a line in the middle is split instead only when more
-- are needed.
local function enter(self)
  if self.ends(self.text) then return true end
  put(self, "\n")
  return false
end

local function edit(self)
  while true do
    self:show()
    local name, text = key(self)
    if not name then
      if text == "WINCH" then goto again end
      if text == "INT" and self.text ~= "" then
        leave(self)
        self.text, self.at, self.place = "", 1, #self.history.lines + 1
        goto again
      end
      return nil, text
    end
    if self.searching and search(self, name, text) then
      goto continue
    elseif text then
      put(self, text)
    elseif name == "enter" then
      if enter(self) then return self.text end
    elseif name == "paste" then
      paste(self)
    elseif name == "C-d" then
      if self.text == "" then return nil, "end" end
      act.delete(self)
    elseif act[name] then
      act[name](self)
    end
    ::continue::
    self.last_key = name
    ::again::
  end
end

--- Reads one: a text; or nil and "end", or the name of a signal.
---@return string? text
---@return string? why
function editor:read()
  self.text, self.at, self.place = "", 1, #self.history.lines + 1
  self.draft, self.searching = nil, nil
  term.keys(IN, true)
  term.write(OUT, "\27[?2004h")
  self.active = true
  local good, text, why = pcall(edit, self)
  if good then leave(self) end
  self.active = false
  term.write(OUT, "\27[?2004l")
  term.keys(IN, false)
  if not good then error(text, 0) end
  if text then self.history:add(text) end
  return text, why
end

return editor
