--- A Redis server for specs: on a socket in a directory of its own, as nobody
--- when we are root, never the system's own. It ends with its block, however
--- it was treated.
---
--- ```lua
--- local redis = require "spec.servers.redis"
--- if redis.missing then pending(redis.missing) end
--- local r <close> = redis.start { config = { appendonly = "yes" } }
--- r:cli("SET", "k", "v")
--- ```

local outside = require "spec.outside"
local scratch = require "spec.scratch"
local system = outside.system

local redis = {
  --- Why there is none to be had, or nil.
  ---@type string?
  missing = not outside.installed "redis-server"
    and "needs redis-server (Debian: redis-server)"
    or not outside.installed "setpriv" and "needs setpriv" or nil,
  --- Who it runs as, if it is ours to say.
  uid = 65534,
}

--- Whether there is one, and why not.
function redis.available() return redis.missing == nil, redis.missing end

local root = os.execute "test $(id -u) = 0"

---@class spec.servers.redis
---@field data string its directory
---@field socket string the path of its socket
---@field pid integer
local server = {}
server.__index = server

local defaults = { port = "0", daemonize = "no", save = "\"\"",
  unixsocketperm = "777" }

-- Its configuration is a file: CONFIG REWRITE needs one.
local function write_config(r, config)
  local lines = {}
  local all = {}
  for name, item in pairs(defaults) do all[name] = item end
  for name, item in pairs(config or {}) do all[name] = item end
  all.dir = all.dir or r.data
  all.unixsocket, all.logfile = r.socket, r.log
  for name, item in pairs(all) do
    for _, one in ipairs(type(item) == "table" and item or { item }) do
      lines[#lines + 1] = name .. " " .. tostring(one)
    end
  end
  table.sort(lines)
  outside.write(r.config, table.concat(lines, "\n") .. "\n")
  if root then
    os.execute(("chown %d:%d '%s'"):format(redis.uid, redis.uid, r.config))
  end
end

--- Starts one, and returns when it answers (with `wait = false` at once: it may
--- be loading).
--- `at`: its directory, made if missing (else a new one, removed at the end);
--- `auth`: more arguments for redis-cli.
---@return spec.servers.redis
function redis.start(options)
  options = options or {}
  local made = not options.at and scratch.new() or nil
  local at = options.at or made.path
  local r = setmetatable({ root = at, made = made, data = at .. "/data",
    socket = at .. "/redis.sock", config = at .. "/redis.conf",
    log = at .. "/redis.log", auth = options.auth or {} }, server)
  assert(#r.socket <= 107, "the path of its socket is too long: " .. r.socket)
  assert(os.execute(("mkdir -p '%s' && chmod 755 '%s'"):format(r.data, at)))
  if root then
    assert(os.execute(("chown %d:%d '%s' '%s'"):format(redis.uid, redis.uid,
      at, r.data)))
  end
  write_config(r, options.config)
  local ok, err = pcall(r.go_on, r, options.wait)
  if ok then return r end
  r:__close()
  error(err, 0)
end

-- Starts its process, in the directory it has.
function server:go_on(wait)
  local argv = { "redis-server", self.config }
  if root then
    local id = tostring(redis.uid)
    argv = { "setpriv", "--reuid", id, "--regid", id, "--clear-groups",
      "redis-server", self.config }
  end
  self.process = outside.start(table.unpack(argv))
  self.pid = self.process.pid
  if wait ~= false then self:ready() end
end

--- Waits until it answers, and has loaded what it has.
function server:ready()
  outside.eventually("redis-server answers: " .. self.socket, function()
    if not self.process or self:ended() then
      error("redis-server ended: " .. (outside.content(self.log) or "")
        .. self.process.output, 0)
    end
    return self:cli "PING" == "PONG"
  end)
end

--- Whether its process is over.
function server:ended()
  local status = outside.content("/proc/" .. self.pid .. "/stat")
  return not status or status:match "%) (%a)" == "Z"
end

--- redis-cli with these arguments: what it printed, without the last newline.
---@return string
function server:cli(...)
  local argv = { "redis-cli", "-s", self.socket, "--no-auth-warning" }
  table.move(self.auth, 1, #self.auth, #argv + 1, argv)
  local more = { ... }
  table.move(more, 1, #more, #argv + 1, argv)
  return (outside.run(table.unpack(argv)):gsub("\n$", ""))
end

--- The same by a line: words between spaces.
function server:sql(text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  return self:cli(table.unpack(words))
end

--- A line of CONFIG GET.
function server:setting(name)
  return self:cli("CONFIG", "GET", name):match "\n(.*)"
end

--- A field of INFO.
function server:info(field)
  return self:cli "INFO":match("\n" .. field .. ":([^\r\n]*)")
end

-- What it writes is not wanted, what it did is in its log.
local function reap(self)
  local p = self.process
  self.process = nil
  if p then p:__close() end
end

--- As its administrator ends it: with what it saves at the end.
function server:stop()
  self:go()
  system.kill(self.pid, 15)
  outside.eventually("redis-server ends", function() return self:ended() end)
  reap(self)
end

--- As a crash ends it.
function server:kill()
  if self.process then system.kill(-self.pid, 9) end
  reap(self)
end

--- Stops the process where it is; `go` lets it go on.
function server:freeze()
  system.kill(self.pid, 19)
  outside.eventually("redis-server stands still", function()
    local stat = outside.content("/proc/" .. self.pid .. "/stat") or ""
    return stat:match "%) (%a)" == "T"
  end)
end

function server:go() system.kill(self.pid, 18) end

--- Ends it if it runs, and starts it anew.
---@param wait? boolean false: does not wait until it answers
function server:restart(wait)
  if self.process then self:stop() end
  self:go_on(wait)
end

function server:__close()
  self:kill()
  if self.made then self.made:close() end
end

return redis
