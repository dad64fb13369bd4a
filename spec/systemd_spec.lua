-- saros.systemd and the verb `systemd`: units as systemd reads them. That they
-- run is in spec/systemd_guest_spec.lua.
local helper = require "spec.helper"
local outside = require "spec.outside"

local systemd = require "saros.systemd"
local paths = require "saros.systemd.paths"
local _ = helper

local PROGRAM <const> = os.getenv "SAROS_BUILD" .. "/bin/saros"

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  local said = pipe:read "a"
  local _, _, status = pipe:close()
  return status or 0, said
end

-- Programs that it starts hang with a preloaded sanitizer, as PostgreSQL's do.
local WITHOUT <const> = "env -u LD_PRELOAD "
local ANALYZE <const> = WITHOUT .. "systemd-analyze "
local AS_POSTGRES <const> = WITHOUT .. "setpriv --reuid=postgres "
  .. "--regid=postgres --clear-groups "
local has_systemd = outside.installed "systemd-analyze"
local it_verifies = has_systemd and it or function(name)
  pending(name .. " (no systemd-analyze)")
end

-- A configuration, and the units that the verb writes for it.
local function installed(text, arguments, f)
  outside.directory(function(d)
    outside.write(d .. "/config.lua", text)
    assert(os.execute(("chmod 600 %s/config.lua"):format(d)))
    local status, said = sh("%s systemd --config %s/config.lua --directory "
      .. "%s/units --program %s %s", PROGRAM, d, d, PROGRAM, arguments)
    f(d .. "/units", status, said, d)
  end)
end

local CONFIG <const> = [[
repository = "/mnt/a b/100%$x"
password = { file = "/etc/saros/password" }
metrics = "/var/lib/prom/saros.prom"
workflow "nightly" { sources = { "/etc", { path = "/srv" } },
  to = { repository, "s3:https://host/bucket", { location = "/mnt/\"c" } } }
]]

local MOUNTS <const> = paths.mounts(table.concat({
  "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
  "2 1 8:2 / /srv rw shared:1 master:2 - btrfs /dev/sdb rw",
  "3 1 8:3 / /mnt/a\\040b rw - xfs /dev/sdc rw",
  "4 1 8:3 / /srv/in rw - xfs /dev/sdd rw",
  "5 1 8:3 / /srv2 rw - xfs /dev/sde rw" }, "\n"))

