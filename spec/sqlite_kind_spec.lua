-- What is known of SQLite without its writer: copies are checked and laid so that
-- nothing of production is opened, and nothing of it removed.
local app = require "spec.backup_app"

if app.missing then
  describe("copies of SQLite databases", function() pending(app.missing) end)
  return
end

local outside, sqlite, wsb = app.outside, app.sqlite, app.wsb
local kind = require "saros.writers.kind"
local known = require "saros.writers.sqlite_kind"
local place = require "saros.place"
local with = app.with

local JOURNAL = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

-- At `to` a database in the middle of a transaction: its journal is hot, and
-- speaks of `super`, if that is given.
local function in_the_middle(t, to, super)
  local path = t.root .. "/busy.db"
  os.remove(path)
  app.database(path, 5000)
  local db <close> = app.client.open { path = path }
  assert(db:exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN; "
    .. "UPDATE t SET n = -n"):wait())
  for _, suffix in ipairs { "", "-journal" } do
    local content = assert(outside.content(path .. suffix))
    assert(#content > 0)
    if suffix == "-journal" and super then
      local sum = 0
      for i = 1, #super do sum = sum + super:byte(i) end
      content = content .. string.pack(">I4", 0x40000000 // 4096 + 1) .. super
        .. string.pack(">I4I4", #super, sum) .. JOURNAL
    end
    outside.write(to .. suffix, content)
  end
  assert(db:exec "ROLLBACK":wait())
end

local function checked(t, path)
  local c = { name = "app.db", files = { path, path .. "-wal", path .. "-shm",
    path .. "-journal" } }
  return app.saros.spawn(function()
    local p <close> = place.of_shadow { paths = c.files, scratch = t.scratch,
      at = function(one) return one end }
    return kind.of(known.id).check(c, p)
  end):wait()
end

describe("copies of SQLite databases", function()
  it("are rolled back where they are copies, and nowhere else", function()
    with(function(t)
      local path = t.data .. "/app.db"
      in_the_middle(t, path)
      local before = outside.content(path) .. outside.content(path .. "-journal")
      assert.same({ databases = 1 }, checked(t, path))
      assert.truthy(sqlite.check(path, { scratch = t.scratch }):wait())
      assert.equal(before, outside.content(path)
        .. outside.content(path .. "-journal"))
      assert.equal(5000, app.rows(path))
    end)
  end)

  it("remove nobody's super-journal", function()
    with(function(t)
      local path, super = t.data .. "/app.db", t.root .. "/other.db-mj12345678"
      local function fill()
        in_the_middle(t, path, super)
        outside.write(super, t.root .. "/other.db-journal\0")
      end
      -- What SQLite does by itself, when it opens such a copy.
      fill()
      assert.equal(super, known.super_journal(path .. "-journal"))
      assert.equal(5000, app.rows(path))
      assert.is_nil(outside.content(super))
      fill()
      local ok, err = checked(t, path)
      assert.is_nil(ok)
      assert.is_true(err.untried)
      assert.matches("transaction of several databases", err.message)
      ok, err = sqlite.check(path, { scratch = t.scratch }):wait()
      assert.is_nil(ok)
      assert.equal("SAROS_E_REFUSED", err.name)
      -- Nor when it comes back: then it is as it was.
      local w <close> = app.writer(1, { id = known.id, components = {
        { type = "database", name = "app.db",
          files = { path, path .. "-journal" } } } })
      local v = t.backup()
      assert.equal("untried", v.components[1].check.state)
      w:close()
      os.remove(path)
      os.remove(path .. "-journal")
      app.database(path, 3)
      ok, err = wsb.recover { repository = t.repo, component = "app.db" }:wait()
      assert.is_nil(ok)
      assert.matches("transaction of several databases", err.message)
      assert.equal(3, app.rows(path))
      assert.truthy(outside.content(super))
    end)
  end)

  it("are not opened where a link leads to production", function()
    with(function(t)
      local path, other = t.data .. "/app.db", t.root .. "/production.db"
      in_the_middle(t, other)
      local journal = outside.content(other .. "-journal")
      assert(os.execute(("ln -s '%s' '%s'"):format(other, path)))
      local c = { name = "app.db", files = { path } }
      local p = { root = "", at = function(_, one) return one end }
      for _, step in ipairs { "settle", "check", "start" } do
        local ok, err = kind.of(known.id)[step](c, p)
        assert.is_nil(ok, step)
        assert.is_true(err.untried)
        assert.matches("app.db is a link to /", err.message)
      end
      os.remove(path)
      app.database(path, 3)
      assert(os.execute(("ln -s '%s-journal' '%s-journal'"):format(other,
        path)))
      local ok, err = kind.of(known.id).check(c, p)
      assert.is_nil(ok)
      assert.matches("app.db%-journal is a link to /", err.message)
      assert.equal(journal, outside.content(other .. "-journal"))
    end)
  end)

  it("are damaged when they are, and untried when they cannot be read", function()
    with(function(t)
      local path = t.data .. "/app.db"
      outside.write(path, ("garbage "):rep(1000))
      local ok, err = checked(t, path)
      assert.is_nil(ok)
      assert.is_nil(err.untried)
      assert.same({ "file is not a database" }, err.problems)
      ok, err = kind.of(known.id).check({ name = "x", files = { path } },
        { at = function() end })
      assert.is_nil(ok)
      assert.matches("no database is there", err.message)
    end)
  end)
end)
