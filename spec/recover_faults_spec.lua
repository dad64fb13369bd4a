-- saros.wsb.recover when things go wrong: what was there is there again, or the
-- error says where it lies; two exclude each other; what a dead one left is told.
local volumes = require "spec.volumes" -- first: before there are threads
local app = require "spec.backup_app"
local helper = require "spec.helper"

local saros, core = app.saros, helper.core

if app.missing then
  describe("a recovery that fails", function() pending(app.missing) end)
  return
end

local wsb, outside = app.wsb, app.outside
local exchange = require "saros.wsb.exchange"
local files = require "saros.wsb.files"
local kind = require "saros.writers.kind"
local shared = app.shared
local with = app.with

-- A kind whose settling is the spec's.
local settle
kind.define { name = "faulty", id = app.id(31), settle = function(c, place)
  if settle then return settle(c, place) end
end }

-- Two files of one component, in directories of their own; a version has "then",
-- now they are "now".
local function with_two(f)
  return with(function(t)
    settle = nil
    assert(os.execute(("mkdir %s/one %s/two"):format(t.data, t.data)))
    t.one, t.two = t.data .. "/one/f", t.data .. "/two/f"
    function t.fill(text)
      outside.write(t.one, text .. " one")
      outside.write(t.two, text .. " two")
    end
    function t.content()
      return (outside.content(t.one) or "-") .. ", "
        .. (outside.content(t.two) or "-")
    end
    --- All that is in the directories, hidden names too.
    function t.names()
      return (outside.run("sh", "-c", ("cd %s && ls -A one two")
        :format(t.data)):gsub("%s+", " "))
    end
    t.CLEAN = "one: f two: f "
    local w <close> = app.writer(31, { components = { { type = "database",
      name = "x", files = { t.one, t.two } } } })
    t.fill "then"
    t.backup()
    t.fill "now"
    w:close()
    function t.begin_recovery(more)
      local o = { repository = t.repo, component = "x" }
      for name, item in pairs(more or {}) do o[name] = item end
      return wsb.recover(o)
    end
    return f(t)
  end)
end

-- core.entries, but for a step that the spec knows better.
local function with_entries(instead, f)
  local original = core.entries
  core.entries = function(steps)
    return instead(steps[1], original) or original(steps)
  end
  local _ <close> = setmetatable({}, { __close = function()
    core.entries = original
  end })
  return f()
end

local function failing(message)
  return core.spawn(function()
    error(core.failure("saros", 0x80004005, message), 0)
  end)
end

