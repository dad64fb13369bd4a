-- saros.copy from Lua. Holes, links, attributes, file systems and a disk that
-- fills are in spec/c/test_copy*.c; here is what a script sees.

local helper = require "spec.helper"
local saros = helper.saros

local function run(...)
  return assert(saros.process { argv = { ... } }:wait()).stdout
end

local function entries(dir)
  return run("ls", "-A", dir)
end

describe("saros.copy", function()
  local dir

  before_each(function()
    dir = run("mktemp", "-d"):gsub("\n", "")
    run("sh", "-c", ([[cd '%s' && mkdir -p tree/a/b &&
      echo one > tree/one && echo two > tree/a/two && ln tree/one tree/a/b/one &&
      ln -s one tree/link && head -c 5000000 /dev/urandom > tree/big]])
      :format(dir))
  end)

  after_each(function() run("rm", "-rf", dir) end)

  it("copies a tree, and says what it did", function()
    local op = saros.copy { from = dir .. "/tree", to = dir .. "/copy" }
    local r = assert(op:wait())
    assert.equal("", run("diff", "-r", dir .. "/tree", dir .. "/copy"))
    -- A hard link is a name of a file, not a file.
    assert.equal("2\n", run("stat", "-c", "%h", dir .. "/copy/one"))
    assert.equal(run("stat", "-c", "%Y %a %u", dir .. "/tree/a/two"),
      run("stat", "-c", "%Y %a %u", dir .. "/copy/a/two"))
    assert.is_true(r.files >= 3 and r.directories == 3)
    assert.equal(100, op:status().percent)
    assert.equal("copy\ntree\n", entries(dir))
  end)

  it("copies a file", function()
    assert(saros.copy { from = dir .. "/tree/big", to = dir .. "/big" }:wait())
    run("cmp", dir .. "/tree/big", dir .. "/big")
  end)

  it("copies what has no size and yet is not empty, as in /proc", function()
    local function content(path)
      local file = assert(io.open(path))
      local text = file:read "a"
      file:close()
      return text
    end
    for _, clone in ipairs { "auto", "never" } do
      local to = dir .. "/version." .. clone
      local r = assert(saros.copy {
        from = "/proc/version", to = to, clone = clone
      }:wait())
      assert.equal(content "/proc/version", content(to))
      assert.equal(#content(to), r.bytes)
    end
    -- Longer than one read gives: an environment.
    local env = { A = ("a"):rep(100000), B = ("b"):rep(100000), C = ("c"):rep(100000) }
    local sleeper = saros.process {
      argv = { "sleep", "1000" }, env = env, clear_env = true
    }
    while not sleeper:status().pid do saros.sleep(0.001):wait() end
    local from = ("/proc/%d/environ"):format(sleeper:status().pid)
    while #content(from) < 300000 do saros.sleep(0.001):wait() end -- execs
    local r = assert(saros.copy { from = from, to = dir .. "/environ" }:wait())
    local text = content(dir .. "/environ")
    assert.equal(300009, r.bytes)
    assert.equal(300009, #text)
    for name, value in pairs(env) do
      assert.is_truthy(text:find(name .. "=" .. value .. "\0", 1, true))
    end
    sleeper:close()
  end)

  it("tells how far it is", function()
    local done, states = 0, {}
    saros.run(function()
      local op = saros.copy {
        from = dir .. "/tree", to = dir .. "/copy", clone = "never"
      }
      for s in op:progress() do
        assert.is_true((s.done or 0) >= done)
        done = s.done or 0
        states[#states + 1] = s.state
      end
    end)
    assert.equal("succeeded", states[#states])
    assert.is_true(done >= 5000000)
  end)

  it("refuses to overwrite, unless it is told to", function()
    run("sh", "-c", "echo old > " .. dir .. "/there")
    local result, err =
      saros.copy { from = dir .. "/tree/one", to = dir .. "/there" }:wait()
    assert.is_nil(result)
    assert.equal(0x800700B7, err.code) -- it exists
    assert.equal("old\n", run("cat", dir .. "/there"))
    assert(saros.copy {
      from = dir .. "/tree/one", to = dir .. "/there", replace = true
    }:wait())
    assert.equal("one\n", run("cat", dir .. "/there"))
    assert.equal("there\ntree\n", entries(dir))
  end)

  it("leaves nothing when it is cancelled, and the source alone", function()
    run("sh", "-c", ("head -c 300000000 /dev/zero > '%s/tree/huge'")
      :format(dir))
    local op = saros.copy {
      from = dir .. "/tree", to = dir .. "/copy", clone = "never"
    }
    for s in op:progress() do
      if s.state == "running" and (s.done or 0) > 0 then op:cancel() end
    end
    local _, err = op:wait()
    if err then assert.is_true(err.cancelled) end
    assert.equal(err and "tree\n" or "copy\ntree\n", entries(dir))
  end)

  it("fails with a reason that names the path", function()
    local _, err = saros.copy { from = dir .. "/none", to = dir .. "/x" }:wait()
    assert.equal(0x80070002, err.code)
    assert.truthy(tostring(err):find(dir .. "/none", 1, true))
    _, err = saros.copy { from = dir .. "/tree", to = dir .. "/no/x" }:wait()
    assert.equal(0x80070002, err.code)
    _, err = saros.copy {
      from = dir .. "/tree", to = dir .. "/tree/a/x"
    }:wait()
    assert.truthy(err)
    assert.equal("b\ntwo\n", entries(dir .. "/tree/a"))
  end)

  it("goes on side by side", function()
    local ops = {}
    for i = 1, 20 do
      ops[i] = saros.copy { from = dir .. "/tree", to = dir .. "/copy" .. i }
    end
    assert(saros.all(ops):wait())
    for i = 1, 20 do
      run("diff", "-r", dir .. "/tree", dir .. "/copy" .. i)
    end
  end)

  it("refuses what it does not understand", function()
    for _, bad in ipairs {
      {}, { from = "x" }, { from = 1, to = "y" }, { from = "a", to = "b\0" },
      { from = "a", to = "b", overwrite = true },
      { from = "a", to = "b", clone = "perhaps" },
    } do
      assert.has_error(function() saros.copy(bad) end)
    end
  end)
end)
