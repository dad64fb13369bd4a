---@private
-- What the results of a repository's operations look like at the prompt, and to
-- print(): a few lines for a person. What is in them is a script's as before.
-- Texts in a repository are somebody else's: nothing of them reaches a terminal
-- that could move its cursor.

local core = require "saros.core"
local shown = require "saros.text"

local safe, size, some, clock = shown.safe, shown.size, shown.some, shown.clock

local print_out = {}

-- ------------------------------------------------------------------
-- Texts and figures
-- ------------------------------------------------------------------

local function short(id) return safe(tostring(id):sub(1, 8)) end

local function texts(list, separator)
  local copy = {}
  for i, text in ipairs(list or {}) do copy[i] = safe(text) end
  return table.concat(copy, separator or " ")
end

local MOST = 20 -- lines of one kind

-- Up to MOST lines, and how many there are more.
local function add_lines(lines, list, of_item)
  for i = 1, math.min(#list, MOST) do lines[#lines + 1] = of_item(list[i]) end
  if #list > MOST then
    lines[#lines + 1] = ("… and %d more"):format(#list - MOST)
  end
end

local function add_errors(lines, r)
  add_lines(lines, r.errors or {}, function(e)
    return ("  %s: %s"):format(safe(e.path or "?"), safe(e.message or "?"))
  end)
end

local function shows(name, to_text)
  return { __name = "saros.repository." .. name, __tostring = to_text }
end

-- ------------------------------------------------------------------
-- Lists
-- ------------------------------------------------------------------

local function version_line(v)
  if v.error then return ("%s  %s"):format(short(v.id), safe(v.error)) end
  local line = ("%s  %s  %s  %s"):format(short(v.id), clock(v.time),
    safe(v.hostname or "-"), texts(v.paths))
  if #(v.tags or {}) > 0 then
    line = line .. "  [" .. texts(v.tags, ", ") .. "]"
  end
  return line
end

local of_version = shows("version", version_line)

local function list_of(name, nothing, of_item)
  return shows(name, function(list)
    if #list == 0 then return nothing end
    local lines = {}
    for i, item in ipairs(list) do lines[i] = of_item(item) end
    return table.concat(lines, "\n")
  end)
end

local of_versions = list_of("versions", "no versions", version_line)

local of_keys = list_of("keys", "no keys", function(k)
  if k.error then return ("%s  %s"):format(short(k.id), safe(k.error)) end
  return ("%s%s  %s  %s@%s"):format(k.current and "*" or " ", short(k.id),
    clock(k.created or "-"), safe(k.username or "-"), safe(k.hostname or "-"))
end)

local of_locks = list_of("locks", "nobody has it locked", function(l)
  if l.error then return ("%s  %s"):format(short(l.id), safe(l.error)) end
  return ("%s  %s  PID %d on %s (%s), since %s%s"):format(short(l.id),
    l.exclusive and "exclusive" or "shared", l.pid, safe(l.hostname),
    safe(l.username), clock(l.since or l.time),
    l.dead and ", dead" or l.stale and ", stale" or "")
end)

function print_out.versions(list)
  for _, version in ipairs(list) do setmetatable(version, of_version) end
  return setmetatable(list, of_versions)
end

function print_out.keys(list) return setmetatable(list, of_keys) end

function print_out.locks(list) return setmetatable(list, of_locks) end

-- ------------------------------------------------------------------
-- Results
-- ------------------------------------------------------------------

local function backed_up(r)
  local what = r.id and "version " .. short(r.id)
    or r.skipped and "no version: nothing has changed"
    or r.torn and "no version: what must be whole could not be read"
    or "no version: a dry run"
  local lines = {
    ("%s: %s, %s"):format(what, some(r.files, "file"), size(r.bytes)),
    ("  %d new, %d changed, %d as before; %s added, %s as stored; %.1f s")
      :format(r.files_new, r.files_changed, r.files_unmodified,
        size(r.bytes_added), size(r.bytes_packed), r.duration),
  }
  if r.packs_adopted > 0 then
    lines[#lines + 1] = ("  %s that an earlier one had left %s used"):format(
      some(r.packs_adopted, "pack"), r.packs_adopted == 1 and "is" or "are")
  end
  if r.failed > 0 then
    lines[#lines + 1] = some(r.failed, "item")
      .. " could not be read, or not all of it:"
    add_errors(lines, r)
  end
  return table.concat(lines, "\n")
end

local function restored(r)
  local counts = {}
  local function count(n, text)
    if n > 0 then counts[#counts + 1] = n .. text end
  end
  count(r.unchanged, " were there already")
  count(r.skipped, " stayed as they were")
  count(r.removed, " removed")
  local what = some(r.files - r.others, "file")
  if r.others > 0 then
    what = what .. (r.others == 1 and ", 1 link or device"
      or (", %d links or devices"):format(r.others))
  end
  local lines = { ("version %s in %s: %s, %s%s%s"):format(short(r.version),
    safe(r.path), what, size(r.bytes),
    #counts > 0 and "; " .. table.concat(counts, ", ") or "",
    r.items and " (a dry run)" or "") }
  add_lines(lines, r.items or {}, function(item)
    return ("  %-7s %s"):format(item.action, safe(item.path))
  end)
  if r.not_given_away > 0 then
    lines[#lines + 1] = ("  %d were somebody else's, and are yours now: only "
      .. "root can give files to others"):format(r.not_given_away)
  end
  if #r.errors > 0 then
    lines[#lines + 1] = some(#r.errors, "item") .. " could not be restored:"
    add_errors(lines, r)
  end
  return table.concat(lines, "\n")
end

local function checked(r)
  return ("nothing is damaged: %s, %s, %s in %s; %s of them read%s"):format(
    some(r.versions, "version"), some(r.trees, "directory"),
    some(r.blobs, "blob"), some(r.packs, "pack"), size(r.bytes_read),
    r.hint_count > 0 and "; " .. some(r.hint_count, "hint") or "")
end

local function pruned(r)
  local also = ""
  if r.packs_unreferenced > 0 then
    also = (", %d that nobody named"):format(r.packs_unreferenced)
  end
  if r.packs_missing > 0 then
    also = also .. (", %d not needed and not there"):format(r.packs_missing)
  end
  return ("%s%s of %s removed, %d put together%s; %s freed, %s unused left")
    :format(r.dry_run and "would be: " or "", some(r.packs_removed, "pack"),
      r.packs, r.packs_repacked, also, size(r.bytes_freed),
      size(r.bytes_unused_after))
end

-- What is saros' own is no group of anybody's: how many of those are kept.
local function own_line(kept, gone)
  if kept + gone == 0 then return nil end
  return ("of what saros notes for itself %d kept%s (versions --all lists it)")
    :format(kept, gone > 0 and (", %d removed"):format(gone) or "")
end

local function forgotten(r)
  local lines, groups, kept, gone = {}, {}, 0, 0
  for _, group in ipairs(r.groups) do
    if group.own then
      kept, gone = kept + #group.keep, gone + #group.remove
    else
      groups[#groups + 1] = group
    end
  end
  for _, group in ipairs(groups) do
    local names = { group.host, texts(group.paths), texts(group.tags, ", ") }
    local title = {}
    for i = 1, 3 do
      if names[i] and names[i] ~= "" then title[#title + 1] = safe(names[i]) end
    end
    lines[#lines + 1] = #title > 0 and table.concat(title, "  ") or "all"
    add_lines(lines, group.keep, function(v)
      return ("  keep    %s  (%s)"):format(version_line(v),
        texts(v.reasons, ", "))
    end)
    add_lines(lines, group.remove, function(v)
      return "  remove  " .. version_line(v)
    end)
  end
  lines[#lines + 1] = some(#r.removed - gone, "version")
    .. (r.dry_run and " would be removed" or " removed")
  lines[#lines + 1] = own_line(kept, gone)
  if r.prune then lines[#lines + 1] = pruned(r.prune) end
  return table.concat(lines, "\n")
end

local function listed(r)
  local lines = {}
  add_lines(lines, r.items, function(item)
    return ("%s%-8s %12s  %s"):format(
      item.version and short(item.version) .. "  " or "", item.type,
      item.size and size(item.size) or "", safe(item.path))
  end)
  if #lines == 0 then lines[1] = "nothing" end
  add_errors(lines, r)
  return table.concat(lines, "\n")
end

local marks = { added = "+", removed = "-", changed = "M", metadata = "U" }

local function compared(r)
  local lines = {}
  add_lines(lines, r.items, function(item)
    return ("%s  %s"):format(marks[item.change] or "?", safe(item.path))
  end)
  lines[#lines + 1] = ("%s to %s: %s added (%s), %s removed (%s), %d changed")
    :format(short(r.from), short(r.to), some(r.added.files, "file"),
      size(r.added.bytes), some(r.removed.files, "file"),
      size(r.removed.bytes), r.changed)
  if r.metadata > 0 then
    lines[#lines] = lines[#lines]
      .. (", %d in their metadata alone"):format(r.metadata)
  end
  add_errors(lines, r)
  return table.concat(lines, "\n")
end

local function measured(r)
  local parts = { some(r.versions, "version") }
  local function part(n, text) if n then parts[#parts + 1] = text(n) end end
  part(r.files, function(n) return some(n, "file") end)
  part(r.directories, function(n) return some(n, "directory") end)
  part(r.bytes, size)
  part(r.data_blobs, function(n) return n + r.tree_blobs .. " blobs" end)
  part(r.plain_bytes, size)
  part(r.blob_bytes, function(n) return size(n) .. " as stored" end)
  part(r.packs, function(n) return some(n, "pack") end)
  local lines = { table.concat(parts, ", ") }
  add_errors(lines, r)
  return table.concat(lines, "\n")
end

local function dumped(r)
  local lines = { size(r.bytes) .. " written" }
  add_errors(lines, r)
  return table.concat(lines, "\n")
end

local function copied(r)
  local lines = { ("%s copied, %d there already; %s added, %s as stored")
    :format(some(#r.copied, "version"), #r.skipped, size(r.bytes_added),
      size(r.bytes_packed)) }
  add_lines(lines, r.failed, function(v)
    return ("  %s was left out: %s"):format(short(v.version), safe(v.message))
  end)
  return table.concat(lines, "\n")
end

local function packs_repaired(r)
  local parts = {}
  local function part(n, text)
    if n > 0 then parts[#parts + 1] = text:format(n) end
  end
  part(r.packs_added, "%d that no index named")
  part(r.packs_unreadable, "%d unreadable, which stay")
  local also = #parts > 0 and ", " .. table.concat(parts, ", ") or ""
  local unread = r.blobs_unread == 0 and "" or
    (", %d not read this time, which stay: run it again"):format(r.blobs_unread)
  return ("%s: %s, %d damaged, %d missing%s; %s saved, %d lost%s"):format(
    not r.changed and "nothing to repair"
      or r.dry_run and "would be repaired" or "repaired", some(r.packs, "pack"),
    r.packs_damaged, r.packs_missing, also, some(r.blobs_saved, "blob"),
    r.blobs_lost, unread)
end

local function versions_repaired(r)
  local lines = { ("%s whole, %d damaged, %d unreadable%s"):format(
    some(r.whole, "version"), #r.versions, #r.unreadable,
    r.dry_run and " (a dry run)" or "") }
  add_lines(lines, r.versions, function(v)
    return ("  %s is %s now: %s lost"):format(short(v.version),
      v.id and short(v.id) or "nothing", some(v.lost_count, "item"))
  end)
  add_lines(lines, r.unreadable, function(v)
    return ("  %s cannot be read: %s"):format(short(v.version), safe(v.message))
  end)
  return table.concat(lines, "\n")
end

local function repaired(r)
  return r.versions and versions_repaired(r) or packs_repaired(r)
end

for kind, to_text in pairs {
  backup = backed_up, restore = restored, check = checked, prune = pruned,
  forget = forgotten, ls = listed, find = listed, diff = compared,
  stats = measured, dump = dumped, copy = copied, repair = repaired,
} do
  core.dress("repository." .. kind, shows(kind, to_text))
end

return print_out
