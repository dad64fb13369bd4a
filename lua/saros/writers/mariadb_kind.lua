---@private
-- What is known of MariaDB without its live writer: how its files are made to
-- start elsewhere, found to be whole, and restored.

local core = require "saros.core"
local E = require "saros.code"
local copy = require "saros.writers.mariadb_copy"
local kind = require "saros.writers.kind"
local layout = require "saros.writers.mariadb_layout"

local ID <const> = "2f6d1c1b-0b5e-4b5c-9a9e-3d5e7c2a4b02"

local run = layout.run

-- Of the option files and binary logs there is nothing to start.
local function is_data(c) return c.type ~= "filegroup" end

local function refused(...)
  return core.failure("saros", E.SAROS_E_REFUSED, string.format(...))
end

local function entries(text)
  local list = {}
  for one in text:gmatch "([^\0]*)\0" do list[#list + 1] = one end
  return list
end


-- ------------------------------------------------------------------
-- To be started elsewhere
-- ------------------------------------------------------------------

-- Where something that was at this path is in the place, if it is part of it.
local function inside(c, place, path)
  if (path .. "/"):find("/../", 1, true) then return nil end
  for _, file in ipairs(c.files) do
    if (path .. "/"):sub(1, #file + 1) == file .. "/" then
      return place.root .. path
    end
  end
  return nil
end

-- A path without "." and "..", as names only.
local function plain(path)
  local names = {}
  for name in path:gmatch "[^/]+" do
    if name == ".." then
      names[#names] = nil
    elseif name ~= "." then
      names[#names + 1] = name
    end
  end
  return "/" .. table.concat(names, "/")
end

local function relink(c, place, link)
  local to = run("readlink", "--", link):gsub("\n$", "")
  if to:sub(1, 1) ~= "/" then
    local lands = plain(link:match "^(.*)/" .. "/" .. to)
    if lands:sub(1, #place.root + 1) == place.root .. "/" then return end
  else
    local new = inside(c, place, plain(to))
    if new then
      run("ln", "-sfn", "--", new, link)
      run("chown", "-h", ("%d:%d"):format(place.owner.uid, place.owner.gid),
        "--", link)
      return
    end
  end
  error(refused("%s is a link to %s, which is no part of this component",
    link:sub(#place.root + 1), to), 0)
end

-- InnoDB's own kind of link: a file that has the path of another.
local function readdress(c, place, path)
  local to
  do
    local file <close> = assert(io.open(path))
    to = plain(file:read "l" or "")
  end
  local new = inside(c, place, to)
  if not new then
    error(refused("%s leads to %s, which is no part of this component",
      path:sub(#place.root + 1), to), 0)
  end
  local file <close> = assert(io.open(path, "w"))
  local ok, why = file:write(new)
  if ok then ok, why = file:flush() end -- a full disk is seen only there
  if not ok then error(refused("%s: %s", path, why), 0) end
end

-- What a relative link goes through may be a link, too: where all of them end
-- is known when all lead into the place.
local function check_ends(place, links)
  if place.root == "" or #links == 0 then return end
  local root = run("realpath", "-e", "--", place.root):gsub("\n$", "")
  for i, to in ipairs(entries(run("realpath", "-m", "-z", "--",
    table.unpack(links))))
  do
    if to:sub(1, #root + 1) ~= root .. "/" then
      error(refused("%s is a link that ends at %s, which is no part of this "
        .. "component", links[i]:sub(#place.root + 1), to), 0)
    end
  end
end

local function settle(c, place)
  if not is_data(c) then return true end
  local datadir, err = copy.datadir(c, place)
  if not datadir then return nil, err end
  -- What it wrote of its process, and sockets.
  run("find", datadir, "-maxdepth", "1", "(", "-name", "*.pid", "-o", "-type",
    "s", ")", "-delete")
  local all = {}
  for _, file in ipairs(c.files) do
    local at = place:at(file)
    if at then
      local links = run("find", at, "-type", "l", "-print0")
      for _, link in ipairs(entries(links)) do
        relink(c, place, link)
        all[#all + 1] = link
      end
      links = run("find", at, "-type", "f", "-name", "*.isl", "-print0")
      for _, link in ipairs(entries(links)) do readdress(c, place, link) end
    end
  end
  check_ends(place, all)
  return true
end


-- ------------------------------------------------------------------
-- Is it whole?
-- ------------------------------------------------------------------

-- Of what mariadb-check says: "table OK", or "table", and lines about it.
local function parse(text)
  local found = { tables = 0, problems = {}, warnings = {}, unknown = {} }
  local current, engine = "", nil
  for line in text:gmatch "[^\n]+" do
    local level, said = line:match "^(%a+)%s*: (.*)$"
    level = level and level:lower()
    if not level then
      local name = line:match "^(.-)%s+OK$"
      found.tables = found.tables + 1
      current, engine = name or line:match "^(.-)%s*$", nil
    elseif said:find("Unknown storage engine", 1, true) then
      engine = true
      found.unknown[#found.unknown + 1] = current .. ": " .. said
    elseif level == "error" then
      -- Of a table whose engine is not here nothing is known.
      if not engine then
        found.problems[#found.problems + 1] = current .. ": " .. said
      end
    elseif level ~= "status" or said ~= "OK" then
      found.warnings[#found.warnings + 1] = current .. ": " .. said
    end
  end
  return found
end

local function check_tables(server)
  if not copy.tool "mariadb-check" then
    error(copy.untried("mariadb-check is not installed here (Debian: "
      .. "mariadb-client)"), 0)
  end
  local op <close> = core.process { argv = { "mariadb-check", "--no-defaults",
    "--socket=" .. server.socket, "--user=root", "--all-databases", "--check",
    "--extended", "--skip-write-binlog" }, any_status = true, limit = 64 << 20 }
  local r, err = op:wait()
  if not r then error(err, 0) end
  local found = parse(r.stdout)
  if not server:answers() then
    table.insert(found.problems, 1, "the server crashed while it was checked")
  elseif r.status ~= 0 and #found.problems == 0 then
    -- What the server itself has said is about the files.
    if not r.stderr:find "error: 1%d%d%d:" then
      error(copy.untried("mariadb-check failed: %s", r.stderr), 0)
    end
    found.problems[1] = r.stderr:match "[^\n]+"
  elseif found.tables == 0 then -- there are those of the server, at least
    found.problems[1] = "there is no table at all"
  end
  return found
end

-- The pages of the system tablespace that are copies of others, where the sums
-- are theirs: two extents after the first.
local function doublewrite(c)
  local settings = type(c.said) == "table" and c.said.settings
  local size = type(settings) == "table"
    and tonumber(settings.innodb_page_size) or 16384
  local extent = math.max(64, (1 << 20) // math.max(1, math.floor(size)))
  return extent, 3 * extent
end

local function sums_of(tool, path, ...)
  local op <close> = core.process { argv = { tool, "--skip-freed-pages", path,
    ... }, any_status = true }
  local r, err = op:wait()
  if not r then error(err, 0) end
  if r.status == 0 then return nil end
  return r.stderr:match "[^\n]+" or "innochecksum failed"
end

-- Of a server that ended well every page has a sum: also those that no table
-- reads (undo, what is too long for a row).
local function check_sums(c, place, problems)
  local tool = copy.tool "innochecksum"
  if not tool then return "not looked at: innochecksum is not installed" end
  local from, to = doublewrite(c)
  local function add(path, why)
    if not why then return end
    problems[#problems + 1] = path:sub(#place.root + 1) .. ": " .. why
  end
  for _, file in ipairs(c.files) do
    local at = place:at(file)
    local list = at and entries(run("find", at, "-type", "f", "(", "-name",
      "*.ibd", "-o", "-name", "ibdata1", "-o", "-name", "undo[0-9]*", ")",
      "-print0")) or {}
    for _, path in ipairs(list) do
      if path:find "/ibdata1$" then
        add(path, sums_of(tool, path, "--end-page=" .. from - 1))
        add(path, sums_of(tool, path, "--start-page=" .. to))
      else
        add(path, sums_of(tool, path))
      end
    end
  end
  return "looked at"
end

-- A table whose files are gone is missed by nobody but its users.
local function check_definitions(c, place, problems)
  local was = type(c.said) == "table" and math.tointeger(c.said.definitions)
  local datadir = was and copy.datadir(c, place)
  if not datadir then return end
  local now = layout.definitions(datadir)
  if now ~= was then
    problems[1] = ("%d tables are defined in it, and there were %d")
      :format(now, was)
  end
end

-- What the server found by itself when it recovered, and since.
local function add_errors(server, problems)
  for _, line in ipairs(server:errors()) do
    if line:find "InnoDB" or line:find "Aria" or line:find "crashed"
      or line:find "[Cc]orrupt"
    then
      problems[#problems + 1] = line
    end
  end
end

local function failed(problems)
  return copy.damaged(problems, "the check found: %s%s", problems[1],
    #problems > 1 and (" (and %d more)"):format(#problems - 1) or "")
end

local function check(c, place)
  if not is_data(c) then return true end
  local problems = {}
  check_definitions(c, place, problems)
  local server <close>, err = copy.start(c, place)
  if not server then return nil, err end
  local found = check_tables(server)
  if not server.op:done() then server:stop() end
  table.move(found.problems, 1, #found.problems, #problems + 1, problems)
  add_errors(server, problems)
  local sums = check_sums(c, place, problems)
  if #problems > 0 then return nil, failed(problems) end
  if #found.unknown > 0 then
    return nil, copy.untried("some tables could not be looked at: %s",
      table.concat(found.unknown, "; "))
  end
  return { tables = found.tables, sums = sums,
    warnings = #found.warnings > 0 and found.warnings or nil }
end


-- ------------------------------------------------------------------
-- Restoring
-- ------------------------------------------------------------------

-- For a drill: the same server, and a connection to it.
local function start(c, place, apart)
  if not is_data(c) then return nil end
  local server, err = copy.start(c, place, apart)
  if not server then return nil, err end
  local ok, client = pcall(require, "saros.client.mariadb")
  if not ok then
    server:close()
    return nil, copy.untried("saros.client.mariadb is not in this build")
  end
  server.db = client.open { socket = server.socket, user = "root" }
  function server.dump(what) return server:dumper(what) end
  return server
end

-- Whose working directory it is: a server stays in its data directory.
local running <const> = [[
  here=$(stat -L -c %d:%i -- "$1") || exit 0
  for p in $(grep -lxE 'mariadbd|mysqld' /proc/[0-9]*/comm 2>/dev/null); do
    p=${p%/comm}
    [ "$(stat -L -c %d:%i "$p/cwd" 2>/dev/null)" = "$here" ] || continue
    echo "${p#/proc/}"
  done]]

local function busy(c, place)
  if not is_data(c) then return nil end
  for _, file in ipairs(c.files) do
    local at = place:at(file)
    local pid = at and run("sh", "-c", running, "sh", at):match "%d+"
    if pid then
      return ("the server with the process id %s runs on %s: stop it first")
        :format(pid, file)
    end
  end
  return nil
end

-- Links that lead to where things were lead to where they are.
local links <const> = {
  'if [ -n "$ROOT" ]; then',
  '  find %s -type l | while read -r l; do',
  '    t=$(readlink "$l")',
  '    case $t in "$ROOT"/*) ;; /*) ln -sfn "$ROOT$t" "$l" ;; esac',
  '  done',
  '  find %s -name "*.isl" | while read -r l; do',
  '    t=$(cat "$l")',
  '    case $t in "$ROOT"/*) ;; /*) printf %%s "$ROOT$t" >"$l" ;; esac',
  '  done',
  'fi',
}

local look <const> = {
  'until grep -q "ready for connections" "$RUN/my.log"; do',
  '  if grep -q "State:.Z" /proc/$!/status; then cat "$RUN/my.log"; exit 1; fi',
  '  sleep 0.1',
  'done 2>/dev/null',
  'mariadb-check --no-defaults --socket="$RUN/s" --user=root \\',
  '  --all-databases --check --extended >"$RUN/said" || true',
  'mariadb-admin --no-defaults --socket="$RUN/s" --user=root shutdown \\',
  '  || kill $!',
  'wait',
  'grep -q OK "$RUN/said"',
  'if grep -i "^error" "$RUN/said"; then exit 1; fi',
  'rm -r "$RUN"',
}

-- Words of a shell for options, of which the paths begin with a mark.
local function words(c, options)
  local list = copy.options(c, { at = function(_, path)
    return "\1" .. path
  end })
  for i, word in ipairs(list or {}) do
    list[i] = options.quote(word):gsub("\1", "'\"$ROOT\"'")
  end
  return list
end

local function plan(c, options)
  if not is_data(c) then
    return { "These belong to a MariaDB server, which does not need them to "
      .. "start: look at them", "before you use them." }
  end
  local said = type(c.said) == "table" and c.said or {}
  local datadir = options:at(c.files[1])
  local lines = { ("%s with its data in %s%s."):format(said.server or "MariaDB",
    c.files[1], said.position and ", as it was at " .. said.position or ""),
    "No server may run on them. They start by themselves, as after a loss of "
    .. "power.", "" }
  local function add(...) lines[#lines + 1] = "    " .. string.format(...) end
  add("rm -f %s/*.pid", datadir)
  if type(said.settings) == "table" and said.settings.links then
    local all = {}
    for i, file in ipairs(c.files) do all[i] = options:at(file) end
    for _, line in ipairs(links) do add(line, table.concat(all, " ")) end
  end
  local argv = words(c, options)
  if not argv then
    lines[#lines + 1] = "Its files are encrypted: start it with its keys, and "
      .. "run mariadb-check --all-databases --extended."
    return lines
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Started for a look, apart from everybody; every line of "
    .. "what mariadb-check says"
  lines[#lines + 1] = "should end in OK:"
  lines[#lines + 1] = ""
  add("OWNER=%s", options.owner or ("$(stat -c %%u:%%g %s)"):format(datadir))
  add 'RUN=$(mktemp -d); chown "$OWNER" "$RUN"'
  add 'setpriv --reuid="${OWNER%%:*}" --regid="${OWNER#*:}" --clear-groups \\'
  add("  mariadbd %s \\", table.concat(argv, " "))
  add("  %s \\", table.concat(copy.quiet, " "))
  add '  --socket="$RUN/s" --pid-file="$RUN/pid" --log-error="$RUN/my.log" &'
  for _, line in ipairs(look) do lines[#lines + 1] = "    " .. line end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Then start it as usual (systemctl start mariadb), with "
    .. "its option files."
  return lines
end

return kind.define { name = "mariadb", id = ID, check = check, settle = settle,
  start = start, busy = busy, plan = plan, order = 0 }
