---@private
-- Makes the files of a cluster startable where they lie, and independent of
-- the cluster they were copied from. What belongs to a running server goes;
-- links lead into the place, or nothing is started at all: a server that
-- recovers a copy writes to wherever they lead.

local files = require "saros.writers.postgres_kind.files"

local exists, run = files.exists, files.run

-- Their content is of a running server. (PostgreSQL's manual, "Making a Base
-- Backup Using the Low Level API".)
local emptied <const> = { "pg_replslot", "pg_dynshmem", "pg_notify",
  "pg_serial", "pg_snapshots", "pg_subtrans", "pg_stat_tmp" }
local removed <const> = { "postmaster.pid", "postmaster.opts",
  "current_logfiles" }

-- Where a path of the place was.
local function origin(place, path)
  local root = place.root:gsub("/+$", "")
  return files.within(path, root) and path:sub(#root + 1) or path
end

-- Whether a path that is there is in the place in truth: no link on the way
-- leads out of it.
local function stays(place, path)
  local root = place.root:gsub("/+$", "")
  if root == "" then return true end
  local real = run("realpath", "-e", "--", path):gsub("\n$", "")
  return files.within(real, (run("realpath", "-e", "--", root)
    :gsub("\n$", "")))
end

-- Where a link leads, in the place: nil when that is not in there.
local function target(place, link, text)
  local root = place.root:gsub("/+$", "")
  local here
  if root ~= "" and files.within(files.clean(text), root) then
    here = exists(text) and text -- it was settled before
  elseif text:sub(1, 1) == "/" then
    here = place:at(files.clean(text))
  else
    here = place:at(files.clean(origin(place, link):match "^(.*)/" .. "/"
      .. text))
  end
  return here and stays(place, here) and here or nil
end

local function point(place, link, to)
  run("ln", "-sfn", "--", to, link)
  files.give(place, link)
end

-- What it keeps below these it writes to.
local its_own <const> = { base = true, global = true, pg_wal = true,
  pg_xlog = true, pg_tblspc = true, pg_xact = true, pg_clog = true,
  pg_multixact = true, pg_commit_ts = true, pg_logical = true, pg_stat = true,
  pg_twophase = true }
for _, name in ipairs(emptied) do its_own[name] = "emptied" end

-- Every link in a directory: into the place, or an error. Those beside the
-- server's own directories are for people, certificates and logs.
local function relink(place, directory, all)
  local list = run("find", directory .. "/", "-mindepth", "1", "-type", "l",
    "-printf", "%P\\0%l\\0")
  for name, text in list:gmatch "([^\0]*)\0([^\0]*)\0" do
    local own = its_own[name:match "^[^/]+"]
    if all or own then
      local link = directory .. "/" .. name
      local to = target(place, link, text)
      if not to and own == "emptied" and not all and not name:find "/" then
        run("rm", "-f", "--", link)
        to = text
      elseif not to then
        error(files.refused("%s leads to %s, which is not among the files: "
          .. "nothing is started there", origin(place, link), text), 0)
      end
      if to ~= text then point(place, link, to) end
    end
  end
end

-- What the server would make links of again, as they were.
local function follow_map(place, cluster)
  local path = cluster.data .. "/tablespace_map"
  local text = files.content(path)
  if not text then return end
  -- A newline in a path has a backslash before it.
  text = text:gsub("\\([\n\r])", "\\%1"):gsub("\\\\", "\\")
  for line in text:gmatch "[^\n]+" do
    local oid, directory = line:match "^(%d+) (/.*)$"
    if not oid then
      error(files.refused("tablespace_map is not as PostgreSQL writes it"), 0)
    end
    local to = place:at(files.clean(directory))
    if not to or not stays(place, to) then
      error(files.refused("the tablespace %s, in %s, is not among the files",
        oid, directory), 0)
    end
    point(place, cluster.data .. "/pg_tblspc/" .. oid, to)
  end
  run("rm", "-f", "--", path)
end

local function tablespaces(cluster)
  local list = {}
  local text = run("find", cluster.data .. "/pg_tblspc/", "-mindepth", "1",
    "-maxdepth", "1", "-printf", "%p\\0")
  for path in text:gmatch "[^\0]+" do list[#list + 1] = path .. "/" end
  return list
end

local function find(directories, ...)
  local argv = { "find", table.unpack(directories) }
  run(table.unpack(table.move({ ... }, 1, select("#", ...), #argv + 1, argv)))
end

local function empty(place, cluster)
  local data, there = cluster.data, {}
  for _, name in ipairs(removed) do
    run("rm", "-f", "--", data .. "/" .. name)
  end
  for _, name in ipairs(emptied) do
    local path = data .. "/" .. name
    if exists(path) then
      there[#there + 1] = path
    else
      run("mkdir", "-m", "700", "--", path)
      files.give(place, path)
    end
  end
  find(there, "-mindepth", "1", "-delete")
  local temporary = tablespaces(cluster)
  table.insert(temporary, 1, data .. "/base")
  find(temporary, "-name", "pgsql_tmp*", "-prune", "-exec", "rm", "-rf", "--",
    "{}", "+")
end

-- Of the log of a tree that was copied file by file only what came with the
-- label is known to be whole.
local function prune_log(cluster, wal)
  local directory = cluster.data .. "/pg_wal/"
  local list = run("find", directory, "-mindepth", "1", "-maxdepth", "1",
    "-type", "f", "-printf", "%f\\0")
  local there = {}
  for name in list:gmatch "[^\0]+" do
    if #name == 24 and not name:find "[^%xA-F]" and name >= wal.first
      and name <= wal.last
    then
      there[name] = true
    elseif not name:find "%.history$" then
      run("rm", "-f", "--", directory .. name)
    end
  end
  if not there[wal.first] or not there[wal.last] then
    error(files.damaged(nil, "%s was copied while it was written to, and the "
      .. "log from %s to %s, which it needs to be whole, is not there",
      cluster.original, wal.first, wal.last), 0)
  end
end

local function is_segment(name)
  return type(name) == "string" and #name == 24 and not name:find "[^%x]"
end

-- A copy that was made in backup mode starts from its label. Without it the
-- server would start, and be wrong; of one instant, with it, it would not.
local function label(cluster)
  local said, path = cluster.said, cluster.data .. "/backup_label"
  if said.mode == "atomic" then
    run("rm", "-f", "--", path, cluster.data .. "/tablespace_map")
  elseif said.mode == "backup" then
    if said.pending then
      error(files.untried("%s is read while it is written to; what belongs to "
        .. "it is known when the backup is complete", cluster.original), 0)
    end
    if not exists(path) then
      error(files.damaged(nil, "%s was copied while it was written to, and has "
        .. "no backup_label: without that it must not be started",
        cluster.original), 0)
    end
    local wal = said.wal
    if type(wal) == "table" and is_segment(wal.first)
      and is_segment(wal.last)
    then
      prune_log(cluster, wal)
    end
  end
end

local function quoted(text) return "'" .. text:gsub("'", "''") .. "'" end

-- As Debian has it: the configuration lies elsewhere, and names the data.
local function configuration(place, cluster)
  local said, lines = cluster.said, {}
  local path = files.is_path(said.config_file) and place:at(said.config_file)
  if not path or path == said.config_file
    or files.within(path, cluster.data)
  then
    return
  end
  if not stays(place, path) then
    error(files.refused("%s leads out of the files", said.config_file), 0)
  end
  for name, was in pairs { data_directory = cluster.original,
    hba_file = said.hba_file, ident_file = said.ident_file }
  do
    local now = files.is_path(was) and place:at(was)
    if now then lines[#lines + 1] = ("%s = %s"):format(name, quoted(now)) end
  end
  table.sort(lines)
  lines[#lines + 1] = "external_pid_file = ''"
  local text = "\n# saros: where this copy lies\n" .. table.concat(lines, "\n")
    .. "\n"
  if not (files.content(path) or ""):find(text, 1, true) then
    files.write(path, text, "a")
  end
end

--- nil, err when they cannot be started there.
return files.told(function(c, place)
  local cluster, err = files.cluster(c, place)
  if not cluster then return nil, err end
  if not stays(place, cluster.data) then
    return nil, files.refused("%s leads out of the files", cluster.original)
  end
  relink(place, cluster.data, false)
  follow_map(place, cluster)
  for _, path in ipairs(tablespaces(cluster)) do relink(place, path, true) end
  label(cluster)
  empty(place, cluster)
  configuration(place, cluster)
  return true
end)
