--- The databases of which saros has writers, as specs and benchmarks need them
--- beside each other: started in a directory, written to, and looked at in a
--- copy. What cannot be had here says why.
---
--- ```lua
--- local databases = require "spec.databases"
--- local pg <close> = databases.start("postgres", v.path)
--- local w <close> = pg:writer { freeze_timeout = 20 }
--- local c <close> = pg:client()
--- assert(c.write(1))
--- assert.equal(1, pg:last_in(set[pg.path].path))
--- ```

local outside = require "spec.outside"

local databases = {}

--- All of them.
databases.names = { "postgres", "mariadb", "redis", "sqlite" }

local function sh(command, ...)
  local text, how, status = outside.run("sh", "-ec", "PATH=$PATH:/usr/sbin; "
    .. command:format(...))
  if how ~= "exit" or status ~= 0 then error(text, 2) end
  return text
end

-- Waits, also outside a test: what failed is raised.
local function must(op)
  local _ <close> = op
  local result, err = op:wait()
  if result == nil and err then error(err, 0) end
  return result
end

-- A directory that goes with the block.
local function scratch()
  local path = sh("d=$(mktemp -d /tmp/saros-%s-XXXXXX); chmod 755 $d; echo $d",
    os.getenv "SAROS_SUITE" or "spec"):gsub("\n", "")
  return path, setmetatable({}, { __close = function()
    os.execute(("rm -rf --one-file-system '%s'"):format(path))
  end })
end

---@class spec.database
---@field name string
---@field path string the directory that has all of it
---@field server table? of spec.servers
---@field pid? integer
local database = {}
database.__index = database

function database:close()
  if self.server then self.server:__close() end
end

database.__close = database.close

-- ------------------------------------------------------------------
-- PostgreSQL
-- ------------------------------------------------------------------

local postgres = {}

function postgres.missing()
  return require "spec.servers.postgres".missing
end

function postgres.start(self, at, durable)
  local server = require "spec.servers.postgres".start { at = at .. "/pg",
    settings = { fsync = durable and "on" or "off" } }
  server:must "CREATE TABLE ledger (n bigint PRIMARY KEY, x text)"
  self.server, self.path, self.pid = server, server.data, server.pid
end

function postgres.writer(self, options)
  options.conninfo = self.server.conninfo
  return require "saros.writers.postgres".writer(options)
end

function postgres.client(self)
  local client = require "saros.client.postgres"
  local db = client.open { conninfo = self.server.conninfo }
  return db, function(n)
    return db:exec(("INSERT INTO ledger VALUES (%d, repeat('x', 200))")
      :format(n))
  end
end

-- Without a server: it recovers, and answers one question.
function postgres.last_in(self, copy, at)
  sh("rm -f '%s/postmaster.pid'", copy)
  local as = os.execute "test $(id -u) = 0"
    and "setpriv --reuid=65534 --regid=65534 --clear-groups --" or ""
  local said = sh("cd '%s'; echo 'SELECT coalesce(max(n), 0) AS last FROM ledger' | %s "
    .. "%s/postgres --single -D '%s' -c logging_collector=off postgres 2>&1",
    at, as, self.server.bin, copy)
  return tonumber(said:match 'last = "(%d+)"')
    or error("PostgreSQL did not recover: " .. said, 0)
end

-- ------------------------------------------------------------------
-- MariaDB
-- ------------------------------------------------------------------

local mariadb = {}

function mariadb.missing()
  return require "spec.servers.mariadb".missing
end

function mariadb.start(self, at, durable)
  local server = require "spec.servers.mariadb".start { at = at .. "/my",
    args = { "--innodb-flush-log-at-trx-commit=" .. (durable and 1 or 2) } }
  server:sql "CREATE TABLE app.ledger (n BIGINT PRIMARY KEY, x TEXT)"
  self.server, self.path, self.pid = server, server.data, server.pid
end

function mariadb.writer(self, options)
  options.socket, options.user = self.server.socket, "root"
  return require "saros.writers.mariadb".writer(options)
end

function mariadb.client(self)
  local client = require "saros.client.mariadb"
  local db = client.open { socket = self.server.socket, user = "root",
    database = "app" }
  return db, function(n)
    return db:exec(("INSERT INTO ledger VALUES (%d, repeat('x', 200))")
      :format(n))
  end
end

function mariadb.last_in(_, copy, at)
  local server <close> = require "spec.servers.mariadb".start { at = at .. "/r",
    data = copy }
  return tonumber(server:sql "SELECT coalesce(max(n), 0) FROM app.ledger")
end

-- ------------------------------------------------------------------
-- Redis
-- ------------------------------------------------------------------

