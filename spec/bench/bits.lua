-- make bench: downloads from nginx beside curl, aria2c and wget, and beside a
-- bare loop of libcurl (bits_floor.c). Each is a whole process; they take turns
-- in each round, every other one in reverse.
--   build/spec/bits_floor scratch DIR lua5.4 spec/bench/bits.lua [ROUNDS [SETS]]
-- SAROS_LONG=1 takes the sets at their full size, and all the rounds; without
-- it they are smaller, and there are as many rounds as fit into some seconds.

local figures = dofile "spec/bench/figures.lua"

local rounds = tonumber(arg[1]) or 3
local wanted = arg[2] or "one many small"
local lua = arg[-1] or "lua5.4"
local programs = os.getenv "SAROS_BENCH_PROGRAMS" or "build/spec"
local scratch = assert(os.getenv "SAROS_BENCH_DIR", "see the Makefile")
local url = assert(os.getenv "SAROS_BENCH_URL", "see the Makefile")
local long = os.getenv "SAROS_LONG" == "1"
local SECONDS_A_SET = 15

local MIB <const> = 1 << 20
-- `room`: what the bare loop receives into; `at_once` is for all who have such
-- a setting; `most`: what is to be reached, times the bare loop.
local sets = {
  { name = "one", what = "one large file", count = 1,
    size = (long and 2048 or 256) * MIB, room = 512 << 10, most = 1.15 },
  { name = "many", what = "files of 1 MiB", count = long and 1000 or 200,
    size = MIB, room = 128 << 10, most = 1.15 },
  { name = "small", what = "files of 4 KiB", count = long and 20000 or 5000,
    size = 4096, room = 128 << 10, most = 1 / 0.7 },
}
local at_once = 8

-- ------------------------------------------------------------------
-- Running
-- ------------------------------------------------------------------

local function place(name) return scratch .. "/" .. name end

local function shell(command)
  if not os.execute(command) then error("failed: " .. command) end
end

local function find(program)
  return os.execute(("command -v %s >/dev/null"):format(program))
end

-- Wall and CPU seconds, and MB.
local function run(command)
  local pipe = assert(io.popen(("%s/bits_floor run %s 2>%s"):format(programs,
    command, place "said")))
  local wall, cpu, mb, status = pipe:read("n", "n", "n", "n")
  pipe:close()
  if status ~= 0 then
    local said = io.open(place "said")
    error(("failed: %s\n%s"):format(command, said and said:read "a" or ""))
  end
  return { wall = wall, cpu = cpu, mb = mb }
end

local function clear()
  shell(("rm -rf %s %s* && mkdir %s"):format(place "out", place "queue.db",
    place "out"))
end

-- ------------------------------------------------------------------
-- The peers
-- ------------------------------------------------------------------

-- Seconds that the step has written down.
local function told(what)
  for line in io.lines(place "told") do
    local n = line:match("^" .. what .. " ([%d.]+)$")
    if n then return tonumber(n) end
  end
end

local function saros(durability, step)
  return function(list)
    local measured = run(("%s spec/bench/bits_step.lua %s %s %s %s %s"):format(
      lua, step or "fetch", place "queue.db", list, durability, place "told"))
    if not step then measured.carried = told "fetch" + told "complete" end
    return measured
  end
end

local peers = {
  { name = "saros", run = saros "none" },
  { name = "saros, group", run = saros "group" },
  { name = "floor", run = function(list, set)
    return run(("%s/bits_floor get %s %d %d"):format(programs, list, at_once,
      set.room))
  end },
  { name = "curl", program = "curl", run = function(_, set)
    return run(("curl -s %s -K %s"):format(
      set.count > 1 and "--parallel --parallel-max " .. at_once or "",
      place "list.curl"))
  end },
  { name = "aria2c", program = "aria2c", run = function()
    return run(("aria2c -q --no-conf --file-allocation=none -j %d -x 1 -i %s")
      :format(at_once, place "list.aria2"))
  end },
  { name = "wget", program = "wget", run = function()
    return run(("wget -q --no-config --no-proxy -nd -P %s -i %s"):format(
      place "out", place "list.wget"))
  end },
}

for i = #peers, 1, -1 do
  local program = peers[i].program
  if program and not find(program) then
    print(("SKIPPED: %s is not installed, so there is nothing to compare with")
      :format(program))
    table.remove(peers, i)
  end
end

-- The same list for each of them, in words of its own.
local formats = {
  ["list"] = "%s\t%s\n",
  ["list.curl"] = 'url = "%s"\noutput = "%s"\n',
  ["list.aria2"] = "%s\n dir=/\n out=%s\n",
  ["list.wget"] = "%s\n",
}

local function write_lists(names)
  for file, format in pairs(formats) do
    local f <close> = assert(io.open(place(file), "w"))
    for _, name in ipairs(names) do
      f:write((format:format(url .. "/" .. name, place("out/" .. name))))
    end
  end
end

-- ------------------------------------------------------------------
-- One set
-- ------------------------------------------------------------------

