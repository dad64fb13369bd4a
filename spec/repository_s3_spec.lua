--- A repository in a bucket, from its first day to its last prune, as a script
--- uses it, and restic beside it: in the small server of spec/s3, and with
--- SAROS_LONG=1 in a real one, Ceph's.

local helper = require "spec.helper"
local saros = helper.saros
local shared = require "spec.repository"
local repository = shared.repository

local function run(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a":gsub("\n$", ""))
end

local place = run "mktemp -d /tmp/saros-spec-XXXXXX"
local src = place .. "/src"

local function quiet(command)
  return os.execute(command .. " >" .. place .. "/out 2>&1") == true
    or error(command .. ":\n" .. run("cat " .. place .. "/out"))
end

local function put(name, text)
  local file <close> = assert(io.open(src .. "/" .. name, "w"))
  file:write(text)
end

--- The small server: where it is, whose it is, and what ends it.
local function small()
  if not os.execute "command -v python3 >/dev/null" then
    return nil, "there is no python3 here to serve with"
  end
  local port = place .. "/port"
  local input = assert(io.popen(
    "exec python3 spec/s3/server.py >" .. port, "w"))
  local number
  repeat
    saros.sleep(0.02):wait()
    local file = io.open(port)
    number = file and file:read "n"
    if file then file:close() end
  until number
  return { endpoint = "http://127.0.0.1:" .. number, access = "AKTEST",
    secret = "sEcReT/canary+key", stop = function() input:close() end,
    -- An empty one whose key costs nothing, in a bucket that is there.
    cheap = function()
      local at = "127.0.0.1:" .. number
      shared.cheap_put("http://" .. at .. "/!object/bucket/a%20cheap%20one/",
        "x")
      return "s3:http://" .. at .. "/bucket/a cheap one"
    end }
end

local function real()
  if not os.getenv "SAROS_LONG" then
    return nil, "a real S3 server takes its time (SAROS_LONG=1)"
  end
  local folder = place .. "/rgw"
  local line = run("spec/s3/up " .. folder .. " 2>/dev/null")
  local port, access, secret = line:match "^(%d+) (%S+) (%S+)"
  if not port then
    os.execute("spec/s3/down " .. folder)
    return nil, "there is no Ceph here, or you are not root (spec/deps s3)"
  end
  return { endpoint = "http://127.0.0.1:" .. port, access = access,
    secret = secret, stop = function()
      os.execute("spec/s3/down " .. folder)
    end }
end

local function story(title, start)
  describe("a repository in " .. title, function()
    if shared.missing then
      pending(shared.missing)
      return
    end
    local server, why = start()
    if not server then
      pending(why)
      return
    end
    local has_restic = os.execute "command -v restic >/dev/null" == true
    local where = "s3:" .. server.endpoint .. "/bucket/a prefix"
    local first, second

    local function open(more)
      local options = { location = where, password = "x",
        access_key = server.access, secret_key = server.secret }
      for name, item in pairs(more or {}) do options[name] = item end
      return repository.open(options)
    end

    local function environment()
      return ("AWS_ACCESS_KEY_ID='%s' AWS_SECRET_ACCESS_KEY='%s' "
        .. "RESTIC_PASSWORD=x RESTIC_REPOSITORY='%s' "):format(server.access,
        server.secret, where)
    end

    local function restic(arguments)
      return quiet(environment() .. "restic --no-cache " .. arguments)
    end

    --- What a backup by restic says that it added.
    local function restic_adds()
      quiet(environment() .. "restic --no-cache backup --force --json " .. src)
      local text = run("tail -n 1 " .. place .. "/out")
      return tonumber(text:match '"data_blobs":(%d+)'),
        tonumber(text:match '"tree_blobs":(%d+)')
    end

    setup(function()
      os.execute("rm -rf " .. src .. " && mkdir -p " .. src .. "/deep/er")
      put("a", ("a line\n"):rep(1000))
      put("deep/er/b", "two two")
      quiet("head -c 9000000 /dev/urandom >" .. src .. "/large")
      quiet("ln -s large " .. src .. "/link")
    end)

    teardown(function() server.stop() end)

    it("is made, once", function()
      local repo <close> = repository.init { location = where, password = "x",
        access_key = server.access, secret_key = server.secret }
      assert.same({}, repo:versions())
      local ok, err = pcall(repository.init, { location = where,
        password = "x", access_key = server.access,
        secret_key = server.secret })
      assert.is_false(ok)
      assert.equal("SAROS_E_REFUSED", err.name)
      assert.matches("already", err.message)
      if server.cheap then where = server.cheap() end
    end)

    it("is backed up to, and told apart", function()
      local repo <close> = open()
      local r = assert(repo:backup { paths = { src }, tags = { "one" },
        pack_size = "4M" }:wait())
      first = r.id
      assert.equal(3, r.files_new)
      assert.equal(0, r.failed)
      r = assert(repo:backup { paths = { src } }:wait())
      assert.equal(3, r.files_unmodified)
      assert.equal(0, r.data_blobs)
      put("new", "new")
      os.remove(src .. "/a")
      r = assert(repo:backup { paths = { src } }:wait())
      second = r.id
      assert.equal(1, r.data_blobs)
      assert.equal(3, #repo:versions())
      assert.equal(first, repo:versions { tags = { "one" } }[1].id)
      local diff = assert(repo:diff { from = first, to = second }:wait())
      assert.equal(1, diff.added.files)
      assert.equal(1, diff.removed.files)
    end)

    it("is looked into", function()
      local repo <close> = open()
      local names = {}
      for _, item in ipairs(assert(repo:ls { version = second }:wait()).items) do
        names[item.path] = item.type
      end
      assert.equal("file", names[src .. "/deep/er/b"])
      assert.equal("symlink", names[src .. "/link"])
      assert.is_nil(names[src .. "/a"])
      local found = assert(repo:find { pattern = "lar*" }:wait())
      assert.equal(3, #found.items)
      local text = {}
      assert(repo:dump { version = first, path = src .. "/a",
        to = function(piece) text[#text + 1] = piece end }:wait())
      assert.equal(("a line\n"):rep(1000), table.concat(text))
      local stats = assert(repo:stats():wait())
      assert.equal(3, stats.versions)
      assert.equal(1, #repo:keys())
      assert.same({}, repo:locks())
    end)

    it("is checked and restored", function()
      local repo <close> = open()
      assert.equal(0,
        assert(repo:check { read_data = true }:wait()).finding_count)
      local to = place .. "/to"
      local r = assert(repo:restore { target = to }:wait())
      assert.equal(0, #r.errors)
      quiet(("diff -r --no-dereference %s %s%s"):format(src, to, src))
      quiet("rm -rf " .. to)
      assert(repo:restore { version = first, target = to,
        include = src .. "/a" }:wait())
      assert.equal(7000, #run("cat " .. to .. src .. "/a") + 1)
      quiet("rm -rf " .. to)
    end)

    it("is restic's, too", function()
      if not has_restic then pending "restic is not installed" return end
      restic "check --read-data"
      restic("restore latest --target " .. place .. "/to")
      quiet(("diff -r --no-dereference %s %s/to%s"):format(src, place, src))
      quiet("rm -rf " .. place .. "/to")
      local data, trees = restic_adds()
      assert.equal(0, data)
      assert.truthy(trees <= 3) -- those above it, which others change
      put("theirs", "of restic")
      restic("backup " .. src)
      local repo <close> = open()
      local r = assert(repo:backup { paths = { src }, force = true }:wait())
      assert.equal(0, r.data_blobs)
      assert.truthy(r.tree_blobs <= 3)
      assert.equal(6, #repo:versions())
    end)

    it("says who keeps it, and lets go of who is dead", function()
      local repo <close> = open()
      local other <close> = open()
      local release = place .. "/release"
      os.execute("rm -f " .. release)
      local op = repo:backup { sources = { { name = "s",
        stream = saros.process { argv = { "sh", "-c", "until [ -e "
          .. release .. " ]; do sleep 0.05; done; echo it" },
          stdout = "stream" } } } }
      repeat saros.sleep(0.02):wait() until #other:locks() == 1
        or op:done()
      local lock = other:locks()[1]
      assert.is_false(lock.exclusive)
      local r, err = other:prune():wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_LOCKED", err.name)
      assert.matches("PID " .. lock.pid .. " on host", err.message)
      assert.matches(" since ", err.message)
      quiet("touch " .. release)
      assert(op:wait())
      assert.same({}, other:locks())
      assert(other:unlock():wait())
    end)

    it("forgets and is pruned", function()
      local repo <close> = open()
      local before = assert(repo:stats():wait())
      local plan = assert(repo:forget { keep_last = 1, group_by = { "host" },
        dry_run = true }:wait())
      assert.equal(before.versions, #repo:versions())
      local r = assert(repo:forget { keep_last = 1,
        group_by = { "host" }, prune = { max_unused = 0 } }:wait())
      assert.equal(#plan.removed, #r.removed)
      assert.equal(1, #repo:versions())
      local after = assert(repo:stats():wait())
      assert.truthy(after.pack_bytes < before.pack_bytes)
      assert(repo:check { read_data = true }:wait())
      if has_restic then restic "check --read-data" end
    end)

    it("opens by what the environment says", function()
      local output = run(environment() .. (os.getenv "LUA" or "lua5.4")
        .. [[ -e 'local repo <close> = require "saros.repository".open()
          print(#repo:versions())' 2>&1]])
      assert.equal("1", output)
    end)

    it("does not open with a wrong key, and gives no secret away", function()
      for _, wrong in ipairs {
        { secret_key = "canary0123456789canary0123456789canary01" },
        { access_key = "NOBODY" }, { password = "canary" } } do
        local ok, err = pcall(open, wrong)
        assert.is_false(ok)
        assert.equal(wrong.password and "SAROS_E_WRONG_PASSWORD"
          or "E_ACCESSDENIED", err.name)
        assert.is_nil(tostring(err):find("canary", 1, true))
      end
    end)
  end)
end

story("a bucket", small)
story("a real bucket", real)

describe("afterwards", function()
  it("nothing is left", function()
    assert.is_true(os.execute("rm -rf " .. place))
  end)
end)
