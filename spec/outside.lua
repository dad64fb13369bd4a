--- Other programs, as specs start them: every wait has a limit, and nothing is
--- left behind, also when a spec fails in the middle.

require "saros"
local system = require "testmod".system

local outside = { system = system }

-- Seconds that no healthy program needs, not on a machine that is ten times as
-- slow, with a disk that stands still for a while.
outside.patience = os.getenv "SAROS_SANITIZER" and 120 or 60

---@class outside.process
---@field pid integer
---@field output string what it has said until now
local process = {}
process.__index = process

local function started(pid, fd)
  return setmetatable({ pid = pid, fd = fd, output = "", seen = 1 }, process)
end

--- Starts a program: both outputs are read, there is no input.
---@return outside.process
function outside.start(...) return started(system.spawn { ... }) end

--- Starts a program on a terminal of its own.
---@return outside.process
function outside.terminal(...) return started(system.terminal { ... }) end

--- Reads once; false at the end.
function process:read(seconds)
  local bytes = system.read(self.fd, math.ceil(seconds * 1000))
  if bytes == nil then
    error(("nothing came in %g seconds; it said:\n%s")
      :format(seconds, self.output), 0)
  end
  self.output = self.output .. bytes
  return bytes ~= ""
end

--- Reads until the (plain) text has come, after what was expected before.
function process:expect(text)
  while true do
    local first, last = self.output:find(text, self.seen, true)
    if first then
      local between = self.output:sub(self.seen, first - 1)
      self.seen = last + 1
      return between
    end
    if not self:read(outside.patience) then
      error(("it ended and did not say %q but:\n%s"):format(text, self.output), 0)
    end
  end
end

--- Types.
function process:write(text) assert(system.write(self.fd, text)) end

--- Reads to the end: everything it said, and how it ended ("exit" or
--- "signal", and the number).
function process:finish(seconds)
  seconds = seconds or outside.patience
  while self:read(seconds) do end
  local how, number = system.wait(self.pid, math.ceil(seconds * 1000))
  if not how then error("it closed its output and goes on:\n" .. self.output, 0) end
  self.ended = true
  return self.output, how, number
end

--- Ends it, if it has not ended.
function process:__close()
  if not self.ended then
    system.kill(-self.pid, 9)
    system.kill(self.pid, 9)
    system.wait(self.pid, outside.patience * 1000)
    self.ended = true
  end
  if self.fd then
    system.close(self.fd)
    self.fd = nil
  end
end

--- Runs a program to its end.
function outside.run(...)
  local p <close> = outside.start(...)
  return p:finish()
end

--- The interpreter that runs this.
outside.lua = os.getenv "LUA" or "lua5.4"

--- Where no disk is waited for, if there is such a place: who leaves has two
--- seconds for what he would leave, and a busy disk may take longer.
outside.memory = os.execute "test -w /dev/shm" and "/dev/shm" or "/tmp"

--- Calls f with the path of a new directory, which is gone afterwards.
---@param within? string where it is made
function outside.directory(f, within)
  local path = os.tmpname()
  os.remove(path)
  if within then path = within .. path:match "/[^/]*$" end
  assert(os.execute(("mkdir -m 755 '%s'"):format(path)))
  local _ <close> = setmetatable({}, {
    __close = function() os.execute(("rm -rf '%s'"):format(path)) end
  })
  return f(path)
end

function outside.write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

--- A file's content, or nil.
function outside.content(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

--- Waits until f returns something, which is what somebody else does.
function outside.eventually(what, f)
  for _ = 1, outside.patience * 100 do
    local result = f()
    if result then return result end
    system.read(-1, 10) -- sleeps; there is no such descriptor
  end
  error("never happened: " .. what, 2)
end

--- Whether a program is installed.
function outside.installed(name)
  return os.execute(("PATH=$PATH:/usr/sbin command -v %s >/dev/null"):format(name))
end

-- Relative paths are meant from here, and other programs are elsewhere.
local here = os.getenv "PWD"

local function absolute(paths)
  return (paths:gsub("[^;]+", function(path)
    return path:sub(1, 1) == "/" and path or here .. "/" .. path
  end))
end

--- Where another program finds the modules that we have.
outside.lua_path = absolute(package.path)
outside.lua_cpath = absolute(package.cpath)

--- The path of a C module, or nil.
function outside.module(name) return package.searchpath(name, outside.lua_cpath) end

return outside
