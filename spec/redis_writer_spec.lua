-- saros.writers.redis: shadows of a server that is written to, and whether what
-- is in them is what was acknowledged.
local volumes = require "spec.volumes"
local helper = require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.redis"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local wsb = require "saros.wsb"
local code = saros.code
local client = require "saros.client.redis"
local kind = require "saros.writers.kind"
local case = require "spec.redis_case"
local redis = require "saros.writers.redis"

if server.missing then
  describe("saros.writers.redis", function() pending(server.missing) end)
  return
end

local component, on_copy, get = case.component, case.on_copy, case.get

-- A shadow of the server's data. `d`: where our own things are.
local function shadow(d, r, more)
  local o = { paths = { r.data }, provider = "copy", state_dir = d.state }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss.shadow(o)
end

local function check(set, w, r, said)
  local name = component(set, w)
  return wsb.check_consistency { writer = w.id, instance = w.instance,
    component = name, sources = { r.data }, snapshots = { set[r.data].path },
    said = said or set:said(w.instance), metadata = { components = { {
      type = "database", name = name, files = { r.data } } } } }
end

-- One that is told when everybody holds still.
local function witness(freeze, more)
  local o = { id = shared.id(9), name = "witness", level = "system",
    freeze = freeze }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss.writer(o)
end

-- Writes "n" = 1, 2, 3 … and says which was acknowledged; ends with the block.
local function busy(r)
  local w = { acknowledged = 0 }
  local c = client.open { socket = r.socket }
  local op = helper.saros.spawn(function()
    while true do
      local n = w.acknowledged + 1
      w.asked = n
      assert(c:command("EVAL", "redis.call('SET', 'a', ARGV[1]) "
        .. "redis.call('SET', 'k' .. ARGV[1], ARGV[1]) "
        .. "return redis.call('SET', 'b', ARGV[1])", 0, n):wait())
      w.acknowledged = n
    end
  end)
  return setmetatable(w, { __close = function()
    op:close()
    c:close()
  end })
end

-- Everything that was acknowledged at the freeze is there, and nothing torn.
local function is_whole(db, acknowledged, asked)
  local a, b = tonumber(get(db, "GET", "a")), tonumber(get(db, "GET", "b"))
  assert.equal(a, b)
  assert.is_true(a >= acknowledged and a <= asked,
    ("%d, not from %d to %d"):format(a, acknowledged, asked))
  for n = 1, a do assert.equal(tostring(n), get(db, "GET", "k" .. n)) end
  assert.is_nil(get(db, "GET", "k" .. a + 1))
end

local modes = { { "with its log", { appendonly = "yes" } },
  { "with dumps alone", { appendonly = "no" } },
  { "with a log that is one file of a name of its own",
    { appendonly = "yes", appendfilename = "my.log", appenddirname = "logs",
      dbfilename = "my.rdb" } } }

