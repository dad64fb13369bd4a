-- Under the unit, in a guest: everything that a workflow may want to do. A line
-- for each, which spec/systemd_spec.lua reads.
local saros = require "saros"
local vss, repository = saros.vss, require "saros.repository"
local function step(name, f)
  local ok, err = pcall(f)
  print((ok and "ok " or "FAIL ") .. name .. (ok and "" or ": " .. tostring(err)))
  io.stdout:flush()
end
local repo = repository.open { location = "/mnt/r/repo", password = "x" }
local function shadow(name, path, provider, more)
  step(name, function()
    local o = { paths = { path }, provider = provider }
    for k, v in pairs(more or {}) do o[k] = v end
    local set <close> = assert(vss.shadow(o):wait())
    assert(set[path].provider == provider, set[path].provider)
    local op = repo:backup { sources = { set } }
    local r = assert(op:wait())
    assert(r.failed == 0, r.failed > 0 and r.errors[1].message)
    assert(set:backup_complete():wait())
  end)
end
saros.run(function()
  shadow("btrfs", "/mnt/b/sub", "btrfs")
  shadow("image", "/mnt/i", "image")
  shadow("reflink", "/mnt/x/data", "reflink")
  shadow("copy", "/etc", "copy")
  step("read", function()
    local r = assert(repo:backup { paths = { "/mnt/x/data" } }:wait())
    assert(r.failed == 0, r.failed > 0 and r.errors[1].message)
  end)
  step("process", function()
    local process = require "saros.writers.process"
    local _ <close> = process.writer { name = "p", command = "sleeper 100000",
      files = { "/mnt/x/data" } }
    local set <close> = assert(vss.shadow { paths = { "/mnt/x/data" } }:wait())
    assert(#(set.left_out or {}) == 0, set.left_out and set.left_out[1] and tostring(set.left_out[1].reason))
  end)
  step("redis", function()
    local redis = require "saros.writers.redis"
    local _ <close> = redis.writer { socket = "/run/redis-t/s" }
    local v = assert(saros.wsb.backup { repository = repo,
      paths = { "/mnt/x/redis" } }:wait())
    assert(#v.components == 1 and v.components[1].recoverable ~= false,
      #v.components .. " " .. tostring(v.components[1] and v.components[1].why))
  end)
  step("drill", function()
    local d = assert(saros.drill { repository = repo }:wait())
    assert(tostring(d):find "passed", tostring(d))
  end)
  step("journal", function()
    assert(require "saros.journal".send { MESSAGE = "hello\nfrom saros",
      PRIORITY = 4, SAROS_OPERATION = "trial" })
    assert(require "saros.journal".send { MESSAGE = ("x"):rep(1 << 20), SAROS_OPERATION = "large" })
    assert(require "saros.sd".notify { status = "in the trial", ready = true })
  end)
end)
