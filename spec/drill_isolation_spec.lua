-- A drill starts what was made to archive, to replicate and to run by itself.
-- Production, its archive and its peers get nothing of that.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros

local lacking = require "spec.lacking"

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  return pipe:read "a"
end

-- Everything in a directory, and when it was changed.
local function state_of(directory)
  return sh("cd '%s' && find . -printf '%%P %%s %%T@\n' | sort", directory)
end

local function count(text, pattern)
  local _, n = (text or ""):gsub(pattern, "")
  return n
end

-- A directory that a cell has none of its own for, so that it is there to be
-- reached: f(d).
local function with_directory(f)
  return outside.directory(function(d)
    os.execute(("chmod 755 '%s'"):format(d))
    return f(d)
  end, "/var/lib")
end


-- ------------------------------------------------------------------
-- PostgreSQL
-- ------------------------------------------------------------------

-- One who archives, is subscribed to another one, and loads a library.
local function subscriber(d, publisher, postgres)
  local pg = postgres.start { at = d .. "/pg", archive = d .. "/archive",
    settings = { shared_preload_libraries = "'pg_stat_statements'",
      wal_level = "logical", log_connections = "on",
      session_preload_libraries = "'auto_explain'" } }
  pg:must "CREATE TABLE t (n int PRIMARY KEY)"
  pg:must(("CREATE SUBSCRIPTION s CONNECTION 'host=%s port=%d user=pg "
    .. "dbname=postgres' PUBLICATION p"):format(publisher.socket,
      publisher.port))
  outside.eventually("the subscriber has what is published", function()
    return pg:sql "SELECT count(*) FROM t" == "1\n"
  end)
  return pg
end

local function calm(pg)
  outside.eventually("everything is archived", function()
    return sh("ls '%s'/pg_wal/archive_status | grep -c ready", pg.data)
      == "0\n"
  end)
end

-- Its settings, as they were made for production, on a copy without a cell:
-- what the spec is about does happen.
local function provoke(d, pg, publisher)
  pg:stop() -- and calls nobody any more
  local log = count(outside.content(publisher.log), "connection received")
  local archive = state_of(d .. "/archive")
  local naive <close> = outside.start("sh", "-c", ([[cp -a '%s' '%s/naive'
    exec setpriv --reuid=65534 --regid=65534 --clear-groups %s/postgres \
      -D '%s/naive' -c unix_socket_directories=%s/naive -c listen_addresses= ]])
    :format(pg.data, d, pg.bin, d, d))
  outside.eventually("a naive copy calls the publisher", function()
    return count(outside.content(publisher.log), "connection received") > log
  end)
  -- It archives the last of its log when it ends.
  outside.system.kill(naive.pid, 2)
  naive:finish()
  assert.not_equal(archive, state_of(d .. "/archive"))
end

