--- Copying versions from one repository to another, from Lua.

local helper = require "spec.helper"
local saros = helper.saros
local shared = require "spec.repository"
local repository = shared.repository

local function folder()
  local pipe = assert(io.popen "mktemp -d /tmp/saros-copy-XXXXXX")
  local path = pipe:read "l"
  pipe:close()
  return path
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

describe("copying versions", function()
  if shared.missing then
    pending(shared.missing)
    return
  end

  local place, from, to

  setup(function()
    place = folder()
    from = shared.cheap { location = place .. "/from", password = "x",
      durable = false }
    to = shared.cheap { location = place .. "/to", password = "y",
      durable = false }
    os.execute("mkdir '" .. place .. "/src'")
    for i, host in ipairs { "one", "two" } do
      write(place .. "/src/file", "this is the content " .. i)
      assert(from:backup { paths = { place .. "/src" }, host = host,
        tags = { "t" .. i } }:wait())
    end
  end)

  teardown(function()
    from:close()
    to:close()
    os.execute("rm -rf '" .. place .. "'")
  end)

  it("says what it would do", function()
    local r = assert(from:copy { to = to, dry_run = true }:wait())
    assert.equal(2, #r.copied)
    assert.is_nil(r.copied[1].id)
    assert.equal(0, #to:versions())
  end)

  it("copies those that are asked for, and then the others", function()
    local versions = from:versions()
    local r = saros.run(function()
      return assert(from:copy { to = to, host = "two", name = "away" }:wait())
    end)
    assert.equal(1, #r.copied)
    assert.equal(0, #r.skipped)
    assert.equal(0, #r.failed)
    assert.equal(1, r.data_blobs)
    assert.equal(versions[2].id, r.copied[1].version)
    r = assert(from:copy { to = to, compression = "max" }:wait())
    assert.same({ versions[2].id }, r.skipped)
    assert.equal(versions[1].id, r.copied[1].version)
    local there = to:versions()
    assert.equal(2, #there)
    for i, version in ipairs(there) do
      assert.equal(versions[i].time, version.time)
      assert.equal(versions[i].tree, version.tree)
      assert.equal(versions[i].hostname, version.hostname)
      assert.same(versions[i].tags, version.tags)
      assert.same(versions[i].paths, version.paths)
      assert.equal(versions[i].id, version.original)
      assert.is_nil(version.parent)
    end
    assert(to:check { read_data = true }:wait())
    assert(to:restore { target = place .. "/out" }:wait())
    assert.equal("this is the content 2",
      read(place .. "/out" .. place .. "/src/file"))
  end)

  it("refuses what it does not understand", function()
    assert.error_matches(function() from:copy {} end, "a repository expected")
    assert.error_matches(function() from:copy { to = "there" } end,
      "option 'to'")
    assert.error_matches(function() from:copy { to = io.stdout } end,
      "saros.repository expected")
    assert.error_matches(function() from:copy { to = to, all = true } end,
      "repo:copy has no option 'all'")
    local ok, err = from:copy { to = from }:wait()
    assert.is_nil(ok)
    assert.equal("SAROS_E_REFUSED", err.name)
    local gone = repository.open { location = place .. "/to", password = "y" }
    gone:close()
    assert.error_matches(function() from:copy { to = gone } end,
      "the other repository was closed")
  end)
end)
