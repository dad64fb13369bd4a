-- vss.shadow: one operation from the session to the set.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

local function joined(log) return table.concat(log, " ") end

local BACKUP = "identify prepare_backup prepare_snapshot freeze thaw "
  .. "post_snapshot"

local function shadow(d, options)
  local o = { paths = { d.a }, provider = "copy", state_dir = d.state }
  for name, item in pairs(options or {}) do o[name] = item end
  return vss.shadow(o)
end

describe("vss.shadow", function()
  it("names what is wrong with an option", function()
    local function raises(options)
      local ok, err = pcall(function() vss.shadow(options) end)
      assert.is_false(ok)
      assert.match("vss_shadow_spec.lua", err)
      return err
    end
    assert.match("table expected, got nil", raises(nil))
    assert.match("'paths' is missing", raises {})
    assert.match("'paths': table expected", raises { paths = "/x" })
    assert.match("'paths' is empty", raises { paths = {} })
    assert.match("'paths'%[2%]: string expected", raises { paths = { "/x", 1 } })
    assert.match("'paths': list of strings", raises { paths = { x = "/x" } })
    assert.match("'provider': a name", raises { paths = { "/x" }, provider = 1 })
    assert.match("no option 'x'", raises { paths = { "/x" }, x = 1 })
    assert.match("'writers' has no option 'only'",
      raises { paths = { "/x" }, writers = { only = {} } })
    assert.match("'require'%[1%]: string expected",
      raises { paths = { "/x" }, writers = { require = { 1 } } })
    assert.match("'context': string or number expected",
      raises { paths = { "/x" }, context = {} })
    assert.match("'name': string expected", raises { paths = { "/x" }, name = 1 })
  end)

  it("makes a set, which goes when it is closed", function()
    local d <close> = shared.directory()
    local place
    do
      local set <close> = assert(shadow(d, { paths = { d.a, d.b } }):wait())
      assert.equal("one\n", d.read(set[d.a].path .. "/file"))
      assert.equal("two\n", d.read(set[d.b].path .. "/file"))
      helper.contains({ original = d.a, provider = "copy" }, set[d.a])
      for _, field in ipairs { "id", "consistency", "held", "attributes",
        "created" }
      do
        assert.is_not_nil(set[d.a][field], field)
      end
      assert.is_string(set.id)
      assert.equal(0, set.held) -- nobody had to
      assert.equal(1, #set.skew)
      helper.contains({ a = d.a, b = d.b }, set.skew[1])
      assert.is_number(set.skew[1].seconds)
      assert.same({}, set.writers)
      assert.same({}, set.times.writers)
      assert.equal(2, #set.times.volumes)
      helper.contains({ path = d.a, frozen = false }, set.times.volumes[1])
      assert.is_true(set.times.volumes[1].from <= set.times.volumes[1].to)
      local seen = {}
      for path, p in pairs(set) do
        seen[#seen + 1] = path
        assert.equal(set[path], p)
      end
      assert.same({ d.a, d.b }, seen)
      assert.match(d.a, tostring(set), 1, true)
      assert.is_nil(set["/nowhere"])
      place = set[d.a].path
    end
    assert.is_nil(d.read(place .. "/file"))
    assert.equal("", d.left())
  end)

  it("takes the provider of each path", function()
    local d <close> = shared.directory()
    local set <close> = assert(shadow(d, { paths = { d.a, d.b },
      provider = { [d.a] = "copy", [d.b] = "live" } }):wait())
    assert.equal("copy", set[d.a].provider)
    assert.equal("live", set[d.b].provider)
  end)

  it("tells the writers, and that the backup is complete", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1, { components = {
      { type = "database", name = "main", files = { d.a .. "/file" } } } })
    local set = assert(shadow(d, { type = "full" }):wait())
    assert.equal(BACKUP, joined(log))
    assert.equal("app1", set.writers[1].name)
    local times = set.times.writers[1]
    helper.contains({ name = "app1" }, times)
    local _, now = helper.core.clocks()
    assert.is_true(times.asked <= times.from and times.from < times.to
      and times.to <= now)
    local volume = set.times.volumes[1]
    assert.is_true(times.from <= volume.from and volume.to <= times.to)
    assert(set:backup_complete():wait())
    assert.match('"succeeded":true', (set:save():gsub("%s", "")))
    assert.is_true(set:close())
    assert.equal(BACKUP .. " backup_complete backup_shutdown", joined(log))
  end)

  it("says that the backup did not go well", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, { components = {
      { type = "database", name = "main", files = { d.a } } } })
    local set <close> = assert(shadow(d):wait())
    assert(set:backup_complete(false):wait())
    assert.match('"succeeded":false', (set:save():gsub("%s", "")))
  end)

  it("aborts a backup that nobody said was complete", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1)
    assert(shadow(d):wait()):close()
    assert.equal(BACKUP .. " abort backup_shutdown", joined(log))
  end)

  it("needs no writers in a context without them", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1)
    for _, context in ipairs { "file_share_backup", 0x10 } do
      local set <close> = assert(shadow(d, { context = context }):wait())
      assert(set:backup_complete():wait())
    end
    assert.equal("", joined(log))
  end)
