--- How long a repository has been locked, in the figures: as the last run that
--- used it has found it. The lock is as restic makes it, and reads it.

require "spec.helper"
local cli = require "spec.cli"
local outside = require "spec.outside"

local DAYS <const> = 86400

-- A shared lock of another host, from the key that restic shows: time, IV,
-- ciphertext and tag. (All that is not openssl's is the shell's.)
local LOCK <const> = [[
set -e
cd '%s'
export RESTIC_REPOSITORY=$PWD/repo RESTIC_PASSWORD_FILE=$PWD/password
key() {
  sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" key | base64 -d | od -An -v -tx1 |
    tr -d ' \n'
}
restic --no-cache cat masterkey >key
printf '{"time":"%s","exclusive":false,"hostname":"elsewhere","username":"u","pid":7}' >plain
head -c 16 /dev/urandom >iv
openssl enc -aes-256-ctr -K $(key encrypt) -iv $(od -An -v -tx1 iv | tr -d ' \n') \
  -in plain -out sealed
openssl enc -aes-128-ecb -nopad -K $(key k) -in iv -out once
once=$(key r)$(od -An -v -tx1 once | tr -d ' \n')
openssl mac -binary -macopt hexkey:$once -in sealed -out tag POLY1305
cat iv sealed tag >lock
mv lock repo/locks/$(sha256sum lock | cut -c 1-64)
restic --no-cache --no-lock list locks | wc -l
restic --no-cache --no-lock cat lock $(ls repo/locks) | grep -c elsewhere
]]

local CONFIG <const> = [[
repository = "%s/repo"
password = { file = "%s/password" }
metrics = "%s/saros.prom"
workflow "nightly" { sources = { "%s/src" }, to = { "%s/repo" }, provider = "copy" }
]]

local function with(f)
  if not (outside.installed "restic" and outside.installed "openssl") then
    pending "restic or openssl is not installed"
    return
  end
  return outside.directory(function(root)
    assert(os.execute(("chmod 711 '%s'; mkdir -m 700 '%s/state'; mkdir '%s/src'")
      :format(root, root, root)))
    outside.write(root .. "/config.lua", (CONFIG:gsub("%%s", root)))
    outside.write(root .. "/password", "secret-4711\n")
    outside.write(root .. "/src/a", "a")
    assert(os.execute(("chmod 600 '%s/password' '%s/config.lua'"):format(root, root)))
    local p = { root = root }
    function p.run(code, ...)
      local argv = { ... }
      table.insert(argv, 2, "--config=" .. root .. "/config.lua")
      return cli.ends(code, argv, { env = { SAROS_STATE_DIR = root .. "/state",
        TMPDIR = root } })
    end
    function p.init()
      cli.ends(0, { "init", "--no-config", "--repo", root .. "/repo", "-p",
        root .. "/password" }, { env = { SAROS_STATE_DIR = root .. "/state" } })
    end
    function p.age()
      local text = assert(outside.content(root .. "/saros.prom"))
      return tonumber(text:match(('\nsaros_lock_age_seconds{location="%s/repo"} (%%S+)')
        :format(root:gsub("%p", "%%%0"))))
    end
    -- One that is so many seconds old.
    function p.lock(age)
      local said = outside.run("bash", "-c", LOCK:format(root,
        os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - age)))
      assert.equal("1\n1\n", said)
    end
    return f(p)
  end)
end

describe("the age of locks", function()
  it("is nothing where nobody has one", function()
    with(function(p)
      p.init()
      p.run(0, "backup", p.root .. "/src", "--shadow", "never")
      assert.equal(0, p.age())
    end)
  end)

  it("is that of the oldest, and stays until somebody looks again", function()
    with(function(p)
      p.init()
      p.lock(3 * DAYS)
      p.run(0, "backup", p.root .. "/src", "--shadow", "never")
      local age = p.age()
      assert.is_true(age >= 3 * DAYS and age < 4 * DAYS)
      -- A run that has nothing to do with it.
      p.run(0, "hold", p.root .. "/src", "--provider", "copy", "--", "true")
      assert.equal(age, p.age())
      p.run(0, "unlock", "--all")
      p.run(0, "backup", p.root .. "/src", "--shadow", "never")
      assert.equal(0, p.age())
    end)
  end)

  it("is told of a workflow's targets", function()
    with(function(p)
      p.init()
      p.lock(2 * DAYS)
      p.run(0, "run", "nightly")
      local age = p.age()
      assert.is_true(age >= 2 * DAYS and age < 3 * DAYS)
    end)
  end)
end)
