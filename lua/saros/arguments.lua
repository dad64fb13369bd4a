---@private
-- What a script gives to functions that take options: checked before anything is
-- begun, with messages that say what there is to be given.

local arguments = {}

-- How far two words are from each other, in letters: one that is missing, too
-- many or another one, or two that changed places.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, above = { [0] = i }, rows[i - 1]
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + same)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1)
        and a:byte(i - 1) == b:byte(j)
      then
        row[j] = math.min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

-- The one of a list that was probably meant.
local function nearest(wrong, names)
  local near, least = nil, 3
  for _, name in ipairs(names) do
    -- What is much longer is no slip of the pen, and would take its time.
    local d = math.abs(#wrong - #name) < least and distance(wrong, name)
    if d and d < least then near, least = name, d end
  end
  return near
end

--- "; 'location' perhaps?", or nothing, when none of the names is near.
function arguments.nearest(wrong, names)
  local near = nearest(wrong, names)
  return near and "; '" .. near .. "' perhaps?" or ""
end

-- What was probably meant, and all that there is.
local function known_names(wrong, kinds)
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  table.sort(names)
  local near = nearest(wrong, names)
  return (near and "; '" .. near .. "' perhaps?" or ".") .. " It takes "
    .. table.concat(names, ", ")
end

local function quoted(values)
  local list = {}
  for i, value in ipairs(values) do list[i] = ("%q"):format(value) end
  if #list == 1 then return list[1] end
  return table.concat(list, ", ", 1, #list - 1) .. " or " .. list[#list]
end

local words = { list = "a text or a list of texts", integer = "whole number",
  bytes = "string" }

local function expected(kind)
  if type(kind) == "table" then return quoted(kind) end
  local list = {}
  for word in kind:gmatch "[^|]+" do list[#list + 1] = words[word] or word end
  return table.concat(list, " or ")
end

-- What C would take for the end of the text: another path than was meant.
local NO_NUL = "a text without NUL bytes expected"

local function has_nul(text) return text:find("\0", 1, true) ~= nil end

-- A list of texts as C takes it, or what is wrong with it.
local function list_of(item)
  if type(item) == "string" then item = { item } end
  local copy = {}
  for i, text in ipairs(item) do
    if type(text) ~= "string" then
      return nil, ("[%d]: string expected, got %s"):format(i, type(text))
    end
    if has_nul(text) then return nil, ("[%d]: %s"):format(i, NO_NUL) end
    copy[i] = text
  end
  for key in pairs(item) do
    if copy[key] == nil then
      return nil, ("a list of texts expected, with nothing called '%s'")
        :format(tostring(key))
    end
  end
  return copy
end

local function is_one_of(item, values)
  for _, value in ipairs(values) do
    if item == value then return true end
  end
  return false
end

-- The item as it is passed on; nil and what was expected, or nil and what is
-- wrong with it.
local function taken(item, kind)
  if type(kind) == "table" then
    if is_one_of(item, kind) then return item end
    return nil
  end
  local is = type(item)
  for word in kind:gmatch "[^|]+" do
    if word == is then
      if is == "string" and has_nul(item) then return nil, NO_NUL end
      return item
    end
    if word == "bytes" and is == "string" then return item end
    if word == "integer" and is == "number" then
      return math.tointeger(item)
    end
    if word == "list" and (is == "string" or is == "table") then
      return list_of(item)
    end
  end
  return nil
end

local function shown(item)
  local is = type(item)
  if is == "string" then return ("%q"):format(item) end
  return is == "number" and tostring(item) or is
end

-- A copy of the options, as they are passed on; or nil, and what is wrong.
local function checked(what, options, kinds)
  if type(options) ~= "table" then
    return nil, ("%s: a table of options expected, got %s")
      :format(what, type(options))
  end
  local given = {}
  for name, item in pairs(options) do
    local kind = kinds[name]
    if not kind then
      return nil, ("%s has no option '%s'%s"):format(what, tostring(name),
        known_names(tostring(name), kinds))
    end
    local value, wrong = taken(item, kind)
    if wrong then
      return nil, ("%s: option '%s'%s%s"):format(what, name,
        wrong:sub(1, 1) == "[" and "" or ": ", wrong)
    end
    if value == nil then
      local got = type(item)
      if type(kind) == "table" or kind == "integer" then got = shown(item) end
      return nil, ("%s: option '%s': %s expected, got %s"):format(what, name,
        expected(kind), got)
    end
    given[name] = value
  end
  return given
end

--- Checks the options of a function that is called `what`. A kind is a Lua
--- type, "integer", "bytes" (a string that may have NULs in it), "list" (of
--- texts; one text will do), several of them with `|`, or a table of the values that there are. Raises as `error` does with a
--- level: by default in the script's line, where somebody called the function
--- that calls this one (a tail call counts for none).
function arguments.check(what, options, kinds, level)
  local given, wrong = checked(what, options == nil and {} or options, kinds)
  if given then return given end
  error(wrong, level or 3)
end

--- Raises in the same way when an option is not there.
function arguments.need(what, options, name, example, level)
  if options[name] == nil then
    error(("%s: option '%s' is missing: %s"):format(what, name, example),
      level or 3)
  end
end

return arguments
