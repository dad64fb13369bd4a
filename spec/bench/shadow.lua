-- make bench: shadow copies against the bare system calls and the commands of
-- others, on real file systems. In one process, the peers taking turns and the
-- turns changing their order, for a freeze is quick when the last one was a
-- moment ago.
--   build/spec/shadow_floor volumes lua5.4 spec/bench/shadow.lua [ROUNDS [NAME]]

local figures = require "spec.bench.figures"
local saros = require "saros"
local vss = require "saros.vss"
local testmod = require "testmod"

local rounds = tonumber(arg[1]) or 7
local wanted = arg[2] or ""
local floor = assert(os.getenv "SAROS_FLOOR", "see the Makefile")
local scratch = assert(os.getenv "SAROS_BENCH_DIR", "start it by shadow_floor")
local btrfs = os.getenv "SAROS_BENCH_BTRFS"
local xfs = os.getenv "SAROS_BENCH_XFS"
local missing = os.getenv "SAROS_BENCH_MISSING"

local images = {}
for path, image in (os.getenv "SAROS_BENCH_IMAGES" or ""):gmatch "(%S+) (%S+)" do
  images[#images + 1] = { path = path, image = image }
end

-- ------------------------------------------------------------------
-- Measuring
-- ------------------------------------------------------------------

-- The numbers that a command prints, or nil and what it said.
local function floor_says(...)
  local pipe = assert(io.popen(table.concat({ floor, ... }, " ") .. " 2>&1"))
  local text = pipe:read "l" or ""
  pipe:close()
  local a, b = text:match "^([%d.]+) ?([%d.]*)$"
  if not a then return nil, text end
  return tonumber(a), tonumber(b)
end

local function shell(command) return assert(os.execute(command)) end

-- Each peer in its turn, every other round in reverse. A peer returns a number
-- for each of its columns, or nil and why it has none.
local function measure(n, names, peers)
  local columns, results = {}, {}
  for i, name in ipairs(names) do
    results[i] = {}
    columns[i] = { name, results[i] }
  end
  for round = 0, n do
    for turn = 1, #peers do
      local p = peers[round % 2 == 0 and turn or #peers + 1 - turn]
      local got = table.pack(p.measure())
      for i, column in ipairs(p) do
        if not got[1] then
          results[column].why = got[2]
        elseif round > 0 then -- the first is to warm up
          table.insert(results[column], got[i])
        end
      end
    end
  end
  return columns
end

-- What a freeze costs depends on how long ago the last one was.
local function settle() saros.sleep(0.2):wait() end

local case, names = {}, {}
local function define(name, needs, f)
  names[#names + 1] = name
  case[name] = { needs = needs, run = f }
end

local function options(o)
  o.state_dir = scratch .. "/state"
  return o
end

local function shadow(o) return assert(vss.shadow(options(o)):wait()) end

-- ------------------------------------------------------------------
-- One subvolume
-- ------------------------------------------------------------------

-- Everything is written out before each turn: the bare ioctl too would have to
-- write what is dirty, and of that each peer would have another amount. What
-- cannot be left out is a syncfs, without which the ioctl can miss what was
-- written, and a record on disk of what is about to be made, without which
-- nobody could take it away after a crash: "recorded" is both and the ioctl.

local function one_shadow(from)
  local s = vss.components(options {})
  s:initialize_for_backup()
  s:set_backup_state { type = "copy" }
  assert(s:gather_writer_metadata():wait())
  s:start_snapshot_set()
  s:add_to_snapshot_set(from, "btrfs")
  assert(s:prepare_for_backup():wait())
  local begun = testmod.wall()
  assert(s:do_snapshot_set():wait())
  local took = (testmod.wall() - begun) * 1e3
  s:close()
  return took
end

define("btrfs, one subvolume", { btrfs, "no btrfs" }, function(name)
  local from, into = btrfs .. "/data", btrfs .. "/into"
  shell(("btrfs subvolume create %s >/dev/null && mkdir %s"):format(from, into))
  for i = 1, 200 do
    local file = assert(io.open(("%s/%d"):format(from, i), "w"))
    file:write(("x"):rep(8192))
    file:close()
  end
  shell("sync -f " .. btrfs)
  local function bare(how)
    return function() return floor_says(how, from, into) end
  end
  local columns = measure(rounds,
    { "do_snapshot_set", "shadow", "shadow + close", "bare ioctl",
      "syncfs + ioctl", "… + delete", "command", "recorded" }, {
      { 1, measure = function() return one_shadow(from) end },
      { 2, 3, measure = function()
        local begun = testmod.wall()
        local set = shadow { paths = { from }, provider = "btrfs" }
        local made = testmod.wall()
        set:close()
        return (made - begun) * 1e3, (testmod.wall() - begun) * 1e3
      end },
      { 4, measure = bare "snapshot" },
      { 5, measure = bare "synced" },
      { 6, measure = bare "deleted" },
      { 7, measure = bare "command" },
      { 8, measure = function()
        return floor_says("recorded", from, into, scratch .. "/state")
      end },
    })
  figures.tell(name, "ms", columns, {
    { "set / ioctl", 1, 4, 1.5 }, { "set / synced", 1, 5, 1.5 },
    { "set / recorded", 1, 8 }, { "recorded / ioctl", 8, 4 },
    { "whole / deleted", 3, 6 },
    { "set / command", 1, 7, 0.5 }, { "recorded / command", 8, 7 },
    { "ioctl / command", 4, 7 } })
end)

-- ------------------------------------------------------------------
-- Held
-- ------------------------------------------------------------------

local function id(n) return ("5a705000-0000-4000-8000-%012d"):format(n) end

local function writer(n)
  return vss.writer { id = id(n), name = "bench" .. n,
    freeze = function() end, thaw = function() end }
end

-- Milliseconds: from the moment the first writer is told to freeze till the
-- first is told to thaw, and the longest that a file system makes wait.
local function held(paths)
  settle()
  local set <close> = shadow { paths = paths, provider = "image" }
  local longest = 0
  for _, p in pairs(set) do longest = math.max(longest, p.held) end
  return set.held * 1e3, longest * 1e3
end

-- The same system calls in a small C program, from the first FIFREEZE on.
local function held_by_floor(n)
  settle()
  local words = { "hold", xfs .. "/clone" }
  for i = 1, n do
    words[#words + 1] = images[i].path
    words[#words + 1] = images[i].image
  end
  return floor_says(table.unpack(words))
end

local function image_paths()
  local paths = {}
  for i, v in ipairs(images) do paths[i] = v.path end
  return paths
end

local image_needs = { #images > 0, "no ext4 in an image on XFS" }
-- A freeze takes from three to six of the kernel's grace periods, as it falls
-- out; and a round is quick.
local held_rounds = rounds * 3

define("held, ext4 in an image, one writer", image_needs, function(name)
  local w <close> = writer(1)
  local columns = measure(held_rounds, { "set.held", "file system", "bare C" },
    { { 1, 2, measure = function() return held { images[1].path } end },
      { 3, measure = function() return held_by_floor(1) end } })
  assert(w)
  figures.tell(name, "ms", columns,
    { { "held / floor", 1, 3, 1.2 }, { "fs / floor", 2, 3 } })
end)

define("held, 16 images in one set", image_needs, function(name)
  local w <close> = writer(1)
  local columns = measure(held_rounds,
    { "16: set.held", "16: file system", "1: set.held", "1: file system",
      "bare C, 16", "bare C, 1" }, {
      { 1, 2, measure = function() return held(image_paths()) end },
      { 3, 4, measure = function() return held { images[1].path } end },
      { 5, measure = function() return held_by_floor(#images) end },
      { 6, measure = function() return held_by_floor(1) end },
    })
  assert(w)
  figures.tell(name, "ms", columns,
    { { "held, 16 / 1", 1, 3, 2 }, { "fs, 16 / 1", 2, 4 },
      { "bare C, 16 / 1", 5, 6 }, { "16 / bare C", 1, 5 } })
end)

-- ------------------------------------------------------------------
-- Trees
-- ------------------------------------------------------------------

local FILES = 10000

define("reflink, 10000 small files", { xfs, "no XFS with reflinks" },
  function(name)
    local from, to = xfs .. "/tree", xfs .. "/copy"
    for i = 0, FILES - 1 do
      local dir = ("%s/%d"):format(from, i // 100)
      if i % 100 == 0 then shell("mkdir -p " .. dir) end
      local file = assert(io.open(("%s/%d"):format(dir, i), "w"))
      file:write(("x"):rep(4096))
      file:close()
    end
    shell("sync -f " .. xfs)
    -- The same system calls alone, by so many threads: no way of cloning file
    -- by file takes less of a processor. Whether two threads take half the time
    -- depends on whether the second processor is free.
    local function bare(threads)
      return function()
        local wall, cpu = floor_says("clone", from, to, threads)
        shell(("rm -rf %s && sync -f %s"):format(to, xfs))
        return wall, cpu
      end
    end
    local function cp(after)
      return function()
        local wall, cpu = floor_says("run sh -c",
          ("'cp -a --reflink=always %s %s%s'"):format(from, to, after))
        shell(("rm -rf %s && sync -f %s"):format(to, xfs))
        return wall, cpu
      end
    end
    local columns = measure(math.min(rounds, 5),
      { "saros", "saros CPU", "cp", "cp CPU", "cp + sync", "cp + sync CPU",
        "bare, 1 thread", "its CPU", "bare, 2 threads", "its CPU" }, {
        { 1, 2, measure = function()
          local begun, cpu = testmod.wall(), os.clock()
          local set = shadow { paths = { from }, provider = "reflink" }
          local wall = (testmod.wall() - begun) * 1e3
          cpu = (os.clock() - cpu) * 1e3
          set:close()
          return wall, cpu
        end },
        { 3, 4, measure = cp "" },
        { 5, 6, measure = cp((" && sync -f %s"):format(xfs)) },
        { 7, 8, measure = bare(1) },
        { 9, 10, measure = bare(2) },
      })
    figures.tell(name, "ms", columns, { { "wall", 1, 3, 0.6 },
      { "CPU", 2, 4 }, { "wall, both synced", 1, 5, 0.6 },
      { "bare 1 / cp", 7, 3 }, { "bare 2 / cp", 9, 3 },
      { "bare CPU / cp CPU", 8, 4 }, { "CPU / bare CPU", 2, 8 } })
  end)

-- ------------------------------------------------------------------
-- Writers
-- ------------------------------------------------------------------

define("100 Lua writers", { true }, function(name)
  local path = scratch .. "/writers"
  shell("mkdir -p " .. path)
  local first, last
  local writers = {}
  for i = 1, 100 do
    writers[i] = vss.writer { id = id(i), name = "bench" .. i,
      freeze = function()
        first = first or testmod.wall()
        last = testmod.wall()
      end,
      thaw = function() end }
  end
  local columns = measure(rounds, { "told to thaw", "first to last" }, {
    { 1, 2, measure = function()
      first = nil
      local set <close> = shadow { paths = { path }, provider = "live" }
      return set.held * 1e3, (last - first) * 1e3
    end },
  })
  for _, w in ipairs(writers) do w:close() end
  figures.tell(name, "ms from the first freeze", columns, {}, 50)
end)

-- ------------------------------------------------------------------

print(("\nshadow copies, %d rounds"):format(rounds))
shell(("mkdir -m 700 %s/state"):format(scratch))
for _, name in ipairs(names) do
  local c = case[name]
  if name:find(wanted, 1, true) then
    if c.needs[1] then
      c.run(name)
    else
      print(("\n%s\n  SKIPPED: %s: %s"):format(name, c.needs[2],
        missing ~= "" and missing or "not made"))
    end
  end
end
