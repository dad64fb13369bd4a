-- make bench: what clients of a database see of a shadow. Each database is
-- written to all the time; the longest statement that overlaps a shadow is set
-- beside the longest of a while without one, and beside what careful people do
-- by hand, in turns. And how long four writers take beside the slowest of them
-- alone.
--   lua5.4 spec/bench/databases.lua [ROUNDS [NAME]]

local figures = require "spec.bench.figures"
local saros = require "saros"
local vss = require "saros.vss"
local volumes = require "spec.volumes"
local databases = require "spec.databases"
local outside = require "spec.outside"
local wall = require "testmod".wall

local rounds = tonumber(arg[1]) or 7
-- Seconds. A load has peaks of its own: btrfs commits every 30 s, ext4 every 5,
-- and who waits for that waits as for a shadow. A quick look has no time for it.
local IDLE <const> = rounds >= 5 and 35 or 3
local wanted = arg[2] or ""

if volumes.missing then
  print("\ndatabases: " .. volumes.missing)
  return
end

local root = volumes.scratch()
local _ <close> = setmetatable({}, { __close = function()
  os.execute(("rm -rf --one-file-system '%s'"):format(root))
end })
local state = root .. "/state"
assert(os.execute(("chmod 755 '%s'; mkdir -m 700 '%s'"):format(root, state)))

local function shell(command, ...)
  local text, good = volumes.run("set -e; " .. command, ...)
  if not good then error(text, 0) end
  return text
end

-- ------------------------------------------------------------------
-- Clients
-- ------------------------------------------------------------------

local number = 0

