---@private
-- Rows in columns. What does not fit is cut in the last column, and where that
-- is not enough in the others that may be cut; a column in which there is
-- nothing goes. Where that would leave too little to be read, each row is some
-- lines, one for each column. Nothing of it where the output is no terminal.

local screen = require "saros.cli.screen"
local shown = require "saros.text"
local term = require "saros.term"

local tables = {}

local function width_of(text)
  return text:find "[\x80-\xFF]" and term.columns(text) or #text
end

-- Texts that can be shown, and how wide each column has to be.
local function measured(rows, columns)
  local texts, widths = {}, {}
  for i, column in ipairs(columns) do widths[i] = width_of(column[1]) end
  for r, row in ipairs(rows) do
    local line = {}
    for i = 1, #columns do
      local text = shown.safe(row[i] == nil and "" or row[i])
      line[i] = text
      local width = width_of(text)
      if width > widths[i] then widths[i] = width end
    end
    texts[r] = line
  end
  return texts, widths
end

-- So much of a column that is cut stays.
local LEAST <const> = 8

-- Takes from the widest of those that may be cut, until all fit. False: they do
-- not.
local function squeeze(widths, columns, room)
  local sum = 2 * (#columns - 1)
  for _, w in ipairs(widths) do sum = sum + w end
  while sum > room do
    local widest
    for i, column in ipairs(columns) do
      if (column.cut or i == #columns) and widths[i] > LEAST
        and (not widest or widths[i] > widths[widest])
      then
        widest = i
      end
    end
    if not widest then return false end
    widths[widest], sum = widths[widest] - 1, sum - 1
  end
  return true
end

-- The columns in which there is something.
local function used(rows, columns)
  local some = {}
  for i, column in ipairs(columns) do
    local any = false
    for _, row in ipairs(rows) do
      any = any or row[i] ~= nil and row[i] ~= ""
    end
    if any then some[#some + 1] = { at = i, column = column } end
  end
  local less, kept = {}, {}
  for k, one in ipairs(some) do kept[k] = one.column end
  for r, row in ipairs(rows) do
    less[r] = {}
    for k, one in ipairs(some) do less[r][k] = row[one.at] end
  end
  return less, kept
end

local function line_of(row, columns, widths)
  local parts = {}
  for i, text in ipairs(row) do
    local width = width_of(text)
    if width > widths[i] then
      text = screen.fit(text, widths[i], columns[i].cut == "tail")
      width = width_of(text)
    end
    local fill = (" "):rep(widths[i] - width)
    if columns[i].right then
      text = fill .. text
    elseif i < #columns then
      text = text .. fill
    end
    parts[i] = text
  end
  return (table.concat(parts, "  "):gsub("%s+$", ""))
end

-- A row in lines, each with the title of its column.
local function stacked(texts, columns, room)
  local most, lines = 0, {}
  for _, column in ipairs(columns) do
    most = math.max(most, width_of(column.called or column[1]))
  end
  local indent = (" "):rep(most + 2)
  for r, row in ipairs(texts) do
    if r > 1 then lines[#lines + 1] = "" end
    for i, column in ipairs(columns) do
      if row[i] ~= "" then
        local more = screen.wrap(row[i], indent, math.max(room, most + 10))
        local title = column.called or column[1]
        more[1] = title .. more[1]:sub(#title + 1)
        table.move(more, 1, #more, #lines + 1, lines)
      end
    end
  end
  return lines
end

--- Writes them to the output of a context.
function tables.write(c, rows, columns)
  if #rows == 0 then return end
  local texts, widths = measured(rows, columns)
  local room = c.width - 1
  if c.screen.out_terminal and not squeeze(widths, columns, room) then
    rows, columns = used(rows, columns)
    texts, widths = measured(rows, columns)
    if not squeeze(widths, columns, room) then
      c:write(table.concat(stacked(texts, columns, room), "\n") .. "\n")
      return
    end
  end
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column[1] end
  local lines = { line_of(titles, columns, widths) }
  for i, row in ipairs(texts) do
    lines[i + 1] = line_of(row, columns, widths)
  end
  lines[#lines + 1] = ""
  c:write(table.concat(lines, "\n"))
end

return tables
