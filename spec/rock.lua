-- Whether the rockspec still holds: what it says to make has to put exactly the
-- files below lua/ and the C modules where LuaRocks looks for them.
--
--   lua5.4 spec/rock.lua [tree]    without a tree only the rockspec itself;
--                                  with one, also what was installed in it
local file = "saros-scm-1.rockspec"

local bad = 0
local function complain(...)
  bad = bad + 1
  io.stderr:write(file, ": ", string.format(...), "\n")
end


local function lines_of(command)
  local pipe = assert(io.popen(command))
  local set = {}
  for line in pipe:lines() do set[line] = true end
  pipe:close()
  return set
end


local rock = {}
assert(loadfile(file, "t", rock))()

if rock.rockspec_format ~= "3.0" then complain "not in format 3.0" end
if rock.package .. "-" .. rock.version .. ".rockspec" ~= file then
  complain("is for %s %s", rock.package, rock.version)
end

local build = rock.build
if build.modules then
  complain "lists modules: the Makefile knows them"
end
local makefile = assert(io.open "Makefile"):read "a"
if not makefile:find("\n" .. build.install_target .. ":", 1, true) then
  complain("the Makefile has no target %s", build.install_target)
end
for name in pairs(build.variables) do
  if not makefile:find("\n" .. name .. " :?=") then
    complain("the Makefile has no variable %s", name)
  end
end

local tree = ...
if tree then
  local function below(folder, pattern)
    return lines_of(("cd '%s' && find * -name '%s'"):format(folder, pattern))
  end
  local there = below(tree .. "/share/lua/5.4", "*.*")
  for name in pairs(below("lua", "*.lua")) do
    if not there[name] then complain("does not install lua/%s", name) end
    there[name] = nil
  end
  for name in pairs(there) do
    complain("installs %s, which is not ours", name)
  end
  local modules = below(tree .. "/lib/lua/5.4", "*.so")
  if not modules["saros/core.so"] then
    complain "does not install saros/core.so"
  end
  for _, name in ipairs { "cell", "over" } do
    if not below(tree .. "/lib/lua/5.4/saros", name)[name] then
      complain("does not install saros/" .. name)
    end
  end
  -- It finds the rest by itself: nobody has said `luarocks path`.
  local said = io.popen(("env -i PATH=\"$PATH\" '%s/bin/saros' --version 2>&1")
    :format(tree)):read "a"
  if not said:find "^saros " then complain("bin/saros: %s", said) end
  -- What a client is made of is there as a whole, or was left out.
  if modules["saros/client/sqlite.so"]
    and not below(tree .. "/lib/lua/5.4", "sqlite-*")["saros/client/sqlite-hold"]
  then
    complain "does not install saros/client/sqlite-hold"
  end
end

os.exit(bad == 0)
