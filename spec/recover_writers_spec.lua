-- saros.wsb.recover tells the writers that run of what is replaced under them:
-- before, and after, whatever came of it.
local app = require "spec.backup_app"

if app.missing then
  describe("writers in a recovery", function() pending(app.missing) end)
  return
end

local wsb, outside, saros = app.wsb, app.outside, app.saros
local vss = require "saros.vss"
local with = app.with

-- A file, "then" in a version of writer 41 and "now" since. `t.log` has what
-- each of t.writer's has heard, and what the file held at that.
local function with_file(f)
  return with(function(t)
    t.file, t.log = t.data .. "/f", {}
    function t.content() return outside.content(t.file) end
    function t.note(who, event)
      t.log[#t.log + 1] = ("%s %s %s %s%s"):format(who, event.event,
        table.concat(event.components, ","), t.content(), event.succeeded
        and " " .. #event.succeeded or "")
    end
    function t.writer(n, more)
      local o = { id = app.id(n), name = "w" .. n, components = { {
        type = "database", name = "x", files = { t.file } } } }
      for _, name in ipairs { "pre_restore", "post_restore" } do
        o[name] = function(event) t.note(o.name, event) end
      end
      for name, item in pairs(more or {}) do o[name] = item end
      return vss.writer(o)
    end
    outside.write(t.file, "then")
    do
      local _ <close> = t.writer(41)
      t.version = t.backup()
    end
    outside.write(t.file, "now")
    function t.begin_recovery(more)
      local o = { repository = t.repo, component = "x", state_dir = t.state }
      for name, item in pairs(more or {}) do o[name] = item end
      if o.files then o.component = nil end
      return wsb.recover(o)
    end
    function t.recover(more) return assert(t.begin_recovery(more):wait()) end
    return f(t)
  end)
end

describe("a writer that runs", function()
  it("is told before its files are replaced, and after", function()
    with_file(function(t)
      -- Another instance: it was started again since.
      local w <close> = t.writer(41)
      local other <close> = t.writer(42)
      local moved <close> = t.writer(41, { name = "moved", components = { {
        type = "database", name = "x", files = { t.data .. "/g" } } } })
      local r = t.recover()
      assert.same({ "w41 pre_restore x now", "w41 post_restore x then 1" },
        t.log)
      assert.same({ { id = w.id, instance = w.instance, name = "w41" } },
        r.writers)
      assert.same({}, r.warnings)
      assert.is_true(other:is_open() and moved:is_open())
    end)
  end)

  it("keeps all as it is by its no, and the others hear of it", function()
    with_file(function(t)
      local w <close> = t.writer(41, { pre_restore = function(event)
        t.note("first", event)
      end })
      local second <close> = t.writer(41, { name = "second",
        pre_restore = function() return nil, "it is busy" end })
      local r, err = t.begin_recovery():wait()
      assert.is_nil(r)
      assert.equal("VSS_E_UNEXPECTED_WRITER_ERROR", err.name)
      assert.matches('"second" failed at pre_restore: it is busy', err.message,
        1, true)
      assert.same({ "first pre_restore x now", "w41 post_restore x now 0" },
        t.log)
      assert.equal("f\n", (outside.run("ls", "-A", t.data)))
      w:close()
      second:close()
    end)
  end)

  it("hears of a recovery that failed, or was cancelled", function()
    with_file(function(t)
      local file, gate
      local w <close> = t.writer(41, { pre_restore = function(event)
        t.note("w41", event)
        file = io.open(t.file)
        if gate then
          gate()
          saros.sleep(60):wait()
        end
      end })
      local r, err = t.begin_recovery():wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_LOCKED", err.name)
      assert.same({ "w41 pre_restore x now", "w41 post_restore x now 0" },
        t.log)
      file:close()
      local op
      gate = function() op:cancel() end
      op = t.begin_recovery()
      r, err = op:wait()
      assert.is_nil(r)
      assert.is_true(err.cancelled)
      assert.equal("now", t.content())
      file:close()
      w:close()
    end)
  end)

  it("that fails afterwards is told in the result", function()
    with_file(function(t)
      local w <close> = t.writer(41, { post_restore = function()
        return nil, "it does not start"
      end })
      local r = t.recover()
      assert.equal("then", t.content())
      assert.matches("it does not start", r.writers[1].message)
      assert.matches("w41 failed at post_restore: .*it does not start",
        tostring(r))
      w:close()
    end)
  end)

  it("is told beside its application, each once", function()
    with_file(function(t)
      local w <close> = t.writer(41)
      local a <close> = wsb.application { writer = w.id, name = "the app",
        pre_restore = function(c) t.log[#t.log + 1] = "app pre " .. c.name end,
        post_restore = function() t.log[#t.log + 1] = "app post" end }
      t.recover()
      assert.same({ "app pre x", "w41 pre_restore x now",
        "w41 post_restore x then 1", "app post" }, t.log)
      a:close()
    end)
  end)

  it("is not told of what is laid elsewhere, nor of a dry run", function()
    with_file(function(t)
      local w <close> = t.writer(41)
      t.recover { target = t.root .. "/else" }
      t.recover { overwrite = "copy" }
      t.recover { dry_run = true }
      t.recover { files = { t.file } }
      assert.same({}, t.log)
      w:close()
    end)
  end)

  it("is left out by name, and missed when it is required", function()
    with_file(function(t)
      local w <close> = t.writer(41)
      t.recover { writers = { exclude = { "w41" } } }
      assert.same({}, t.log)
      w:close()
      local r, err = t.begin_recovery { writers = { require = { "w41" } } }
        :wait()
      assert.is_nil(r)
      assert.matches("w41", err.message)
    end)
  end)

  it("that cannot say who it is stands in the result", function()
    with_file(function(t)
      local w <close> = t.writer(41, { identify = function()
        return nil, "the server is down"
      end })
      local r = t.recover()
      assert.matches("writer w41 was not told: .*the server is down",
        r.warnings[1])
      assert.equal("then", t.content())
      -- Whoever has stopped it knows that.
      local a <close> = wsb.application { writer = w.id, name = "the app",
        pre_restore = function() end }
      assert.same({}, t.recover().warnings)
      a:close()
      w:close()
    end)
  end)

  it("is a program, too, or in another process", function()
    with_file(function(t)
      local log = t.root .. "/log"
      local w <close> = vss.command_writer { id = app.id(41), name = "program",
        command = { "sh", "-c", ([[case $1 in *-restore)
          echo "$1 $(cat %s)" >>%s;; esac; exit 0]]):format(t.file, log),
          "sh" }, components = { { type = "database", name = "x",
            files = { t.file } } } }
      local p <close> = outside.start(outside.lua, "-e", ([[
        package.path, package.cpath = %q, %q
        local vss = require "saros.vss"
        local function note(event)
          print(event.event)
          io.stdout:flush()
        end
        local w = vss.writer { id = %q, name = "far", listen = true,
          state_dir = %q, components = { { type = "database", name = "x",
            files = { %q } } }, pre_restore = note, post_restore = note }
        print "listens"
        io.stdout:flush()
        require "saros".sleep(600):wait()
      ]]):format(outside.lua_path, outside.lua_cpath, app.id(41), t.state,
        t.file))
      p:expect "listens"
      local r = t.recover()
      p:expect "pre_restore"
      p:expect "post_restore"
      assert.equal("pre-restore now\npost-restore then\n",
        outside.content(log))
      assert.equal(2, #r.writers)
      w:close()
      outside.system.kill(p.pid, 15)
      p:__close()
    end)
  end)
end)
