-- make bench: backups beside restic and borg, and beside what nobody can do
-- without. Every step is a whole process; the peers take turns at each step,
-- every other round in reverse. saros and restic begin with copies of the same
-- repository, whose key costs nothing to derive: what a key costs as each makes
-- it is told apart. What all pay for starting and for the lock, which is waited
-- for on purpose, is measured and taken off, as if it had been open.
--   build/spec/repo_limits scratch DIR lua5.4 spec/bench/repository.lua
--     [ROUNDS [SETS]]
-- SAROS_LONG=1 takes the sets at their full size, and all the rounds; without
-- it they are a tenth, and there are as many rounds as fit into some seconds.

local rounds = tonumber(arg[1]) or 3
local wanted = arg[2] or "ABCD"
local lua = arg[-1] or "lua5.4"
local programs = os.getenv "SAROS_BENCH_PROGRAMS" or "build/spec"
local scratch = assert(os.getenv "SAROS_BENCH_DIR", "see the Makefile")
local long = os.getenv "SAROS_LONG" == "1"
local permille = tonumber(os.getenv "SAROS_BENCH_PERMILLE")
  or (long and 1000 or 100)
local SECONDS_A_SET = 10

-- What is to be reached: how many times as quick as restic, or what share of
-- the limit; and how many times less of a processor.
local sets = {
  { name = "A", what = "4 files of noise",
    first = { times = 3, share = 70, limit = "hash" }, packed = "no" },
  { name = "B", what = "8 files of prose, logs and records",
    first = { times = 1.8, share = 70, limit = "pack" }, packed = "yes" },
  { name = "C", what = "many small files",
    first = { times = 3, share = 70, limit = "pack" }, packed = "yes",
    unchanged = { times = 8, limit = "walk" } },
  { name = "D", what = "the pages of a database",
    first = { times = 2, share = 70, limit = "pack" }, packed = "yes" },
}
local order = { "first", "unchanged", "changed", "restore", "check" }
for _, set in ipairs(sets) do
  set.changed = { times = 2 }
  set.restore = { times = 3, share = 80, limit = "back" }
  set.check = { times = 3, share = 80, limit = "open" }
end

-- ------------------------------------------------------------------
-- Running
-- ------------------------------------------------------------------

local function shell(command)
  local ok = os.execute(command)
  if not ok then error("failed: " .. command) end
end

