-- Applications: their checks, the order of their components, what comes before
-- and after a restore. (The driver that polls an object of a C host is proved in
-- spec/c/test_wsb_check.c, too.)
local helper = require "spec.helper"
local shared = require "spec.vss"

local saros, core, testmod = helper.saros, helper.core, helper.testmod
local wsb = require "saros.wsb"
local code = saros.code

local ID, OTHER, INSTANCE = shared.id(1), shared.id(2), shared.id(3)

local function application(options)
  local o = { writer = ID, name = "app" }
  for name, item in pairs(options) do o[name] = item end
  return wsb.application(o)
end

local function start(options)
  local o = { writer = ID, component = "main" }
  for name, item in pairs(options or {}) do o[name] = item end
  return wsb.check_consistency(o)
end

-- How a check that does this ends.
local function ends(check, options)
  local _ <close> = application { check = check }
  local op <close> = start(options)
  local result, err = op:wait()
  return result, err, op:query()
end

local function raises(message, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.match(message, tostring(err))
  return err
end

describe("wsb.application", function()
  it("is asked until it is closed", function()
    assert.is_nil(start())
    local app = application { check = function() end }
    assert.is_true(app:is_open())
    assert.is_nil(app.ignored)
    assert.match("app %(" .. ID:gsub("%-", "%%-"), tostring(app))
    assert(start():wait())
    app:close()
    app:close()
    assert.is_false(app:is_open())
    assert.match("closed", tostring(app))
    assert.is_nil(start())
  end)

  it("stays when its handle is garbage", function()
    local output, _, status = helper.script(([[
      local wsb = require "saros.wsb"
      wsb.application { writer = %q, name = "app", check = function() end }
      collectgarbage()
      collectgarbage()
      print(wsb.check_consistency { writer = %q, component = "x" }:wait())
    ]]):format(ID, ID))
    assert.equal(0, status, output)
    assert.equal("true\n", output)
  end)

  it("ignores a second one of a name, or for a writer", function()
    local first <close> = application { check = function() end }
    do
      local second <close> = application { writer = OTHER }
      assert.match("name", second.ignored)
      assert.is_false(second:is_open())
      local third <close> = application { name = "other",
        check = function() return nil, "no" end }
      assert.match('"app" is registered', third.ignored)
      assert.match("ignored", tostring(third))
    end
    assert.is_true(first:is_open()) -- what was ignored takes nothing away
    assert(start():wait())
  end)

  it("is found by the instance of its writer, then by the class", function()
    local of_class <close> = application {
      check = function() return nil, "class" end, roll_forward = true }
    local of_instance <close> = application { name = "one", writer = INSTANCE,
      check = function() return nil, "instance" end }
    local _, err = start { instance = INSTANCE }:wait()
    assert.match("one: instance", err.message)
    _, err = start { instance = OTHER }:wait()
    assert.match("app: class", err.message)
    _, err = start { writer = "{" .. INSTANCE:upper() .. "}" }:wait()
    assert.match("one: instance", err.message)
    assert.is_true(of_class:is_open() and of_instance:is_open())
  end)

  it("takes what it leaves out from its kind", function()
    local kind = require "saros.writers.kind"
    kind.define { name = "spec", id = OTHER, roll_forward = true,
      check = function() return true end }
    do
      local _ <close> = application { writer = OTHER, roll_forward = false,
        check = false }
      assert.is_nil(start { writer = OTHER })
      assert.is_false(wsb.is_roll_forward_supported(OTHER))
    end
    do
      local _ <close> = application { writer = OTHER }
      assert(start { writer = OTHER }):close()
      assert.is_true(wsb.is_roll_forward_supported(OTHER))
    end
  end)

  it("raises what it cannot be", function()
    raises("'writer' is missing", wsb.application, { name = "x" })
    raises("'name' is missing", wsb.application, { writer = ID })
    raises("a GUID", wsb.application, { writer = "app", name = "x" })
    raises("256 bytes", application, { name = ("x"):rep(257) })
    raises("256 bytes", application, { name = "" })
    raises("no option 'chek'; 'check' perhaps", application,
      { chek = function() end })
    raises("function or false", application, { check = true })
    raises("expected, got", application, { order = "first" })
    application({ name = ("x"):rep(256) }):close()
  end)
end)

describe("wsb.check_consistency", function()
  it("A21 A22 A29: is in progress, then S_OK", function()
    local gate, inner = helper.gate()
    local _ <close> = application { check = function() return inner:wait() end }
    local op <close> = start()
    assert.equal(0x407A0004, op:query())
    helper.settle()
    assert.equal(0x407A0004, op:query())
    gate:finish(0)
    assert.is_true(op:wait())
    assert.equal(0, op:query())
    assert.equal("wsb.check_consistency", tostring(op):match "^[%w._]+")
  end)

  it("A23 A24: fails with the failure of the check", function()
    local FAILED = code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED
    local function says(...)
      local what = table.pack(...)
      return function() return table.unpack(what, 1, what.n) end
    end
    local own = core.failure("saros", code.SAROS_E_DAMAGED, "page 7 is torn")
    own.problems = { "page 7" }
    local cases = {
      { says(nil, "torn"), FAILED, "app: torn" },
      { says(false), FAILED, "said no" },
      { says(false, "torn"), FAILED, "app: torn" },
      { function() error "torn" end, FAILED, "wsb_spec.lua:%d+: torn" },
      { function() error {} end, FAILED, "says nothing more" },
      { says(nil, own), code.SAROS_E_DAMAGED, "^page 7 is torn" },
      { says(own), code.SAROS_E_DAMAGED, "^page 7 is torn" },
      { function() error(own) end, code.SAROS_E_DAMAGED, "^page 7 is torn" },
      { says(nil, { code = 0x80070070, message = "full" }), 0x80070070, "full" },
      { says(nil, { code = 0, message = "odd" }), FAILED, "odd" },
      { says(nil, { code = "x", message = {} }), FAILED, "table" },
      { says(7), FAILED, "a number, which says neither yes nor no" },
      { says "yes", FAILED, "a string" },
      { says(print), FAILED, "a function" },
      { says(coroutine.create(print)), FAILED, "a thread" },
      { says(io.stdout), FAILED, "a userdata" },
    }
    for _, case in ipairs(cases) do
      local result, err, answer = ends(case[1])
      assert.is_nil(result)
      assert.equal(case[2], answer)
      assert.equal(case[2], err.code)
      assert.match(case[3], tostring(err))
    end
    local _, err = ends(says(nil, own))
    assert.same({ "page 7" }, err.problems)
    _, err = ends(says(nil, { message = "no tool", untried = true }))
    assert.is_true(err.untried)
    assert.equal("WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED", err.name)
  end)

  it("may tell what it has found", function()
    assert.same({ pages = 7 }, (ends(function() return { pages = 7 } end)))
    assert.is_true(ends(function() return true, "ignored" end))
    assert.is_true(ends(function() end))
    assert.is_true(ends(function() return nil end))
  end)

  it("A26 A27: costs nothing to be polled, and answers one number", function()
    local gate, inner = helper.gate()
    local _ <close> = application { check = function() return inner end }
    local op <close> = start()
    helper.settle()
    local fds = core.counts().fds
    collectgarbage()
    local before = collectgarbage "count"
    for _ = 1, 10000 do assert(op:query() == 0x407A0004) end
    collectgarbage()
    assert.is_true(collectgarbage "count" < before + 16)
    assert.equal(fds, core.counts().fds)
    assert.equal(1, select("#", op:query()))
    gate:finish(0)
    assert(op:wait())
  end)

  it("A28: never changes its answer again", function()
    for _, last in ipairs { 0, 0x807A0001 } do
      local gate, inner = helper.gate { facade = "wsb" }
      local _ <close> = application { check = function() return inner end }
      local op <close> = start()
      for _ = 1, 100 do assert.equal(0x407A0004, op:query()) end
      gate:finish(last)
      op:wait()
      for _ = 1, 1000 do assert(op:query() == last) end
      assert.equal(0, op:cancel())
      assert.equal(last, op:query())
    end
  end)

  it("A30 A31: polls an object of a host, and stops with its end", function()
    for _, number in ipairs { 0x407A0004, 0x007A0004 } do
      for _, last in ipairs { 0, 0x807A0001, 0x00042309 } do
        local app = testmod.foreign { hr = number }
        local _ <close> = application { check = function() return app:op() end }
        local op <close> = start()
        shared.until_true(function() return app:polls() >= 3 end)
        assert.equal(0x407A0004, op:query())
        app:answer(last)
        local result = op:wait()
        assert.equal(last == 0 or nil, result)
        assert.equal(last == 0x00042309 and 0x80004005 or last, op:query())
        local polls = app:polls()
        op:close()
        saros.sleep(0.05):wait()
        assert.equal(polls, app:polls())
        assert.equal(0, app:aborts())
      end
    end
  end)

  it("aborts the object of a host", function()
    local app = testmod.foreign {}
    local _ <close> = application { check = function() return app:op() end }
    local op <close> = start()
    shared.until_true(function() return app:polls() >= 2 end)
    assert.equal(0, op:cancel())
    assert.equal(0x800704C7, op:query())
    local _, err = op:wait()
    assert.is_true(err.cancelled)
    assert.equal(1, app:aborts())
    assert.equal(0, op:cancel())
  end)

  it("waits for one that ignores the abort", function()
    local app = testmod.foreign { deaf = true }
    local _ <close> = application { check = function() return app:op() end }
    local op <close> = start()
    shared.until_true(function() return app:polls() >= 1 end)
    assert.equal(0, op:cancel())
    assert.equal(0x800704C7, op:query())
    local _, err = op:wait(0.05)
    assert.is_true(err.timeout)
    assert.equal(1, app:aborts())
    app:answer(0)
    _, err = op:wait()
    assert.is_true(err.cancelled)
    assert.equal(0x800704C7, op:query())
  end)

  it("says cancelled at once of a check that will not end", function()
    local ignored, through = 0, false
    local _ <close> = application { check = function()
      while not through do
        if not pcall(function() saros.sleep(0.01):wait() end) then
          ignored = ignored + 1
        end
      end
    end }
    local op <close> = start()
    helper.settle()
    assert.equal(0, op:cancel())
    assert.equal(0x800704C7, op:query())
    local _, err = op:wait(0.05)
    assert.is_true(err.timeout)
    assert.equal(0x800704C7, err.code)
    assert.equal(1, ignored)
    through = true
    _, err = op:wait()
    assert.is_true(err.cancelled)
  end)

  it("cancels what the check has begun, and lets it clean up", function()
    local gate, inner = helper.gate()
    local cleaned
    local _ <close> = application { check = function()
      local _ <close> = setmetatable({}, { __close = function()
        saros.sleep(0):wait()
        cleaned = true
      end })
      inner:wait()
      return true
    end }
    local op <close> = start()
    helper.settle()
    op:cancel()
    op:wait()
    assert.is_true(cleaned)
    gate:finish(0)
    local second, running = helper.gate()
    local _ <close> = application { name = "b", writer = OTHER,
      check = function() return running end }
    local other = start { writer = OTHER }
    helper.settle()
    other:close()
    assert.equal(1, second:cancels())
  end)

  it("takes any operation for an answer", function()
    assert.is_true((ends(function()
      return saros.process { argv = { "true" } } end)) ~= nil)
    local _, err, answer = ends(function()
      return saros.process { argv = { "sh", "-c", "echo torn >&2; exit 3" } }
    end)
    assert.equal(code.SAROS_E_EXIT, answer)
    assert.match("torn", err.message)
    for _, facade in ipairs { "saros", "vss", "wsb", "vds" } do
      local gate, inner = helper.gate { facade = facade }
      gate:finish(0)
      _, err, answer = ends(function() return inner end)
      assert.is_nil(err)
      assert.equal(0, answer)
      gate, inner = helper.gate { facade = facade }
      inner:cancel()
      _, err, answer = ends(function() return inner end)
      assert.is_true(err.cancelled)
      assert.is_true(answer & 0x80000000 ~= 0 or facade == "vss")
      assert.is_not.equal(0, answer)
      assert.is_not_nil(gate)
    end
  end)

  it("hands over what it was given", function()
    local said = { components = { main = { position = "7" } } }
    local metadata = { name = "app", components = {} }
    local c
    assert.is_true(ends(function(given) c = given end, { instance = INSTANCE,
      logical_path = "a/b", metadata = metadata, said = said, scratch = "/x",
      sources = { "/", "/srv", "/srv/app/" },
      snapshots = { "/s/root", "/s/srv", "/s/app" } }))
    helper.contains({ writer = ID, instance = INSTANCE, component = "main",
      logical_path = "a/b", scratch = "/x", said = said, metadata = metadata },
      c)
    assert.same({ "/", "/srv", "/srv/app/" }, c.sources)
    assert.same({ "/s/root", "/s/srv", "/s/app" }, c.snapshots)
    assert.equal("/s/app/data", c.at "/srv/app/data")
    assert.equal("/s/app", c.at "/srv/app")
    assert.equal("/s/srv/apple", c.at "/srv/apple")
    assert.equal("/s/root/srvx", c.at "/srvx")
    assert.equal("/s/root/..a/b", c.at "/..a/b")
    for _, path in ipairs { "/srv/../etc", "/srv/..", "srv", "" } do
      assert.is_nil(c.at(path))
    end
    assert.is_nil(c.at(7))
    assert.is_true(ends(function(given) c = given end,
      { sources = { "/srv" }, snapshots = { "/s/srv" } }))
    assert.is_nil(c.at "/etc")
    assert.is_true(ends(function(given) c = given end))
    assert.is_nil(c.at "/etc")
  end)

  it("has its limits", function()
    local _ <close> = application { check = function() end }
    local function volumes(n)
      local o = { sources = {}, snapshots = {} }
      for i = 1, n do o.sources[i], o.snapshots[i] = "/a" .. i, "/s" .. i end
      return o
    end
    assert.equal(64, wsb.MAX_VOLUMES)
    assert(start(volumes(64)):wait())
    raises("at most 64", start, volumes(65))
    raises("1 sources and 0 snapshots", start, { sources = { "/a" } })
    raises("absolute", start, { sources = { "a" }, snapshots = { "/a" } })
    raises("absolute", start, { sources = { "/a" }, snapshots = { "a" } })
    raises("NUL", start, { sources = { "/a\0" }, snapshots = { "/a" } })
    raises("'writer' is missing", wsb.check_consistency, { component = "x" })
    raises("'component' is missing", wsb.check_consistency, { writer = ID })
    raises("a GUID", start, { writer = "7" })
    raises("a GUID", start, { instance = "7" })
  end)

  it("has a name, and runs where nothing can yield", function()
    local _ <close> = application { check = function()
      saros.sleep(0.01):wait()
      return saros.sleep(0.01)
    end }
    local op <close> = start { name = "check of main" }
    assert.equal(op, saros.get "check of main")
    assert.is_true(helper.in_sort(function() return op:wait() end))
  end)
end)

describe("wsb.order_components", function()
  local function component(id, name)
    return { writer = { id = id }, name = name }
  end
  local a, b, c = component(ID, "a"), component(ID, "b"), component(ID, "c")
  local x, y = component(OTHER, "x"), component(OTHER, "y")

  local function ordered(order, list)
    local _ <close> = application { order = order }
    return wsb.order_components(list):wait()
  end

  local function names(list)
    local text = {}
    for i, one in ipairs(list) do text[i] = one.name end
    return table.concat(text, " ")
  end

  it("asks each application for its own", function()
    local given
    local list = { x, a, b, y, c }
    local result = assert(ordered(function(own)
      given = names(own)
      return { own[3], own[1], own[2] }
    end, list))
    assert.equal("a b c", given)
    assert.equal("x y c a b", names(result))
    assert.equal("x a b y c", names(list))
    assert.equal(c, result[3])
  end)

  it("keeps the order where nobody wants another", function()
    assert.equal("a b x", names(assert(wsb.order_components { a, b, x }:wait())))
    for _, f in ipairs { function() end, function() return true end } do
      assert.equal("a b c", names(assert(ordered(f, { a, b, c }))))
    end
    assert.equal("", names(assert(wsb.order_components {}:wait())))
  end)

  it("puts the kinds into their order", function()
    local kind = require "saros.writers.kind"
    local first, last = shared.id(21), shared.id(22)
    kind.define { name = "first", id = first, order = -1 }
    kind.define { name = "last", id = last, order = 1 }
    assert.equal("f a b l", names(assert(wsb.order_components {
      component(last, "l"), a, component(first, "f"), b }:wait())))
  end)

  it("is not changed behind its back", function()
    local kept
    local list = { a, b, c }
    local result = assert(ordered(function(own)
      kept = own
      table.sort(own, function(p, q) return p.name > q.name end)
      return own
    end, list))
    assert.equal("c b a", names(result))
    kept[1] = x
    assert.equal("c b a", names(result))
    assert.equal("a b c", names(list))
  end)

  it("finds every lie", function()
    local sparse = {}
    for i = 3, 1, -1 do sparse[i] = ({ a, b, c })[i] end
    assert.equal("a b c", names(assert(ordered(function() return sparse end,
      { a, b, c }))))
    local lies = {
      { function() return { a, b } end, "number 3 is missing" },
      { function() return {} end, "number 1 is missing" },
      { function() return { a, b, b } end, "number 3 is none of them, or" },
      { function() return { a, b, x } end, "number 3 is none of them" },
      { function() return { a, b, "c" } end, "number 3 is none of them" },
      { function() return { a, b, { writer = { id = ID }, name = "c" } } end,
        "none of them" },
      { function() return { a, b, c, x } end, "more in it" },
      { function() return { a, b, c, extra = 1 } end, "more in it" },
      { function() return setmetatable({}, { __index = { a, b, c },
        __len = function() return 3 end }) end, "number 1 is missing" },
      { function() return "a, b, c" end, "a string" },
      { function() return nil, "no idea" end, "no idea" },
      { function() error "oops" end, "oops" },
    }
    for _, lie in ipairs(lies) do
      local result, err = ordered(lie[1], { a, b, c })
      assert.is_nil(result)
      assert.equal(0x80004005, err.code)
      assert.match("the order of app", err.message)
      assert.match(lie[2], err.message)
    end
  end)

  it("has its limits", function()
    assert.equal(4096, wsb.MAX_COMPONENTS)
    local list = {}
    for i = 1, 4096 do list[i] = component(ID, "n" .. i) end
    local result = assert(ordered(function(own)
      table.sort(own, function(p, q) return p.name < q.name end)
      return own
    end, list))
    assert.equal(4096, #result)
    assert.equal("n1 n10 n100", names { table.unpack(result, 1, 3) })
    list[4097] = a
    raises("at most 4096", wsb.order_components, list)
    raises("a list expected", wsb.order_components, "a")
    raises("GUID of its writer", wsb.order_components, { { name = "a" } })
    raises("a component expected", wsb.order_components, { "a" })
  end)

  it("is an operation", function()
    local _ <close> = application { order = function()
      saros.sleep(600):wait()
    end }
    local op <close> = wsb.order_components { a, b }
    helper.settle()
    assert.equal(0x407A0004, op:query())
    assert.equal(0, op:cancel())
    assert.equal(0x800704C7, op:query())
    op:wait()
  end)
end)

describe("around a restore", function()
  local c = { writer = { id = ID, instance = INSTANCE }, name = "main" }

  it("the hooks are called, and their failures have their codes", function()
    local log = {}
    local _ <close> = application {
      pre_restore = function(given, no_roll_forward)
        assert.equal(c, given)
        log[#log + 1] = no_roll_forward
      end,
      post_restore = function(_, no_roll_forward)
        log[#log + 1] = no_roll_forward
        return nil, "it does not start"
      end }
    assert.is_true(wsb.pre_restore(c, true):wait())
    assert.is_true(wsb.pre_restore(c):wait())
    local ok, err = wsb.post_restore(c, true):wait()
    assert.is_nil(ok)
    assert.equal(code.WSBAPP_E_COMPONENT_POST_RESTORE_FAILED, err.code)
    assert.match("post_restore of app: it does not start", err.message)
    assert.same({ true, false, true }, log)
  end)

  it("they may wait, raise, and be somebody else's", function()
    local _ <close> = application { writer = INSTANCE,
      pre_restore = function()
        saros.sleep(0.01):wait()
        error("in use", 0)
      end }
    local op <close> = wsb.pre_restore(c)
    assert.equal(0x407A0004, op:query())
    local _, err = op:wait()
    assert.equal(code.WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED, op:query())
    assert.match("in use", err.message)
    assert.is_true(wsb.post_restore(c):wait())
    assert.is_true(wsb.pre_restore { writer = OTHER, name = "x" }:wait())
    raises("GUID of its writer", wsb.pre_restore, { name = "x" })
  end)

  it("those of an instance are its own application's, and no other's", function()
    local log = {}
    local function note(text) return function() log[#log + 1] = text end end
    local _ <close> = application { name = "all", pre_restore = note "all pre",
      post_restore = note "all post" }
    local one <close> = application { name = "one", writer = INSTANCE,
      pre_restore = note "one pre" }
    assert.is_true(wsb.pre_restore(c):wait())
    assert.is_true(wsb.post_restore(c):wait())
    -- What another did not stop it does not start.
    assert.same({ "one pre" }, log)
    one:close()
    assert.is_true(wsb.post_restore(c):wait())
    assert.same({ "one pre", "all post" }, log)
  end)

  it("rolling forward is what the application says", function()
    assert.is_false(wsb.is_roll_forward_supported(ID))
    local _ <close> = application { roll_forward = true }
    assert.is_true(wsb.is_roll_forward_supported(ID))
    raises("a GUID", wsb.is_roll_forward_supported, "app")
  end)
end)
