-- saros.writers.sqlite when what holds the databases, whoever asked for it, or
-- the databases themselves fail at the worst moment: they are written to again,
-- always, and what was not held is no shadow.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local there, client = pcall(require, "saros.client.sqlite")

if not there then
  describe("saros.writers.sqlite", function()
    pending "saros.client.sqlite was left out of this build"
  end)
  return
end

local busy = require "spec.sqlite_busy"
local sqlite = require "saros.writers.sqlite"
local saros, vss, system = helper.saros, shared.vss, outside.system
local code = saros.code

local case = require "spec.sqlite_case"
local shadow, witness, insert = case.shadow, case.witness, case.insert

local function state(pid)
  local text = outside.content(("/proc/%d/stat"):format(pid)) or ""
  return text:match "^.*%) (%a)"
end

local function parent(pid)
  local status = outside.content(("/proc/%d/status"):format(pid)) or ""
  return tonumber(status:match "PPid:%s*(%d+)")
end

-- The process that holds databases for this one, or for a host.
local function holder(host)
  local pipe <close> = assert(io.popen(
    "grep -lsx sqlite-hold /proc/[0-9]*/comm | sed 's|/proc/||; s|/comm||'"))
  for pid in pipe:lines() do
    pid = tonumber(pid)
    if parent(pid) == (host or system.pid()) and state(pid) ~= "Z" then
      return pid
    end
  end
end

local function stop(pid)
  system.kill(pid, 19)
  outside.eventually("it stands still", function() return state(pid) == "T" end)
end

local function root_of(err)
  while err.cause do err = err.cause end
  return err
end

describe("what holds the databases", function()
  it("hangs when it is to let go: it is ended, and there is no shadow",
    function()
      local d <close> = shared.directory()
      local path = d.a .. "/app.db"
      busy.make(path, "wal")
      local _ <close> = sqlite.writer { databases = { path } }
      do
        local _ <close> = witness(function() stop(holder()) end)
        local set, err = shadow(d):wait()
        assert.is_nil(set)
        assert.match("does not answer", root_of(err).message)
      end
      assert.is_nil(holder())
      assert.equal("written", insert(path, 0))
      assert.equal("", d.left())
      assert(shadow(d):wait()):close()
    end)

  it("holds what is under that name, or there is no shadow", function()
    local d <close> = shared.directory()
    local path, other = d.a .. "/app.db", d.a .. "/other.db"
    busy.make(other, "delete")
    busy.make(path, "delete")
    local _ <close> = sqlite.writer { databases = { other, path } }
    local held
    do
      local _ <close> = witness(function()
        busy.make(d.b .. "/new.db", "delete")
        assert(os.rename(d.b .. "/new.db", path))
        held = insert(path, 0)
      end)
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.equal("written", held)
      assert.match("a/app.db was replaced by another file",
        root_of(err).message)
      assert.equal(code.SAROS_E_CHANGED, root_of(err).code)
    end
    assert(shadow(d):wait()):close()
  end)
end)

describe("a host that stands still", function()
  it("holds nobody for longer than it may", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "wal")
    local p <close> = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local vss = require "saros.vss"
      local w = require "saros.writers.sqlite".writer { databases = { %q },
        freeze_timeout = 2 }
      local v = vss.writer { id = %q, name = "witness", level = "system",
        freeze = function()
          print "held"
          io.stdout:flush()
          repeat saros.sleep(0.01):wait() until io.open(%q)
        end }
      local set, err = vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()
      while err and err.cause do err = err.cause end
      print(set and "made" or err.message)]]):format(path, shared.id(9),
        d.root .. "/go_on", d.a, d.state))
    p:expect "held\n"
    stop(p.pid)
    assert.equal("written", insert(path, 30)) -- how soon is nobody's business
    assert.is_nil(holder(p.pid))
    outside.write(d.root .. "/go_on", "")
    system.kill(p.pid, 18)
    local said = p:finish()
    assert.is_truthy(said:find "ended before the shadow was complete"
      or said:find "was to be held for 2 s at most", said)
  end)
end)

describe("a database", function()
  -- Its writer was killed in the middle: its journal is hot.
  it("that has to recover is held as it was before", function()
    local d <close> = shared.directory()
    local path = d.a .. "/app.db"
    busy.make(path, "delete")
    assert.equal("written", insert(path, 0))
    local p <close> = outside.start(outside.lua, "-e", ([[
      local sqlite = require "saros.client.sqlite"
      local db = sqlite.open { path = %q }
      assert(db:exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; "
        .. "WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c "
        .. "LIMIT 3000) INSERT INTO t SELECT n, hex(n) FROM c"):wait())
      print "middle"
      io.stdout:flush()
      require "saros".sleep(1000):wait()]]):format(path))
    p:expect "middle\n"
    local _ <close> = sqlite.writer { databases = { path } }
    local _ <close> = vss.writer { id = shared.id(8), name = "murderer",
      level = "front_end", prepare_backup = function()
        system.kill(p.pid, 9)
        p:finish()
        assert.is_truthy((outside.content(path .. "-journal") or "") ~= "")
      end }
    local set <close> = assert(shadow(d):wait())
    local copy = set[d.a].path .. "/app.db"
    assert(sqlite.check(copy):wait())
    local db <close> = client.open { path = copy }
    assert.equal(1, assert(db:query "SELECT count(*) AS n FROM t":wait())[1].n)
    assert.equal("written", insert(path, 0))
  end)
end)
