-- make bench: CPU per operation against peers, in one run. Each figure is the
-- median of several rounds in processes of their own, the peers taking turns
-- (A B C A B C …), because a machine's speed drifts. A ratio is worth more
-- than the figures it is made of; a time alone is never a claim.
--   lua5.4 spec/bench/run.lua [ROUNDS [NAME PATTERN]]

local figures = require "spec.bench.figures"

local rounds = tonumber(arg[1]) or 7
local wanted = arg[2] or ""
local floor = os.getenv "SAROS_FLOOR" or "build/spec/floor"
local lua = arg[-1] or "lua5.4"

local function case(name)
  return ("%s spec/bench/cases.lua %s 2>&1"):format(lua, name)
end

-- { name, unit, { column, command }…, { text, numerator, denominator, most }… }
local rows = {
  { "1 in flight", "µs CPU",
    { { "saros", case "saros_one" }, { "luv", case "luv_one" },
      { "C floor", floor .. " 1 30000" } },
    { { "saros / luv", 1, 2, 0.85 }, { "saros / floor", 1, 3 } } },
  { "1000 in flight", "µs CPU",
    { { "saros", case "saros_thousand" }, { "luv", case "luv_thousand" },
      { "C floor", floor .. " 1000 300000" } },
    { { "saros / luv", 1, 2, 0.5 }, { "saros / floor", 1, 3, 8 } } },
  { "1000 × sleep(0)", "µs CPU",
    { { "saros", case "saros_sleep" }, { "luv", case "luv_sleep" },
      { "cqueues", case "cqueues_sleep" } },
    { { "saros / luv", 1, 2 }, { "saros / cqueues", 1, 3 } } },
  { "wait, finished", "ns", { { "saros", case "saros_finished" } }, {}, 60 },
  { "step(0), idle", "ns", { { "saros", case "saros_step" } }, {}, 500 },
  { "pending", "bytes", { { "saros", case "saros_bytes" } }, {}, 200 },
  { "pending + coroutine", "bytes",
    { { "saros", case "saros_bytes_task" }, { "luv", case "luv_bytes_task" },
      { "cqueues", case "cqueues_bytes_task" } },
    { { "saros / luv", 1, 2 }, { "saros / cqueues", 1, 3 } }, 1536 },
  { "timers, set and fired", "µs CPU",
    { { "10k", case "saros_timers_10k" }, { "100k", case "saros_timers_100k" },
      { "1M", case "saros_timers_1m" } },
    { { "1M / 100k", 3, 2, 1.5 } } },
}

local function measure(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "l" or ""
  pipe:close()
  return tonumber(text), text
end

print(("%d rounds, medians [lowest–highest]"):format(rounds))
for _, row in ipairs(rows) do
  local name, unit, columns, ratios, most = table.unpack(row, 1, 5)
  if name:find(wanted, 1, true) then
    local results = {}
    for i = 1, #columns do results[i] = {} end
    for _ = 1, rounds do
      for i, column in ipairs(columns) do
        local value, text = measure(column[2])
        if value then
          table.insert(results[i], value)
        else
          results[i].why = text
        end
      end
    end
    local told = {}
    for i, column in ipairs(columns) do told[i] = { column[1], results[i] } end
    figures.tell(name, unit, told, ratios, most)
  end
end
