-- saros.drill of versions that fail: each is shouted about and barred, and what
-- could not be tried is not.
local helper = require "spec.helper"

local saros = helper.saros
local E = saros.code

local why = require "spec.lacking"()
if why then
  describe("saros.drill", function() pending(why) end)
  return
end

local shared = require "spec.drill"
local catalogue = require "saros.wsb.catalogue"

local drill, failing, known = shared.drill, shared.failing, shared.known

describe("a version that fails", function()
  for _, step in ipairs { "settle", "check", "start" } do
    it("is shouted about and barred: " .. step, function()
      shared.with(function(p)
        local id = shared.version(p, { ledger = "fail " .. step })
        local err, warned = failing(p, { verify = function()
          error "never came to this"
        end })
        assert.equal(E.SAROS_E_DAMAGED, err.code)
        for _, text in ipairs { err.message, warned } do
          assert.truthy(text:find("ledger FAILED (" .. step .. "): ", 1, true))
          assert.truthy(text:find("the data say fail", 1, true))
        end
        local entry = err.report.components[1]
        helper.contains({ state = "failed", failed_at = step, ok = false,
          restored = true, started = false }, entry)
        assert.same({ "one", "two" }, entry.problems)
        local c = known(p, id)
        assert.is_false(c.recoverable)
        assert.truthy(c.why:find("the data say fail " .. step, 1, true))
      end)
    end)
  end

  local verdicts = {
    ["false"] = function() return false end,
    ["nil and a reason"] = function() return nil, "two orders are missing" end,
    ["an error"] = function() error("two orders are missing", 0) end,
    ["an operation that fails"] = function()
      return saros.process { argv = { "false" } }
    end,
  }
  for name, verify in pairs(verdicts) do
    it("is so by the user's verify: " .. name, function()
      shared.with(function(p)
        local id = shared.version(p, { ledger = "whole" })
        local err = failing(p, { verify = verify })
        local entry = err.report.components[1]
        helper.contains({ state = "failed", failed_at = "verify",
          started = true }, entry)
        assert.equal("failed", entry.verify.state)
        assert.is_false(known(p, id).recoverable)
        -- Until it is proved otherwise.
        assert(drill(p, { verify = function() return true end }):wait())
        assert.is_true(known(p, id).recoverable)
      end)
    end)
  end

  it("has no say in what others are", function()
    shared.with(function(p)
      local id = shared.version(p, { a = "whole", b = "fail check",
        c = "whole" })
      local err = failing(p)
      local states = {}
      for i, entry in ipairs(err.report.components) do
        states[i] = entry.state
      end
      assert.same({ "passed", "failed", "passed" }, states)
      local found = {}
      for i, c in ipairs(catalogue.read(p.repo, id).components) do
        found[i] = c.recoverable
      end
      assert.same({ true, false, true }, found)
    end)
  end)

  it("is one whose files cannot be read back", function()
    shared.with(function(p)
      p.put("ledger/large", ("x"):rep(1 << 20):gsub(".", function()
        return string.char(math.random(0, 255))
      end))
      local id = shared.version(p, { ledger = "whole" })
      -- The largest of the packs holds it.
      os.execute(([[f=$(ls -S '%s'/r/data/*/* | head -1); chmod u+w "$f"
        printf xxxxxxxx | env -u LD_PRELOAD dd of="$f" bs=1 seek=1000 conv=notrunc 2>/dev/null]])
        :format(p.root))
      local err = failing(p)
      helper.contains({ state = "failed", failed_at = "restore",
        restored = false }, err.report.components[1])
      assert.is_false(known(p, id).recoverable)
    end)
  end)

  it("is said aloud also where the repository takes no note of it", function()
    shared.with(function(p)
      shared.version(p, { ledger = "fail check" })
      local learn = catalogue.learn
      local _ <close> = setmetatable({}, { __close = function()
        catalogue.learn = learn
      end })
      catalogue.learn = function() error("the disk is full", 0) end
      local err = failing(p)
      assert.truthy(err.message:find("the data say fail check", 1, true))
      assert.truthy(err.message:find("the disk is full", 1, true))
      assert.is_false(err.report.components[1].learned)
    end)
  end)

  it("is no version that could not be tried", function()
    shared.with(function(p)
      local id = shared.version(p, { ledger = "fail start untried" })
      local err, warned = failing(p)
      assert.truthy(warned:find("ledger could not be tried", 1, true))
      assert.equal("untried", err.report.components[1].state)
      local c = known(p, id)
      assert.is_nil(c.drill)
      assert.is_true(c.recoverable)
    end)
  end)

  it("is none of which nothing is known here", function()
    shared.with(function(p)
      local id = shared.version(p, { ledger = "whole" }, { kind = "strange",
        writer = { id = "5a705000-0000-4000-8000-00000000ffff", name = "x",
          instance = "5a705000-0000-4000-8000-00000000fffe" } })
      local err = failing(p)
      assert.truthy(err.message:find("nothing is known of a 'strange'", 1,
        true))
      assert.is_true(known(p, id).recoverable)
    end)
  end)

  -- Where the time is over is nobody's business: on a slow machine it may be
  -- before what would last for ever.
  for _, text in ipairs { "hang in settle", "hang in check", "hang in start",
    "whole" }
  do
    it("is none that had no time: " .. text, function()
      shared.with(function(p)
        local id = shared.version(p, { ledger = text })
        local err = failing(p, { timeout = 0.5, verify = function()
          saros.sleep(1000):wait()
        end })
        assert.equal("untried", err.report.components[1].state)
        assert.truthy(err.message:find("did not end within 0.5", 1, true))
        assert.is_true(known(p, id).recoverable)
      end)
    end)
  end
end)
