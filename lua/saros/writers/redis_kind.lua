---@private
-- What is known of Redis without its live server: how its files are made to
-- start elsewhere, found to be whole, and restored. What a version says of them
-- is not believed: names are names, and paths are below the component's own.

local core = require "saros.core"
local cell = require "saros.cell"
local E = require "saros.code"
local kind = require "saros.writers.kind"
local places = require "saros.place"
local server = require "saros.writers.redis_server"

local ID <const> = "9e8b7a54-3c1d-4e2f-8a6b-1f0e2d3c4b03"

local NAP <const> = 0.01


-- ------------------------------------------------------------------
-- Errors
-- ------------------------------------------------------------------

local function damaged(problems, ...)
  local err = core.failure("wsb", E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED,
    string.format(...))
  err.problems = problems
  return err
end

local function untried(...)
  local err = core.failure("wsb", E.E_FAIL, "the check could not be run: "
    .. string.format(...))
  err.untried = true
  return err
end

local function refused(...)
  return core.failure("saros", E.SAROS_E_REFUSED, string.format(...))
end


-- ------------------------------------------------------------------
-- The layout, as a version tells it
-- ------------------------------------------------------------------

-- Of the configuration there is nothing to start.
local function is_data(c) return c.type ~= "filegroup" end

local function is_name(text)
  return type(text) == "string" and text ~= "" and text ~= "." and text ~= ".."
    and #text < 256 and not text:find "[/%c]"
end

local function is_path(text)
  return type(text) == "string" and text:sub(1, 1) == "/" and #text < 4096
    and not text:find "%c" and not (text .. "/"):find("/../", 1, true)
end

local function layout(c)
  local said = type(c.said) == "table" and c.said or {}
  local l = type(said.layout) == "table" and said.layout or {}
  local dir = type(c.files) == "table" and c.files[1]
  if l.dir ~= dir or not is_path(dir) or not is_name(l.rdb)
    or type(l.appendonly) ~= "boolean"
    or l.appendonly and not is_name(l.aof)
    or l.aof_dir ~= nil and not is_name(l.aof_dir)
  then
    error(untried "its writer has not said how its files are called", 0)
  end
  local databases = math.tointeger(l.databases) or 16
  return { dir = dir, rdb = l.rdb, appendonly = l.appendonly,
    aof = l.aof, aof_dir = l.aof_dir,
    databases = math.max(1, math.min(databases, 1 << 20)),
    keys = type(said.keys) == "table" and said.keys or nil,
    log_size = math.tointeger(said.log_size),
    whole = said.consistency == "application" }
end

-- What a server that is started on it loads.
local function wanted(l)
  if not l.appendonly then return l.rdb end
  return l.aof_dir and l.aof_dir .. "/" .. l.aof .. ".manifest" or l.aof
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if not result then error(err, 0) end
  return result
end

local function run(...)
  return finish(core.process { argv = { ... } }).stdout
end


-- ------------------------------------------------------------------
-- To be started elsewhere
-- ------------------------------------------------------------------

local function settle(c, place)
  if not is_data(c) then return true end
  local l = layout(c)
  local dir = place:at(l.dir)
  if not dir then return nil, refused("%s is not in the version", l.dir) end
  -- A link leads to something that is not of this version.
  local links = run("find", dir, "-type", "l", "-printf", "%P\n")
  if links ~= "" then
    return nil, refused("%s/%s is a link: what it leads to is not known to be "
      .. "of the same instant", l.dir, links:match "[^\n]*")
  end
  -- What its children had not done, and what is of its process.
  run("find", dir, "-maxdepth", "1", "(", "-name", "temp-*.rdb", "-o", "-name",
    "temp-rewriteaof*.aof", "-o", "-name", "*.pid", "-o", "-type", "s", ")",
    "-delete")
  if l.aof_dir and exists(dir .. "/" .. l.aof_dir) then
    run("find", dir .. "/" .. l.aof_dir, "-maxdepth", "1", "-name", "temp-*",
      "-delete")
  end
  return true
end


-- ------------------------------------------------------------------
-- A server on the copy
-- ------------------------------------------------------------------

local root

local function is_root()
  if root == nil then root = run("id", "-u"):match "%d+" == "0" end
  return root
end

-- In the cell of a drill, or in one of ours where there can be one; never as
-- root.
local function begin(c, place, apart, options)
  options.grace = place.patience
  if apart then return apart.run(options) end
  if not cell.why() then
    options.place, options.hide = place, places.outside(place, c.files)
    return cell.run(options)
  end
  places.may_go_without(place)
  local argv = options.argv
  if is_root() then
    argv = { "setpriv", "--reuid", tostring(place.owner.uid), "--regid",
      tostring(place.owner.gid), "--clear-groups", "--no-new-privs",
      table.unpack(options.argv) }
  end
  return core.process { argv = argv, any_status = options.any_status,
    limit = options.limit, grace = options.grace }
end

