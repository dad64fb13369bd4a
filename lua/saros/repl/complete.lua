---@private
-- What Tab offers: names, fields, options of a call, files in a text. Nothing
-- of the session is called for it.

local chunk = require "saros.repl.chunk"
local help = require "saros.repl.help"
local term = require "saros.term"

local complete = {}

local commands <const> = { ":help", ":quit", ":tour", ":trace" }

local words <const> = { "and", "await", "break", "do", "else", "elseif", "end",
  "false", "for", "function", "goto", "if", "in", "local", "nil", "not", "or",
  "repeat", "return", "then", "true", "until", "while" }

local function is_name(text)
  return type(text) == "string" and text:find "^[%a_][%w_]*$" ~= nil
end

-- Those of a set that begin so, in order.
local function beginning(set, head)
  local list = {}
  for name in pairs(set) do
    if name:sub(1, #head) == head then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- ------------------------------------------------------------------
-- Values
-- ------------------------------------------------------------------

-- A field, of what is there: nobody's function is called but that of `saros`,
-- which loads its parts.
local function field(value, name, depth)
  if type(value) == "table" then
    local found = rawget(value, name)
    if found ~= nil then return found end
    if rawequal(value, package.loaded.saros) then return value[name] end
  end
  local meta = debug.getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) == "table" and (depth or 0) < 8 then
    return field(index, name, (depth or 0) + 1)
  end
end

-- What a path of names is now: "saros.vss".
local function valued(session, names)
  local value = session.locals:get(names[1])
  if value == nil then value = rawget(session.env, names[1]) end
  for i = 2, #names do
    if value == nil then return nil end
    value = field(value, names[i])
  end
  return value
end

local function add_keys(set, value, methods, depth)
  if type(value) == "table" then
    for key, item in next, value do
      if is_name(key) and not key:find "^__"
        and (not methods or type(item) == "function") then
        set[key] = true
      end
    end
  end
  local meta = debug.getmetatable(value)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) == "table" and depth < 8 then
    add_keys(set, index, methods, depth + 1)
  end
end

-- Under which name a module was loaded.
local function module_of(value)
  for name, loaded in pairs(package.loaded) do
    if rawequal(loaded, value) and type(name) == "string"
      and name:find "^saros" then
      return name
    end
  end
end

local function fields_of(value, methods)
  local set = {}
  add_keys(set, value, methods, 0)
  local name = help.class_of(value) or module_of(value)
  local class = name and help.known().classes[name]
  if class then
    for _, f in ipairs(class.functions) do set[f.name] = true end
    for _, one in ipairs(methods and {} or class.fields) do
      if is_name(one.name) then set[one.name] = true end
    end
  end
  return set
end

-- ------------------------------------------------------------------
-- Where the cursor is
-- ------------------------------------------------------------------

-- The names of a path that ends with token i, and whether the last is a method.
local function path_before(tokens, i)
  local names, method = {}, false
  while tokens[i] and tokens[i].kind == "name" do
    table.insert(names, 1, tokens[i].text)
    local sign = tokens[i - 1] and tokens[i - 1].text
    if sign ~= "." and sign ~= ":" then break end
    if sign == ":" then method = true end
    i = i - 2
  end
  -- Of what a call gives nothing is known.
  if tokens[i] and tokens[i].kind ~= "name" then return nil end
  return names, method
end

-- The call in whose table the cursor is: names of a path, and whether it is a
-- method's; nil: in none.
local function enclosing(tokens)
  local depth = 0
  for i = #tokens, 1, -1 do
    local text = tokens[i].kind == "sign" and tokens[i].text or ""
    if text == "}" or text == ")" or text == "]" then depth = depth + 1 end
    if text == "{" or text == "(" or text == "[" then
      if depth == 0 then
        if text ~= "{" then return nil end
        local at = i - 1
        if tokens[at] and tokens[at].text == "(" then at = at - 1 end
        return path_before(tokens, at)
      end
      depth = depth - 1
    end
  end
