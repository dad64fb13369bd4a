--- What the specs of the MariaDB writer share: a server whose data lie on a btrfs
--- of their own, shadows of it, and servers on copies of those.

local helper = require "spec.helper"
local mariadb = require "spec.servers.mariadb"
local outside = require "spec.outside"
local shared = require "spec.vss"
local volumes = require "spec.volumes"

local saros, vss = helper.saros, shared.vss
local there = pcall(require, "saros.client.mariadb")

local case = {
  --- Why there is nothing to be had, or nil.
  missing = not there and "saros.client.mariadb was left out of this build"
    or mariadb.missing or volumes.missing,
}
if case.missing then return case end

local writers = require "saros.writers.mariadb"
local kind = assert(require "saros.writers.kind".of "mariadb")
local place = require "saros.place"

case.writers = writers

--- A file system that others than root come to: btrfs, or as volumes.make has
--- them.
function case.volume(type, megabytes, options)
  local v, why = volumes.make(type or "btrfs", megabytes or 3000, options)
  if not v then return nil, why end
  local text, good = volumes.run("chmod 755 '%s' '%s'", v.path:match "^(.*)/",
    v.path)
  assert(good, text)
  return v
end

--- A server: `m.volume` is the file system, `m.data` in it, `m.d` a directory for
--- state. nil and why: there is no btrfs to be had.
---@param options? table as of spec.servers.mariadb, and `volume`, if it is made
function case.start(options)
  local o = { binlog = true }
  for name, item in pairs(options or {}) do o[name] = item end
  local v, why = o.volume, nil
  if not v then v, why = case.volume() end
  if not v then return nil, why end
  local d = shared.directory()
  o.data, o.volume = v.path .. "/data", nil
  local ok, m = pcall(mariadb.start, o)
  if not ok then
    v.close()
    getmetatable(d).__close()
    error(m, 0)
  end
  m.volume, m.d = v, d
  return setmetatable({}, { __index = m, __newindex = m, __close = function()
    m:__close()
    v.close()
    getmetatable(d).__close()
  end })
end

--- The writer of a server.
function case.writer(m, options)
  local o = { socket = m.socket, user = "root", connect_timeout = 20 }
  for name, item in pairs(options or {}) do o[name] = item end
  return writers.writer(o)
end

--- A shadow of its file system.
function case.shadow(m, options)
  local o = { paths = { m.volume.path }, provider = "btrfs",
    state_dir = m.d.state }
  for name, item in pairs(options or {}) do o[name] = item end
  return vss.shadow(o)
end

--- One that is told when the server is held still, and (`thaw`) that it is not.
function case.witness(handlers)
  handlers.id, handlers.name = shared.id(9), "witness"
  handlers.level = handlers.level or "system"
  return vss.writer(handlers)
end

--- What is known of a component of which this was said.
function case.component(m, said)
  return { type = "database", name = "data",
    files = { m.data, said and said.settings.innodb_undo_directory },
    said = said or { settings = { datadir = m.data } } }
end

