-- saros shadows: those that stay, which of them go, and those that were left.
local cli = require "spec.cli"
local outside = require "spec.outside"
local shared = require "spec.vss"
local volumes = require "spec.volumes" -- before anything is started
require "spec.helper"

local core = require "saros.core"
local retention = require "saros.retention"
local shadows = require "saros.shadows"

local DAY <const> = 86400

-- Noon of a day in March, whatever the zone.
local function noon(day, hour)
  return os.time { year = 2026, month = 3, day = day, hour = hour or 12 }
end

local function kept(times, rules)
  local list = {}
  for i, t in ipairs(times) do list[i] = { time = t } end
  local why, result = retention.judge(list, rules, noon(10)), {}
  for i = 1, #list do
    result[i] = why[i] and table.concat(why[i], ",") or false
  end
  return result
end

describe("keeping", function()
  it("keeps the last ones", function()
    local times = { noon(4), noon(3), noon(2) }
    assert.same({ "last", "last", false }, kept(times, { last = 2 }))
    assert.same({ "last", "last", "last" }, kept(times, { last = -1 }))
    assert.same({ false, false, false }, kept(times, { last = 0 }))
  end)

  it("keeps the newest of each period, also where some are missing", function()
    local times = { noon(9, 18), noon(9, 6), noon(7), noon(2), noon(1) }
    assert.same({ "daily", false, "daily", "daily", false },
      kept(times, { daily = 3 }))
    -- Weeks begin on Monday: the 9th and the 2nd of March 2026 are Mondays.
    assert.same({ "weekly", false, "weekly", false, "weekly" },
      kept(times, { weekly = -1 }))
    assert.same({ "monthly", false, false, false, false },
      kept(times, { monthly = 5 }))
    assert.same({ "hourly,yearly", "hourly", false, false, false },
      kept(times, { hourly = 2, yearly = 1 }))
  end)

  it("counts none that is ahead of the clock, and keeps it", function()
    assert.same({ "ahead", "ahead", "last,within", "within", false },
      kept({ noon(28), noon(12), noon(9), noon(8), noon(1) },
        { last = 1, within = 2 * DAY }))
    -- It may be noon in Kiribati.
    assert.same({ "last", false }, kept({ noon(11, 13), noon(9) }, { last = 1 }))
    assert.same({ "ahead" }, kept({ noon(20) }, { last = 0 }))
  end)

  it("keeps what is young beside the newest", function()
    assert.same({ "within", "within", false },
      kept({ noon(9), noon(8), noon(1) }, { within = 2 * DAY }))
  end)

  it("minds the hour that is there twice, and the one that is not", function()
    -- In a zone with summer time both would be one hour of the clock.
    local said = outside.run("env", "TZ=CET-1CEST,M3.5.0,M10.5.0/3", "LUA_PATH="
      .. outside.lua_path, "LUA_CPATH=" .. outside.lua_cpath, outside.lua,
      "-e", [[
        local judge = require "saros.retention".judge
        local autumn = 1792891800 -- 25 October 2026, 02:30, the second one
        local list = { { time = autumn }, { time = autumn - 3600 },
          { time = autumn - 7200 } }
        local why = judge(list, { hourly = 3, daily = 2 })
        for i = 1, 3 do
          print(os.date("%H:%M", list[i].time),
            why[i] and table.concat(why[i], ","))
        end]])
    assert.equal("02:30\thourly,daily\n02:30\tfalse\n01:30\thourly\n", said)
  end)

  it("judges sets of the same paths together, and never what is exposed",
    function()
      local function set(id, day, path, more)
        local s = { id = id, time = noon(day), persistent = true,
          exposed = false, snapshots = { { original = path } } }
        for name, item in pairs(more or {}) do s[name] = item end
        return s
      end
      local go, stay = shadows.plan({ set("a", 1, "/x", { exposed = true }),
        set("b", 2, "/x"), set("c", 3, "/y"), set("d", 4, "/x"),
        set("e", 5, "/x", { persistent = false }) }, { last = 1 })
      local function ids(list)
        local all = {}
        for i, one in ipairs(list) do all[i] = (one.set or one).id end
        return table.concat(all)
      end
      assert.equal("b", ids(go))
      assert.equal("acd", ids(stay))
    end)
end)

