--- What a terminal shows of what was written to it: as much of one as a line
--- editor and progress lines need.

local term = require "saros.term"

local screen = {}
screen.__index = screen

--- One of so many columns.
function screen.new(columns)
  return setmetatable({ columns = columns, cells = { {} }, row = 1, column = 1,
    rest = "" }, screen)
end

local function line_of(self, row)
  while #self.cells < row do self.cells[#self.cells + 1] = {} end
  return self.cells[row]
end

local function put(self, char)
  local width = term.columns(char)
  local line = line_of(self, self.row)
  if width == 0 then -- joined to the one before
    local at = math.max(self.column - 1, 1)
    line[at] = (line[at] or "") .. char
    return
  end
  if self.column + width - 1 > self.columns then
    self.row, self.column = self.row + 1, 1
    line = line_of(self, self.row)
  end
  line[self.column] = char
  for i = 1, width - 1 do line[self.column + i] = "" end
  self.column = self.column + width
end

local function erase(self, from)
  local line = line_of(self, self.row)
  for i = from, self.columns do line[i] = nil end
end

local act = {
  A = function(self, n) self.row = math.max(self.row - n, 1) end,
  B = function(self, n) self.row = self.row + n end,
  C = function(self, n)
    self.column = math.min(self.column + n, self.columns)
  end,
  H = function(self) self.row, self.column = 1, 1 end,
  K = function(self) erase(self, self.column) end,
  J = function(self, _, given)
    if given == "2" then
      self.cells = { {} }
    else
      erase(self, self.column)
      for i = #self.cells, self.row + 1, -1 do self.cells[i] = nil end
    end
  end,
}

--- Writes to it; what is no whole sequence yet waits for the rest.
function screen:feed(bytes)
  bytes = self.rest .. bytes
  local at = 1
  while at <= #bytes do
    local c = bytes:sub(at, at)
    if c == "\27" then
      local given, final, behind = bytes:match("^\27%[([%d;?]*)(%a)()", at)
      if not final then break end
      if act[final] then act[final](self, tonumber(given) or 1, given) end
      at = behind
    elseif c == "\r" then
      self.column, at = 1, at + 1
    elseif c == "\n" then
      self.row, at = self.row + 1, at + 1
      line_of(self, self.row)
    elseif c < " " then
      at = at + 1
    else
      local char = bytes:match("^[\0-\x7F\xC2-\xF4][\x80-\xBF]*", at) or c
      if at + #char > #bytes and not utf8.len(char) then break end
      put(self, char)
      at = at + #char
    end
  end
  self.rest = bytes:sub(at)
end

--- Its rows, as texts.
function screen:rows()
  local rows = {}
  for i, line in ipairs(self.cells) do
    local last = 0
    for column in pairs(line) do last = math.max(last, column) end
    local parts = {}
    for column = 1, last do parts[column] = line[column] or " " end
    rows[i] = (table.concat(parts):gsub(" +$", ""))
  end
  return rows
end

--- All of it.
function screen:text() return table.concat(self:rows(), "\n") end

return screen
