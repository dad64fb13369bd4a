---@private
-- Reads LuaLS annotations: ---@class, @field, @param, @return, @overload,
-- @alias and the text between them. What it does not know it passes over.
--
-- parse(list of { path =, module = }) gives
--   classes[name]  = { name, text, parents, fields, functions, module, file }
--   aliases[name]  = { name, text, type, values }
-- where a module is the class of the same name, and a function is
--   { name, owner, method, params, args, returns, overloads, text, where }
local M = {}


-- ------------------------------------------------------------------
-- Types
-- ------------------------------------------------------------------

local read_type

local BALANCED = { ["("] = "%b()", ["{"] = "%b{}", ["<"] = "%b<>" }

-- Where the balanced bracket at `at` ends.
local function bracket_end(s, at)
  local _, last = s:find("^" .. BALANCED[s:sub(at, at)], at)
  return last and last + 1 or #s + 1
end


-- One type without `|`; returns where it ends, nil when there is none.
local function read_single(s, at)
  local c = s:sub(at, at)
  local next_at
  if c == "(" or c == "{" then
    next_at = bracket_end(s, at)
  elseif s:find("^fun%s*%(", at) then
    next_at = bracket_end(s, s:find("(", at, true))
    local returns = s:match("^%s*:%s*()", next_at)
    while returns do
      -- A return of a function may have a name: fun(): ok: boolean
      returns = s:match("^[%w_]+%s*:%s*()", returns) or returns
      local last = read_type(s, returns)
      if not last then break end
      next_at = last
      returns = s:match("^%s*,%s*()", next_at)
    end
    return next_at
  elseif c == '"' or c == "'" or c == "`" then
    local last = s:find(c, at + 1, true)
    next_at = last and last + 1
  elseif s:find("^%.%.%.", at) then
    next_at = at + 3
    -- T... and ...T both occur
    next_at = s:match("^[%w_%.]+()", next_at) or next_at
  else
    next_at = s:match("^%-?[%w_][%w_%-]*()", at)
    while next_at and s:find("^%.[%w_]", next_at) do
      next_at = s:match("^%.[%w_]+()", next_at)
    end
    if next_at and s:sub(next_at, next_at) == "<" then
      next_at = bracket_end(s, next_at)
    end
  end
  while next_at do
    local more = s:match("^%[%]()", next_at) or s:match("^%?()", next_at)
      or s:match("^%.%.%.()", next_at)
    if not more then return next_at end
    next_at = more
  end
end


function read_type(s, at)
  local last = read_single(s, at)
  while last do
    local alternative = s:match("^%s*|%s*()", last)
    local further = alternative and read_single(s, alternative)
    if not further then return last end
    last = further
  end
end


-- "type rest" -> type, rest
local function type_and_rest(s)
  local last = read_type(s, 1)
  if not last then return "any", s end
  return s:sub(1, last - 1), (s:sub(last):gsub("^%s+", ""))
end


-- A description may begin with # or -- so that it cannot be taken for a name.
local function description(s)
  return (s:gsub("^%s*#%s?", ""):gsub("^%s*%-%-%s?", ""))
end


-- Whether nil will do: `T?`, `T|nil`. (What a function gives does not count.)
local function may_be_nil(kind)
  if kind:find "^fun%s*%(" then return false end
  return kind:find "%?$" ~= nil or kind:find "|%s*nil$" ~= nil
    or kind:find "^nil%s*|" ~= nil
end


-- "fun(a: T, b?: U): R, S" as a function; nil when it is something else.
function M.read_function(s)
  local args, at = s:match "^fun%s*(%b())()"
  if not args then return nil end
  local f = { params = {}, args = {}, returns = {}, overloads = {}, text = "" }
  args = args:sub(2, -2)
  local from = 1
  while from <= #args do
    local name, optional, stop =
      args:match("^%s*([%w_%.]+)(%??)%s*:?%s*()", from)
    if not name then break end
    local last = read_type(args, stop)
    local kind = last and args:sub(stop, last - 1) or "any"
    if name == "self" then
      f.method = true
    else
      table.insert(f.args, name)
      table.insert(f.params, { name = name, type = kind, text = "",
        optional = optional == "?" or may_be_nil(kind) })
    end
    from = args:match("^%s*,()", last or stop) or #args + 1
  end
  at = s:match("^%s*:%s*()", at)
  while at do
    local name, stop = s:match("^([%a_][%w_]*)%s*:%s*()", at)
    at = stop or at
    local last = read_type(s, at)
    if not last then break end
    local kind = s:sub(at, last - 1)
    table.insert(f.returns, { type = kind, name = name, text = "" })
    at = s:match("^%s*,%s*()", last)
  end
  return f
end


-- ------------------------------------------------------------------
-- A block of --- lines
-- ------------------------------------------------------------------

