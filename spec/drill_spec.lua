-- saros.drill: a version is restored, started apart, asked, and taken down.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros

local why = require "spec.lacking"()
if why then
  describe("saros.drill", function() pending(why) end)
  return
end

local shared = require "spec.drill"
local catalogue = require "saros.wsb.catalogue"
local system = outside.system

local drill, failing, known = shared.drill, shared.failing, shared.known

describe("a drill", function()
  it("restores, starts and asks, and leaves nothing", function()
    shared.with(function(p)
      local id = shared.version(p, { ledger = "whole" })
      local seen
      local report = assert(drill(p, { verify = function(db, c)
        seen = { text = outside.content(db.file), name = c.name,
          running = #shared.running() > 0, root = db.place.root }
        return true
      end }):wait())
      assert.equal("whole", seen.text)
      assert.equal("ledger", seen.name)
      assert.is_true(seen.running)
      assert.equal(p.scratch, seen.root:sub(1, #p.scratch))
      assert.is_true(report.ok)
      assert.equal(id, report.version)
      local entry = report.components[1]
      helper.contains({ name = "ledger", kind = "drilled", state = "passed",
        ok = true, restored = true, started = true, learned = true }, entry)
      assert.same({ state = "passed" }, entry.check)
      assert.same({ state = "passed" }, entry.verify)
      for _, step in ipairs { "restore", "check", "start", "verify" } do
        assert.is_true(entry.seconds[step] >= 0)
      end
      assert.truthy(tostring(report):find("ledger (drilled): passed", 1, true))
      assert.equal("", p.left())
      local c = known(p, id)
      assert.is_true(c.drill.ok)
      assert.is_true(c.recoverable)
    end)
  end)

  it("needs no verify, and one that says nothing has agreed", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole" })
      local report = assert(drill(p):wait())
      assert.equal("none", report.components[1].verify.state)
      report = assert(drill(p, { verify = function() end }):wait())
      assert.equal("passed", report.components[1].verify.state)
    end)
  end)

  it("does not learn where that is not wanted", function()
    shared.with(function(p)
      local id = shared.version(p, { ledger = "fail check" })
      failing(p, { learn = false })
      assert.is_nil(known(p, id).drill)
      assert.equal(1, #p.repo:versions())
    end)
  end)

  it("takes one of several, or all", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole", shop = "whole" })
      assert.equal(2, #assert(drill(p):wait()).components)
      local one = assert(drill(p, { component = "shop" }):wait())
      assert.equal(1, #one.components)
      assert.equal("shop", one.components[1].name)
      for _, application in ipairs { "drilled", "spec", shared.id:upper() } do
        assert.equal(2, #assert(drill(p, { application = application })
          :wait()).components)
      end
      local ok, err = drill(p, { component = "other" }):wait()
      assert.is_nil(ok)
      assert.truthy(err.message:find("it has: ledger, shop", 1, true))
    end)
  end)

  it("is in nobody's way, nor in that of another one", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole", shop = "whole" })
      local there = {}
      local function verify(name)
        return function(db)
          there[name] = db.place.root
          while not (there.ledger and there.shop) do
            saros.sleep(0.005):wait()
          end
          return outside.content(db.file) == "whole"
        end
      end
      local a <close> = drill(p, { component = "ledger",
        verify = verify "ledger" })
      local b <close> = drill(p, { component = "shop", verify = verify "shop" })
      assert(a:wait())
      assert(b:wait())
      assert.not_equal(there.ledger, there.shop)
      assert.equal("", p.left())
      for _, c in ipairs(catalogue.read(p.repo, "latest").components) do
        assert.is_true(c.drill.ok)
      end
    end)
  end)

  it("keeps the files where that is wanted", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole" })
      local report = assert(drill(p, { keep = true }):wait())
      local at = report.components[1].place
      assert.equal("whole", outside.content(at .. "/srv/drilled/ledger/data"))
      assert.same({}, shared.running())
      assert(drill(p):wait()) -- nor does another one take them away
      assert.truthy(outside.content(at .. "/srv/drilled/ledger/data"))
    end)
  end)

  it("takes a part out of what it has started", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole", shop = "whole" })
      assert(drill(p, { extract = { { component = "shop", table = "orders",
        to = p.root .. "/orders" } } }):wait())
      assert.equal("orders of shop\n", outside.content(p.root .. "/orders"))
      -- Never over what is there.
      local err = failing(p, { component = "shop", extract = {
        { table = "orders", to = p.root .. "/orders" } } })
      assert.equal("untried", err.report.components[1].state)
      err = failing(p, { component = "shop", extract = {
        { table = "nothing", to = p.root .. "/nothing" } } })
      assert.truthy(err.message:find("nothing: No such file", 1, true))
      assert.is_nil(outside.content(p.root .. "/nothing"))
      assert.is_nil(outside.content(p.root .. "/nothing.part"))
      assert.equal("600\n", io.popen(("stat -c %%a '%s/orders'"):format(p.root))
        :read "a")
    end)
  end)

  it("wants to know which repository", function()
    assert.error_matches(function() saros.drill {} end, "'repository'")
    assert.error_matches(function()
      saros.drill { repository = {}, verfy = print }
    end, "'verify' perhaps")
    assert.error_matches(function()
      saros.drill { repository = {}, extract = { "orders" } }
    end, "extract")
  end)
end)