describe("a drill of PostgreSQL", function()
  local why = lacking("spec.servers.postgres", "saros.client.postgres",
    "saros.writers.postgres_kind", "saros.wsb.lay")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local postgres = require "spec.servers.postgres"

  it("sends nothing to its archive, its publisher, or anybody", function()
    shared.with(function(p) with_directory(function(d)
      local publisher <close> = postgres.start { at = d .. "/publisher",
        settings = { wal_level = "logical", log_connections = "on" } }
      publisher:must "CREATE TABLE t (n int PRIMARY KEY)"
      publisher:must "INSERT INTO t VALUES (1)"
      publisher:must "CREATE PUBLICATION p FOR TABLE t"
      local pg <close> = subscriber(d, publisher, postgres)

      local last = publisher:must "SELECT max(pid) FROM pg_stat_replication"
      pg:stop()
      shared.store(p, { { path = pg.data } }, { { kind = "postgres",
        name = "main", files = { pg.data },
        said = { data_directory = pg.data, superuser = "pg" },
        writer = { id = "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01",
          instance = shared.id, name = "postgres" } } })
      pg:run()
      -- By a new connection, of which there will be no more: while the one
      -- before is not known to be gone, there may be several.
      outside.eventually("production is subscribed again", function()
        return publisher:sql(([[SELECT count(*) FROM pg_stat_replication
          WHERE state = 'streaming' AND pid <> %s]]):format(last)) == "1\n"
      end)
      calm(pg)

      local connections = count(outside.content(publisher.log),
        "connection received")
      local own = count(outside.content(pg.log), "connection received")
      local archive = state_of(d .. "/archive")
      local asked
      local report, err = saros.drill { repository = p.repo,
        scratch = p.scratch,
        verify = function(db)
          local function one(sql)
            local row = assert(db:query(sql):wait())[1]
            local _, value = next(row)
            return value
          end
          for name, value in pairs { archive_mode = "off",
            shared_preload_libraries = "", session_preload_libraries = "",
            max_logical_replication_workers = "0", listen_addresses = "" }
          do
            assert.equal(value, one("SHOW " .. name), name)
          end
          assert.equal("1", one "SELECT count(*) FROM t")
          -- Its log comes to an end, which is when it would archive.
          assert(db:exec "INSERT INTO t VALUES (2)":wait())
          assert(db:query "SELECT pg_switch_wal()":wait())
          assert(db:exec "CHECKPOINT":wait())
          -- Not even whoever means to can get out.
          for _, program in ipairs {
            ("cat >%s/archive/evil"):format(d),
            ("cat >%s/evil"):format(pg.data),
            ("%s/psql -h %s -p %d -U pg -d postgres -c ''"):format(pg.bin,
              publisher.socket, publisher.port),
            ("%s/psql -h %s -p %d -U pg -d postgres -c ''"):format(pg.bin,
              pg.socket, pg.port) }
          do
            local ok, why_not = db:exec(("COPY (SELECT 1) TO PROGRAM '%s'")
              :format((program:gsub("'", "''")))):wait()
            assert.is_nil(ok)
            assert.truthy(why_not.message:find "program")
          end
          asked = true
          return true
        end }:wait()
      assert(report, err)
      assert.is_true(asked)

      assert.equal(archive, state_of(d .. "/archive"))
      assert.equal(connections, count(outside.content(publisher.log),
        "connection received"), outside.content(publisher.log))
      assert.equal(own, count(outside.content(pg.log), "connection received"))
      assert.equal("1\n", pg:sql "SELECT count(*) FROM t")
      assert.equal("", p.left())
      provoke(d, pg, publisher)
    end) end)
  end)
end)



-- ------------------------------------------------------------------
-- Redis
-- ------------------------------------------------------------------