describe("the units", function()
  it("are printed, and nothing is written", function()
    installed(CONFIG, "nightly", function(d, status, said)
      assert.equal(0, status, said)
      for _, word in ipairs { "saros@.service\n", "saros@.timer\n",
        "saros@nightly.service.d/saros.conf\n", "ProtectSystem=strict\n",
        "Persistent=true\n", "KillMode=mixed\n" }
      do
        assert.is_truthy(said:find(word, 1, true), word)
      end
      assert.is_nil(outside.content(d .. "/saros@.service"))
    end)
  end)

  it_verifies("are what systemd understands, also with odd names", function()
    installed(CONFIG, "--install --calendar '*-*-* 02:30' --delay 90m nightly",
      function(d, status, said)
        assert.equal(0, status, said)
        assert.matches("enable %-%-now saros@nightly.timer", said)
        -- With its own file in its place, because only that is looked at.
        local own = outside.content(d .. "/saros@nightly.service.d/saros.conf")
        assert(os.execute(("cd '%s' && cp -r saros@nightly.service.d "
          .. "saros@.service.d && cp -r saros@nightly.timer.d saros@.timer.d")
          :format(d)))
        local _, wrong = sh(ANALYZE .. "verify --man=no "
          .. "'%s/saros@.service' '%s/saros@.timer'", d, d)
        assert.equal("", wrong)
        assert.is_truthy(own:find('ReadWritePaths=-"/mnt/a b/100%%$x"', 1, true), own)
        assert.is_truthy(own:find('ReadWritePaths=-"/mnt/\\"c"', 1, true), own)
        assert.is_truthy(own:find('"/var/lib/prom"', 1, true), own)
        assert.is_truthy(own:find("/config.lua\" %i", 1, true), own)
        assert.is_truthy(own:find("/config.lua\" --reap %i", 1, true), own)
        assert.matches("RandomizedDelaySec=5400s", outside.content(d
          .. "/saros@nightly.timer.d/saros.conf"))
      end)
  end)

  it_verifies("are noticed when they are wrong", function()
    installed(CONFIG, "--install nightly", function(d)
      local path = d .. "/saros@.service"
      outside.write(path, outside.content(path) .. "\nProtectSystm=strict\n")
      local _, wrong = sh(ANALYZE .. "verify --man=no '%s'", path)
      assert.matches("ProtectSystm", wrong)
    end)
  end)

  it_verifies("give no right that is not named, and less than most", function()
    installed(CONFIG, "--install nightly", function(d)
      assert(os.execute(("cp '%s/saros@.service' '%s/saros@x.service'")
        :format(d, d)))
      local _, said = sh(ANALYZE .. "security --no-pager "
        .. "--offline=yes '%s/saros@x.service'", d)
      local exposure = tonumber(said:match "exposure level for [^:]*: ([%d.]+)")
      assert.is_truthy(exposure, said)
      assert.is_true(exposure <= 5, "exposure " .. exposure)
      for _, name in ipairs { "SYS_MODULE", "SYS_TIME", "SYS_RAWIO", "SYS_BOOT",
        "AUDIT_*", "SYSLOG", "BPF" }
      do
        assert.is_truthy(said:find("✓ CapabilityBoundingSet=~CAP_" .. name, 1,
          true), name .. "\n" .. said)
      end
    end)
  end)

  it("say why there is a right, each once", function()
    local seen = {}
    for _, one in ipairs(systemd.capabilities) do
      assert.is_nil(seen[one[1]])
      seen[one[1]] = true
      assert.is_true(#one[2] > 5)
      assert.is_truthy(systemd.service "/x":find(one[1], 1, true))
    end
  end)

  it("are of a workflow that there is, with a name that a unit may have",
    function()
      installed(CONFIG, "nigthly", function(_, status, said)
        assert.equal(4, status)
        assert.matches("nightly", said)
      end)
      installed('workflow "a b" { sources = "/etc", to = "/r" }', "'a b'",
        function(_, status, said)
          assert.equal(2, status, said)
          assert.matches("letters, digits", said)
        end)
      installed(CONFIG, "", function(_, status) assert.equal(2, status) end)
      for _, name in ipairs { "", "a/b", "a b", "-a", "a\n", "a%n", "é",
        ("a"):rep(300) }
      do
        assert.is_false(systemd.is_name(name), name)
      end
    end)
end)

describe("the verb", function()
  local function names(d)
    local _, said = sh("cd '%s' 2>/dev/null && find . -type f | sort", d)
    return said
  end

  it("takes away what it wrote, and nothing of anybody else", function()
    local config = CONFIG .. 'workflow "weekly" { sources = "/etc", to = "/r" }'
    installed(config, "--install nightly", function(d, status, said, root)
      assert.equal(0, status, said)
      local function say(words)
        return sh("%s systemd --config %s/config.lua --directory %s "
          .. "--program %s %s", PROGRAM, root, d, PROGRAM, words)
      end
      assert.equal(0, say "--install --delay 1h weekly")
      outside.write(d .. "/saros@weekly.service.d/mine.conf", "[Unit]\n")
      outside.write(d .. "/other.service", "")
      assert.equal(2, say "--install --remove nightly")
      assert.equal(2, say "--remove ../nightly")
      status, said = say "--remove nightl"
      assert.equal(4, status)
      assert.matches("these have: nightly, weekly", said)
      assert.equal(0, say "--remove nightly")
      assert.equal("./other.service\n./saros@.service\n./saros@.timer\n"
        .. "./saros@weekly.service.d/mine.conf\n"
        .. "./saros@weekly.service.d/saros.conf\n"
        .. "./saros@weekly.timer.d/saros.conf\n", names(d))
      assert.equal(0, say "--remove weekly")
      assert.equal("./other.service\n./saros@weekly.service.d/mine.conf\n",
        names(d))
      assert.equal(4, say "--remove weekly")
    end)
  end)

  -- A program is stopped, and who holds it is killed with its guard, as all of
  -- a service may be. Gives how that program is now.
  local function held(d, f)
    local sleeper <close> = outside.start("sleep", "100000")
    local holder <close> = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local _ <close> = require "saros.writers.process".writer {
        pids = { %d }, files = { %q }, state_dir = %q }
      local _ <close> = saros.vss.writer { name = "says", level = "system",
        id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d25", freeze = function()
          print "held"
          io.stdout:flush()
          saros.sleep(1000):wait()
        end }
      saros.vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()]]):format(sleeper.pid, d, d, d, d))
    holder:expect "held\n"
    local function state(pid)
      return (outside.content(("/proc/%d/stat"):format(pid)) or ") Z")
        :match "^.*%) (%a)"
    end
    assert.equal("T", state(sleeper.pid))
    local _, record = sh("cat $(find %s -path '*/frozen/*.json')", d)
    local guard = tonumber(record:match '"guard": {%s*"pid": (%d+)')
    outside.system.kill(guard, 9)
    outside.eventually("the end of the guard", function()
      return state(guard) == "Z"
    end)
    outside.system.kill(holder.pid, 9)
    holder:finish()
    assert.equal("T", state(sleeper.pid))
    f()
    outside.eventually("that it goes on", function()
      return state(sleeper.pid) == "S"
    end)
  end

  -- How it is called, which may be a configuration that nobody can read.
  for words, text in pairs {
    ["systemd --config C --reap nightly"] = 'state_dir = "D"\n' .. CONFIG,
    ["systemd --config C --reap weekly"] =
      'workflow "weekly" { sources = "/etc", to = "/r", state_dir = "D" }',
    ["SAROS_STATE_DIR systemd --config C --reap nightly"] = "no Lua at all",
  } do
    it("lets go what nobody holds any more: " .. words, function()
      outside.directory(function(d)
        outside.write(d .. "/config.lua", (text:gsub('"D"', '"' .. d .. '"')))
        assert(os.execute(("chmod 600 %s/config.lua"):format(d)))
        local given = words:find "^SAROS" and "SAROS_STATE_DIR=" .. d or ""
        local command = given .. " " .. PROGRAM .. " " .. words:match "systemd.*"
          :gsub(" C ", " " .. d .. "/config.lua ")
        held(d, function()
          local status, said = sh(command)
          assert.equal(0, status, said)
          assert.matches("was left stopped by a process that was killed", said)
          assert.equal(given ~= "", said:find("config.lua:1", 1, true) ~= nil, said)
        end)
        local status, said = sh(command)
        assert.equal(0, status)
        assert.is_nil(said:find("left stopped", 1, true), said)
      end)
    end)
  end

  it_verifies("writes a service of a user, which asks for no right", function()
    installed(CONFIG, "--user --install nightly", function(d, status, said)
      assert.equal(0, status, said)
      assert.matches("systemctl %-%-user enable", said)
      local text = outside.content(d .. "/saros@.service")
      for _, word in ipairs { "Capability", "Device", "Protect", "/root" } do
        assert.is_nil(text:find(word, 1, true), word)
      end
      assert.is_nil(outside.content(d .. "/saros@nightly.service.d/saros.conf")
        :find("ReadWritePaths", 1, true))
      local _, wrong = sh("XDG_RUNTIME_DIR=%s " .. ANALYZE .. "--user "
        .. "verify --man=no '%s/saros@.service' '%s/saros@.timer'", d, d, d)
      assert.equal("", wrong)
    end)
  end)
