-- Several databases in one set: what a client wrote to them in turns, as the
-- restored ones have it; and saros killed while servers are held.

local helper = require "spec.helper"
local outside = require "spec.outside"
local volumes = require "spec.volumes"
local databases = require "spec.databases"
local ledger = require "spec.ledger"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local system = outside.system

local LIMIT <const> = 20 -- seconds that each writer may hold
-- What only time lets go, Redis, is waited for in some of the kills.
local SHORT <const>, SOME <const> = 2, 5
local long = os.getenv "SAROS_LONG"

local function seeded(what)
  local seed = tonumber(os.getenv "SAROS_SEED")
    or long and os.time() or 20261123
  print(("%s: SAROS_SEED=%d"):format(what, seed))
  math.randomseed(seed)
end

-- Those that are here, at most so many; what is missing is said.
local function available(most)
  local names, why = {}, {}
  for _, name in ipairs(databases.names) do
    local missing = databases.missing(name)
    if missing then
      why[#why + 1] = missing
    elseif #names < most then
      names[#names + 1] = name
    end
  end
  return names, table.concat(why, "; ")
end

-- A list whose members are closed with the block, the last first.
local function closing()
  return setmetatable({}, { __close = function(list)
    for i = #list, 1, -1 do list[i]:close() end
  end })
end

local function add(list, what)
  list[#list + 1] = what
  return what
end

-- Two file systems of which this provider makes shadows.
local function two_volumes(provider, list)
  local found = {}
  if provider == "btrfs" then
    for i = 1, 2 do
      local v, why = volumes.make("btrfs", 1000)
      if not v then return nil, why end
      found[i] = add(list, v)
    end
    return found
  end
  local below, why = volumes.make("xfs", 2000, { mkfs = "-m reflink=1" })
  if not below then return nil, why end
  add(list, below)
  for i = 1, 2 do
    local v
    v, why = volumes.make("ext4", 500, { directory = below.path })
    if not v then return nil, why end
    found[i] = add(list, v)
  end
  return found
end

describe("two databases on two volumes", function()
  for part = 1, long and 10 or 2 do
    local provider = part % 2 == 1 and "btrfs" or "image"
    it(("agree with the skew that the set claims (%s, %d)"):format(provider,
      (part + 1) // 2), function()
      if volumes.missing then pending(volumes.missing) return end
      local names, why = available(2)
      if #names < 2 then pending(why) return end
      local d <close> = shared.directory()
      local list <close> = closing()
      local v, cannot = two_volumes(provider, list)
      if not v then pending(cannot) return end
      local dbs = {}
      for i, name in ipairs(names) do
        dbs[i] = add(list, databases.start(name, v[i].path))
        add(list, dbs[i]:writer { freeze_timeout = LIMIT })
      end
      local client <close> = ledger.start(dbs, d.root .. "/notes")
      for _ = 1, long and 4 or 2 do
        client.until_more(20)
        local set <close> = assert(vss.shadow {
          paths = { v[1].path, v[2].path }, provider = provider,
          state_dir = d.state }:wait())
        client.until_more(2) -- after it they go on
        local notes, from, to = client.read(), {}, {}
        for i, db in ipairs(dbs) do
          local last = db:last_in(set[v[i].path].path
            .. db.path:sub(#v[i].path + 1))
          assert.is_true(last > 0)
          from[i], to[i] = ledger.instant(notes[i], last)
        end
        local skew = 0
        for _, pair in ipairs(set.skew) do
          skew = math.max(skew, pair.seconds)
        end
        assert(from[1] - to[2] <= skew and from[2] - to[1] <= skew,
          ("%s: %.6f–%.6f, %s: %.6f–%.6f, and the set claims a skew of %.6f")
          :format(names[1], from[1], to[1], names[2], from[2], to[2], skew))
      end
    end)
  end
end)

describe("saros killed while servers are held", function()
  -- Takes shadows until it is killed; says when each begins and when all hold.
  local script = [[
    local saros = require "saros"
    local databases = require "spec.databases"
    local vss = saros.vss
    local told, d, at = load("return " .. arg[1])(), arg[2], arg[4]
    local writers = {}
    for i, one in ipairs(told) do
      writers[i] = databases.known(one):writer { freeze_timeout = %d }
    end
    local stopped = tonumber(arg[3])
    if stopped then
      writers[#writers + 1] = require "saros.writers.process".writer {
        pids = { stopped }, files = { at }, freeze_timeout = %d,
        state_dir = d }
    end
    local last = vss.writer { id = %q, name = "witness", level = "system",
      freeze = function()
        print "held"
        io.stdout:flush()
        saros.sleep(0.05):wait()
      end }
    print "ready"
    io.stdout:flush()
    while true do
      local set = vss.shadow { paths = { at }, provider = "btrfs",
        state_dir = d }:wait()
      if set then set:close() end
    end]]

  local function kills(rounds)
    local names, why = available(#databases.names)
    if #names == 0 or volumes.missing then
      pending(volumes.missing or why)
      return
    end
    local d <close> = shared.directory()
    local list <close> = closing()
    local dbs, told, clients, n = {}, {}, {}, 0
    local v, cannot = volumes.make("btrfs", 2000)
    if not v then pending(cannot) return end
    add(list, v)
    for i, name in ipairs(names) do
      dbs[i] = add(list, databases.start(name, v.path))
      told[i] = dbs[i]:told()
      clients[i] = add(list, dbs[i]:client())
    end
    local app <close> = outside.start("sleep", "1000")
    local path = d.root .. "/holder.lua"
    outside.write(path, script:format(SHORT, LIMIT, shared.id(9)))
    local function write_to_all()
      n = n + 1
      for i, name in ipairs(names) do
        local op = clients[i].write(n)
        local ok, err = op:wait(LIMIT + 10)
        assert(ok ~= nil or err == nil, ("%s does not write again: %s")
          :format(name, tostring(err)))
      end
    end
    write_to_all()
    for round = 1, rounds do
      local those = {}
      for i, name in ipairs(names) do
        if name ~= "redis" or round % SOME == 0 then
          those[#those + 1] = told[i]
        end
      end
      local p <close> = outside.start(outside.lua, path,
        "{ " .. table.concat(those, ", ") .. " }", d.state, app.pid, v.path)
      p:expect "ready\n"
      -- Any instant, and more often one when all of them are held.
      if math.random(3) > 1 then p:expect "held\n" end
      saros.sleep(math.random() * 0.06):wait()
      system.kill(p.pid, 9)
      write_to_all()
      outside.eventually("the process that was stopped goes on", function()
        local stat = outside.content(("/proc/%d/stat"):format(app.pid)) or ""
        return stat:match "^.*%) (%a)" ~= "T"
      end)
      p:finish()
      assert(vss.reap { state_dir = d.state }:wait())
      assert.equal("", d.left())
    end
  end

  seeded "storm_databases_spec"
  -- In parts, each of which has its own time.
  for part = 1, long and 20 or 1 do
    it(("lets them all write again, %d"):format(part), function()
      kills(15)
    end)
  end
end)
