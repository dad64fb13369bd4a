-- The session in Lua: its methods, how each is called, and its end.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, core, vss = helper.saros, helper.core, shared.vss
local code = saros.code

local function raises(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err
end

local function bad_state(f, ...)
  local err = raises(f, ...)
  assert.equal(code.VSS_E_BAD_STATE, type(err) == "table" and err.code)
  assert.equal("vss", err.facade)
  return err.message
end

describe("a session", function()
  it("has a method for each of the core's, and no other", function()
    local class = require "saros.vss.session"
    local known = { close = true }
    for _, name in ipairs(core.session_methods()) do
      known[name] = true
      assert.is_function(class[name], name)
    end
    for name in pairs(class) do assert.is_true(known[name], name) end
  end)

  it("is closed by a shutdown, with what it made", function()
    local d <close> = shared.directory()
    local output, how, status = helper.script(shared.script(d):gsub("^%s*",
      [[local log, saros = {}, require "saros"
      local w = saros.vss.writer { id = "5a705000-0000-4000-8000-000000000001",
        name = "app",
        backup_shutdown = function() log[#log + 1] = "shutdown" end,
        abort = function() log[#log + 1] = "abort" end }
      ]], 1) .. [[
      assert(io.open(s:snapshot_properties(id).path .. "/file"))
      assert(saros.shutdown(50))
      print(table.concat(log, " "), w:is_open())]])
    assert.same({ "exit", 0 }, { how, status }, output)
    assert.equal("abort shutdown\tfalse\n", output)
    assert.equal("", d.left())
  end)

  it("names what is wrong with an option", function()
    assert.match("vss.components has no option 'x'",
      raises(vss.components, { x = 1 }))
    assert.match("option 'state_dir': string expected, got number",
      raises(vss.components, { state_dir = 1 }))
    assert.match("table expected, got string", raises(vss.components, "x"))
    assert.match("timeouts.freeze", tostring(
      raises(vss.components, { timeouts = { freeze = "x" } })))
    assert.match("timeouts.*and nothing else", tostring(
      raises(vss.components, { timeouts = { freez = 1 } })))
    assert.match("on_veto", tostring(raises(vss.components, { on_veto = "x" })))
    assert.match("absolute path",
      tostring(raises(vss.components, { state_dir = "x" })))
    assert.match("timeouts.freeze is a function", tostring(
      raises(vss.components, { timeouts = { freeze = print } })))
  end)

  it("names what is wrong with an argument", function()
    local s <close> = vss.components()
    for method, name in pairs {
      initialize_for_restore = "document", set_context = "context",
      set_backup_state = "state", set_restore_state = "type",
      enable_writer_classes = "ids", disable_writer_classes = "ids",
      disable_writer_instances = "ids", add_component = "writer_id",
      add_to_snapshot_set = "path", snapshot_properties = "id",
      expose_snapshot = "id", unexpose_snapshot = "id",
      set_backup_succeeded = "writer", set_backup_options = "writer",
      set_previous_backup_stamp = "writer", delete_snapshots = "id",
      break_snapshot_set = "set", revert_to_snapshot = "id",
      query_revert_status = "volume", set_selected_for_restore = "writer",
      set_restore_options = "writer", add_new_target = "writer",
      set_file_restore_status = "writer", set_additional_restores = "writer",
      add_alternative_location_mapping = "writer", is_volume_supported = "path",
    } do
      local text = raises(s[method], s)
      assert.match(("session:%s: argument '%s': .- expected, got nil")
        :format(method, name), text)
      assert.match("vss_session_spec.lua", raises(function()
        s[method](s)
      end))
    end
    assert.match("saros.vss.session expected", raises(s.save, {}))
  end)

  it("names what is wrong with a field, and does not ignore it", function()
    local s <close> = vss.components()
    s:initialize_for_backup()
    local id = shared.id(1)
    for _, case in ipairs {
      { "set_backup_state", { select_component = true } },
      { "set_backup_state", { select_components = "yes" } },
      { "gather_writer_metadata", { requires = { "app" } } },
      { "gather_writer_metadata", { require = "app" } },
      { "delete_snapshots", id, { forced = true } },
      { "delete_snapshots", id, { set = 1 } },
      { "break_snapshot_set", id, { writeable = true } },
      { "revert_to_snapshot", id, { force = "yes" } },
    } do
      local text = raises(function()
        s[case[1]](s, table.unpack(case, 2))
      end)
      assert.match("field '", text)
      assert.match("vss_session_spec.lua", text)
    end
    -- What only the core can see; it must not believe it either.
    for _, list in ipairs { { x = "app" }, { 1 }, { {} }, { true } } do
      for _, name in ipairs { "require", "exclude" } do
        local ok, err = s:gather_writer_metadata { [name] = list }:wait()
        assert.is_nil(ok)
        assert.equal(code.E_INVALIDARG, err.code)
        assert.match(name, err.message)
      end
    end
    assert.equal(code.E_INVALIDARG,
      raises(s.set_context, s, "backup", 1.5).code)
    assert(s:gather_writer_metadata({ require = {}, exclude = {} }):wait())
  end)

  it("refuses what is out of order, and goes on", function()
    local s <close> = vss.components()
    bad_state(s.start_snapshot_set, s)
    bad_state(s.gather_writer_metadata, s)
    s:initialize_for_backup()
    bad_state(s.initialize_for_backup, s)
    bad_state(s.set_restore_state, s, "by_copy")
    assert.match("start_snapshot_set comes first",
      bad_state(s.add_to_snapshot_set, s, "/x"))
    bad_state(s.do_snapshot_set, s)
    bad_state(s.backup_complete, s)
    bad_state(s.pre_restore, s)
    s:set_context("backup")
    bad_state(s.set_context, s, "backup")
    assert.is_string(s:save())
  end)

  it("takes numbers where there are names", function()
    for _, context in ipairs { "nas_rollback", vss.context.nas_rollback } do
      local s <close> = vss.components()
      s:initialize_for_backup()
      s:set_context(context)
      s:set_backup_state { type = 5 }
      assert.match('"context":25', (s:save():gsub("%s", "")))
    end
    local s <close> = vss.components()
    s:initialize_for_backup()
    assert.equal(code.VSS_E_UNSUPPORTED_CONTEXT,
      raises(s.set_context, s, 0x12345).code)
    assert.equal(code.E_INVALIDARG, raises(s.set_context, s, "x").code)
  end)

  it("does a whole backup", function()
    local d <close> = shared.directory()
    local w <close>, log = shared.writer(1, { components = {
      { type = "database", name = "main", files = { d.a .. "/file" } } } })
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_backup_state { type = "full", select_components = true }
    local op = s:gather_writer_metadata()
    assert.match("^vss.gather_writer_metadata: ", tostring(op))
    assert(op:wait())
    assert.equal(code.VSS_S_ASYNC_FINISHED, (op:query()))
    local found = s:writers()
    assert.equal(1, #found)
    assert.equal(w.id, found[1].id)
    assert.equal("lua", found[1].way)
    assert.equal("main", found[1].components[1].name)
    s:add_component(w.id, "main")
    assert.equal(code.VSS_E_OBJECT_ALREADY_EXISTS,
      raises(s.add_component, s, w.id, "main").code)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.add_component, s, w.id, "other").code)
    local set = s:start_snapshot_set()
    local id = s:add_to_snapshot_set(d.a, "copy")
    assert(s:prepare_for_backup():wait())
    local outcome = assert(s:do_snapshot_set():wait())
    assert.equal(set, outcome.set)
    local p = s:snapshot_properties(id)
    helper.contains({ id = id, set = set, original = d.a, provider = "copy" }, p)
    assert.equal("one\n", d.read(p.path .. "/file"))
    assert.equal(id, s:snapshots()[1].id)
    assert.equal(id, s:query(set)[1].id)
    assert.equal(id, s:query()[1].id)
    assert(s:gather_writer_status():wait())
    assert.equal(0, s:writer_status()[1].failure)
    s:set_backup_succeeded(w.id, "main")
    assert(s:backup_complete():wait())
    assert.equal("identify prepare_backup prepare_snapshot freeze thaw "
      .. "post_snapshot backup_complete", table.concat(log, " "))
    assert.is_true(s:close())
    assert.equal("backup_shutdown", log[#log])
    assert.is_nil(d.read(p.path .. "/file"))
    assert.equal("", d.left())
  end)

  it("tells a writer what of it was backed up", function()
    local d <close> = shared.directory()
    local heard
    local parts = {}
    for i, name in ipairs { "one", "two", "three" } do
      parts[i] = { type = "database", name = name, files = { d.a } }
    end
    local w <close> = shared.writer(1, { components = parts,
      prepare_backup = function(e) assert(e.succeeded == nil) end,
      backup_complete = function(e) heard = e.succeeded end })
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_backup_state { type = "full", select_components = true }
    assert(s:gather_writer_metadata():wait())
    for _, c in ipairs(parts) do s:add_component(w.id, c.name) end
    s:start_snapshot_set()
    s:add_to_snapshot_set(d.a, "copy")
    assert(s:prepare_for_backup():wait())
    assert(s:do_snapshot_set():wait())
    s:set_backup_succeeded(w.id, "one")
    s:set_backup_succeeded(w.id, "two", false)
    s:set_backup_succeeded(w.id, "three")
    s:set_backup_succeeded(w.id, "one", false) -- taken back
    assert(s:backup_complete():wait())
    assert.same({ "three" }, heard)
  end)

  it("deletes a shadow and says how many", function()
    local d <close> = shared.directory()
    local s <close>, id = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    local deleted, left = s:delete_snapshots(id, { force = true })
    assert.equal(1, deleted)
    assert.equal("00000000-0000-0000-0000-000000000000", left)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.snapshot_properties, s, id).code)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.delete_snapshots, s, id).code)
    assert.equal("", d.left())
  end)

  it("says whether a path can be shadowed", function()
    local d <close> = shared.directory()
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    local ok, info = s:is_volume_supported(d.a, "copy")
    assert.is_true(ok)
    assert.equal("copy", info.provider)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.is_volume_supported, s, d.root .. "/nowhere").code)
  end)

  it("restores by the document it saved", function()
    local d <close> = shared.directory()
    local w <close>, log = shared.writer(1, { components = {
      { type = "database", name = "main" } } })
    local s <close> = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    local text = s:save()
    s:close()
    for i = #log, 1, -1 do log[i] = nil end
    local r <close> = vss.components { state_dir = d.state }
    r:initialize_for_restore(text)
    assert(r:gather_writer_metadata():wait())
    r:set_selected_for_restore(w.id, "main")
    r:set_restore_options(w.id, "main", "x")
    r:add_new_target(w.id, "main", { path = "/elsewhere" })
    assert(r:pre_restore():wait())
    r:set_file_restore_status(w.id, "main", "all")
    r:set_additional_restores(w.id, "main", false)
    assert(r:post_restore():wait())
    assert.equal("identify pre_restore post_restore", table.concat(log, " "))
    -- Who has let go of his files hears of the end when another one says no.
    local no <close> = shared.writer(2, { components = { { type = "database",
      name = "main" } }, pre_restore = function() return nil, "no" end })
    for i = #log, 1, -1 do log[i] = nil end
    local v <close> = vss.components { state_dir = d.state }
    v:initialize_for_restore(text)
    assert(v:gather_writer_metadata():wait())
    bad_state(v.post_restore, v)
    v:set_selected_for_restore(w.id, "main")
    v:set_selected_for_restore(no.id, "main")
    assert.equal("VSS_E_UNEXPECTED_WRITER_ERROR",
      select(2, v:pre_restore():wait()).name)
    v:set_file_restore_status(w.id, "main", "none")
    assert(v:post_restore():wait())
    assert.equal("identify pre_restore post_restore", table.concat(log, " "))
    for _, broken in ipairs { "x", "{}", text:sub(1, #text // 2), "[1]" } do
      local b <close> = vss.components()
      raises(b.initialize_for_restore, b, broken)
    end
  end)
end)

describe("a method that waits inside", function()
  it("lets other tasks go on where it can yield", function()
    local d <close> = shared.directory()
    saros.run(function()
      local s <close> = vss.components { state_dir = d.state }
      local other = false
      s:initialize_for_backup()
      saros.spawn(function() other = true end)
      -- One that has ended at once needs no wait; not all will.
      repeat s:query() until other
    end)
  end)

  it("waits in a sort, a generator and a finalizer", function()
    local d <close> = shared.directory()
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    local other = false
    saros.spawn(function() other = true end)
    local set, ids = nil, {}
    table.sort({ 2, 1 }, function(a, b)
      set = set or s:start_snapshot_set()
      return a < b
    end)
    assert.is_string(set)
    ids[1] = coroutine.wrap(function()
      return s:add_to_snapshot_set(d.a, "copy")
    end)()
    setmetatable({}, { __gc = function()
      ids[2] = s:add_to_snapshot_set(d.b, "copy")
    end })
    collectgarbage()
    assert.equal(2, #ids)
    assert.is_false(other)
  end)

  it("raises the error object", function()
    local d <close> = shared.directory()
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:start_snapshot_set()
    local err = raises(s.add_to_snapshot_set, s, d.root .. "/nowhere", "copy")
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND, err.code)
    assert.match("nowhere", tostring(err))
    err = raises(s.add_to_snapshot_set, s, "relative", "copy")
    assert.equal(code.E_INVALIDARG, err.code)
    saros.run(function()
      local e = raises(s.add_to_snapshot_set, s, d.a, "no such provider")
      assert.match("no such provider", e.message)
    end)
  end)
end)

describe("the end of a session", function()
  it("is told, and final", function()
    local s = vss.components()
    assert.equal("saros.vss.session: open", tostring(s))
    s:initialize_for_backup()
    assert.is_true(s:close())
    assert.equal("saros.vss.session: closed", tostring(s))
    assert.is_true(s:close())
    assert.match("closed", bad_state(s.save, s))
    bad_state(s.gather_writer_metadata, s)
    bad_state(s.start_snapshot_set, s)
  end)

  it("aborts a backup that is due", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1)
    local s = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    s:close()
    assert.equal("abort", log[#log - 1])
    assert.equal("backup_shutdown", log[#log])
    assert.equal("", d.left())
  end)

  it("cancels what runs, and lets the writers go", function()
    local d <close> = shared.directory()
    local gate, op = helper.gate()
    local entered = false
    local w <close>, log = shared.writer(1, { freeze = function()
      entered = true
      op:wait()
    end })
    local s = shared.ready(d)
    local running = s:do_snapshot_set()
    shared.until_true(function() return entered end)
    bad_state(s.set_backup_options, s, w.id, "x", "y")
    s:close()
    assert.is_true(running:done())
    assert.equal(code.VSS_S_ASYNC_CANCELLED, (running:query()))
    local all = table.concat(log, " ")
    assert.match("freeze abort", all)
    assert.is_nil(all:find "thaw")
    assert.equal("", d.left())
    gate:finish(0)
  end)

  it("comes with the block, also when that fails", function()
    local d <close> = shared.directory()
    local ok, err = pcall(function()
      local s <close> = shared.ready(d)
      assert(s:do_snapshot_set():wait())
      assert.not_equal("", d.left())
      error("oops", 0)
    end)
    assert.is_false(ok)
    assert.equal("oops", err)
    assert.equal("", d.left())
  end)

  it("comes with the collector, and nobody waits", function()
    local d <close> = shared.directory()
    ;(function() -- whose frame is gone, too
      local s = shared.ready(d)
      assert(s:do_snapshot_set():wait())
    end)()
    assert.not_equal("", d.left())
    collectgarbage()
    collectgarbage()
    shared.until_true(function() return d.left() == "" end)
  end)

  it("comes with the end of the script", function()
    local d <close> = shared.directory(outside.memory)
    for _, way in ipairs { "os.exit(0, true)", "", "error 'x'",
      "saros.run(function() local _ <close> = s error 'y' end)" }
    do
      local output = helper.script(shared.script(d) .. way)
      assert.is_nil(output:find "SAROS_E", output)
      assert.equal("", d.left(), way)
    end
  end)

  it("may come before anything was done", function()
    local s = vss.components()
    s:close()
    local _ = vss.components()
    collectgarbage()
  end)

  it("leaves no operation, no descriptor", function()
    local d <close> = shared.directory()
    local function once()
      local s <close> = shared.ready(d)
      assert(s:do_snapshot_set():wait())
    end
    once()
    collectgarbage()
    local before = core.counts()
    for _ = 1, 3 do once() end
    collectgarbage()
    shared.until_true(function()
      local now = core.counts()
      return now.users <= before.users and now.fds <= before.fds
    end)
  end)
end)

describe("in the child of a fork", function()
  it("an inherited session is inert, and a new one works", function()
    local d <close> = shared.directory()
    local s <close>, id = shared.ready(d)
    assert(s:do_snapshot_set():wait())
    local status = helper.testmod.fork(function()
      local forked = raises(s.save, s)
      assert(forked.code == code.SAROS_E_FORKED)
      assert(s:close())
      local mine <close> = vss.components { state_dir = d.state }
      mine:initialize_for_backup()
      assert(mine:gather_writer_metadata():wait())
      assert(#mine:query() == 1)
      return 7
    end)
    assert.equal(7, status)
    assert.equal("one\n", d.read(s:snapshot_properties(id).path .. "/file"))
  end)
end)

describe("reap", function()
  it("takes away what a killed process left", function()
    local d <close> = shared.directory()
    local child <close> = outside.start(outside.lua, "-e", shared.script(d)
      .. "io.stdout:write 'ready' io.stdout:flush() saros.sleep(1000):wait()")
    child:expect "ready"
    assert.not_equal("", d.left())
    outside.system.kill(child.pid, 9)
    child:finish()
    local report = assert(vss.reap { state_dir = d.state }:wait())
    assert.is_table(report)
    assert.equal("", d.left())
  end)

  it("names what is wrong with an option", function()
    assert.match("has no option 'x'", raises(vss.reap, { x = 1 }))
  end)
end)
