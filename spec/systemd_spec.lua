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
        local _, wrong = sh("systemd-analyze verify --man=no '%s/saros@.service' "
          .. "'%s/saros@.timer'", d, d)
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
      local _, wrong = sh("systemd-analyze verify --man=no '%s'", path)
      assert.matches("ProtectSystm", wrong)
    end)
  end)

  it_verifies("give no right that is not named, and less than most", function()
    installed(CONFIG, "--install nightly", function(d)
      assert(os.execute(("cp '%s/saros@.service' '%s/saros@x.service'")
        :format(d, d)))
      local _, said = sh("systemd-analyze security --no-pager --offline=yes "
        .. "'%s/saros@x.service'", d)
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

describe("a guest with systemd", function()
  local function why_not()
    if not os.getenv "SAROS_LONG" then return "takes minutes: make test-long" end
    if os.getenv "SAROS_SANITIZER" then return "not under a sanitizer" end
    local status, said = sh("spec/vm/build '%s/vm'", os.getenv "SAROS_BUILD")
    if status == 77 then return said:match "([^\n]*)\n?$" end
    assert.equal(0, status, said)
    return nil
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
        helper.testmod.deadline(1200, "a guest")
        local status, said = sh("spec/vm/run -s -m 1024 -d 512M -d 512M -d 512M "
          .. "-f %s -e CAPABILITIES=%s -t 1100 %s/vm /bin/sh "
          .. "/usr/local/test/guest.sh", d, os.getenv "SAROS_CAPABILITIES" or "",
          os.getenv "SAROS_BUILD")
        if os.getenv "SAROS_CAPABILITIES" then io.stderr:write(said) end
        assert.equal(0, status, said)
        assert.is_truthy(said:find("== steps: success", 1, true), said)
        for _, name in ipairs { "btrfs", "image", "reflink", "copy", "read",
          "process", "redis", "drill", "journal" }
        do
          assert.is_truthy(said:find("\nok " .. name .. "\n", 1, true), said)
        end
        assert.is_truthy(said:find('\n"PRIORITY":"4"\n', 1, true), said)
        assert.is_truthy(said:find("\n1048577\n", 1, true), said)
        local _, held = said:gsub("== held: T\n", "")
        assert.equal(3, held, said)
        for _, how in ipairs { "kill -s KILL --kill-whom=all",
          "kill -s KILL --kill-whom=main", "stop" }
        do
          assert.is_truthy(said:find(("== %s: S, 0 left\n"):format(how), 1, true),
            said)
        end
      end)
    end)
end)
