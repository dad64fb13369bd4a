-- A repository on a REST server: ours and restic's, on the same one; one that
-- is append-only; where it is and who asks, from the environment.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local shared = require "spec.repository"
local repository = shared.repository

if shared.missing then
  describe("a repository on a REST server", function()
    pending(shared.missing)
  end)
  return
end

local PASSWORD, USER, SECRET = "x", "me", "pass/canary@1"
local python = outside.installed "python3"
local restic = outside.installed "restic"

-- POSTs a text, and prints the answer.
local POST = [[
import sys, urllib.request as u
opener = u.build_opener(u.ProxyHandler({}))
print(opener.open(sys.argv[1], sys.argv[2].encode()).read().decode(), end="")
]]
-- Calls f(port, directory, control) beside a server.
local function with_server(f)
  return outside.directory(function(directory)
    local server <close> = outside.start("sh", "-c",
      "sleep 100000 | exec python3 -u spec/rest/server.py")
    local port = tonumber((server:expect "\n"))
    local function control(what, text)
      local _, how, status = outside.run("python3", "-c", POST,
        ("http://127.0.0.1:%d/!%s"):format(port, what), text)
      assert.same({ "exit", 0 }, { how, status })
    end
    assert(os.execute(("mkdir -p '%s/src/deep'"):format(directory)))
    outside.write(directory .. "/src/a", ("a line\n"):rep(1000))
    outside.write(directory .. "/src/deep/b", "short")
    assert(os.execute(("head -c 3000000 /dev/urandom >'%s/src/random'")
      :format(directory)))
    return f(port, directory, control)
  end)
end

local function options(port, more)
  local o = { location = ("rest:http://127.0.0.1:%d/some/r/"):format(port),
    password = PASSWORD }
  for name, item in pairs(more or {}) do o[name] = item end
  return o
end

-- An empty one whose key costs nothing.
local function put_cheap(port, control)
  control("make", "some/r")
  shared.cheap_put(("http://127.0.0.1:%d/!file/some/r/"):format(port), PASSWORD)
end

local function cheap(port, control)
  put_cheap(port, control)
  return repository.open(options(port))
end

local function run_restic(port, ...)
  return outside.run("env", "RESTIC_PASSWORD=" .. PASSWORD, "restic",
    "--no-cache", "-r",
    ("rest:http://127.0.0.1:%d/some/r/"):format(port), ...)
end

local function good_restic(port, ...)
  local output, how, status = run_restic(port, ...)
  assert.same({ "exit", 0 }, { how, status }, output)
  return output
end

local function same(directory, below)
  local output, _, status = outside.run("sh", "-c",
    ("diff -r '%s/src' \"$(find '%s/%s' -type d -name src -print -quit)\"")
      :format(directory, directory, below))
  assert.equal(0, status, output)
end

