---@private
-- What is written, and where: results to the output, everything else to the
-- error output, progress below it, or, where a pipe has the results, before the
-- first of them. One write each time, so that nothing flickers, and what a pipe
-- is is never drawn on.

local shown = require "saros.text"
local term = require "saros.term"

local OUT <const>, ERR <const> = 1, 2
local ENOUGH <const> = 32768

---@class saros.cli.screen
---@field terminal boolean the error output is a terminal that can be drawn on
---@field width integer columns
---@field rows integer
---@field out_terminal boolean the output is a terminal
---@field is_known boolean the error output is one, and says how wide it is
---@field color boolean
local screen = {}
screen.__index = screen

function screen.new(quiet)
  local self = setmetatable({ quiet = quiet, kept = {}, size = 0,
    width = 80 }, screen)
  local able = os.getenv "TERM" ~= "dumb" and os.getenv "TERM" ~= nil
  self.terminal = able and term.isatty(ERR)
  self.out_terminal = term.isatty(OUT)
  self.out_pipe = term.is_pipe(OUT)
  local none = os.getenv "NO_COLOR"
  self.color = self.terminal and (none == nil or none == "")
  self:measure()
  return self
end

--- How large it is now.
function screen:measure()
  local columns, rows = term.size(self.out_terminal and OUT or ERR)
  self.is_known = columns ~= nil and term.isatty(ERR)
  columns = columns or math.tointeger(tonumber(os.getenv "COLUMNS"))
  self.width = math.max(columns or 80, 10)
  -- One that does not know how high it is says 0.
  self.rows = rows and rows > 0 and rows or 24
end

-- Who reads has gone, or the disk is full.
local function check(self, ok, why, number)
  if ok or self.lost then return end
  self.lost = why
  self.gone = number == term.EPIPE
end

--- Writes what was kept.
function screen:flush()
  if #self.kept == 0 then return end
  local text = table.concat(self.kept)
  self.kept, self.size = {}, 0
  if self.lost then return end
  if self.out_terminal or self.out_pipe then self:hide() end
  -- Who reads a pipe writes on this terminal when he likes.
  self.shared = self.out_pipe
  check(self, term.write(OUT, text))
end

--- To the output. False: nobody reads it.
function screen:out(text)
  self.kept[#self.kept + 1] = text
  self.size = self.size + #text
  if self.size > ENOUGH then self:flush() end
  return not self.lost
end

--- A line for people, above the progress.
function screen:say(text, as_it_is)
  if self.quiet then return end
  self:tell(text, as_it_is)
end

--- The same, also with --quiet. On a terminal it goes on between words.
---@param as_it_is? boolean it is to be copied, such as a command
function screen:tell(text, as_it_is)
  self:flush()
  if self.is_known and not as_it_is then
    text = table.concat(screen.wrap(text, "", self.width - 1), "\n")
  end
  local before = self:erasing()
  self.drawn = nil
  term.write(ERR, before .. text .. "\n")
end

-- ------------------------------------------------------------------
-- What is drawn again and again
-- ------------------------------------------------------------------

-- How many rows lines take that were drawn when it was another width.
local function rows_of(widths, width)
  local rows = 0
  for _, w in ipairs(widths) do
    rows = rows + math.max(1, (w + width - 1) // width)
  end
  return rows
end

-- To the beginning of what was drawn, and what takes it away.
function screen:erasing(keep)
  if not self.drawn then return "" end
  -- What has left it at the top cannot be reached any more.
  local up = math.min(rows_of(self.drawn, self.width), self.rows) - 1
  return "\r" .. (up > 0 and ("\27[%dA"):format(up) or "")
    .. (keep and "" or "\27[J")
end

--- Shows these lines below everything else; they take the place of those that
--- were shown before.
function screen:draw(lines)
  if self.shared or not term.is_ours(ERR) then return end -- or a shell's now
  local key = table.concat(lines, "\n")
  if self.drawn and key == self.key then return end
  local back = self:erasing(true)
  local widths, parts = {}, { back }
  for i, line in ipairs(lines) do
    local plain = line:gsub("\27%[[%d;]*m", "")
    widths[i] = term.columns(plain)
    parts[#parts + 1] = line .. "\27[K" .. (i < #lines and "\n" or "")
  end
  parts[#parts + 1] = "\27[J"
  if self.out_terminal then self:flush() end
  term.write(ERR, table.concat(parts))
  self.drawn, self.key = #lines > 0 and widths or nil, key
end

--- Ctrl-Z: what is drawn goes, until somebody goes on with the program.
function screen:suspend()
  self:flush()
  self:hide()
  term.suspend()
  self:measure()
end

--- Takes them away.
function screen:hide()
  if not self.drawn then return end
  local text = self:erasing()
  self.drawn = nil
  term.write(ERR, text)
end

-- ------------------------------------------------------------------
-- Texts that fit
-- ------------------------------------------------------------------

--- A text, cut to so many columns; its end is kept when `tail`.
function screen.fit(text, columns, tail)
  text = shown.safe(text)
  if #text <= columns or term.columns(text) <= columns then return text end
  if columns <= 1 then return ("…"):rep(math.max(columns, 0)) end
  if not tail then return term.fit(text, columns - 1) .. "…" end
  local at = #text
  local best = at
  while at > 1 do
    at = utf8.offset(text, -1, at + 1) or at - 1
    if term.columns(text:sub(at)) > columns - 1 then break end
    best, at = at, at - 1
  end
  return "…" .. text:sub(best)
end

-- One that is longer than it may be; what it goes on with is further in.
local function break_row(lines, row, room)
  local margin = row:match "^ *"
  local more = margin == "" and "" or margin .. "  "
  local line, used = "", 0
  for gap, word in row:gmatch "( *)([^ ]+)" do
    local width = #gap + term.columns(word)
    if line:find "%S" and used + width > room then
      lines[#lines + 1] = line
      line, used = more .. word, #more + term.columns(word)
    else
      line, used = line .. gap .. word, used + width
    end
  end
  lines[#lines + 1] = line
end

--- Lines of a text in so many columns, broken between words alone.
---@param indent? string of each line
function screen.wrap(text, indent, columns)
  local lines = {}
  indent = indent or ""
  for row in (text .. "\n"):gmatch "([^\n]*)\n" do
    if #row <= columns - #indent then
      lines[#lines + 1] = row
    else
      break_row(lines, row, columns - #indent)
    end
  end
  for i, line in ipairs(lines) do
    lines[i] = line ~= "" and indent .. line or ""
  end
  return lines
end

--- Filled up to so many columns.
function screen.pad(text, columns, right)
  local fill = (" "):rep(columns - term.columns(text))
  return right and fill .. text or text .. fill
end

return screen
