-- Every verb ended at any moment, by each signal, once and twice, and beside
-- another of its kind: it unwinds, or the next run makes it good.
local matrix = require "spec.cli_matrix"
local helper = require "spec.helper"

if matrix.missing then
  describe("every verb", function() pending(matrix.missing) end)
  return
end

-- Where that was, said with what failed: SAROS_SEED=N does it again.
local SEED <const> = math.tointeger(tonumber(os.getenv "SAROS_SEED")) or
  (matrix.long and os.time() or 20261123)
local ROUNDS <const> = matrix.long and 12 or 1

-- Verbs that leave something behind when they stop in the middle; the others
-- would only say the same again.
local function matters(row)
  return matrix.long or row.writes or row.repo and row.locks or row.looks
end

-- Signals, a pause of so many milliseconds before each. The program is a group
-- of its own; hold's command has the signal, too, as on a terminal.
local function stopped(pauses, signals)
  local script = { '"$@" & p=$!' }
  for i, ms in ipairs(pauses) do
    script[#script + 1] = ("sleep %.3f; kill -%s $p 2>/dev/null")
      :format(ms / 1000, signals[i])
  end
  script[#script + 1] = "wait $p"
  return { wrap = function(argv)
    -- A job of a shell that is not interactive does not hear INT, unless it is
    -- told to.
    return { "sh", "-c", table.concat(script, "\n"), "sh", "env",
      "--default-signal=INT,QUIT", table.unpack(argv) }
  end }
end

local ways <const> = {
  { "INT" }, { "TERM" }, { "HUP" }, { "KILL" }, { "INT", "INT" },
  { "TERM", "KILL" },
}

local numbers <const> = { INT = 2, TERM = 15, HUP = 1, KILL = 9 }

local function fault_of(signals, random)
  local pauses = {}
  for i = 1, #signals do pauses[i] = random(0, i == 1 and 320 or 60) end
  local codes = { 0, 1, 3, 10, 14, 130 }
  for _, name in ipairs(signals) do
    codes[#codes + 1] = 128 + numbers[name]
  end
  local killed = signals[#signals] == "KILL" or #signals > 1
  return { name = ("%s after %s ms (seed %d)"):format(
    table.concat(signals, " and "), table.concat(pauses, " and "), SEED),
    how = stopped(pauses, signals), concerns = matters, always = true,
    leaves = killed, cut = true, code = codes }
end

describe("every verb", function()
  for i, signals in ipairs(ways) do
    it("withstands " .. table.concat(signals, " and "), function()
      local state = SEED + i
      local function random(from, to)
        state = (state * 6364136223846793005 + 1442695040888963407)
        return from + (state >> 33) % (to - from + 1)
      end
      local wrong = {}
      for _ = 1, ROUNDS do
        local all = matrix.rows
        -- Each verb has its own moment.
        for _, row in ipairs(matrix.long and all or { false }) do
          local fault = fault_of(signals, random)
          if row then fault.concerns = function(r) return r == row end end
          if not row then
            fault.always = nil
            fault.concerns = matters
          end
          local text = matrix.of(fault)
          if text ~= "" then wrong[#wrong + 1] = text end
        end
      end
      assert.equal("", table.concat(wrong, "\n"))
    end)
  end

  it("withstands another of its kind", function()
    local wrong = {}
    helper.task(function()
      local tasks = {}
      for i, row in ipairs(matrix.rows) do
        if matrix.long or row.writes and i % 2 == 0 then
          tasks[#tasks + 1] = helper.saros.spawn(function()
            matrix.count = matrix.count + 1
            local s <close> = matrix.scene()
            local other = helper.saros.spawn(function()
              return matrix.row(s, row)
            end)
            local results = { matrix.row(s, row), other:wait() }
            local good = 0
            for _, r in ipairs(results) do
              local function say(what)
                wrong[#wrong + 1] = ("%s, two at once: %s\n%s"):format(row.name,
                  what, r.err)
              end
              if r.code == 0 then good = good + 1 end
              if r.code ~= 0 and r.code ~= 11 and r.code ~= row.once
                and not (row.holds and r.code == 125)
              then
                say(("it ended with %d"):format(r.code))
              end
              matrix.look(row, r, false, say)
            end
            local function say(what)
              wrong[#wrong + 1] = ("%s, two at once: %s"):format(row.name, what)
            end
            if good == 0 then say "neither did anything" end
            matrix.left(s, say, row)
            matrix.sound(s, row, say)
          end)
        end
      end
      for _, task in ipairs(tasks) do assert(task:wait()) end
    end)
    assert.equal("", table.concat(wrong, "\n"))
  end)

  teardown(matrix.close)
end)
