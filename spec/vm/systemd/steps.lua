-- Under the unit, in a guest, or with its rights alone: what workflows may want
-- to do, a step each, those that are named or all. A line for each, which
-- spec/systemd_spec.lua reads.
local saros = require "saros"
local vss, repository = saros.vss, require "saros.repository"

-- Where that is, when it is not the guest.
local here = os.getenv "STEPS"
local data <const> = here and here .. "/data" or "/mnt/x/data"
local scratch <const> = here or "/mnt/x/img"
local location <const> = here and here .. "/repo" or "/mnt/r/repo"
local by <const> = not here and "reflink" or nil

local steps, order = {}, {}
local function step(name, f)
  steps[name], order[#order + 1] = f, name
end

local function shell(command)
  local r = assert(saros.process { argv = { "sh", "-c", command },
    stdout = "capture", stderr = "stdout" }:wait())
  return r.stdout
end

local function open()
  return repository.open { location = location, password = "x" }
end

local function shadow(name, path, provider)
  step(name, function()
    local set <close> = assert(vss.shadow { paths = { path },
      provider = provider }:wait())
    assert(set[path].provider == provider, set[path].provider)
    assert(shell("ls -A " .. set[path].path) ~= "")
    assert(set:backup_complete():wait())
  end)
end
shadow("btrfs", "/mnt/b/sub", "btrfs")
shadow("image", "/mnt/i", "image")
shadow("reflink", "/mnt/x/data", "reflink")
shadow("copy", "/etc", "copy")
shadow("lvm", "/mnt/l", "lvm")

step("read", function()
  local r = assert(open():backup { paths = { data } }:wait())
  assert(r.failed == 0, r.failed > 0 and r.errors[1].message)
end)

-- Whom everything belongs to, and what it may.
local function looks(directory)
  return shell(("cd %s && find . -printf '%%M %%U:%%G %%s %%T@ %%P\n' | sort "
    .. "&& getcap -r . | sort"):format(directory))
end
local function compare(to)
  local is, was = looks(to), looks(data)
  shell("rm -rf " .. to)
  if is ~= was then error(("was:\n%sis:\n%s"):format(was, is)) end
end

step("same", function()
  assert(saros.copy { from = data, to = scratch .. "/same" }:wait())
  compare(scratch .. "/same")
end)

step("restore", function()
  local repo = open()
  assert(repo:backup { paths = { data } }:wait())
  local r = assert(repo:restore { version = "latest", paths = { data },
    target = scratch .. "/again" }:wait())
  assert((r.failed or 0) == 0, r.errors and r.errors[1] and r.errors[1].message)
  compare(scratch .. "/again" .. data)
end)

step("process", function()
  local process = require "saros.writers.process"
  local _ <close> = process.writer { name = "p", command = (here and here .. "/" or "")
    .. "sleeper 100000", files = { data } }
  local set <close> = assert(vss.shadow { paths = { data },
    provider = by }:wait())
  for _, writer in ipairs(set.left_out or {}) do error(writer.message, 0) end
end)

-- Without a right of its own for that.
step("locked", function()
  local _ <close> = open()
  assert(shell "grep VmLck /proc/$PPID/status":match "[1-9]%d* kB",
    "keys may be swapped out")
end)

step("cell", function()
  local why = require "saros.cell".why()
  if why then error(why, 0) end
end)

step("redis", function()
  local redis = require "saros.writers.redis"
  local _ <close> = redis.writer { socket = "/run/redis-t/s" }
  local v = assert(saros.wsb.backup { repository = open(),
    paths = { "/mnt/x/redis" } }:wait())
  assert(#v.components == 1 and v.components[1].recoverable ~= false,
    #v.components .. " " .. tostring(v.components[1] and v.components[1].why))
end)

step("journal", function()
  local journal = require "saros.journal"
  assert(journal.is_ours())
  assert(journal.send { MESSAGE = "hello\nfrom saros", PRIORITY = 4,
    SAROS_OPERATION = "trial" })
  assert(journal.send { MESSAGE = ("x"):rep(1 << 20),
    SAROS_OPERATION = "large" })
end)

-- Whether it finds what there is outside.
local function finds(name, command)
  step(name, function() shell(command) end)
end
finds("tmp", "test -e /tmp/file")
finds("home", "test -e /root/file")
finds("modules", "test -e /usr/lib/modules/file")
finds("tcp", "timeout 20 redis-cli -h 127.0.0.1 client id")
finds("socket", "redis-cli -s /run/redis-t/s client id")
finds("readable", "touch /tmp/made && test $(stat -c %a /tmp/made) = 644")
finds("machine", "test -e /proc/meminfo && test -e /proc/uptime")
finds("expedited", ": <>/sys/kernel/rcu_expedited")

-- What thaws is not to wait behind anybody.
step("guard", function()
  local nice
  local _ <close> = vss.writer { name = "looks", level = "system",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d24", freeze_timeout = 600,
    freeze = function()
      nice = shell("f=$(grep -lsx saros-guard /proc/[0-9]*/comm); "
        .. "sed 's/.*) //' ${f%comm}stat | cut -d' ' -f17")
    end }
  local _ <close> = assert(vss.shadow { paths = { "/mnt/i" },
    provider = "image", timeouts = { freeze = 600 } }:wait())
  assert(tonumber(nice) == -20, tostring(nice))
end)

-- What it must not be able to do: a mistake in a configuration, a hook, a
-- program that was restored.
local function refused(name, command)
  step(name, function()
    local r = assert(saros.process { argv = { "sh", "-c", command },
      any_status = true, stderr = "stdout" }:wait())
    assert(r.status ~= 0, "it could")
  end)
end
refused("elsewhere", "touch /etc/x || touch /usr/x || touch /mnt/x/../elsewhere")
refused("clock", "date -s @1")
refused("tunable", "echo 1 >/proc/sys/kernel/sysrq || "
  .. "echo 1 >/sys/kernel/rcu_normal")
refused("cgroup", "mkdir /sys/fs/cgroup/x")
refused("hostname", "hostname elsewhere")
refused("personality", "setarch -R true")
refused("users", "unshare --user true")
refused("processes", "setpriv --reuid=65534 --regid=65534 --clear-groups "
  .. "test -e /proc/1")
refused("disk", "head -c 1 /dev/vdc >/dev/null")
order[#order] = nil -- a workflow on LVM may: only when it is asked for
refused("swap", "cd /mnt/x/img && dd if=/dev/zero of=swap bs=64k count=16 && "
  .. "chmod 600 swap && mkswap swap && swapon swap && swapoff swap")
refused("module", "modprobe dummy || insmod /lib/modules/*/modules.dep")

local asked = { ... }
if #asked == 0 then asked = order end
saros.run(function()
  for _, name in ipairs(asked) do
    local ok, err = pcall(steps[name] or error)
    print((ok and "ok " or "FAIL ") .. name .. (ok and "" or ": "
      .. tostring(err):gsub("\n", " | ")))
    io.stdout:flush()
  end
end)
