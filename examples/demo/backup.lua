-- Versions in a repository, of shadows of what goes on being written to; and the
-- proof: one is restored, and compared with its shadow by hashes.

local vss = require "saros.vss"
local place = require "demo.place"
local screen = require "demo.screen"

local has_repository, repository = pcall(require, "saros.repository")

local function seconds(op) return ("%.2f s"):format(op:status().elapsed) end

local function size(bytes)
  if bytes < 1048576 then return ("%.1f KiB"):format(bytes / 1024) end
  return ("%.1f MiB"):format(bytes / 1048576)
end

-- What the ledger's disk has besides: some hundred files, some of them large,
-- half of them text.
local FILL = [[
  cd "$1" && mkdir files && cd files &&
  head -c 24000000 /dev/urandom >film &&
  head -c 6000000 /dev/urandom | split -a 3 -b 12000 - photo- &&
  seq 1 1500000 >list && seq 1 200000 | split -a 3 -l 500 - page-]]

-- Shadows of both, as long as f runs.
local function with_shadow(d, f)
  local set <close> = assert(vss.shadow { paths = { d.bank, d.ledger },
    provider = d.provider, state_dir = d.state,
    writers = { require = d.require } }:wait())
  local result = f(set)
  assert(set:backup_complete():wait())
  return result
end

local function watch(title, op)
  screen.watch(title, op):wait()
  return assert(op:wait())
end

-- Of every file in a directory, by its name there.
local function hashes(at)
  return place.run("sh", "-c", "cd \"$1\" && find . -type f -print0 | "
    .. "LC_ALL=C sort -z | xargs -0 sha256sum", "sh", at)
end

local function back_up(repo, set, title)
  local op = repo:backup { sources = { set }, tags = { "demo" } }
  local r = watch(title, op)
  assert(r.failed == 0, tostring(r))
  return r, op
end

-- Restores the newest version and compares it with the shadow it is of.
local function prove(repo, set, d, summary)
  local target = d.copy .. ".restored"
  local restore = repo:restore { target = target }
  local r = watch("restore it", restore)
  local files, same = 0, #r.errors == 0
  for path, shadow in pairs(set) do
    local there = hashes(shadow.path)
    same = same and there == hashes(target .. path)
    files = files + select(2, (there .. "\n"):gsub("\n", ""))
  end
  local word, rows = d.check(target .. d.bank .. "/bank.db")
  summary[#summary + 1] = { "restored", size(r.bytes), seconds(restore),
    ("%d files, %s"):format(files, same and "every hash same"
      or "DIFFERENT") }
  return same, files, word, rows
end

return function(d, bank, summary)
  screen.head "Versions of such shadows in a repository, and the proof"
  if not has_repository then
    screen.say "saros was built without OpenSSL, zstd or curl: left out."
    return
  end
  place.run("sh", "-c", FILL, "sh", d.ledger)
  local repo <close> = repository.init { location = d.copy .. ".repository",
    password = { command = "head -c 32 /dev/urandom | base64" } }
  screen.say("In restic's format, encrypted; the bank goes on all the while.\n")

  local first = with_shadow(d, function(set)
    local r, op = back_up(repo, set, "back up a shadow")
    summary[#summary + 1] = { "first backup of it", size(r.bytes), seconds(op),
      ("%d files, %s stored"):format(r.files, size(r.bytes_packed)) }
    return r
  end)
  bank.more(50)
  local second, same, files, word, rows
  with_shadow(d, function(set)
    local op
    second, op = back_up(repo, set, "back up the next shadow")
    summary[#summary + 1] = { "the next one", size(second.bytes), seconds(op),
      ("%d read again, %s stored"):format(second.files_changed
        + second.files_new, size(second.bytes_packed)) }
    local check = repo:check { read_data = true }
    local found = watch("check every byte", check)
    summary[#summary + 1] = { "checked", size(found.bytes_read), seconds(check),
      ("%d blobs, none is damaged"):format(found.blobs) }
    same, files, word, rows = prove(repo, set, d, summary)
  end)
  local forget = repo:forget { keep_last = 1, prune = true }
  local gone = watch("forget, prune", forget)
  screen.settle()
  summary[#summary + 1] = { "old one forgotten",
    size(gone.prune.bytes_freed), seconds(forget),
    ("freed; %d version is left"):format(#repo:versions()) }

  print()
  screen.fact(true, "first version", "%d files, %s; stored as %s", first.files,
    size(first.bytes), size(first.bytes_packed))
  screen.fact(true, "second version", "%d files as before, stored as %s",
    second.files_unmodified, size(second.bytes_packed))
  screen.fact(same, "restored = shadow", "SHA-256 of %d files: %s", files,
    same and "all the same" or "DIFFERENT")
  screen.fact(word == "ok", "SQLite in what is restored",
    "integrity_check: %s; %d rows", word, rows)
  local intact = repo:check():wait()
  screen.fact(intact, "after the pruning", "%s, nothing is damaged",
    intact and intact.versions .. " version" or "DAMAGED")
  assert(same and word == "ok" and intact, "this backup is bad")
end