describe("a repository on a REST server", function()
  if not python then
    pending "there is no python3 here to serve with"
    return
  end

  it("holds what was put there", function()
    with_server(function(port, directory)
      local repo <close> = repository.init(options(port))
      assert.equal(("rest:http://127.0.0.1:%d/some/r/"):format(port),
        repo:location())
      local r = assert(repo:backup { paths = { directory .. "/src" } }:wait())
      assert.equal(0, r.failed)
      assert.equal(0, assert(repo:check { read_data = true }:wait())
        .finding_count)
      assert(repo:restore { target = directory .. "/back" }:wait())
      same(directory, "back")
      outside.write(directory .. "/src/a", "other")
      assert(repo:backup { paths = { directory .. "/src" } }:wait())
      assert(repo:forget { keep_last = 1 }:wait())
      local pruned = assert(repo:prune { max_unused = 0 }:wait())
      assert.is_true(pruned.packs_removed + pruned.packs_repacked > 0)
      assert.equal(1, #repo:versions())
      assert(repo:check { read_data = true }:wait())
      local ok, err = pcall(repository.init, options(port))
      assert.is_false(ok)
      assert.equal("SAROS_E_REFUSED", err.name)
    end)
  end)

  for _, version in ipairs { 1, 2 } do
    local name = ("takes turns with restic, protocol version %d")
      :format(version)
    if not restic then
      pending(name .. ": there is no restic here")
    else
      it(name, function()
        with_server(function(port, directory, control)
          control("set", ('{"version":%d}'):format(version))
          put_cheap(port, control)
          good_restic(port, "backup", directory .. "/src")
          do
            local repo <close> = repository.open(options(port))
            assert(repo:check { read_data = true }:wait())
            assert(repo:restore { target = directory .. "/ours" }:wait())
            same(directory, "ours")
            local r = assert(repo:backup {
              paths = { directory .. "/src" }, force = true }:wait())
            assert.equal(0, r.data_blobs)
            outside.write(directory .. "/src/new", ("new\n"):rep(5000))
            assert(repo:backup { paths = { directory .. "/src" } }:wait())
          end
          assert.matches("no errors were found",
            good_restic(port, "check", "--read-data"))
          good_restic(port, "restore", "latest", "--target",
            directory .. "/theirs")
          same(directory, "theirs")
          assert.matches("3 snapshots", good_restic(port, "snapshots"))
        end)
      end)
    end
  end

  if restic then
    it("that we have made is restic's, too", function()
      with_server(function(port, directory, control)
        local repo <close> = cheap(port, control)
        assert(repo:backup { paths = { directory .. "/src" } }:wait())
        good_restic(port, "backup", directory .. "/src")
        assert.matches("no errors were found",
          good_restic(port, "check", "--read-data"))
        assert.equal(0, #repo:locks())
      end)
    end)
  else
    pending "that we have made is restic's, too: there is no restic here"
  end

  -- Not ours, and not restic's: rclone's.
  for _, more in ipairs { "", " --append-only" } do
    local name = "is kept by rclone serve restic" .. more
    if not outside.installed "rclone" then
      pending(name .. ": there is no rclone here")
    else
      it(name, function()
        outside.directory(function(directory)
          outside.write(directory .. "/a", ("a line\n"):rep(1000))
          local server <close> = outside.start("sh", "-c",
            ("exec rclone --config /dev/null serve restic --addr 127.0.0.1:0 "
              .. "--user %s --pass %s%s %s/r"):format(USER, SECRET, more,
              directory))
          server:expect "http://127.0.0.1:"
          local port = tonumber((server:expect "/"))
          local repo <close> = repository.init(options(port,
            { rest_username = USER, rest_password = SECRET }))
          for i = 1, 2 do
            outside.write(directory .. "/b", ("%d"):format(i))
            assert(repo:backup { paths = { directory .. "/a",
              directory .. "/b" } }:wait())
          end
          assert(repo:restore { target = directory .. "/back" }:wait())
          assert.equal("2", outside.content(
            directory .. "/back" .. directory .. "/b"))
          local ok, err = repo:forget { keep_last = 1 }:wait()
          local pruned, why = repo:prune { max_unused = 0 }:wait()
          if more == "" then
            assert(ok, err)
            assert(pruned, why)
          else
            assert.matches("0 of 1 versions.*append%-only", err.message)
            assert.matches("nothing was pruned.*append%-only", why.message)
          end
          assert.equal(more == "" and 1 or 2, #repo:versions())
          assert(repo:check { read_data = true }:wait())
          assert.equal(0, #repo:locks())
        end)
      end)
    end
  end

  it("keeps everything when it is append-only, and says so", function()
    with_server(function(port, directory, control)
      control("set", '{"append_only":true}')
      local repo <close> = cheap(port, control)
      for i = 1, 2 do
        outside.write(directory .. "/src/a", (i .. "\n"):rep(9000))
        assert(repo:backup { paths = { directory .. "/src" } }:wait())
      end
      local ok, err = repo:forget { keep_last = 1 }:wait()
      assert.is_nil(ok)
      assert.equal(saros.code.SAROS_E_ACCESSDENIED, err.code)
      assert.matches("0 of 1 versions were removed", err.message)
      assert.matches("append%-only", err.message)
      assert.equal(2, #repo:versions())
      assert(repo:prune { dry_run = true }:wait())
      -- Somebody may on the machine itself; what is left over then stays.
      control("set", '{"append_only":false}')
      assert(repo:forget { keep_last = 1 }:wait())
      control("set", '{"append_only":true}')
      local before = assert(repo:stats():wait())
      ok, err = repo:prune { max_unused = 0 }:wait()
      assert.is_nil(ok)
      assert.equal(saros.code.SAROS_E_ACCESSDENIED, err.code)
      assert.matches("nothing was pruned.*remove anything.*append%-only", err.message)
      assert.same(before, assert(repo:stats():wait()))
      assert(repo:check { read_data = true }:wait())
      assert.equal(0, #repo:locks())
    end)
  end)

  it("is found, and knows who asks, by the environment", function()
    with_server(function(port, directory, control)
      control("set", '{"auth":true}')
      local script = directory .. "/script.lua"
      outside.write(script, [[
        local repository = require "saros.repository"
        local ok, repo = pcall(repository[arg[1] ], {})
        print(ok and repo:location() or repo.message)
        if not ok then os.exit(1) end
        repo:backup { paths = { arg[2] } }:wait()
        print(#repo:versions())
        repo:close()]])
      local function run(location, what, first, second)
        return outside.run("env", "LUA_PATH=" .. outside.lua_path,
          "LUA_CPATH=" .. outside.lua_cpath, "RESTIC_PASSWORD=" .. PASSWORD,
          "RESTIC_REPOSITORY=" .. location:format(port), first, second or "Y=",
          outside.lua, script, what, directory .. "/src")
      end
      local here = "rest:http://127.0.0.1:%d/r"
      local output = run(here, "init", "RESTIC_REST_USERNAME=" .. USER,
        "RESTIC_REST_PASSWORD=" .. SECRET)
      assert.equal((here .. "/\n1\n"):format(port), output)
      -- In the location, as restic has it.
      output = run("rest:http://me:pass%%2Fcanary%%401@127.0.0.1:%d/r/", "open",
        "X=")
      assert.equal((here .. "/\n2\n"):format(port), output)
      for _, wrong in ipairs { "X=", "RESTIC_REST_PASSWORD=wrong" } do
        output = run(here, "open", wrong)
        assert.matches("the server answers 401", output)
      end
      output = run("rest:http://me:canary@127.0.0.1:%d/r/", "open", "X=")
      assert.matches("the password is wrong", output)
      assert.is_nil(output:find("canary", 1, true))
      local ok, err = pcall(repository.open, options(port))
      assert.is_false(ok)
      assert.equal(saros.code.SAROS_E_ACCESSDENIED, err.code)
      local repo <close> = repository.init(options(port,
        { rest_username = USER, rest_password = SECRET }))
      assert.equal(0, #repo:versions())
      assert.is_nil(tostring(repo):find("canary", 1, true))
    end)
  end)
end)