local function append(text, line)
  return text == "" and line or text .. "\n" .. line
end


local VISIBILITY = { public = true, private = true, protected = true,
  package = true }

local tags = {}


function tags.param(block, rest)
  local name, optional, tail = rest:match "^([%w_%.]+)(%??)%s+(.*)$"
  if not name then return end
  local kind, text = type_and_rest(tail)
  local entry = { name = name, type = kind, text = description(text),
    optional = optional == "?" or may_be_nil(kind) }
  table.insert(block.params, entry)
  return entry
end


function tags.vararg(block, rest)
  return tags.param(block, "... " .. rest)
end


tags["return"] = function(block, rest)
  local last
  repeat
    local kind, tail = type_and_rest(rest)
    local more = tail:match "^,%s*(.*)$"
    local name, text = tail:match "^([%a_%.][%w_%.]*%??)%s*(.*)$"
    -- A single word after the type is the value's name; a sentence is not.
    if more or tail:find "^#" or not name then name, text = nil, tail end
    local after = not more and name and text:match "^,%s*(.*)$"
    last = { type = kind, name = name,
      text = (more or after) and "" or description(text) }
    table.insert(block.returns, last)
    rest = more or after
  until not rest
  return last
end


function tags.overload(block, rest)
  table.insert(block.overloads, rest)
end


function tags.class(block, rest)
  rest = rest:gsub("^%(%w+%)%s*", "")
  local name, parents = rest:match "^([%w_%.]+)[^:]*:?%s*(.*)$"
  if not name then return end
  local class = { name = name, text = block.text, fields = {}, functions = {},
    parents = {} }
  for parent in parents:gmatch "[%w_%.]+" do
    table.insert(class.parents, parent)
  end
  block.text = ""
  table.insert(block.classes, class)
  return class
end


