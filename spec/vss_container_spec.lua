-- Writers in containers (of unshare: users, processes, mounts, a network and a
-- root of their own), and requesters outside: who is found and believed, and
-- what becomes of a set whose writer is killed with all that is in its
-- container.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

local here = os.getenv "PWD"

local CAN = "unshare --user --map-root-user --mount --pid --fork "
  .. "mount -t tmpfs x /mnt >/dev/null 2>&1"

local function none()
  if not os.execute(CAN) then
    return "no container can be made here: no user namespaces"
  end
end

-- Notes in the data what it hears, where both sides see it.
local WRITER = [[
  local saros = require "saros"
  local data = ...
  local function note(name, text)
    local file = assert(io.open(data .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  saros.run(function()
    local _ <close> = saros.vss.writer { id = %q, name = "contained",
      listen = true,
      freeze = function() note("held", "yes") end,
      thaw = function() os.remove(data .. "/held") note("thawed", "yes") end,
      abort = function() os.remove(data .. "/held") note("aborted", "yes") end }
    note("user", io.popen "id -u":read "l")
    note("pid", io.open "/proc/self/stat":read "n")
    print "listening" io.stdout:flush()
    saros.sleep(3600):wait()
  end)]]

-- Our modules, as they lie in the container.
local function inside(paths)
  local from, to = here:gsub("%p", "%%%0"), "/app"
  return (paths:gsub(from, to))
end

local function environment()
  local env = { "LUA_PATH=" .. inside(outside.lua_path),
    "LUA_CPATH=" .. inside(outside.lua_cpath) }
  for _, name in ipairs { "LD_PRELOAD", "ASAN_OPTIONS", "TSAN_OPTIONS" } do
    local text = os.getenv(name)
    if text then env[#env + 1] = name .. "=" .. text end
  end
  return env
end

local function sockets(d)
  os.execute(("mkdir -p -m 700 %s/run/writers"):format(d.state))
  return d.state .. "/run/writers"
end

local function lua_writer(d)
  outside.write(d.a .. "/writer.lua", WRITER:format(shared.id(1)))
  local argv = { "/usr/bin/env" }
  for _, word in ipairs(environment()) do argv[#argv + 1] = word end
  for _, word in ipairs { outside.lua, d.a .. "/writer.lua", d.a } do
    argv[#argv + 1] = word
  end
  local p = outside.start("sh", "examples/container/run.sh", sockets(d), d.a,
    here, table.unpack(argv))
  p:expect "listening"
  return p
end

local function shadow(d)
  return vss.shadow { paths = { d.a }, state_dir = d.state, provider = "copy",
    writers = { require = { "contained" } } }:wait()
end

describe("a writer in a container", function()
  it("is found, holds still, and hears the thaw", function()
    if none() then pending(none()) return end
    local d <close> = shared.directory()
    local _ <close> = lua_writer(d)
    assert.equal("0", d.read(d.a .. "/user"))
    assert.equal("1", d.read(d.a .. "/pid")) -- its own users and processes
    local held
    local _ <close> = shared.writer(2, { level = "back_end", state_dir = d.state,
      freeze = function() held = d.read(d.a .. "/held") end })
    local set <close> = assert(shadow(d))
    assert.equal("yes", held)
    assert.is_nil(d.read(d.a .. "/held"))
    assert.equal("yes", d.read(d.a .. "/thawed"))
    assert.equal("yes", d.read(set[d.a].path .. "/held"))
    assert.equal(vss.state.waiting_for_backup_complete, set.writers[1].state)
    assert(set:backup_complete():wait())
  end)

  it("hears the end of a requester that gives up", function()
    if none() then pending(none()) return end
    local d <close> = shared.directory()
    local _ <close> = lua_writer(d)
    local _ <close> = shared.writer(2, { level = "back_end",
      state_dir = d.state, freeze = function() return nil, "no" end })
    assert.is_nil((shadow(d)))
    assert.equal("yes", d.read(d.a .. "/aborted"))
    assert.is_nil(d.read(d.a .. "/held"))
    assert.equal("", d.left())
  end)

  it("that is killed in the middle makes the set void", function()
    if none() then pending(none()) return end
    local d <close> = shared.directory()
    local container = lua_writer(d)
    local other <close>, log = shared.writer(2, { level = "back_end",
      state_dir = d.state,
      freeze = function()
        assert(d.read(d.a .. "/held") == "yes")
        container:__close()
      end })
    local set, err = shadow(d)
    assert.is_nil(set)
    assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
    assert.match("contained", err.message)
    assert.equal("abort", log[#log - 1])
    assert.equal("", d.left())
    other:close()
    -- Its socket is dead, and is no hindrance to the next one.
    local _ <close> = lua_writer(d)
    local again <close> = assert(shadow(d))
    assert(again:backup_complete():wait())
  end)
end)
