-- saros.systemd and the verb `systemd`: units as systemd reads them. Under
-- SAROS_LONG they run, in a guest with systemd.
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

-- Programs that it starts hang with a preloaded sanitizer.
local ANALYZE <const> = "env -u LD_PRELOAD systemd-analyze "
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
      assert.is_true(exposure <= 6, "exposure " .. exposure)
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

-- Each capability, and a step (spec/vm/systemd/steps.lua) that fails without it.
local without <const> = {
  SYS_ADMIN = "image", DAC_OVERRIDE = "same", CHOWN = "same",
  FOWNER = "same", FSETID = "same", SETFCAP = "same", MKNOD = "same",
  SETUID = "cell", SETGID = "cell", SETPCAP = "cell",
  NET_ADMIN = "cell", KILL = "process" }

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

describe("a guest with systemd", function()
  local function why_not()
    if not os.getenv "SAROS_LONG" then return "takes minutes: make test-long" end
    if os.getenv "SAROS_SANITIZER" then return "not under a sanitizer" end
    local status, said = sh("spec/vm/build '%s/vm'", os.getenv "SAROS_BUILD")
    if status == 77 then return said:match "([^\n]*)\n?$" end
    assert.equal(0, status, said)
    return nil
  end

  local options <const> = {
    PrivateDevices = { "image", "PrivateDevices=yes" },
    loops = { "image", "DeviceAllow=;DeviceAllow=/dev/loop-control rw" },
    disks = { "lvm", "DeviceAllow=;DeviceAllow=/dev/mapper/control rw" },
    RestrictSUIDSGID = { "same", "RestrictSUIDSGID=yes" },
    PrivateTmp = { "tmp", "PrivateTmp=yes" },
    ProtectHome = { "home", "ProtectHome=yes" },
    ProtectKernelModules = { "modules", "ProtectKernelModules=yes" },
    mnt = { "image", "RestrictNamespaces=;RestrictNamespaces=net pid ipc uts" },
    net = { "cell", "RestrictNamespaces=;RestrictNamespaces=mnt pid ipc uts" },
    pid = { "cell", "RestrictNamespaces=;RestrictNamespaces=mnt net ipc uts" },
    ipc = { "cell", "RestrictNamespaces=;RestrictNamespaces=mnt net pid uts" },
    uts = { "cell", "RestrictNamespaces=;RestrictNamespaces=mnt net pid ipc" },
    netlink = { "cell", "RestrictAddressFamilies=;RestrictAddressFamilies="
      .. "AF_UNIX AF_INET AF_INET6" },
    mount = { "image", "SystemCallFilter=~@mount" },
    readonly = { "image", "ReadWritePaths=" },
  }

  local function tried()
    local lines = {}
    for name, step in pairs(without) do
      lines[#lines + 1] = ("%s %s CapabilityBoundingSet=~CAP_%s"):format(name,
        step, name)
    end
    for name, o in pairs(options) do
      lines[#lines + 1] = name .. " " .. table.concat(o, " ")
    end
    table.sort(lines)
    return table.concat(lines, "\n") .. "\n"
  end

  it("does everything under the hardened units, and lets go what it held",
    function()
      local why = why_not()
      if why then pending(why) return end
      outside.directory(function(d)
        assert(os.execute(([[cd %s && mkdir -p share/lua lib/lua bin test]])
          :format(d)))
        assert(os.execute(("cp -r lua %s/share/lua/5.4 && "
          .. "install -m 755 lua/bin/saros %s/bin && cp spec/vm/systemd/* %s/test "
          .. "&& mkdir %s/lib/lua/5.4 && cd %s && "
          .. "find saros -name '*.so' -o -name '*-hold' -o -name cell | cpio -pdm "
          .. "--quiet %s/lib/lua/5.4"):format(d, d, d, d, os.getenv "SAROS_BUILD",
          d)))
        outside.write(d .. "/test/tried", tried())
        helper.testmod.deadline(1750, "a guest")
        local status, said = sh("spec/vm/run -s -m 1024 -d 512M -d 512M -d 512M "
          .. "-d 512M -f %s -t 1700 %s/vm /bin/sh "
          .. "/usr/local/test/guest.sh", d, os.getenv "SAROS_BUILD")
        if os.getenv "SAROS_SAYS" then outside.write(os.getenv "SAROS_SAYS", said) end
        assert.equal(0, status, said)
        local function has(text)
          assert.is_truthy(said:find(text, 1, true), text .. "\n" .. said)
        end
        has "started by: saros@nightly.timer"
        has "result: success"
        has "started by hand: success"
        has "steps: success"
        assert.is_nil(said:find "\nFAIL ", said)
        for _, name in ipairs { "btrfs", "image", "reflink", "copy", "lvm",
          "read", "same", "restore", "process", "locked", "cell", "redis",
          "journal", "elsewhere", "clock", "tunable", "cgroup", "module" }
        do
          has("\nok " .. name .. "\n")
        end
        has '\n"PRIORITY":"4"\n'
        has "\n1048577\n"
        for name, step in pairs(without) do
          has(("tried %s: FAIL %s"):format(name, step))
        end
        for name, o in pairs(options) do
          has(("tried %s: FAIL %s"):format(name, o[1]))
        end
        has "slow: ok undone"
        has "told: (READY=1"
        has "STOPPING=1"
        has "EXTEND_TIMEOUT_USEC="
        local nothing <const> = "0 records, 0 mounts, 0 loops, 0 guards"
        for _, how in ipairs { "kill -s KILL --kill-whom=all",
          "kill -s KILL --kill-whom=main", "stop" }
        do
          has(("\nprocess, %s: S, %s"):format(how, nothing))
          has(("\nfrozen, %s, before: frozen"):format(how))
          -- Without a guard it is let go when the program can die: systemd does
          -- not know before that it was killed.
          if not how:find "whom=all" then
            has(("\nfrozen, %s: thawed, "):format(how))
          end
          has(("\nfrozen, %s, then: thawed, %s"):format(how, nothing))
        end
      end)
    end)
end)