local function numbers(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  local list = {}
  for n in text:gmatch "[%d.]+" do list[#list + 1] = tonumber(n) end
  return list, text
end

local function find(program)
  return os.execute(("command -v %s >/dev/null"):format(program))
end

local function place(name) return scratch .. "/" .. name end

-- Wall and CPU seconds, and MB.
local function run(command)
  local quoted = command:gsub("'", "'\\''")
  local n = numbers(("%s/repo_limits run sh -c 'exec %s' 2>%s"):format(programs,
    quoted, place "said"))
  if n[4] ~= 0 then
    local said = io.open(place "said")
    error(("failed: %s\n%s"):format(command, said and said:read "a" or ""))
  end
  return { wall = n[1], cpu = n[2], mb = n[3] }
end

local function size_of(path)
  return numbers("du -sb " .. path .. " | cut -f1")[1]
end

-- ------------------------------------------------------------------
-- The peers: each with the steps that it has
-- ------------------------------------------------------------------

local peers = {}
local function peer(name, p)
  p.name, p.repository = name, place(name .. ".repository")
  if p.program and not find(p.program) then
    print(("SKIPPED: %s is not installed, so there is nothing to compare with")
      :format(p.program))
  else
    peers[#peers + 1] = p
  end
end

local function fresh(name)
  shell(("rm -rf %s && cp -r %s %s"):format(place(name), place "empty",
    place(name)))
end

local function saros(step, path)
  return ("%s spec/bench/repo_step.lua %s %s %s"):format(lua, step,
    place "saros.repository", path or "")
end

peer("saros", {
  key = function()
    shell(saros "init")
    local measured = run(saros "open")
    shell(("mv %s %s && %s/repo_cheap %s bench"):format(
      place "saros.repository", place "empty", programs, place "empty"))
    return measured
  end,
  fresh = function() fresh "saros.repository" end,
  open = function() return run(saros "open") end,
  backup = function(data) return run(saros("backup", data)) end,
  restore = function(to) return run(saros("restore", to)) end,
  check = function() return run(saros "check") end,
})

local function restic(words)
  return ("env RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=%s restic -q -r %s %s")
    :format(place "restic.cache", place "restic.repository", words)
end

peer("restic", {
  program = "restic",
  key = function()
    shell(restic "init --repository-version 2")
    return run(restic "snapshots")
  end,
  fresh = function()
    shell("rm -rf " .. place "restic.cache")
    fresh "restic.repository"
  end,
  open = function() return run(restic "snapshots") end,
  backup = function(data) return run(restic("backup " .. data)) end,
  restore = function(to)
    return run(restic("restore latest --target " .. to))
  end,
  check = function() return run(restic "check --read-data") end,
})

local borg_archive = 0
local function borg(words)
  return ("env BORG_PASSPHRASE=bench BORG_BASE_DIR=%s borg %s"):format(
    place "borg.base", words)
end

peer("borg", {
  program = "borg",
  fresh = function()
    shell(("rm -rf %s %s"):format(place "borg.base", place "borg.repository"))
    shell(borg("init -e repokey-blake2 " .. place "borg.repository" ..
      " 2>/dev/null"))
  end,
  open = function() return run(borg("list " .. place "borg.repository")) end,
  backup = function(data)
    borg_archive = borg_archive + 1
    return run(borg(("create -C zstd,3 %s::a%d %s"):format(
      place "borg.repository", borg_archive, data)))
  end,
  restore = function(to)
    shell("mkdir -p " .. to)
    return run(("sh -c 'cd %s && exec %s'"):format(to, borg(
      ("extract %s::a%d"):format(place "borg.repository", borg_archive))))
  end,
  check = function()
    return run(borg("check --verify-data " .. place "borg.repository"))
  end,
})

-- ------------------------------------------------------------------
-- The limits
-- ------------------------------------------------------------------

local function limit(set, step)
  local kind = set[step].limit
  if not kind then return nil end
  local words = { programs .. "/repo_limits", kind, place "data" }
  if kind == "open" or kind == "back" then words[4] = set.packed end
  if kind == "back" then words[5] = place "restored" end
  local n, said = numbers(table.concat(words, " "))
  if kind == "back" then shell("rm -rf " .. place "restored") end
  assert(#n == 2, said)
  return { wall = n[1], cpu = n[2] }
end

-- ------------------------------------------------------------------
-- One set
-- ------------------------------------------------------------------

local function note(results, step, name, measured)
  results[step] = results[step] or {}
  results[step][name] = results[step][name] or {}
  table.insert(results[step][name], measured)
end

local function does(set, step)
  if step == "unchanged" then return set.unchanged ~= nil end
  return step ~= "changed" or long or set.name == "C" or set.name == "D"
end

-- A host takes back the memory that its guest has let go: who takes it next
-- waits for each page (seven times the system's CPU, measured). All of it is
-- touched once more before each step, so that nobody pays for being first.
local function warm(set)
  set.bytes = set.bytes or size_of(place "data")
  shell(("head -c %d /dev/zero >%s && rm %s"):format(set.bytes * 3 // 2,
    place "warm", place "warm"))
end

local function one_step(set, step, p)
  warm(set)
  if step == "restore" then
    local measured = p.restore(place "restored")
    if set.first_round then -- once is enough to know that it is the same
      shell(("d=$(find %s -type d -name data | head -n 1) && diff -r %s \"$d\"")
        :format(place "restored", place "data"))
    end
    shell("rm -rf " .. place "restored")
    return measured
  end
  if step == "check" then return p.check() end
  return p.backup(place "data")
end

local function one_round(set, round, results)
  set.first_round = round == 1
  local turns = table.move(peers, 1, #peers, 1, {})
  if round % 2 == 0 then
    for i = 1, #peers do turns[i] = peers[#peers + 1 - i] end
  end
  for _, p in ipairs(turns) do
    p.fresh()
    note(results, "open", p.name, p.open())
  end
  for _, step in ipairs(order) do
    if does(set, step) then
      if step == "changed" then
        shell(("%s/repo_data %s %s %d change %d"):format(programs, set.name,
          place "data", permille, round))
      end
      for _, p in ipairs(turns) do
        local before = step == "changed" and size_of(p.repository)
        note(results, step, p.name, one_step(set, step, p))
        local size = size_of(p.repository)
        if step == "first" then note(results, "size", p.name, size) end
        if before then note(results, "added", p.name, size - before) end
      end
      warm(set)
      local l = limit(set, step)
      if l then note(results, step, "limit", l) end
    end
  end
end

-- ------------------------------------------------------------------
-- Telling
-- ------------------------------------------------------------------

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- The median of one column; what all pay first is taken off.
local function of(results, step, name, field)
  local list = {}
  for _, m in ipairs(results[step] and results[step][name] or {}) do
    list[#list + 1] = m[field]
  end
  local value = median(list)
  if not value or step == "open" or name == "limit" or field == "mb" then
    return value
  end
  return math.max(value - of(results, "open", name, field), 0.001)
end

local function cell(format, value)
  return value and format:format(value) or "-"
end

local function ratio(a, b) return a and b and a / b end

-- How many times as quick as restic, and what share of the limit; what is to be
-- reached is one of the two.
local function judged(times, share, aim)
  local parts = { times and ("%.1f"):format(times) or "-" }
  if share then
    parts[#parts + 1] = (", %.0f %% of the limit"):format(share * 100)
  end
  if aim.times and (times or share) then
    local reached = times and times >= aim.times
      or aim.share and share and share * 100 >= aim.share
    parts[#parts + 1] = (" %s %g"):format(reached and "≥" or "BELOW",
      aim.times)
    if aim.share then
      parts[#parts + 1] = (" or %d %%"):format(aim.share)
    end
  end
  return table.concat(parts)
end

local columns = "  %-10s%8s%8s%8s%8s │%8s%8s%8s%8s │%6s%6s%6s │ %s"

local function tell_step(set, results, step)
  local row = { step }
  for _, field in ipairs { "wall", "cpu" } do
    for _, name in ipairs { "saros", "restic", "borg", "limit" } do
      row[#row + 1] = cell("%.2f", of(results, step, name, field))
    end
  end
  for _, name in ipairs { "saros", "restic", "borg" } do
    row[#row + 1] = cell("%.0f", of(results, step, name, "mb"))
  end
  local told = {}
  for _, field in ipairs { "wall", "cpu" } do
    local mine = of(results, step, "saros", field)
    local aim = set[step] or {}
    if field == "cpu" then aim = { times = step == "first" and 2 or nil } end
    told[#told + 1] = (field == "cpu" and "CPU " or "wall ") ..
      judged(ratio(of(results, step, "restic", field), mine),
        ratio(of(results, step, "limit", field), mine), aim)
  end
  row[#row + 1] = step == "open" and ""
    or table.concat(told, "; ")
  print(columns:format(table.unpack(row)))
end

local function tell_sizes(results, kind, text)
  local parts = {}
  for _, p in ipairs(peers) do
    local size = median(results[kind] and results[kind][p.name] or {})
    if size then
      parts[#parts + 1] = ("%s %.1f"):format(p.name, size / 1e6)
    end
  end
  if #parts > 0 then print(("  %s, MB: %s"):format(text,
    table.concat(parts, ", "))) end
end

local function tell_stages(results)
  local pipe = assert(io.popen(("%s/repo_stages %s %s"):format(programs,
    place "data", place "packs")))
  local parts, sum = {}, 0
  local whole = of(results, "first", "saros", "cpu")
  for text in pipe:lines() do
    local name, cost = text:match "^(%a+) ([%d.]+)$"
    cost = assert(tonumber(cost), text)
    sum = sum + cost
    parts[#parts + 1] = ("%s %.2f"):format(name, cost)
  end
  pipe:close()
  print(("  where the time goes, CPU s, each stage alone: %s; all %.2f of %.2f")
    :format(table.concat(parts, ", "), sum, whole))
end

local function tell(set, results, n)
  print(("\n%s: %s, %.0f MB; %d round%s, medians; without key and lock")
    :format(set.name, set.what, size_of(place "data") / 1e6, n,
      n == 1 and "" or "s"))
  print(columns:format("", "wall s", "restic", "borg", "limit", "CPU s",
    "restic", "borg", "limit", "MB", "restic", "borg", "× restic"))
  for _, step in ipairs(order) do
    if results[step] then tell_step(set, results, step) end
  end
  tell_step({}, results, "open")
  tell_sizes(results, "size", "the repository")
  tell_sizes(results, "added", "a change adds")
  tell_stages(results)
end

-- ------------------------------------------------------------------

print(("\nbackups, sets of %g %% of their size, at most %d rounds; load %s")
  :format(permille / 10, rounds, io.open "/proc/loadavg":read "l"))
for _, p in ipairs(peers) do
  if p.key then
    local m = p.key()
    print(("  a key as %s makes it, and the lock: %.2f s, %.2f CPU s"):format(
      p.name, m.wall, m.cpu))
  end
end

for _, set in ipairs(sets) do
  if wanted:find(set.name, 1, true) then
    shell(("%s/repo_data %s %s %d"):format(programs, set.name, place "data",
      permille))
    local results, n, begun = {}, 0, os.time()
    repeat
      local before = os.time()
      n = n + 1
      one_round(set, n, results)
      local now = os.time()
      local enough = not long and now - begun + now - before > SECONDS_A_SET
    until n >= rounds or enough
    tell(set, results, n)
    shell(("rm -rf %s %s/*.repository"):format(place "data", scratch))
  end
end
