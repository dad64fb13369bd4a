-- Every verb where it cannot do what it shall: whose repository, password, tools,
-- permissions or room are not there.
local matrix = require "spec.cli_matrix"
local outside = require "spec.outside"
local volumes = require "spec.volumes"
require "spec.helper"

if matrix.missing then
  describe("every verb", function() pending(matrix.missing) end)
  return
end

local quoted = matrix.quoted

local function sh(text, ...)
  local said, good = volumes.run("%s", text:format(...))
  assert(good, said)
end

local function opens(row) return row.repo end

-- What a verb that monitors makes of it, hold, and all others.
local function code(n)
  return function(row)
    if row.monitors then return 3 end
    if row.holds then return 125 end
    return n
  end
end

-- ------------------------------------------------------------------
-- The repository, and its password
-- ------------------------------------------------------------------

local function away(s) sh("mv %s/r %s/gone", quoted(s.root), quoted(s.root)) end
local function back(s)
  sh("cd %s && rm -rf r && mv gone r", quoted(s.root))
end


local function password(...)
  local words = { ... }
  return function(s) s.password = words end
end

local function as_before(s) s.password = nil end

local function said(row) return row.repo and not row.configured end

local faults = {
  { name = "no repository", concerns = opens, change = away, undo = back,
    code = code(10) },
  { name = "a repository that is a file", concerns = opens, code = code(10),
    change = function(s)
      away(s)
      outside.write(s.root .. "/r", "no repository")
    end, undo = back },
  { name = "a repository cut short", concerns = opens, code = code(3),
    change = function(s)
      sh("cp -a %s/r %s/gone && truncate -s 20 %s/r/config", quoted(s.root),
        quoted(s.root), quoted(s.root))
    end, undo = back },
  { name = "a wrong password", concerns = opens, code = code(12),
    change = function(s) outside.write(s.root .. "/password", "other\n") end,
    undo = function(s)
      outside.write(s.root .. "/password", matrix.PASSWORD .. "\n")
    end },
  { name = "no password file", concerns = opens, code = code(4),
    change = function(s) os.remove(s.root .. "/password") end,
    undo = function(s)
      outside.write(s.root .. "/password", matrix.PASSWORD .. "\n")
    end },
  { name = "a password file that is a directory", concerns = said,
    code = code { 1, 12, 13 }, change = function(s)
      s.password = { "--password-file", s.root }
    end, undo = as_before },
  { name = "an empty password file", concerns = said,
    code = code(1),
    change = password("--password-file", "/dev/null"), undo = as_before },
  { name = "no password, and nobody to ask", concerns = said, code = code(12),
    change = password(), undo = as_before },
  { name = "a wrong password of the environment", concerns = said,
    code = code(12), change = password(), undo = as_before,
    how = { env = { RESTIC_PASSWORD = "other-" .. matrix.PASSWORD } } },
  { name = "a password command that fails", concerns = said,
    code = code { 1, 12 }, undo = as_before,
    change = password("--password-command", "sh -c 'echo oops >&2; exit 9'") },
  { name = "a password command that is not there", concerns = said,
    code = code { 1, 4, 12, 14 }, undo = as_before,
    change = password("--password-command", "saros-no-such-program") },
}

-- ------------------------------------------------------------------
-- Locks
-- ------------------------------------------------------------------

local GATE <const> = os.getenv "SAROS_BUILD" .. "/spec/gate.so"

-- Somebody who has the repository for himself, until the gate is opened.
local function somebody(s)
  local gate = s.root .. "/gate"
  assert(os.execute("mkfifo " .. quoted(gate)))
  local p = outside.start("env", "LD_PRELOAD=" .. GATE, "SAROS_TEST_GATE=" .. gate,
    "SAROS_CONFIG=/dev/null", "SAROS_STATE_DIR=" .. s.root .. "/other",
    "XDG_CONFIG_HOME=/dev/null", matrix.program, "prune", "--repo",
    s.root .. "/r", "-p", s.root .. "/password")
  outside.eventually("it has a lock", function()
    return volumes.run("%s", "ls " .. quoted(s.root .. "/r/locks")) ~= ""
  end)
  return p
end

local function let_go(s)
  if s.somebody then
    outside.write(s.root .. "/gate", "") -- it waits there, or will
    s.somebody:finish()
    s.somebody = nil
  end
end

local function kill(p)
  outside.system.kill(p.pid, 9)
  p:finish()
end