describe("a recovery that fails", function()
  it("puts back what was there when the files cannot be settled", function()
    with_two(function(t)
      settle = function()
        assert.equal("then one, then two", t.content())
        return nil, core.failure("saros", 0x80004005, "a link leads out")
      end
      local r, err = t.begin_recovery():wait()
      assert.is_nil(r)
      assert.equal("a link leads out", err.message)
      assert.equal("now one, now two", t.content())
      assert.equal(t.CLEAN, t.names())
    end)
  end)

  it("puts back the first when the second cannot be laid", function()
    with_two(function(t)
      local seen = 0
      with_entries(function(step)
        if step[1] == "exchange" and step[3] == t.two then
          seen = seen + 1
          return failing "the disk is broken"
        end
      end, function()
        local r, err = t.begin_recovery():wait()
        assert.is_nil(r)
        assert.matches("the disk is broken", err.message)
      end)
      assert.equal(1, seen)
      assert.equal("now one, now two", t.content())
      assert.equal(t.CLEAN, t.names())
    end)
  end)

  it("says where things lie when even that fails", function()
    with_two(function(t)
      with_entries(function(step)
        if step[1] == "exchange" and (step[3] == t.two
          or step[2]:find "kept") then
          return failing "the disk is broken"
        end
      end, function()
        local r, err = t.begin_recovery():wait()
        assert.is_nil(r)
        local kept = err.message
          :match "one/f could not be put back .* it lies at (/.*)$"
        assert.equal("now one", outside.content(kept))
        assert.equal("now two", outside.content(t.two))
        assert.equal("then one", outside.content(t.one))
      end)
    end)
  end)

  it("does without an exchange where a file system has none", function()
    with_two(function(t)
      with_entries(function(step)
        if step[1] == "exchange" then
          return core.spawn(function()
            local err = core.failure("saros", 0x80004005, "not here")
            err.errno = 22
            error(err, 0)
          end)
        end
      end, function()
        local r = assert(t.begin_recovery():wait())
        assert.equal("then one, then two", t.content())
        assert.equal("now one", outside.content(r.laid[1].kept))
        assert.equal("now two", outside.content(r.laid[2].kept))
        settle = function() return nil, "no" end
        t.fill "later"
        assert.is_nil((t.begin_recovery():wait()))
        assert.equal("later one, later two", t.content())
      end)
    end)
  end)

  it("leaves nothing when it is cancelled, wherever that is", function()
    with_two(function(t)
      -- In front of each step on directories, one after the other.
      local stop = 1
      while true do
        local op
        local number = 0
        local r, err
        with_entries(function(step)
          if step[1] ~= "look" and step[1] ~= "names" then
            number = number + 1
            if number == stop then op:cancel() end
          end
        end, function()
          op = t.begin_recovery()
          r, err = op:wait()
        end)
        if number < stop then
          assert.truthy(r)
          break
        end
        assert.is_nil(r)
        assert.is_true(err.cancelled)
        -- All or nothing.
        assert.equal("now one, now two", t.content())
        assert.equal(t.CLEAN, t.names())
        stop = stop + 1
      end
      assert.is_true(stop > 8)
      assert.equal("then one, then two", t.content())
    end)
  end)

  it("lets only one at a time recover there", function()
    with_two(function(t)
      local first, second, err
      settle = function()
        -- Another one, while this one is in the middle of it.
        second, err = t.begin_recovery():wait()
        first = true
      end
      assert(t.begin_recovery():wait())
      assert.is_true(first)
      assert.is_nil(second)
      assert.equal("SAROS_E_LOCKED", err.name)
      assert.matches("another recovery is under way in .*/one", err.message)
      assert.equal("then one, then two", t.content())
      settle = nil
      assert(t.begin_recovery():wait())
    end)
  end)

  it("tells what one left that was killed, and deletes none of it", function()
    with_two(function(t)
      -- It is killed when the first is laid, and before the second.
      local script = ([[
        package.path, package.cpath = %q, %q
        local core = require "saros.core"
        local saros = require "saros"
        local entries = core.entries
        core.entries = function(steps)
          local step = steps[1]
          if step[1] == "exchange" and step[3] == %q then
            io.stdout:write "now\n"
            io.stdout:flush()
            while true do saros.sleep(1):wait() end
          end
          return entries(steps)
        end
        require "saros.writers.kind".define { name = "faulty", id = %q }
        local repo = require "saros.repository".open { location = %q,
          password = %q, durable = false }
        print(require "saros.wsb".recover { repository = repo,
          component = "x" }:wait())
      ]]):format(outside.lua_path, outside.lua_cpath, t.two, app.id(31),
        t.location, shared.PASSWORD)
      outside.write(t.root .. "/script", script)
      local p <close> = outside.start(outside.lua, t.root .. "/script")
      p:expect "now"
      outside.system.kill(p.pid, 9)
      p:finish()
      assert.equal("then one, now two", t.content())
      outside.eventually("its lock is free", function()
        return os.execute(("flock -n %s/one/.saros-recovery/lock true")
          :format(t.data))
      end)
      local r = assert(t.begin_recovery():wait())
      assert.equal("then one, then two", t.content())
      assert.equal(2, #r.found)
      local fates = r.found[1].items
      local kept = fates[1]:match "was replaced; what was there: (.*)$"
      assert.equal("now one", outside.content(kept))
      assert.equal(t.two .. " is what it was", fates[2])
      assert.matches("left by a recovery that was killed", tostring(r))
      assert.equal("now two", outside.content(r.laid[2].kept))
      p:__close()
    end)
  end)

  it("finds what was there also when that was not yet kept", function()
    with_two(function(t)
      local claim = t.data .. "/one/.saros-recovery"
      local held = saros.spawn(function()
        local x = exchange.begin({ t.one }, { version = "1" })
        outside.write(x.stage .. "/new", "new one")
        x:add(x.stage .. "/new", t.one)
        local stopped = core.entries
        core.entries = function(steps)
          if steps[1][1] == "move" and steps[1][2]:find "/new/new$" then
            error "stop"
          end
          return stopped(steps)
        end
        pcall(x.swap, x)
        core.entries = stopped
        -- As if it were dead: nobody holds the lock.
        for _, holder in ipairs(x.holders) do holder:close() end
      end)
      assert(held:wait())
      assert.equal("new one", outside.content(t.one))
      assert.equal("now one", outside.content(claim .. "/new/new"))
      local r = assert(t.begin_recovery():wait())
      local kept = r.found[1].items[1]:match "what was there: (.*)$"
      assert.equal("now one", outside.content(kept))
      assert.equal("then one, then two", t.content())
    end)
  end)
end)

describe("two recoveries", function()
  -- Somebody is in the middle of one, there.
  local function at_work(path)
    return exchange.begin({ path }, { version = "1234567890",
      began = "2026-11-23T12:00:00Z" })
  end

  local function refused(t, begin, where)
    local r, err = begin():wait()
    assert.is_nil(r)
    assert.equal("SAROS_E_LOCKED", err.name)
    assert.matches(("another recovery is under way in %s: that of /")
      :format(where), err.message, 1, true)
    assert.matches("%(version 12345678, process %d+, since 2026.*Z%)",
      err.message)
    assert.equal("now one, now two", t.content())
  end

  it("exclude each other where one lays what the other one is in", function()
    with_two(function(t)
      assert(os.execute(("cd %s && mkdir one/deep three; ln -s one link")
        :format(t.data)))
      for path, where in pairs { ["/one"] = "", ["/link/f"] = "/one",
        ["/one/f"] = "/one", ["/"] = "/.." } do
        local x <close> = at_work(files.plain(t.data .. path))
        refused(t, t.begin_recovery, files.real({ t.data .. where })[t.data
          .. where])
        x:close()
      end
      local function of_files()
        return wsb.recover { repository = t.repo, files = { t.data } }
      end
      for path, where in pairs { ["/one/deep/x"] = "/one/deep",
        ["/three/new/x"] = "/three/new", ["/three"] = "" } do
        local x <close> = at_work(t.data .. path)
        refused(t, of_files, t.data .. where)
        x:close()
      end
      local x <close> = at_work(t.data .. "/three")
      local y <close> = at_work(t.data .. "/one/deep/x")
      assert(t.begin_recovery():wait())
      assert.equal("then one, then two", t.content())
      assert.is_true(#x.claims + #y.claims == 2)
    end)
  end)

  it("are one at a time also when the first has died", function()
    with_two(function(t)
      local x = at_work(t.data .. "/one")
      for _, holder in ipairs(x.holders) do holder:close() end
      assert(t.begin_recovery():wait())
      assert.equal("then one, then two", t.content())
      assert(os.execute("rm -r " .. t.data .. "/.saros-recovery"))
    end)
  end)
end)

describe("a recovery of much", function()
  it("claims few directories, and asks once who has something open", function()
    with(function(t)
      assert(os.execute(("cd %s && seq 300 | xargs -I {} mkdir -p x/{}/y && "
        .. "for i in x/* x/*/y; do echo old >$i/f; done"):format(t.data)))
      local list = {}
      for i = 1, 300 do
        list[#list + 1] = ("%s/x/%d/f"):format(t.data, i)
        list[#list + 1] = ("%s/x/%d/y/f"):format(t.data, i)
      end
      local w <close> = app.writer(33, { components = { { type = "filegroup",
        name = "much", files = list } } })
      t.backup()
      w:close()
      assert(os.execute(("cd %s && for i in x/* x/*/y; do echo new >$i/f; done")
        :format(t.data)))
      local programs, process = 0, core.process
      function core.process(options)
        programs = programs + 1
        return process(options)
      end
      local _ <close> = setmetatable({}, { __close = function()
        core.process = process
      end })
      local r = assert(wsb.recover { repository = t.repo, component = "much" }
        :wait())
      assert.equal(600, #r.laid)
      assert.is_true(programs < 100)
      for _, path in ipairs(list) do
        assert.equal("old\n", outside.content(path))
      end
      assert.equal("", (outside.run("find", t.data, "-name", ".saros-rec*")))
    end)
  end)
end)

describe("a recovery across file systems", function()
  it("lays what is mounted inside out, and what lies on others", function()
    local v <close>, why = volumes.make("ext4", 32)
    if not v then return pending(tostring(why)) end
    with(function(t)
      assert(os.execute(("mkdir %s/plain && echo p >%s/plain/f && mkdir "
        .. "%s/sub && echo 1 >%s/one && echo 2 >%s/sub/two && chmod 750 %s"):format(
        t.data, t.data, v.path, v.path, v.path, v.path)))
      local w <close> = app.writer(32, { components = { { type = "database",
        name = "x", files = { v.path, t.data .. "/plain" } } } })
      t.backup { paths = { t.data, v.path } }
      w:close()
      assert(os.execute(("cd %s && rm -r sub && echo other >one && echo x "
        .. ">more && chmod 755 . && echo q >%s/plain/f"):format(v.path,
        t.data)))
      local r = assert(wsb.recover { repository = t.repo, component = "x" }
        :wait())
      local function content(name) return outside.content(v.path .. "/" .. name) end
      assert.same({ "1\n", "2\n" }, { content "one", content "sub/two" })
      assert.is_nil(content "more")
      assert.equal("p\n", outside.content(t.data .. "/plain/f"))
      local kept
      for _, one in ipairs(r.laid) do
        if one.to == v.path then kept = one.kept end
      end
      assert.equal("other\n", outside.content(kept .. "/one"))
      assert.equal("x\n", outside.content(kept .. "/more"))
      assert.equal("750\n", (outside.run("stat", "-c", "%a", v.path)))
    end)
  end)
end)