local function program(name)
  local op <close> = core.process { argv = { "sh", "-c",
    'PATH=$PATH:/usr/sbin:/usr/local/bin:/usr/local/sbin; command -v "$0"',
    name }, any_status = true }
  local result, err = op:wait()
  if not result then error(err, 0) end
  if result.status == 0 then return (result.stdout:gsub("\n$", "")) end
  error(untried("%s is not installed here (Debian: redis-server, redis-tools)",
    name), 0)
end

local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

-- Nothing of production's configuration: no master, no modules, nobody who is
-- told, no place to write to but this one.
local function config_of(l, place, dir)
  local lines = { "port 0", "unixsocket " .. quoted(place.root
    .. "/run/redis.sock"), "unixsocketperm 700", "daemonize no",
    "supervised no", 'logfile ""', 'save ""', "dir " .. quoted(dir),
    "dbfilename " .. quoted(l.rdb), "databases " .. l.databases,
    "appendonly " .. (l.appendonly and "yes" or "no"),
    "auto-aof-rewrite-percentage 0", "appendfsync no",
    -- One that was held still ends with a whole command.
    "aof-load-truncated " .. (l.whole and "no" or "yes"),
    'notify-keyspace-events ""', "maxmemory 0", "always-show-logo no",
    -- A dump of it is for one, and begins at once.
    "repl-diskless-sync-delay 0" }
  if l.appendonly then
    lines[#lines + 1] = "appendfilename " .. quoted(l.aof)
    if l.aof_dir then
      lines[#lines + 1] = "appenddirname " .. quoted(l.aof_dir)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

---@class saros.writers.redis.drilled a server that a drill has started
---@field db saros.client.redis.connection
---@field socket string
local instance = {}
instance.__index = instance

--- Ends it; nothing is saved.
function instance:close()
  if self.db then self.db:close() end
  self.db = nil
  local op = self.op
  self.op = nil
  if op then op:close() end
end

instance.__close = instance.close

-- What it complains of, the last first.
local function last_words(text)
  local problems = {}
  for line in text:gmatch "[^\n]+" do
    local said = line:match "^%d+:%a .- [#*] (.*)$" or line
    if line:find "^%d+:%a .- # " or line:find "FATAL" then
      table.insert(problems, 1, said)
    end
  end
  return problems
end

local function ended(op)
  local result, err = op:wait()
  local text = result and result.stdout .. result.stderr
    or type(err) == "table" and err.message or tostring(err)
  local problems = last_words(text)
  if text:find("module", 1, true) and text:find("load", 1, true) then
    return untried("the data need a module: %s", problems[1] or text)
  end
  return damaged(problems, "a server does not start on it: %s", problems[1]
    or text:match "[^\n]+" or "it said nothing")
end

-- Until it has loaded everything; nothing tells when that is.
local function await(self)
  while true do
    if self.op:done() then return nil, ended(self.op) end
    if not self.db:is_open() then
      self.db = server.open { socket = self.socket }
    end
    local ask <close> = self.db:command "PING"
    local said, err = ask:wait()
    if said == "PONG" then return true end
    if not err.retryable then error(err, 0) end
    local nap <close> = core.sleep(NAP)
    assert(nap:wait())
  end
end

local function start(c, place, apart)
  if not is_data(c) then return nil end
  local l = layout(c)
  local dir = place:at(l.dir)
  if not dir or not exists(dir .. "/" .. wanted(l)) then
    -- It would start, and be empty.
    return nil, damaged({}, "%s/%s is not there: a server would start without "
      .. "any data", l.dir, wanted(l))
  end
  local binary = program "redis-server"
  local at = places.room(place, "redis.conf", "redis.sock")
  local config = at .. "/redis.conf"
  do
    local file <close> = assert(io.open(config, "w"))
    local ok, why = file:write(config_of(l, place, dir))
    if ok then ok, why = file:flush() end -- a full disk is seen only there
    if not ok then error(untried("%s: %s", config, why), 0) end
  end
  if is_root() then
    run("chown", "-h", ("%d:%d"):format(place.owner.uid, place.owner.gid), "--",
      config)
  end
  local self = setmetatable({ socket = at .. "/redis.sock" }, instance)
  local guard <close> = setmetatable({}, { __close = function(g)
    if not g.done then self:close() end
  end })
  self.op = begin(c, place, apart, { argv = { binary, config },
    any_status = true, limit = 16 << 20 })
  self.db = server.open { socket = self.socket }
  local ok, err = await(self)
  if not ok then return nil, err end
  function self.dump()
    return { argv = { program "redis-cli", "-s", self.socket, "--rdb", "-" } }
  end
  guard.done = true
  return self
end


-- ------------------------------------------------------------------
-- Is it whole?
-- ------------------------------------------------------------------

-- The tools' own judgement: nil, or what they found.
local function judged(c, place, ...)
  local r = finish(begin(c, place, nil, { argv = { ... }, any_status = true,
    limit = 1 << 20 }))
  if r.status == 0 then return nil end
  local text = r.stdout .. r.stderr
  local found = {}
  for line in text:gmatch "[^\n]+" do
    if line:find "rror" or line:find "not valid" or line:find "nexpected"
      or line:find "checksum" or line:find "diff=" or line:find "orrupt"
    then
      found[#found + 1] = line
    end
  end
  found[1] = found[1] or text:match "([^\n]+)\n*$" or "it said nothing"
  return found
end

-- What was counted while everybody waited; keys that expire may have.
local function compare(l, found)
  local problems = {}
  for n, was in pairs(l.keys or {}) do
    local keys = type(was) == "table" and math.tointeger(was.keys) or nil
    local expires = type(was) == "table" and math.tointeger(was.expires) or 0
    local now = found[n] and found[n].keys or 0
    if keys and (now > keys or now < keys - expires) then
      problems[#problems + 1] = ("database %s: %d keys, and there were %d")
        :format(n, now, keys)
    end
  end
  for n, now in pairs(found) do
    if l.keys and not l.keys[n] and now.keys > 0 then
      problems[#problems + 1] = ("database %s: %d keys, and there were none")
        :format(n, now.keys)
    end
  end
  table.sort(problems)
  return problems
end

-- A log that ends with a whole command is whole for everybody else.
local function compare_log(l, dir)
  local size = l.log_size and l.appendonly and server.log_size(l, dir)
  if not size or size == l.log_size then return nil end
  return { ("its append-only file has %d bytes, and it had %d"):format(size,
    l.log_size) }
end

local function check(c, place)
  if not is_data(c) then return true end
  local l = layout(c)
  local dir = place:at(l.dir)
  if not dir then return nil, untried("%s is not in the copy", l.dir) end
  local rdb, log = dir .. "/" .. l.rdb, dir .. "/" .. wanted(l)
  local problems
  if not l.appendonly and exists(rdb) then
    problems = judged(c, place, program "redis-check-rdb", rdb)
  elseif l.appendonly and l.whole and exists(log) then
    problems = judged(c, place, program "redis-check-aof", log)
  end
  problems = problems or compare_log(l, dir)
  if problems then
    return nil, damaged(problems, "the check found: %s", problems[1])
  end
  local running <close>, err = start(c, place)
  if not running then return nil, err end
  local keys = server.keys(running.db)
  problems = compare(l, keys)
  if #problems > 0 then
    return nil, damaged(problems, "it is not of that instant: %s%s",
      problems[1], #problems > 1
        and (" (and %d more)"):format(#problems - 1) or "")
  end
  return { keys = keys, counted = l.keys ~= nil }
end


-- ------------------------------------------------------------------
-- Restoring
-- ------------------------------------------------------------------

-- A server stays in its directory, also one that has a number of its own in a
-- container.
local function busy(c, place)
  if not is_data(c) or type(c.files) ~= "table" then return nil end
  local at = is_path(c.files[1]) and place:at(c.files[1])
  if not at then return nil end
  local op <close> = core.process { any_status = true, argv = { "find", "-L",
    "/proc", "-mindepth", "2", "-maxdepth", "2", "-path", "/proc/[0-9]*/cwd",
    "-samefile", at } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  for pid in result.stdout:gmatch "/proc/(%d+)/cwd" do
    local file <close> = io.open("/proc/" .. pid .. "/comm")
    local name = file and file:read "l" or ""
    if name:find "^redis" or name:find "^valkey" then
      return ("a Redis server (process %s) runs on %s: stop it first, without "
        .. "a last dump (redis-cli SHUTDOWN NOSAVE)"):format(pid, c.files[1])
    end
  end
  return nil
end

local function plan(c, options)
  local quote = options.quote or function(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
  end
  if not is_data(c) then
    return { "These are configuration and users (ACL) of the Redis server: "
      .. "look at them", "before it is started." }
  end
  local l = layout(c)
  local dir = options.at and options:at(l.dir)
    or (options.root or "") .. l.dir
  local lines = { "Redis, with its data in " .. l.dir .. ". The server must be "
    .. "down, and must not", "have written a last dump over what was restored: "
    .. "redis-cli SHUTDOWN NOSAVE,", "or systemctl stop redis-server before "
    .. "the files are moved.", "" }
  local function add(...) lines[#lines + 1] = "    " .. string.format(...) end
  if options.owner then
    add("chown -R %s %s", options.owner, dir)
  end
  add("rm -f %s/temp-*.rdb", dir)
  if l.appendonly then
    add("redis-check-aof %s%s", dir, quote("/" .. wanted(l)))
  else
    add("redis-check-rdb %s%s", dir, quote("/" .. l.rdb))
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Its configuration must say what it said then, or it "
    .. "starts without data:"
  lines[#lines + 1] = ""
  local function says(...) lines[#lines + 1] = "  " .. string.format(...) end
  says("dir %s", l.dir)
  if l.appendonly then
    says("appendonly yes")
    says("appendfilename %s", quoted(l.aof))
    if l.aof_dir then says("appenddirname %s", quoted(l.aof_dir)) end
  else
    says("appendonly no")
    says("dbfilename %s", quoted(l.rdb))
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Then start it (systemctl start redis-server), and look "
    .. "at redis-cli DBSIZE."
  return lines
end

return kind.define { name = "redis", id = ID, check = check, settle = settle,
  start = start, busy = busy, plan = plan }