local function start_load(db)
  number = number + 1
  local notes = ("%s/notes%d"):format(root, number)
  local p = outside.start(outside.lua, "spec/bench/databases_load.lua",
    db:told(), notes, db.name == "sqlite" and "1" or "4")
  outside.eventually("somebody writes to " .. db.name, function()
    return #(outside.content(notes) or "") > 0
  end)
  local load = {}
  --- Ends it: its statements.
  function load.finish()
    outside.write(notes .. ".stop", "")
    local said, how, status = p:finish()
    if how ~= "exit" or status ~= 0 then error(said, 0) end
    local list = {}
    for a, b in (outside.content(notes) or ""):gmatch "([%d.]+) ([%d.]+)\n" do
      list[#list + 1] = { tonumber(a), tonumber(b) }
    end
    return list
  end
  return setmetatable(load, { __close = function() p:__close() end })
end

-- Of those that overlap, the longest, in milliseconds.
local function longest(statements, from, to)
  local most = 0
  for _, s in ipairs(statements) do
    if s[1] < to and s[2] > from then most = math.max(most, s[2] - s[1]) end
  end
  return most * 1e3
end

-- ------------------------------------------------------------------
-- Peers
-- ------------------------------------------------------------------

-- What is on btrfs is shadowed by a snapshot, by hand as well.
local function snapshot(volume)
  return ("btrfs subvolume snapshot -r %s %s/by-hand >/dev/null"):format(
    volume.path, volume.path)
end

local function forget(volume)
  shell("btrfs subvolume delete %s/by-hand >/dev/null", volume.path)
end

local by_hand = {}

function by_hand.postgres(db, volume)
  local s = db.server
  return { {
    name = "CHECKPOINT, snapshot",
    take = function()
      s:must "CHECKPOINT"
      shell(snapshot(volume))
    end,
    forget = function() forget(volume) end,
  }, {
    name = "pg_basebackup",
    take = function()
      shell("%s/pg_basebackup -h %s -p %d -U pg -D %s/base -c fast -X fetch",
        s.bin, s.socket, s.port, root)
    end,
    forget = function() shell("rm -rf %s/base", root) end,
  } }
end

function by_hand.mariadb(db, volume)
  return { {
    name = "BACKUP STAGE, snapshot",
    take = function()
      shell([[mariadb --no-defaults --socket=%s --user=root <<-'E'
	BACKUP STAGE START;
	BACKUP STAGE FLUSH;
	BACKUP STAGE BLOCK_DDL;
	BACKUP STAGE BLOCK_COMMIT;
	system %s
	BACKUP STAGE END;
	E]], db.server.socket, snapshot(volume))
      assert(os.execute(("test -d %s/by-hand"):format(volume.path)))
    end,
    forget = function() forget(volume) end,
  } }
end

function by_hand.redis(db)
  return { {
    name = "BGSAVE, copied",
    take = function()
      db.server:cli("BGSAVE", "SCHEDULE")
      outside.eventually("it is saved", function()
        return db.server:info "rdb_bgsave_in_progress" == "0"
      end)
      shell("cp %s/dump.rdb %s/dump.rdb", db.path, root)
    end,
    forget = function() shell("rm %s/dump.rdb", root) end,
  } }
end

function by_hand.sqlite(db, volume)
  return { {
    name = "BEGIN IMMEDIATE, snapshot",
    take = function()
      shell([[sqlite3 %s <<-'E'
	.timeout 10000
	BEGIN IMMEDIATE;
	.shell %s
	ROLLBACK;
	E]], db.file, snapshot(volume))
    end,
    forget = function() forget(volume) end,
  } }
end

-- As a script freezes a file system, and clones the image that it lies in.
local function fifreeze(volume)
  return { {
    name = "FIFREEZE, cloned",
    take = function()
      shell([[sync -f %s; fsfreeze -f %s
        cp --reflink=always %s %s.clone || true; fsfreeze -u %s]],
        volume.path, volume.path, volume.image, volume.image, volume.path)
    end,
    forget = function() shell("rm %s.clone", volume.image) end,
  } }
end

-- ------------------------------------------------------------------
-- What clients see
-- ------------------------------------------------------------------

local function settle(seconds) saros.sleep(seconds):wait() end

-- Each in its turn, after a while without any.
local function stalls(name, db, peers)
  local took = {}
  local load <close> = start_load(db)
  settle(1)
  local idle = wall()
  settle(IDLE)
  local rested = wall()
  for round = 0, rounds do
    for turn = 1, #peers do
      local p = peers[round % 2 == 0 and turn or #peers + 1 - turn]
      local begun = wall()
      local good, why = pcall(p.take)
      local done = wall()
      if not good then p.why = tostring(why) end
      if p.forget then pcall(p.forget) end
      settle(0.3)
      if round > 0 and good then -- the first is to warm up
        took[#took + 1] = { p, begun, done }
      end
    end
  end
  local statements = load.finish()
  local columns, ratios = {}, {}
  for i, p in ipairs(peers) do
    local during = { why = p.why }
    for _, t in ipairs(took) do
      if t[1] == p then
        during[#during + 1] = longest(statements, t[2], t[3])
      end
    end
    columns[i] = { p.name, during }
    ratios[i] = { p.name .. " / idle", i, #peers + 1, i == 1 and 1.5 or nil }
  end
  columns[#columns + 1] = { ("%g s of idle"):format(IDLE),
    { longest(statements, idle, rested) } }
  for i = 2, #peers do
    ratios[#ratios + 1] = { "saros / " .. peers[i].name, 1, i }
  end
  figures.tell(name .. (" (%d statements)"):format(#statements), "ms", columns,
    ratios)
end

-- Whatever is missing here is said, and the rest goes on.
local function case(name, run)
  if not name:find(wanted, 1, true) then return end
  local good, why = pcall(run)
  if not good then print(("\n%s\n  not measured: %s"):format(name, why)) end
end

local function of_database(name)
  local missing = databases.missing(name)
  if missing then
    print(("\nlongest statement, %s\n  not measured: %s"):format(name, missing))
    return
  end
  case(("longest statement, %s on btrfs"):format(name), function()
    local v <close> = assert(volumes.make("btrfs", 2000,
      { directory = root })) -- on a disk, whose time counts
    local db <close> = databases.start(name, v.path, true)
    local w <close> = db:writer { freeze_timeout = 60 }
    local peers = { { name = "saros", take = function()
      assert(w)
      local set <close> = assert(vss.shadow { paths = { v.path },
        provider = "btrfs", state_dir = state }:wait())
      assert(set)
    end } }
    table.move(by_hand[name](db, v), 1, 9, 2, peers)
    stalls(("longest statement, %s on btrfs"):format(name), db, peers)
  end)
  case(("longest statement, %s in an image"):format(name), function()
    local below <close> = assert(volumes.make("xfs", 3000,
      { mkfs = "-m reflink=1", directory = root }))
    local v <close> = assert(volumes.make("ext4", 800,
      { directory = below.path }))
    local db <close> = databases.start(name, v.path, true)
    local w <close> = db:writer { freeze_timeout = 60 }
    local peers = { { name = "saros", take = function()
      assert(w)
      local set <close> = assert(vss.shadow { paths = { v.path },
        provider = "image", state_dir = state }:wait())
      assert(set)
    end } }
    table.move(fifreeze(v), 1, 9, 2, peers)
    stalls(("longest statement, %s in an image"):format(name), db, peers)
  end)
end

for _, name in ipairs(databases.names) do of_database(name) end

-- ------------------------------------------------------------------
-- Four writers
-- ------------------------------------------------------------------

-- Everybody is on one btrfs: what is measured is how writers go side by side.
local together = "from go to shadows"
case(together, function()
  local v <close> = assert(volumes.make("btrfs", 3000, { directory = root }))
  local list <close> = setmetatable({}, { __close = function(l)
    for _, db in ipairs(l) do db:close() end
  end })
  for _, name in ipairs(databases.names) do
    if not databases.missing(name) then
      list[#list + 1] = databases.start(name, v.path, true)
    end
  end
  -- With these writers alone, without their metadata and without the close.
  local function take(those)
    local writers <close> = setmetatable({}, { __close = function(l)
      for _, w in ipairs(l) do w:close() end
    end })
    for i, db in ipairs(those) do
      writers[i] = db:writer { freeze_timeout = 60 }
    end
    for _, db in ipairs(those) do -- something to write out
      local c <close> = db:client()
      number = number + 1
      c.write(number):wait()
    end
    local begun = wall()
    local set <close> = assert(vss.shadow { paths = { v.path },
      provider = "btrfs", state_dir = state }:wait())
    assert(set)
    return (wall() - begun) * 1e3
  end
  local sets = { list }
  for i, db in ipairs(list) do sets[i + 1] = { db } end
  local columns = { { ("all %d"):format(#list), {} } }
  for i, db in ipairs(list) do columns[i + 1] = { db.name, {} } end
  for round = 0, rounds do
    for turn = 1, #sets do
      local i = round % 2 == 0 and turn or #sets + 1 - turn
      settle(0.1)
      local ms = take(sets[i])
      if round > 0 then table.insert(columns[i][2], ms) end
    end
  end
  local function median(l)
    local sorted = table.move(l, 1, #l, 1, {})
    table.sort(sorted)
    return sorted[(#sorted + 1) // 2]
  end
  local slowest = 2
  for i = 3, #columns do
    if median(columns[i][2]) > median(columns[slowest][2]) then slowest = i end
  end
  figures.tell(together, "ms", columns,
    { { "all / " .. columns[slowest][1], 1, slowest, 1.2 } })
end)
