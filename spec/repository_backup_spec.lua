-- Backups as a script makes them: options, results, streams, and what is
-- misused. What is stored, byte for byte, is spec/c/test_repo_backup.c's.

local saros = require "saros"

local shared = require "spec.repository"

local function run(command)
  local p <close> = assert(io.popen(command))
  return p:read "a"
end

describe("repo:backup", function()
  if shared.missing then
    pending(shared.missing)
    return
  end

  local place, repo

  local function put(name, text)
    local f <close> = assert(io.open(place .. "/src/" .. name, "w"))
    f:write(text)
  end

  before_each(function()
    place = run("mktemp -d /tmp/saros-spec-XXXXXX"):gsub("\n", "")
    os.execute("mkdir " .. place .. "/src")
    put("a", "one")
    put("b", "two two")
    repo = shared.cheap { location = place .. "/r", password = "x",
      durable = false }
  end)

  after_each(function()
    repo:close()
    os.execute("rm -rf " .. place)
  end)

  it("says what it did", function()
    local r = assert(repo:backup { paths = { place .. "/src" },
      tags = { "t" }, host = "h" }:wait())
    assert.equal(2, r.files_new)
    assert.equal(10, r.bytes)
    assert.equal(2, r.data_blobs)
    assert.equal(0, r.failed)
    assert.same({}, r.errors)
    local versions = repo:versions()
    assert.equal(1, #versions)
    assert.equal(r.id, versions[1].id)
    assert.equal(r.tree, versions[1].tree)
    assert.same({ "t" }, versions[1].tags)
    assert.equal("h", versions[1].hostname)
    assert.equal(2, versions[1].summary.files_new)
    assert.same({ place .. "/src" }, versions[1].paths)
  end)

  it("is partial when something cannot be read, and lists it", function()
    local op = repo:backup { paths = { place .. "/src", place .. "/none" } }
    local r = assert(op:wait())
    assert.equal(saros.code.SAROS_S_PARTIAL, (op:query()))
    assert.equal(1, r.failed)
    assert.equal(place .. "/none", r.errors[1].path)
    assert.equal(2, r.errors[1].errno)
    assert.truthy(r.id)
  end)

  it("reads what a process writes", function()
    local r = assert(repo:backup { sources = { place .. "/src",
      { name = "dump.sql", stream = saros.process {
        argv = { "sh", "-c", "echo it is" }, stdout = "stream" } } } }:wait())
    assert.equal(3, r.files_new)
    assert.equal(16, r.bytes)
    assert.same({ place .. "/src", "/dump.sql" }, repo:versions()[1].paths)
  end)

  it("writes no version when a process fails", function()
    local r, err = repo:backup { sources = { { name = "dump.sql",
      stream = saros.process { argv = { "sh", "-c", "echo a part; exit 3" },
        stdout = "stream" } } } }:wait()
    assert.is_nil(r)
    assert.equal("SAROS_E_EXIT", err.name)
    assert.matches("the stream dump.sql failed", err.message)
    assert.equal(0, #repo:versions())
  end)

  it("shows a shadow as what it was taken of", function()
    os.execute(("mkdir %s/shadow && cp -a %s/src/. %s/shadow")
      :format(place, place, place))
    local r = assert(repo:backup { sources = { { path = place .. "/shadow",
      origin = { path = place .. "/src" } } } }:wait())
    assert.equal(2, r.files_new)
    assert.same({ place .. "/src" }, repo:versions()[1].paths)
  end)

  it("is refused when it is misused", function()
    assert.error_matches(function() repo:backup { path = "/" } end,
      "has no option 'path'")
    assert.error_matches(function()
      repo:backup { paths = { "/" }, sources = { "/" } }
    end, "not both")
    assert.error_matches(function()
      repo:backup { sources = { { stream = 0 } } }
    end, "option 'name' is missing")
    assert.error_matches(function()
      repo:backup { sources = { { name = "x", stream = {} } } }
    end, "an operation or a descriptor")
    assert.error_matches(function()
      repo:backup { sources = { { name = "x", stream = saros.sleep(0) } } }
    end, "cannot be read")
    assert.error_matches(function() repo:backup {} end,
      "repo:backup: say what to back up")
  end)
end)
