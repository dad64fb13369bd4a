-- A backup of what vss gives: sets of shadows and single ones, with paths and
-- streams beside them. The version shows the originals, so the next one, of
-- another shadow, finds everything where it was.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"
local vss_case = require "spec.vss"

local saros, vss = helper.saros, vss_case.vss

if shared.missing then
  describe("a backup of shadows", function() pending(shared.missing) end)
  return
end

local function shadow(d, paths, provider)
  return assert(vss.shadow { paths = paths, provider = provider or "copy",
    state_dir = d.state }:wait())
end

local function with(f)
  local d <close> = vss_case.directory()
  shared.with(function(p) f(p, d) end)
end

local function lines(text)
  return saros.process { argv = { "printf", text }, stdout = "stream" }
end

describe("a backup of shadows", function()
  it("takes a set, paths and streams in one version", function()
    with(function(p, d)
      p.put("plain", "a plain file")
      local set <close> = shadow(d, { d.a, d.b })
      local r = assert(p.repo:backup { sources = { set, p.src,
        { name = "db.sql", stream = lines "it is" } } }:wait())
      assert.equal(4, r.files_new)
      assert.equal(0, r.failed)
      assert.same({ d.a, d.b, p.src, "/db.sql" }, p.repo:versions()[1].paths)
      local function content(path)
        local pieces = {}
        assert(p.repo:dump { path = path, to = function(piece)
          pieces[#pieces + 1] = piece
        end }:wait())
        return table.concat(pieces)
      end
      assert.equal("one\n", content(d.a .. "/file"))
      assert.equal("two\n", content(d.b .. "/file"))
      assert.equal("a plain file", content(p.src .. "/plain"))
      assert.equal("it is", content "/db.sql")
      assert(set:backup_complete():wait())
    end)
  end)

  it("takes one shadow of a set, or the set alone", function()
    with(function(p, d)
      local set <close> = shadow(d, { d.a, d.b })
      assert(p.repo:backup { sources = { set[d.b] } }:wait())
      assert(p.repo:backup { sources = set }:wait())
      assert(p.repo:backup { sources = set[d.a] }:wait())
      local versions = p.repo:versions()
      assert.same({ d.b }, versions[1].paths)
      assert.same({ d.a, d.b }, versions[2].paths)
      assert.same({ d.a }, versions[3].paths)
    end)
  end)

  it("is of the instant, whatever happens to the original", function()
    with(function(p, d)
      local set <close> = shadow(d, { d.a })
      outside.write(d.a .. "/file", "something else")
      outside.write(d.a .. "/more", "something new")
      local r = assert(p.repo:backup { sources = { set } }:wait())
      assert.equal(1, r.files)
      assert.equal(4, r.bytes)
    end)
  end)

  it("writes no version when a stream beside them fails", function()
    with(function(p, d)
      local set <close> = shadow(d, { d.a })
      local r, err = p.repo:backup { sources = { set, { name = "db.sql",
        stream = saros.process { argv = { "sh", "-c", "echo x; exit 1" },
          stdout = "stream" } } } }:wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_EXIT", err.name)
      assert.equal(0, #p.repo:versions())
    end)
  end)

  it("is partial when a shadow was let go of meanwhile", function()
    with(function(p, d)
      local set = shadow(d, { d.a })
      local source = set[d.a]
      set:close()
      local op = p.repo:backup { sources = { source, d.b } }
      local r = assert(op:wait())
      assert.equal("SAROS_S_PARTIAL", saros.code.name("saros", (op:query())))
      assert.equal(1, r.failed)
      assert.equal(d.a, r.errors[1].path)
    end)
  end)

  it("needs no set that was made here", function()
    with(function(p, d)
      local found = { path = d.a, original = "/somewhere/else", id = "x" }
      assert(p.repo:backup { sources = { found } }:wait())
      assert.same({ "/somewhere/else" }, p.repo:versions()[1].paths)
    end)
  end)

  it("says what a source is", function()
    with(function(p, d)
      local function wrong(source, pattern)
        local err = shared.raised(function()
          local _ = p.repo:backup { sources = { source } }
        end)
        assert.matches("repository_shadow_spec.lua:%d+: ", err)
        assert.matches(pattern, err)
      end
      wrong(1, "a path, a shadow, a set of them, { path = } or "
        .. "{ name =, stream = } expected, got number")
      wrong({}, "option 'path' is missing")
      wrong({ paths = "/x" }, "has no option 'paths'; 'path' perhaps%?")
      wrong({ path = "/x", origin = {} }, "'path' is missing: what it is a")
      wrong({ path = "/x", origin = { path = "/y", device = 1.5 } },
        "'device': whole number expected, got 1.5")
      wrong({ name = "x" }, "a name and no stream")
      wrong({ stream = 0 }, "'name' is missing")
      wrong({ path = "/x", name = "x", stream = 0 }, "not both")
      local err = shared.raised(function()
        local _ = p.repo:backup { sources = {} }
      end)
      assert.matches("say what to back up", err)
      local _, why = p.repo:backup { sources = { { path = d.a,
        origin = { path = "relative" } } } }:wait()
      assert.matches("must be absolute", why.message)
    end)
  end)
end)

-- Shadows that share the blocks of the original have its inodes and times.
describe("a second backup, of another shadow", function()
  local function unchanged(type, megabytes, provider, prepare)
    local v <close>, why = volumes.make(type, megabytes)
    if not v then return pending(tostring(why)) end
    local data = v.path .. "/data"
    local text, good = volumes.run(prepare, v.path)
    assert(good, text)
    outside.directory(function(root)
      volumes.run("mkdir -m 700 '%s/state'", root)
      local d = { state = root .. "/state" }
      shared.with(function(p)
        local seen = {}
        local function backup(more)
          local set <close> = shadow(d, { data }, provider)
          assert.equal(provider, set[data].provider)
          assert.equal(provider == "image", set.times.volumes[1].frozen)
          seen[#seen + 1] = set[data].path
          local o = { sources = { set } }
          for name, item in pairs(more or {}) do o[name] = item end
          return assert(p.repo:backup(o):wait())
        end
        local r = backup()
        assert.same({ 3, 0, 0 }, { r.files_new, r.failed, r.files_unmodified })
        r = backup()
        assert.not_equal(seen[1], seen[2])
        assert.same({ 0, 0, 3, 0 }, { r.files_new, r.files_changed,
          r.files_unmodified, r.data_blobs })
        -- Not even a directory below the original is another one.
        local change = assert(p.repo:diff { from = p.repo:versions()[1].id,
          to = "latest", metadata = true }:wait())
        assert.equal("", shared.names(change.items, data))
        -- One that did change is read, and only that one.
        outside.write(data .. "/a", "another one")
        r = backup()
        assert.same({ 0, 1, 2 }, { r.files_new, r.files_changed,
          r.files_unmodified })
        assert.same({ data }, p.repo:versions()[3].paths)
      end)
    end)
  end

  local FILL = "set -e; cd '%s'; mkdir -p data; echo one >data/a; "
    .. "echo two >data/b; mkdir data/d; head -c 3000000 /dev/urandom >data/d/c"

  it("by btrfs reads nothing again", function()
    unchanged("btrfs", 256, "btrfs", FILL:gsub("mkdir %-p data",
      "btrfs subvolume create data", 1))
  end)

  it("by image reads nothing again", function()
    local outer <close>, why = volumes.make("xfs", 400, {
      mkfs = "-m reflink=1" })
    if not outer then return pending(tostring(why)) end
    local make = volumes.make
    volumes.make = function(type, megabytes)
      return make(type, megabytes, { directory = outer.path })
    end
    local ok, err = pcall(unchanged, "ext4", 64, "image", FILL)
    volumes.make = make
    if not ok then error(err, 0) end
  end)
end)