end

-- The functions that may be meant by a path.
local function functions_of(session, names, method)
  local last = names[#names]
  local owner
  if #names > 1 then
    owner = valued(session, table.move(names, 1, #names - 1, 1, {}))
  end
  if method then
    local class = owner ~= nil and help.class_of(owner)
    local f = class and help.method(class, last)
    if f then return { f } end
  else
    local module = owner ~= nil and module_of(owner)
    local f = module and help.method(module, last)
    if f then return { f } end
  end
  if not method then
    local f = help.named("saros." .. table.concat(names, "."))
    return { f }
  end
  local list = {}
  for _, class in pairs(help.known().classes) do
    for _, f in ipairs(class.functions) do
      if f.name == last and f.method then list[#list + 1] = f end
    end
  end
  return list
end

local function options_of(session, names, method)
  local set = {}
  for _, f in ipairs(functions_of(session, names, method)) do
    for _, p in ipairs(f.params) do
      local class = help.known().classes[(p.type:gsub("%?$", ""))]
      for _, one in ipairs(class and class.fields or {}) do
        if is_name(one.name) then set[one.name .. " = "] = true end
      end
    end
  end
  return set
end

-- ------------------------------------------------------------------
-- Files
-- ------------------------------------------------------------------

-- As Lua reads it in a text.
local function escaped(name, quote)
  return (name:gsub("[%c\\" .. quote .. "]", function(c)
    return c:find "%c" and ("\\x%02x"):format(c:byte()) or "\\" .. c
  end))
end

local function files(token, at)
  local quote = token.text:sub(1, 1)
  if quote == "[" then return nil end
  local raw = token.text:sub(2)
  local read = load("return " .. quote .. raw .. quote, "=file", "t", {})
  if not read then return nil end
  local directory, head = read():match "^(.*/)([^/]*)$"
  if not directory then directory, head = "", read() end
  local list = {}
  local names = term.list(directory == "" and "." or directory)
  for _, name in ipairs(names or {}) do
    if name:sub(1, #head) == head
      and (head ~= "" or name:sub(1, 1) ~= ".") then
      list[#list + 1] = escaped(name, quote)
    end
  end
  table.sort(list)
  return at - #escaped(head, quote), list
end

-- ------------------------------------------------------------------
-- All of it
-- ------------------------------------------------------------------

--- What may stand at the cursor: what it replaces begins at that byte.
---@param session saros.repl
---@param text string
---@param at integer
---@return integer? from
---@return string[]? candidates
function complete.at(session, text, at)
  local before = text:sub(1, at - 1)
  local said = before:match "^%s*(:%a*)$"
  if said then
    local set = {}
    for _, name in ipairs(commands) do set[name] = true end
    return at - #said, beginning(set, said)
  end
  local tokens = chunk.tokens(before)
  local last = tokens[#tokens]
  if last and last.open then return files(last, at) end
  -- The beginning of a name, or none yet.
  local head = ""
  if last and last.to == #before
    and (last.kind == "name" or last.kind == "keyword")
  then
    head = table.remove(tokens).text
    last = tokens[#tokens]
  end
  if last and (last.text == "." or last.text == ":") then
    local names = path_before(tokens, #tokens - 1)
    local value = names and valued(session, names)
    if value == nil then return nil end
    return at - #head, beginning(fields_of(value, last.text == ":"), head)
  end
  if last and (last.text == "{" or last.text == "," or last.text == ";") then
    local names, method = enclosing(tokens)
    if names then
      local set = options_of(session, names, method)
      if next(set) then return at - #head, beginning(set, head) end
    end
  end
  local set = {}
  for name in pairs(session.locals.boxes) do set[name] = true end
  for name in next, session.env do set[name] = is_name(name) or nil end
  for _, word in ipairs(words) do set[word] = true end
  return at - #head, beginning(set, head)
end

return complete
