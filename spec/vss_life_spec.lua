-- The life of persistent shadows, as scripts see it: they survive their session
-- and its process, and others look after them.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local shared = require "spec.vss"
local outside = require "spec.outside"

local saros, vss = helper.saros, shared.vss
local code = saros.code

local NOTHING = "00000000-0000-0000-0000-000000000000"

-- ------------------------------------------------------------------
-- Places to work in: a directory, and a btrfs with a subvolume for each path
-- ------------------------------------------------------------------

local function put(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

local function with_copy()
  local d = shared.directory()
  local remove = getmetatable(d).__close
  d.provider = "copy"
  return setmetatable(d, { __close = function()
    volumes.unmount(d.root) -- what a spec that failed left
    remove()
  end })
end

-- Its state is there, too. nil and why: there is none.
local function with_btrfs()
  local v, why = volumes.make("btrfs", 256)
  if not v then return nil, why end
  local d = { provider = "btrfs", root = v.path, state = v.path .. "/state",
    a = v.path .. "/a", b = v.path .. "/b" }
  local text, good = volumes.run([[set -e; cd '%s'; mkdir -m 700 state
    btrfs subvolume create a; btrfs subvolume create b
    echo one >a/file; echo two >b/file]], v.path)
  assert(good, text)
  d.read = outside.content
  function d.left()
    return (volumes.run("cd '%s'; find . -path '*/shadows/*.json'; "
      .. "find . -path '*/.saros*/*'", v.path))
  end
  return setmetatable(d, { __close = v.close })
end

-- A script that has made a set of both paths, and says its document. It ends
-- when it is told to, and not well.
local function maker(d)
  local child = outside.start(outside.lua, "-e", ([[
    local saros = require "saros"
    local s = saros.vss.components { state_dir = %q }
    s:initialize_for_backup()
    s:set_context "app_rollback"
    s:set_backup_state { type = "copy" }
    assert(s:gather_writer_metadata():wait())
    local set = s:start_snapshot_set()
    local a = s:add_to_snapshot_set(%q, %q)
    local b = s:add_to_snapshot_set(%q, %q)
    assert(s:prepare_for_backup():wait())
    assert(s:do_snapshot_set():wait())
    local file <close> = assert(io.open(%q, "w"))
    file:write(s:save())
    file:close()
    io.stdout:write(("made %%s %%s %%s.\n"):format(set, a, b))
    io.stdout:flush()
    saros.sleep(1000):wait()
  ]]):format(d.state, d.a, d.provider, d.b, d.provider,
    d.root .. "/document"))
  child:expect "made "
  local set, a, b = child:expect ".":match "^(%S+) (%S+) (%S+)$"
  return child, { set = set, a = a, b = b,
    document = outside.content(d.root .. "/document") }
end

local function kill(child)
  outside.system.kill(child.pid, 9)
  child:finish()
end

-- A set whose maker was killed, and originals that have changed since.
local function orphans(d)
  local child <close>, made = maker(d)
  kill(child)
  put(d.a .. "/file", "one later\n")
  put(d.b .. "/file", "two later\n")
  return made
end

local function session(d, document)
  local s = vss.components { state_dir = d.state }
  s:initialize_for_backup(document)
  return s
end

local function raises(f, ...)
  local good, err = pcall(f, ...)
  assert.is_false(good)
  return err
end

-- Those of one set have no order among each other.
local function by_id(list)
  local found = {}
  for _, p in ipairs(list) do found[p.id] = p end
  return found
end

-- A script in another process, with `s`, `saros` and the ids of what was made.
local function elsewhere(d, made, text)
  local output, how, status = outside.run(outside.lua, "-e", ([[
    saros = require "saros"
    set, a, b = %q, %q, %q
    s = saros.vss.components { state_dir = %q }
    document = %q
  ]]):format(made.set, made.a, made.b, d.state, made.document) .. text)
  assert.equal("exit", how, output)
  assert.equal(0, status, output)
  return output
end

local function in_place(name, make)
  local function one(title, f)
    it(title .. ", by " .. name, function()
      local d <close>, why = make()
      if not d then return pending(why) end
      f(d)
    end)
  end

  one("survives its session, and its process", function(d)
    do
      local child <close>, made = maker(d)
      local s <close> = session(d)
      assert.equal(2, #s:query(made.set)) -- while that lives, too
      kill(child)
      local report = assert(vss.reap { state_dir = d.state }:wait())
      helper.contains({ shadows = 0, surfaced = 0, failed = 0 },
        { shadows = #report.shadows, surfaced = #report.surfaced,
          failed = #report.failed })
      assert.equal("one\n", d.read(s:snapshot_properties(made.a).path
        .. "/file"))
    end
    do
      local s <close> = vss.components { state_dir = d.state }
      s:initialize_for_backup()
      s:set_context "app_rollback"
      s:set_backup_state { type = "copy" }
      assert(s:gather_writer_metadata():wait())
      s:start_snapshot_set()
      s:add_to_snapshot_set(d.a, d.provider)
      assert(s:prepare_for_backup():wait())
      assert(s:do_snapshot_set():wait())
    end -- closed, and not deleted
    local s <close> = session(d)
    assert.equal(3, #s:query())
    for _, p in ipairs(s:query()) do
      assert.is_true(p.persistent)
      assert.is_nil(p.missing)
      assert.equal(1, (s:delete_snapshots(p.id)))
    end
    assert.equal("", d.left())
  end)

  one("is listed by another process", function(d)
    local made = orphans(d)
    assert.equal("fine\n", elsewhere(d, made, [[
      s:initialize_for_backup()
      local list = s:query(set)
      assert(#list == 2 and #s:query() == 2)
      local found = {}
      for _, p in ipairs(list) do
        found[p.id] = p
        local same = s:snapshot_properties(p.id)
        for name, item in pairs(p) do
          assert(type(item) == "table" or same[name] == item, name)
        end
        assert(p.count == 2 and p.set == set and p.persistent)
        assert(p.attributes & saros.vss.attribute.persistent ~= 0)
        assert(not p.missing)
      end
      local file = assert(io.open(found[a].path .. "/file"))
      assert(file:read "a" == "one\n" and found[b])
      print "fine"
    ]]))
    local s <close> = session(d)
    assert.same({}, s:query(shared.id(1)))
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.snapshot_properties, s, shared.id(1)).code)
    assert.equal(2, (s:delete_snapshots(made.set, { set = true })))
    assert.equal("", d.left())
  end)

  one("is exposed at a path read-only, and not any more", function(d)
    if volumes.missing then return pending(volumes.missing) end
    local made = orphans(d)
    local at = d.root .. "/at"
    do
      local s <close> = session(d)
      s:expose_snapshot(made.a, at)
      local p = s:snapshot_properties(made.a)
      assert.equal(at, p.exposed)
      assert.not_equal(0, p.attributes & vss.attribute.exposed_locally)
      assert.equal(code.VSS_E_OBJECT_ALREADY_EXISTS,
        raises(s.expose_snapshot, s, made.a, at).code)
    end
    assert.equal("one\n", d.read(at .. "/file")) -- without its session
    local file, _, number = io.open(at .. "/file", "w")
    assert.is_nil(file)
    assert.equal(30, number) -- EROFS
    elsewhere(d, made, [[ s:initialize_for_backup() s:unexpose_snapshot(a) ]])
    assert.is_nil(d.read(at .. "/file"))
    assert.is_false((os.rename(at, at)) or false) -- the directory went, too
    local s <close> = session(d)
    assert.is_nil(s:snapshot_properties(made.a).exposed)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.unexpose_snapshot, s, made.a).code)
    s:delete_snapshots(made.set, { set = true })
    assert.equal("", d.left())
  end)

  one("is imported by another process, once", function(d)
    local child <close>, made = maker(d)
    local import = [[
      s:initialize_for_backup(document)
      local ok, err = s:import_snapshots():wait()
      io.stdout:write(ok and "taken" or saros.code.name("vss", err.code))
    ]]
    -- Its maker has it still.
    assert.equal("VSS_E_NO_SNAPSHOTS_IMPORTED", elsewhere(d, made, import))
    kill(child)
    assert.equal("taken", elsewhere(d, made, import .. [[
      assert(#s:snapshots() == 2)
      local p = s:snapshot_properties(a)
      assert(p.attributes & saros.vss.attribute.imported ~= 0)
      s:close()
      assert(not pcall(s.query, s))
    ]]))
    assert.equal("VSS_E_NO_SNAPSHOTS_IMPORTED", elsewhere(d, made, import))
    local s <close> = session(d)
    assert.equal(2, #s:query(made.set))
    assert.equal("two\n", d.read(s:snapshot_properties(made.b).path .. "/file"))
    s:delete_snapshots(made.set, { set = true })
    assert.equal("", d.left())
  end)

  one("is imported as far as it is there", function(d)
    local made = orphans(d)
    do
      local s <close> = session(d)
      s:delete_snapshots(made.a)
    end
    local s <close> = session(d, made.document)
    local op = s:import_snapshots()
    assert(op:wait())
    assert.equal(code.VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED, op:status().code)
    local list = s:query(made.set)
    assert.equal(1, #list)
    assert.equal(made.b, list[1].id)
    s:delete_snapshots(made.b)
    assert.equal("", d.left())
  end)

  one("says how far a deletion came", function(d)
    if volumes.missing then return pending(volumes.missing) end
    local made = orphans(d)
    local s <close> = session(d)
    local list = s:query(made.set) -- in this order they are deleted
    local first, second = list[1].id, list[2].id
    s:expose_snapshot(second, d.root .. "/at")
    local err = raises(s.delete_snapshots, s, made.set, { set = true })
    assert.equal(code.VSS_E_VOLUME_IN_USE, err.code)
    helper.contains({ deleted = 1, not_deleted = second }, err.op:status())
    assert.equal(1, #s:query())
    err = raises(s.delete_snapshots, s, first)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND, err.code)
    helper.contains({ deleted = 0, not_deleted = first }, err.op:status())
    assert.equal(d.read(list[2].path .. "/file"), d.read(d.root .. "/at/file"))
    local count, none = s:delete_snapshots(made.set, { set = true,
      force = true })
    assert.equal(1, count)
    assert.equal(NOTHING, none)
    assert.equal("", d.left())
  end)

  one("is broken up to plain data", function(d)
    local made = orphans(d)
    local s <close> = session(d)
    local paths = s:break_snapshot_set(made.set)
    assert.equal(2, #paths)
    paths = by_id(paths)
    assert.equal(d.a, paths[made.a].original)
    assert.equal("one\n", d.read(paths[made.a].path .. "/file"))
    assert.equal("two\n", d.read(paths[made.b].path .. "/file"))
    assert.same({}, s:query())
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND,
      raises(s.break_snapshot_set, s, made.set).code)
    -- Nobody's shadow, but its document has not forgotten it.
    local other <close> = session(d, made.document)
    assert(other:import_snapshots():wait())
    assert.equal(2, (other:delete_snapshots(made.set, { set = true })))
    assert.equal("", d.left())
  end)

  one("is broken up to be written to", function(d)
    local made = orphans(d)
    local s <close> = session(d)
    local paths = s:break_snapshot_set(made.set, { writable = true })
    assert.equal(2, #paths)
    paths = by_id(paths)
    for id, text in pairs { [made.a] = "one\n", [made.b] = "two\n" } do
      local file = paths[id].path .. "/file"
      assert.equal(text, d.read(file))
      put(file, "mine")
      assert.equal("mine", d.read(file))
    end
    assert.same({}, s:query())
    assert.equal("one later\n", d.read(d.a .. "/file"))
    assert.equal(0, #assert(vss.reap { state_dir = d.state }:wait()).shadows)
    assert.equal("mine", d.read(paths[made.a].path .. "/file"))
  end)

  one("comes back with the next session after a restart", function(d)
    if volumes.missing then return pending(volumes.missing) end
    local made = orphans(d)
    local s <close> = session(d)
    local path = s:snapshot_properties(made.a).path
    local function is_read_only()
      local file, _, number = io.open(path .. "/new", "w")
      if file then
        file:close()
        os.remove(path .. "/new")
      end
      return number == 30
    end
    assert.is_true(is_read_only())
    local goes = d.provider == "copy" -- what is not mounted does not go
    volumes.run("umount '%s'", path)
    assert.equal(goes, not is_read_only())
    for _, id in ipairs { made.a, made.b } do -- another start of the machine
      local record = volumes.run("find '%s' -name '%s.json'", d.state, id)
        :gsub("\n", "")
      local text = assert(outside.content(record))
      local aged, n = text:gsub('("boot":%s*")[^"]*',
        "%100000000-0000-4000-8000-000000000000")
      assert.not_equal(0, n)
      put(record, aged)
    end
    local report = assert(vss.reap { state_dir = d.state }:wait())
    assert.equal(0, #report.failed)
    assert.equal(goes and 1 or 0, #report.surfaced)
    if goes then
      helper.contains({ id = made.a, set = made.set, provider = "copy",
        original = d.a, path = path }, report.surfaced[1])
    end
    assert.is_true(is_read_only())
    assert.equal("one\n", d.read(path .. "/file"))
    report = assert(vss.reap { state_dir = d.state }:wait())
    assert.equal(0, #report.surfaced)
    s:delete_snapshots(made.set, { set = true })
    assert.equal("", d.left())
  end)
end

describe("a persistent shadow", function()
  in_place("copy", with_copy)
  in_place("btrfs", with_btrfs)
end)

describe("a shadow of a single file", function()
  it("is not exposed, and says where it can be read", function()
    local d <close> = shared.directory()
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_context "nas_rollback"
    s:start_snapshot_set()
    local id = s:add_to_snapshot_set(d.a .. "/file", "copy")
    assert(s:do_snapshot_set():wait())
    local path = s:snapshot_properties(id).path
    assert.equal("one\n", d.read(path))
    local err = raises(s.expose_snapshot, s, id, d.root .. "/at")
    assert.equal(code.VSS_E_NOT_SUPPORTED, err.code)
    assert.is_truthy(err.message:find(path, 1, true))
    assert.is_nil(io.open(d.root .. "/at"))
    assert.equal(1, (s:delete_snapshots(id)))
    assert.equal("", d.left())
  end)
end)

describe("a revert", function()
  it("rolls a subvolume back", function()
    local d <close>, why = with_btrfs()
    if not d then return pending(why) end
    local made = orphans(d)
    local s <close> = session(d)
    s:revert_to_snapshot(made.a)
    assert.equal("one\n", d.read(d.a .. "/file"))
    assert.equal("two later\n", d.read(d.b .. "/file"))
    put(d.a .. "/file", "goes on")
    assert.equal("one\n", d.read(s:snapshot_properties(made.a).path .. "/file"))
    local held <close> = io.open(d.b .. "/file") -- goes on with what was
    assert.equal("VSS_E_VOLUME_IN_USE", elsewhere(d, made, [[
      s:initialize_for_backup()
      local ok, err = pcall(s.revert_to_snapshot, s, b)
      io.write(err.name)
    ]]))
    assert.equal("two later\n", d.read(d.b .. "/file"))
    elsewhere(d, made, [[
      s:initialize_for_backup()
      s:revert_to_snapshot(b, { force = true })
    ]])
    assert.equal("two\n", d.read(d.b .. "/file"))
    assert.equal("two later\n", held:read "a")
    -- Nothing runs on behind it, to be watched.
    local ok, err = s:query_revert_status(d.a):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND, err.code)
    s:delete_snapshots(made.set, { set = true })
    assert.equal("", d.left())
  end)

  it("is not for what only a session has", function()
    local d <close>, why = with_btrfs()
    if not d then return pending(why) end
    local set <close> = assert(vss.shadow { paths = { d.a },
      provider = "btrfs", state_dir = d.state }:wait())
    local s <close> = session(d)
    local err = raises(s.revert_to_snapshot, s, set[d.a].id)
    assert.equal(code.VSS_E_UNSUPPORTED_CONTEXT, err.code)
  end)

  it("waits for nobody's set", function()
    local d <close>, why = with_btrfs()
    if not d then return pending(why) end
    local made = orphans(d)
    local s <close> = session(d)
    local other <close> = session(d)
    other:start_snapshot_set()
    local err = raises(s.revert_to_snapshot, s, made.a)
    assert.equal(code.VSS_E_SNAPSHOT_SET_IN_PROGRESS, err.code)
    assert.equal("one later\n", d.read(d.a .. "/file"))
    other:close()
    s:revert_to_snapshot(made.a)
    assert.equal("one\n", d.read(d.a .. "/file"))
  end)

  it("is not what a copy can do", function()
    local d <close> = with_copy()
    local made = orphans(d)
    local s <close> = session(d)
    local err = raises(s.revert_to_snapshot, s, made.a)
    assert.equal(code.SAROS_E_NOTIMPL, err.code)
    assert.match("copy it back", err.message)
    assert.equal("one later\n", d.read(d.a .. "/file"))
    s:delete_snapshots(made.set, { set = true })
    assert.equal("", d.left())
  end)
end)
