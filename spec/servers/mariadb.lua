--- A MariaDB server for specs: on a socket in a directory of its own, as nobody
--- when we are root, never the system's own. It ends with its block, however it
--- was treated. Its data come from a template that is made once per build.
---
--- ```lua
--- local mariadb = require "spec.servers.mariadb"
--- if mariadb.missing then pending(mariadb.missing) end
--- local m <close> = mariadb.start { binlog = true }
--- m:sql "CREATE TABLE app.t (n INT PRIMARY KEY)"
--- ```
---
--- There is an empty database `app`; root has no password.

local outside = require "spec.outside"
local scratch = require "spec.scratch"
local system = outside.system

local function lacking()
  for _, name in ipairs { "mariadbd", "mariadb", "mariadb-install-db",
    "mariadb-check", "setpriv" }
  do
    if not outside.installed(name) then
      return ("needs %s (Debian: mariadb-server)"):format(name)
    end
  end
end

local mariadb = {
  --- Why there is none to be had, or nil.
  ---@type string?
  missing = lacking(),
  --- Who it runs as, if it is ours to say.
  uid = 65534,
}

--- Whether there is one, and why not.
function mariadb.available() return mariadb.missing == nil, mariadb.missing end

local root = os.execute "test $(id -u) = 0"

local function output(command, ...)
  local pipe <close> = assert(io.popen(command:format(...)))
  return (pipe:read "a":gsub("\n$", ""))
end

local function sh(command, ...)
  local text, how, status = outside.run("sh", "-ec", "PATH=$PATH:/usr/sbin; "
    .. command:format(...))
  assert(how == "exit" and status == 0, text)
  return text
end

--- What runs it as somebody who may do little.
local function as_nobody(...)
  if not root then return ... end
  local id = tostring(mariadb.uid)
  return "setpriv", "--reuid", id, "--regid", id, "--clear-groups", ...
end

-- ------------------------------------------------------------------
-- The template
-- ------------------------------------------------------------------

local build = os.getenv "SAROS_BUILD" or "build"

-- What Debian's default of 96 MB would cost every copy is not needed.
local small = { "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M",
  "--performance-schema=OFF", "--key-buffer-size=4M",
  "--aria-pagecache-buffer-size=8M", "--aria-log-file-size=8M" }

-- Made aside and moved, so that two suites at a time are in nobody's way.
local function make_template(place)
  local at <close> = scratch.new()
  local data = at.path .. "/data"
  sh("mkdir -m 700 '%s'; %s", data, root
    and ("chown %d:%d '%s'"):format(mariadb.uid, mariadb.uid, data) or "true")
  local text, how, status = outside.run(as_nobody("mariadb-install-db",
    "--no-defaults", "--auth-root-authentication-method=normal",
    "--skip-test-db", "--datadir=" .. data, table.unpack(small)))
  assert(how == "exit" and status == 0, text)
  sh("mkdir -p '%s/app'; printf 'default-character-set=utf8mb4\\n' >'%s/app/db.opt'; "
    .. "chown --reference='%s' '%s/app' '%s/app/db.opt'", data, data, data, data,
    data)
  sh([[mkdir -p '%s'; new=$(mktemp -d '%s.XXXXXX')
    cp -a '%s' "$new/data"
    mv -T "$new/data" '%s' 2>/dev/null || test -d '%s/mysql'; rm -rf "$new"]],
    place:match "(.*)/", place, data, place, place)
end

local function template()
  local place = ("%s/servers/mariadb-%s-%s"):format(build,
    output "PATH=$PATH:/usr/sbin mariadbd --version" :match "Ver ([%w.]+)",
    root and mariadb.uid or output "id -u")
  if not os.execute(("test -d '%s/mysql'"):format(place)) then
    make_template(place)
  end
  return place
end

-- ------------------------------------------------------------------
-- A server
-- ------------------------------------------------------------------

---@class spec.servers.mariadb
---@field root string its directory
---@field data string where its data are
---@field socket string the path of its socket
---@field log string its error log
---@field pid integer
local server = {}
server.__index = server

---@class spec.servers.mariadb.options
---@field at? string a directory, made if missing (else a new one, removed at the end)
---@field data? string where its data are (`at/data`); the template is copied there if nothing is
---@field binlog? boolean|string a binary log; its base name, if absolute elsewhere
---@field events? boolean the event scheduler runs
---@field args? string[] more arguments
---@field wait? boolean false: start returns before it is ready

