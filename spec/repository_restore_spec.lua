-- What a script asks of versions: restore, ls, find, diff, dump, stats. That
-- what comes out is right to the byte is proved by the suites in C.

local shared = require "spec.repository"
local repository = shared.repository

if shared.missing then
  describe("saros.repository", function() pending(shared.missing) end)
  return
end

local function shell(format, ...)
  assert(os.execute(format:format(...)), format:format(...))
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

local function quiet(command)
  return os.execute(command .. " >/dev/null 2>&1")
end

describe("a repository that restic has filled", function()
  local base, repo, old, new

  setup(function()
    if not quiet "command -v restic" then return end
    base = os.tmpname()
    os.remove(base)
    shared.cheap_at(base .. "/r", "x")
    shell([[mkdir -p %s/s/d && cd %s && export RESTIC_PASSWORD=x &&
      echo one >s/one && echo two >s/d/two && ln -s one s/link &&
      head -c 3000000 /dev/urandom >s/large &&
      restic -q --no-cache -r r backup --host a --tag first s &&
      rm s/one && echo TWO >s/d/two && echo three >s/d/three &&
      chmod 600 s/large &&
      restic -q --no-cache -r r backup --host b s]], base, base)
    repo = repository.open { location = base .. "/r", password = "x" }
    local versions = repo:versions()
    old, new = versions[1].id, versions[2].id
  end)

  teardown(function()
    if repo then repo:close() end
    if base then shell("rm -rf %s", base) end
  end)

  -- busted's pending is no early return: the rest must not be run.
  local function test(name, f)
    it(name, function()
      if not base then return pending "restic is not here" end
      f()
    end)
  end

  test("is asked for the newest, or for one before it", function()
    local function id(version, more)
      local o = { version = version, path = "/s/d" }
      for name, item in pairs(more or {}) do o[name] = item end
      return assert(repo:ls(o):wait()).version
    end
    assert.same({ new, new, old }, { id "latest", id "latest~0", id "latest~1" })
    assert.equal(old, id("latest", { host = "a" }))
    for _, wrong in ipairs { "latest~2", "latest~", "latest~x", "latest~-1",
      "latest~99999999999", "latestx" }
    do
      assert.is_nil((repo:ls { version = wrong }:wait()), wrong)
    end
    assert.is_nil((repo:ls { version = "latest~1", host = "a" }:wait()))
  end)

  test("is restored", function()
    local out = base .. "/out"
    local op = repo:restore { target = out, name = "restoring" }
    assert.matches("^repository.restore", tostring(op))
    local r = assert(op:wait())
    assert.equal(new, r.version)
    assert.equal(0, #r.errors)
    assert.same({ 4, 1 }, { r.files, r.others })
    assert.matches(": 3 files, 1 link or device, ", tostring(r))
    assert.equal("TWO\n", read(out .. "/s/d/two"))
    shell("diff -r --no-dereference %s/s %s/s", base, out)
    r = assert(repo:restore { target = out, version = old:sub(1, 10),
      delete = true }:wait())
    assert.equal(1, r.removed)
    assert.equal("two\n", read(out .. "/s/d/two"))
    r = assert(repo:restore { target = out, host = "b", dry_run = true }:wait())
    local actions = {}
    for _, item in ipairs(r.items) do actions[item.path] = item.action end
    assert.same({ ["/s/d/three"] = "create", ["/s/d/two"] = "replace",
      ["/s/large"] = "keep", ["/s/link"] = "keep" }, actions)
    assert.equal("two\n", read(out .. "/s/d/two"))
  end)

  test("says what is wrong", function()
    local r, err = repo:restore { target = base .. "/no", version = "zz" }:wait()
    assert.is_nil(r)
    assert.equal("ERROR_NOT_FOUND", err.name)
    assert.error_matches(function() repo:restore {} end,
      "option 'target' is missing")
    assert.has_error(function() repo:restore { where = "x" } end)
    assert.has_error(function() repo:ls { path = 5 } end)
  end)

  test("is listed", function()
    local r = assert(repo:ls():wait())
    local paths = {}
    for _, item in ipairs(r.items) do paths[#paths + 1] = item.path end
    assert.same({ "/s", "/s/d", "/s/d/three", "/s/d/two", "/s/large",
      "/s/link" }, paths)
    r = assert(repo:ls { version = old, path = "s/", recursive = false,
      long = true }:wait())
    assert.equal(5, #r.items)
    local link = r.items[4]
    assert.same({ "/s/link", "symlink", "one" },
      { link.path, link.type, link.target })
    assert.equal(tonumber("644", 8), r.items[5].mode)
    local none, err = repo:ls { path = "/s/nothing" }:wait()
    assert.is_nil(none)
    assert.matches("/s/nothing", err.message)
  end)

  test("is searched", function()
    local function found(options)
      local list = {}
      for _, item in ipairs(assert(repo:find(options):wait()).items) do
        list[#list + 1] = item.path .. "@" ..
          (item.version == old and "old" or "new")
      end
      table.sort(list)
      return table.concat(list, " ")
    end
    assert.equal("/s/one@old", found { pattern = "one" })
    assert.equal("/s/d/three@new /s/d/two@new /s/d/two@old",
      found { pattern = { "T*" }, ignore_case = true })
    assert.equal("/s/d@new /s/d@old", found { pattern = "/s/d" })
    assert.equal("/s/d@old /s@old", found { pattern = "*", type = "dir",
      host = "a", version = old })
    assert.equal("/s/one@old", found { pattern = "one", version = old })
    assert.equal("", found { pattern = "one", version = "latest" })
    assert.error_matches(function() repo:find {} end,
      "option 'pattern' is missing")
    local r, err = repo:find { pattern = "*", version = "ffffffffffff" }:wait()
    assert.is_nil(r)
    assert.matches("no version ffffffffffff", err.message)
  end)

  test("is compared", function()
    local r = assert(repo:diff { from = old, to = new, metadata = true }:wait())
    local changes = {}
    for _, item in ipairs(r.items) do changes[item.path] = item.change end
    assert.equal("removed", changes["/s/one"])
    assert.equal("added", changes["/s/d/three"])
    assert.equal("changed", changes["/s/d/two"])
    assert.equal("metadata", changes["/s/large"])
    assert.is_nil(changes["/s/link"])
    assert.equal(1, r.added.files)
    assert.equal(6, r.added.bytes)
    assert.equal(1, r.removed.files)
    r = assert(repo:diff { from = new, to = new }:wait())
    assert.equal(0, #r.items)
  end)

  test("is dumped", function()
    local whole = read(base .. "/s/large")
    local pieces = {}
    local r = assert(repo:dump { path = "s/large", to = function(piece)
      pieces[#pieces + 1] = piece
    end }:wait())
    assert.equal(#whole, r.bytes)
    assert.is_true(table.concat(pieces) == whole)
    assert(repo:dump { path = "/s/large", to = base .. "/dumped" }:wait())
    assert.is_true(read(base .. "/dumped") == whole)
    local f = assert(io.popen("tar -tf - >" .. base .. "/names", "w"))
    assert(repo:dump { path = "s", to = f, version = old }:wait())
    f:close()
    assert.equal("d/\nd/two\nlarge\nlink\none\n", read(base .. "/names"))
    local none, err = repo:dump { path = "s/nothing",
      to = base .. "/none" }:wait()
    assert.is_nil(none)
    assert.matches("s/nothing", err.message)
    assert.is_nil(io.open(base .. "/none"))
  end)

  test("stops dumping to a function that fails", function()
    local r, err = repo:dump { path = "s/large", to = function()
      error("enough", 0)
    end }:wait()
    assert.is_nil(r)
    assert.matches("enough", tostring(err))
  end)

  test("is measured", function()
    local r = assert(repo:stats { mode = "restore-size",
      version = "latest" }:wait())
    assert.same({ 1, 3, 2, 1, 3000010 },
      { r.versions, r.files, r.directories, r.others, r.bytes })
    r = assert(repo:stats { mode = "raw-data" }:wait())
    assert.equal(2, r.versions)
    assert.equal(6, r.tree_blobs)
    local one = assert(repo:stats { mode = "raw-data", version = old }:wait())
    assert.is_true(one.blob_bytes < r.blob_bytes)
  end)
end)