table.move({
  { name = "somebody who has it for himself", code = code(11),
    concerns = function(row) return row.locks ~= nil end, undo = let_go,
    change = function(s) s.somebody = somebody(s) end,
    look = function(s) let_go(s) end },
  { name = "the lock of a dead process", concerns = opens, code = 0,
    leaves = function(row) return row.locks == nil end,
    change = function(s) kill(somebody(s)) end },
}, 1, 2, #faults + 1, faults)

-- ------------------------------------------------------------------
-- Permissions and tools
-- ------------------------------------------------------------------

local function nobody(argv)
  return { "setpriv", "--reuid", tostring(matrix.NOBODY), "--regid",
    tostring(matrix.NOBODY), "--clear-groups", table.unpack(argv) }
end

local function give(s, ...)
  for _, what in ipairs { ... } do
    sh("chown -R %d %s/%s", matrix.NOBODY, quoted(s.root), what)
  end
end

local function tools(s, names)
  sh("mkdir %s/bin; for t in %s; do ln -s $(command -v $t) %s/bin; done",
    quoted(s.root), names, quoted(s.root))
  return s.root .. "/bin"
end

local more = {
  { name = "everything root's", how = { wrap = nobody }, leaves = true,
    code = function(row)
      if row.free then return 0 end
      return row.looks and 1 or row.verb == "systemd" and 1 or code(13)(row)
    end },
  { name = "a repository that is root's", concerns = opens, leaves = true,
    how = { wrap = nobody }, code = code(13), change = function(s)
      give(s, "state", "home", "tmp", "at", "to", "password", "src", "conf.lua")
      sh("chmod 755 %s", quoted(s.root))
    end, undo = function(s) sh("chown -R 0 %s", quoted(s.root)) end },
  { name = "a state directory that is root's", leaves = true,
    how = { wrap = nobody }, code = function(row)
      if row.free then return 0 end
      if row.monitors then return row.repo and 0 or 3 end
      if (row.writes or ""):find "state" then return code(13)(row) end
      return row.looks and 14 or { 0, 13 }
    end, change = function(s)
      give(s, "r", "home", "tmp", "at", "to", "password", "src", "conf.lua")
    end, undo = function(s) sh("chown -R 0 %s", quoted(s.root)) end },
  { name = "no tools", how = { wrap = function(argv, s)
      return { "env", "PATH=" .. tools(s, "lua5.4"), table.unpack(argv) }
    end },
    code = function(row)
      if row.holds then return 127 end
      return row.monitors and 0 or { 0, 14 }
    end },
}
table.move(more, 1, #more, #faults + 1, faults)

-- ------------------------------------------------------------------
-- Room
-- ------------------------------------------------------------------

-- A place becomes a small file system of its own, with so many kB left.
local function brim(place, left)
  return function(s)
    local at = quoted(s.root .. "/" .. place)
    sh([[cp -a %s %s.kept && mount -t tmpfs -o size=8M,mode=700 full %s &&
      cp -a %s.kept/. %s && head -c %d /dev/zero >%s/.left
      head -c 9M /dev/zero >%s/.fill 2>/dev/null; rm -f %s/.left]], at, at, at,
      at, at, left * 1024, at, at, at)
  end
end

local function room(place)
  return function(s)
    sh("rm -f %s/.fill", quoted(s.root .. "/" .. place))
  end
end

local function writes(what)
  return function(row) return (row.writes or ""):find(what, 1, true) ~= nil end
end

for place, what in pairs { r = "repository", state = "state", to = "target" } do
  for _, left in ipairs { 0, 12 } do
    faults[#faults + 1] = { name = ("a full disk below the %s (%d kB left)")
      :format(what, left), concerns = writes(what), change = brim(place, left),
      undo = room(place), code = function(row)
        if row.holds then return 125 end
        -- What takes away may find room for that.
        local little = left > 0 or row.verb == "forget"
          or place == "state" and row.repo
        return little and { 0, 1, 3 } or { 1, 3 }
      end }
  end
end
faults[#faults + 1] = { name = "a full disk for what is passing",
  concerns = function(row) return row.scratch end, change = brim("tmp", 0),
  undo = room "tmp", code = function(row)
    return row.looks and 14 or { 0, 1, 3 }
  end }
faults[#faults + 1] = { name = "a full disk for its record", concerns =
  function(row) return row.records end, change = brim("state", 0),
  undo = room "state", code = code { 0, 1 } }
for place, what in pairs { r = "repository", state = "state", to = "target" } do
  faults[#faults + 1] = { name = ("a %s that can only be read"):format(what),
    concerns = place == "r" and opens or writes(what), change = function(s)
      local at = quoted(s.root .. "/" .. place)
      sh("mount --bind %s %s && mount -o remount,bind,ro %s", at, at, at)
    end, undo = function(s)
      sh("umount %s", quoted(s.root .. "/" .. place))
    end, code = function(row)
      if place ~= "r" then return code { 1, 3, 13 } (row) end
      if row.verb == "drill" then return { 0, 3 } end
      return ((row.writes or ""):find "repository" or row.verb == "prune")
        and { 1, 3, 13 } or 0
    end }
end

describe("every verb", function()
  it("has a row", function() assert.same({}, matrix.forgotten()) end)
  for _, fault in ipairs(faults) do
    it("withstands " .. fault.name, function()
      assert.equal("", matrix.of(fault))
    end)
  end
  teardown(matrix.close)
end)
