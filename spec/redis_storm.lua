--- Shadows of a Redis that many write to, one after the other: each has every
--- write that was acknowledged before it, and no half of one. With SAROS_LONG
--- there are hundreds of them.

local busted = require "busted"
local assert, describe, it = busted.assert, busted.describe, busted.it
local pending = busted.pending
local volumes = require "spec.volumes"
require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.redis"
local shared = require "spec.vss"
local case = require "spec.redis_case"

local vss = shared.vss
local redis = require "saros.writers.redis"

local missing = server.missing or volumes.missing
local long = os.getenv "SAROS_LONG"
local CLIENTS <const> = 4

-- Each client has a number of its own, in two keys and a list, which are changed
-- together. What was asked and what was acknowledged is noted.
local script <const> = [[
  local saros = require "saros"
  local client = require "saros.client.redis"
  local socket, notes, number = arg[1], arg[2], tonumber(arg[3])
  local text = "redis.call('SET', KEYS[1], ARGV[1]) "
    .. "redis.call('RPUSH', KEYS[2], ARGV[1]) "
    .. "return redis.call('SET', KEYS[3], ARGV[1])"
  local function write(i)
    local file = assert(io.open(notes .. i, "w"))
    file:setvbuf "line"
    local c = client.open { socket = socket }
    local n = 0
    while true do
      n = n + 1
      file:write("try ", n, "\n")
      assert(c:command("EVAL", text, 3, "a" .. i, "l" .. i, "b" .. i, n):wait())
      file:write("done ", n, "\n")
    end
  end
  saros.run(function()
    local ops = {}
    for i = 1, number do ops[i] = saros.spawn(write, i) end
    assert(saros.any(ops):wait())
  end)
]]

local function last(notes, i, word)
  local n = 0
  for found in (outside.content(notes .. i) or ""):gmatch(word .. " (%d+)\n") do
    n = tonumber(found)
  end
  return n
end

local function all(notes, word)
  local list = {}
  for i = 1, CLIENTS do list[i] = last(notes, i, word) end
  return list
end

local function until_more(writers, notes)
  local before = all(notes, "done")
  outside.eventually("everybody has written", function()
    if outside.content(("/proc/%d/stat"):format(writers.pid)):find "%) Z" then
      error("the writers ended: " .. writers:finish(), 0)
    end
    local now = all(notes, "done")
    for i = 1, CLIENTS do
      if now[i] < before[i] + 3 then return false end
    end
    return true
  end)
end

-- `acknowledged` at the freeze, `asked` at the thaw.
local function is_whole(db, acknowledged, asked)
  for i = 1, CLIENTS do
    local a = tonumber(case.get(db, "GET", "a" .. i) or 0)
    assert.equal(a, tonumber(case.get(db, "GET", "b" .. i) or 0))
    assert.is_true(a >= acknowledged[i] and a <= asked[i],
      ("client %d: %d, not from %d to %d"):format(i, a, acknowledged[i],
        asked[i]))
    local list = case.get(db, "LRANGE", "l" .. i, 0, -1)
    assert.equal(a, #list)
    for n = 1, a do assert.equal(tostring(n), list[n]) end
  end
end

local function storm(provider, config, v, shadows)
  assert(os.execute(("chmod 755 '%s/..'"):format(v.path)))
  local d <close> = shared.directory()
  local r <close> = server.start { at = v.path .. "/r", config = config }
  local w <close> = redis.writer { socket = r.socket }
  local notes = d.root .. "/notes"
  outside.write(d.root .. "/storm.lua", script)
  local writers <close> = outside.start(outside.lua, d.root .. "/storm.lua",
    r.socket, notes, tostring(CLIENTS))
  -- And those of whom nobody keeps a ledger, who take breath now and then: or
  -- the log would have nothing but theirs.
  local _ <close> = outside.start("sh", "-c", ("while :; do redis-benchmark -s "
    .. "'%s' -c 2 -q -t set,incr,hset,zadd -d 100 -r 500 -n 1000 || exit; "
    .. "sleep 0.02; done >/dev/null 2>&1"):format(r.socket))
  until_more(writers, notes)
  local acknowledged, asked
  local _ <close> = vss.writer { id = shared.id(9), name = "witness",
    level = "system",
    freeze = function() acknowledged = all(notes, "done") end,
    thaw = function() asked = all(notes, "try") end }
  for _ = 1, shadows do
    until_more(writers, notes)
    local set <close> = assert(vss.shadow { paths = { r.data },
      provider = provider, state_dir = d.state }:wait())
    case.on_copy(set, w, r, function(db) is_whole(db, acknowledged, asked) end)
  end
  until_more(writers, notes) -- nobody was lost
  -- They end before their server does.
  writers:__close()
  r:__close()
end

--- Describes a storm: its rounds have a server each, and so many shadows by this
--- provider, with a log or without.
return function(provider, log, shadows)
  describe("a storm of writes to Redis", function()
    -- A server for each few: what it has must be looked at, too.
    for n = 1, long and 100 // shadows or 1 do
      it(("with %s, by %s: %d"):format(log and "a log" or "dumps", provider, n),
        function()
          local v, why
          if not missing then v, why = volumes.make("btrfs", 1500) end
          if not v then return pending(missing or why) end
          local _ <close> = v
          storm(provider, { appendonly = log and "yes" or "no" }, v, shadows)
        end)
    end
  end)
end
