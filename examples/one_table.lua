-- A table was emptied by mistake. The version of last night has it: a drill
-- restores that beside everything else, proves that it is whole, and takes the
-- one table out of it.

local saros = require "saros"
local there, sqlite = pcall(require, "saros.writers.sqlite")
local repositories, repository = pcall(require, "saros.repository")

local function skip(why)
  print("cannot run here: " .. why)
  os.exit(77)
end

local function program(name)
  return os.execute(("command -v %s >/dev/null"):format(name))
end

if not there then skip "saros.client.sqlite was not built" end
if not repositories then skip "saros.repository was not built" end
if not program "sqlite3" then skip "there is no sqlite3" end
if not os.execute "test $(id -u) = 0" then skip "a drill needs root" end

local root = os.tmpname()
os.remove(root)
assert(os.execute(("mkdir -m 755 '%s' '%s/app' '%s/scratch'")
  :format(root, root, root)))
local _ <close> = setmetatable({}, { __close = function()
  os.execute(("rm -rf '%s'"):format(root))
end })

local function sql(text)
  local pipe <close> = assert(io.popen(("sqlite3 '%s/app/shop.db' \"%s\"")
    :format(root, text)))
  return pipe:read "a"
end

sql "CREATE TABLE orders (n INTEGER); INSERT INTO orders VALUES (1), (2), (3);"
sql "CREATE TABLE visitors (n INTEGER); INSERT INTO visitors VALUES (7)"

saros.run(function()
  local repo <close> = assert(repository.init { location = root .. "/repo",
    password = "a password that nobody guesses" })
  do -- last night
    local _ <close> = sqlite.writer {
      databases = { root .. "/app/shop.db" } }
    print(assert(saros.wsb.backup { repository = repo,
      paths = { root .. "/app" }, provider = "copy",
      state_dir = root .. "/state" }:wait()))
  end

  sql "DELETE FROM orders; INSERT INTO visitors VALUES (8)" -- the mistake

  local report = assert(saros.drill { repository = repo,
    scratch = root .. "/scratch",
    verify = function(db)
      local rows = assert(db:query "SELECT count(*) AS n FROM orders":wait())
      return rows[1].n == 3
    end,
    extract = { { table = "orders", to = root .. "/orders.sql" } } }:wait())
  print(report)
end)

sql "DROP TABLE orders"
assert(os.execute(("sqlite3 '%s/app/shop.db' <'%s/orders.sql'")
  :format(root, root)))
assert(sql "SELECT count(*) FROM orders" == "3\n")
assert(sql "SELECT count(*) FROM visitors" == "2\n", "nothing else went back")
print "the orders are back, and nothing else is older than it was"