end)

describe("where a workflow writes", function()
  local function of(o, more) return paths.of(o, more, MOUNTS) end

  it("is the file system of each source, or a place in the root", function()
    assert.same({ "/.saros-shadows" }, of { sources = { "/etc", "/home" } })
    assert.same({ "/srv" }, of { sources = "/srv/app" })
    assert.same({ "/srv", "/srv/in" }, of { sources = { "/srv",
      { path = "/srv/in/side" } } })
    assert.same({ "/srv2" }, of { sources = { "/srv2" } })
    assert.same({ "/.saros-shadows" }, of { sources = { "/srv3" } })
    assert.same({ "/mnt/a b" }, of { sources = { "/mnt/a b/c" } })
    assert.same({}, of { sources = function() end })
  end)

  it("is each repository that is a directory, and what else is written", function()
    assert.same({ "/r", "/s" }, of { to = { "/r", "s3:https://x/y", "rest:http://z",
      { location = "/s" }, { location = function() end } } })
    assert.same({ "/m" }, of({ to = "sftp:x" }, { "/m/file" }))
    assert.same({ "/st" }, of { state_dir = "/st" })
  end)
end)

local without <const> = require "spec.vm.systemd.tried".rights

describe("its rights", function()
  it("has all that is tried, and tries all that it has", function()
    local names = {}
    for name in pairs(without) do names[#names + 1] = "CAP_" .. name end
    local has = {}
    for i, one in ipairs(systemd.capabilities) do has[i] = one[1] end
    table.sort(names)
    table.sort(has)
    assert.same(names, has)
  end)

  -- What is copied, restored and stopped, for whom only root may do it.
  local function with_steps(f)
    outside.directory(function(d)
      local status, said = sh("mkdir %s/data && cd %s/data && "
        .. "cp /bin/sleep sleeper && cp /bin/sleep capable && echo x >secret && "
        .. "mknod null c 1 3 && touch -d 2001-02-03 secret sleeper && "
        .. "chown 65534:65534 sleeper secret && chmod 6755 sleeper && "
        .. "chmod 000 secret && PATH=$PATH:/sbin:/usr/sbin "
        .. "setcap cap_net_raw+ep capable", d, d)
      assert.equal(0, status, said)
      assert(os.execute(("cp /bin/sleep %s/sleeper"):format(d)))
      local sleeper <close> = outside.start("setpriv", "--reuid=65534",
        "--regid=65534", "--clear-groups", d .. "/sleeper", "100000")
      outside.eventually("a program of another user", function()
        return (outside.content(("/proc/%d/status"):format(sleeper.pid)) or "")
          :match "Uid:%s+65534"
      end)
      f(d)
    end)
  end

  -- A unit's, as setpriv gives them: all that it has, or one less.
  local function step(d, name, less)
    local rights = {}
    for _, one in ipairs(systemd.capabilities) do
      if one[1] ~= less then
        rights[#rights + 1] = "+" .. one[1]:sub(5):lower()
      end
    end
    local _, said = sh("STEPS=%s PATH=$PATH:/usr/sbin LUA_PATH='%s' "
      .. "LUA_CPATH='%s' SAROS_STATE_DIR=%s/state setpriv --no-new-privs "
      .. "--inh-caps=-all --bounding-set=-all,%s %s "
      .. "spec/vm/systemd/steps.lua %s", d, outside.lua_path,
      outside.lua_cpath, d, table.concat(rights, ","), outside.lua, name)
    return said
  end

  it("are enough, and none is too many", function()
    local status, why = sh("setpriv --bounding-set=-all true && "
      .. "PATH=$PATH:/usr/sbin; command -v setcap")
    if status ~= 0 then
      pending("needs root, setpriv and setcap: " .. why) return
    end
    with_steps(function(d)
      if step(d, "cell"):find "FAIL" then
        pending("no cells here: " .. step(d, "cell")) return
      end
      local repository = require "saros.repository"
      assert(repository.init { location = d .. "/repo", password = "x" })
      local seen = {}
      for name, one in pairs(without) do
        if one ~= "image" then
          if not seen[one] then
            assert.equal("ok " .. one .. "\n", step(d, one))
            seen[one] = true
          end
          assert.matches("FAIL " .. one, step(d, one, "CAP_" .. name), name)
        end
      end
    end)
  end)
end)

describe("MemoryDenyWriteExecute", function()
  it("would keep a database that is tried from compiling its queries", function()
    local bin <const> = "/usr/lib/postgresql/15/bin"
    local status = sh("test -e %s/../lib/llvmjit.so && id postgres && "
      .. "test -x /usr/bin/python3 && test $(id -u) = 0", bin)
    if status ~= 0 then
      pending "needs root, python3 and a PostgreSQL that compiles" return
    end
    outside.directory(function(d)
      local said
      status, said = sh("chown postgres %s && cd %s && " .. AS_POSTGRES
        .. "%s/initdb -D %s/d -A trust --no-sync", d, d, bin, d)
      assert.equal(0, status, said)
      -- What systemd forbids by a filter, the kernel forbids by itself.
      outside.write(d .. "/run.py", ([[
import ctypes, os, sys
if sys.argv[1] == "yes" and ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
  sys.exit(77)
os.execv("%s/postgres", ["postgres", "--single", "-D", "%s/d", "-c", "jit=on",
  "-c", "jit_above_cost=0", "postgres"])]]):format(bin, d))
      local function query(denied)
        return sh("cd %s && echo 'SELECT sum(n) FROM generate_series(1, 100) n' "
          .. "| " .. AS_POSTGRES .. "/usr/bin/python3 run.py %s", d, denied)
      end
      status, said = query "no"
      assert.matches('sum = "5050"', said)
      status, said = query "yes"
      if status == 77 then pending "the kernel cannot forbid it" return end
      assert.is_nil(said:find('sum = "5050"', 1, true), said)
      assert.matches("error during JITing", said)
    end)
  end)
end)
