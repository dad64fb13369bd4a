-- What a copy leaves behind whose process was killed, and who takes it away.
local helper = require "spec.helper"
local saros = helper.saros

local function run(...)
  return assert(saros.process { argv = { ... } }:wait()).stdout
end

describe("a copy that was killed", function()
  local dir

  before_each(function()
    dir = run("mktemp", "-d"):gsub("\n", "")
    run("sh", "-c", ([[cd '%s' && mkdir tree && mkdir -m 755 target &&
      for i in $(seq 200); do head -c 60000 /dev/urandom >tree/$i; done &&
      for i in $(seq 20); do ln tree/$i tree/$i.too; done &&
      cat tree/* tree/* >file]]):format(dir))
  end)

  after_each(function() run("rm", "-rf", dir) end)

  local function entries()
    return run("ls", "-A", dir .. "/target")
  end

  -- Copies `what` to target/it in another process and kills that in the
  -- middle. A copy that was too quick to be held is made again.
  local function kill_a_copy(what)
    local output = helper.script(([[
      local saros = require "saros"
      local dir, what = %q, %q
      local middle
      repeat
        local op = saros.copy {
          from = dir .. "/" .. what, to = dir .. "/target/it", clone = "never"
        }
        for s in op:progress() do
          middle = s.phase == "copying" and op:pause()
          if middle then break end
        end
        -- paused when there was nothing left to do
        if io.open(dir .. "/target/it") then middle = false op:wait() end
        if not middle then os.execute("rm -rf " .. dir .. "/target/it") end
      until middle
      io.stdout:write "killed" io.stdout:flush()
      os.execute "kill -9 $PPID"
    ]]):format(dir, what))
    assert.match("killed", output)
    local left = entries()
    assert.match("^%.saros%-copy%-%x+%-0\n", left)
    return left
  end

  local function copy(what, options)
    options = options or {}
    options.from, options.to = dir .. "/" .. what, dir .. "/target/it"
    return saros.copy(options)
  end

  for _, what in ipairs { "tree", "file" } do
    it(("leaves a part of a %s, which the next one to its place removes")
      :format(what), function()
        kill_a_copy(what)
        assert(copy(what):wait())
        assert.equal("it\n", entries())
        run("diff", "-r", dir .. "/" .. what, dir .. "/target/it")
      end)
  end

  it("is none of the business of a copy to another place", function()
    local left = kill_a_copy "tree"
    local to = dir .. "/target/another"
    assert(saros.copy { from = dir .. "/file", to = to }:wait())
    assert.equal(left .. "another\n", entries())
  end)

  it("is not one that lives, in this process or in another", function()
    local first = copy "tree"
    while first:status().phase ~= "copying" or not first:pause() or
      io.open(dir .. "/target/it") do
      if first:done() then
        run("rm", "-rf", dir .. "/target/it")
        first = copy "tree"
      end
    end
    local other = helper.script(([[
      local saros = require "saros"
      local dir = %q
      assert(saros.copy { from = dir .. "/file", to = dir .. "/target/it" }:wait())
      print "copied"
    ]]):format(dir))
    assert.equal("copied\n", other)
    assert(copy("file", { replace = true }):wait())
    assert.match("^%.saros%-copy%-%x+%-0\n", entries())
    first:resume()
    local ok, err = first:wait()
    assert.is_nil(ok)
    assert.match("appeared meanwhile", err.message)
    assert.equal("it\n", entries())
  end)

  it("stays where others may rename", function()
    local left = kill_a_copy "tree"
    run("chmod", "g+w", dir .. "/target")
    assert(copy "file":wait())
    assert.equal(left .. "it\n", entries())
    run("chmod", "+t", dir .. "/target") -- not what is ours
    assert(copy("file", { replace = true }):wait())
    assert.equal("it\n", entries())
  end)

  it("stays when it is somebody else's", function()
    if run("id", "-u") ~= "0\n" then pending "only root can give it away" end
    local left = kill_a_copy "tree"
    run("chown", "65534", dir .. "/target/" .. left:gsub("\n.*", ""))
    assert(copy "file":wait())
    assert.equal(left .. "it\n", entries())
    run("chown", "65534", dir .. "/target")
    assert(copy("file", { replace = true }):wait())
    assert.equal(left .. "it\n", entries())
  end)
end)
