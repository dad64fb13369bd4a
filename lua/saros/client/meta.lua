---@meta saros.client
-- What is written in C (csrc/lua/client), for the language server and the
-- reference. Never required.

--- SQLite without blocking: `require "saros.client.sqlite"`. What is asked of a
--- connection is carried out on a worker, one after the other, in the order in
--- which it was asked for; each is an operation. The module is not there when
--- SQLite was not when saros was built.
---
--- ```lua
--- local sqlite = require "saros.client.sqlite"
--- local db <close> = sqlite.open { path = "/srv/app.db", create = true }
--- assert(db:exec "CREATE TABLE IF NOT EXISTS t (id INTEGER, name TEXT)":wait())
--- assert(db:exec("INSERT INTO t VALUES (?, ?)", 1, "one"):wait())
--- for _, row in ipairs(assert(db:query "SELECT * FROM t":wait())) do
---   print(row.id, row.name)
--- end
--- ```
---@class saros.client.sqlite
---@field version string of the library
local sqlite = {}

---@class saros.client.sqlite.options
---@field path string the file, or ":memory:"
---@field busy_timeout? number seconds that a statement waits for others' locks (5). (A PRAGMA busy_timeout has no effect.)
---@field readonly? boolean
---@field create? boolean make it when it is not there

--- A connection. Nothing is touched yet: its first statement opens the file,
--- and fails if that cannot be opened. In a forked child open another one.
---@param options saros.client.sqlite.options
---@return saros.client.sqlite.connection
function sqlite.open(options) end

--- A value that is stored as bytes and not as text.
---@param bytes string
---@return userdata
function sqlite.blob(bytes) end

--- A connection to a database. Without anybody who has it, it closes when all
--- that was asked of it is done.
---@class saros.client.sqlite.connection
local connection = {}

--- Carries out SQL: any number of statements, or one with values for its
--- parameters. Cancelled, it is interrupted; what it was changing is undone,
--- and with it the transaction it was part of.
---@param sql string
---@param ... any values in order: number, string, boolean, nil, `sqlite.blob(bytes)`; or a table by name (`:name` in the SQL)
---@return saros.operation op its result: `{ changes, last_id }`
function connection:exec(sql, ...) end

--- Carries out one statement that has rows.
---@param sql string
---@param ... any as of `exec`
---@return saros.operation op its result: a list of rows, each a table by column; what is NULL is not in it
function connection:query(sql, ...) end

--- How long statements wait for locks that are asked for from now on.
---@param seconds number
function connection:set_busy_timeout(seconds) end

--- The absolute path it was opened with.
---@return string
function connection:path() end

--- Cancels what was asked and is not done, rolls back, closes the file, and
--- waits for all that. Also `__close`.
---@param seconds? number wait at most so long
---@return boolean? closed nil: it goes on behind you
---@return saros.error? err
function connection:close(seconds) end

--- Redis without blocking: `require "saros.client.redis"`. What is asked of a
--- connection is carried out one after the other, by a thread that the
--- connection has to itself; each is an operation. A connection that was lost
--- stays lost: open another one.
---
--- ```lua
--- local redis = require "saros.client.redis"
--- local c <close> = redis.open { socket = "/run/redis/redis.sock" }
--- assert(c:command("SET", "name", "value"):wait())
--- print(c:command("GET", "name"):wait())
--- ```
---@class saros.client.redis
local redis = {}

--- Where a password comes from: one of these. It is fetched when the connection
--- is made, and forgotten then.
---@class saros.client.password
---@field file? string a file's path
---@field env? string a variable of the environment
---@field command? string|string[] a line for the shell, or a program's words: what it prints

---@class saros.client.redis.options
---@field socket? string the path of the server's socket; or:
---@field host? string
---@field port? integer (6379)
---@field user? string of its ACL (the default one)
---@field password? saros.client.password
---@field connect_timeout? number seconds until it has logged in (10)

--- A connection. Nothing is touched yet: the first command connects, and fails
--- if that cannot be done. In a forked child open another one.
---@param options saros.client.redis.options
---@return saros.client.redis.connection
function redis.open(options) end

--- A connection to a server. Without anybody who has it, it closes when all that
--- was asked of it is done.
---@class saros.client.redis.connection
local server = {}

--- Sends a command. Cancelled once the server has heard it, it closes the
--- connection: what the server does meanwhile it does to its end. A command that
--- has many answers (SUBSCRIBE, MONITOR) loses the connection.
---
--- Its failure has, besides `code` (E_ACCESSDENIED: not let in, SAROS_E_TIMEOUT,
--- SAROS_E_CLOSED: lost, else E_FAIL), `server`: what the server said, `errno`,
--- and `retryable`: whether it may go well another time (it is loading, full, or
--- was lost).
---@param ... string|number its words
---@return saros.operation op its result: text, an integer, a list (a map is one of names and values), nil; within a list nil is false, and an error `{ err = text }`
function server:command(...) end

