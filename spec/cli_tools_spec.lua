-- The verbs that look after the machine and after applications, as somebody
-- calls them: doctor, writers, volumes, transfer, drill, items, recover, report,
-- purge.
local app = require "spec.backup_app"
local bits = require "spec.bits"
local cli = require "spec.cli"
local outside = require "spec.outside"
local shared = require "spec.vss"
local volumes = require "spec.volumes"

local core = require "saros.core"

local ROOT <const> = os.execute "test $(id -u) = 0"

local function lines_of(r)
  local list = {}
  for line in r.out:gmatch "[^\n]+" do
    list[#list + 1] = assert(core.json_read(line), line)
  end
  return list
end

-- Those of a type, by what they are called.
local function by(r, kind, name)
  local found = {}
  for _, line in ipairs(lines_of(r)) do
    if line.type == kind then found[line[name or "name"]] = line end
  end
  return found
end

local function scene()
  local d = shared.directory()
  function d.run(code, argv, env)
    local all = { SAROS_STATE_DIR = d.state, TMPDIR = d.root }
    for name, item in pairs(env or {}) do all[name] = item end
    return cli.ends(code, argv, { env = all })
  end
  local close = getmetatable(d).__close
  getmetatable(d).__close = function(self)
    for _, word in ipairs { "reap", "prune --keep-last 0" } do
      local argv = { "shadows" }
      for part in word:gmatch "%S+" do argv[#argv + 1] = part end
      cli.run(argv, { env = { SAROS_STATE_DIR = d.state } })
    end
    volumes.unmount(d.root)
    close(self)
  end
  return d
end

local function setpriv_missing()
  return not ROOT and "needs root" or not outside.installed "setpriv"
    and "setpriv is not installed" or nil
end

describe("saros doctor", function()
  it("tells what works and what does not, with a remedy", function()
    local d <close> = scene()
    local r = d.run(0, { "doctor", "--quick", d.a })
    assert.match("\n  ok  the guard", r.out)
    assert.match("shadows of " .. d.a:gsub("%p", "%%%0"), r.out)
    assert.match("\n%d+ work, %d+ are missing", r.out)
    r = d.run(0, { "doctor", "--quick", "--problems" })
    assert.is_nil(r.out:find("\n  ok  ", 1, true))
    assert.equal("", (volumes.run("ls -A '%s' | grep doctor", d.root)))
  end)

  it("ends with 14 when nothing could be backed up", function()
    local d <close> = scene()
    os.execute(("mkdir '%s/state'; chmod 777 '%s/state'"):format(d.state,
      d.state))
    local r = d.run(14, { "doctor", "--quick", "--json" })
    local checks = by(r, "check", "id")
    assert.equal("missing", checks.state.state)
    assert.match("can write to", checks.state.why)
  end)

  it("looks as another user", function()
    local why = setpriv_missing() or os.getenv "SAROS_SANITIZER"
      and "who changes users loses what a sanitizer has preloaded"
    if why then return pending(why) end
    local d <close> = scene()
    os.execute(("cd '%s'; chmod 755 .; mkdir -m 700 his his/state; "
      .. "chown 65534 his his/state"):format(d.root))
    local r = d.run(0, { "doctor", "--as", "nobody", "--json", "--scratch",
      d.root .. "/his", "--state-dir", d.root .. "/his/state" })
    local checks = by(r, "check", "id")
    assert.equal("missing", checks.cell.state)
    assert.equal("works", checks["shadow.copy"].state, checks["shadow.copy"].why)
    assert.match("as root", checks.cell.remedy)
    assert.match("there is no user", d.run(4, { "doctor", "--as",
      "--nothing" }).err)
    local said, how, status = outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", "env", "SAROS_CONFIG=/dev/null",
      "SAROS_STATE_DIR=" .. d.root .. "/his", cli.program, "doctor", "--as",
      "root")
    assert.same({ "exit", 13 }, { how, status }, said)
  end)

  it("says that there is no room to try anything", function()
    local d <close> = scene()
    assert.match("nothing can be tried", d.run(1, { "doctor", "--scratch",
      d.root .. "/none" }).err)
  end)
end)

describe("saros writers", function()
  it("lists those that listen, and holds them for real", function()
    local d <close> = scene()
    assert.match("no writers", d.run(0, { "writers" }).err)
    local w <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e", ([[
        local saros = require "saros"
        io.stdout:setvbuf "no"
        local options = { id = %q, name = "ledger", listen = true,
          state_dir = %q, components = { { type = "database", name = "main",
            files = { %q } } } }
        for _, name in ipairs { "freeze", "thaw", "abort" } do
          options[name] = function() print("<" .. name .. ">") end
        end
        local w = saros.vss.writer(options)
        print "listening"
        saros.sleep(1000):wait()
      ]]):format(shared.id(1), d.state, d.a))
    w:expect "listening"
    local r = d.run(0, { "writers" })
    assert.match("ledger +socket", r.out)
    assert.equal("ledger", by(d.run(0, { "writers", "--json", d.a }),
      "writer", "name")["ledger"].name)
    assert.match("no writers", d.run(0, { "writers", d.b }).err)
    r = d.run(0, { "writers", "--test", "--json" })
    local tested = by(r, "tested")["ledger"]
    assert.is_true(tested.ok)
    assert.is_number(tested.held)
    w:expect "<freeze>"
    w:expect "<thaw>"
    assert.equal("", d.left())
    assert.match("goes with", d.run(2, { "writers", "--writer", "x" }).err)
  end)
