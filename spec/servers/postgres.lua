--- A PostgreSQL server of a spec's own: on a Unix socket, in a directory of its
--- own, as a user who may do nothing. What initdb makes is made once per build,
--- and copied.
---
--- ```lua
--- local postgres = require "spec.servers.postgres"
--- if postgres.missing then pending(postgres.missing) end
--- local pg <close> = postgres.start { at = v.path }
--- assert.equal("1\n", pg:sql "SELECT 1")
--- ```

local outside = require "spec.outside"
local scratch = require "spec.scratch"
local system = outside.system

local postgres = {}

-- Where Debian has them, the newest first; or those of SAROS_POSTGRES, which
-- are of another version then (spec/vm/postgres makes some).
local function binaries()
  local one = os.getenv "SAROS_POSTGRES"
  if one and one ~= "" then return { one } end
  local pipe <close> = assert(io.popen(
    "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn"))
  local found = {}
  for line in pipe:lines() do
    if io.open(line .. "/postgres") then found[#found + 1] = line end
  end
  return found
end

--- Of every major version that is here.
---@type string[]
postgres.binaries = binaries()

--- Why there is none to be had, or nil. (Its own programs hang under the
--- sanitizer that is preloaded for us; the client's spec runs none of them.)
---@type string?
postgres.missing = not postgres.binaries[1]
  and "needs a PostgreSQL server in /usr/lib/postgresql"
  or not outside.installed "setpriv" and "needs setpriv"
  or os.getenv "SAROS_SANITIZER" == "address"
  and "PostgreSQL's programs hang with a preloaded sanitizer" or nil

local root = os.execute "test $(id -u) = 0"
local USER = 65534

--- What is put before a program so that it runs as the servers do; without the
--- sanitizer that is preloaded for us, in which PostgreSQL hangs.
local as = "env -u LD_PRELOAD " .. (root
  and ("setpriv --reuid=%d --regid=%d --clear-groups -- "):format(USER, USER)
  or "")

-- Runs a shell command: its output, and whether it ended well.
local function sh(command, ...)
  local pipe = assert(io.popen("exec 2>&1; cd /; "
    .. (select("#", ...) > 0 and command:format(...) or command)))
  local text = pipe:read "a"
  return text, (pipe:close())
end

local function must(...)
  local text, good = sh(...)
  if not good then error(text, 2) end
  return text
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- A new directory that the servers' user may look into.
function postgres.directory()
  local d = scratch.new()
  return d.path, d
end

-- What initdb makes, with small WAL files: so that there are several. Nobody
-- but root may be able to look into the build: it is made elsewhere.
local function template(bin, checksums)
  local build = os.getenv "SAROS_BUILD" or outside.content "/proc/self/cwd/build"
    or "build"
  local path = ("%s/servers/postgres-%s%s"):format(build,
    bin:match "postgresql/(%d+)", checksums and "-checksums" or "")
  if os.execute("test -f " .. quoted(path .. "/PG_VERSION")) then return path end
  local at, _ <close> = postgres.directory()
  must([[set -e; mkdir -p %s; chmod 777 %s
    %s%s/initdb --no-sync -A trust -U pg -E UTF8 --locale=C.UTF-8 \
      --wal-segsize=1 %s -D %s/data >%s/log 2>&1 || { cat %s/log; exit 1; }
    cp -a %s/data %s.$$; mv -T %s.$$ %s 2>/dev/null || rm -rf %s.$$]],
    quoted(build .. "/servers"), at, as, bin, checksums and "-k" or "", at, at,
    at, at, quoted(path), quoted(path), quoted(path), quoted(path))
  return path
end

---@class spec.postgres
---@field at string its directory
---@field data string
---@field socket string the directory of its socket
---@field port integer
---@field conninfo string
---@field pid integer
---@field bin string
local server = {}
server.__index = server

local number = 0

--- Starts one. `wal`, `config`, `archive`: directories (made, unless they are
--- there) that pg_wal, the configuration (as Debian has it) and the archive are
--- to be in.
---@param options? table at, bin, checksums, wal, config, archive, settings
---@return spec.postgres
function postgres.start(options)
  local o = options or {}
  local self = setmetatable({ bin = o.bin or postgres.binaries[1],
    options = o }, server)
  self.major = self.bin:match "(%d+)/bin$"
  number = number + 1
  self.port = o.port or 5500 + number
  local base = o.at
  if not base then
    base, self.mine = postgres.directory()
  else
    must("mkdir -p %s", quoted(base))
  end
  self.at, self.data, self.socket = base, base .. "/data", base .. "/run"
  self.log = base .. "/log"
  must([[set -e; cp -a --reflink=auto %s %s; mkdir -m 755 %s; : >%s
    chown %s %s %s]], quoted(template(self.bin, o.checksums)),
    quoted(self.data), quoted(self.socket), quoted(self.log),
    root and USER or "$(id -u)", quoted(self.socket), quoted(self.log))
  if o.wal then
    must([[set -e; mkdir -p %s; mv -T %s/pg_wal %s/pg_wal
      ln -s %s/pg_wal %s/pg_wal]], quoted(o.wal), quoted(self.data),
      quoted(o.wal), quoted(o.wal), quoted(self.data))
  end
  self.config = o.config or self.data
  local settings = { port = self.port, listen_addresses = "''",
    unix_socket_directories = ("'%s'"):format(self.socket),
    shared_buffers = "8MB", max_wal_size = "8MB", min_wal_size = "2MB",
    lc_messages = "'C'",
    -- What is in /dev/shm stays when one is killed.
    dynamic_shared_memory_type = "mmap" }
  if o.archive then
    must("mkdir -p %s; chown %s %s", quoted(o.archive),
      root and USER or "$(id -u)", quoted(o.archive))
    settings.archive_mode = "on"
    settings.archive_command = ("'cp %%p %s/%%f'"):format(o.archive)
  end
  if o.config then
    must("mkdir -p %s && mv %s/*.conf %s && mv %s/postgresql.auto.conf %s",
      quoted(o.config), quoted(self.data), quoted(o.config), quoted(o.config),
      quoted(self.data))
    settings.data_directory = ("'%s'"):format(self.data)
    settings.hba_file = ("'%s/pg_hba.conf'"):format(o.config)
    settings.ident_file = ("'%s/pg_ident.conf'"):format(o.config)
  end
  for name, item in pairs(o.settings or {}) do settings[name] = item end
  local file <close> = assert(io.open(self.config .. "/postgresql.conf", "a"))
  for name, item in pairs(settings) do
    file:write(("%s = %s\n"):format(name, tostring(item)))
  end
  file:close()
  self.conninfo = ("host=%s port=%d dbname=postgres user=pg")
    :format(self.socket, self.port)
  self:run()
  return self
end

-- All its processes: they are where its data is.
function server:pids()
  local found = {}
  for pid in sh("find /proc/[0-9]* -maxdepth 1 -name cwd -lname %s 2>/dev/null",
    quoted(self.data)):gmatch "/proc/(%d+)/cwd"
  do
    found[#found + 1] = tonumber(pid)
  end
  return found
end

function server:signal(number_)
  for _, pid in ipairs(self:pids()) do system.kill(pid, number_) end
end

-- Starts it, and waits until it takes connections.
function server:run()
  outside.write(self.log, "")
  self.process = outside.start("sh", "-c", ([[exec %s%s/postgres -D %s %s \
    >>%s 2>&1 </dev/null]]):format(as, self.bin, quoted(self.data),
    self.options.config and "-c config_file="
      .. quoted(self.config .. "/postgresql.conf") or "", quoted(self.log)))
  self.pid = self.process.pid
  outside.eventually("PostgreSQL is ready", function()
    local text = outside.content(self.log) or ""
    if text:find "ready to accept" then return true end
    if text:find "FATAL" and not text:find "starting up" then
      error("PostgreSQL did not start:\n" .. text, 0)
    end
  end)
end

--- Runs SQL with psql, a session for it alone: what it printed, and whether it
--- went well.
function server:sql(text, database)
  local p <close> = outside.start("env", "-u", "LD_PRELOAD",
    self.bin .. "/psql", "-XAtq", "-v",
    "ON_ERROR_STOP=1", "-d", self.conninfo .. (database and " dbname="
    .. database or ""), "-c", text)
  local said, _, status = p:finish()
  return said, status == 0
end

--- The same, and it must go well.
function server:must(text, database)
  local said, good = self:sql(text, database)
  if not good then error(said, 2) end
  return said
end

--- Makes a directory its own, and a tablespace of it.
function server:tablespace(name, path)
  must("mkdir -p %s && chown %s %s", quoted(path), root and USER
    or "$(id -u)", quoted(path))
  self:must(("CREATE TABLESPACE %s LOCATION '%s'"):format(name, path))
end

-- Until nobody is left, who may be in the middle of leaving.
function server:gone()
  self.process:__close()
  outside.eventually("PostgreSQL ends", function()
    return #self:pids() == 0
  end)
end

function server:stop()
  system.kill(self.pid, 2) -- INT: it does not wait for its clients
  self.process:finish()
  self:gone()
end

--- As if the machine had failed, but for the disk.
function server:kill()
  self:signal(9)
  self:gone()
end

--- It reads its configuration again, before this returns.
function server:reload()
  local function seen()
    local _, n = (outside.content(self.log) or ""):gsub("received SIGHUP", "")
    return n
  end
  local before = seen()
  system.kill(self.pid, 1)
  outside.eventually("PostgreSQL reads its configuration", function()
    return seen() > before
  end)
end

function server:freeze() self:signal(19) end
function server:go() self:signal(18) end

function server:restart()
  self:stop()
  self:run()
end

function server:close()
  if self.closed then return end
  self.closed = true
  if self.process then self:kill() end
  local mine <close> = self.mine -- luacheck: ignore
end

server.__close = server.close
server.__gc = server.close

--- Somebody who commits rows one after the other into a new table, hundreds a
--- second, and notes each that was acknowledged. `:acknowledged()` is how many were.
function server:load(name, tablespace)
  name = name or "ledger"
  self:must(("CREATE TABLE %s (n bigserial PRIMARY KEY, t text)%s"):format(name,
    tablespace and " TABLESPACE " .. tablespace or ""))
  local notes = self.at .. "/" .. name .. ".acknowledged"
  local load = { notes = notes }
  -- A statement that is answered is committed. He takes breath, so that the
  -- others have a processor, and what is looked at later is small.
  local insert = ("INSERT INTO %s (t) VALUES (repeat('x', 300)) RETURNING n;"
    .. " SELECT pg_sleep(0.002);"):format(name)
  load.process = outside.start("sh", "-c", ("yes %s | stdbuf -oL %s/psql -XAtq "
    .. "-v ON_ERROR_STOP=1 %s >%s 2>&1"):format(quoted(insert), self.bin,
    quoted(self.conninfo), quoted(notes)))
  function load.acknowledged()
    local last = 0
    local file <close> = io.open(notes)
    if not file then return 0 end
    file:seek("set", math.max(0, file:seek "end" - 100))
    for n in file:read "a":gmatch "(%d+)\n" do last = tonumber(n) end
    return last
  end
  function load.close()
    load.process:__close()
  end
  setmetatable(load, { __close = load.close })
  outside.eventually("rows are written", function()
    return load.acknowledged() > 20
  end)
  return load
end

return postgres
