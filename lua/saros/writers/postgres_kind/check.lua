---@private
-- Whether a copy of a cluster is whole: a server starts on it and comes as far
-- as the cluster was; every table and every index of it is read, and what is in
-- the one is in the other, both ways; then, when they have sums, every page is
-- what it was when it was written.

local core = require "saros.core"
local files = require "saros.writers.postgres_kind.files"
local pages = require "saros.writers.postgres_kind.pages"
local server = require "saros.writers.postgres_kind.server"
local trees = require "saros.writers.postgres_kind.trees"

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- A program of PostgreSQL, to its end: the lines it wrote and its status.
local function tool(cluster, place, argv)
  if not files.exists(argv[1]) then
    error(files.untried("%s is not installed", argv[1]), 0)
  end
  local op <close> = server.run(cluster, place, nil,
    { argv = argv, any_status = true })
  local result, err = op:wait()
  if result then return lines_of(result.stdout), result.status end
  if err.cancelled then error(err, 0) end
  error(files.untried("%s: %s", argv[1], err.message), 0)
end

-- That the module is missing says nothing about the data.
local function is_missing(lines)
  for _, line in ipairs(lines) do
    if line:find "could not open extension control file"
      or line:find 'extension "%a+" is not available'
      or line:find "could not access file \"[^\"]*pageinspect\""
      or line:find "could not access file \"[^\"]*amcheck\""
    then
      return line
    end
  end
  return server.circumstance(lines)
end

-- A database by any name: what has a "=" in it would be a string of settings.
local function named(database)
  return "dbname='" .. database:gsub("['\\]", "\\%0") .. "'"
end

