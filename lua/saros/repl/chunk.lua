---@private
-- A line of the prompt as a function. Local variables of a line are there in
-- the next ones, as variables and not as copies: what closes over one goes on
-- sharing it.
--
-- A line is compiled inside a function that declares the locals it names, and
-- those are joined with the ones of earlier lines. What it declares itself, at
-- its top level, it hands over by a function that closes over it.

local chunk = {}

-- ------------------------------------------------------------------
-- Tokens
-- ------------------------------------------------------------------

local keywords <const> = {}
for word in ([[and break do else elseif end false for function goto if in local
  nil not or repeat return then true until while]]):gmatch "%a+" do
  keywords[word] = true
end

-- Where a long bracket that begins at `at` ends; nil: it does not.
local function long_end(text, at)
  local equals = text:match("^%[(=*)%[", at)
  local _, last = text:find("]" .. equals .. "]", at, true)
  return last
end

local function quoted_end(text, at)
  local quote = text:sub(at, at)
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == quote then return i end
    if c == "\\" then i = i + 1 elseif c == "\n" then return nil end
    i = i + 1
  end
end

--- The words of a text: { kind, text, from, to }, of kinds "name", "keyword",
--- "string", "number" and "sign". One that does not end has `open`.
---@return table[]
function chunk.tokens(text)
  local list, at = {}, 1
  local function add(kind, last)
    local open = last == nil
    last = last or #text
    list[#list + 1] = { kind = kind, text = text:sub(at, last), from = at,
      to = last, open = open or nil }
    at = last + 1
  end
  while true do
    at = text:match("^%s*()", at)
    if at > #text then return list end
    local name = text:match("^[%a_][%w_]*", at)
    if name then
      add(keywords[name] and "keyword" or "name", at + #name - 1)
    elseif text:find("^%-%-%[=*%[", at) then
      local last = long_end(text, at + 2)
      if not last then
        add("string", nil) -- a comment that does not end
        return list
      end
      at = last + 1
    elseif text:find("^%-%-", at) then
      at = text:match("^[^\n]*()", at)
    elseif text:find("^%[=*%[", at) then
      add("string", long_end(text, at))
    elseif text:find("^[\"']", at) then
      add("string", quoted_end(text, at))
    elseif text:find("^%.?%d", at) then
      local _, last = text:find("^0[xX][%x.]*", at)
      if last then
        local _, exponent = text:find("^[pP][+-]?%d*", last + 1)
        last = exponent or last
      else
        _, last = text:find("^[%d.]*", at)
        local _, exponent = text:find("^[eE][+-]?%d*", last + 1)
        last = exponent or last
      end
      add("number", last)
    else
      local sign = text:match("^%.%.%.", at) or text:match("^[=~<>]=", at)
        or text:match("^[.:/<>][.:/<>]", at)
      if sign and not (sign == ".." or sign == "::" or sign == "//"
        or sign == "<<" or sign == ">>" or #sign == 3 or sign:find "=$") then
        sign = nil
      end
      add("sign", at + #(sign or "x") - 1)
    end
  end
end

-- ------------------------------------------------------------------
-- await
-- ------------------------------------------------------------------

local closing <const> = { ["("] = ")", ["{"] = "}", ["["] = "]" }

-- The token behind a bracket that begins at token i; nil: it does not end.
local function behind_bracket(tokens, i)
  local depth = 0
  for j = i, #tokens do
    local text = tokens[j].kind == "sign" and tokens[j].text or ""
    if closing[text] then depth = depth + 1 end
    if text == ")" or text == "}" or text == "]" then depth = depth - 1 end
    if depth == 0 then return j + 1 end
  end
end

-- The token behind what can be called, beginning with a name at token i.
local function behind_operand(tokens, i)
  i = i + 1
  while tokens[i] do
    local t, following = tokens[i], tokens[i + 1]
    if t.kind == "string" then
      i = i + 1
    elseif t.kind == "sign" and closing[t.text] then
      i = behind_bracket(tokens, i)
      if not i then return nil end
    elseif (t.text == "." or t.text == ":") and following
      and following.kind == "name"
    then
      i = i + 2
    else
      break
    end
  end
  return i
end

--- `await x.y { … }` as a call, which Lua understands.
---@return string
function chunk.awaiting(text)
  if not text:find("await", 1, true) then return text end
  local tokens, places = chunk.tokens(text), {}
  for i, t in ipairs(tokens) do
    local before, following = tokens[i - 1], tokens[i + 1]
    if t.kind == "name" and t.text == "await" and following
      and following.kind == "name"
      and not (before and (before.text == "." or before.text == ":"
        or before.text == "function" or before.text == "local"))
    then
      local behind = behind_operand(tokens, i + 1)
      places[#places + 1] = { t.to, "(" }
      if behind then places[#places + 1] = { tokens[behind - 1].to, ")" } end
    end
  end
  table.sort(places, function(a, b) return a[1] < b[1] end)
  for i = #places, 1, -1 do
    local at, what = table.unpack(places[i])
    text = text:sub(1, at) .. what .. text:sub(at + 1)
  end
  return text
end

-- ------------------------------------------------------------------
-- Locals
-- ------------------------------------------------------------------

local opens <const> = { ["function"] = 1, ["do"] = 1, ["if"] = 1,
  ["repeat"] = 1, ["end"] = -1, ["until"] = -1 }

-- The names that a `local` at token i declares: { name, attribute }.
local function declared(tokens, i)
  local names, attribute = {}, nil
  i = i + 1
  if tokens[i] and tokens[i].text == "function" then
    return { { tokens[i + 1].text } }
  end
  if tokens[i] and tokens[i].text == "<" then -- of all of them: Lua 5.5
    attribute, i = tokens[i + 1].text, i + 3
  end
  while tokens[i] and tokens[i].kind == "name" do
    local one = { tokens[i].text, attribute }
    i = i + 1
    if tokens[i] and tokens[i].text == "<" then
      one[2], i = tokens[i + 1].text, i + 3
    end
    names[#names + 1] = one
    if not (tokens[i] and tokens[i].text == ",") then break end
    i = i + 1
  end
  return names
end

-- What is declared at the top level of a text that compiles, and where it is
-- handed over: before the next declaration, so that what follows may fail, and
-- before a `return`.
local function declarations(text)
  local tokens = chunk.tokens(text)
  local depth, places, names = 0, {}, {}
  local function place(at)
    if #names > 0 then places[#places + 1] = { at, names } end
    names = {}
  end
  local returns = false
  for i, t in ipairs(tokens) do
    if t.kind == "keyword" then
      depth = depth + (opens[t.text] or 0)
      if depth == 0 and t.text == "local" then
        place(t.from)
        names = declared(tokens, i)
      elseif depth == 0 and t.text == "return" then
        place(t.from)
        returns = true
      end
    end
  end
  if not returns then place(#text + 1) end
  return places, tokens
end

-- A name that neither the text uses nor an earlier line.
local function unused(self, tokens)
  local used, name = {}, "keep"
  for _, t in ipairs(tokens) do used[t.text] = true end
  while used[name] or self.boxes[name] do name = name .. "_" end
  return name
end

-- The text with all that is declared in it handed to `keep`.
local function handing(text, places, keep)
  local parts, at, close = {}, 1, {}
  for _, p in ipairs(places) do
    parts[#parts + 1] = text:sub(at, p[1] - 1)
    at = p[1]
    -- A comment may be in front of it.
    if at > #text then parts[#parts + 1] = "\n" end
    for _, one in ipairs(p[2]) do
      if one[2] == "close" then
        close[#close + 1] = one[1]
      else
        parts[#parts + 1] = (";%s(%q,function()return %s end,%s);"):format(keep,
          one[1], one[1], one[2] == "const")
      end
    end
  end
  parts[#parts + 1] = text:sub(at)
  return table.concat(parts), close
end

---@class saros.repl.locals
---@field boxes table<string, table> { getter, index }, or { value } of constants
local locals = {}
locals.__index = locals

--- The local variables of a session.
function chunk.locals() return setmetatable({ boxes = {} }, locals) end

--- What one has now.
function locals:get(name)
  local box = self.boxes[name]
  if not box then return nil end
  if box.constant then return box.value end
  return box.getter()
end

function locals:keep(name, getter, constant)
  if constant then
    self.boxes[name] = { constant = true, value = getter() }
    return
  end
  local i, found = 1, debug.getupvalue(getter, 1)
  while found and found ~= name do
    i = i + 1
    found = debug.getupvalue(getter, i)
  end
  self.boxes[name] = { getter = getter, index = i }
end

-- Those that a text names: what they are declared as, and constants' values.
local function named(self, tokens)
  local names, values, seen = {}, {}, {}
  local function add(name)
    local box = self.boxes[name]
    if not box or seen[name] then return end
    seen[name] = true
    names[#names + 1] = "," .. name .. (box.constant and "<const>" or "")
    values[#names] = box.value
  end
  add "_ENV" -- which no text names, and all use
  for _, t in ipairs(tokens) do
    if t.kind == "name" then add(t.text) end
  end
  return names, values
end

-- Compiles a text that is known to be one, with the locals of earlier lines.
local function enclosed(self, text, name)
  local places, tokens = declarations(text)
  local keep = unused(self, tokens)
  local names, values = named(self, tokens)
  local function made(body)
    return load(("local %s%s =...;return function(...)%s\nend"):format(keep,
      table.concat(names), body), name, "t")
  end
  local body, close = handing(text, places, keep)
  local maker, why = made(" " .. body)
  if not maker and #places > 0 then -- a goto over a declaration
    maker, why = made(" " .. text)
  end
  if not maker then return nil, why end
  local f = maker(function(...) return self:keep(...) end,
    table.unpack(values, 1, #names))
  local i, upvalue = 1, debug.getupvalue(f, 1)
  while upvalue do
    local box = self.boxes[upvalue]
    if box and not box.constant then
      debug.upvaluejoin(f, i, box.getter, box.index)
    end
    i = i + 1
    upvalue = debug.getupvalue(f, i)
  end
  return f, close
end

--- Compiles a line: a function, and the names of what it closes at its end; or
--- nil, what is wrong, and whether more lines may mend it.
---@param text string
---@param name string
function locals:compile(text, name)
  local expression = text:match "^%s*=%s*(.*)$"
  text = chunk.awaiting(expression and "return " .. expression or text)
  if not expression and load("return " .. text, name, "t") then
    text = "return " .. text
  else
    local ok, why = load(text, name, "t")
    if not ok then return nil, why, why:find "<eof>'?$" ~= nil
      and not why:find("unfinished string", 1, true) end
  end
  return enclosed(self, text, name)
end

return chunk
