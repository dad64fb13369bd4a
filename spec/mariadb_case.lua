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

--- A file system that others than root come to.
function case.volume()
  local v, why = volumes.make("btrfs", 400)
  if not v then return nil, why end
  local text, good = volumes.run("chmod 755 '%s' '%s'", v.path:match "^(.*)/",
    v.path)
  assert(good, text)
  return v
end

--- A server: `m.volume` is the file system, `m.data` in it, `m.d` a directory for
--- state. nil and why: there is no btrfs to be had.
---@param options? table as of spec.servers.mariadb
function case.start(options)
  local v, why = case.volume()
  if not v then return nil, why end
  local d = shared.directory()
  local o = { data = v.path .. "/data", binlog = true }
  for name, item in pairs(options or {}) do o[name] = item end
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
  return { type = "database", name = "data", files = { m.data },
    said = said or { settings = { datadir = m.data } } }
end

--- Calls f with a server on a copy of the shadow, and returns what it returned;
--- nil, err when that does not start.
function case.on_copy(m, set, said, f)
  local c = case.component(m, said)
  local top = m.volume.path
  return saros.spawn(function()
    local p <close> = place.of_shadow { paths = c.files, scratch = "/tmp",
      at = function(path) return set[top].path .. path:sub(#top + 1) end }
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
  local top = m.volume.path
  return saros.spawn(function()
    local p <close> = place.of_shadow { paths = c.files, scratch = "/tmp",
      at = function(path) return set[top].path .. path:sub(#top + 1) end }
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

--- Starts somebody who inserts 1, 2, 3, … and says each number when it is
--- acknowledged.
function case.inserting(m)
  local script = outside.write
  local path = m.root .. "/insert.sh"
  script(path, ([[
    n=$1
    while :; do
      n=$((n + 1))
      echo "INSERT INTO app.led VALUES ($n, REPEAT('$n ', $n %% 200), $n * 7);"
      echo "SELECT $n;"
    done | mariadb --no-defaults --socket='%s' --user=root --batch \
      --skip-column-names --unbuffered >'%s/ledger'
  ]]):format(m.socket, m.root))
  m:sql [[CREATE TABLE IF NOT EXISTS app.led (n INT PRIMARY KEY, x TEXT,
    seven INT, KEY (seven))]]
  local last = m:sql "SELECT IFNULL(MAX(n), 0) FROM app.led"
  local p = outside.start("sh", path, last)
  local w = {}
  --- The last number that was acknowledged.
  function w.acknowledged()
    return tonumber((outside.content(m.root .. "/ledger") or "")
      :match "(%d+)\n[^\n]*$") or tonumber(last)
  end
  function w.reaches(n)
    outside.eventually(("%d are acknowledged"):format(n), function()
      return w.acknowledged() >= n
    end)
  end
  return setmetatable(w, { __close = function() p:__close() end })
end

return case
