-- saros.writers.postgres: shadows of a cluster that is written to all the time,
-- in every way there is to make one. Each is checked, started, and has every row
-- that was acknowledged before the freeze.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local servers = require "spec.servers.postgres"
local shared = require "spec.vss"

local there, _ = pcall(require, "saros.client.postgres")
local missing = servers.missing
  or not there and "saros.client.postgres was left out of this build"
  or volumes.missing
if missing then
  describe("saros.writers.postgres", function() pending(missing) end)
  return
end

local vss = shared.vss
local kind = require "saros.writers.kind"
local place = require "saros.place"
local postgres = require "saros.writers.postgres"

local function sh(command, ...)
  local text, good = volumes.run(command, ...)
  assert(good, text)
  return text
end

-- Two volumes, and a directory for state. A cluster grows as long as somebody
-- writes, and a slow machine takes its time: there is room for that.
local function world()
  local w = { d = shared.directory() }
  w.v = assert(volumes.make("btrfs", 512))
  sh("chmod 755 %s %s/..", w.d.root, w.v.path)
  function w.subvolume(name)
    sh("btrfs subvolume create %s/%s; chmod 755 %s/%s", w.v.path, name,
      w.v.path, name)
    return w.v.path .. "/" .. name
  end
  return setmetatable(w, { __close = function()
    w.v.close()
    local _ <close> = w.d
  end })
end

-- The component as a version has it.
local function component(set, writer)
  local said = set:said(writer.instance)
  local name, own = next(said.components)
  assert.is_nil(next(said.components, name))
  return { name = name, files = own.files, said = own }
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