-- What psql prints of a statement, or of several, one by one (of several in one
-- text it prints the last alone, before 15), and its status.
local function asker(cluster, place, running)
  return function(sql, database)
    local argv = { running.programs .. "/psql", "-XAtq", "--no-password",
      "--set=ON_ERROR_STOP=1", "--host=" .. running.socket,
      "--port=" .. running.port, "--username=" .. running.user,
      "--dbname=" .. named(database) }
    for _, one in ipairs(type(sql) == "table" and sql or { sql }) do
      argv[#argv + 1] = "--command=" .. one
    end
    return tool(cluster, place, argv)
  end
end

-- In digits, for any name that somebody has thought of.
local DATABASES <const> = [[SELECT pg_catalog.encode(pg_catalog.convert_to(
  datname::text, 'UTF8'), 'hex') FROM pg_catalog.pg_database
  WHERE datallowconn ORDER BY 1]]

-- All that one can connect to.
local function databases_of(ask)
  local names, status = ask(DATABASES, "template1")
  if status ~= 0 then
    error(files.untried("%s", names[1] or "psql failed, and said nothing"), 0)
  end
  for i, digits in ipairs(names) do
    names[i] = digits:gsub("%x%x", function(two)
      return string.char(tonumber(two, 16))
    end)
  end
  return names
end

local function position(text)
  local high, low = tostring(text):match "^(%x+)/(%x+)$"
  if not high or #high > 8 or #low > 8 then return nil end
  return tonumber(high, 16) << 32 | tonumber(low, 16)
end

-- Where recovery found the end of the log it made a checkpoint. What is damaged
-- in the log, or missing, is the end of it for the server: it would start, and
-- be without what was committed last. (A position at the beginning of a page
-- may be in the middle of a record, which nobody was told of.)
local function reached(cluster, ask)
  local wanted = position(cluster.said.position)
  if not wanted or wanted % 1024 == 0 then return end
  local lines, status = ask("SELECT checkpoint_lsn FROM "
    .. "pg_catalog.pg_control_checkpoint()", "template1")
  local found = status == 0 and position(lines[1])
  if not found then
    error(files.damaged(lines, "the server on the copy of %s does not answer: "
      .. "%s", cluster.original, lines[1] or "nothing"), 0)
  elseif found < wanted then
    error(files.damaged(nil, "the log in the copy of %s ends at %s, and the "
      .. "cluster was at %s already: what was committed last is not in it",
      cluster.original, lines[1], cluster.said.position), 0)
  end
end

-- A transaction that was committed before a checkpoint is nowhere but in the
-- list of commits: where that is older than the log, it is not.
local function committed(cluster, ask)
  local number = tostring(cluster.said.transaction or ""):match "^%d+$"
  if not number or #number > 18 then return end
  local lines, status = ask(("SELECT pg_catalog.txid_status(%s)")
    :format(number), "template1")
  if status == 0 and (lines[1] or "committed") == "committed" then return end
  error(files.damaged(lines, "transaction %s, which the cluster had committed, "
    .. "is not in the copy of %s (%s): its files are of several instants",
    number, cluster.original, lines[1] or status), 0)
end

-- What names the table: a server warns of a page before that, and pg_amcheck
-- says in the next line what it is about.
local function first_of(problems)
  for i, line in ipairs(problems) do
    if not line:find "WARNING:" then
      local more = line:find ":%s*$" and problems[i + 1]
      return more and line:gsub("%s+$", "") .. more:gsub("^%s*", " ") or line
    end
  end
  return problems[1] or "what it did not say"
end

local function amcheck(cluster, place, running)
  local lines, status = tool(cluster, place, { running.programs
    .. "/pg_amcheck", "--all", "--install-missing", "--heapallindexed",
    "--parent-check", "--no-password", "--host=" .. running.socket,
    "--port=" .. running.port, "--username=" .. running.user })
  if status == 0 then return end
  local problems = {}
  for _, line in ipairs(lines) do
    if not line:find "^%s*$" then problems[#problems + 1] = line end
  end
  if not running:runs() then
    for _, line in ipairs(running.log) do
      if line:find "PANIC" or line:find "FATAL" or line:find "terminated" then
        problems[#problems + 1] = line
      end
    end
    error(files.damaged(problems, "the server on the copy of %s crashed while "
      .. "it was read", cluster.original), 0)
  end
  local missing = status ~= 2 and is_missing(lines)
  if missing then error(files.untried("%s", missing), 0) end
  error(files.damaged(problems, "pg_amcheck found in the copy of %s: %s",
    cluster.original, first_of(problems)), 0)
end

-- Every page, also those that no table has any more.
local function checksums(cluster, place, programs)
  local lines = tool(cluster, place, { programs .. "/pg_controldata", "-D",
    cluster.data })
  local state, version
  for _, line in ipairs(lines) do
    state = state or line:match "^Database cluster state:%s*(.*)$"
    version = version or line:match "^Data page checksum version:%s*(%d+)"
  end
  if version == "0" then return "off" end
  if state ~= "shut down" then
    error(files.damaged(lines, "the server on the copy of %s did not come to a "
      .. "good end: it is %s", cluster.original, state or "in no state"), 0)
  end
  local said, status = tool(cluster, place, { programs .. "/pg_checksums",
    "--check", "-D", cluster.data })
  if status == 0 then return "passed" end
  local missing = server.circumstance(said)
  if missing then error(files.untried("%s", missing), 0) end
  error(files.damaged(said, "pg_checksums found in the copy of %s: %s",
    cluster.original, said[1] or "what it did not say"), 0)
end

--- A table of details; nil, err.
return files.told(function(c, place)
  local cluster, err = files.cluster(c, place)
  if not cluster then return nil, err end
  local version, programs, leads
  do
    local running <close>, why = server.start(cluster, place, server.cell())
    if not running then return nil, why end
    version, programs = running.version, running.programs
    core.report { phase = "checking" }
    local ask = asker(cluster, place, running)
    reached(cluster, ask)
    committed(cluster, ask)
    local databases = databases_of(ask)
    if tonumber(cluster.version) < trees.UNTIL then
      trees.check(cluster, databases, ask, is_missing)
    else
      amcheck(cluster, place, running)
    end
    leads = pages.check(cluster, databases, ask, is_missing)
  end
  local sums = checksums(cluster, place, programs)
  return { server = version, amcheck = "passed", indexes = leads,
    checksums = sums }
end)
