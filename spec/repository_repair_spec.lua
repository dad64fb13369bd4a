--- Repairing a repository, from Lua.

local helper = require "spec.helper"
local saros = helper.saros
local shared = require "spec.repository"

local function run(command)
  local pipe = assert(io.popen(command))
  local line = pipe:read "l"
  pipe:close()
  return line
end

describe("repairing", function()
  if shared.missing then
    pending(shared.missing)
    return
  end

  local place, repo

  before_each(function()
    place = run "mktemp -d /tmp/saros-repair-XXXXXX"
    repo = shared.cheap { location = place .. "/r", password = "x",
      durable = false }
    os.execute(("mkdir '%s/src' && echo one >'%s/src/a' && echo two >'%s/src/b'")
      :format(place, place, place))
    assert(repo:backup { paths = { place .. "/src" }, tags = { "t" } }:wait())
  end)

  after_each(function()
    repo:close()
    os.execute("rm -rf '" .. place .. "'")
  end)

  it("does nothing where nothing is wrong", function()
    for _, what in ipairs { "index", "packs" } do
      local r = assert(repo:repair { what = what }:wait())
      assert.is_false(r.changed)
      assert.equal(0, #r.findings)
      assert.equal(what == "packs" and r.packs or 0, r.packs_read)
    end
    assert.equal(1, assert(repo:repair { what = "versions" }:wait()).whole)
  end)

  it("makes an index", function()
    os.execute(("rm -f '%s'/r/index/*"):format(place))
    local r = assert(repo:repair { what = "index", dry_run = true }:wait())
    assert.is_true(r.changed)
    assert.equal(r.packs, r.packs_added)
    assert(not repo:check():wait())
    r = assert(repo:repair { what = "index", name = "repair" }:wait())
    assert.equal(1, r.index_files_new)
    assert(repo:check { read_data = true }:wait())
  end)

  it("saves what is good, and leaves out what is lost", function()
    -- of the pack of files: one byte in its first piece
    local pack = run(("cd '%s/r' && ls -S data/*/* | tail -n 1")
      :format(place))
    pack = ("%s/r/%s"):format(place, pack)
    local whole <close> = assert(io.open(pack, "rb"))
    local bytes = whole:read "a"
    os.execute(("rm -f '%s'"):format(pack))
    local file <close> = assert(io.open(pack, "wb"))
    file:write(bytes:sub(1, 18), string.char(bytes:byte(19) ~ 1), bytes:sub(20))
    file:close()
    local r = saros.run(function()
      local op = repo:repair { what = "packs" }
      local result = assert(op:wait())
      assert.equal("SAROS_S_PARTIAL", op:status().name)
      return result
    end)
    assert.equal(1, r.packs_damaged)
    assert.equal(1, r.packs_removed)
    assert.equal(1, r.blobs_lost)
    assert.equal(1, r.blobs_saved)
    local versions = repo:versions()
    r = assert(repo:repair { what = "versions" }:wait())
    assert.equal(1, #r.versions)
    assert.equal(versions[1].id, r.versions[1].version)
    assert.is_false(r.versions[1].removed)
    assert.equal(1, r.versions[1].lost_count)
    assert.equal("file", r.versions[1].lost[1].type)
    assert.equal(1, r.versions[1].lost[1].missing)
    assert.equal(place .. "/src/", r.versions[1].lost[1].path:sub(1, -2))
    versions = repo:versions { tags = { "repaired" } }
    assert.equal(1, #versions)
    assert.same({ "t", "repaired" }, versions[1].tags)
    r = assert(repo:repair { what = "versions", forget = true }:wait())
    assert.is_true(r.versions[1].removed)
    assert(repo:check { read_data = true }:wait())
  end)

  it("refuses what it does not understand", function()
    assert.error_matches(function() repo:repair { what = 1 } end,
      "option 'what'")
    assert.error_matches(function() repo:repair { all = true } end,
      "repo:repair has no option 'all'")
    assert.error_matches(function() repo:repair() end,
      "option 'what' is missing")
    assert.error_matches(function() repo:repair { what = "all" } end,
      "\"index\", \"packs\" or \"versions\" expected, got \"all\"")
    assert.error_matches(function()
      repo:repair { what = "versions", versions = { a = 1 } }
    end, "option 'versions': a list of texts expected")
    for _, options in ipairs {
      { what = "index", packs = { "x" } }, { what = "packs", packs = { "x" } },
    } do
      local ok, err = repo:repair(options):wait()
      assert.is_nil(ok)
      assert.equal("E_INVALIDARG", err.name)
    end
  end)
end)
