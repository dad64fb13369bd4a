-- Copies of SQLite databases whose files are of several instants, as a broken
-- provider makes them: what the writer saw while it held them finds each, also
-- those that SQLite takes for whole.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local there = pcall(require, "saros.client.sqlite")

if not there then
  describe("copies of SQLite databases that are torn", function()
    pending "saros.client.sqlite was left out of this build"
  end)
  return
end

local busy = require "spec.sqlite_busy"
local kind = require "saros.writers.kind"
local place = require "saros.place"
local sqlite = require "saros.writers.sqlite"
local saros, vss = helper.saros, shared.vss
local code = saros.code

local function sh(command, ...) assert(os.execute(command:format(...))) end

-- Somebody who writes so many rows, and has it open until the block ends.
local function writes(path, from, to)
  local p = outside.start(outside.lua, "-e", ([[
    local db = require "saros.client.sqlite".open { path = %q }
    assert(db:exec("PRAGMA wal_autocheckpoint = 0"):wait())
    for n = %d, %d do
      assert(db:exec("INSERT INTO t VALUES (?, ?)", n, ("x"):rep(100)):wait())
    end
    print "written"
    io.stdout:flush()
    require "saros".sleep(1000):wait()]]):format(path, from, to))
  p:expect "written\n"
  return p
end

describe("copies of SQLite databases that are torn", function()
  -- A shadow with the rows 1 to 300, and what was said of it; the files with
  -- fewer, and those of somebody in the middle of a transaction, aside.
  local function made(mode)
    local d = shared.directory()
    local t = { d = d, path = d.a .. "/app.db" }
    busy.make(t.path, mode)
    sh("chmod 711 %s; mkdir %s/early %s/middle", d.root, d.root, d.root)
    do
      local p <close> = writes(t.path, 1, 100)
      sh("cp -a %s/app.db* %s/early/", d.a, d.root)
      assert(p)
    end
    do
      local w <close> = sqlite.writer { databases = { t.path } }
      local p
      -- After the checkpoint, before the hold.
      local _ <close> = vss.writer { id = shared.id(8), name = "late",
        level = "front_end", freeze = function()
          p = writes(t.path, 101, 300)
        end }
      t.set = assert(vss.shadow { paths = { d.a }, provider = "copy",
        state_dir = d.state }:wait())
      t.said = t.set:said(w.instance).components["app.db"]
      p:__close()
    end
    t.shadow = t.set[d.a].path
    local p <close> = outside.start(outside.lua, "-e", ([[
      local db = require "saros.client.sqlite".open { path = %q }
      assert(db:exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; "
        .. "UPDATE t SET x = hex(x)"):wait())
      print "middle"
      io.stdout:flush()
      require "saros".sleep(1000):wait()]]):format(t.path))
    p:expect "middle\n"
    sh("cp -a %s/app.db* %s/middle/", d.a, d.root)
    return setmetatable(t, { __close = function()
      t.set:close()
      getmetatable(d).__close()
    end })
  end

  local function checked(t, change)
    local copy = t.d.root .. "/copy"
    sh("rm -rf %s; cp -a %s %s", copy, t.shadow, copy)
    if change then change(copy, t.d.root) end
    local c = { name = "app.db", said = t.said, files = {} }
    for i, suffix in ipairs { "", "-wal", "-shm", "-journal" } do
      c.files[i] = t.path .. suffix
    end
    return saros.spawn(function()
      local p <close> = place.of_shadow { paths = c.files, scratch = t.d.root,
        at = function(path) return copy .. path:sub(#t.d.a + 1) end }
      local k = kind.of(sqlite.id)
      local result, err = k.check(c, p)
      -- What was opened has no log any more: nobody is accused of that.
      if result then assert(k.check(c, p)) end
      return result, err
    end):wait()
  end

  local function finds(t, pattern, change)
    local ok, err = checked(t, change)
    assert.is_nil(ok)
    assert.match(pattern, err.message)
    assert.is_nil(err.untried)
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.equal(1, #err.problems)
  end

  it("are found by its log", function()
    local t <close> = made "wal"
    assert.equal("application", t.said.consistency)
    assert.is_true(t.said.instant.log_size > 4096)
    assert.same({ databases = 1 }, checked(t))
    finds(t, "its log is not there: what was committed last", function(copy)
      sh("rm %s/app.db-wal", copy)
    end)
    finds(t, "is not the one that it had", function(copy, root)
      sh("cp -a %s/early/app.db-wal %s/", root, copy)
    end)
    finds(t, "its log ends after %d+ bytes of", function(copy)
      sh("truncate -s -4120 %s/app.db-wal", copy)
    end)
    finds(t, "it ends after 4096 bytes of", function(copy)
      sh("truncate -s 4096 %s/app.db", copy)
    end)
  end)

  it("are found by its header", function()
    local t <close> = made "delete"
    assert.is_nil(t.said.instant.log)
    assert.same({ databases = 1 }, checked(t))
    finds(t, "written to at another instant", function(copy, root)
      -- As long as it is, so that only that tells.
      sh("cp -a %s/early/app.db %s/ && truncate -r %s/app.db %s/app.db", root,
        copy, t.shadow, copy)
    end)
    finds(t, "it has %d+ bytes, and it had", function(copy, root)
      sh("cp -a %s/early/app.db %s/", root, copy)
    end)
    finds(t, "a log beside it, and it had none", function(copy)
      sh("head -c 4096 /dev/urandom >%s/app.db-wal", copy)
    end)
    finds(t, "a journal beside it that would be rolled back",
      function(copy, root)
        sh("cp -a %s/middle/app.db-journal %s/", root, copy)
      end)
    -- Pages of a transaction that was not over, and no journal.
    finds(t, "it has %d+ bytes, and it had", function(copy, root)
      sh("cp -a %s/middle/app.db %s/", root, copy)
    end)
  end)

  it("are not looked for where it is read live", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "wal")
    local w <close> = sqlite.writer { databases = { path } }
    local set <close> = assert(vss.shadow { paths = { d.a },
      provider = "live", state_dir = d.state }:wait())
    local said = set:said(w.instance).components["app.db"]
    assert.equal("application", said.consistency)
    assert.is_nil(said.instant)
  end)
end)