-- Noise, and no two files the same.
local function make(set)
  shell(("rm -rf %s && mkdir %s"):format(place "data", place "data"))
  local noise
  do
    local f <close> = assert(io.open("/dev/urandom", "rb"))
    noise = f:read(math.min(set.size, MIB) - 16)
  end
  local names = {}
  for i = 1, set.count do
    names[i] = ("%s-%05d"):format(set.name, i)
    local f <close> = assert(io.open(place("data/" .. names[i]), "wb"))
    for j = 1, set.size // (#noise + 16) do
      f:write(("%08d%08d"):format(i, j), noise)
    end
  end
  write_lists(names)
end

-- A host takes back the memory that its guest has let go, and who takes it next
-- waits for each page: all of it is touched before each step.
local function warm(set)
  shell(("head -c %d /dev/zero >%s && rm %s"):format(
    set.count * set.size * 3 // 2, place "warm", place "warm"))
end

local function one_round(set, round, results)
  for i = 1, #peers do
    local p = peers[round % 2 == 1 and i or #peers + 1 - i]
    warm(set)
    clear()
    local measured = p.run(place "list", set)
    if round == 1 then -- once is enough to know that it is the same
      shell(("diff -r %s %s"):format(place "out", place "data"))
    end
    table.insert(results[p.name], measured)
  end
  clear()
end

local function column(results, name, field)
  local list = {}
  for _, m in ipairs(results[name] or {}) do list[#list + 1] = m[field] end
  return { name, list }
end

local function index_of(name)
  for i, p in ipairs(peers) do if p.name == name then return i end end
end

local function tell(set, results, n)
  local function columns(field)
    local list = {}
    for i, p in ipairs(peers) do list[i] = column(results, p.name, field) end
    return list
  end
  local floor = index_of "floor"
  local title = ("%d × %s (%.0f MiB), %d round%s"):format(set.count, set.what,
    set.count * set.size / MIB, n, n == 1 and "" or "s")
  local ratios = { { "saros / floor", 1, floor, set.most },
    { "group / floor", 2, floor } }
  for i = floor + 1, #peers do
    ratios[#ratios + 1] = { "saros / " .. peers[i].name, 1, i }
  end
  local wall = columns "wall"
  figures.tell(title, "wall s", wall, ratios)
  if set.name == "small" then
    local carried = column(results, "saros", "carried")[2]
    local function rate(list)
      table.sort(list)
      return set.count / list[(#list + 1) // 2]
    end
    print(("  files a second: %.0f, of the whole process; %.0f once queued " ..
      "(20000 is the aim, or 0.7 × the floor: %.0f)"):format(rate(wall[1][2]),
      rate(carried), 0.7 * rate(wall[floor][2])))
  end
  figures.tell(title, "CPU s", columns "cpu", ratios)
  figures.tell(title, "MB of memory", columns "mb", {})
end

-- ------------------------------------------------------------------
-- What a job costs before a byte of it has come
-- ------------------------------------------------------------------

local function lists_of(count)
  local names = {}
  for i = 1, count do names[i] = ("nothing-%05d"):format(i) end
  write_lists(names)
end

local function queueing()
  local seconds, memory, nothing = {}, {}, {}
  for _ = 1, rounds do
    clear()
    lists_of(1)
    nothing[#nothing + 1] = saros("none", "queue")(place "list").mb
    clear()
    lists_of(10000)
    saros("none", "queue")(place "list")
    seconds[#seconds + 1] = told "queue"
    clear()
    lists_of(20000)
    memory[#memory + 1] = saros("none", "queue")(place "list").mb
  end
  figures.tell("to queue 10000 files", "wall s", { { "saros", seconds } }, {},
    1)
  figures.tell("a job of 20000 files that waits", "MB of memory, at its peak",
    { { "saros", memory }, { "of one file", nothing } }, {})
end

-- All of 20000 files, small ones, and each many times where there are fewer.
local function peak()
  local set = sets[3]
  make(set)
  local format, f = "%s\t%s\n", assert(io.open(place "list", "w"))
  for i = 0, 19999 do
    f:write(format:format(
      ("%s/%s-%05d"):format(url, set.name, i % set.count + 1),
      ("%s/%d"):format(place "out", i)))
  end
  f:close()
  clear()
  local measured = saros "none"(place "list")
  clear()
  figures.tell("a job of 20000 files, fetched", "MB of memory, at its peak",
    { { "saros", { measured.mb } } }, {}, 40 * MIB / 1e6)
end

-- ------------------------------------------------------------------

print(("\ndownloads, at most %d rounds; load %s"):format(rounds,
  io.open "/proc/loadavg":read "l"))
for _, set in ipairs(sets) do
  if wanted:find(set.name, 1, true) then
    make(set)
    local results, n, begun = {}, 0, os.time()
    for _, p in ipairs(peers) do results[p.name] = {} end
    repeat
      local before = os.time()
      n = n + 1
      one_round(set, n, results)
      local now = os.time()
      local enough = not long and now - begun + now - before > SECONDS_A_SET
    until n >= rounds or enough
    tell(set, results, n)
  end
end
queueing()
peak()
