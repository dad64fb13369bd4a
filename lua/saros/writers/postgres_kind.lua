---@private
-- What is known of a PostgreSQL cluster without the cluster: by a version of
-- its files alone.

local files = require "saros.writers.postgres_kind.files"
local kind = require "saros.writers.kind"
local plan = require "saros.writers.postgres_kind.plan"
local server = require "saros.writers.postgres_kind.server"
local settle = require "saros.writers.postgres_kind.settle"
local check = require "saros.writers.postgres_kind.check"

local ID <const> = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01"


-- ------------------------------------------------------------------
-- A drill's instance
-- ------------------------------------------------------------------

local function word(text)
  return "'" .. tostring(text):gsub("[\\']", "\\%0") .. "'"
end

local function conninfo(running, database)
  return ("host=%s port=%d user=%s dbname=%s connect_timeout=60 options=%s")
    :format(word(running.socket), running.port, word(running.user),
      word(database), word("-c session_preload_libraries= "
      .. "-c local_preload_libraries="))
end

local function client()
  local ok, module = pcall(require, "saros.client.postgres")
  if ok then return module end
  error(files.untried("saros.client.postgres is not in this build"), 0)
end

local function rows_of(op)
  local mine <close> = op
  local rows, err = mine:wait()
  if not rows then error(err, 0) end
  return rows
end

local function quoted(name) return '"' .. name:gsub('"', '""') .. '"' end

-- None of their workers can start on this server, and none will when somebody
-- keeps the files.
local function end_subscriptions(running, postgres)
  local db <close> = postgres.open { conninfo = conninfo(running, "template1") }
  for _, row in ipairs(rows_of(db:query [[SELECT d.datname, s.subname
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE s.subenabled]]))
  do
    local own <close> = postgres.open {
      conninfo = conninfo(running, row.datname) }
    rows_of(own:exec(("ALTER SUBSCRIPTION %s DISABLE"):format(
      quoted(row.subname))))
  end
end

-- The database that a drill's questions are about, when it is told none: the
-- only one that somebody made.
local function main_database(running, postgres)
  local db <close> = postgres.open { conninfo = conninfo(running, "template1") }
  local rows = rows_of(db:query [[SELECT datname FROM pg_database
    WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres']])
  return #rows == 1 and rows[1].datname or "postgres"
end

---@class saros.writers.postgres.drilled a cluster that a drill has started
---@field db saros.client.postgres.connection to its only database, or "postgres"
---@field connect fun(database: string): saros.client.postgres.connection
---@field conninfo fun(database: string): string for other clients

local instance = {}
instance.__index = instance

--- Stops it.
function instance:close()
  for _, db in ipairs(self.open) do db:close() end
  self.open = {}
  self.running:close()
end

instance.__close = instance.close

local function start(c, place, cell)
  local cluster, err = files.cluster(c, place)
  if not cluster then return nil, err end
  local postgres = client()
  local running, why = server.start(cluster, place, cell)
  if not running then return nil, why end
  local self = setmetatable({ running = running, open = {},
    socket = running.socket, port = running.port, user = running.user },
    instance)
  local guard <close> = setmetatable({}, { __close = function(g)
    if not g.done then self:close() end
  end })
  end_subscriptions(running, postgres)
  function self.conninfo(database) return conninfo(running, database) end
  function self.connect(database)
    local db = postgres.open { conninfo = conninfo(running, database) }
    self.open[#self.open + 1] = db
    return db
  end
  function self.dump(what)
    local argv = { running.programs .. "/pg_dump", "--no-password",
      "--host=" .. running.socket, "--port=" .. running.port,
      "--username=" .. running.user,
      "--dbname=" .. "dbname=" .. word(what.database or "postgres") }
    if what.table then argv[#argv + 1] = "--table=" .. what.table end
    return { argv = argv }
  end
  self.db = self.connect(main_database(running, postgres))
  guard.done = true
  return self
end


-- ------------------------------------------------------------------
-- Whether somebody runs there
-- ------------------------------------------------------------------

-- Every process of a server is in its data directory, also one that has a
-- number of its own in a container.
local function who_is_in(data)
  local op <close> = require "saros.core".process { any_status = true,
    argv = { "find", "-L", "/proc", "-mindepth", "2", "-maxdepth", "2", "-path",
      "/proc/[0-9]*/cwd", "-samefile", data } }
  local result = op:wait()
  for pid in (result and result.stdout or ""):gmatch "/proc/(%d+)/cwd" do
    local name = (files.content("/proc/" .. pid .. "/comm") or "")
      :gsub("\n", "")
    if name == "postgres" or name == "postmaster" then return pid end
  end
  return nil
end

local function busy(c, place)
  local said = type(c.said) == "table" and c.said or {}
  local path = said.data_directory
    or type(c.files) == "table" and c.files[1] or nil
  local data = files.is_path(path) and place:at(path)
  if not data then return nil end
  local pid = who_is_in(data)
  if not pid then
    -- Whom we may not look at.
    pid = (files.content(data .. "/postmaster.pid") or ""):match "^(%d+)\n"
    local name = pid and files.content("/proc/" .. pid .. "/comm") or ""
    if not name:find "^postgres" and not name:find "^postmaster" then
      return nil
    end
  end
  return ("PostgreSQL runs on %s (process %s): stop it first"):format(path, pid)
end

return kind.define { name = "postgres", id = ID, check = check, settle = settle,
  start = files.told(start), busy = busy, plan = plan, order = 10 }
