-- Who does not take part, or not any more, is seen: writers that cannot say who
-- they are, and writers that are gone when somebody asks how they fare.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

-- A writer in a process of its own: a script, whose socket is found in `d`. It
-- says on which event it stops itself; 0: none.
local LISTENS = [[
  local saros, testmod = require "saros", require "testmod"
  saros.run(function()
    local w = saros.vss.writer { id = %q, name = "other", listen = true,
      state_dir = %q,
      identify = function() io.write "asked\n" io.flush() %s end,
      abort = function() io.write "abort\n" io.flush() end }
    io.write "ready\n"
    io.flush()
    while w:is_open() do saros.sleep(60):wait() end
  end)
]]

local function elsewhere(d, does)
  local path = d.root .. "/writer.lua"
  outside.write(path, LISTENS:format(shared.id(7), d.state, does or ""))
  local p = outside.start("env", "LUA_PATH=" .. outside.lua_path,
    "LUA_CPATH=" .. outside.lua_cpath, outside.lua, path)
  p:expect "ready\n"
  return p
end

-- A session whose writers have been told to prepare.
local function ready(d, options)
  local s, id = shared.ready(d, options)
  assert(s:do_snapshot_set():wait())
  return s, id
end

local function ask(s)
  assert(s:gather_writer_status():wait())
  local list = s:writer_status()
  assert.equal(1, #list)
  return list[1]
end

local function gone(one, says)
  assert.equal(code.VSS_E_WRITER_NOT_RESPONDING, one.failure)
  assert.equal("VSS_E_WRITER_NOT_RESPONDING", one.failure_name)
  assert.equal(vss.state.unknown, one.state)
  assert.match(says, one.message)
end

describe("the status of a writer", function()
  it("is what it said, while it is there", function()
    local d <close> = shared.directory()
    local w <close> = shared.writer(1)
    local s <close> = ready(d)
    assert.equal(vss.state.waiting_for_backup_complete, ask(s).state)
    assert.equal(0, ask(s).failure)
    assert(s:backup_complete():wait())
    assert.equal(vss.state.stable, ask(s).state)
    assert.is_true(w:is_open())
  end)

  it("is unknown when it was closed", function()
    local d <close> = shared.directory()
    local w, log = shared.writer(1)
    local s <close> = ready(d)
    w:close()
    gone(ask(s), "was closed")
    local heard = #log
    assert(s:backup_complete():wait()) -- of the set nothing is to be held any more
    assert.equal(heard, #log)
  end)

  it("is unknown when its handle was forgotten", function()
    local d <close> = shared.directory()
    local w = shared.writer(1)
    local s <close> = ready(d)
    assert.is_true(w:is_open())
    w = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    gone(ask(s), "was closed")
  end)

  it("is unknown when a command was closed", function()
    local d <close> = shared.directory()
    local w = vss.command_writer { id = shared.id(1), name = "tape",
      command = { "/bin/false" }, level = "front_end" }
    local s <close> = vss.components { state_dir = d.state,
      on_veto = "ignore" }
    s:initialize_for_backup()
    s:set_backup_state { type = "copy" }
    assert(s:gather_writer_metadata():wait())
    s:start_snapshot_set()
    s:add_to_snapshot_set(d.a, "copy")
    w:close()
    s:abort_backup()
    gone(ask(s), "was closed")
  end)

  it("is unknown when its process was killed", function()
    local d <close> = shared.directory()
    local p <close> = elsewhere(d)
    local s <close> = ready(d)
    assert.equal(0, ask(s).failure)
    outside.system.kill(p.pid, 9)
    p:finish()
    gone(ask(s), "hung up")
    gone(ask(s), "hung up") -- and stays so
  end)

  it("is unknown when its process hangs", function()
    local seconds, answered = 1
    repeat -- until it was quick enough as long as it did not hang
      local d <close> = shared.directory()
      local p <close> = elsewhere(d)
      local s <close> = ready(d, { timeouts = { identify = seconds } })
      answered = #s:writers() == 1 and ask(s).failure == 0
      if answered then
        p:expect "asked\n"
        p:expect "asked\n"
        outside.system.kill(p.pid, 19) -- SIGSTOP
        gone(ask(s), "did not answer")
        outside.system.kill(p.pid, 18)
        p:expect "abort\n" -- its connection has ended: nobody counts on it
        gone(ask(s), "did not answer")
      end
      seconds = seconds * 3
    until answered or seconds > 30
    assert.is_true(answered)
  end)

  it("does not count a refusal to say more", function()
    local d <close> = shared.directory()
    local p <close> = elsewhere(d, [[n = (n or 0) + 1
      if n > 1 then error "not again" end]])
    local s <close> = ready(d)
    local one = ask(s)
    assert.equal(0, one.failure)
    assert.equal(vss.state.waiting_for_backup_complete, one.state)
    p:expect "asked\n"
    p:expect "asked\n"
  end)

  it("is told after a prepare_for_backup that failed", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, { prepare_backup = function()
      return nil, { code = "VSS_E_WRITERERROR_OUTOFRESOURCES",
        message = "the tape is full" }
    end })
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_backup_state { type = "copy" }
    assert(s:gather_writer_metadata():wait())
    s:start_snapshot_set()
    s:add_to_snapshot_set(d.a, "copy")
    local ok, err = s:prepare_for_backup():wait()
    assert.is_nil(ok)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.equal(code.VSS_E_WRITERERROR_OUTOFRESOURCES, err.cause.code)
    local one = ask(s)
    assert.equal(vss.state.failed_at_prepare_backup, one.state)
    assert.equal("VSS_E_WRITERERROR_OUTOFRESOURCES", one.failure_name)
    assert.equal("the tape is full", one.message)
  end)

  it("can be cancelled, and nobody has failed by that", function()
    local d <close> = shared.directory()
    local p <close> = elsewhere(d)
    local s <close> = ready(d)
    outside.system.kill(p.pid, 19)
    local op = s:gather_writer_status()
    assert.equal(code.S_OK, (op:cancel()))
    outside.system.kill(p.pid, 18)
    op:wait()
    assert.is_true(op:status().state == "cancelled")
    assert.is_false(pcall(s.writer_status, s))
  end)
end)

describe("a writer that cannot say who it is", function()
  it("is left out, and named", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, {
      identify = function() error "the catalogue is locked" end })
    local _ <close> = shared.writer(2)
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    local result = assert(s:gather_writer_metadata():wait())
    assert.equal(1, #result.left_out)
    local one = result.left_out[1]
    assert.equal("app1", one.name)
    assert.equal(shared.id(1), one.id)
    assert.equal(code.VSS_E_WRITERERROR_NONRETRYABLE, one.code)
    assert.equal("VSS_E_WRITERERROR_NONRETRYABLE", one.code_name)
    assert.match("the catalogue is locked", one.message)
    assert.equal(1, #s:writers())
  end)

  it("is in the result of a shadow, and a person sees it", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, {
      identify = function() error "the catalogue is locked" end })
    local set <close> = assert(vss.shadow { paths = { d.a },
      provider = "copy", state_dir = d.state }:wait())
    assert.equal("app1", set.left_out[1].name)
    assert.match("the writer app1 was left out: .*the catalogue is locked",
      tostring(set))
  end)

  it("is nobody when all could, or when he was not wanted", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1)
    local _ <close> = shared.writer(2, { identify = function() error "no" end })
    local set <close> = assert(vss.shadow { paths = { d.a },
      provider = "copy", state_dir = d.state,
      writers = { exclude = { "app2" } } }:wait())
    assert.same({}, set.left_out)
    assert.is_nil(tostring(set):find("left out", 1, true))
  end)

  it("fails what requires it, and says why", function()
    local d <close> = shared.directory()
    local _ <close> = shared.writer(1, {
      identify = function() error "the catalogue is locked" end })
    for _, name in ipairs { "app1", shared.id(1):upper() } do
      local ok, err = vss.shadow { paths = { d.a }, provider = "copy",
        state_dir = d.state, writers = { require = { name } } }:wait()
      assert.is_nil(ok)
      assert.equal(code.VSS_E_WRITER_INFRASTRUCTURE, err.code)
      assert.match("is required, and could not say who it is: "
        .. ".*the catalogue is locked", err.message)
    end
  end)

  it("and speaks from another process, is one that does not answer", function()
    local d <close> = shared.directory()
    local p <close> = elsewhere(d)
    outside.system.kill(p.pid, 19)
    local s <close> = vss.components { state_dir = d.state,
      timeouts = { identify = 0.5 } }
    s:initialize_for_backup()
    local result = assert(s:gather_writer_metadata():wait())
    assert.equal(1, #result.left_out)
    assert.equal(shared.id(7), result.left_out[1].id)
    assert.equal(code.VSS_E_WRITERERROR_TIMEOUT, result.left_out[1].code)
    assert.equal(0, #s:writers())
  end)
end)
