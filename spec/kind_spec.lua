-- Kinds: what is known of an application without its live writer, and its check
-- on a copy of the shadow.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros = helper.saros
local kind = require "saros.writers.kind"
local wsb = require "saros.wsb"
local code = saros.code

local ID = shared.id(1)

local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

-- A shadow (a directory will do) of an application's files, and a scratch
-- directory where nothing may be left.
local function scene(options)
  local d = shared.directory(os.getenv "TMPDIR" or "/tmp")
  assert(os.execute(("cd %s && chmod 755 . && mkdir -m 755 scratch staged "
    .. "live && cp -r data shadow && echo live >live/file"):format(d.root)))
  local k = { name = "spec", id = ID }
  for name, item in pairs(options or {}) do k[name] = item end
  kind.define(k)
  local t = setmetatable({ d = d, said = nil }, { __close = function()
    getmetatable(d).__close(d)
  end })
  function t.check(more)
    local o = { writer = ID, component = "main", scratch = d.root .. "/scratch",
      sources = { d.root .. "/data" }, snapshots = { d.root .. "/shadow" },
      metadata = { name = "app", components = {
        { type = "database", name = "other", files = { "/nowhere" } },
        { type = "database", name = "main", files = { d.a },
          kind = "other", writer = "other", said = "other" } } } }
    for name, item in pairs(more or {}) do o[name] = item end
    return assert(wsb.check_consistency(o))
  end
  function t.left()
    local pipe <close> = io.popen("ls -A " .. d.root .. "/scratch")
    return pipe:read "a"
  end
  return t
end

describe("kind.of", function()
  it("knows kinds by name and by the class of their writers", function()
    local k = kind.define { name = "spec", id = "{" .. ID:upper() .. "}" }
    assert.equal(k, kind.of "spec")
    assert.equal(k, kind.of(ID))
    assert.equal(k, kind.of(ID:upper()))
    assert.is_nil(kind.of(shared.id(2)))
    assert.is_nil(kind.of "nothing")
  end)

  it("loads no module that somebody else names", function()
    local before = {}
    for name in pairs(package.loaded) do before[name] = true end
    for _, name in ipairs { "kind", "saros.writers.sqlite", "../sqlite",
      "os", "testmod", "", "sqlite\0", "sqlite/../kind" } do
      assert.is_nil(kind.of(name))
    end
    for name in pairs(package.loaded) do assert.is_true(before[name], name) end
  end)

  it("says why a built-in one is not there", function()
    local output, _, status = helper.script [[
      package.preload["saros.writers.redis_kind"] = function()
        error "the client was left out"
      end
      local kind = require "saros.writers.kind"
      local wsb = require "saros.wsb"
      local id = "9e8b7a54-3c1d-4e2f-8a6b-1f0e2d3c4b03"
      local k, err = kind.of "redis"
      print(k, err.name, err.message)
      local op = wsb.check_consistency { writer = id, component = "x" }
      _, err = op:wait()
      print(err.untried, err.message, ("%08X"):format(op:query()))
      print(wsb.pre_restore({ writer = id }):wait())
    ]]
    assert.equal(0, status, output)
    assert.match("^nil\tE_NOTIMPL\twhat is known of redis is not there:.-"
      .. "the client was left out\n", output)
    assert.match("\ntrue\tthe check could not be run.-\t80004001\n", output)
  end)

  it("raises what is none", function()
    for _, o in ipairs { {}, { name = "x" }, { name = "x", id = "y" },
      { name = "x", id = ID, chek = print }, { name = 7, id = ID } } do
      assert.has_error(function() kind.define(o) end)
    end
    kind.define { name = "spec", id = ID }
    assert.has_error(function() kind.define { name = "else", id = ID } end)
  end)
end)