local function scene()
  local d = shared.directory()
  function d.shadows(code, ...)
    return cli.ends(code, { "shadows", ... },
      { env = { SAROS_STATE_DIR = d.state } })
  end
  function d.lines(code, ...)
    local r = d.shadows(code, ...)
    local list = {}
    for line in r.out:gmatch "[^\n]+" do
      list[#list + 1] = assert(core.json_read(line), line)
    end
    return list
  end
  function d.take(...) return d.lines(0, "take", "--json", ...)[1] end
  local close = getmetatable(d).__close
  getmetatable(d).__close = function(self)
    cli.run({ "shadows", "prune", "--keep-last", "0" },
      { env = { SAROS_STATE_DIR = d.state } })
    volumes.unmount(d.root)
    close(self)
  end
  return d
end

describe("saros shadows", function()
  it("takes some that stay, lists them, and lets one go", function()
    local d <close> = scene()
    assert.match("no shadows", d.shadows(0).err)
    local one = d.take(d.a, d.b)
    outside.write(d.a .. "/file", "new\n")
    assert.equal("one\n", d.read(one.path .. "/file"))
    local list = d.lines(0, "list", "--json")
    assert.equal(3, #list)
    assert.same({ "shadow", "stays", d.a }, { list[1].type, list[1].state,
      list[1].original })
    assert.same({ type = "summary", saros = 1, sets = 1 }, list[3])
    d.shadows(0, "delete", one.set:sub(1, 6))
    assert.match("no shadows", d.shadows(0).err)
    assert.equal("", d.left())
  end)

  it("prunes by rules", function()
    local d <close> = scene()
    local sets = {}
    for i = 1, 3 do sets[i] = d.take(d.a).set end
    local other = d.take(d.b).set
    local r = d.lines(0, "prune", "--keep-last", "1", "--dry-run", "--json")
    assert.same({ deleted = 2, dry_run = true, failed = 0, kept = 2, saros = 1,
      type = "summary" }, r[#r])
    assert.equal(5, #d.lines(0, "--json"))
    d.shadows(0, "prune", "--keep-last", "1")
    local left = d.lines(0, "--json")
    assert.same({ sets[3], other }, { left[1].set, left[2].set })
    assert.equal(3, #left)
  end)

  it("makes room, and keeps the newest", function()
    local v <close>, why = volumes.make("btrfs", 160)
    local d <close> = scene() -- it goes first
    if not v then return pending(why) end
    assert(select(2, volumes.run("btrfs subvolume create '%s/data'", v.path)))
    local data = v.path .. "/data"
    local sets = {}
    for i = 1, 3 do
      outside.write(data .. "/file", (("%d"):format(i)):rep(1 << 20))
      sets[i] = d.take(data).set
    end
    -- More than there can be: all that may go does.
    local r = d.lines(0, "prune", "--keep-last", "3", "--keep-free", "99%",
      "--json")
    assert.equal(1, r[#r].kept)
    assert.equal(2, r[#r].deleted)
    assert.equal(sets[3], d.lines(0, "--json")[1].set)
    -- There is so much: nothing goes.
    d.take(data)
    r = d.lines(0, "prune", "--keep-free", "1%", "--json")
    assert.equal(2, r[#r].kept)
  end)

  it("exposes one, which then stays", function()
    local d <close> = scene()
    if volumes.missing then return pending(volumes.missing) end
    local one = d.take(d.a)
    local at = d.root .. "/seen"
    d.shadows(0, "expose", one.id:sub(1, 8), at)
    -- (It is mounted where the program ran, which is this namespace.)
    assert.equal("one\n", d.read(at .. "/file"))
    assert.match("exposed", d.shadows(0).out)
    assert.match("exposed", d.shadows(0, "prune", "--keep-last", "0").out)
    d.shadows(0, "unexpose", one.id)
    assert.is_nil(d.read(at .. "/file"))
    d.shadows(0, "prune", "--keep-last", "0")
    assert.match("no shadows", d.shadows(0).err)
  end)

  it("shows whose they are, and takes away what the dead left", function()
    local d <close> = scene()
    local p <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e",
      shared.script(d) .. 'print "taken" saros.sleep(1000):wait()')
    p:expect "taken"
    local list = d.lines(0, "--json")
    assert.same({ "in use", p.pid }, { list[1].state, list[1].pid })
    d.shadows(1, "delete", list[1].set)
    assert.match("nothing was left", d.shadows(0, "reap").err)
    outside.system.kill(p.pid, 9)
    p:finish()
    assert.match("left", d.shadows(0).out)
    assert.match("took away the shadow of " .. d.a:gsub("%p", "%%%0"),
      d.shadows(0, "reap").out)
    assert.equal("", d.left())
  end)

  it("shows hostile names as they cannot do harm", function()
    local d <close> = scene()
    local odd = d.root .. "/data/a\27[2J\255"
    os.execute(("mkdir '%s'"):format(odd))
    d.take(odd)
    local r = d.shadows(0)
    assert.is_nil(r.out:find("\27", 1, true))
    assert.match("a\\x1b%[2J\\xff", r.out)
  end)

  it("says what is wrong with a call", function()
    local d <close> = scene()
    for _, wrong in ipairs {
      { 2, "'prun' is nothing.*'prune' perhaps", "prun" },
      { 2, "what shall stay", "prune" },
      { 2, "percent expected", "prune", "--keep-free", "much" },
      { 2, "percent expected", "prune", "--keep-free", "100%" },
      { 2, "a whole number", "prune", "--keep-daily", "x" },
      { 2, "of what", "take" },
      { 2, "which", "delete" },
      { 2, "too many", "list", "x" },
      { 2, "expose ID DIR", "expose", "abc" },
      { 4, "no set of shadows", "delete", "abcdef" },
      { 4, "is not the id", "delete", "../x" },
      { 4, "no set", "expose", "abcdef", "/mnt" },
    } do
      assert.match(wrong[2], d.shadows(wrong[1],
        table.unpack(wrong, 3)).err)
    end
    assert.match("No such file", d.shadows(4, "take", d.a .. "/none").err)
  end)

  it("tells another user that a directory is not his", function()
    if not outside.installed "setpriv" or not os.execute "test $(id -u) = 0"
    then
      return pending "needs root and setpriv"
    end
    local d <close> = scene()
    d.take(d.a)
    os.execute(("chmod 755 '%s'"):format(d.root))
    local said, how, status = outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", "env", "SAROS_CONFIG=/dev/null",
      "SAROS_STATE_DIR=" .. d.state, cli.program, "shadows")
    assert.same({ "exit", 13 }, { how, status }, said)
  end)
end)