function tags.field(block, rest)
  local class = block.classes[#block.classes]
  local visibility, tail = rest:match "^(%l+)%s+(.*)$"
  if VISIBILITY[visibility] then
    if visibility ~= "public" then return end
    rest = tail
  end
  local name, optional
  name, optional, tail = rest:match "^([%w_]+)(%??)%s+(.*)$"
  if not name then
    name, tail = rest:match "^(%b[])%s+(.*)$"
    optional = ""
  end
  if not class or not name then return end
  local kind, text = type_and_rest(tail)
  text = description(text)
  local field = { name = name, type = kind, optional = optional == "?",
    text = text ~= "" and text or block.text }
  block.text = ""
  table.insert(class.fields, field)
  return field
end


function tags.alias(block, rest)
  local name, tail = rest:match "^([%w_%.]+)%s*(.*)$"
  if not name then return end
  local kind, text = "", tail
  if tail ~= "" then kind, text = type_and_rest(tail) end
  text = description(text)
  local alias = { name = name, type = kind, values = {},
    text = text ~= "" and text or block.text }
  block.text = ""
  table.insert(block.aliases, alias)
  return alias
end


function tags.private(block) block.private = true end
tags.package, tags.protected = tags.private, tags.private
function tags.meta(block) block.meta = true end
function tags.deprecated(block) block.deprecated = true end


local function read_block(lines)
  local block = { text = "", params = {}, returns = {}, overloads = {},
    classes = {}, aliases = {} }
  local last, fenced -- the tag that an indented line continues; ``` and depth
  for _, line in ipairs(lines) do
    local fence = line:match "^(%s*)```"
    if fence then fenced = not fenced and fence or nil end
    local tag, rest = line:match "^%s?@([%w_%-]+)%s*(.*)$"
    local value, meaning = line:match "^%s?|%s*(%S+)%s*(.*)$"
    if tag and not fenced then
      last = tags[tag] and tags[tag](block, rest) or nil
    elseif value and last and last.values then
      table.insert(last.values, { type = value, text = description(meaning) })
    elseif last and not last.values and not last.fields and not fenced
      and line:find "^%s%s%s*%S" then
      last.text = append(last.text, (line:gsub("^%s+", "")))
    else
      last = nil
      block.text = append(block.text,
        (line:gsub("^" .. (fenced or fence or " "), "")))
    end
  end
  return block
end


-- ------------------------------------------------------------------
-- A file
-- ------------------------------------------------------------------

local function split_args(args)
  local list = {}
  for name in args:gsub("%-%-[^\n]*", ""):gmatch "[%w_%.]+" do
    if name ~= "self" then table.insert(list, name) end
  end
  return list
end


-- What the code line below a block defines: name, arguments or nil.
local function definition(code)
  local name, args = code:match "^%s*function%s+([%w_%.:]+)%s*(%b())"
  if not name then
    name, args = code:match "^%s*([%a_][%w_%.]*)%s*=%s*function%s*(%b())"
  end
  if name then return name, split_args(args) end
  return (code:match "^%s*([%a_][%w_]*%.[%w_%.]+)%s*=[^=]")
end


local function local_name(code)
  return code:match "^%s*local%s+([%a_][%w_]*)%s*<?%w*>?%s*=[^=]"
    or code:match "^%s*([%a_][%w_]*)%s*=[^=]"
end


local function lines_of(path)
  local lines = {}
  for line in io.lines(path) do table.insert(lines, line) end
  return lines
end


-- The comment that a file begins with, for a module without other words.
local function header(lines)
  local text = ""
  for _, line in ipairs(lines) do
    local words = line:match "^%-%-%s?([^%-@].*)$" or line:match "^%-%-$" and ""
    if not words then break end
    text = append(text, words)
  end
  return text
end


local function read_file(docs, file)
  local lines = lines_of(file.path)
  local blocks, at = {}, 1
  while at <= #lines do
    if lines[at]:find "^%s*%-%-%-[^%-]" or lines[at]:find "^%s*%-%-%-$" then
      local texts, line = {}, at
      while lines[at] and lines[at]:find "^%s*%-%-%-" do
        table.insert(texts, (lines[at]:gsub("^%s*%-%-%-", "")))
        at = at + 1
      end
      local block = read_block(texts)
      block.line = line
      -- The head of a definition may go over several lines.
      local code = lines[at] or ""
      local stop = at
      while code:find "function" and not code:find "%b()" and lines[stop + 1] do
        stop = stop + 1
        code = code .. "\n" .. lines[stop]
      end
      block.code = code
      block.first = #blocks == 0
      table.insert(blocks, block)
    end
    at = at + 1
  end

  local meta, bound = false, {}
  for _, block in ipairs(blocks) do
    meta = meta or block.meta
    if block.private and block.first and not definition(block.code) then
      return -- the whole file is nobody's business
    end
  end
  for at_line = #lines, 1, -1 do
    local name = lines[at_line]:match "^return%s+([%a_][%w_]*)%s*$"
      or lines[at_line]:match "^return%s+setmetatable%(([%a_][%w_]*)"
    if name then
      bound[name] = not meta and file.module or nil
      break
    end
  end

  local function class_of(name)
    local class = docs.classes[name]
    if not class then
      class = { name = name, text = "", fields = {}, functions = {},
        parents = {} }
      docs.classes[name] = class
    end
    class.file = class.file or file.path
    return class
  end

  if not meta then
    local module = class_of(file.module)
    module.module = true
    if module.text == "" then module.text = header(lines) end
  end

  for _, block in ipairs(blocks) do
    if block.first and not meta and block.code:find "^%s*$"
      and #block.classes == 0 and block.text ~= "" then
      docs.classes[file.module].text = block.text
    end
    for _, alias in ipairs(block.aliases) do
      docs.aliases[alias.name] = alias
    end
    for _, class in ipairs(block.classes) do
      local known = class_of(class.name)
      if class.text ~= "" then known.text = class.text end
      for _, list in ipairs { "fields", "parents" } do
        table.move(class[list], 1, #class[list], #known[list] + 1, known[list])
      end
      local variable = local_name(block.code)
      if variable and not block.private then bound[variable] = class.name end
    end
    local name, args = definition(block.code)
    -- An assignment of something else is a function if it is told about as one.
    if name and not args and #block.params + #block.returns
      + #block.overloads > 0 then
      args = {}
      for _, param in ipairs(block.params) do
        table.insert(args, param.name)
      end
    end
    if args and not block.private and #block.classes == 0 then
      local base, path, sep, last =
        name:match "^([%w_]+)([%w_%.]-)([%.:])([%w_]+)$"
      local owner = base and (bound[base] or (meta and base))
      if owner and not last:find "^_" then
        local class = class_of(owner .. path)
        table.insert(class.functions, {
          name = last, owner = class.name, method = sep == ":",
          variable = base, params = block.params, args = args,
          returns = block.returns, overloads = block.overloads,
          text = block.text, deprecated = block.deprecated,
          where = file.path .. ":" .. block.line })
      end
    end
  end
end


-- In a class with methods, a field that is a function is one of them. (A class
-- of nothing but fields is a table that somebody passes: there it stays one.)
local function fields_to_functions(class)
  class.as_function = {}
  if not class.module and #class.functions == 0 then return end
  for _, field in ipairs(class.fields) do
    local f = M.read_function(field.type)
    if f then
      class.as_function[field.name] = true
      f.name, f.owner, f.text = field.name, class.name, field.text
      f.where, f.variable = class.file, class.name:match "[%w_]+$"
      f.from_field = true
      table.insert(class.functions, f)
    end
  end
end


function M.parse(files)
  local docs = { classes = {}, aliases = {} }
  for _, file in ipairs(files) do read_file(docs, file) end
  for _, class in pairs(docs.classes) do fields_to_functions(class) end
  return docs
end


return M
