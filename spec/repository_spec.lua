-- saros.repository: made, opened, locked, listed; against real restic.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local saros = helper.saros
local code = saros.code
local repository, PASSWORD = shared.repository, shared.PASSWORD

if shared.missing then
  describe("saros.repository", function() pending(shared.missing) end)
  return
end

local restic = outside.installed "restic"

-- A directory, and where a repository shall be in it.
local function with(f)
  return outside.directory(function(directory)
    return f(directory .. "/r", directory)
  end)
end

local function options(location, more)
  local o = { location = location, password = PASSWORD, durable = false }
  for name, item in pairs(more or {}) do o[name] = item end
  return o
end

local function raises(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

-- Runs restic with the password in a file.
local function run_restic(directory, ...)
  local password = directory .. "/restic-password"
  outside.write(password, PASSWORD .. "\n")
  local output, how, status = outside.run("restic", "--no-cache", "-r",
    directory .. "/r", "--password-file", password, ...)
  return how == "exit" and status or -1, output
end

local function good_restic(directory, ...)
  local status, output = run_restic(directory, ...)
  assert.equal(0, status, output)
  return output
end

-- Some files, to be backed up.
local function some_files(directory)
  assert(os.execute(("mkdir -p '%s/src/deep'"):format(directory)))
  outside.write(directory .. "/src/a", ("a line\n"):rep(1000))
  outside.write(directory .. "/src/deep/b", "short")
  return directory .. "/src"
end

local function with_restic(name, f)
  if not restic then
    pending(name .. ": there is no restic here (Debian: restic)")
    return
  end
  it(name, f)
end

describe("repository.init", function()
  it("makes one that can be opened", function()
    with(function(path)
      do
        local repo <close> = repository.init(options(path))
        assert.equal(path, repo:location())
        assert.equal("saros.repository: " .. path, tostring(repo))
        assert.same({}, repo:versions())
      end
      local repo <close> = repository.open(options(path))
      local stats = assert(repo:stats():wait())
      assert.equal(2, stats.format)
      assert.equal(1, stats.keys)
      assert.equal(0, stats.packs)
    end)
  end)

  it("refuses where there is one", function()
    with(function(path)
      shared.cheap_at(path, PASSWORD)
      local err = raises(repository.init, options(path))
      assert.equal(code.SAROS_E_REFUSED, err.code)
      assert.equal("SAROS_E_REFUSED", err.name)
      repository.open(options(path)):close()
    end)
  end)

  with_restic("makes what restic takes for its own", function()
    for version = 1, 2 do
      with(function(path, directory)
        repository.init(options(path, { version = version })):close()
        assert.matches("no errors were found", good_restic(directory, "check"))
        good_restic(directory, "backup", some_files(directory))
        assert.matches("no errors were found",
          good_restic(directory, "check", "--read-data"))
        assert.matches("1 snapshots", good_restic(directory, "snapshots"))
        local repo <close> = repository.open(options(path))
        assert.equal(version, assert(repo:stats():wait()).format)
        assert.equal(1, #repo:versions())
      end)
    end
  end)
end)

describe("repository.open", function()
  it("says that there is none", function()
    with(function(path)
      local err = raises(repository.open, options(path))
      assert.matches("there is no repository in " .. path, err.message, 1, true)
      assert.equal(2, err.code & 0xFFFF)
    end)
  end)

  it("says that the password is wrong, and not what it was", function()
    with(function(path)
      shared.cheap_at(path, PASSWORD)
      local said = {}
      saros.config { log = function(record)
        said[#said + 1] = record.text
      end }
      local secret = "swordfish-7734"
      local err = raises(repository.open, options(path, { password = secret }))
      helper.settle()
      saros.config { log = false }
      assert.equal(code.SAROS_E_WRONG_PASSWORD, err.code)
      assert.is_nil(tostring(err):find(secret, 1, true))
      assert.is_nil(table.concat(said, "\n"):find(secret, 1, true))
      local status = saros.spawn(function()
        return repository.open(options(path, { password = secret }))
      end)
      assert.is_nil(status:wait())
      for _, item in pairs(status:status()) do
        assert.is_nil(tostring(item):find(secret, 1, true))
      end
    end)
  end)

  it("takes the password from where it is told", function()
    with(function(path, directory)
      shared.cheap_at(path, PASSWORD)
      outside.write(directory .. "/password", PASSWORD .. "\n")
      for _, password in ipairs {
        { file = directory .. "/password" }, { text = PASSWORD },
        { command = { "cat", directory .. "/password" } },
        { command = "cat '" .. directory .. "/password'" },
      } do
        repository.open(options(path, { password = password })):close()
      end
      local err = raises(repository.open,
        options(path, { password = { file = directory .. "/none" } }))
      assert.is_string(err.message)
    end)
  end)

  it("raises what is misused in the script's line", function()
    assert.matches("repository_spec.lua:%d+: repository.open has no option",
      raises(function() repository.open { locatoin = "/x" } end))
    assert.matches("option 'version': whole number expected, got \"2\"",
      raises(function() repository.open { version = "2" } end))
    assert.matches("a table of options expected",
      raises(function() repository.init "/x" end))
    local err = raises(repository.open, { location = "rest:https://a:b@c d/" })
    assert.equal(code.E_INVALIDARG, err.code)
    assert.is_nil(err.message:find("a:b", 1, true))
  end)

  -- The password comes from the other task: without it nothing is opened.
  it("yields in a task", function()
    with(function(path, directory)
      shared.cheap_at(path, PASSWORD)
      local gate = directory .. "/gate"
      assert(os.execute(("mkfifo '%s'"):format(gate)))
      local writer <close> = assert(io.open(gate, "r+"))
      local order = {}
      saros.run(function()
        local other = saros.spawn(function()
          order[#order + 1] = "other"
          assert(writer:write(PASSWORD, "\n"))
          writer:flush()
        end)
        local _ <close> = repository.open(options(path, {
          password = { command = { "head", "-n", "1", gate } } }))
        order[#order + 1] = "open"
        other:wait()
      end)
      assert.same({ "other", "open" }, order)
    end)
  end)

  it("is closed by its block, and does not answer any more", function()
    with(function(path)
      local kept
      do
        local repo <close> = shared.cheap(options(path))
        kept = repo
      end
      assert.equal("saros.repository: closed", tostring(kept))
      assert.matches("closed", raises(kept.versions, kept))
      assert.is_true(kept:close())
    end)
  end)

  with_restic("opens what restic has made", function()
    for version = 1, 2 do
      with(function(path, directory)
        good_restic(directory, "init", "--repository-version",
          tostring(version))
        local source = some_files(directory)
        good_restic(directory, "backup", "--host", "web1", "--tag", "one",
          source)
        outside.write(source .. "/c", "another")
        good_restic(directory, "backup", "--host", "web2", "--tag", "one,two",
          source)
        local repo <close> = repository.open(options(path))
        local all = repo:versions()
        assert.equal(2, #all)
        assert.equal("web1", all[1].hostname)
        assert.same({ source }, all[1].paths)
        assert.same({ "one", "two" }, all[2].tags)
        assert.matches("^%x+$", all[2].id)
        assert.equal(64, #all[2].tree)
        assert.same({ all[2] }, repo:versions { host = "web2" })
        assert.same({ all[2] }, repo:versions { tags = { "two" } })
        assert.same({}, repo:versions { tags = { "one" }, host = "none" })
        assert.same(all, repo:versions { paths = { source } })
        local listed = good_restic(directory, "snapshots")
        for _, v in ipairs(all) do
          assert.matches(v.id:sub(1, 8), listed, 1, true)
        end
        local stats = assert(repo:stats():wait())
        assert.equal(version, stats.format)
        assert.equal(2, stats.versions)
        assert.is_true(stats.data_blobs >= 3 and stats.tree_blobs >= 4)
        assert.is_true(stats.packs >= 2 and stats.pack_bytes > 0)
      end)
    end
  end)
end)

describe("keys", function()
  it("let passwords in, and out", function()
    with(function(path)
      local repo <close> = shared.cheap(options(path))
      local first = repo:keys()
      assert.equal(1, #first)
      assert.is_true(first[1].current)
      local id = assert(repo:add_key { password = "second" }:wait())
      assert.equal(2, #repo:keys())
      repository.open(options(path, { password = "second" })):close()
      local _, err = repo:remove_key(first[1].id):wait()
      assert.equal(code.SAROS_E_REFUSED, err.code)
      assert(repo:remove_key(id:sub(1, 12)):wait())
      err = raises(repository.open, options(path, { password = "second" }))
      assert.equal(code.SAROS_E_WRONG_PASSWORD, err.code)
      _, err = repo:remove_key "ffff00000000":wait()
      assert.matches("no key whose id begins", err.message)
      assert(repo:change_password { password = "third" }:wait())
      assert.equal(1, #repo:keys())
      assert.is_true(repo:keys()[1].current)
      raises(repository.open, options(path))
      repository.open(options(path, { password = "third" })):close()
      assert.same({}, repo:locks())
    end)
  end)

  with_restic("are restic's", function()
    with(function(path, directory)
      good_restic(directory, "init")
      do
        local repo <close> = repository.open(options(path))
        assert(repo:add_key { password = "second" }:wait())
      end
      assert.equal(2, select(2, good_restic(directory, "key", "list")
        :gsub("\n[ *]%x%x%x%x%x%x%x%x ", "")))
      outside.write(directory .. "/second", "second")
      local _, how, status = outside.run("restic", "--no-cache", "-r", path,
        "--password-file", directory .. "/second", "check")
      assert.same({ "exit", 0 }, { how, status })
    end)
  end)
end)

describe("locks", function()
  -- restic, holding a lock while its backup reads from a pipe that we hold.
  local function restic_at_work(directory)
    local fifo = directory .. "/fifo"
    assert(os.execute(("mkfifo '%s'"):format(fifo)))
    outside.write(directory .. "/restic-password", PASSWORD .. "\n")
    return outside.start("sh", "-c", ("exec 3<>'%s'; exec restic --no-cache "
      .. "-r '%s/r' --password-file '%s/restic-password' backup --stdin <&3")
      :format(fifo, directory, directory))
  end

  local function until_locked(repo)
    return outside.eventually("restic holds a lock", function()
      return repo:locks()[1]
    end)
  end

  with_restic("of restic keep us off, and say whose they are", function()
    with(function(path, directory)
      local repo <close> = shared.cheap(options(path))
      local p <close> = restic_at_work(directory)
      local lock = until_locked(repo)
      assert.is_false(lock.exclusive)
      assert.is_false(lock.stale)
      assert.is_nil(lock.error)
      assert(repo:stats():wait()) -- shared is shared
      local _, err = repo:change_password { password = "x" }:wait()
      assert.equal(code.SAROS_E_LOCKED, err.code)
      assert.is_true(err.retryable)
      assert.matches(("PID %d on host %s"):format(lock.pid, lock.hostname),
        err.message, 1, true)
      assert.matches("since %d+%-%d+%-%d+T", err.message)
      -- What is waited for can be cancelled.
      local patient <close> = repository.open(
        options(path, { retry_lock = 3600 }))
      local op = patient:change_password { password = "x" }
      outside.eventually("waiting", function()
        return op:status().phase == "waiting for a lock"
      end)
      assert.equal(0, op:cancel())
      _, err = op:wait()
      assert.is_true(err.cancelled)
      assert.equal(1, #repo:locks())
      -- Killed, it is proved dead, and in nobody's way.
      outside.system.kill(-p.pid, 9)
      p:finish()
      assert(patient:change_password { password = PASSWORD }:wait())
      assert.same({}, repo:locks())
    end)
  end)

  it("that are not there need no unlock", function()
    with(function(path)
      local repo <close> = shared.cheap(options(path))
      assert.equal(0, assert(repo:unlock():wait()))
      assert.equal(0, assert(repo:unlock { all = true }:wait()))
    end)
  end)

  with_restic("of a restic that died are removed by unlock", function()
    with(function(path, directory)
      local repo <close> = shared.cheap(options(path))
      do
        local _ <close> = restic_at_work(directory)
        until_locked(repo)
      end -- killed
      assert.is_true(repo:locks()[1].stale)
      assert.equal(1, assert(repo:unlock():wait()))
      assert.same({}, repo:locks())
    end)
  end)
end)

describe("a forked child", function()
  it("has to open its own", function()
    with(function(path)
      shared.cheap_at(path, PASSWORD)
      local output, how, status = outside.run(outside.lua, "-e", ([[
        package.path, package.cpath = %q, %q
        local repository = require "saros.repository"
        local system = require "testmod".system
        local o = { location = %q, password = %q }
        local repo = repository.open(o)
        print(#repo:versions())
        io.stdout:flush()
        local pid = system.fork()
        if pid == 0 then
          print(select(2, pcall(repo.versions, repo)))
          repo:close()
          local own = repository.open(o)
          print(#own:versions())
          own:close()
        else
          system.wait(pid, 60000)
          print(#repo:versions())
        end
      ]]):format(outside.lua_path, outside.lua_cpath, path, PASSWORD))
      assert.same({ "exit", 0 }, { how, status }, output)
      assert.matches("^0\n[^\n]*the parent, who forked[^\n]*\n0\n0\n$", output)
    end)
  end)
end)
