--- What the specs of transfers share: a server with faults, and a queue beside a
--- directory, gone afterwards.

local helper = require "spec.helper"
local outside = require "spec.outside"

local there, bits = pcall(require, "saros.bits")

local shared = { bits = there and bits or nil,
  missing = not there and "saros.bits was left out of this build: "
    .. tostring(bits):match "^[^\n]*" or nil }

if there and not outside.installed "python3" then
  shared.missing = "there is no python3 here, which the server is written in"
end

-- Asks the server itself, without a client to start.
local ASK = [[
exec 3<>/dev/tcp/127.0.0.1/$1 || exit 1
printf 'GET %s HTTP/1.1\r\nHost: x\r\n\r\n' "$2" >&3
size=0
while IFS= read -r line <&3; do
  line=${line%$'\r'}
  case $line in "Content-Length: "*) size=${line#*: } ;; "") break ;; esac
done
head -c "$size" <&3]]

--- The server (spec/bits/server.py), of which there is one at a time.
---@class spec.bits.server
local server = {}
shared.server = server

function server:start()
  self.process = outside.start("sh", "-c",
    "sleep 100000 | exec python3 -u spec/bits/server.py")
  self.ports = {}
  for port in self.process:expect "\n":gmatch "%d+" do
    self.ports[#self.ports + 1] = tonumber(port)
  end
end

function server:close() self.process:__close() end

--- In a describe: the server is there for all that is in it. `env` is its _ENV,
--- which has the words of busted.
function shared.serve(env)
  env.setup(function() server:start() end)
  env.teardown(function() server:close() end)
end

--- Whether there is nothing to test here; this is said of `what` then.
function shared.lacks(env, what)
  if not shared.missing then return false end
  env.describe(what, function() env.pending(shared.missing) end)
  return true
end

--- What the server knows: "!log", "!count?of=…", …
function server:ask(what)
  local said, how, status = outside.run("bash", "-c", ASK, "bash",
    tostring(self.ports[1]), "/" .. what)
  assert(how == "exit" and status == 0, said)
  return said
end

--- The URL of a file of so many bytes.
function server:url(name, size, more)
  return ("http://127.0.0.1:%d/f/%s?size=%d%s"):format(self.ports[1], name,
    size, more and "&" .. more or "")
end

--- How often URLs were asked for that begin so.
function server:count(prefix)
  return tonumber((self:ask("!count?of=" .. prefix)))
end

local names = 0

--- A name that nobody else has asked for.
function shared.fresh()
  names = names + 1
  return ("file-%d-"):format(names)
end

--- A job with one file of that name and so many bytes.
function shared.job_of(p, name, size, more, properties)
  local job = p.q:create_job(properties)
  job:add_file { url = server:url(name, size, more), path = p.path(name) }
  return job
end

--- Waits until the server does not answer so many requests for the newest name;
--- they go on with release.
function server:stalled(count)
  local said = self:ask(("!stalled?count=%d&of=/f/file-%d-"):format(count,
    names))
  assert(tonumber(said) >= count, "nobody has asked, or it was answered")
end

function server:release() self:ask "!release" end

--- Calls f with a port at which nobody listens: it is taken, so that nobody else
--- gets it meanwhile.
function shared.with_closed_port(f)
  local p <close> = outside.start("sh", "-c", "sleep 100000 | exec python3 -c '"
    .. 'import socket, sys; s = socket.socket(); s.bind(("127.0.0.1", 0)); '
    .. "print(s.getsockname()[1], flush=True); sys.stdin.read()'")
  return f(tonumber((p:expect "\n")))
end

--- Whether the file is what it ought to be.
function server:check(path, name, size, version)
  local said = outside.run("sha256sum", path)
  local right = self:ask(("!sha256/%s?size=%d&version=%d"):format(name, size,
    version or 0))
  if said:match "^%x+" ~= right then
    error(("%s is not what it ought to be: %s"):format(path, said), 2)
  end
end

--- A directory with a queue in it that is open: `f(p)`, where p has `root`, `q`,
--- path(name), and reopen(), which closes it and opens it once more. It waits for
--- no disk: each change of a queue would, and a busy one takes its time.
function shared.with(f, options)
  return outside.directory(function(root)
    local given = { path = root .. "/queue.db" }
    for name, item in pairs(options or {}) do given[name] = item end
    local p = { root = root }
    local _ <close> = setmetatable({}, { __close = function()
      if p.q then p.q:close() end
    end })
    function p.path(name) return root .. "/" .. name end
    function p.open(more)
      local o = {}
      for name, item in pairs(given) do o[name] = item end
      for name, item in pairs(more or {}) do o[name] = item end
      return bits.manager(o)
    end
    function p.reopen()
      p.q:close()
      p.q = p.open()
      return p.q
    end
    p.q = p.open()
    return f(p)
  end, outside.memory)
end

-- A script with a queue `q` in a process of its own.
local BEGIN = [[
  package.path, package.cpath = %q, %q
  local saros = require "saros"
  local bits = require "saros.bits"
  local q = bits.manager { path = %q }
  local function say(text) print(text) io.stdout:flush() end
]]

--- Starts a script that has opened the queue in this directory as `q`.
function shared.start(root, text)
  return outside.start(outside.lua, "-e", BEGIN:format(outside.lua_path,
    outside.lua_cpath, root .. "/queue.db") .. text)
end

function shared.kill(p)
  outside.system.kill(p.pid, 9)
  p:finish()
end

--- Waits until the job is in a state that others bring about.
function shared.reach(job, state)
  return outside.eventually("the job is " .. state, function()
    helper.settle()
    local s = job:status()
    return s.state == state and s
  end)
end

--- What f raises.
function shared.raised(f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("nothing was raised", 2) end
  return err
end

--- Checks the code of what f raises.
function shared.raises(code, f, ...)
  local err = shared.raised(f, ...)
  if type(err) ~= "table" then error(err, 2) end
  if err.code ~= code then
    error(("it raised %s, not 0x%x"):format(tostring(err), code), 2)
  end
  return err
end

return shared
