-- Secrets of a repository, from outside: what another process can see of them,
-- what is said and logged, and what a process that crashes leaves behind.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local saros, system = helper.saros, outside.system

if shared.missing then
  describe("secrets of a repository", function() pending(shared.missing) end)
  return
end

local repository = shared.repository

-- Not a word that would be anywhere by itself.
local SECRET = "Xq7-vault-9f3e-Zk2"

local function has(text, secret) return text:find(secret, 1, true) ~= nil end

-- A repository whose password lies in a file: f(root). `dear`: its key costs
-- what it should.
local function with(f, dear)
  return outside.directory(function(root)
    outside.write(root .. "/password", SECRET .. "\n")
    assert(os.execute(("mkdir '%s/src' && echo text >'%s/src/a'")
      :format(root, root)))
    if dear then
      repository.init { location = root .. "/r", durable = false,
        password = { file = root .. "/password" } }:close()
    else
      shared.cheap_at(root .. "/r", SECRET)
    end
    return f(root)
  end)
end

-- A script with a repository that is open, and has made a backup.
local OPEN = [[
  package.path, package.cpath = %q, %q
  local repository = require "saros.repository"
  repo = repository.open { location = %q, password = %s, durable = false }
  assert(repo:backup { paths = %q }:wait())
  print "open" io.stdout:flush()
]]

local function script(root, password, more)
  return OPEN:format(outside.lua_path, outside.lua_cpath, root .. "/r",
    password, root .. "/src") .. (more or "")
end

-- All that the kernel tells anybody of a process and its children. A runtime
-- that is preloaded makes ps wait for itself.
local function seen_by_others(pid)
  local pipe = assert(io.popen(("cat /proc/%d/cmdline /proc/%d/comm "
    .. "/proc/%d/status /proc/%d/task/*/comm /proc/%d/environ | tr '\\0' ' '; "
    .. "env -u LD_PRELOAD ps -eo args"):format(pid, pid, pid, pid, pid)))
  local text = pipe:read "a"
  pipe:close()
  return text
end

describe("a password", function()
  it("is not in what others see of a process", function()
    with(function(root)
      for _, password in ipairs {
        ("{ file = %q }"):format(root .. "/password"),
        ("{ command = { 'cat', %q } }"):format(root .. "/password"),
        ("{ command = %q }"):format("cat '" .. root .. "/password'"),
      } do
        local p <close> = outside.start(outside.lua, "-e",
          script(root, password, "os.execute 'sleep 1000'"))
        p:expect "open\n"
        local text = seen_by_others(p.pid)
        assert.is_true(has(text, root))
        assert.is_false(has(text, SECRET))
      end
    end)
  end)

  it("does not reach programs that a host starts", function()
    with(function(root)
      local said = outside.run("env", "SECRET_OF_ITS_OWN=x", outside.lua, "-e",
        script(root, ("{ file = %q }"):format(root .. "/password"),
          "os.execute 'env; cat /proc/self/environ; ls -l /proc/self/fd'"))
      assert.is_true(has(said, "SECRET_OF_ITS_OWN"))
      assert.is_false(has(said, SECRET))
      assert.is_nil(said:find(root .. "/password", 1, true))
    end)
  end)

  it("is in no error, log, status or text, whatever goes wrong", function()
    with(function(root)
      local said = {}
      saros.config { log = function(record)
        said[#said + 1] = tostring(record.text)
      end }
      local function note(...)
        for _, item in ipairs { ... } do
          said[#said + 1] = tostring(item)
          if type(item) == "table" then
            for _, field in pairs(item) do said[#said + 1] = tostring(field) end
          end
        end
      end
      local at = root .. "/r"
      local wrong = SECRET .. "x"
      note(select(2, pcall(repository.open, { location = at,
        password = wrong })))
      note(select(2, pcall(repository.open, { location = root .. "/none",
        password = SECRET })))
      note(select(2, pcall(repository.open, { location = at,
        password = { text = SECRET, none = true } })))
      note(select(2, pcall(repository.open, { location = at,
        password = { command = "echo " .. SECRET .. "; exit 3" } })))
      note(select(2, pcall(repository.open, { location = at,
        password = SECRET, conections = 1 })))
      note(select(2, pcall(repository.init, { location = at,
        password = SECRET })))
      note(select(2, pcall(repository.open, { password = SECRET,
        location = "s3:http://user:" .. SECRET .. "@127.0.0.1:1/b" })))
      note(select(2, pcall(repository.open, { password = SECRET,
        location = "s3:http://127.0.0.1:1/bucket", access_key = "a",
        secret_key = SECRET, session_token = SECRET, retry_seconds = 0 })))
      local repo <close> = repository.open { location = at, password = SECRET }
      local key = repo:add_key { password = wrong }
      note(repo, key, key:wait())
      note(key:status(), repo:keys(), repo:locks(), repo:versions())
      local change = repo:change_password { password = "another-" .. SECRET }
      note(change:wait())
      note(change, change:status())
      helper.settle()
      saros.config { log = false }
      local text = table.concat(said, "\n")
      assert.is_true(#said > 20)
      assert.is_true(has(text, "password"))
      assert.is_false(has(text, SECRET), text)
    end)
  end)
end)

-- ------------------------------------------------------------------
-- A process that crashes
-- ------------------------------------------------------------------

-- What a core dump of a process would have: all of its memory but the mappings
-- that are not to be dumped. (A real one goes wherever the machine's own
-- settings send it.)
local function dump_of(pid)
  local memory <close> = assert(io.open(("/proc/%d/mem"):format(pid), "rb"))
  local pieces, first, last, left_out = {}, nil, nil, 0
  for line in io.lines(("/proc/%d/smaps"):format(pid)) do
    local from, to, rights = line:match "^(%x+)%-(%x+) (r?)"
    if from then
      first = rights == "r" and tonumber(from, 16) or nil
      last = tonumber(to, 16)
    elseif line:find "^VmFlags:" and first then
      if line:find " dd" then
        left_out = left_out + 1
      elseif memory:seek("set", first) then
        pieces[#pieces + 1] = memory:read(last - first)
      end
    end
  end
  return table.concat(pieces), left_out
end

-- Of one that has its repository open, and has used it.
local function crash(root, password)
  local p <close> = outside.start(outside.lua, "-e", script(root, password, [[
    canary = table.concat { "a-canary", "-that-", "sings" }
    print "ready" io.stdout:flush()
    os.execute "sleep 1000"]]))
  p:expect "ready\n"
  system.kill(p.pid, 19) -- it stands still
  return dump_of(p.pid)
end

describe("a core dump", function()
  for _, way in ipairs { "file", "command" } do
    it("has no password that came by " .. way, function()
      if os.getenv "SAROS_SANITIZER" then
        return pending "the memory is the sanitizer's, and there is too much"
      end
      with(function(root)
        local password = way == "file"
          and ("{ file = %q }"):format(root .. "/password")
          or ("{ command = { 'cat', %q } }"):format(root .. "/password")
        local core, left_out = crash(root, password)
        assert.is_true(left_out > 0)
        assert.is_true(has(core, "a-canary-that-sings"))
        assert.is_true(has(core, root .. "/r"))
        assert.is_false(has(core, SECRET))
      end, way == "file")
    end)
  end
end)