local redis = {}

function redis.missing()
  return require "spec.servers.redis".missing
end

function redis.start(self, at, durable)
  local server = require "spec.servers.redis".start { at = at .. "/redis",
    config = { appendonly = "yes",
      appendfsync = durable and "everysec" or "no" } }
  self.server, self.path, self.pid = server, server.data, server.pid
end

function redis.writer(self, options)
  options.socket = self.server.socket
  return require "saros.writers.redis".writer(options)
end

function redis.client(self)
  local client = require "saros.client.redis"
  local db = client.open { socket = self.server.socket }
  return db, function(n) return db:command("SET", "last", ("%d"):format(n)) end
end

function redis.last_in(_, copy, at)
  sh("mkdir '%s/r'; mv '%s' '%s/r/data'", at, copy, at)
  local server <close> = require "spec.servers.redis".start { at = at .. "/r",
    config = { appendonly = "yes" } }
  return tonumber(server:cli("GET", "last")) or 0
end

-- ------------------------------------------------------------------
-- SQLite
-- ------------------------------------------------------------------

local sqlite = {}

function sqlite.missing()
  local there = pcall(require, "saros.client.sqlite")
  return not there and "saros.client.sqlite was left out of this build" or nil
end

function sqlite.start(self, at)
  local client = require "saros.client.sqlite"
  self.path = at .. "/sqlite"
  self.file = self.path .. "/app.db"
  sh("mkdir '%s'", self.path)
  local db <close> = client.open { path = self.file, create = true }
  must(db:query "PRAGMA journal_mode = wal")
  must(db:exec "CREATE TABLE ledger (n INTEGER PRIMARY KEY, x TEXT)")
end

function sqlite.writer(self, options)
  options.databases = { self.file }
  return require "saros.writers.sqlite".writer(options)
end

function sqlite.client(self)
  local client = require "saros.client.sqlite"
  local db = client.open { path = self.file, busy_timeout = 60 }
  return db, function(n)
    return db:exec("INSERT INTO ledger VALUES (?, ?)", n, ("x"):rep(200))
  end
end

function sqlite.last_in(_, copy)
  local client = require "saros.client.sqlite"
  local db <close> = client.open { path = copy .. "/app.db" }
  return must(db:query "SELECT coalesce(max(n), 0) AS n FROM ledger")[1].n
end

-- ------------------------------------------------------------------
-- All
-- ------------------------------------------------------------------

local kinds = { postgres = postgres, mariadb = mariadb, redis = redis,
  sqlite = sqlite }

local modules = { postgres = "postgres", mariadb = "mariadb", redis = "redis" }

--- Why it cannot be had here, or nil.
---@return string?
function databases.missing(name)
  if modules[name] then
    for _, where in ipairs { "saros.client.", "saros.writers." } do
      local there, why = pcall(require, where .. name)
      if not there then
        return ("%s%s cannot be had: %s"):format(where, name,
          tostring(why):match "^[^\n]*")
      end
    end
  end
  return kinds[name].missing()
end

--- Starts it below a directory; `durable`: as it is when it matters.
---@return spec.database
function databases.start(name, at, durable)
  local self = setmetatable({ name = name, kind = kinds[name] }, database)
  sh("chmod a+rx '%s' '%s/..'", at, at) -- servers are nobody
  kinds[name].start(self, at, durable)
  return self
end

--- What another process needs to know of it, as Lua; `databases.known` is it
--- again there.
---@return string
function database:told()
  local s = self.server or {}
  return ("{ name = %q, path = %q, file = %q, server = { conninfo = %q, "
    .. "socket = %q } }"):format(self.name, self.path, self.file or "",
    s.conninfo or "", s.socket or "")
end

--- One that runs elsewhere: for writers and clients of it.
---@return spec.database
function databases.known(told)
  told.kind = kinds[told.name]
  return setmetatable(told, { __index = database })
end

--- Subscribes its writer.
function database:writer(options) return self.kind.writer(self, options or {}) end

--- Somebody who writes numbers: `write(n)` is an operation. Ends with the block.
function database:client()
  local db, write = self.kind.client(self)
  local client = { write = write, db = db }
  function client.close() db:close(5) end
  return setmetatable(client, { __close = client.close })
end

--- The last number in a copy of a shadow of its path.
---@return integer
function database:last_in(shadow)
  local at, _ <close> = scratch()
  sh("cp -a '%s' '%s/copy'", shadow, at)
  if os.execute "test $(id -u) = 0" then
    sh("chown 65534:65534 '%s'", at)
  end
  return self.kind.last_in(self, at .. "/copy", at)
end

return databases
