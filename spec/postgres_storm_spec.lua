-- PostgreSQL under pgbench, and shadows of it, one after the other: what was
-- acknowledged before the freeze is in them, and no transaction is in them in
-- part.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local servers = require "spec.servers.postgres"
local shared = require "spec.vss"

local there = pcall(require, "saros.client.postgres")
local missing = servers.missing
  or not there and "saros.client.postgres was left out of this build"
  or volumes.missing
if missing then
  describe("a storm of pgbench", function() pending(missing) end)
  return
end

local vss = shared.vss
local kind = require "saros.writers.kind"
local place = require "saros.place"
local postgres = require "saros.writers.postgres"

local SHADOWS <const> = os.getenv "SAROS_LONG" and 200
  or os.getenv "SAROS_QUICK" and 2 or 6
-- A cluster serves so many.
local ROUND <const> = 6

local function sh(command, ...)
  local text, good = volumes.run(command, ...)
  assert(good, text)
  return text
end

-- Each of its transactions adds one number to an account, a teller and a branch,
-- and notes it in the history: so all four sums are one.
local AUDIT <const> = [[
  SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS a,
    (SELECT sum(tbalance) FROM pgbench_tellers) AS t,
    (SELECT sum(bbalance) FROM pgbench_branches) AS b,
    (SELECT sum(delta) FROM pgbench_history) AS h,
    (SELECT count(*) FROM pgbench_history) AS transactions,
    (SELECT max(n) FROM ledger) AS last, (SELECT count(*) FROM ledger) AS rows]]

local function bench(pg)
  return outside.start("sh", "-c", ("exec %s/pgbench -n -c 3 -R 150 "
    .. "-T 100000 '%s' >/dev/null 2>&1"):format(pg.bin, pg.conninfo))
end

local function counted(pg)
  return tonumber(pg:must "SELECT count(*) FROM pgbench_history")
end

-- The copy is whole, and says so of itself.
local function audit(c, set, path, scratch)
  local row
  helper.task(function()
    local k = kind.of(postgres.id)
    local p <close> = place.of_shadow { paths = c.files, scratch = scratch,
      at = function(file) return set[path].path .. file:sub(#path + 1) end }
    for _, one in ipairs(c.said.additions or {}) do
      sh("cp -a %s/. %s/", one.path, p:at(one.to))
    end
    assert(k.settle(c, p))
    assert(k.check(c, p))
    local one <close> = assert(k.start(c, p, require "saros.cell"))
    row = assert(one.connect("postgres"):query(AUDIT):wait())[1]
  end)
  return row
end

local function round(count, first)
  local d <close> = shared.directory()
  local v = assert(volumes.make("btrfs", 1200))
  local _ <close> = setmetatable({}, { __close = function() v.close() end })
  local path = v.path .. "/pg"
  sh("chmod 755 %s %s/..; btrfs subvolume create %s; chmod 755 %s", d.root,
    v.path, path, path)
  -- Every second one does not sync: on btrfs it takes backup mode.
  local syncs = first // ROUND % 2 == 0
  local pg <close> = servers.start { at = path,
    settings = { fsync = syncs and "on" or "off" } }
  sh("%s/pgbench -i -q -s 2 '%s'", pg.bin, pg.conninfo)
  local load <close> = pg:load()
  local storm <close> = bench(pg)
  local w <close> = postgres.writer { conninfo = pg.conninfo }
  local before = {}
  local _ <close> = vss.writer { id = shared.id(9), name = "witness",
    level = "front_end", freeze = function()
      before.rows = load.acknowledged()
    end }
  for i = 1, count do
    local was = counted(pg)
    outside.eventually("it storms", function() return counted(pg) > was + 20 end)
    before.transactions = counted(pg)
    local provider = (first + i) % 3 == 0 and "copy" or "btrfs"
    local set <close> = assert(vss.shadow { paths = { path },
      provider = provider, state_dir = d.state }:wait())
    local name, said = next(set:said(w.instance).components)
    assert.equal((provider == "copy" or not syncs) and "backup" or "atomic",
      said.mode)
    local r = audit({ name = name, files = said.files, said = said }, set, path,
      v.path)
    assert.same({ r.h, r.h, r.h }, { r.a, r.t, r.b })
    assert.is_true(tonumber(r.transactions) >= before.transactions)
    assert.is_true(tonumber(r.last) >= before.rows,
      ("%d was acknowledged, and %s is there"):format(before.rows, r.last))
    assert.equal(r.last, r.rows)
    assert(set:backup_complete():wait())
  end
  storm:__close()
end

describe("a storm of pgbench", function()
  for first = 1, SHADOWS, ROUND do
    local last = math.min(first + ROUND - 1, SHADOWS)
    it(("leaves every shadow whole: %d to %d"):format(first, last), function()
      round(last - first + 1, first)
    end)
  end
end)
