-- The methods that hand out an operation: what each of the eight tells while it
-- works. That each is pending and finished when it must be is proved in
-- spec/c/test_session_async.c.
local helper = require "spec.helper"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

-- Watches it to its end: the phases in their order, and its result.
local function watch(op)
  local phases, last = {}, 0
  for s in op:progress() do
    assert.is_true(s.percent >= last)
    last = s.percent
    if s.phase and s.phase ~= phases[#phases] then
      phases[#phases + 1] = s.phase
    end
  end
  local result = assert(op:wait())
  local status = op:status()
  assert.equal("succeeded", status.state)
  assert.equal(100, status.percent)
  assert.equal(code.VSS_S_ASYNC_FINISHED, (op:query()))
  assert.equal(code.VSS_S_ASYNC_FINISHED, op:cancel())
  return phases, result
end

local function last(list) return list[#list] end

-- Many files: their copies have something to tell.
local function with_files()
  local d = shared.directory()
  for i = 1, 200 do
    local file = assert(io.open(("%s/f%d"):format(d.a, i), "w"))
    file:write(("x"):rep(i * 37))
    file:close()
  end
  return d
end

local function component(d)
  return { components = { { type = "database", name = "main",
    files = { d.a .. "/file" } } } }
end

describe("an asynchronous method", function()
  it("tells its phase and percent, in a backup and an import", function()
    local d <close> = with_files()
    local _ <close> = shared.writer(1, component(d))
    local document, set
    do
      local s <close> = vss.components { state_dir = d.state }
      s:initialize_for_backup()
      s:set_context "app_rollback"
      s:set_backup_state { type = "full" }
      assert.equal("identify", last((watch(s:gather_writer_metadata()))))
      set = s:start_snapshot_set()
      s:add_to_snapshot_set(d.a, "copy")
      assert.same({ "prepare_backup" }, (watch(s:prepare_for_backup())))
      assert.equal("post_snapshot", last((watch(s:do_snapshot_set()))))
      assert.same({ "status" }, (watch(s:gather_writer_status())))
      assert.same({ "backup_complete" }, (watch(s:backup_complete())))
      document = s:save()
    end
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup(document)
    assert.same({ "import" }, (watch(s:import_snapshots())))
    assert.equal(1, (s:delete_snapshots(set, { set = true })))
  end)

  it("tells its phase and percent, in a restore", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, component(d))
    local document
    do
      local s <close> = shared.ready(d)
      assert(s:do_snapshot_set():wait())
      document = s:save()
    end
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_restore(document)
    assert.equal("identify", last((watch(s:gather_writer_metadata()))))
    s:set_selected_for_restore("app1", "main")
    assert.same({ "pre_restore" }, (watch(s:pre_restore())))
    assert.same({ "post_restore" }, (watch(s:post_restore())))
  end)

  -- Its percent is that of the whole set, not of what is copied first.
  it("does not tell that it is done while it prepares", function()
    local d <close> = with_files()
    local gate, op = helper.gate()
    local _ <close> = shared.writer(1, { freeze = function() op:wait() end })
    local s <close> = shared.ready(d)
    local run = s:do_snapshot_set()
    for status in run:progress() do
      if status.phase == "prepare" then
        assert.is_true(status.percent <= 45)
      elseif status.phase == "freeze" then
        assert.is_true(status.percent >= 48 and status.percent < 60)
        gate:finish(0)
      end
    end
    assert(run:wait())
  end)
end)

describe("a component", function()
  it("is added by its own type, or by none", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, component(d))
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_backup_state { type = "copy", select_components = true }
    assert(s:gather_writer_metadata():wait())
    local ok, err = pcall(s.add_component, s, "app1", "main", "filegroup")
    assert.is_false(ok)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND, err.code)
    assert.match("is a database", err.message)
    s:add_component("app1", "main", "database")
    ok, err = pcall(s.add_component, s, "app1", "main")
    assert.is_false(ok)
    assert.equal(code.VSS_E_OBJECT_ALREADY_EXISTS, err.code)
  end)
end)