describe("the check of a kind", function()
  it("has a writable copy that is its own, settled", function()
    local log, root, seen = {}, nil, nil
    local t <close> = scene {
      settle = function(c, place)
        log[#log + 1] = "settle " .. c.name
        assert(os.remove(place:at(c.files[1]) .. "/file"))
      end,
      check = function(c, place)
        log[#log + 1] = "check " .. c.name
        seen, root = c, place.root
        assert.is_nil(read(place:at(c.files[1]) .. "/file"))
        return { pages = 7 }
      end }
    assert.same({ pages = 7 }, t.check { said = {
      components = { main = { position = "7" }, other = { position = "8" } },
    } }:wait())
    assert.same({ "settle main", "check main" }, log)
    helper.contains({ kind = "spec", name = "main", type = "database" }, seen)
    assert.same({ position = "7" }, seen.said)
    assert.same({ id = ID, name = "app" }, seen.writer)
    assert.equal("one\n", read(t.d.root .. "/shadow/a/file"))
    assert.equal("one\n", read(t.d.a .. "/file"))
    assert.is_nil(read(root))
    assert.equal("", t.left())
  end)

  it("has what belongs over the files", function()
    local t <close> = scene { check = function(c, place)
      return { label = read(place:at(c.files[1]) .. "/label"),
        file = read(place:at(c.files[1]) .. "/file") }
    end }
    outside.write(t.d.root .. "/staged/label", "from here")
    outside.write(t.d.root .. "/staged/file", "newer")
    local found = assert(t.check { said = { components = { main = {
      additions = { { path = t.d.root .. "/staged", to = t.d.a } },
    } } } }:wait())
    assert.same({ label = "from here", file = "newer" }, found)
    assert.equal("one\n", read(t.d.root .. "/shadow/a/file"))
    assert.equal("one\n", read(t.d.a .. "/file"))
  end)

  it("lays nothing outside of its copy", function()
    local asked = 0
    local t <close> = scene { check = function() asked = asked + 1 end }
    assert(os.execute(("cd %s/shadow/a && ln -s %s/live out && mkdir in && "
      .. "ln -s %s/live in/out && mkdir -p ../../staged/out && "
      .. "echo torn >../../staged/out/file"):format(t.d.root, t.d.root,
      t.d.root)))
    local staged = t.d.root .. "/staged"
    for _, additions in ipairs {
      { { path = staged, to = t.d.a } },             -- by a link in it
      { { path = staged .. "/out", to = t.d.a .. "/out" } }, -- is a link
      { { path = staged .. "/out", to = t.d.a .. "/in/out" } },
      { { path = staged, to = "/etc" } },
      { { path = staged, to = t.d.a .. "/../../live" } },
      { { path = "staged", to = t.d.a } },
      { { path = staged } }, { 7 }, "all",
    } do
      local _, err = t.check { said = {
        components = { main = { additions = additions } } } }:wait()
      assert.is_not_nil(err, tostring(additions))
      assert.is_true(err.untried)
    end
    assert.equal(0, asked)
    assert.equal("live\n", read(t.d.root .. "/live/file"))
    assert.equal("", t.left())
  end)

  it("fails with what it found, and nothing is left", function()
    local damaged = helper.core.failure("saros", code.SAROS_E_DAMAGED, "torn")
    damaged.problems = { "page 7" }
    local t <close> = scene { check = function() return nil, damaged end }
    local op <close> = t.check()
    local _, err = op:wait()
    assert.same({ "page 7" }, err.problems)
    assert.is_nil(err.untried)
    assert.equal(code.SAROS_E_DAMAGED, op:query())
    assert.equal("", t.left())
    local u <close> = scene { settle = function() return nil, "leads out" end,
      check = error }
    _, err = u.check():wait()
    assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
    assert.match("spec: leads out", err.message)
    assert.is_nil(err.untried)
    assert.equal("", u.left())
  end)

  it("says nothing where the kind itself is wrong", function()
    local function wrong() error "of a table that is nil" end
    for _, k in ipairs { { settle = wrong, check = error }, { check = wrong } }
    do
      local t <close> = scene(k)
      local _, err = t.check():wait()
      assert.match("of a table that is nil", err.message)
      assert.is_true(err.untried)
      assert.equal("", t.left())
    end
  end)

  it("fails by what settle raises, as by what it returns", function()
    local t <close> = scene { check = error, settle = function()
      error(helper.core.failure("saros", code.SAROS_E_REFUSED, "leads out"), 0)
    end }
    local _, err = t.check():wait()
    assert.equal(code.SAROS_E_REFUSED, err.code)
    assert.is_nil(err.untried)
  end)

  it("has its time, and is untried then", function()
    local phases = {}
    local t <close> = scene { check = function(_, place)
      phases.patience = place.patience
      saros.sleep(600):wait()
    end }
    local op <close> = t.check { timeout = 0.2 }
    for s in op:progress() do phases[s.phase or ""] = true end
    local _, err = op:wait()
    assert.is_true(err.untried)
    assert.is_true(err.timeout)
    assert.match("the check of spec: it did not end within 0.2 seconds",
      err.message)
    if phases.patience then -- there was time to come so far
      assert.equal(0.2, phases.patience)
      assert.is_true(phases.checking)
    end
    assert.equal("", t.left())
  end)

  it("is untried where there can be no copy", function()
    local t <close> = scene { check = error }
    for _, more in ipairs { { scratch = t.d.root .. "/nowhere" },
      { component = "unknown" }, { metadata = {} },
      { sources = {}, snapshots = {} } } do
      local _, err = t.check(more):wait()
      assert.is_true(err.untried, tostring(err))
    end
    assert(os.execute("rm -r " .. t.d.root .. "/shadow/a"))
    local _, err = t.check():wait()
    assert.is_true(err.untried)
    assert.equal("", t.left())
  end)

  it("leaves nothing when it is aborted", function()
    local reached = false
    local t <close> = scene { check = function()
      reached = true
      saros.sleep(600):wait()
    end }
    local op <close> = t.check()
    shared.until_true(function() return reached end)
    assert.equal(0x407A0004, op:query())
    assert.equal(0, op:cancel())
    assert.equal(0x800704C7, op:query())
    local _, err = op:wait()
    assert.is_true(err.cancelled)
    assert.equal("", t.left())
    -- And while it is being copied.
    local other = t.check()
    helper.settle()
    other:close()
    assert.equal("", t.left())
  end)

  it("begins nothing when it is aborted before it has begun", function()
    local combine = require "saros.combine"
    local timeout <const> = combine.timeout
    local _ <close> = setmetatable({}, { __close = function()
      combine.timeout = timeout
    end })
    local asked, op = 0, nil
    local t <close> = scene { settle = function() asked = asked + 1 end,
      check = error }
    combine.timeout = function(...)
      op:cancel()
      return timeout(...)
    end
    op = t.check { timeout = 1000 }
    local _, err = op:wait()
    assert.is_true(err.cancelled)
    for _ = 1, 50 do saros.sleep(0.002):wait() end
    assert.equal(0, asked)
    assert.equal("", t.left())
  end)

  it("leaves a component without a check alone", function()
    local t <close> = scene { order = 1 }
    assert.is_nil(wsb.check_consistency { writer = ID, component = "main" })
    assert.is_table(t.d)
  end)
end)
