---@private
-- help(x): what the annotations in the sources say of it. They are read when
-- somebody asks, from where the modules were loaded.

local shown = require "saros.text"
local term = require "saros.term"

local help = {}

-- ------------------------------------------------------------------
-- Reading
-- ------------------------------------------------------------------

local function each_file(directory, module, list)
  local names = term.list(directory) or {}
  table.sort(names)
  for _, name in ipairs(names) do
    local base = name:match "^([%w_]+)%.lua$"
    local sub = name:match "^([%w_]+)/$"
    if base then
      list[#list + 1] = { path = directory .. "/" .. name,
        module = base == "init" and module or module .. "." .. base }
    elseif sub and sub ~= "cli" and sub ~= "repl" then
      each_file(directory .. "/" .. sub, module .. "." .. sub, list)
    end
  end
end

local known

--- All that is public: { classes, aliases } of saros.annotations.
function help.known()
  if known then return known end
  local path = package.searchpath("saros", package.path)
  local directory, list = path and path:match "^(.*)/init%.lua$", {}
  if directory then each_file(directory, "saros", list) end
  known = require "saros.annotations".parse(list)
  return known
end

-- ------------------------------------------------------------------
-- Finding
-- ------------------------------------------------------------------

--- A function of a class, or of what that inherits from.
---@param class string its name
---@param name string
function help.method(class, name)
  local found = help.known().classes[class]
  for _, f in ipairs(found and found.functions or {}) do
    if f.name == name then return f end
  end
  for _, parent in ipairs(found and found.parents or {}) do
    local f = help.method(parent, name)
    if f then return f end
  end
end

--- The function of a full name: "saros.vss.shadow".
function help.named(name)
  local class, last = name:match "^(.*)[.:]([%w_]+)$"
  return class and help.method(class, last)
end

