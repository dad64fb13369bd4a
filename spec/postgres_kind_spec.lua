-- What is known of a PostgreSQL cluster by its files alone: how they are made to
-- start somewhere else, and what is not started at all.
local helper = require "spec.helper"
local outside = require "spec.outside"
local servers = require "spec.servers.postgres"

if servers.missing then
  describe("the kind of PostgreSQL", function() pending(servers.missing) end)
  return
end

local core = helper.core
local kind = require "saros.writers.kind"
local place = require "saros.place"
local k = assert(kind.of "6c2a7f0e-52a5-4f43-8f0a-9a3c6c1b7d01")

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; "
    .. command:format(...)))
  return (pipe:read "a":gsub("\n$", ""))
end

-- A cluster that was stopped, with its log and a tablespace elsewhere: made once.
local made

local function cluster()
  if made then return made end
  local d, away = servers.directory()
  made = { d = d, away = away, pg = servers.start { at = d .. "/home",
    wal = d .. "/wal" } }
  made.pg:tablespace("space", d .. "/space")
  made.pg:must [[CREATE TABLE t TABLESPACE space AS
    SELECT n FROM generate_series(1, 1000) n]]
  made.pg:stop()
  return made
end

local function unmake()
  if not made then return end
  local _ <close> = made.away
  made.pg:close()
end

-- f(p, c, at, pg, d): as it lies in a place that is a tree of the spec's; at(path)
-- is where.
local function with(f, said)
  local m = cluster()
  local pg, d = m.pg, m.d
  local c = { name = "x", files = { pg.data, d .. "/wal/pg_wal",
    d .. "/space" }, said = { mode = "atomic", superuser = "pg",
    data_directory = pg.data } }
  for name, item in pairs(said or {}) do c.said[name] = item end
  local root, _ <close> = servers.directory()
  sh("mkdir -p %s%s; cp -a %s %s %s %s%s", root, d, d .. "/home", d .. "/wal",
    d .. "/space", root, d)
  helper.task(function()
    local p = place.of_tree { root = root, paths = c.files }
    f(p, c, function(path) return root .. path end, pg, d)
  end)
end

local function link(path) return sh("readlink %s", path) end

local function refused(text, p, c)
  local ok, err = k.settle(c, p)
  assert.is_nil(ok)
  assert.match(text, err.message)
  assert.is_nil(err.untried)
end