-- Lays what is in the shadows and what belongs over it into a place.
local function laid(c, set, w)
  local p = place.of_shadow { paths = c.files, scratch = w.v.path,
    at = function(path)
      for top, one in pairs(set) do
        if path == top or path:sub(1, #top + 1) == top .. "/" then
          return one.path .. path:sub(#top + 1)
        end
      end
    end }
  for _, one in ipairs(c.said.additions or {}) do
    sh("cp -a %s/. %s/", one.path, p:at(one.to))
  end
  return p
end

-- It is whole, and has at least so many rows, none of them torn.
local function prove(c, set, w, rows, tables)
  helper.task(function()
    local k = kind.of(postgres.id)
    local p <close> = laid(c, set, w)
    local label = exists(p:at(c.said.data_directory) .. "/backup_label")
    assert.equal(c.said.mode == "backup", label)
    assert(k.settle(c, p))
    local found = assert(k.check(c, p))
    assert.match("^PostgreSQL ", found.server)
    assert.equal(c.said.checksums and "passed" or "off", found.checksums)
    local drilled <close> = assert(k.start(c, p, require "saros.cell"))
    for _, name in ipairs(tables or { "ledger" }) do
      local r = assert(drilled.db:query(([[SELECT count(*) AS n, max(n) AS last,
        count(*) FILTER (WHERE length(t) <> 300) AS torn FROM %s]])
        :format(name)):wait())[1]
      assert.equal("0", r.torn)
      assert.is_true(tonumber(r.last) >= rows[name],
        ("%s has %s rows, and %d were acknowledged"):format(name, r.last,
          rows[name]))
      assert.equal(r.last, r.n)
    end
  end)
end

-- How many rows were acknowledged when all held still.
local function witness(loads, rows)
  return vss.writer { id = shared.id(9), name = "witness", level = "front_end",
    freeze = function()
      for name, load in pairs(loads) do rows[name] = load.acknowledged() end
    end }
end

local function shadow(w, paths, provider)
  local set, err = vss.shadow { paths = paths, provider = provider,
    state_dir = w.d.state }:wait()
  while err and err.cause do err = err.cause end
  return set or error(err, 0)
end

-- Backup mode is over when nobody of ours is there.
local function quiet(pg)
  shared.until_true(function()
    return pg:must [[SELECT count(*) FROM pg_replication_slots]] == "0\n"
  end)
end

describe("a shadow of a busy cluster", function()
  it("of one instant has no label", function()
    local w <close> = world()
    local pg <close> = servers.start { at = w.subvolume "pg", checksums = true }
    local load <close>, rows = pg:load(), {}
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local _ <close> = witness({ ledger = load }, rows)
    local set <close> = shadow(w, { pg.at }, "btrfs")
    local c = component(set, writer)
    assert.equal("atomic", c.said.mode)
    assert.is_nil(c.said.additions)
    assert.equal("application", c.said.consistency)
    assert.match("^%x+/%x+$", c.said.position)
    prove(c, set, w, rows)
    assert(set:backup_complete():wait())
  end)

  -- What was not synced, a snapshot has file by file.
  for _, off in ipairs { "fsync", "full_page_writes" } do
    it(("without %s is not of one instant on btrfs"):format(off), function()
      local w <close> = world()
      local pg <close> = servers.start { at = w.subvolume "pg",
        settings = { [off] = "off" } }
      local load <close>, rows = pg:load(), {}
      local writer <close> = postgres.writer { conninfo = pg.conninfo }
      local _ <close> = witness({ ledger = load }, rows)
      local set <close> = shadow(w, { pg.at }, "btrfs")
      local c = component(set, writer)
      assert.equal("backup", c.said.mode)
      prove(c, set, w, rows)
    end)
  end

  it("fails when it stops syncing in the middle", function()
    local w <close> = world()
    local pg <close> = servers.start { at = w.subvolume "pg" }
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local _ <close> = vss.writer { id = shared.id(9), name = "meddler",
      level = "front_end", freeze = function()
        pg:must "ALTER SYSTEM SET fsync = off"
        pg:reload()
        outside.eventually("it does not sync", function()
          return pg:must "SHOW fsync" == "off\n"
        end)
      end }
    assert(writer)
    local good, err = pcall(shadow, w, { pg.at }, "btrfs")
    assert.is_false(good)
    assert.match("fsync or full_page_writes was changed", tostring(err))
  end)

  for _, provider in ipairs { "copy", "reflink" } do
    it("by " .. provider .. " has a label, and the log it needs", function()
      local w <close> = world()
      local space = w.v.path .. "/space"
      local pg <close> = servers.start { at = w.subvolume "pg",
        wal = w.v.path .. "/wal", config = w.v.path .. "/etc/postgresql/15/x",
        checksums = true }
      pg:tablespace("aside", space)
      local load <close> = pg:load("ledger")
      local other <close>, rows = pg:load("other", "aside"), {}
      local writer <close> = postgres.writer { conninfo = pg.conninfo }
      local _ <close> = witness({ ledger = load, other = other }, rows)
      local set <close> = shadow(w, { pg.at, space, w.v.path .. "/wal",
        w.v.path .. "/etc" }, provider)
      local c = component(set, writer)
      assert.equal("15-x", c.name)
      assert.same({ pg.data, w.v.path .. "/wal/pg_wal", space, pg.config },
        c.files)
      assert.equal("backup", c.said.mode)
      assert.equal("application", c.said.consistency)
      prove(c, set, w, rows, { "ledger", "other" })
      quiet(pg)
      local staged = c.said.additions[1].path
      assert.is_true(exists(staged .. "/backup_label"))
      assert(set:backup_complete():wait())
      set:close()
      assert.is_false(exists(staged))
      -- Nothing was written to the cluster itself.
      assert.is_false(exists(pg.data .. "/backup_label"))
    end)
  end

  it("on two volumes is not of one instant", function()
    local w <close> = world()
    local other <close> = assert(volumes.make("btrfs", 256))
    sh("chmod 755 %s/..", other.path)
    local pg <close> = servers.start { at = w.subvolume "pg" }
    pg:tablespace("aside", other.path .. "/space")
    local load <close>, rows = pg:load("ledger", "aside"), {}
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local _ <close> = witness({ ledger = load }, rows)
    local set <close> = shadow(w, { pg.at, other.path }, "btrfs")
    local c = component(set, writer)
    assert.equal("backup", c.said.mode)
    prove(c, set, w, rows)
  end)

  it("on two file systems that are frozen together is of one instant", function()
    local w <close> = world()
    -- The images lie where they can be cloned.
    local function volume(size)
      local v = assert(volumes.make("ext4", size, { directory = w.v.path }))
      sh("chmod 755 %s %s/..", v.path, v.path)
      return v
    end
    local one <close> = volume(96)
    local two <close> = volume(64)
    local pg <close> = servers.start { at = one.path .. "/pg" }
    pg:tablespace("aside", two.path .. "/space")
    local load <close>, rows = pg:load("ledger", "aside"), {}
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local _ <close> = witness({ ledger = load }, rows)
    local set <close> = shadow(w, { one.path, two.path }, "image")
    local c = component(set, writer)
    assert.equal("atomic", c.said.mode)
    prove(c, set, w, rows)
  end)

  it("that is read live is whole when the backup is complete", function()
    local w <close> = world()
    local pg <close> = servers.start { at = w.subvolume "pg" }
    local load <close>, rows = pg:load(), {}
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local _ <close> = witness({ ledger = load }, rows)
    local set <close> = shadow(w, { pg.at }, "live")
    local c = component(set, writer)
    assert.is_true(c.said.pending)
    assert.is_nil(c.said.additions)
    -- Read while it is written to; then what makes it whole.
    local copy = w.v.path .. "/read"
    sh("mkdir %s; cp -a %s/. %s/", copy, pg.at, copy)
    helper.task(function()
      local p <close> = place.of_shadow { paths = { pg.data },
        scratch = w.v.path, at = function() return copy .. "/data" end }
      local settled, err = kind.of(postgres.id).settle(c, p)
      assert.is_nil(settled)
      assert.is_true(err.untried)
    end)
    assert(set:backup_complete():wait())
    c = component(set, writer)
    assert.is_nil(c.said.pending)
    assert.equal("application", c.said.consistency)
    local read = setmetatable({}, { __pairs = function()
      return pairs { [pg.at] = { path = copy } }
    end })
    prove(c, read, w, rows)
    quiet(pg)
  end)

  it("of a part of it says so, and holds nobody", function()
    local w <close> = world()
    local pg <close> = servers.start { at = w.subvolume "pg",
      wal = w.subvolume "wal" }
    local writer <close> = postgres.writer { conninfo = pg.conninfo }
    local set <close> = shadow(w, { pg.at }, "btrfs")
    local c = component(set, writer)
    assert.equal("none", c.said.consistency)
    assert.match("wal/pg_wal is not among what is backed up", c.said.why)
    -- A subvolume in it is an empty directory in a snapshot.
    local all <close> = shadow(w, { w.v.path }, "btrfs")
    c = component(all, writer)
    assert.equal("none", c.said.consistency)
    assert.match("a subvolume of its own, which the shadow of", c.said.why)
  end)

  it("and its check are for whoever owns the cluster, too", function()
    local as = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
    local function run(...)
      return outside.run(table.unpack(table.move({ ... }, 1, select("#", ...),
        #as + 1, { table.unpack(as) })))
    end
    local core = outside.module "saros.core"
    if select(3, run("test", "-r", core)) ~= 0 then
      pending(core .. " cannot be read by others")
      return
    end
    local pg <close> = servers.start { checksums = true }
    local d, _ <close> = servers.directory()
    sh("mkdir -m 711 %s/scratch; mkdir -m 700 %s/state; chown 65534:65534 %s/*",
      d, d, d)
    outside.write(d .. "/script.lua", ([[
      local data, d = %q, %q
      local vss = require "saros.vss"
      local postgres = require "saros.writers.postgres"
      local w <close> = postgres.writer { conninfo = %q,
        scratch = d .. "/scratch" }
      local set <close> = assert(vss.shadow { paths = { data },
        provider = "copy", state_dir = d .. "/state" }:wait())
      local said = set:said(w.instance)
      local name, own = next(said.components)
      local found = assert(require "saros.wsb".check_consistency {
        writer = w.id, instance = w.instance, component = name, said = said,
        metadata = { components = { { name = name, files = own.files } } },
        sources = { data }, snapshots = { set[data].path },
        scratch = d .. "/scratch" }:wait())
      print(own.mode, own.consistency, found.checksums)]]):format(pg.data, d,
      pg.conninfo))
    local said = run("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, d .. "/script.lua")
    assert.equal("backup\tapplication\tpassed\n", said)
  end)

  it("is of several clusters at once", function()
    local w <close> = world()
    local one <close> = servers.start { at = w.subvolume "one" }
    local two <close> = servers.start { at = w.subvolume "two" }
    local loads <const>, rows = {}, {}
    local a <close> = one:load()
    local b <close> = two:load()
    loads.one, loads.two = a, b
    local writer <close> = postgres.writer { clusters = {
      { conninfo = one.conninfo }, { conninfo = two.conninfo } } }
    local _ <close> = witness(loads, rows)
    local set <close> = shadow(w, { one.at, two.at }, "btrfs")
    local said = set:said(writer.instance).components
    for _, pg in ipairs { one, two } do
      local own = said[pg.major .. "-" .. pg.port]
      assert.equal("atomic", own.mode)
      prove({ name = "x", files = own.files, said = own }, set, w,
        { ledger = rows[pg == one and "one" or "two"] })
    end
    -- Of those that have nothing to do with it nobody is asked anything.
    local alone <close> = shadow(w, { two.at }, "copy")
    local c = component(alone, writer)
    assert.equal(two.major .. "-" .. two.port, c.name)
    assert.equal("backup", c.said.mode)
  end)
end)
