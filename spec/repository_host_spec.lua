-- A backup in a program that has a loop of its own: whoever waits for it yields,
-- and the loop goes on. Each backup here reads from a pipe that only the loop
-- fills, so one that blocked the loop would never end.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local saros, system = helper.saros, outside.system

if shared.missing then
  describe("a backup in a host", function() pending(shared.missing) end)
  return
end

-- A backup, and what fills its pipe and ends it.
local function held(p)
  local reader, writer = system.pipe()
  local op = p.repo:backup { sources = { p.src,
    { name = "gate", stream = reader } } }
  system.close(reader)
  return op, function()
    assert(system.write(writer, "from the loop"))
    system.close(writer)
  end
end

local function check(p, r)
  assert.equal(4, r.files)
  assert.equal(1200010 + 13, r.bytes)
  assert.equal(1, #p.repo:versions())
end

describe("a backup in a host", function()
  it("with luv lets timers and coroutines go on", function()
    local found, uv = pcall(require, "luv")
    if not found then return pending "lua-luv is not installed" end
    local luv = require "saros.host.luv"
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held(p)
      local ticks, r, restored = 0, nil, nil
      local timer = uv.new_timer()
      timer:start(1, 1, function()
        ticks = ticks + 1
        if ticks == 5 then finish() end
        if restored then timer:close() end
      end)
      luv.spawn(function()
        r = assert(op:wait())
        restored = assert(p.repo:restore { target = p.root .. "/out" }:wait())
      end)
      assert.is_nil(r) -- it has yielded
      uv.run()
      assert.is_true(ticks >= 5)
      check(p, r)
      assert.equal(4, restored.files)
    end)
  end)

  it("with cqueues lets other coroutines go on", function()
    local found, cqueues = pcall(require, "cqueues")
    if not found then return pending "lua-cqueues is not installed" end
    require "saros.host.cqueues"
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held(p)
      local loop, turns, r = cqueues.new(), 0, nil
      loop:wrap(function() r = assert(op:wait()) end)
      loop:wrap(function()
        for _ = 1, 5 do
          turns = turns + 1
          cqueues.sleep(0.001)
        end
        finish()
      end)
      assert(loop:loop())
      assert.equal(5, turns)
      check(p, r)
    end)
  end)

  it("with a loop of its own asks a descriptor and steps", function()
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held(p)
      local r, turns
      saros.spawn(function() r = assert(op:wait()) end)
      turns = 0
      outside.eventually("the backup's end", function()
        saros.step(0) -- never waits
        turns = turns + 1
        if turns == 5 then finish() end
        return r
      end)
      assert.is_true(turns >= 5)
      check(p, r)
    end)
  end)

  it("lists and opens without holding up other tasks", function()
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held(p)
      local order = {}
      saros.run(function()
        saros.spawn(function()
          -- These wait as well, each in its line.
          assert.equal(0, #p.repo:versions())
          local again <close> = shared.repository.open {
            location = p.root .. "/r", password = shared.PASSWORD }
          order[#order + 1] = #again:keys() .. " key"
          finish()
        end)
        assert(op:wait())
        order[#order + 1] = "backup"
      end)
      assert.same({ "1 key", "backup" }, order)
      check(p, assert(op:result()))
    end)
  end)
end)
