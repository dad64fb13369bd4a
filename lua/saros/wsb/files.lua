---@private
-- Files as the backup application deals with them: texts of paths, looks at what
-- is there, programs. Everything raises what went wrong.

local core = require "saros.core"
local E = require "saros.code"
local surely = require "saros.surely"

local files = {}

--- Waits; raises why it failed. What is waited for ends with the wait.
function files.finish(op)
  local _ <close> = op
  local result, err = op:wait()
  if result == nil then error(err, 0) end
  return result
end

--- Raises an error object.
function files.fail(code, ...)
  error(core.failure("saros", E[code], string.format(...)), 0)
end

--- A program, to its end: what it wrote.
function files.run(...)
  return files.finish(core.process { argv = { ... }, limit = 16 << 20 }).stdout
end

function files.content(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

function files.write(path, text)
  local file <close>, why = io.open(path, "wb")
  local ok = file
  if ok then ok, why = file:write(text) end
  if ok then ok, why = file:flush() end
  if not ok then
    files.fail("E_FAIL", "cannot write %s: %s", path, tostring(why))
  end
end

--- core.entries: a list of results. It cannot be cancelled; a cancel of who
--- waits is raised when it is known how it ended.
function files.steps(list)
  if #list == 0 then return {} end
  return surely.finish(core.entries(list))
end

--- The same of one step: its result.
function files.step(...) return files.steps({ { ... } })[1] end

--- Absolute, and nowhere up: as paths are that come from others.
function files.is_path(path)
  return type(path) == "string" and path:sub(1, 1) == "/"
    and not path:find("[\0\n]") and not (path .. "/"):find("/%.%.?/")
end

--- Without slashes at its end.
function files.plain(path)
  return (path:gsub("//+", "/"):gsub("(.)/+$", "%1"))
end

--- Whether it is that directory, or lies in it, by the texts.
function files.within(path, directory)
  if directory == "/" then return true end
  return path == directory
    or path:sub(1, #directory + 1) == directory .. "/"
end

--- Those paths that lie in none of the others, each once.
function files.outermost(paths)
  local list, is, kept = {}, {}, {}
  for _, path in ipairs(paths) do
    if not is[path] then list[#list + 1] = path end
    is[path] = true
  end
  table.sort(list)
  for _, path in ipairs(list) do
    local above = path ~= "/" and files.parent(path)
    if not (above and files.inside(above, is)) then kept[#kept + 1] = path end
  end
  return kept
end

--- Whether a path is in a set of paths, or lies in one of them.
function files.inside(path, set)
  while not set[path] do
    if path == "/" then return false end
    path = files.parent(path)
  end
  return true
end

function files.join(root, path)
  if root == "" or root == "/" then return path end
  return path == "/" and root or root .. path
end

function files.parent(path)
  local parent = path:match "^(.*)/[^/]*$"
  return parent == "" and "/" or parent
end

function files.base(path) return path:match "[^/]*$" end

--- As a pattern that is this path and no other.
function files.escape(path) return (path:gsub("[%*%?%[%]\\]", "\\%0")) end

-- A pattern as restic has it, for Lua.
local function translated(pattern)
  local lua, at = {}, 1
  while at <= #pattern do
    local rest = pattern:sub(at)
    local set = rest:match "^%[%^?%]?[^%]]+%]"
    if rest:find "^%*%*/" then
      lua[#lua + 1], at = ".-%f[^/]", at + 3
    elseif rest:find "^[%*%?]" then
      lua[#lua + 1], at = rest:byte() == 42 and "[^/]*" or "[^/]", at + 1
    elseif set then
      lua[#lua + 1], at = set:gsub("%%", "%%%%"), at + #set
    else
      local char = rest:match "^\\?(.)"
      at = at + (rest:find "^\\." and 2 or 1)
      lua[#lua + 1] = char:gsub("%p", "%%%0")
    end
  end
  return table.concat(lua)
end

--- Whether a pattern, as restic has it, is of this path or of something that it
--- lies in: `*` and `?` are of one name, `**` of several.
function files.matches(pattern, path)
  local lua = "^" .. translated(pattern)
  return path:find(lua .. "$") ~= nil or path:find(lua .. "/") ~= nil
end

local signs <const> = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r",
  t = "\t", v = "\v", ["\\"] = "\\", ["\""] = "\"" }

--- A name as a version writes it, as it is.
function files.unquoted(text)
  return (text:gsub("\\([abfnrtv\\\"xuU])(%x?%x?%x?%x?%x?%x?%x?%x?)",
    function(sign, hex)
      local size = ({ x = 2, u = 4, U = 8 })[sign]
      if not size then return signs[sign] .. hex end
      local number = tonumber(hex:sub(1, size), 16)
      return (sign == "x" and string.char or utf8.char)(number)
        .. hex:sub(size + 1)
    end))
end

--- As one word for the shell.
function files.quote(text)
  if text:find "^[%w_%-%./:=@%%+,]+$" then return text end
  return "'" .. text:gsub("'", [['\'']]) .. "'"
end

--- Where they really are, links followed; as a table by path.
function files.real(list)
  local found, real = files.finish(core.real_paths(list)), {}
  for i, path in ipairs(list) do real[path] = found[i] end
  return real
end

return files