end)

describe("saros volumes", function()
  it("tells who can of a path, and why the others cannot", function()
    local d <close> = scene()
    local r = d.run(0, { "volumes", d.a, "--json" })
    local providers = by(r, "provider", "provider")
    assert.is_true(providers.copy.supported)
    local best = 0
    for _, p in pairs(providers) do
      if p.best then best = best + 1 end
      assert.is_string(p.supported and p.worth or p.reason)
    end
    assert.equal(1, best)
    d.run(4, { "volumes", d.a .. "/none" })
  end)

  it("lists them", function()
    if not pcall(require, "saros.vds") then
      return pending "saros.vds is not in this build"
    end
    local d <close> = scene()
    local v <close>, why = volumes.make("ext4", 16)
    if not v then return pending(why) end
    local listed = by(d.run(0, { "volumes", "--json" }), "volume", "path")
    local one = listed[v.device]
    assert.same({ "ext4", v.path }, { one.fs, one.mounted })
    assert.is_string(one.provider)
  end)
end)

describe("saros transfer", function()
  if bits.missing then return pending(bits.missing) end
  local server = bits.server
  setup(function() server:start() end)
  teardown(function() server:close() end)

  it("fetches a file to its end", function()
    local d <close> = scene()
    local name = bits.fresh()
    local to = d.root .. "/got"
    local r = d.run(0, { "transfer", "get", server:url(name, 300000), to,
      "--json" })
    server:check(to, name, 300000)
    local list = lines_of(r)
    assert.same({ "summary", 1, 0, 300000 }, { list[#list].type,
      list[#list].transferred, list[#list].failed, list[#list].bytes })
    assert.match("no jobs", d.run(0, { "transfer" }).err)
  end)

  it("leaves what failed in the queue, and goes on with it", function()
    local d <close> = scene()
    local name = bits.fresh()
    local to = d.root .. "/got"
    local url = server:url(name, 1000)
    d.run(1, { "transfer", "get", server:url(bits.fresh(), 9, "plan=404"), to })
    local jobs = lines_of(d.run(0, { "transfer", "list", "--json" }))
    assert.same({ "job", "error" }, { jobs[1].type, jobs[1].state })
    assert.is_string(jobs[1].error)
    d.run(0, { "transfer", "cancel", jobs[1].id:sub(1, 8) })
    local id = d.run(0, { "transfer", "get", url, to, "--queue-only" }).out
      :match "%x+"
    assert.is_nil(d.read(to))
    assert.match("suspended", d.run(0, { "transfer" }).out)
    d.run(0, { "transfer", "resume", id })
    server:check(to, name, 1000)
  end)

  it("interrupted, leaves it in the queue, and goes on", function()
    local d <close> = scene()
    local name = bits.fresh()
    local to = d.root .. "/got"
    local p <close> = outside.start("env", "SAROS_STATE_DIR=" .. d.state,
      "SAROS_CONFIG=/dev/null", cli.program, "transfer", "get",
      server:url(name, 500000, "plan=stall:1000,ok"), to)
    server:stalled(1)
    outside.system.kill(p.pid, 2)
    local said, how, status = p:finish()
    assert.same({ "exit", 130 }, { how, status }, said)
    server:release()
    assert.is_nil(d.read(to))
    assert.equal(1, lines_of(d.run(0, { "transfer", "list", "--json" }))[2].jobs)
    d.run(0, { "transfer", "resume" })
    server:check(to, name, 500000)
  end)

  it("sends a file, and says where it was not taken", function()
    local d <close> = scene()
    local from, name = d.root .. "/sent", bits.fresh()
    outside.write(from, ("all of it\n"):rep(5000))
    local to = ("http://127.0.0.1:%d/u/%s"):format(server.ports[1], name)
    local list = lines_of(d.run(0, { "transfer", "put", from, to, "--json" }))
    assert.same({ "summary", 1, 0, 50000 }, { list[#list].type,
      list[#list].transferred, list[#list].failed, list[#list].bytes })
    assert.equal(outside.content(from), server:ask("u/" .. name))
    assert.match("no jobs", d.run(0, { "transfer" }).err)
    -- What is refused stays in the queue, and the file where it is.
    local r = d.run(1, { "transfer", "put", from, to .. "?plan=403" })
    assert.match("'saros transfer resume %x+' tries again", r.err)
    assert.match("%x+ +error", d.run(0, { "transfer" }).out)
    assert.equal(50000, #outside.content(from))
    assert.match("no such file", d.run(1, { "transfer", "put", from .. "-",
      to }).err:lower())
  end)

  it("suspends a job until it is resumed, and gives one up", function()
    local d <close> = scene()
    local name = bits.fresh()
    local to = d.root .. "/got"
    local id = d.run(0, { "transfer", "get", server:url(name, 1000), to,
      "--queue-only" }).out:match "%x+"
    local function state()
      return lines_of(d.run(0, { "transfer", "list", "--json" }))[1].state
    end
    assert.match("suspended " .. id, d.run(0, { "transfer", "suspend", id }).err)
    assert.equal("suspended", state())
    d.run(0, { "transfer", "cancel", id })
    assert.match("no jobs", d.run(0, { "transfer" }).err)
    assert.is_nil(d.read(to))
    assert.match("no jobs", d.run(0, { "transfer", "resume" }).err)
  end)

  it("says what is wrong with a call", function()
    local d <close> = scene()
    for _, wrong in ipairs {
      { 2, "'gte' is nothing.*'get' perhaps", "gte" },
      { 2, "get URL", "get" },
      { 2, "names no file", "get", "http://127.0.0.1/" },
      { 2, "NAME: VALUE", "get", "http://x/y", "--header", "nonsense" },
      { 2, "put FILE URL", "put", "x" },
      { 2, "which", "cancel" },
      { 4, "there is no job", "cancel", "abcdef01" },
      { 2, "one of foreground", "get", "http://x/y", "--priority", "urgent" },
    } do
      assert.match(wrong[2], d.run(wrong[1], { "transfer",
        table.unpack(wrong, 3) }).err)
    end
    -- A secret is in no file.
    d.run(0, { "transfer", "get", "http://127.0.0.1:1/y", "--header",
      "Authorization: hidden-one", d.root .. "/y", "--queue-only" })
    assert.equal("", (volumes.run("grep -rl hidden-one '%s'", d.root)))
  end)
end)

describe("applications in versions", function()
  if app.missing then return pending(app.missing) end

  local function with(f)
    app.with(function(t)
      app.database(t.data .. "/app.db", 50)
      local w <close> = app.sqlite.writer {
        databases = { t.data .. "/app.db" } }
      t.version = t.backup {}
      w:close()
      function t.cli(code, argv)
        argv = { argv[1], "--repo", t.location, table.unpack(argv, 2) }
        return cli.ends(code, argv, { env = {
          RESTIC_PASSWORD = require "spec.repository".PASSWORD,
          SAROS_STATE_DIR = t.state, TMPDIR = t.scratch } })
      end
      f(t)
    end)
  end

  it("are listed, drilled and recovered", function()
    with(function(t)
      local r = t.cli(0, { "items" })
      assert.match("app.db: application%-consistent, check passed", r.out)
      local item = by(t.cli(0, { "items", "--json", t.version.id:sub(1, 8) }),
        "component")["app.db"]
      assert.is_true(item.recoverable)
      assert.match("1 of 1 component", t.cli(0, { "items", "--all" }).out)

      if ROOT and not require "saros.cell".why() then
        r = t.cli(0, { "drill", "--scratch", t.scratch, "--name", "app" })
        assert.match("app.db %(sqlite%): passed", r.out)
        assert.match("drilled", t.cli(0, { "items" }).out)
        local run = require "saros.record".list { state_dir = t.state }[1]
        assert.same({ "drill", "app", "succeeded", "passed" }, { run.kind,
          run.name, run.state, run.result.drill.state })
      end

      app.execute(t.data .. "/app.db", "DELETE FROM t")
      local would = t.cli(0, { "recover", "--component", "app.db",
        "--dry-run" })
      assert.match("This would be recovered", would.out)
      assert.equal(0, app.rows(t.data .. "/app.db"))
      -- Nobody can be asked.
      r = t.cli(1, { "recover", "--component", "app.db" })
      assert.match("say %-%-yes", r.err)
      assert.equal(0, app.rows(t.data .. "/app.db"))
      r = t.cli(0, { "recover", "--component", "app.db", "--yes", "--json" })
      assert.is_string(by(r, "laid", "path")[t.data .. "/app.db"].kept)
      assert.equal(50, app.rows(t.data .. "/app.db"))
      t.cli(0, { "recover", "--component", "app.db", "--target",
        t.root .. "/there" })
      assert.equal(50, app.rows(t.root .. "/there" .. t.data .. "/app.db"))
    end)
  end)

  it("a drill that fails is 3, and bars the version", function()
    if not ROOT or require "saros.cell".why() then
      return pending "there can be no cell here"
    end
    with(function(t)
      -- Its pages are no database any more.
      os.execute(("printf 'nonsense' | env -u LD_PRELOAD dd of='%s/app.db' "
        .. "bs=1 seek=4096 conv=notrunc 2>/dev/null"):format(t.data))
      t.backup { check = false }
      local w <close> = app.sqlite.writer {
        databases = { t.data .. "/app.db" } }
      t.backup { check = false }
      w:close()
      local r = t.cli(3, { "drill", "--scratch", t.scratch })
      assert.match("NOT everything", r.out)
      r = t.cli(0, { "items" })
      assert.match("CANNOT BE RECOVERED", r.out)
      assert.match("Another version may be whole: saros items %-%-all", r.err)
      local run = require "saros.record".list { state_dir = t.state }[1]
      assert.same({ "failed", "failed" }, { run.state,
        run.result.drill.state })
      local wanted = { "recover", "--component", "app.db", "--target",
        t.root .. "/x" }
      assert.match("a drill failed", t.cli(1, wanted).err)
      wanted[#wanted + 1] = "--force"
      t.cli(0, wanted)
    end)
  end)

  it("say what is wrong with a call, and what is not there", function()
    with(function(t)
      assert.match("what%?", t.cli(2, { "recover" }).err)
      for _, words in ipairs { { "--file", "/etc/../x" }, { "--file", "/x",
        "--target", "../out" }, { "--component", "x", "--target", "/a\nb" } } do
        assert.match("'%.%.' or a line break", t.cli(2, { "recover",
          table.unpack(words) }).err)
      end
      assert.match("not both", t.cli(2, { "recover", "--file", "/x",
        "--component", "y" }).err)
      assert.match("a version, or", t.cli(2, { "items", "--all", "x" }).err)
      for _, argv in ipairs { { "items", "abcdef01" }, { "drill", "abcdef01" },
        { "recover", "abcdef01", "--component", "x", "--yes" } } do
        local r = cli.run({ argv[1], "--repo", t.location,
          table.unpack(argv, 2) }, { env = {
          RESTIC_PASSWORD = require "spec.repository".PASSWORD,
          SAROS_STATE_DIR = t.state } })
        assert.equal(4, r.code, argv[1] .. ": " .. r.err)
      end
      for _, verb in ipairs { "items", "drill" } do
        assert.equal(12, cli.run({ verb, "--repo", t.location }, { env = {
          RESTIC_PASSWORD = "wrong", SAROS_STATE_DIR = t.state } }).code)
        assert.equal(10, cli.run({ verb, "--repo", t.root .. "/none" }, {
          env = { RESTIC_PASSWORD = "x", SAROS_STATE_DIR = t.state } }).code)
      end
    end)
  end)
end)

describe("saros report", function()
  it("makes a page and a trace", function()
    local d <close> = scene()
    d.run(0, { "hold", "--name", "tape", d.a, "--", "true" })
    local r = d.run(0, { "report" })
    assert.match("^<!%a+", r.out)
    assert.match("tape", r.out)
    r = d.run(0, { "report", "-o", d.root .. "/page.html", "--mode", "644",
      "--json" })
    assert.equal(d.root .. "/page.html", lines_of(r)[1].path)
    assert.match("tape", d.read(d.root .. "/page.html"))
    assert.is_table(core.json_read(d.run(0, { "report", "--chrome" }).out))
    assert.match("a whole number", d.run(2, { "report", "-n", "x" }).err)
    d.run(4, { "report", "-o", d.root .. "/none/page.html" })
  end)
end)

describe("saros purge", function()
  it("lists what is left, and removes it when that is meant", function()
    local d <close> = scene()
    d.run(0, { "hold", d.a, "--", "true" })
    d.run(0, { "shadows", "take", d.a })
    os.execute(("mkdir '%s/saros-kept.1' '%s/saros-doctor-abcdef'"):format(
      d.root, d.root))
    local r = d.run(0, { "purge", "--json" })
    local kinds = by(r, "leftover", "kind")
    assert.is_table(kinds.shadow)
    assert.is_table(kinds.kept)
    assert.is_table(kinds.trial)
    assert.is_table(kinds.state)
    assert.match("say %-%-yes", d.run(1, { "purge", "--really" }).err)
    assert.equal(1, lines_of(d.run(0, { "shadows", "--json" }))[2].sets)
    assert.match("does nothing", d.run(2, { "purge", "--yes" }).err)
    d.run(0, { "purge", "--really", "--yes" })
    assert.equal("", (volumes.run("ls -A '%s'; ls -d '%s'/saros-*",
      d.state, d.root):gsub("ls: [^\n]*\n", "")))
    assert.match("nothing to remove", d.run(0, { "purge" }).err)
  end)

  it("leaves alone who goes on, and his record", function()
    local d <close> = scene()
    local p <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e", ([[
        local saros = require "saros"
        local r = require "saros.record".begin { kind = "backup", name = "by hand",
          state_dir = %q }
        local bits = require "saros.bits"
        q = bits.manager { path = %q }
        print "begun"
        saros.sleep(1000):wait()]]):format(d.state, d.state .. "/state/transfers.db"))
    p:expect "begun"
    local r = d.run(0, { "purge", "--really", "--yes" })
    assert.match("stays: by hand goes on now", r.out)
    assert.match("stays: .-works on it now", r.out)
    assert.match("jsonl", (volumes.run("ls '%s/state/runs'", d.state)))
    assert.match("transfers.db", (volumes.run("ls '%s/state'", d.state)))
  end)

  it("leaves alone what somebody uses", function()
    local d <close> = scene()
    local p <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, "-e",
      shared.script(d) .. 'print "taken" saros.sleep(1000):wait()')
    p:expect "taken"
    local r = d.run(3, { "purge", "--really", "--yes" })
    assert.match("stays: somebody uses them now", r.out)
    assert.match("it knows of what is still there", r.err)
    assert.equal("in use", lines_of(d.run(0, { "shadows", "--json" }))[1].state)
  end)
end)

describe("nobody reads it any more", function()
  it("is no reason to say anything", function()
    local d <close> = scene()
    for _, verb in ipairs { "doctor --quick", "volumes .", "status",
      "shadows", "writers", "purge", "report", "transfer" } do
      local said, how, status = outside.run("bash", "-c", ([[
        (SAROS_STATE_DIR='%s' SAROS_CONFIG=/dev/null TMPDIR='%s' '%s' %s \
          2>'%s/err'; echo $? >'%s/code') | true]]):format(d.state, d.root,
        cli.program, verb, d.root, d.root))
      assert.same({ "exit", 0 }, { how, status }, said)
      local code = tonumber(d.read(d.root .. "/code"))
      assert.is_true(code == 141 or code == 0 or code == 3, verb .. ": " .. code)
      assert.is_nil(d.read(d.root .. "/err"):find("traceback", 1, true), verb)
      assert.is_nil(d.read(d.root .. "/err"):find("cannot be written", 1, true))
    end
  end)
end)