describe("a shadow of a busy Redis", function()
  for _, mode in ipairs(modes) do
    it("has what was acknowledged, by copying, " .. mode[1], function()
      local d <close> = shared.directory()
      local r <close> = server.start { config = mode[2] }
      local w <close> = redis.writer { socket = r.socket, name = "cache",
        staging = "/tmp" }
      local load <close> = busy(r)
      shared.until_true(function() return load.acknowledged > 20 end)
      local before, after
      local _ <close> = witness(function() before = load.acknowledged end,
        { thaw = function() after = load.asked end })
      local set <close> = assert(shadow(d, r):wait())
      local name, said = component(set, w)
      assert.equal("redis", name)
      helper.contains({ consistency = "application", server = "Redis "
        .. r:info "redis_version" }, said)
      assert.match("^replication id %x+, offset %d+$", said.position)
      assert.equal(r.data, said.additions[1].to)
      on_copy(set, w, r, function(db) is_whole(db, before, after) end)
      -- It goes on.
      local now = load.acknowledged
      shared.until_true(function() return load.acknowledged > now end)
      local found = assert(check(set, w, r):wait())
      assert.is_truthy(found)
    end)
  end

  it("is as atomic as btrfs is, and the log is all it needs", function()
    if volumes.missing then pending(volumes.missing) return end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then pending(why) return end
    assert(os.execute(("chmod 755 '%s/..'"):format(v.path)))
    local d <close> = shared.directory()
    local r <close> = server.start { at = v.path .. "/r",
      config = { appendonly = "yes" } }
    local w <close> = redis.writer { socket = r.socket }
    local load <close> = busy(r)
    shared.until_true(function() return load.acknowledged > 20 end)
    local before, after
    local _ <close> = witness(function() before = load.acknowledged end,
      { thaw = function() after = load.asked end })
    do
      local set <close> = assert(shadow(d, r, { provider = "btrfs" }):wait())
      local _, said = component(set, w)
      assert.is_nil(said.additions)
      on_copy(set, w, r, function(db) is_whole(db, before, after) end)
      assert(check(set, w, r):wait())
    end
    assert.equal("0", r:info "rdb_saves") -- it did not need to
    r:__close()
  end)

  -- While its disk is slow the server acknowledges what is in its memory only.
  it("has in its log what was acknowledged, with a slow disk", function()
    if volumes.missing then pending(volumes.missing) return end
    if not outside.installed "strace" then pending "needs strace" return end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then pending(why) return end
    assert(os.execute(("chmod 755 '%s/..'"):format(v.path)))
    local d <close> = shared.directory()
    local r <close> = server.start { at = v.path .. "/r",
      config = { appendonly = "yes", appendfsync = "everysec" } }
    local w <close> = redis.writer { socket = r.socket }
    local slow <close> = outside.start("strace", "-f", "-p", tostring(r.pid),
      "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=1500000")
    slow:expect "attached"
    local load <close> = busy(r)
    local waited, before, after = false, nil, nil
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function()
        local c <close> = client.open { socket = r.socket }
        shared.until_true(function()
          local n = get(c, "INFO", "persistence"):match "aof_buffer_length:(%d+)"
          waited = tonumber(n) > 1000
          return waited
        end)
      end }
    local _ <close> = witness(function() before = load.acknowledged end,
      { thaw = function() after = load.asked end })
    local set <close> = assert(shadow(d, r, { provider = "btrfs" }):wait())
    slow:__close()
    assert.is_true(waited)
    assert.is_nil(select(2, component(set, w)).additions)
    on_copy(set, w, r, function(db) is_whole(db, before, after) end)
    r:__close()
  end)

  it("is one of the live files, for what belongs over them", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = { appendonly = "yes" } }
    local w <close> = redis.writer { socket = r.socket }
    r:cli("SET", "k", "then")
    local set <close> = assert(shadow(d, r, { provider = "live" }):wait())
    r:cli("SET", "k", "later")
    r:cli("BGREWRITEAOF")
    on_copy(set, w, r, function(db) assert.equal("then", get(db, "GET", "k")) end)
  end)

  it("of several servers is of one instant", function()
    local d <close> = shared.directory()
    local one <close> = server.start { config = { appendonly = "yes" } }
    local two <close> = server.start()
    local w <close> = redis.writer { instances = { { socket = one.socket,
      name = "one" }, { socket = two.socket, name = "two" } } }
    local answers = {}
    local _ <close> = witness(function()
      for i, r in ipairs { one, two } do
        local c <close> = client.open { socket = r.socket }
        answers[i] = { c:command("SET", "k", "x"):wait(0.05) }
      end
    end)
    local set <close> = assert(vss.shadow { paths = { one.data, two.data },
      provider = "copy", state_dir = d.state }:wait())
    for i = 1, 2 do assert.is_nil(answers[i][1]) end
    local said = set:said(w.instance).components
    assert.equal(one.data, said.one.layout.dir)
    assert.equal(two.data, said.two.layout.dir)
    for _, r in ipairs { one, two } do assert.equal("OK", r:cli("SET", "k", "y")) end
  end)
end)

