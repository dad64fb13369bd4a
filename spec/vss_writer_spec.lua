-- Writers in Lua, as sessions meet them. (What one writer makes of one event
-- is proved in spec/c/test_lua_writer.c.)
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

local function joined(log) return table.concat(log, " ") end

local BACKUP = "identify prepare_backup prepare_snapshot freeze thaw "
  .. "post_snapshot"

describe("a writer in Lua", function()
  it("hears of a set in order, and may wait each time", function()
    local d <close> = shared.directory()
    local more = {}
    for _, name in ipairs(shared.events) do
      more[name] = function()
        saros.sleep(0):wait()
        assert(saros.spawn(function() return 1 end):wait())
      end
    end
    local _ <close>, log = shared.writer(1, more)
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    assert.equal(BACKUP, joined(log))
  end)

  it("is told what it is about", function()
    local d <close> = shared.directory()
    local seen = {}
    local _ <close> = shared.writer(1, { freeze_timeout = 33,
      freeze = function(e) seen.freeze = e end,
      post_snapshot = function(e) seen.post = e end })
    local s <close>, id = shared.ready(d)
    local outcome = assert(s:do_snapshot_set():wait())
    assert.equal(outcome.set, seen.freeze.set)
    assert.equal("freeze", seen.freeze.event)
    assert.equal("copy", seen.freeze.backup_type)
    assert.equal(d.a, seen.freeze.volumes[1].path)
    assert.equal("copy", seen.freeze.volumes[1].provider)
    assert.is_true(seen.freeze.deadline > 0 and seen.freeze.deadline <= 33)
    assert.is_string(seen.freeze.session)
    assert.equal(s:snapshot_properties(id).path, seen.post.volumes[1].shadow)
  end)

  it("keeps something open from freeze to thaw", function()
    local d <close> = shared.directory()
    local gate, op = helper.gate()
    local connection, order = nil, {}
    local _ <close> = shared.writer(1, {
      freeze = function()
        connection = saros.spawn(function()
          order[#order + 1] = "open"
          op:wait()
          order[#order + 1] = "closed"
        end)
        saros.sleep(0):wait()
      end,
      thaw = function()
        order[#order + 1] = "thaw"
        gate:finish(0)
        connection:wait()
      end })
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    assert.same({ "open", "thaw", "closed" }, order)
  end)

  it("holds still after those of the level above, and goes on before", function()
    local d <close> = shared.directory()
    local log = {}
    local _ <close> = shared.writer(1, { level = "back_end", tag = "B:" }, log)
    local _ <close> = shared.writer(2, { level = "front_end", tag = "F:" }, log)
    local _ <close> = shared.writer(3, { level = "system", tag = "S:" }, log)
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    local order = {}
    for _, entry in ipairs(log) do
      if entry:find "freeze" or entry:find "thaw" then
        order[#order + 1] = entry
      end
    end
    assert.equal("F:freeze B:freeze S:freeze S:thaw B:thaw F:thaw",
      joined(order))
  end)

  local vetoes = {
    ["nil, err"] = function() return nil, "busy" end,
    ["false, err"] = function() return false, "busy" end,
    ["an error"] = function() error("busy", 0) end,
    ["an error object"] = function()
      error(helper.core.failure("vss", code.VSS_E_WRITERERROR_RETRYABLE, "busy"))
    end,
  }
  for way, veto in pairs(vetoes) do
    for _, event in ipairs { "prepare_snapshot", "freeze", "thaw" } do
      it(("vetoes %s with %s, and the set fails"):format(event, way), function()
        local d <close> = shared.directory()
        local _ <close>, log = shared.writer(1, { [event] = veto })
        local s <close> = shared.ready(d)
        local op = s:do_snapshot_set()
        local ok, err = op:wait()
        assert.is_nil(ok)
        assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
        assert.match("app1", err.message)
        assert.match("busy", err.message)
        assert.equal(way == "an error object"
          and code.VSS_E_WRITERERROR_RETRYABLE
          or code.VSS_E_WRITERERROR_NONRETRYABLE, err.cause.code)
        assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, (op:query()))
        assert.equal("abort", log[#log])
        assert.equal("", d.left())
      end)
    end
  end

  it("that vetoes is ignored if the session says so", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, { freeze = vetoes["nil, err"] })
    local s <close> = shared.ready(d, { on_veto = "ignore" })
    assert(s:do_snapshot_set():wait())
    assert(s:gather_writer_status():wait())
    local status = s:writer_status()[1]
    assert.equal(code.VSS_E_WRITERERROR_NONRETRYABLE, status.failure)
    assert.equal("failed_at_freeze", vss.state[status.state])
    assert.equal("busy", status.message)
  end)

  it("that fails after the thaw marks itself, never the set", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, { post_snapshot = vetoes["an error"] })
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    assert(s:gather_writer_status():wait())
    assert.equal("failed_at_post_snapshot",
      vss.state[s:writer_status()[1].state])
  end)

  it("that does not answer in time fails, and is cancelled", function()
    local timeout, seen = 0.05, nil
    repeat -- until it has begun before its time was over
      local d <close> = shared.directory()
      local gate, op = helper.gate()
      local _ <close>, log = shared.writer(1, { freeze_timeout = timeout,
        freeze = function()
          local _, err = pcall(op.wait, op)
          seen = err
        end })
      local s <close> = shared.ready(d)
      local ok, err = s:do_snapshot_set():wait()
      assert.is_nil(ok)
      assert.equal(code.VSS_E_WRITERERROR_TIMEOUT, err.cause.code)
      assert.equal("abort", log[#log])
      gate:finish(0)
      timeout = timeout * 2
    until seen or timeout > 30
    assert.is_true(seen.cancelled)
  end)

  it("says who it is when it is asked", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, { identify = function()
      return { name = "renamed", components = {
        { type = "database", name = "found", files = { "/x" } } } }
    end })
    local _ <close> = shared.writer(2, { identify = function()
      return { components = "rubbish" }
    end })
    local _ <close> = shared.writer(3, { identify = function()
      error "I do not know"
    end })
    local s <close> = shared.ready(d)
    local found = s:writers()
    assert.equal(1, #found)
    assert.equal("renamed", found[1].name)
    assert.equal("found", found[1].components[1].name)
  end)

  it("is found while its handle lives", function()
    local function count()
      local s <close> = vss.components()
      s:initialize_for_backup()
      assert(s:gather_writer_metadata():wait())
      return #s:writers()
    end
    local d <close> = shared.directory()
    local _ = d
    ;(function()
      shared.writer(1)
      assert.equal(1, count())
    end)()
    collectgarbage()
    collectgarbage()
    assert.equal(0, count())
    local w = shared.writer(1)
    assert.match("^saros.vss.writer: app1 ", tostring(w))
    w:close()
    assert.equal("saros.vss.writer: closed", tostring(w))
    assert.equal(0, count())
  end)

  it("that is closed in the middle fails the set, and has let go", function()
    local d <close> = shared.directory()
    local w, log
    w, log = shared.writer(1, { level = "front_end" })
    local _ <close> = shared.writer(2, { level = "system", freeze = function()
      w:close()
    end })
    local s <close> = shared.ready(d)
    local ok, err = s:do_snapshot_set():wait()
    assert.is_nil(ok)
    assert.match("app1", err.message)
    local count = select(2, joined(log):gsub("abort", ""))
    assert.equal(1, count)
    assert.is_nil(joined(log):find "thaw")
  end)

  it("lets go what it has begun when it is closed before it holds", function()
    local d <close> = shared.directory()
    local w, log
    w, log = shared.writer(1, { closed = function() log[#log + 1] = "closed" end,
      prepare_snapshot = function() w:close() end })
    local s <close> = shared.ready(d)
    assert.is_nil((s:do_snapshot_set():wait()))
    w:close()
    local count = 0
    for _, name in ipairs(log) do count = count + (name == "closed" and 1 or 0) end
    assert.equal(1, count)
    -- Whoever holds still lets go by his abort, and hears no more.
    w, log = shared.writer(2, { closed = function() log[#log + 1] = "closed" end,
      freeze = function() w:close() end })
    assert(s)
    local again <close> = shared.ready(d)
    assert.is_nil((again:do_snapshot_set():wait()))
    assert.equal("abort", log[#log])
  end)

  it("names what is wrong with an option", function()
    local function raises(options)
      local ok, err = pcall(function() vss.writer(options) end)
      assert.is_false(ok)
      return tostring(err)
    end
    assert.match("option 'id' is missing", raises {})
    assert.match("option 'freeze': function expected, got string",
      raises { id = shared.id(1), name = "x", freeze = "x" })
    assert.match("has no option 'freze'",
      raises { id = shared.id(1), name = "x", freze = print })
    assert.match("GUID", raises { id = "x", name = "x" })
    assert.match("level", raises { id = shared.id(1), name = "x", level = "x" })
    assert.match("vss_writer_spec", raises {})
  end)
end)

describe("a wait that runs no other Lua", function()
  local function in_sort(f)
    local result
    table.sort({ 2, 1 }, function(a, b)
      result = result or f()
      return a < b
    end)
    return result
  end
  local ways = {
    ["in a sort"] = in_sort,
    ["in gsub"] = function(f)
      local result
      string.gsub("x", "x", function() result = f() end)
      return result
    end,
    ["in a coroutine"] = function(f) return coroutine.wrap(f)() end,
    ["in a finalizer"] = function(f)
      local result
      setmetatable({}, { __gc = function() result = f() end })
      collectgarbage()
      return result
    end,
  }
  for name, way in pairs(ways) do
    it(name .. " runs the writers of what it waits for", function()
      local d <close> = shared.directory()
      local _ <close>, log = shared.writer(1, { freeze = function()
        saros.sleep(0):wait()
        saros.spawn(function() saros.sleep(0):wait() end):wait()
      end })
      local s <close> = shared.ready(d)
      local other = false
      saros.spawn(function() other = true end)
      assert.is_table(way(function()
        local result, err = s:do_snapshot_set():wait()
        return result or error(err, 0)
      end))
      assert.is_false(other)
      assert.equal(BACKUP, joined(log))
    end)
  end

  it("in a sort of a task, through tasks and all{}", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1, { freeze = function()
      saros.sleep(0):wait()
    end })
    local s <close> = shared.ready(d)
    saros.run(function()
      in_sort(function()
        return assert(saros.all {
          saros.spawn(function() return s:do_snapshot_set():wait() end),
        }:wait())
      end)
    end)
    assert.equal(BACKUP, joined(log))
  end)
end)

describe("a handler that waits for what called it", function()
  for name, way in pairs {
    ["itself"] = function(op) return op:wait() end,
    ["in a sort"] = function(op)
      local a, b
      table.sort({ 2, 1 }, function(x, y)
        a, b = op:wait()
        return x < y
      end)
      return a, b
    end,
    ["through a task"] = function(op)
      return saros.spawn(function() return op:wait() end):wait()
    end,
  } do
    it(name .. " fails with a cycle", function()
      local d <close> = shared.directory()
      local op
      local _ <close> = shared.writer(1, { freeze = function()
        local ok, err = way(op)
        return ok, err
      end })
      local s <close> = shared.ready(d)
      op = s:do_snapshot_set()
      local ok, err = op:wait()
      assert.is_nil(ok)
      local why = err
      while why.cause do why = why.cause end
      assert.equal(code.SAROS_E_CYCLE, why.code)
    end)
  end
end)

describe("without anybody who turns the loop", function()
  it("a writer cannot answer, and what waits for it says so", function()
    local d <close> = shared.directory()
    local gate, prepared = helper.gate()
    local _ <close>, log = shared.writer(1, { freeze_timeout = 0.3,
      prepare_snapshot = function() gate:finish(0) end })
    local s <close> = shared.ready(d)
    local op = s:do_snapshot_set()
    prepared:wait() -- from then on nobody turns the loop
    outside.eventually("it says so", function()
      return tostring(op):find("waits for writer 'app1' of this process "
        .. "(freeze); nobody turns its loop", 1, true)
        or op:query() ~= code.VSS_S_ASYNC_PENDING
    end)
    outside.eventually("it fails", function()
      return op:query() ~= code.VSS_S_ASYNC_PENDING
    end)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, (op:query()))
    -- Its Abort is waited for, like all unwinding; a wait turns the loop.
    assert.is_nil((op:wait()))
    assert.equal("identify prepare_backup prepare_snapshot abort", joined(log))
  end)

  it("a static writer answers all the same", function()
    local d <close> = shared.directory()
    local _ <close> = vss.writer { id = shared.id(1), name = "still",
      level = "back_end" }
    local s <close> = shared.ready(d)
    local op = s:do_snapshot_set()
    outside.eventually("it ends", function() return op:done() end)
    assert.is_true(op:ok())
    assert.equal("still", s:writers()[1].name)
  end)
end)

describe("a writer that listens", function()
  it("is told by other processes", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1, { listen = true,
      state_dir = d.state })
    local child = saros.process { argv = { outside.lua, "-e", shared.script(d)
      .. "assert(s:backup_complete():wait()) s:close()" },
      env = { LUA_PATH = outside.lua_path, LUA_CPATH = outside.lua_cpath } }
    assert(child:wait())
    assert.equal(BACKUP .. " backup_complete backup_shutdown", joined(log))
  end)

  it("fails where it cannot listen, and is not subscribed", function()
    local d <close> = shared.directory()
    local ok, err = pcall(vss.writer, { id = shared.id(1), name = "x",
      listen = true, state_dir = d.a .. "/file" })
    assert.is_false(ok)
    assert.is_table(err)
    local w <close> = vss.writer { id = shared.id(1), name = "x" }
    assert.is_true(w:is_open())
  end)
end)

describe("in the child of a fork", function()
  it("the parent's writers are not there", function()
    local d <close> = shared.directory()
    local w <close>, log = shared.writer(1)
    local status = helper.testmod.fork(function()
      assert(not w:is_open())
      local mine <close>, own = shared.writer(1)
      local s <close> = shared.ready(d)
      assert(#s:writers() == 1 and s:writers()[1].instance == mine.instance)
      assert(s:do_snapshot_set():wait())
      assert(joined(own) == BACKUP)
      return 7
    end)
    assert.equal(7, status)
    assert.equal("", joined(log))
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    assert.equal(BACKUP, joined(log))
  end)
end)