--- Starts one, and returns when it is ready.
---@param options? spec.servers.mariadb.options
---@return spec.servers.mariadb
function mariadb.start(options)
  options = options or {}
  local made = not options.at and scratch.new() or nil
  local at = options.at or made.path
  local m = setmetatable({ root = at, made = made,
    data = options.data or at .. "/data", socket = at .. "/my.sock",
    log = at .. "/my.log" }, server)
  assert(#m.socket <= 107, "the path of its socket is too long: " .. m.socket)
  sh("mkdir -p '%s'; chmod 755 '%s'", at, at)
  if root then sh("chown %d:%d '%s'", mariadb.uid, mariadb.uid, at) end
  if not os.execute(("test -e '%s/mysql'"):format(m.data)) then
    sh("mkdir -p -m 700 '%s'; cp -a --reflink=auto '%s/.' '%s'", m.data,
      template(), m.data)
  end
  local args = { "mariadbd", "--no-defaults", "--datadir=" .. m.data,
    "--socket=" .. m.socket, "--pid-file=" .. at .. "/my.pid",
    "--log-error=" .. m.log, "--skip-networking", "--skip-name-resolve",
    "--innodb-fast-shutdown=1", table.unpack(small) }
  if options.binlog then
    local name = options.binlog == true and "binlog" or options.binlog
    args[#args + 1] = "--log-bin=" .. name
    args[#args + 1] = "--server-id=1"
  end
  args[#args + 1] = "--event-scheduler=" .. (options.events and "ON" or "OFF")
  m.args = table.move(options.args or {}, 1, #(options.args or {}), #args + 1,
    args)
  local ok, err = pcall(m.go_on, m, options.wait)
  if ok then return m end
  m:__close()
  error(err, 0)
end

--- Starts its process, on the data that are there.
---@param wait? boolean false: does not wait until it is ready
function server:go_on(wait)
  self.from = #(outside.content(self.log) or "")
  self.process = outside.start("env", "PATH=" .. os.getenv "PATH"
    .. ":/usr/sbin", as_nobody(table.unpack(self.args)))
  self.pid = self.process.pid
  if wait ~= false then self:ready() end
end

--- What it has logged since it was started last.
function server:said()
  return (outside.content(self.log) or ""):sub(self.from + 1)
end

--- Waits until it takes connections.
function server:ready()
  outside.eventually("mariadbd is ready: " .. self.socket, function()
    local said = self:said()
    if said:find("ready for connections", 1, true) then return true end
    if not self.process or self:ended() then
      error("mariadbd ended: " .. said .. (self.process
        and self.process.output or ""), 0)
    end
  end)
end

--- Whether its process is over.
function server:ended()
  local status = outside.content("/proc/" .. self.pid .. "/stat")
  return not status or status:match "%) (%a)" == "Z"
end

local function client(self, ...)
  return "mariadb", "--no-defaults", "--socket=" .. self.socket, "--user=root",
    "--database=app", "--skip-column-names", "--batch", "--unbuffered", "-e", ...
end

--- Statements, by the server's own client: what it printed, without the last
--- newline, or nil and that.
---@return string? printed
---@return string? why
function server:try(text)
  local said, how, status = outside.run(client(self, text))
  said = said:gsub("\n$", "")
  if how == "exit" and status == 0 then return said end
  return nil, said
end

--- The same; raises if it fails.
---@return string printed
function server:sql(text) return assert(self:try(text)) end

--- The same, while the spec goes on: a program that was started, to be closed.
--- ``local p <close> = m:begin "BEGIN; …; SELECT 'held'; SELECT SLEEP(1000)"``
---@return outside.process
function server:begin(text) return outside.start(client(self, text)) end

local function reap(self)
  local p = self.process
  self.process = nil
  if p then p:__close() end
end

--- As its administrator ends it.
function server:stop()
  self:go()
  system.kill(self.pid, 15)
  outside.eventually("mariadbd ends", function() return self:ended() end)
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
  outside.eventually("mariadbd stands still", function()
    local stat = outside.content("/proc/" .. self.pid .. "/stat") or ""
    return stat:match "%) (%a)" == "T"
  end)
end

function server:go() system.kill(self.pid, 18) end

--- Ends it if it runs, and starts it anew.
---@param wait? boolean false: does not wait until it is ready
function server:restart(wait)
  if self.process then self:stop() end
  self:go_on(wait)
end

function server:__close()
  self:kill()
  if self.made then self.made:close() end
end

return mariadb
