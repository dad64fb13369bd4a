---@private
-- Who speaks to databases, and the programs that look at their files: each is
-- run, for its version.

local clients <const> = {
  { "postgres", "PostgreSQL", "libpq (Debian: libpq-dev)" },
  { "mariadb", "MariaDB, MySQL", "libmariadb (Debian: libmariadb-dev)" },
  { "redis", "Redis, Valkey" , "OpenSSL (Debian: libssl-dev)" },
  { "sqlite", "SQLite", "SQLite (Debian: libsqlite3-dev)" },
}

-- What a check or a drill starts, and the package that has it.
local programs <const> = {
  { "postgres", "PostgreSQL: starting what was restored", "postgresql" },
  { "pg_amcheck", "PostgreSQL: checking indexes and tables", "postgresql" },
  { "pg_checksums", "PostgreSQL: checking pages", "postgresql" },
  { "psql", "PostgreSQL: asking what was restored", "postgresql-client" },
  { "mariadbd", "MariaDB: starting what was restored", "mariadb-server" },
  { "mariadb-check", "MariaDB: checking tables", "mariadb-client" },
  { "innochecksum", "MariaDB: checking pages", "mariadb-server" },
  { "redis-server", "Redis: loading what was restored", "redis-server" },
  { "redis-check-rdb", "Redis: checking its dump", "redis-tools" },
  { "redis-check-aof", "Redis: checking its log", "redis-tools" },
}

-- Where Debian has the versions of PostgreSQL, the newest first.
local function homes(d)
  local list = {}
  local result = d.run { "sh", "-c",
    "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn" }
  for path in (result and result.stdout or ""):gmatch "[^\n]+" do
    list[#list + 1] = path .. "/"
  end
  list[#list + 1] = ""
  list[#list + 1] = "/usr/sbin/"
  list[#list + 1] = "/usr/local/sbin/"
  return list
end

-- These two have no word for their version; what they say of no file proves
-- that they run.
local function says_something(d, path)
  local result, err = d.run({ path }, { timeout = 15 })
  if result then return "it runs" end
  return nil, err.message
end

local function find(d, name, where)
  local why
  for _, home in ipairs(where) do
    local ask = name:find "^redis%-check" and says_something or d.version
    local said, no
    if ask == d.version then
      said, no = d.version(home .. name)
    else
      said, no = ask(d, home .. name)
    end
    if said then return said, home end
    why = why or no
  end
  return nil, why
end

return function(d)
  for _, one in ipairs(clients) do
    local name, what, package = table.unpack(one)
    d:try("client." .. name, what .. ": holding it still", function()
      local ok, err = pcall(require, "saros.client." .. name)
      if ok then return "works" end
      local text = tostring(err)
      return "missing", text:find("no file", 1, true)
        and "it is not in this build" or d.last(text),
        "install " .. package .. ", and build it again"
    end)
  end
  local where = homes(d)
  for _, one in ipairs(programs) do
    local name, what, package = table.unpack(one)
    d:try("program." .. name, what, function()
      local said, why = find(d, name, where)
      if said then return "works", said end
      return "missing", why, ("where there is such a database: install %s"):
        format(package)
    end)
  end
end
