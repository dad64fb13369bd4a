-- saros.writers.mariadb: shadows of a server that is written to all the time.
local helper = require "spec.helper"
local outside = require "spec.outside"
local case = require "spec.mariadb_case"
local shared = require "spec.vss"

if case.missing then
  describe("saros.writers.mariadb", function() pending(case.missing) end)
  return
end

local saros, vss = helper.saros, shared.vss
local code = saros.code

local function sh(text, ...)
  local said, _, status = outside.run("sh", "-ec", text:format(...))
  assert(status == 0, said)
end

describe("a shadow of a busy server", function()
  local m, why

  setup(function()
    -- Nobody writes the log of the engine to the disk behind our back.
    m, why = case.start { args = { "--innodb-flush-log-at-timeout=2700" } }
    if m then m:sql "CREATE TABLE w (n INT PRIMARY KEY AUTO_INCREMENT)" end
  end)
  teardown(function() if m then getmetatable(m).__close() end end)

  it("has what was acknowledged, and nothing that came later", function()
    if not m then pending(why) return end
    m:sql "CREATE TABLE my (n INT) ENGINE=MyISAM; INSERT INTO my VALUES (1)"
    local w <close> = case.writer(m)
    local load <close> = case.load(m, 2)
    load.goes_on(30)
    local before, held, position, blocked
    local _ <close> = case.witness {
      prepare_snapshot = function() before = load.acknowledged() end,
      freeze = function()
        held = m:sql "SELECT COUNT(*) FROM led"
        position = m:sql "SHOW MASTER STATUS"
        blocked = not case.commits(m, 1)
      end,
      thaw = function()
        assert(m:sql "SELECT COUNT(*) FROM led" == held)
      end,
    }
    local set <close> = assert(case.shadow(m):wait())
    assert.is_true(blocked)
    load.goes_on(30)
    local said = set:said(w.instance).components.data
    assert.equal("application", said.consistency)
    assert.match("^MariaDB 10", said.server)
    local file, at = position:match "(%S+)\t(%d+)"
    assert.match(file .. ":" .. at, said.position, 1, true)
    assert.match("^GTID 0%-1%-%d+, ", said.position)
    local there = assert(case.on_copy(m, set, said, function(one)
      return case.audit(one, 2)
    end))
    assert.equal(held, tostring(there[1] + there[2]))
    for i = 1, 2 do assert.is_true(before[i] <= there[i]) end
    local r = assert(case.checked(m, set, said))
    assert.is_nil(r.warnings) -- also of tables without transactions
    assert.is_true(r.tables > 20)
    assert(set:backup_complete():wait())
  end)

  it("needs no binary log for the last commit", function()
    if not m then pending(why) return end
    -- Nobody comes after it, who would have brought its end to the disk.
    m:sql "CREATE TABLE last (n INT PRIMARY KEY); INSERT INTO last VALUES (7)"
    local w <close> = case.writer(m)
    local set <close> = assert(case.shadow(m):wait())
    local said = set:said(w.instance).components.data
    said.settings.log_bin = nil
    assert.equal("7", assert(case.on_copy(m, set, said, function(one)
      return one "SELECT n AS r FROM app.last"
    end)))
  end)

  it("is refused where the copy would not be of one instant", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m)
    for _, provider in ipairs { "copy", "reflink" } do
      local set, err = case.shadow(m, { provider = provider }):wait()
      assert.is_nil(set)
      err = case.root_of(err)
      assert.equal(code.SAROS_E_REFUSED, err.code)
      assert.match("by the provider " .. provider, err.message)
      assert.match("mariadb%-dump", err.message)
      assert.is_true(case.commits(m))
      assert.equal("", m.d.left())
    end
    assert(w:is_open())
  end)

  it("says so when only a part of it is in the set", function()
    if not m then pending(why) return end
    local w <close> = case.writer(m)
    local set <close> = assert(case.shadow(m, { paths = { m.data .. "/app" },
      provider = "copy" }):wait())
    local said = set:said(w.instance).components.data
    assert.equal("none", said.consistency)
    assert.match("is not in the shadows", said.why)
    assert.match(m.data, said.why, 1, true)
  end)

  it("does not hold what was not asked for", function()
    if not m then pending(why) return end
    local config = m.d.root .. "/my.cnf"
    outside.write(config, "[mysqld]\n")
    local w <close> = case.writer(m, { config = { config } })
    local free
    local _ <close> = case.witness { freeze = function()
      free = case.commits(m, 1)
    end }
    local set <close> = assert(case.shadow(m, { paths = { m.d.root },
      provider = "copy" }):wait())
    assert.is_true(free)
    assert.is_nil(set:said(w.instance))
  end)

  it("lets go when the shadow fails elsewhere, or is cancelled", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m)
    do
      local _ <close> = case.witness { freeze = function() return nil, "no" end }
      assert.is_nil((case.shadow(m):wait()))
      assert.is_true(case.commits(m))
    end
    local gate, op = helper.gate()
    local entered = false
    local _ <close> = case.witness { freeze = function()
      entered = true
      op:wait()
    end }
    local run = case.shadow(m)
    shared.until_true(function() return entered end)
    assert.is_false(case.commits(m, 1))
    assert.equal(0, run:cancel())
    assert.is_nil((run:wait()))
    assert.is_true(case.commits(m))
    assert.equal("", m:sql [[SELECT id FROM information_schema.processlist
      WHERE info LIKE 'BACKUP%']])
    gate:finish(0)
  end)

  it("lets go when its writer is closed", function()
    if not m then pending(why) return end
    local w = case.writer(m)
    local _ <close> = case.witness { freeze = function() w:close() end }
    assert.is_nil((case.shadow(m):wait()))
    assert.is_true(case.commits(m))
  end)

  it("purges binary logs only after a full backup that went well", function()
    if not m then pending(why) return end
    local _ <close> = case.writer(m, { purge_binlogs = true })
    local function logs()
      local list = {}
      for name in m:sql "SHOW BINARY LOGS":gmatch "binlog%.%d+" do
        list[#list + 1] = name
      end
      return list
    end
    m:sql "FLUSH BINARY LOGS; FLUSH BINARY LOGS"
    local all = logs()
    assert(#all >= 3)
    for _, o in ipairs { { "copy", true }, { "full", false } } do
      local set <close> = assert(case.shadow(m, { type = o[1] }):wait())
      assert(set:backup_complete(o[2]):wait())
      assert.same(all, logs())
    end
    do -- never said to be complete
      local _ <close> = assert(case.shadow(m, { type = "full" }):wait())
    end
    assert.same(all, logs())
    local set <close> = assert(case.shadow(m, { type = "full" }):wait())
    assert(set:backup_complete():wait())
    assert.same({ all[#all] }, logs())
  end)
end)

describe("a shadow of a server on two file systems", function()
  it("is whole when both are frozen together", function()
    local below <close>, why = case.volume("xfs", 1200,
      { mkfs = "-m reflink=1" })
    if not below then pending(why) return end
    local o = { directory = below.path }
    local one <close> = assert(case.volume("ext4", 200, o))
    local two <close> = assert(case.volume("ext4", 100, o))
    sh("rm -r '%s'/lost+found '%s'/lost+found; chown 65534:65534 '%s'",
      one.path, two.path, two.path)
    local m <close> = assert(case.start { volume = one, args = {
      "--innodb-undo-directory=" .. two.path, "--innodb-undo-tablespaces=3" } })
    local w <close> = case.writer(m)
    local load <close> = case.load(m, 2)
    load.goes_on(20)
    local held
    local _ <close> = case.witness { freeze = function()
      held = m:sql "SELECT COUNT(*) FROM led"
    end }
    local set <close> = assert(case.shadow(m, { provider = "image",
      paths = { one.path, two.path } }):wait())
    load.goes_on(20)
    local said = set:said(w.instance).components.data
    assert.equal("application", said.consistency)
    assert.equal(two.path, said.settings.innodb_undo_directory)
    assert(case.checked(m, set, said))
    local there = assert(case.on_copy(m, set, said, function(ask)
      return case.audit(ask, 2)
    end))
    assert.equal(held, tostring(there[1] + there[2]))
  end)
end)

describe("mariadb.writer", function()
  local function metadata(m, options)
    local w <close> = case.writer(m, options)
    local s <close> = vss.components { state_dir = m.d.state }
    s:initialize_for_backup()
    local r = assert(s:gather_writer_metadata():wait())
    local said = s:writers()[1]
    return said, r.left_out, w.instance
  end

  it("says what it has", function()
    local v, why = case.volume()
    if not v then pending(why) return end
    local _ <close> = v
    sh("mkdir '%s/logs' '%s/redo' '%s/undo' '%s/far'; chown 65534:65534 '%s'/*",
      v.path, v.path, v.path, v.path, v.path)
    local m <close> = assert(case.start { binlog = v.path .. "/logs/bin",
      args = { "--innodb-undo-directory=" .. v.path .. "/undo" } })
    m:sql(("CREATE TABLE t (n INT) DATA DIRECTORY='%s/far'"):format(v.path))
    local said, _, instance = metadata(m, { name = "mine",
      config = { "/etc/hostname" } })
    helper.contains({ id = case.writers.id, instance = instance, name = "mine",
      guard = "connection" }, said)
    local files = {}
    for _, c in ipairs(said.components) do
      files[c.type .. " " .. c.name] = c.files
    end
    assert.same({
      ["database data"] = { m.data, v.path .. "/far/app/t.ibd",
        v.path .. "/undo" },
      ["filegroup data-binlogs"] = { v.path .. "/logs" },
      ["filegroup data-config"] = { "/etc/hostname" },
    }, files)

    -- Where a link leads.
    m:stop()
    sh("cd '%s' && mv data there && ln -s there data", m.volume.path)
    m:go_on()
    said = metadata(m)
    assert.equal("data", said.components[1].name)
    assert.equal(m.volume.path .. "/there", said.components[1].files[1])

    -- Two file systems, each a shadow of an instant of its own.
    local _ <close> = case.writer(m)
    local set, err = case.shadow(m, { paths = { m.volume.path, v.path } }):wait()
    assert.is_nil(set)
    err = case.root_of(err)
    assert.equal(code.SAROS_E_REFUSED, err.code)
    assert.match("not of one instant", err.message)
    m:sql "INSERT INTO t VALUES (1)"
  end)

  it("is left out, with the reason, where it cannot ask", function()
    local m <close>, why = case.start()
    if not m then pending(why) return end
    m:sql "CREATE USER poor@localhost; CREATE USER u@localhost IDENTIFIED BY 'x'"
    local said, left = metadata(m, { user = "u" })
    assert.is_nil(said)
    assert.match("Access denied for user 'u'@'localhost'", left[1].message)
    assert.match("check user", left[1].message)
    -- Who may log in, but not hold it still.
    local _ <close> = case.writer(m, { user = "poor" })
    local set, err = case.shadow(m):wait()
    assert.is_nil(set)
    assert.match("RELOAD", case.root_of(err).message)
    m:sql "GRANT RELOAD ON *.* TO poor@localhost"
    local held <close> = assert(case.shadow(m):wait())
    assert.equal(0, held.writers[1].failure)
  end)

  it("says of one encrypted table that nobody here can look at it", function()
    local plugin -- or where that of a package lies that is not installed
    for _, path in ipairs { "/usr/lib/mysql/plugin", "/usr/lib64/mysql/plugin",
      os.getenv "SAROS_MARIADB_PLUGINS" }
    do
      if not plugin and outside.content(path .. "/file_key_management.so") then
        plugin = path
      end
    end
    if not plugin then return pending "needs file_key_management" end
    local keys <close> = shared.directory()
    sh("chmod 755 %s; echo '1;%s' >%s/keys; chmod 644 %s/keys", keys.root,
      ("0123456789abcdef"):rep(4), keys.root, keys.root)
    local m <close>, why = case.start { args = { "--plugin-maturity=unknown",
      "--plugin-dir=" .. plugin, "--plugin-load-add=file_key_management",
      "--file-key-management-filename=" .. keys.root .. "/keys" } }
    if not m then pending(why) return end
    m:sql [[CREATE TABLE open (n INT) ENGINE=InnoDB;
      INSERT INTO open VALUES (1);
      CREATE USER u@localhost; GRANT RELOAD ON *.* TO u@localhost;
      GRANT SELECT ON app.* TO u@localhost]]
    for _, user in ipairs { "root", "u" } do
      m:sql "DROP TABLE IF EXISTS secret"
      for _, table in ipairs { "none", "the table app/secret" } do
        local w <close> = case.writer(m, { user = user })
        local set <close> = assert(case.shadow(m):wait())
        local said = set:said(w.instance).components.data
        assert.equal(table, said.settings.encrypted or "none")
        if table ~= "none" and user == "root" then
          -- Not that it was damaged: a server without the keys does not start.
          local r, err = case.on_copy(m, set, said, function() end)
          assert.is_nil(r)
          assert.is_true(err.untried)
          assert.match("encrypted %(the table app/secret%)", err.message)
        end
        m:sql [[CREATE TABLE IF NOT EXISTS secret (n INT) ENGINE=InnoDB
          ENCRYPTED=YES; INSERT INTO secret VALUES (1)]]
      end
    end
  end)

  it("refuses what is not MariaDB", function()
    local m <close>, why = case.start { args = { "--version=8.0.36" } }
    if not m then pending(why) return end
    local _, left = metadata(m)
    assert.match("not MariaDB but says that it is 8.0.36", left[1].message)
    assert.match("mysqldump", left[1].message)
  end)

  it("raises for options that make no sense", function()
    for _, bad in ipairs { {}, { socket = 1 }, { socket = "/x", other = 1 },
      { socket = "/x", level = "no" }, { socket = "/x", id = "no" },
      { socket = "/x", password = "secret" } }
    do
      assert.has_error(function() case.writers.writer(bad) end)
    end
    assert.has_error(function() case.writers.writer() end)
  end)
end)
