-- The reference: one page of HTML from the annotations in the sources.
--
--   lua5.4 spec/docs.lua [-o page.html] [-c] folder     (folder: lua/saros)
--
-- -c only checks. It fails, and names them all, when a public function that can
-- be reached at run time is not described with its parameters, or when what is
-- described is not there. Public is what the module named like the folder
-- holds, what the other files in the folder return, and the methods of the
-- handle that `sleep(0)` gives. Not public: names that begin with _, and a file
-- whose first annotation is ---@private.
package.path = "./?.lua;" .. package.path
local parse = require "saros.annotations"
local html = require "spec.docs.html"

local output, folder, only_check = nil, nil, false
do
  local at = 1
  while arg[at] do
    if arg[at] == "-o" then
      at = at + 1
      output = arg[at]
    elseif arg[at] == "-c" then
      only_check = true
    else
      folder = arg[at]:gsub("/$", "")
    end
    at = at + 1
  end
end
if not folder then
  io.stderr:write("usage: spec/docs.lua [-o page.html] [-c] folder\n")
  os.exit(2)
end
local root = folder:match "[^/]+$"


local function find_files()
  local files = {}
  local find = ("cd '%s' && find . -name '*.lua'"):format(folder)
  local pipe = assert(io.popen(find))
  for line in pipe:lines() do
    local name = line:match("^%./(.*)%.lua$"):gsub("/", ".")
    local module = root
    if name ~= "init" then module = root .. "." .. name:gsub("%.init$", "") end
    table.insert(files, { path = folder .. line:sub(2), module = module })
  end
  pipe:close()
  -- The root first, so that its words are there when others add to them.
  table.sort(files, function(a, b)
    if #a.module ~= #b.module and (a.module == root or b.module == root) then
      return a.module == root
    end
    return a.module < b.module
  end)
  return files
end


local files = find_files()
local docs = parse.parse(files)

local complaints = {}
local function complain(...)
  table.insert(complaints, string.format(...))
end


-- ------------------------------------------------------------------
-- What is there, against what is described
-- ------------------------------------------------------------------

local described = {} -- "saros.sleep" -> function
for name, class in pairs(docs.classes) do
  for _, f in ipairs(class.functions) do
    described[name .. "." .. f.name] = f
  end
end


local function callable(v)
  if type(v) == "function" then return true end
  local mt = type(v) == "table" and debug.getmetatable(v)
  return mt and mt.__call ~= nil
end


local seen = {}   -- tables that were walked
local walked = {} -- classes of which everything is known
local elsewhere = {} -- functions that are described where the root has them

local function walk(name, holder)
  if seen[holder] then return end
  seen[holder] = true
  walked[name] = holder
  for key, value in pairs(holder) do
    if type(key) == "string" and not key:find "^_" then
      local full = name .. "." .. key
      if callable(value) then
        if not described[full] and not elsewhere[value] then
          complain("%s is not described", full)
        end
      elseif type(value) == "table" then
        walk(full, value)
      end
    end
  end
end


local function inspect()
  local ok, main = pcall(require, root)
  if not ok then
    complain("require %q fails: %s", root, tostring(main))
    return
  end
  -- A class of the files is walked under its module's name first: another
  -- module may hold the same table under a name of its own.
  local modules = {}
  for _, file in ipairs(files) do
    local class = docs.classes[file.module]
    if class and class.module then
      local there, module = pcall(require, file.module)
      if there and type(module) == "table" then
        modules[file.module] = module
      elseif not there then
        -- An optional library (luv, …) is missing here.
        io.stderr:write(("not checked: %s (%s)\n"):format(file.module,
          tostring(module):match "^[^\n]*"))
      end
    end
  end
  modules[root] = main
  for key, value in pairs(type(main) == "table" and main or {}) do
    if described[root .. "." .. tostring(key)] then elsewhere[value] = true end
  end
  for name, module in pairs(modules) do
    if name ~= root then walk(name, module) end
  end
  if type(main) == "table" then walk(root, main) end

  local sleep = described[root .. ".sleep"]
  if type(main) == "table" and main.sleep then
    local handle = main.sleep(0)
    local methods = debug.getmetatable(handle).__index
    local class = sleep and sleep.returns[1] and sleep.returns[1].type
    if not class or not docs.classes[class] then
      complain("%s.sleep has to return a class that is described", root)
    elseif type(methods) == "table" then
      walk(class, methods)
    else
      walked[class] = handle
    end
  end

  for name, holder in pairs(walked) do
    local class = docs.classes[name]
    for _, f in ipairs(class and class.functions or {}) do
      local there, value = pcall(function() return holder[f.name] end)
      if not there or not callable(value) then
        complain("%s.%s is described (%s), but is not there", name, f.name,
          f.where)
      end
    end
  end
end


local function check_words()
  for name, f in pairs(described) do
    if not f.text:find "%S" then
      complain("%s has no description (%s)", name, f.where)
    end
    if not f.from_field then
      local args, told = {}, {}
      for _, arg_name in ipairs(f.args) do args[arg_name] = true end
      for _, p in ipairs(f.params) do
        told[p.name] = true
        if not args[p.name] then
          complain("%s has no parameter %s (%s)", name, p.name, f.where)
        end
      end
      for _, arg_name in ipairs(f.args) do
        if not told[arg_name] and not arg_name:find "^_" then
          complain("%s: parameter %s is not described (%s)", name, arg_name,
            f.where)
        end
      end
    end
  end
end


inspect()
check_words()
table.sort(complaints)
for _, complaint in ipairs(complaints) do io.stderr:write(complaint, "\n") end

if output and not only_check then
  os.execute(("mkdir -p '%s'"):format(output:match "^(.*)/[^/]*$" or "."))
  local count = html.write(docs, root, output)
  print(("%s: %d functions"):format(output, count))
end
if #complaints > 0 then
  io.stderr:write(("docs: %d to mend\n"):format(#complaints))
  os.exit(1)
end