describe("the kind of PostgreSQL", function()
teardown(unmake)

describe("settle", function()
  it("starts nothing of a version outside of a cell", function()
    with(function(p, c)
      local cell = require "saros.cell"
      local why <const> = cell.why
      local _ <close> = setmetatable({}, { __close = function()
        cell.why = why
      end })
      cell.why = function() return { message = "there is none" } end
      p.drilled = true
      assert(k.settle(c, p))
      local ok, err = k.check(c, p)
      assert.is_nil(ok)
      assert.is_true(err.untried)
      assert.match("outside of one", err.message)
    end)
  end)

  it("leads links into the place, and takes away what was running", function()
    with(function(p, c, at, pg, d)
      local data = at(pg.data)
      for _, name in ipairs { "postmaster.pid", "postmaster.opts",
        "pg_notify/0000", "pg_stat_tmp/x", "backup_label",
        "base/pgsql_tmp/x" }
      do
        sh("mkdir -p $(dirname %s/%s); echo 1 >%s/%s", data, name, data, name)
      end
      sh("mkdir %s/pg_replslot/s; echo 1 >%s/pg_replslot/s/state; "
        .. "rmdir %s/pg_snapshots", data, data, data)
      for _ = 1, 2 do -- and once more, which changes nothing
        assert(k.settle(c, p))
        assert.equal(at(d .. "/wal/pg_wal"), link(data .. "/pg_wal"))
        assert.equal(at(d .. "/space"), link(data .. "/pg_tblspc/*"))
        assert.equal("", sh("find %s/post*.pid %s/post*.opts %s/backup_label "
          .. "%s/pg_notify/* %s/pg_replslot/* %s/base/pgsql_tmp 2>/dev/null",
          data, data, data, data, data, data))
        assert.equal("65534 700", sh("stat -c '%%u %%a' %s/pg_snapshots", data))
      end
      assert.equal("passed", assert(k.check(c, p)).amcheck)
    end)
  end)

  it("starts nothing that leads out", function()
    for _, hostile in ipairs {
      { "pg_wal", "/etc" }, { "pg_wal", "../../../../../../../etc" },
      { "pg_tblspc/99", "/var/lib/postgresql" }, { "base/5", "/etc" },
      { "pg_xact", "/etc" }, { "global/1", "/etc/passwd" },
    } do
      with(function(p, c, at, pg)
        local path = at(pg.data) .. "/" .. hostile[1]
        sh("rm -rf %s; ln -s %s %s", path, hostile[2], path)
        refused("leads to .*, which is not among the files", p, c)
      end)
    end
  end)

  it("is not deceived by a link on the way", function()
    with(function(p, c, at, _, d)
      sh("rm -r %s; ln -s /etc %s", at(d .. "/space"), at(d .. "/space"))
      refused("which is not among the files", p, c)
    end)
    with(function(p, c, at, pg)
      sh("mv %s %s.x; ln -s /etc %s", at(pg.data), at(pg.data), at(pg.data))
      local ok, err = k.settle(c, p)
      assert.is_nil(ok)
      assert.match("PG_VERSION", err.message)
    end)
  end)

  it("follows a tablespace map, which the server would follow out", function()
    with(function(p, c, at, pg, d)
      local data = at(pg.data)
      local oid = sh("ls %s/pg_tblspc", data)
      outside.write(data .. "/tablespace_map", oid .. " " .. d .. "/space\n")
      c.said.mode = nil
      assert(k.settle(c, p))
      assert.equal(at(d .. "/space"), link(data .. "/pg_tblspc/" .. oid))
      assert.is_nil(outside.content(data .. "/tablespace_map"))
      outside.write(data .. "/tablespace_map", oid .. " /etc\n")
      refused("the tablespace %d+, in /etc, is not among the files", p, c)
    end)
  end)

  it("starts no copy of a running cluster without its label and log", function()
    local wal = { first = ("0"):rep(23) .. "1", last = ("0"):rep(23) .. "2" }
    with(function(p, c, at, pg)
      refused("has no backup_label", p, c)
      outside.write(at(pg.data) .. "/backup_label", "START")
      refused("the log from .* is not there", p, c)
      c.said.pending = true
      local ok, err = k.settle(c, p)
      assert.is_nil(ok)
      assert.is_true(err.untried)
    end, { mode = "backup", wal = wal })
  end)

  it("tells a configuration elsewhere where this copy lies", function()
    with(function(p, c, at, pg, d)
      sh("mkdir %s; echo \"data_directory = '%s'\" >%s/postgresql.conf; "
        .. "touch %s/pg_hba.conf", at(d .. "/etc"), pg.data, at(d .. "/etc"),
        at(d .. "/etc"))
      c.said.config_file = d .. "/etc/postgresql.conf"
      c.said.hba_file = d .. "/etc/pg_hba.conf"
      for _ = 1, 2 do assert(k.settle(c, p)) end
      assert.equal(([[data_directory = '%s'

# saros: where this copy lies
data_directory = '%s'
external_pid_file = ''
hba_file = '%s']]):format(pg.data, at(pg.data), at(c.said.hba_file)),
        (sh("sed 's/^external.*/x/' %s", at(c.said.config_file))
          :gsub("\nhba_file = ([^\n]*)\nx$",
            "\nexternal_pid_file = ''\nhba_file = %1")))
    end)
  end)

  it("looks at what a version says before it believes it", function()
    with(function(p, c)
      for _, path in ipairs { "relative", "/a/../etc", 1, "/a\nb" } do
        c.said.data_directory = path
        refused("does not say where its data directory was", p, c)
      end
      c.said.data_directory = "/by/another/name"
      assert(k.settle(c, p))
      c.files = { "/nowhere" }
      refused("is not among the files", p, c)
    end)
  end)
end)

describe("check", function()
  it("takes no setting from the cluster, whatever that has", function()
    with(function(p, c, at, pg, d)
      outside.write(at(pg.data) .. "/postgresql.auto.conf", ([[
        shared_preload_libraries = 'no_such_library'
        local_preload_libraries = 'no_such_library'
        archive_mode = on
        archive_command = 'touch %s/archived'
        listen_addresses = '*'
        unix_socket_directories = '%s'
        primary_conninfo = 'host=127.0.0.1'
        huge_pages = on
        zero_damaged_pages = on
        ssl = on
        logging_collector = on
        log_min_messages = panic
        default_transaction_read_only = on
      ]]):format(d, d))
      outside.write(at(pg.data) .. "/postgresql.conf", "nonsense {")
      assert(k.settle(c, p))
      assert.equal("off", assert(k.check(c, p)).checksums)
      assert.is_nil(outside.content(d .. "/archived"))
    end)
  end)

  it("of a version that is not installed is not tried", function()
    with(function(p, c, at, pg)
      outside.write(at(pg.data) .. "/PG_VERSION", "10\n")
      assert(k.settle(c, p))
      local ok, err = k.check(c, p)
      assert.is_nil(ok)
      assert.is_true(err.untried)
      assert.match("PostgreSQL 10 is not installed", err.message)
    end)
  end)

  it("finds a page that is not what was written", function()
    local d, _ <close> = servers.directory()
    local pg <close> = servers.start { at = d .. "/home", checksums = true }
    pg:must "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n"
    local path = pg:must "SELECT pg_relation_filepath('t')":gsub("\n", "")
    pg:stop()
    local c = { name = "x", files = { pg.data }, said = { mode = "atomic",
      superuser = "pg" } }
    -- One byte, where amcheck does not look: in the middle of free room.
    local file <close> = assert(io.open(pg.data .. "/" .. path, "r+"))
    file:seek("set", 8192 * 22 + 4000)
    local byte = file:read(1):byte()
    file:seek("set", 8192 * 22 + 4000)
    file:write(string.char(byte ~ 1))
    file:close()
    helper.task(function()
      local p <close> = place.of_shadow { paths = c.files,
        at = function(x) return x end }
      assert(k.settle(c, p))
      local ok, err = k.check(c, p)
      assert.is_nil(ok)
      assert.is_nil(err.untried)
      local problems = table.concat(err.problems, "\n")
      assert.truthy(problems:find "checksum" or problems:find "invalid page",
        problems)
    end)
  end)

  it("leaves nobody behind when it is cancelled", function()
    with(function(p, c, at, pg)
      assert(k.settle(c, p))
      local op = core.spawn(k.check, c, p)
      while not outside.content(at(pg.data) .. "/postmaster.pid") do
        core.sleep(0.005):wait()
      end
      op:cancel()
      op:wait()
      assert.equal("", sh("find /proc/[0-9]* -maxdepth 1 -name cwd -lname '%s'"
        .. " 2>/dev/null", at(pg.data)))
    end)
  end)
end)

describe("plan", function()
  it("brings a cluster up below another root, by a shell", function()
    with(function(p, c, at, pg, d)
      local data = at(pg.data)
      local oid = sh("ls %s/pg_tblspc", data)
      local etc = d .. "/etc/postgresql"
      sh("mkdir -p %s; mv %s/*.conf %s; mv %s/postgresql.auto.conf %s",
        at(etc), data, at(etc), at(etc), data)
      sh("printf \"data_directory = '%s'\\nhba_file = '%s/pg_hba.conf'\\n"
        .. "unix_socket_directories = '%s'\\nexternal_pid_file = '%s/pid'\\n\" "
        .. ">>%s/postgresql.conf", pg.data, etc, at(pg.socket), d, at(etc))
      sh("mkdir %s; chown 65534 %s; echo 1 >%s/postmaster.pid", at(pg.socket),
        at(pg.socket), data)
      c.said.config_file, c.said.hba_file = etc .. "/postgresql.conf",
        etc .. "/pg_hba.conf"
      c.said.wal_directory = d .. "/wal/pg_wal"
      c.said.tablespaces = { { oid = oid, path = d .. "/space" } }
      c.said.version_num = pg.major * 10000
      local function quote(text) return "'" .. text .. "'" end
      local lines = k.plan(c, { owner = "65534:65534", quote = quote,
        at = function(_, path) return '"$ROOT"' .. quote(path) end })
      local commands = { "ROOT=" .. p.root }
      for _, line in ipairs(lines) do
        commands[#commands + 1] = line:match "^    (.*)$"
      end
      outside.write(d .. "/plan.sh", table.concat(commands, "\n") .. "\n")
      local said, _, status = outside.run("sh", "-eu", d .. "/plan.sh")
      assert.equal(0, status, said)
      assert.match("template1", said)
      assert.equal(at(d .. "/space"), link(data .. "/pg_tblspc/" .. oid))
      -- As always, by its own configuration.
      local as = "cd /; setpriv --reuid=65534 --regid=65534 --clear-groups "
        .. pg.bin .. "/pg_ctl -w -D " .. data
      local up = sh("%s -l %s/log -o '-c config_file=%s/postgresql.conf' start",
        as, at(pg.socket), at(etc))
      local count = sh("%s/psql -XAtq -h %s -p %d -U pg -d postgres -c "
        .. "'SELECT count(*) FROM t'", pg.bin, at(pg.socket), pg.port)
      sh("%s -m immediate stop", as)
      assert.equal("1000", count, up)
      assert.is_nil(outside.content(d .. "/pid"))
    end)
  end)
end)

describe("what it writes", function()
  it("is all there, or fails", function()
    local files = require "saros.writers.postgres_kind.files"
    local good, err = pcall(files.write, "/dev/full", "local all all trust\n")
    assert.is_false(good)
    assert.match("/dev/full: No space left on device", err.message)
  end)
end)

describe("busy", function()
  it("is where a server runs", function()
    local pg <close> = servers.start()
    local c = { name = "x", files = { pg.data }, said = {} }
    local here = { root = "", at = function(_, path) return path end }
    local function busy()
      local answer
      helper.task(function() answer = k.busy(c, here) end)
      return answer
    end
    assert.equal(("PostgreSQL runs on %s (process %d): stop it first")
      :format(pg.data, pg.pid), (busy():gsub("process %d+", "process "
      .. pg.pid)))
    pg:kill() -- its number is in there still
    assert.truthy(outside.content(pg.data .. "/postmaster.pid"))
    assert.is_nil(busy())
  end)
end)

end)