-- Under which name a module has it.
local function name_of(value)
  local names = {}
  for module in pairs(help.known().classes) do
    local loaded = package.loaded[module]
    for key, item in next, type(loaded) == "table" and loaded or {} do
      if rawequal(item, value) and type(key) == "string" then
        names[#names + 1] = module .. "." .. key
      end
    end
    if rawequal(loaded, value) then names[#names + 1] = module end
  end
  -- The shortest is the one to use.
  table.sort(names, function(a, b)
    return #a < #b or #a == #b and a < b
  end)
  return names[1]
end

--- The class that an object says it is of.
function help.class_of(value)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  if type(name) ~= "string" then return nil end
  local classes = help.known().classes
  return classes[name] and name or nil
end

-- A method of operations, which no module holds.
local function method_of(value)
  local op = require "saros.core".sleep(0)
  for name, method in pairs(debug.getmetatable(op).__index) do
    if rawequal(method, value) then
      return help.method("saros.operation", name)
    end
  end
end

-- All that could be meant by a text.
local function matching(text)
  local docs, list, near = help.known(), {}, {}
  for _, name in ipairs { text, "saros." .. text } do
    local f = help.named(name)
    if f then return { f } end
    if docs.classes[name] then return { docs.classes[name] } end
    if docs.aliases[name] then return { docs.aliases[name] } end
  end
  local last = text:match "[%w_]+$" or text
  for _, class in pairs(docs.classes) do
    for _, f in ipairs(class.functions) do
      if f.name == last then list[#list + 1] = f end
      near[#near + 1] = f.name
    end
    if class.name:match "[%w_]+$" == last then list[#list + 1] = class end
  end
  table.sort(list, function(a, b) -- functions first
    return (a.owner or "~") .. a.name < (b.owner or "~") .. b.name
  end)
  return list, near
end

-- ------------------------------------------------------------------
-- Telling
-- ------------------------------------------------------------------

local function full_name(f)
  local owner = f.owner
  return owner .. (f.method and ":" or ".") .. f.name
end

local function signature(f)
  local names, gives, optional = {}, {}, {}
  for _, p in ipairs(f.params) do optional[p.name] = p.optional end
  for i, name in ipairs(f.args) do
    names[i] = optional[name] and "[" .. name .. "]" or name
  end
  for i, r in ipairs(f.returns) do gives[i] = r.type end
  return full_name(f) .. "(" .. table.concat(names, ", ") .. ")"
    .. (#gives > 0 and "  --> " .. table.concat(gives, ", ") or "")
end

-- Code in a text stands as it is.
local function paragraphs(text, indent, width)
  local rows, code = {}, false
  for row in (text .. "\n"):gmatch "(.-)\n" do
    if row:find "^```" then
      code = not code
    else
      rows[#rows + 1] = (code and "  " or "") .. row
    end
  end
  return require "saros.cli.help".wrap(table.concat(rows, "\n"), indent, width)
end

local function add(lines, more)
  table.move(more, 1, #more, #lines + 1, lines)
end

local function of_fields(lines, fields, width)
  for _, field in ipairs(fields) do
    lines[#lines + 1] = ("  %s%s  %s"):format(field.name,
      field.optional and "?" or "", field.type)
    if field.text ~= "" then
      add(lines, paragraphs(field.text, "      ", width))
    end
  end
end

-- Options are told with the function that takes them.
local function of_options(lines, f, width)
  for _, p in ipairs(f.params) do
    local class = help.known().classes[(p.type:gsub("%?$", ""))]
    if class and #class.fields > 0 and #class.functions == 0 then
      add(lines, { "", p.name .. ":" })
      of_fields(lines, class.fields, width)
    end
  end
end

local function of_function(f, width)
  local lines = { signature(f) }
  add(lines, paragraphs(f.text, "  ", width))
  local told = {}
  for _, p in ipairs(f.params) do
    if p.text ~= "" or not help.known().classes[p.type] then
      told[#told + 1] = p
    end
  end
  if #told > 0 then lines[#lines + 1] = "" end
  of_fields(lines, told, width)
  for _, r in ipairs(f.returns) do
    if r.text ~= "" then
      add(lines, paragraphs("--> " .. r.type .. ": " .. r.text, "  ", width))
    end
  end
  of_options(lines, f, width)
  return lines
end

local function first_sentence(text)
  text = text:gsub("%s+", " ")
  return text:match "^(.-%.)%s" or text
end

local function of_class(class, width)
  local lines = { class.name }
  add(lines, paragraphs(class.text, "  ", width))
  if #class.fields > 0 then lines[#lines + 1] = "" end
  of_fields(lines, class.fields, width)
  if #class.functions > 0 then lines[#lines + 1] = "" end
  for _, f in ipairs(class.functions) do
    lines[#lines + 1] = "  " .. signature(f)
    if f.text ~= "" then
      add(lines, paragraphs(first_sentence(f.text), "      ", width))
    end
  end
  return lines
end

local function of_alias(alias, width)
  local lines = { alias.name .. "  " .. alias.type }
  add(lines, paragraphs(alias.text, "  ", width))
  for _, value in ipairs(alias.values) do
    lines[#lines + 1] = ("  %s  %s"):format(value.type, value.text)
  end
  return lines
end

local function told(item, width)
  if item.args then return of_function(item, width) end
  if item.functions then return of_class(item, width) end
  return of_alias(item, width)
end

local function found(what)
  if type(what) == "string" then return matching(what) end
  local name = name_of(what)
  if name then return matching(name) end
  if type(what) == "function" then return { method_of(what) } end
  local class = help.class_of(what)
  return class and { help.known().classes[class] } or {}
end

--- The lines that explain something; nil and why there are none.
---@param what any a function, an object, or a name
---@param width integer columns
---@return string[]? lines
---@return string? why
function help.of(what, width)
  local list, near = found(what)
  if #list == 0 then
    if type(what) ~= "string" then
      return nil, "nothing is written about that; help 'saros' begins with "
        .. "what there is"
    end
    return nil, ("nothing is called '%s'%s"):format(shown.safe(what),
      require "saros.arguments".nearest(what, near or {}))
  end
  if #list > 3 then
    local lines = { "more than one is called so:" }
    for i, item in ipairs(list) do
      lines[i + 1] = "  " .. (item.args and signature(item) or item.name)
    end
    return lines
  end
  local lines = {}
  for i, item in ipairs(list) do
    if i > 1 then lines[#lines + 1] = "" end
    add(lines, told(item, width))
  end
  return lines
end

--- Writes them.
---@param session saros.repl
function help.tell(session, what)
  if what == nil then return session:take ":help" end
  if type(what) == "string" then
    -- As somebody would write a call of it.
    what = what:match "^%s*(.-)%s*$":gsub("%(%)$", "")
  end
  local lines, why = help.of(what, session.c.width - 1)
  if not lines then return session:complain(why) end
  session:write(shown.lines(table.concat(lines, "\n")))
end

return help
