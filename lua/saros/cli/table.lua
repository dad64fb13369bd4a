---@private
-- Rows in columns. What does not fit is cut in the last column, and where that
-- is not enough in the others that may be cut; nothing is cut where the output
-- is no terminal.

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

-- Takes from the widest of those that may be cut, until all fit.
local function squeeze(widths, columns, room)
  local sum = 2 * (#columns - 1)
  for _, w in ipairs(widths) do sum = sum + w end
  while sum > room do
    local widest
    for i, column in ipairs(columns) do
      if (column.cut or i == #columns) and widths[i] > 4
        and (not widest or widths[i] > widths[widest])
      then
        widest = i
      end
    end
    if not widest then return end
    widths[widest], sum = widths[widest] - 1, sum - 1
  end
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

--- Writes them to the output of a context.
function tables.write(c, rows, columns)
  if #rows == 0 then return end
  local texts, widths = measured(rows, columns)
  if c.screen.out_terminal then squeeze(widths, columns, c.width - 1) end
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
