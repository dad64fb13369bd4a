-- What the demo prints: headlines, what is run, and what came of it; coloured on
-- a terminal, plain elsewhere, and as wide as there is room.

local term = require "saros.term"

local STDOUT <const> = 1

local screen = {}

local is_terminal = term.isatty(STDOUT) and os.getenv "TERM" ~= "dumb"
local none = os.getenv "NO_COLOR"
local is_coloured = is_terminal and (none == nil or none == "")

-- It may be made wider or narrower meanwhile.
local function width()
  return math.max(20, math.min(is_terminal and term.size(STDOUT) or 80, 80))
end

local function paint(code, text)
  return is_coloured and ("\27[%sm%s\27[0m"):format(code, text) or text
end

-- Lines of at most so many columns; a word that is longer has one of its own.
local function folded(text, columns)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    local longer = line == "" and word or line .. " " .. word
    if line ~= "" and term.columns(longer) > columns then
      lines[#lines + 1], line = line, word
    else
      line = longer
    end
  end
  lines[#lines + 1] = line
  return lines
end

local function put(text)
  io.write(text, "\n")
  io.flush()
end

--- A headline.
function screen.head(text)
  put("\n" .. paint("1", table.concat(folded(text, width()), "\n")))
end

--- Sentences.
function screen.say(format, ...)
  put(table.concat(folded(format:format(...), width()), "\n"))
end

--- What somebody would type: what it says comes below.
function screen.command(text) put("\n" .. paint("36", "$ " .. text)) end

--- A file as it is.
function screen.file(text) put(paint("2", (text:gsub("\n$", "")))) end

local NAME <const> = 14

--- What is worth knowing in the end, beside its name or below it. nil: it is
--- neither good nor bad.
function screen.fact(good, name, format, ...)
  local mark = good and paint("32", "✓") or good == nil and "-"
    or paint("31", "✗")
  local room, text = width() - 3, format:format(...)
  if room < 60 then
    put(mark .. " " .. paint("1", name))
    put("  " .. table.concat(folded(text, room), "\n  "))
    return
  end
  local lines = folded(text, room - NAME - 1)
  put(("%s %s%s %s"):format(mark, paint("1", name),
    (" "):rep(NAME - term.columns(name)), lines[1]))
  for i = 2, #lines do put((" "):rep(NAME + 3) .. lines[i]) end
end

return screen
