-- The restore plan: a version comes back by its text alone, with stock restic and
-- the database's own tools. What it says is run by a shell that finds no Lua.
local volumes = require "spec.volumes" -- first: before there are threads
local app = require "spec.backup_app"

local outside = app.outside

if app.missing or not outside.installed "restic" then
  describe("the restore plan", function()
    pending(app.missing or "needs restic")
  end)
  return
end

local sqlite, shared = app.sqlite, app.shared
local with = app.with

-- The commands of a plan: the lines with four spaces in front.
local function commands(text)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do
    lines[#lines + 1] = line:match "^    (.*)$"
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Every program there is, but for Lua.
local function programs(root)
  local bin = root .. "/bin"
  assert(os.execute(("mkdir -p %s && cd %s && for d in /bin /usr/bin /usr/sbin; "
    .. "do ln -sf $d/* . 2>/dev/null; done; rm -f lua* busted* saros*")
    :format(bin, bin)))
  return bin
end

-- Follows the plan of a version, as restic gives it.
local function follow(t, v, root, more)
  local plan = t.restic("dump", v.id, "/.saros/restore-plan.txt")
  local text = commands(plan):gsub("PATH=%$PATH:/usr/sbin:/sbin\n", "")
  assert.matches("restic restore", text)
  outside.write(t.root .. "/plan.sh", text)
  assert(os.execute(("rm -rf %s/stage && mkdir %s/stage && chmod 755 %s/stage")
    :format(t.root, t.root, t.root)))
  local said, how, status = outside.run("env", "-i", "-C", "/",
    "PATH=" .. programs(t.root), "HOME=/", "RESTIC_REPOSITORY=" .. t.location,
    "RESTIC_PASSWORD=" .. shared.PASSWORD, "STAGE=" .. t.root .. "/stage",
    "ROOT=" .. (root or ""), "RESTIC_CACHE_DIR=" .. t.root .. "/cache",
    "sh", more and "-x" or "-e", t.root .. "/plan.sh")
  assert.same({ "exit", 0 }, { how, status }, said)
  assert.not_matches(shared.PASSWORD, plan, 1, true)
  assert.not_matches("PATH=", text)
  return said
end

describe("the restore plan of SQLite", function()
  it("brings databases back, two of one name too, and odd names", function()
    with(function(t)
      local paths = { t.data .. "/one/app.db", t.data .. "/two/app.db",
        t.data .. "/it's $HOME; a [name].db" }
      local rows, writers = { 10, 20, 30 }, {}
      assert(os.execute(("mkdir %s/one %s/two"):format(t.data, t.data)))
      for i, path in ipairs(paths) do
        app.database(path, rows[i])
        writers[i] = sqlite.writer { databases = { path } }
      end
      local v = t.backup()
      for _, path in ipairs(paths) do app.execute(path, "DELETE FROM t") end
      outside.write(paths[1] .. "-journal", "of another one")
      follow(t, v)
      for i, path in ipairs(paths) do
        assert.equal(rows[i], app.rows(path))
        writers[i]:close()
      end
      assert.is_nil(outside.content(paths[1] .. "-journal"))
      assert.matches("app.db.before%-", (outside.run("ls", t.data .. "/one")))
      -- And below another directory, which is not there yet.
      follow(t, v, t.root .. "/else")
      assert.equal(30, app.rows(t.root .. "/else" .. paths[3]))
    end)
  end)

  it("brings what was added late", function()
    with(function(t)
      local staged = t.root .. "/staged"
      assert(os.execute(("mkdir %s && echo label >%s/label && echo db >%s/f")
        :format(staged, staged, t.data)))
      local w <close> = app.writer(1, { components = { { type = "database",
        name = "x", files = { t.data } } },
        backup_complete = function()
          return { components = { x = { consistency = "application",
            additions = { { path = staged, to = t.data } } } } }
        end })
      local v = t.backup { provider = "live" }
      assert.truthy(v.late)
      follow(t, v, t.root .. "/else")
      for name, text in pairs { f = "db\n", label = "label\n" } do
        assert.equal(text, outside.content(t.root .. "/else" .. t.data .. "/"
          .. name))
      end
      w:close()
    end)
  end)

  it("warns of what is barred, and lays none of it", function()
    with(function(t)
      outside.write(t.data .. "/f", "x")
      local w <close> = app.writer(2, { components = { { type = "filegroup",
        name = "x", files = { t.data .. "/f", "/etc/hostname" } } } })
      local v = t.backup()
      assert.is_false(v.components[1].recoverable)
      outside.write(t.data .. "/f", "now")
      follow(t, v)
      assert.equal("now", outside.content(t.data .. "/f"))
      w:close()
    end)
  end)
end)


-- ------------------------------------------------------------------
-- Servers
-- ------------------------------------------------------------------

local function usable(name)
  local ok, servers = pcall(require, "spec.servers." .. name)
  if not ok then return nil, tostring(servers):match "^[^\n]*" end
  if servers.missing then return nil, servers.missing end
  local there, writer = pcall(require, "saros.writers." .. name)
  if not there then return nil, tostring(writer):match "^[^\n]*" end
  return servers, writer
end

-- f(t, home): home is a directory that all may come through, on btrfs when the
-- shadow is to be of one instant.
local function with_home(provider, f)
  return with(function(t)
    if provider ~= "btrfs" then
      return f(t, t.data, { paths = { t.data }, provider = provider })
    end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(tostring(why)) end
    local text, good = volumes.run("btrfs subvolume create %s/home && "
      .. "chmod 755 %s/home %s/..", v.path, v.path, v.path)
    assert(good, text)
    return f(t, v.path .. "/home", { paths = { v.path .. "/home" },
      provider = "btrfs", scratch = v.path })
  end)
end

local function postgres(provider, mode)
  local servers, writer = usable "postgres"
  if not servers then return pending(writer) end
  with_home(provider, function(t, home, options)
    local pg <close> = servers.start { at = home .. "/pg",
      wal = home .. "/wal" }
    pg:tablespace("space", home .. "/space")
    pg:must "CREATE TABLE t (n int) TABLESPACE space"
    pg:must "INSERT INTO t SELECT generate_series(1, 1000)"
    local w <close> = writer.writer { conninfo = pg.conninfo }
    local v = t.backup(options)
    assert.equal(1, #v.components)
    assert.is_true(v.components[1].recoverable, v.components[1].why)
    assert.equal(mode, v.components[1].said.mode)
    if provider ~= "live" then
      assert.equal("passed", v.components[1].check.state,
        v.components[1].check.message)
    end
    w:close()
    pg:must "DROP TABLE t"
    pg:stop()
    local said = follow(t, v)
    assert.matches("template1", said)
    pg:run()
    assert.equal("1000|500500\n", pg:must "SELECT count(*), sum(n) FROM t")
    pg:stop()
  end)
end

describe("the restore plan of PostgreSQL", function()
  it("starts a shadow of one instant", function() postgres("btrfs", "atomic") end)
  it("starts a copy in backup mode", function() postgres("copy", "backup") end)
  it("starts what was read live", function() postgres("live", "backup") end)
end)

describe("the restore plan of Redis", function()
  local function redis(provider, config)
    local servers, writer = usable "redis"
    if not servers then return pending(writer) end
    with_home(provider, function(t, home, options)
      local r <close> = servers.start { at = home .. "/r", config = config }
      for i = 1, 50 do r:cli("SET", "k" .. i, "value") end
      local w <close> = writer.writer { socket = r.socket }
      local v = t.backup(options)
      for _, c in ipairs(v.components) do
        assert.is_true(c.recoverable, c.why)
      end
      w:close()
      r:cli "FLUSHALL"
      r:cli("SHUTDOWN", "NOSAVE")
      r:stop()
      follow(t, v)
      r:go_on()
      assert.equal("50", r:cli "DBSIZE")
      r:cli("SHUTDOWN", "NOSAVE")
    end)
  end

  it("starts a shadow of one instant", function()
    redis("btrfs", { appendonly = "yes" })
  end)
  it("starts a copy", function() redis("copy", { appendonly = "yes" }) end)
  it("starts what was read live", function() redis("live") end)
end)

describe("the restore plan of MariaDB", function()
  local function mariadb(provider)
    local servers, writer = usable "mariadb"
    if not servers then return pending(writer) end
    with_home(provider, function(t, home, options)
      local m <close> = servers.start { at = home .. "/m" }
      m:sql "CREATE TABLE app.t (n INT PRIMARY KEY)"
      m:sql "INSERT INTO app.t SELECT seq FROM seq_1_to_1000"
      local w <close> = writer.writer { socket = m.socket, user = "root" }
      local v = t.backup(options)
      for _, c in ipairs(v.components) do
        assert.is_true(c.recoverable, c.why)
      end
      w:close()
      m:sql "DROP TABLE app.t"
      m:stop()
      follow(t, v)
      m:go_on()
      assert.equal("1000", (m:sql "SELECT count(*) FROM app.t"
        :gsub("%s", "")))
      m:stop()
    end)
  end

  it("starts a shadow of one instant", function() mariadb "btrfs" end)
end)
