-- The restore plan: a version comes back by its text alone, with stock restic and
-- the database's own tools. What it says is run by a shell that finds no Lua.
local app = require "spec.backup_app"

local outside = app.outside

if app.missing or not outside.installed "restic" then
  describe("the restore plan", function()
    pending(app.missing or "needs restic")
  end)
  return
end

local sqlite = app.sqlite
local follow = require "spec.restore_plan"
local with = app.with

describe("the restore plan of SQLite", function()
  it("brings databases back, two of one name too, and odd names", function()
    with(function(t)
      local paths = { t.data .. "/one/app.db", t.data .. "/two/app.db",
        t.data .. "/it's $HOME; a [name].db" }
      local rows, writers = { 10, 20, 30 }, {}
      assert(os.execute(("mkdir %s/one %s/two"):format(t.data, t.data)))
      for i, path in ipairs(paths) do
        app.database(path, rows[i])
        writers[i] = sqlite.writer { databases = { path } }
      end
      local v = t.backup()
      for _, path in ipairs(paths) do app.execute(path, "DELETE FROM t") end
      outside.write(paths[1] .. "-journal", "of another one")
      follow(t, v)
      for i, path in ipairs(paths) do
        assert.equal(rows[i], app.rows(path))
        writers[i]:close()
      end
      assert.is_nil(outside.content(paths[1] .. "-journal"))
      assert.matches("app.db.before%-", (outside.run("ls", t.data .. "/one")))
      -- And below another directory, which is not there yet.
      follow(t, v, t.root .. "/else")
      assert.equal(30, app.rows(t.root .. "/else" .. paths[3]))
    end)
  end)

  it("keeps what was there when it is followed twice", function()
    with(function(t)
      local path = t.data .. "/app.db"
      app.database(path, 10)
      local w <close> = sqlite.writer { databases = { path } }
      local v = t.backup()
      app.execute(path, "DELETE FROM t WHERE n > 7")
      follow(t, v)
      follow(t, v)
      local counts = {}
      for name in (outside.run("ls", t.data)):gmatch "app.db%.before[^\n]*" do
        counts[#counts + 1] = app.rows(t.data .. "/" .. name)
      end
      table.sort(counts)
      assert.same({ 7, 10 }, counts)
      w:close()
    end)
  end)

  it("has no commands but those that are meant as such", function()
    local plan = require "saros.wsb.plan"
    local c = { n = 1, name = "x", writer = { name = "w\n    touch /pwned" },
      files = { "/it's $(touch /pwned)" }, additions = {} }
    local text = plan.text({ id = "1-2", type = "copy", consistency = "crash",
      components = { c }, paths = { "/a\n    touch /pwned" } }, function()
      return { plan = function(_, p)
        return { "says\n    touch /pwned", "    echo " .. p:at(c.files[1]) }
      end }
    end, function() end)
    local lines = {}
    for line in text:gmatch "\n    ([^\n]*)" do lines[#lines + 1] = line end
    outside.write("/tmp/saros-plan.sh", "touch() { echo PWNED; }\n"
      .. table.concat(lines, "\n"):match "\n(BEFORE=.*)$"
      :gsub("restic restore[^\n]*", ":"):gsub("mv ", ": "):gsub("mkdir ", ": "))
    local said = outside.run("env", "STAGE=/nowhere", "ROOT=/nowhere", "sh",
      "/tmp/saros-plan.sh")
    os.remove "/tmp/saros-plan.sh"
    assert.equal("/nowhere/it's $(touch /pwned)\n", said)
  end)

  it("brings what was added late", function()
    with(function(t)
      local staged = t.root .. "/staged"
      assert(os.execute(("mkdir %s && echo label >%s/label && echo db >%s/f")
        :format(staged, staged, t.data)))
      local w <close> = app.writer(1, { components = { { type = "database",
        name = "x", files = { t.data } } },
        backup_complete = function()
          return { components = { x = { consistency = "application",
            additions = { { path = staged, to = t.data } } } } }
        end })
      local v = t.backup { provider = "live" }
      assert.truthy(v.late)
      follow(t, v, t.root .. "/else")
      for name, text in pairs { f = "db\n", label = "label\n" } do
        assert.equal(text, outside.content(t.root .. "/else" .. t.data .. "/"
          .. name))
      end
      w:close()
    end)
  end)

  it("warns of what is barred, and lays none of it", function()
    with(function(t)
      outside.write(t.data .. "/f", "x")
      local w <close> = app.writer(2, { components = { { type = "filegroup",
        name = "x", files = { t.data .. "/f", "/etc/hostname" } } } })
      local v = t.backup { whole = false }
      assert.is_false(v.components[1].recoverable)
      outside.write(t.data .. "/f", "now")
      follow(t, v)
      assert.equal("now", outside.content(t.data .. "/f"))
      w:close()
    end)
  end)
end)