--- Whether it was not closed, and the server has not hung up, as far as its
--- socket tells.
---@return boolean
function server:is_open() end

--- Cancels what was asked and is not done, and closes it: at once, whatever the
--- server does. Also `__close`.
---@param seconds? number wait at most so long
---@return boolean? closed nil: it goes on behind you
---@return saros.error? err
function server:close(seconds) end


--- PostgreSQL without blocking, over libpq: `require "saros.client.postgres"`.
--- What is asked of a connection is carried out on a thread of its own, one
--- after the other, in the order in which it was asked for; each is an
--- operation. The module is not there when libpq was not when saros was built.
---
--- An error has, beside what every error has, the server's own words in
--- `server` and its number in `sqlstate`; `retryable` says that it may go well
--- the next time (too many connections, starting up, the connection was lost).
---
--- ```lua
--- local postgres = require "saros.client.postgres"
--- local c <close> = postgres.open { conninfo = "host=/run/postgresql" }
--- for _, row in ipairs(assert(c:query("SELECT $1::int + 1 AS n", 41):wait())) do
---   print(row.n)
--- end
--- ```
---@class saros.client.postgres
---@field version integer of the library, as libpq has it
local postgres = {}

---@class saros.client.postgres.options
---@field conninfo string as libpq has it; a password comes by its own means (PGPASSFILE, a service file)
---@field connect_timeout? number seconds until the server must have let us in (10)

--- A connection. Nothing is touched yet: its first question connects, and fails
--- if that cannot be done (then the next one tries again). A connection that
--- was lost stays so, since what its session held is gone. In a forked child
--- open another one.
---@param options saros.client.postgres.options
---@return saros.client.connection
function postgres.open(options) end

--- MariaDB without blocking, over libmariadb: `require "saros.client.mariadb"`.
--- Connections are as those of PostgreSQL, but for values in place of `?`, which
--- are not taken, and `exec`, which takes one statement; `err.errno` is the
--- server's number. A password is never sent in the clear, and no server is
--- given a file of ours. The module is not there when libmariadb was not when
--- saros was built.
---
--- ```lua
--- local mariadb = require "saros.client.mariadb"
--- local c <close> = mariadb.open { socket = "/run/mysqld/mysqld.sock",
---   defaults_file = "/root/.my.cnf" }
--- print(assert(c:query "SELECT VERSION() AS v":wait())[1].v)
--- ```
---@class saros.client.mariadb
---@field version string of the library
local mariadb = {}

---@class saros.client.mariadb.options
---@field socket? string the path of the server's socket; or:
---@field host? string
---@field port? integer (3306)
---@field user? string
---@field database? string
---@field defaults_file? string an option file, which may say all that is not said here
---@field defaults_group? string the group in it that counts besides `client`
---@field password? saros.client.password
---@field connect_timeout? number seconds until the server must have let us in (10)

--- A connection. Nothing is touched yet: its first question connects, as of
--- PostgreSQL.
---@param options saros.client.mariadb.options
---@return saros.client.connection
function mariadb.open(options) end

--- A connection to a server. Without anybody who has it, it closes when all
--- that was asked of it is done. Its text says where it leads, and no secret.
---@class saros.client.connection
local talk = {}

--- Carries out SQL: any number of statements, or one with values for its
--- parameters. Cancelled, it is cancelled on the server; if that does not do so
--- within seconds, the connection is lost.
---@param sql string
---@param ... string|number|boolean|nil values for `$1`, `$2` … (MariaDB takes none)
---@return saros.operation op its result: `{ rows, command }` of the last statement: how many it returned or changed, and (of PostgreSQL) what it was
function talk:exec(sql, ...) end

--- Carries out one statement that has rows. All values are text; an answer of
--- more than 64 MiB is an error.
---@param sql string
---@param ... string|number|boolean|nil as of `exec`
---@return saros.operation op its result: a list of rows, each a table by column; what is NULL is not in it
function talk:query(sql, ...) end

--- Whether it is connected, and the server has not hung up as far as the socket
--- tells. Asks nothing.
---@return boolean
function talk:is_open() end

--- Cancels what was asked and is not done, says goodbye, and waits for all
--- that, which does not take long, whatever the server does. Also `__close`.
---@param seconds? number wait at most so long
---@return boolean? closed nil: it goes on behind you
---@return saros.error? err
function talk:close(seconds) end

return sqlite, redis, postgres, mariadb