describe("redis.writer", function()
  it("says what it has", function()
    local d <close> = shared.directory()
    outside.directory(function(at)
      local acl = at .. "/users.acl"
      outside.write(acl, "user default on nopass ~* &* +@all\n")
      local r <close> = server.start { config = { aclfile = acl } }
      local w <close> = redis.writer { socket = r.socket, name = "mine" }
      local s <close> = vss.components { state_dir = d.state }
      s:initialize_for_backup()
      assert(s:gather_writer_metadata():wait())
      local found = s:writers()[1]
      helper.contains({ id = redis.id, instance = w.instance, name = "mine" },
        found)
      helper.contains({ type = "database", name = "redis" }, found.components[1])
      assert.same({ r.data }, found.components[1].files)
      helper.contains({ type = "filegroup", name = "redis-config" },
        found.components[2])
      assert.same({ r.config, acl }, found.components[2].files)
    end)
  end)

  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { socket = 1 }, { socket = "x" },
      { instances = {} }, { instances = { {} } }, { socket = "/x", other = 1 },
      { instances = { { socket = "/x", freeze_timeout = 1 } } },
      { socket = "/x", password = "secret" }, { socket = "/x", id = "no" } }
    do
      assert.has_error(function() redis.writer(bad) end)
    end
    assert.has_error(function() redis.writer() end)
  end)

  it("logs in", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local secret = d.root .. "/secret"
    outside.write(secret, "4711")
    r:cli("ACL", "SETUSER", "saros", "on", ">4711", "+client", "+config|get",
      "+info", "+bgsave", "+ping")
    local w <close> = redis.writer { socket = r.socket, user = "saros",
      password = { file = secret } }
    r:cli("SET", "k", "v")
    local set <close> = assert(shadow(d, r):wait())
    on_copy(set, w, r, function(db) assert.equal("v", get(db, "GET", "k")) end)
  end)

  it("keeps dumps until the backup is done", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local w <close> = redis.writer { socket = r.socket, staging = d.root }
    os.execute(("chmod 755 '%s'"):format(d.root))
    local path
    do
      local set <close> = assert(shadow(d, r):wait())
      local _, said = component(set, w)
      path = said.additions[1].path
      assert.equal(d.root, path:sub(1, #d.root))
      assert.is_truthy(d.read(path .. "/dump.rdb"))
    end
    assert.is_nil(d.read(path .. "/dump.rdb"))
    assert.is_false((os.execute(("test -d '%s'"):format(path)) or false))
  end)
end)

describe("the check of a Redis", function()
  local d, r, w, set

  setup(function()
    d = shared.directory()
    r = server.start { config = { appendonly = "yes" } }
    for i = 1, 200 do r:cli("SET", "key" .. i, ("value"):rep(10)) end
    w = redis.writer { socket = r.socket }
    set = assert(shadow(d, r):wait())
  end)
  teardown(function()
    for _, one in ipairs { set, w, r, d } do getmetatable(one).__close(one) end
  end)

  local function damaged(pattern, change)
    local said = set:said(w.instance)
    change(said.components.redis)
    local ok, err = check(set, w, r, said):wait()
    assert.is_nil(ok)
    assert.match(pattern, err.message)
    return err
  end

  -- The dump that belongs over the files, and something done to it.
  local function torn(command)
    return function(said)
      local path = said.additions[1].path
      local copy = d.root .. "/torn"
      assert(os.execute(("rm -rf '%s'; cp -a '%s' '%s'"):format(copy, path, copy)))
      assert(os.execute(("cd '%s/appendonlydir' && %s"):format(copy, command)))
      said.additions[1].path = copy
    end
  end

  it("finds it whole", function()
    local found = assert(check(set, w, r):wait())
    assert.is_truthy(found)
  end)

  it("finds bytes that are others", function()
    local err = damaged("the check found", torn("printf 'XXXX' | env -u LD_PRELOAD dd of="
      .. "appendonly.aof.dump.base.rdb bs=1 seek=150 conv=notrunc status=none"))
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.is_true(#err.problems > 0)
    assert.is_nil(err.untried)
  end)

  it("finds a file that was cut", function()
    damaged("the check found", torn "truncate -s 200 appendonly.aof.dump.base.rdb")
  end)

  it("finds a log without its beginning", function()
    damaged("the check found", torn "rm appendonly.aof.dump.base.rdb")
  end)

  it("does not take an empty server for one", function()
    damaged("is not there: a server would start without any data",
      function(said) said.layout.aof_dir = "elsewhere" end)
  end)

  it("finds an older one by what was counted", function()
    damaged("not of that instant: database 0: 200 keys, and there were 201",
      function(said) said.keys["0"].keys = 201 end)
    damaged("database 7: 0 keys", function(said)
      said.keys["7"] = { keys = 3, expires = 0 }
    end)
  end)

  it("does not believe what it cannot be", function()
    for _, change in ipairs {
      function(said) said.layout = nil end,
      function(said) said.layout.dir = "/etc" end,
      function(said) said.layout.rdb = "../x" end,
      function(said) said.layout.aof_dir = "a\nload b" end } do
      local said = set:said(w.instance)
      change(said.components.redis)
      local ok, err = check(set, w, r, said):wait()
      assert.is_nil(ok)
      assert.is_true(err.untried)
    end
  end)

  it("knows who runs there", function()
    local k = kind.of "redis"
    local production = { at = function(_, path) return path end, root = "" }
    local c = { files = { r.data }, type = "database" }
    assert.match("a Redis server %(process %d+%) runs on " .. r.data:gsub("%p", "%%%0"),
      helper.task(k.busy, c, production))
    c.files = { d.root }
    assert.is_nil((helper.task(k.busy, c, production)))
  end)

  it("writes through no link that came with the files", function()
    local name, said = case.component(set, w)
    local other = d.root .. "/production"
    outside.write(other, "as it was")
    local k = kind.of "redis"
    helper.task(function()
      local p <close> = require "saros.place".of_shadow { paths = { r.data },
        at = function(path) return set[r.data].path .. path:sub(#r.data + 1) end }
      for _, one in ipairs(said.additions or {}) do
        assert(os.execute(("cp -a '%s/.' '%s'"):format(one.path, p:at(one.to))))
      end
      local c = { name = name, type = "database", files = { r.data },
        said = said }
      assert(os.execute(("mkdir '%s/run' && ln -s '%s' '%s/run/redis.conf'")
        :format(p.root, other, p.root)))
      do
        local _ <close> = assert(k.start(c, p))
        assert.equal("as it was", outside.content(other))
      end
      assert(os.execute(("rm -r '%s/run' && ln -s '%s' '%s/run'")
        :format(p.root, d.root, p.root)))
      local ok, err = pcall(k.start, c, p)
      assert.is_false(ok)
      assert.match("there is a symbolic link", err.message)
      assert.is_nil(outside.content(d.root .. "/redis.conf"))
    end)
  end)

  -- With a cell whose function `name` is this one, meanwhile.
  local function with_cell(name, f)
    local cell = require "saros.cell"
    local was <const> = cell[name]
    cell[name] = f(was)
    return setmetatable({}, { __close = function() cell[name] = was end })
  end

  it("does not see the files of production", function()
    if not os.execute "test $(id -u) = 0" then return pending "needs root" end
    local hidden = {}
    local _ <close> = with_cell("run", function(run)
      return function(o)
        hidden[#hidden + 1] = o.hide
        return run(o)
      end
    end)
    assert(check(set, w, r):wait())
    assert.is_true(#hidden > 0)
    for _, list in ipairs(hidden) do assert.same({ r.data }, list) end
  end)

  it("is none by root: what is root's is untried", function()
    if not os.execute "test $(id -u) = 0" then return pending "needs root" end
    local _ <close> = with_cell("why", function()
      return function() return { message = "there is none" } end
    end)
    local copy = d.root .. "/roots"
    assert(os.execute(("cp -a '%s' '%s' && chown -R 0:0 '%s'"):format(
      set[r.data].path, copy, copy)))
    local said = set:said(w.instance)
    said.components.redis.additions = nil
    local ok, err = check({ [r.data] = { path = copy },
      said = function() return said end }, w, r):wait()
    assert.is_nil(ok)
    assert.is_true(err.untried, err.message)
    assert.match("no server is started as root", err.message)
  end)

  it("takes nothing of production's configuration into a drill", function()
    r:cli("CONFIG", "SET", "notify-keyspace-events", "KEA")
    on_copy(set, w, r, function(db, running)
      assert.equal("", get(db, "CONFIG", "GET", "notify-keyspace-events")[2])
      assert.equal("0", get(db, "CONFIG", "GET", "port")[2])
      assert.match("role:master", get(db, "INFO", "replication"))
      assert.same({}, get(db, "MODULE", "LIST"))
      assert.is_truthy(running.socket)
      assert.is_truthy(running.dump({}).argv)
    end)
  end)
end)