-- Where something is in the shadows.
local function in_shadows(set)
  return function(path)
    local found
    for top, shadow in pairs(set) do
      if (path .. "/"):sub(1, #top + 1) == top .. "/" then
        found = shadow.path .. path:sub(#top + 1)
      end
    end
    return found
  end
end

--- Calls f with a server on a copy of the shadow, and returns what it returned;
--- nil, err when that does not start.
function case.on_copy(m, set, said, f)
  local c = case.component(m, said)
  return saros.spawn(function()
    local p <close> = place.of_shadow { paths = c.files, scratch = "/tmp",
      at = in_shadows(set) }
    assert(kind.settle(c, p))
    local s <close>, err = kind.start(c, p)
    if not s then return nil, err end
    return f(function(sql)
      local rows = assert(s.db:query(sql):wait())
      return rows[1] and rows[1].r
    end)
  end):wait()
end

--- The check of the kind, of a copy of the shadow that `change` may spoil.
function case.checked(m, set, said, change)
  local c = case.component(m, said)
  return saros.spawn(function()
    local p <close> = place.of_shadow { paths = c.files, scratch = "/tmp",
      at = in_shadows(set) }
    if change then change(p) end
    assert(kind.settle(c, p))
    return kind.check(c, p)
  end):wait()
end

--- The error at the bottom.
function case.root_of(err)
  while err.cause do err = err.cause end
  return err
end

--- Whether somebody may commit now: an insert that waits so long at most.
function case.commits(m, seconds)
  return m:try(("SET SESSION lock_wait_timeout = %d; INSERT INTO app.w VALUES ()")
    :format(seconds or 20)) ~= nil
end

-- A transaction: a line of the ledger, and a move between two accounts.
local moves <const> = [[
  n=$1 i=$2
  while :; do
    n=$((n + 1)) a=$((n % 10)) b=$((n % 10 + 1 + n % 7))
    echo "BEGIN; INSERT INTO led VALUES ($i, $n, REPEAT('$n ', $n % 200), $n * 7);"
    echo "UPDATE acc SET v = v - $n, c = c + 1 WHERE id = $a;"
    echo "UPDATE acc SET v = v + $n, c = c + 1 WHERE id = $b; COMMIT; SELECT $n;"
  done | exec mariadb --no-defaults --socket="$3" --user=root --database=app \
    --batch --skip-column-names --unbuffered >"$4" 2>&1
]]

--- Starts some who write: transactions 1, 2, 3, … of each, which it says when
--- they are acknowledged. Ends with its block.
function case.load(m, count)
  m:sql [[CREATE TABLE IF NOT EXISTS led (i INT, n INT, x TEXT, seven INT,
      PRIMARY KEY (i, n), KEY (seven));
    CREATE TABLE IF NOT EXISTS acc (id INT PRIMARY KEY, v BIGINT, c BIGINT);
    INSERT IGNORE INTO acc SELECT seq, 0, 0 FROM seq_0_to_20]]
  local script = m.root .. "/load.sh"
  outside.write(script, moves)
  local streams = {}
  for i = 1, count do
    local path = ("%s/ledger%d"):format(m.root, i)
    outside.write(path, "") -- not that of another load
    streams[i] = { path = path, process = outside.start("sh", script, "0",
      tostring(i), m.socket, path) }
  end
  local w = {}
  --- The last number of each that was acknowledged.
  function w.acknowledged()
    local list = {}
    for i, s in ipairs(streams) do
      local text = outside.content(s.path) or ""
      assert(not text:find "ERROR", text)
      list[i] = tonumber(text:match "(%d+)\n[^\n]*$") or 0
    end
    return list
  end
  --- Waits until each has had so many more.
  function w.goes_on(more)
    local from = w.acknowledged()
    outside.eventually(more .. " more are acknowledged", function()
      for i, n in ipairs(w.acknowledged()) do
        if n < from[i] + more then return false end
      end
      return true
    end)
  end
  return setmetatable(w, { __close = function()
    for _, s in ipairs(streams) do s.process:__close() end
  end })
end

--- What must hold of the ledger wherever it is: `one` asks for a value called r.
--- How many transactions of each stream there are.
function case.audit(one, count)
  local function number(sql) return math.tointeger(tonumber(one(sql))) end
  local list, all = {}, 0
  for i = 1, count do
    local of <const> = " AS r FROM app.led WHERE i = " .. i
    list[i] = number("SELECT COUNT(*)" .. of)
    all = all + list[i]
    assert(number("SELECT IFNULL(MAX(n), 0)" .. of) == list[i],
      "there is a hole in the ledger")
  end
  assert(number "SELECT COUNT(*) AS r FROM app.led WHERE seven <> n * 7" == 0)
  assert(number "SELECT SUM(v) AS r FROM app.acc" == 0, "a torn transaction")
  assert(number "SELECT SUM(c) AS r FROM app.acc" == 2 * all,
    "accounts and ledger do not agree")
  return list
end

--- A server with a table to write to, or why there is none.
function case.writable(options)
  local m, why = case.start(options)
  if m then m:sql "CREATE TABLE w (n INT PRIMARY KEY AUTO_INCREMENT)" end
  return m, why
end

--- The shadow that could not be made: why, at the bottom.
function case.fails(m, options)
  local set, err = case.shadow(m, options):wait()
  assert(set == nil, "there is a shadow")
  assert(m.d.left() == "", m.d.left())
  return case.root_of(err), err
end

--- Connections that hold it still.
function case.sessions(m)
  local list = {}
  for id in m:sql [[SELECT id FROM information_schema.processlist
    WHERE id <> CONNECTION_ID() AND user = 'root']]:gmatch "%d+"
  do
    list[#list + 1] = tonumber(id)
  end
  return list
end

--- Ends them: a server notices late that nobody waits for an answer.
function case.throw_out(m)
  for _, id in ipairs(case.sessions(m)) do m:sql("KILL " .. id) end
  outside.eventually("they are gone", function()
    return #case.sessions(m) == 0
  end)
end

return case