local function free_port()
  return (sh([[python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])']])
    :gsub("\n", ""))
end

-- How often somebody has connected, but for this question.
local function callers(r)
  return tonumber(r:cli("INFO", "stats"):match
    "total_connections_received:(%d+)") - 1
end

describe("a drill of Redis", function()
  local why = lacking("spec.servers.redis", "saros.writers.redis")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local redis = require "spec.servers.redis"
  local writer = require "saros.writers.redis".writer

  it("does not call its master, nor anybody", function()
    shared.with(function(p) with_directory(function(d)
      local port = free_port()
      local master <close> = redis.start { at = d .. "/master",
        config = { port = port, bind = "127.0.0.1" } }
      master:cli("SET", "k", "v")
      local replica <close> = redis.start { at = d .. "/replica",
        config = { replicaof = "127.0.0.1 " .. port, appendonly = "yes",
          ["repl-diskless-sync-delay"] = "0" } }
      outside.eventually("the replica has what its master has", function()
        return replica:cli("GET", "k") == "v"
      end)
      do
        local _ <close> = writer { socket = replica.socket }
        assert(saros.wsb.backup { repository = p.repo,
          paths = { replica.root }, provider = "copy",
          state_dir = p.root .. "/state" }:wait())
      end

      local before, own = callers(master), callers(replica)
      local seen
      local report, err = saros.drill { repository = p.repo,
        scratch = p.scratch, application = "redis",
        verify = function(db)
          local function ask(...)
            local ok, why_not = db:command(...):wait()
            return ok or why_not.message
          end
          seen = { value = ask("GET", "k"),
            role = ask("INFO", "replication"):match "role:(%a+)",
            migrated = ask("MIGRATE", "127.0.0.1", port, "k", "0", "3000") }
          return true
        end }:wait()
      assert(report, err)
      assert.equal("v", seen.value)
      assert.equal("master", seen.role)
      assert.truthy(seen.migrated:find "IOERR")
      assert.equal(before + 1, callers(master)) -- the question before
      assert.equal(own + 1, callers(replica))
      assert.equal("", p.left())

      -- By its own settings it would have.
      local naive <close> = redis.start { at = d .. "/naive",
        config = { replicaof = "127.0.0.1 " .. port } }
      outside.eventually("the master is called", function()
        return master:cli("INFO", "replication"):find "connected_slaves:2"
      end)
      assert(naive:cli "PING")
    end) end)
  end)
end)


-- ------------------------------------------------------------------
-- MariaDB
-- ------------------------------------------------------------------

local MARIADB <const> = "2f6d1c1b-0b5e-4b5c-9a9e-3d5e7c2a4b02"

-- A replica of that master, with an event that does something every second.
local function replicating(d, port, mariadb)
  local m = mariadb.start { at = d .. "/replica", events = true,
    args = { "--server-id=2" } }
  m:sql(("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%s, "
    .. "MASTER_USER='peer', MASTER_PASSWORD='p', MASTER_CONNECT_RETRY=1; "
    .. "START SLAVE"):format(port))
  m:sql [[SET sql_log_bin = 0; CREATE TABLE app.ticks (n INT);
    CREATE EVENT app.tick ON SCHEDULE EVERY 1 SECOND
    DO INSERT INTO app.ticks VALUES (1)]]
  outside.eventually("the replica has what its master has", function()
    return m:try "SELECT count(*) FROM app.t" == "1"
  end)
  outside.eventually("the event happens", function()
    return m:sql "SELECT count(*) > 0 FROM app.ticks" == "1"
  end)
  return m
end

local function connections(m)
  return tonumber(m:sql "SHOW GLOBAL STATUS LIKE 'Connections'":match "%d+")
end

describe("a drill of MariaDB", function()
  local why = lacking("spec.servers.mariadb", "saros.client.mariadb",
    "saros.writers.mariadb_kind")
  if why then
    pending(why)
    return
  end
  local shared = require "spec.drill"
  local mariadb = require "spec.servers.mariadb"

  it("does not call its master, and nothing happens by itself", function()
    shared.with(function(p) with_directory(function(d)
      local port = free_port()
      local master <close> = mariadb.start { at = d .. "/master", binlog = true,
        args = { "--skip-networking=0", "--bind-address=127.0.0.1",
          "--port=" .. port } }
      master:sql [[CREATE USER peer@'%' IDENTIFIED BY 'p';
        GRANT REPLICATION SLAVE ON *.* TO peer@'%';
        CREATE TABLE app.t (n INT); INSERT INTO app.t VALUES (1)]]
      local m <close> = replicating(d, port, mariadb)
      m:stop()
      shared.store(p, { { path = m.data } }, { { kind = "mariadb",
        name = "main", type = "database", files = { m.data },
        said = { settings = { datadir = m.data } },
        writer = { id = MARIADB, instance = shared.id, name = "mariadb" } } })
      os.execute(("cp -a '%s' '%s/naive-data'"):format(m.data, d))
      m:go_on()
      outside.eventually("production replicates again", function()
        return m:sql "SHOW STATUS LIKE 'Slave_running'":find "ON"
      end)

      local before = connections(master)
      local seen = {}
      local report, err = saros.drill { repository = p.repo,
        scratch = p.scratch,
        verify = function(db)
          local function ask(sql)
            local rows = assert(db:query(sql):wait())
            local _, value = next(rows[1])
            return value
          end
          seen.rows = ask "SELECT count(*) FROM app.t"
          seen.events = ask "SELECT @@event_scheduler"
          seen.threads = ask [[SELECT count(*) FROM
            information_schema.processlist WHERE command LIKE 'Slave%'
            OR user IN ('system user', 'event_scheduler')
            AND state NOT LIKE 'InnoDB%']]
          -- Nor when it is asked to: there is nobody to be called.
          assert(db:exec "START SLAVE IO_THREAD":wait())
          repeat
            saros.sleep(0.02):wait()
            local row = assert(db:query "SHOW SLAVE STATUS":wait())[1]
            seen.refused = row.Last_IO_Errno
          until row.Last_IO_Errno ~= "0"
          return true
        end }:wait()
      assert(report, err)
      assert.equal("1", seen.rows)
      assert.truthy(({ OFF = true, DISABLED = true })[seen.events])
      assert.equal("0", seen.threads)
      assert.equal("2003", seen.refused) -- no connection
      assert.equal(before + 1, connections(master)) -- the question before
      assert.equal("", p.left())

      -- By its own settings it would have.
      m:stop()
      before = connections(master)
      local naive <close> = mariadb.start { at = d .. "/naive",
        data = d .. "/naive-data", events = true, args = { "--server-id=2" } }
      outside.eventually("the master is called", function()
        before = before + 1 -- by us
        return connections(master) > before
      end)
      assert(naive:sql "SELECT 1")
    end) end)
  end)
end)