describe("a drill of a backup", function()
  local there, sqlite = pcall(require, "saros.writers.sqlite")

  -- f(p, database, backup): there is a database, and backup() stores it.
  local function with_database(f)
    shared.with(function(p)
      local path = p.src .. "/app.db"
      do
        local db <close> = require "saros.client.sqlite".open { path = path,
          create = true }
        assert(db:exec [[CREATE TABLE orders (n INTEGER, t TEXT);
          CREATE INDEX by_n ON orders (n);
          CREATE TABLE "or_ers" (n INTEGER);
          WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c
            LIMIT 500) INSERT INTO orders SELECT n, hex(randomblob(50))
            FROM c]]:wait())
      end
      return f(p, path, function()
        local _ <close> = sqlite.writer { databases = { path } }
        return assert(saros.wsb.backup { repository = p.repo,
          paths = { p.src }, provider = "copy", check = false,
          state_dir = p.root .. "/state" }:wait())
      end)
    end)
  end

  local function items(p)
    return assert(saros.wsb.items { repository = p.repo }:wait()).components[1]
  end

  it("reads what was stored, and gives back a table", function()
    if not there then return pending "saros.client.sqlite is not there" end
    with_database(function(p, path, backup)
      backup()
      os.remove(path)
      local rows
      local report = assert(drill(p, { application = "sqlite",
        verify = function(db)
          rows = assert(db:query "SELECT count(*) AS n FROM orders":wait())
        end,
        extract = { { table = "or_ers", to = p.root .. "/one.sql" },
          { to = p.root .. "/all.sql" } } }):wait())
      assert.equal(500, rows[1].n)
      assert.equal("passed", report.components[1].check.state)
      local one = outside.content(p.root .. "/one.sql")
      assert.truthy(one:find('CREATE TABLE IF NOT EXISTS "or_ers"', 1, true))
      assert.is_nil(one:find "orders")
      local _, n = outside.content(p.root .. "/all.sql"):gsub("INSERT INTO", "")
      assert.equal(500, n)
      assert.is_true(items(p).recoverable)
      local err = failing(p, { extract = { { table = "gone",
        to = p.root .. "/gone.sql" } } })
      assert.truthy(err.message:find('no table "gone"', 1, true))
      assert.is_true(items(p).recoverable)
    end)
  end)

  it("finds a copy that was torn, and so do the items", function()
    if not there then return pending "saros.client.sqlite is not there" end
    with_database(function(p, path, backup)
      -- Of the index, a page from another time.
      os.execute(([[n=$(($(stat -c %%s '%s') / 4096 - 1))
        env -u LD_PRELOAD dd if=/dev/zero of='%s' bs=4096 seek=$n count=1 conv=notrunc \
        2>/dev/null]]):format(path, path))
      backup()
      assert.is_true(items(p).recoverable)
      local err = failing(p)
      helper.contains({ state = "failed", failed_at = "check" },
        err.report.components[1])
      assert.is_false(items(p).recoverable)
      assert.truthy(items(p).why:find("a drill failed", 1, true))
    end)
  end)
end)

describe("a drill that is ended", function()
  local steps = { "read", "restore", "adopt", "settle", "check", "start",
    "starting", "verify", "verifying" }

  it("by cancel leaves nothing, at any step", function()
    shared.with(function(p)
      shared.version(p, { ledger = "whole" })
      local core = helper.core
      local report = core.report
      local _ <close> = setmetatable({}, { __close = function()
        core.report = report
      end })
      for _, step in ipairs(steps) do
        local op, reached
        core.report = function(t)
          if t.phase == step then
            reached = true
            op:cancel()
          end
          return report(t)
        end
        op = drill(p, { verify = function()
          core.report { phase = "verifying" }
          saros.sleep(1000):wait()
        end })
        local ok, err = op:wait()
        op:close()
        assert.is_true(reached, step)
        assert.is_nil(ok)
        assert.is_true(err.cancelled)
        assert.equal("", p.left())
      end
      assert.is_nil(known(p, "latest").drill)
    end)
  end)

  for _, phase in ipairs { "restore", "check", "starting", "verifying" } do
    it("by kill -9 leaves nothing that goes on: " .. phase, function()
      shared.with(function(p)
        shared.version(p, { ledger = "whole" })
        local killed <close> = shared.elsewhere(p)
        killed:expect("phase " .. phase .. "\n")
        system.kill(killed.pid, 9)
        killed:finish()
        outside.eventually("the server's end", function()
          return #shared.running() == 0
        end)
        assert.is_nil(outside.content "/proc/mounts":find(p.root, 1, true))
        -- What is left are files, and the next one takes them away.
        assert.truthy(p.left():find "^saros%-p%.")
        assert(drill(p):wait())
        assert.equal("", p.left())
      end)
    end)
  end

  it("is cleaned up behind by reap, too", function()
    shared.with(function(p)
      os.execute(("mkdir -p '%s/saros-p.1.1.00000000.1.1/p/x'"):format(
        p.scratch))
      assert.equal(1, saros.drill.reap(p.scratch):wait())
      assert.equal("", p.left())
    end)
  end)
end)
