---@private
-- What a Redis server says of itself, as the writer needs it.

local core = require "saros.core"
local E = require "saros.code"
local client = require "saros.client.redis"

local server = {}

-- Where a server must not have its data: everything below would be its.
local shared = {}
for name in ([[/ /bin /boot /dev /etc /home /lib /media /mnt /opt /proc /root
  /run /sbin /srv /sys /tmp /usr /var /var/lib /var/log /var/tmp]])
  :gmatch "%S+"
do
  shared[name] = true
end

function server.failure(code, ...)
  return core.failure("saros", code, string.format(...))
end

--- The answer; raises. What is asked ends with the wait, also when that is
--- cancelled.
function server.ask(c, ...)
  local op <close> = c:command(...)
  local answer, err = op:wait()
  if answer == nil then error(err, 0) end
  return answer
end

--- A section of INFO, or more: numbers as text.
---@return table<string, string>
function server.info(c, ...)
  local found = {}
  for name, item in server.ask(c, "INFO", ...):gmatch "([%w_]+):([^\r\n]*)" do
    found[name] = item
  end
  return found
end

--- How many keys each database has, and how many of those expire.
function server.keys(c)
  local found = {}
  local text = server.ask(c, "INFO", "keyspace")
  for n, keys, expires in text:gmatch "db(%d+):keys=(%d+),expires=(%d+)" do
    found[n] = { keys = math.tointeger(keys),
      expires = math.tointeger(expires) }
  end
  return found
end

--- Settings; those that this server does not know are not in it.
---@return table<string, string>
function server.settings(c, ...)
  local found = {}
  local function keep(list)
    for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  end
  local op <close> = c:command("CONFIG", "GET", ...)
  local list, err = op:wait()
  if list then
    keep(list)
  elseif not (err.server or ""):find "^ERR" then
    error(err, 0)
  else -- before 7.0 one at a time
    for _, name in ipairs { ... } do
      keep(server.ask(c, "CONFIG", "GET", name))
    end
  end
  return found
end

local function readable(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function absolute(path, dir)
  return path:sub(1, 1) == "/" and path or dir .. "/" .. path
end

-- "6379", or by its socket "redis"
local function name_of(options, port)
  if options.name then return options.name end
  if port ~= "0" then return port end
  local base = options.socket and options.socket:match "([^/]+)$" or "redis"
  return (base:gsub("%.sock$", ""))
end

--- What is known of an instance: raises where it cannot be held still.
---@return table
function server.look(c, options)
  local s = server.settings(c, "dir", "dbfilename", "appendonly",
    "appendfilename", "appenddirname", "aclfile", "databases")
  local i = server.info(c, "server")
  if not s.dir or s.dir:sub(1, 1) ~= "/" or not s.dbfilename then
    error(server.failure(E.E_ACCESSDENIED, "the server does not say where its "
      .. "data are: its user must be allowed CONFIG GET"), 0)
  end
  local dir = #s.dir > 1 and s.dir:gsub("/+$", "") or s.dir
  if shared[dir] then
    error(server.failure(E.SAROS_E_REFUSED, "the data of the server lie in %s, "
      .. "with everything else: give it a directory of its own (dir)", dir), 0)
  end
  local found = { name = name_of(options, i.tcp_port or "0"), dir = dir,
    version = i.redis_version, run_id = i.run_id, config = {},
    layout = { dir = dir, rdb = s.dbfilename, aof = s.appendfilename,
      appendonly = s.appendonly == "yes", aof_dir = s.appenddirname,
      databases = math.tointeger(s.databases) } }
  -- Beside the data they are part of them.
  for _, path in ipairs { i.config_file or "", s.aclfile or "" } do
    if path ~= "" then path = absolute(path, dir) end
    if path ~= "" and path:sub(1, #dir + 1) ~= dir .. "/" and readable(path)
    then
      found.config[#found.config + 1] = path
    end
  end
  return found
end

--- Patterns of its files that a dump is laid over, where files are copied, or
--- that no server reads.
function server.replaced(l)
  local list = { l.rdb, "temp-*.rdb" }
  if l.appendonly then
    list[3] = l.aof_dir and l.aof_dir .. "/*" or l.aof
    list[4] = "temp-rewriteaof*.aof"
  end
  for i, pattern in ipairs(list) do list[i] = l.dir .. "/" .. pattern end
  return list
end

local function size_of(path)
  local file <close> = io.open(path, "rb")
  return file and file:seek "end"
end

--- How many bytes the append-only file has in this directory, with all its
--- parts; nil when that cannot be told. What a list names is not believed to be
--- a name.
function server.log_size(layout, dir)
  if not layout.aof_dir then return size_of(dir .. "/" .. layout.aof) end
  dir = dir .. "/" .. layout.aof_dir .. "/"
  local manifest <close> = io.open(dir .. layout.aof .. ".manifest")
  if not manifest then return nil end
  local sum = 0
  for line in manifest:lines() do
    local name, type = line:match '^file ([^%s/"]+) seq %d+ type (%a)'
    if not name or name == ".." then return nil end
    if type ~= "h" then -- what is only to be deleted
      local size = size_of(dir .. name)
      if not size then return nil end
      sum = sum + size
    end
  end
  return sum
end

--- A connection, with the options that are its own.
function server.open(options)
  return client.open { socket = options.socket, host = options.host,
    port = options.port, user = options.user, password = options.password,
    connect_timeout = options.connect_timeout }
end

return server
