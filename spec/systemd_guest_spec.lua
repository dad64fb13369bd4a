-- The units of systemd run: in a guest, under SAROS_LONG. Each test boots one,
-- and runs a part of spec/vm/systemd; SAROS_SAYS=FILE has what it said.
local helper = require "spec.helper"
local outside = require "spec.outside"

local systemd = require "saros.systemd"
local tried = require "spec.vm.systemd.tried"

-- Seconds. What is held is held for 600 at most: nobody is let go by that.
local LIMIT <const> = { held = 570, frozen = 570 }

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  local said = pipe:read "a"
  local _, _, status = pipe:close()
  return status or 0, said
end

local function why_not()
  if not os.getenv "SAROS_LONG" then return "takes minutes: make test-long" end
  if os.getenv "SAROS_SANITIZER" then return "not under a sanitizer" end
  local status, said = sh("spec/vm/build '%s/vm'", os.getenv "SAROS_BUILD")
  if status == 77 then return said:match "([^\n]*)\n?$" end
  assert.equal(0, status, said)
  return nil
end

-- Runs a part in a guest of its own, with the lines that it tries. Gives a
-- function that says that a text is there, and all the text.
local function guest(part, lines, f)
  local why = why_not()
  if why then pending(why) return end
  local limit = LIMIT[part:match "%w+"] or 1200
  helper.testmod.deadline(limit + 100, "a guest")
  outside.directory(function(d)
    assert(os.execute(([[set -e; d=%s; mkdir -p $d/share/lua $d/lib/lua/5.4 \
      $d/bin $d/test; cp -r lua $d/share/lua/5.4
      install -m 755 lua/bin/saros $d/bin; cp spec/vm/systemd/* $d/test
      cd '%s'; find saros -name '*.so' -o -name '*-hold' -o -name cell |
        cpio -pdm --quiet $d/lib/lua/5.4]]):format(d,
      os.getenv "SAROS_BUILD")))
    outside.write(d .. "/test/tried", lines or "")
    local status, said = sh("spec/vm/run -s -m 1024 -d 512M -d 512M -d 512M "
      .. "-d 512M -d 512M -f %s -t %d %s/vm /bin/sh /usr/local/test/guest.sh %s",
      d, limit, os.getenv "SAROS_BUILD", part)
    if os.getenv "SAROS_SAYS" then
      local file <close> = assert(io.open(os.getenv "SAROS_SAYS", "a"))
      file:write("# ", part, "\n", said)
    end
    assert.equal(0, status, said)
    f(function(text)
      assert.is_truthy(said:find(text, 1, true), text .. "\n" .. said)
    end, said)
  end)
end

describe("what is tried", function()
  local steps <const> = outside.content "spec/vm/systemd/steps.lua"

  it("are steps that there are", function()
    local n = 0
    local function is_step(name)
      assert.is_truthy(steps:find(('\n%%a+%%("%s",'):format(name)), name)
      n = n + 1
    end
    for _, name in pairs(tried.rights) do is_step(name) end
    for _, what in ipairs { "out", "within" } do
      for _, o in pairs(tried[what]) do is_step(o[1]) end
    end
    assert.is_true(n > 40)
  end)

  -- Tried in spec/systemd_spec.lua; and it is this machine's files that it saves;
  -- and what hooks call may ask the kernel by that.
  local elsewhere <const> = { MemoryDenyWriteExecute = true,
    RootDirectory = true, netlink = true }

  it("is all that systemd finds wanting", function()
    local _, version = sh "systemd-analyze --version"
    if not version:find "^systemd 252" then
      pending "other versions of systemd than 252 find other things" return
    end
    outside.directory(function(d)
      outside.write(d .. "/saros@x.service", systemd.service "/bin/true")
      local _, said = sh("systemd-analyze security --no-pager --offline=yes "
        .. "%s/saros@x.service", d)
      local n = 0
      for name, value in said:gmatch "✗ (%w+)=(%S*)" do
        local key = value:match "^~@?(.*)" or name
        if name == "DeviceAllow" then key = "loops" end
        key = key:gsub("^AF_%(?(%w+).*", string.lower)
        if name ~= "CapabilityBoundingSet" then
          assert.is_truthy(tried.out[key] or elsewhere[key], key)
        end
        n = n + 1
      end
      assert.is_true(n > 20, said)
    end)
  end)
end)

local NOTHING <const> = "0 records, 0 mounts, 0 loops, 0 guards"

describe("in a guest with systemd", function()
  it("a timer begins the service, with its rights alone, which says how it is",
    function()
      guest("timer", nil, function(has, said)
        -- A delay by chance.
        has "\nRandomizedDelayUSec=1h\n"
        local times, n = {}, 0
        for time in said:gmatch "\nnext: %a+ %S+ (%S+) UTC" do
          assert.is_true(time >= "00:00:00" and time <= "01:00:00", time)
          if not times[time] then times[time], n = true, n + 1 end
        end
        assert.is_true(n > 1, said)
        -- It makes up for what was missed.
        has "\nstarted by: saros@nightly.timer\n"
        -- Exactly these, and no way to others.
        local names = {}
        for i, one in ipairs(systemd.capabilities) do
          names[i] = one[1]:lower()
        end
        table.sort(names)
        for _, set in ipairs { "Eff", "Bnd" } do
          local has_these = {}
          for name in said:match("\nrights " .. set .. ": ([^\n]*)")
            :gmatch "cap_[%w_]+"
          do
            has_these[#has_these + 1] = name
          end
          table.sort(has_these)
          assert.same(names, has_these)
        end
        assert.matches("\nrights Amb: *\nNoNewPrivs:\t1\nSeccomp:\t2\n", said)
        has "\nKillMode=mixed\n"
        -- A workflow goes well, by itself and by hand.
        has "\nresult: success\n"
        has "\nstarted by hand: success\n"
        assert.matches("\nstatus: %S", said)
        -- What systemd is told.
        has "\ntold: (READY=1"
        assert.matches("\ntold: %([^\n]*STOPPING=1", said)
        has "\ntold: (EXTEND_TIMEOUT_USEC=60000000)"
        has "\nslow: deactivating\n"
        has "\nslow: ok undone\n"
      end)
    end)

  it("everything that a workflow wants to do is possible, and else nothing",
    function()
      guest("steps", nil, function(has, said)
        has "\nsteps: success\n"
        assert.is_nil(said:find "\nFAIL ", said)
        local steps = outside.content "spec/vm/systemd/steps.lua"
        local n = 0
        for name in steps:gmatch '\n%a+%("(%a+)",' do
          if name ~= "disk" then has("\nok " .. name .. "\n") end
          n = n + 1
        end
        assert.is_true(n > 30, n)
        has '\n"PRIORITY":"4"\n'
        has "\nlarge: 1048577\n"
        has "\nkernel: 0\n" -- as it was
      end)
    end)

  local function lines(list)
    table.sort(list)
    return table.concat(list, "\n") .. "\n"
  end

  it("no right is too many", function()
    local list = {}
    for name, step in pairs(tried.rights) do
      list[#list + 1] = ("%s %s CapabilityBoundingSet=~CAP_%s"):format(name,
        step, name)
    end
    guest("tried", lines(list), function(has)
      for name, step in pairs(tried.rights) do
        has(("\ntried %s: FAIL %s: "):format(name, step))
      end
    end)
  end)

  local function tries(what)
    local list = {}
    for name, o in pairs(tried[what]) do
      list[#list + 1] = name .. " " .. table.concat(o, " ")
    end
    guest("tried", lines(list), function(has)
      for name, o in pairs(tried[what]) do
        has(("\ntried %s: FAIL %s: "):format(name, o[1]))
      end
    end)
  end

  it("what it leaves out has its reason", function() tries "out" end)
  it("what it has keeps something from being done", function()
    tries "within"
  end)

  it("who was stopped goes on, however the service is ended", function()
    guest("held", nil, function(has)
      for _, how in ipairs { "kill -s KILL --kill-whom=all",
        "kill -s KILL --kill-whom=main", "stop" }
      do
        has(("\nprocess, %s: S, %s\n"):format(how, NOTHING))
      end
      -- Before all others, and in the cgroup of the unit.
      has "\nguard: nice -20, saros@process.service\n"
      has "\nbusy: deactivating, sleeper T, guard saros-guard, 0 told\n"
      has(("\nbusy, then: S, %s\n"):format(NOTHING))
    end)
  end)

  it("what was frozen is thawed by the guard, before the program can end",
    function()
      guest("frozen guarded", nil, function(has)
        for _, name in ipairs { "frozen-i", "frozen-k" } do
          for _, how in ipairs { "kill -s KILL --kill-whom=main", "stop" } do
            has(("\n%s, %s: thawed, asleep\n"):format(name, how))
            has(("\n%s, %s, then: thawed, thawed, %s\n"):format(name, how,
              NOTHING))
          end
        end
      end)
    end)

  it("and also when it writes there itself; without a guard when it ends",
    function()
      guest("frozen alone", nil, function(has)
        has "\nall, before: frozen\n"
        has(("\nall, then: thawed, thawed, %s\n"):format(NOTHING))
        has "\nown: thawed, asleep\n"
        has(("\nown, then: thawed, thawed, %s\n"):format(NOTHING))
      end)
    end)

  it("and of one that does not end when the service is stopped", function()
    guest("frozen late", nil, function(has)
      has "\nlate, before: frozen, activating\n"
      has "\nlate: thawed, asleep\n"
      has(("\nlate, then: thawed, thawed, %s\n"):format(NOTHING))
    end)
  end)
end)
