---@private
-- A value as the prompt shows it. Names and texts in it may be anybody's:
-- nothing of them reaches a terminal that could move its cursor.

local shown = require "saros.text"

local show = {}

local DEEP <const> = 4     -- tables in tables
local MOST <const> = 40    -- things in one of them
local LONG <const> = 1000  -- bytes of a text in one of them
local ROWS <const> = 200   -- of all of it

local function quoted(text, most)
  local rest = #text - most
  if rest > 0 then
    -- Not in the middle of a character.
    local last = most
    while last > most - 4 and (text:byte(last + 1) or 0) & 0xC0 == 0x80 do
      last = last - 1
    end
    text, rest = text:sub(1, last), #text - last
  end
  text = text:gsub("[\\\"]", "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t")
  text = '"' .. shown.safe(text) .. '"'
  return rest > 0 and ("%s… %d more bytes"):format(text, rest) or text
end

local function of_function(f)
  local about = debug.getinfo(f, "Su")
  if about.what == "C" then return "function (in C)" end
  local names = {}
  for i = 1, about.nparams do names[i] = debug.getlocal(f, i) end
  if about.isvararg then names[#names + 1] = "..." end
  return ("function(%s)  %s:%d"):format(table.concat(names, ", "),
    shown.safe(about.short_src), about.linedefined)
end

-- What a metatable says, which may be wrong. Nil: it says nothing.
local function described(value)
  local meta = debug.getmetatable(value)
  if type(meta) ~= "table" or rawget(meta, "__tostring") == nil then
    return nil
  end
  local good, text = pcall(tostring, value)
  if good then return shown.lines(text) end
  return ("(its __tostring failed: %s)"):format(shown.safe(text))
end

local text_of

local function name_of(key)
  if type(key) == "string" then
    if key:find "^[%a_][%w_]*$" then return key end
    return "[" .. quoted(key, LONG) .. "]"
  end
  if math.type(key) then return "[" .. tostring(key) .. "]" end
  return "[" .. shown.safe(text_of(key)) .. "]"
end

-- For an order, whatever its metatable does.
function text_of(value)
  local good, text = pcall(tostring, value)
  return good and text or type(value)
end

-- Names in order, of each type by itself; what is in the list is left out.
local function keys_of(value, listed)
  local keys = {}
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= listed) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    local ta, tb = type(a), type(b)
    if ta ~= tb then return ta < tb end
    if ta == "number" or ta == "string" then return a < b end
    return text_of(a) < text_of(b)
  end)
  return keys
end

local of_value

local function of_table(value, state, indent, depth)
  if state.open[value] then return "{ … itself }" end
  if depth > DEEP then return next(value) == nil and "{}" or "{ … }" end
  state.open[value] = true
  local listed, parts = 0, {}
  while rawget(value, listed + 1) ~= nil do listed = listed + 1 end
  local function add(text, sub) parts[#parts + 1] = text .. of_value(sub, state,
    indent .. "  ", depth + 1) end
  for i = 1, math.min(listed, MOST) do add("", rawget(value, i)) end
  local left = math.max(listed - MOST, 0)
  for _, key in ipairs(keys_of(value, listed)) do
    if #parts >= MOST then
      left = left + 1
    else
      add(name_of(key) .. " = ", rawget(value, key))
    end
  end
  if left > 0 then parts[#parts + 1] = ("… %d more"):format(left) end
  state.open[value] = nil
  if #parts == 0 then return "{}" end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if not line:find "\n" and utf8.len(line) + #indent <= state.width then
    return line
  end
  return ("{\n%s  %s,\n%s}"):format(indent, table.concat(parts, ",\n" .. indent
    .. "  "), indent)
end

function of_value(value, state, indent, depth)
  local kind = type(value)
  local text = described(value)
  if text then
    -- In a table the first line says enough.
    return depth > 1 and text:match "^[^\n]*" or text
  end
  if kind == "string" then
    return quoted(value, depth > 1 and LONG // 4 or LONG * 100)
  end
  if kind == "table" then return of_table(value, state, indent, depth) end
  if kind == "function" then return of_function(value) end
  return shown.safe(tostring(value))
end

local function cut(text)
  local at, rows = 0, 0
  repeat
    at = text:find("\n", at + 1, true)
    rows = rows + 1
  until not at or rows == ROWS
  if not at then return text end
  local _, more = text:sub(at + 1):gsub("\n", "")
  return ("%s\n… %d more lines"):format(text:sub(1, at - 1), more + 1)
end

--- One value.
---@param value any
---@param width? integer columns
---@return string
function show.value(value, width)
  return cut(of_value(value, { open = {}, width = width or 80 }, "", 1))
end

--- What a line resulted in; "" when that is nothing.
---@param results table packed
---@param width? integer
function show.results(results, width)
  local texts, rows = {}, false
  for i = 1, results.n do
    texts[i] = show.value(results[i], width)
    rows = rows or texts[i]:find("\n", 1, true) ~= nil
  end
  return table.concat(texts, rows and "\n" or "  ")
end

return show
