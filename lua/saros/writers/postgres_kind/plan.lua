---@private
-- How a cluster is brought up by hand: what `settle` does, a start apart from
-- everybody to see that all of it can be read, and then the usual start.

local files = require "saros.writers.postgres_kind.files"

local function is_segment(name)
  return type(name) == "string" and #name == 24 and not name:find "[^%x]"
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Links that lead to where things lie now.
local function links(lines, plan, said, data)
  local function link(to, name)
    if files.is_path(to) then
      lines[#lines + 1] = ("    ln -sfn %s %s/%s"):format(plan:at(to), data,
        name)
    end
  end
  if said.wal_directory then link(said.wal_directory, "pg_wal") end
  for _, one in ipairs(type(said.tablespaces) == "table" and said.tablespaces
    or {})
  do
    if type(one) == "table" and tostring(one.oid):find "^%d+$" then
      link(one.path, "pg_tblspc/" .. one.oid)
    end
  end
end

local function stale(lines, data)
  lines[#lines + 1] = ("    rm -f %s/postmaster.pid %s/postmaster.opts "
    .. "%s/tablespace_map"):format(data, data, data)
  lines[#lines + 1] = "    for d in pg_replslot pg_dynshmem pg_notify "
    .. "pg_serial pg_snapshots pg_subtrans pg_stat_tmp; do"
  lines[#lines + 1] = ("      mkdir -p -m 700 %s/$d; find %s/$d "
    .. "-mindepth 1 -delete"):format(data, data)
  lines[#lines + 1] = "    done"
end

local function log(lines, said, data)
  if said.mode == "atomic" then
    lines[#lines + 1] = ("    rm -f %s/backup_label"):format(data)
    return
  elseif said.mode ~= "backup" then
    return
  end
  lines[#lines + 1] = "The files were copied while they were written to. What "
    .. "makes them whole is backup_label"
  lines[#lines + 1] = "and the log that came with it: never remove it, and "
    .. "nothing else may be in pg_wal."
  lines[#lines + 1] = ("    test -f %s/backup_label"):format(data)
  local wal = type(said.wal) == "table" and said.wal or {}
  if is_segment(wal.first) and is_segment(wal.last) then
    lines[#lines + 1] = ("    for f in %s/pg_wal/*; do"):format(data)
    lines[#lines + 1] = "      n=${f##*/}"
    lines[#lines + 1] = "      case $n in *.history | archive_status) continue "
      .. ";; esac"
    lines[#lines + 1] = ("      if [ \"$n\" \\< %s ] || [ \"$n\" \\> %s ]; "
      .. "then rm -f \"$f\"; fi"):format(wal.first, wal.last)
    lines[#lines + 1] = "    done"
  end
end

-- Debian's configuration names the data directory.
local function configuration(lines, plan, said, original)
  local path = said.config_file
  if not files.is_path(path) or files.within(path, original) then return nil end
  local here = plan:at(path)
  lines[#lines + 1] = "    if [ -n \"$ROOT\" ]; then"
  lines[#lines + 1] = ("      { echo; echo \"data_directory = '$ROOT\"%s\"'\"")
    :format(quote(original))
  for name, was in pairs { hba_file = said.hba_file,
    ident_file = said.ident_file }
  do
    if files.is_path(was) then
      lines[#lines + 1] = ("        echo \"%s = '$ROOT\"%s\"'\""):format(name,
        quote(was))
    end
  end
  lines[#lines + 1] = ("        echo \"external_pid_file = ''\"; } >>%s")
    :format(here)
  lines[#lines + 1] = "    fi"
  return here
end

-- A start that reaches nobody, to read all of it once.
local function try(lines, said, version, data, owner)
  local user = type(said.superuser) == "string"
    and not said.superuser:find "%c" and said.superuser or "postgres"
  local function add(...) lines[#lines + 1] = (...):format(select(2, ...)) end
  lines[#lines + 1] = "A start apart from everybody, with none of its "
    .. "settings: it recovers, and all of it is"
  lines[#lines + 1] = "read once. What is printed at the end are the rows of "
    .. "its list of databases."
  add("    BIN=/usr/lib/postgresql/%s/bin; [ -d $BIN ] || BIN=$(dirname "
    .. "\"$(command -v postgres)\")", version)
  add("    TRY=$(mktemp -d); echo 'local all all trust' >$TRY/hba")
  add("    : >$TRY/conf")
  add("    chown -R %s $TRY", owner)
  add("    AS='setpriv --reuid=%s --regid=%s --clear-groups --'",
    owner:match "^[^:]*", owner:match "[^:]*$")
  add("    (cd $TRY && $AS $BIN/pg_ctl -w -t 86400 -D %s -l $TRY/log -o \"-c "
    .. "config_file=$TRY/conf -c hba_file=$TRY/hba -c ident_file=$TRY/conf -c "
    .. "unix_socket_directories=$TRY -c listen_addresses= -c port=5432 -c "
    .. "archive_mode=off -c max_logical_replication_workers=0 -c "
    .. "primary_conninfo= -c shared_preload_libraries= -c ssl=off -c "
    .. "logging_collector=off -c external_pid_file= -c "
    .. "max_prepared_transactions=1000 -c max_replication_slots=100\" start)",
    data)
  add("    $AS $BIN/pg_dumpall -h $TRY -p 5432 -U %s >/dev/null", quote(user))
  add("    $AS $BIN/psql -X -h $TRY -p 5432 -U %s -d template1 -c "
    .. "'SELECT datname FROM pg_database'", quote(user))
  add("    (cd $TRY && $AS $BIN/pg_ctl -w -D %s -m fast stop)", data)
  add("    rm -rf $TRY")
end

--- Lines: those with four spaces in front are commands.
return function(c, plan)
  local said, lines = type(c.said) == "table" and c.said or {}, {}
  local original = said.data_directory or c.files and c.files[1]
  if not files.is_path(original) then return nil end
  local data = plan:at(original)
  local number = math.tointeger(said.version_num)
  local version = number and number // 10000 or "*"
  lines[1] = ("A cluster of PostgreSQL %s. Nothing may run on it while this is "
    .. "done."):format(version)
  stale(lines, data)
  links(lines, plan, said, data)
  log(lines, said, data)
  local config = configuration(lines, plan, said, original)
  local owner = plan.owner
  if not owner then
    lines[#lines + 1] = "    OWNER=$(stat -c %u:%g " .. data .. ")"
    owner = "$OWNER"
  end
  lines[#lines + 1] = ("    chown -h %s %s/pg_wal; [ -z \"$(ls -A "
    .. "%s/pg_tblspc)\" ] || chown -h %s %s/pg_tblspc/*"):format(owner, data,
    data, owner, data)
  if plan.owner then try(lines, said, version, data, owner) end
  lines[#lines + 1] = "Then it is started as always: pg_ctlcluster, systemctl, "
    .. "or as its owner"
  lines[#lines + 1] = ("  pg_ctl -D %s%s start"):format(data, config
    and " -o \"-c config_file=" .. config .. "\"" or "")
  return lines
end