end)

describe("what a copy is worth", function()
  local function veto() return nil, "busy" end

  for title, case in pairs {
    ["nothing was held without a writer"] = { "fuzzy" },
    ["its writers held still"] = { "held", {}, {} },
    ["one of them was not ready"] = { "fuzzy", {},
      { prepare_snapshot = veto } },
    ["one of them did not hold still"] = { "fuzzy", {}, { freeze = veto } },
    ["one of them let go too early"] = { "fuzzy", {}, { thaw = veto } },
    ["one of them failed afterwards"] = { "held", {},
      { post_snapshot = veto } },
  } do
    it("is said: " .. title, function()
      local d <close> = shared.directory()
      local all = {}
      for i = 2, #case do all[i - 1] = shared.writer(i, case[i]) end
      local set <close> = assert(shadow(d, { on_veto = "ignore" }):wait())
      assert.equal(case[1], set[d.a].consistency)
      local s <close> = vss.components { state_dir = d.state }
      s:initialize_for_backup()
      assert.equal(case[1], s:query(set.id)[1].consistency)
      for _, w in ipairs(all) do w:close() end
    end)
  end
end)

describe("of the writers", function()
  local function writers(d)
    local log = {}
    local function one(n, files)
      return shared.writer(n, { tag = n .. ":", components = files and {
        { type = "filegroup", name = "files", files = files } } or nil }, log)
    end
    local all = { (one(1, { d.a .. "/file" })), (one(2, { d.b })), (one(3)),
      (one(4, { d.root .. "/data" })), (one(5, {})), (one(6, { d.a .. "x" })) }
    return setmetatable(all, { __close = function()
      for _, w in ipairs(all) do w:close() end
    end }), log
  end

  local function told(log)
    local found = {}
    for _, entry in ipairs(log) do
      local n = entry:match "^(%d):freeze"
      if n then found[#found + 1] = n end
    end
    table.sort(found)
    return table.concat(found)
  end

  it("those take part of which files lie there, or that name none", function()
    local d <close> = shared.directory()
    local _ <close>, log = writers(d)
    local set <close> = assert(shadow(d):wait())
    assert.equal("1345", told(log))
    assert.equal(4, #set.writers)
  end)

  it("those too that call it by another name", function()
    local d <close> = shared.directory()
    assert(os.execute(("cd %s && ln -s data link && ln -s a data/of && "
      .. "ln -s /nonexistent/x dangling"):format(d.root)))
    local log = {}
    local function one(n, files)
      return shared.writer(n, { tag = n .. ":", components = {
        { type = "filegroup", name = "files", files = files } } }, log)
    end
    local _ <close> = one(1, { d.root .. "/link/a/file" })
    local _ <close> = one(2, { d.root .. "/link/b" })
    local _ <close> = one(3, { d.root .. "/link/a/not/there/yet" })
    local _ <close> = one(4, { d.root .. "/dangling", "/" })
    local set <close> = assert(shadow(d):wait())
    assert.equal("134", told(log)) -- all lies in "/"
    set:close()
    for i = #log, 1, -1 do log[i] = nil end
    local _ <close> = assert(vss.shadow { paths = { d.root .. "/data/of" },
      state_dir = d.state, provider = "copy" }:wait())
    assert.equal("134", told(log))
  end)

  it("those that are excluded do not, those required do", function()
    local d <close> = shared.directory()
    local all <close>, log = writers(d)
    local _ <close> = assert(shadow(d, { writers = {
      exclude = { "app1", all[4].id, all[3].instance },
      require = { "app2", all[6].id },
    } }):wait())
    assert.equal("256", told(log))
  end)

  it("one that is required and not there fails it", function()
    local d <close> = shared.directory()
    local ok, err = shadow(d, { writers = { require = { "postgres" } } }):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_WRITER_INFRASTRUCTURE, err.code)
    assert.match("postgres", err.message)
    assert.equal("", d.left())
  end)

  it("one that is required and fails, fails it in spite of all", function()
    local d <close> = shared.directory()
    local function no() return nil, "busy" end
    local _ <close> = shared.writer(1, { freeze = no })
    local set <close> = assert(shadow(d, { on_veto = "ignore" }):wait())
    set:close()
    local ok, err = shadow(d, { on_veto = "ignore",
      writers = { require = { "app1" } } }):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
  end)
end)

describe("as an operation it", function()
  it("speaks as one of vss, with phases and percent", function()
    local d <close> = shared.directory()
    local gate, op = helper.gate()
    local _ <close> = shared.writer(1, { freeze = function() op:wait() end })
    local run = shadow(d, { name = "nightly" })
    assert.equal(code.VSS_S_ASYNC_PENDING, (run:query()))
    assert.equal(run, saros.get "nightly")
    local phases, last = {}, 0
    for s in run:progress() do
      assert.is_true(s.percent >= last)
      last = s.percent
      phases[s.phase or ""] = true
      if s.phase == "freeze" then
        assert.match("^vss.shadow: pending %d+%% %(freeze%)", tostring(run))
        gate:finish(0)
      end
    end
    assert.is_true(phases.freeze)
    assert.equal(100, last)
    assert.equal(code.VSS_S_ASYNC_FINISHED, (run:query()))
    local set <close> = run:wait()
    assert.is_string(set.id)
  end)

  it("leaves nothing when it is cancelled", function()
    local d <close> = shared.directory()
    for _, event in ipairs { "identify", "prepare_backup", "prepare_snapshot",
      "freeze", "thaw", "post_snapshot" }
    do
      local gate, op = helper.gate()
      local entered = false
      local _ <close>, log = shared.writer(1, { [event] = function()
        entered = true
        op:wait()
      end })
      local run = shadow(d)
      shared.until_true(function() return entered end)
      assert.equal(0, run:cancel())
      assert.equal(code.VSS_S_ASYNC_CANCELLED, run:cancel())
      local ok, err = run:wait()
      assert.is_nil(ok)
      assert.is_true(err.cancelled)
      assert.equal(code.VSS_S_ASYNC_CANCELLED, (run:query()))
      assert.equal("", d.left())
      if event == "freeze" then assert.match("abort", joined(log)) end
      gate:finish(0)
      -- Nothing of it stands in the way of the next.
      shadow(d, { writers = { exclude = { "app1" } } }):wait():close()
    end
  end)

  it("leaves nothing when it fails", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1, { freeze = function()
      error "busy"
    end })
    local run = shadow(d)
    local ok, err = run:wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, (run:query()))
    assert.match("busy", err.message)
    assert.match("abort", joined(log))
    assert.equal("", d.left())
    ok, err = shadow(d, { paths = { d.root .. "/nowhere" } }):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_OBJECT_NOT_FOUND, err.code)
    ok, err = shadow(d, { paths = { d.a, d.a } }):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_OBJECT_ALREADY_EXISTS, err.code)
    ok, err = shadow(d, { provider = "nonsense" }):wait()
    assert.is_nil(ok)
    assert.match("nonsense", err.message)
    ok, err = shadow(d, { timeouts = { freeze = -1 } }):wait()
    assert.is_nil(ok)
    assert.match("timeouts.freeze", err.message)
  end)

  it("is one of a kind on this machine, and says who is first", function()
    local d <close> = shared.directory()
    local gate, op = helper.gate()
    local entered = false
    local w <close> = shared.writer(1, { freeze = function()
      entered = true
      op:wait()
    end })
    local first = shadow(d)
    shared.until_true(function() return entered end)
    local ok, err = shadow(d, { writers = { exclude = { w.id } } }):wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_SNAPSHOT_SET_IN_PROGRESS, err.code)
    gate:finish(0)
    assert(first:wait()):close()
  end)

  it("may be waited for in a sort, and from a handler of another", function()
    local d <close> = shared.directory()
    local _ <close>, log = shared.writer(1, { freeze = function()
      saros.sleep(0):wait()
    end })
    table.sort({ 2, 1 }, function(a, b)
      assert(shadow(d):wait()):close()
      return a < b
    end)
    assert.match("freeze thaw", joined(log))
  end)

  it("is put down by all{}, timeout and scope", function()
    local d <close> = shared.directory()
    local gate, op = helper.gate()
    local _ <close> = shared.writer(1, { freeze = function() op:wait() end })
    local _, err = saros.timeout(shadow(d), 0.2):wait()
    assert.is_true(err.timeout)
    assert.equal("", d.left())
    local bad = saros.spawn(function() saros.sleep(0.1):wait() error "x" end)
    assert.is_nil((saros.all { shadow(d), bad }:wait()))
    assert.equal("", d.left())
    pcall(saros.scope, function(scope)
      scope:add(shadow(d))
      saros.sleep(0.1):wait()
      error "x"
    end)
    assert.equal("", d.left())
    gate:finish(0)
  end)

  it("leaves nothing when the script leaves", function()
    local d <close> = shared.directory(outside.memory)
    for _, way in ipairs { "", "os.exit(0, true)", "error 'x'" } do
      helper.script(([[
        local saros = require "saros"
        local vss = saros.vss
        local reached = false
        w = vss.writer { id = %q, name = "x", freeze = function()
          reached = true
          saros.sleep(1000):wait()
        end }
        op = vss.shadow { paths = { %q }, provider = "copy", state_dir = %q }
        while not reached do saros.sleep(0.01):wait() end
        %s]]):format(shared.id(1), d.a, d.state, way))
      assert.equal("", d.left(), way)
    end
  end)
end)
