---@private
-- Which of several things, each of a time, the rules keep: as a repository's
-- `forget` does with versions.

local retention = {}

-- The period that a time lies in, by the clock on the wall here.
local periods <const> = {
  { "hourly", function(t) return os.date("%Y-%m-%d %H", t) end },
  { "daily", function(t) return os.date("%Y-%m-%d", t) end },
  { "weekly", function(t) return os.date("%G-%V", t) end },
  { "monthly", function(t) return os.date("%Y-%m", t) end },
  { "yearly", function(t) return os.date("%Y", t) end },
}

--- Whether any rule is given at all.
function retention.has_rules(rules)
  if rules.last or rules.within then return true end
  for _, period in ipairs(periods) do
    if rules[period[1]] then return true end
  end
  return false
end

-- Keeps the newest of each of so many periods.
local function keep_periods(list, why, name, period, count)
  local last
  for i, item in ipairs(list) do
    local key = period(math.floor(item.time))
    if count == 0 then return end
    if key ~= last then
      why[i] = why[i] or {}
      table.insert(why[i], name)
      last, count = key, count - 1
    end
  end
end

-- Two clocks that are right, each taken for one of another zone, are no further
-- apart.
local ZONES <const> = 26 * 3600

--- Whether a time is so far ahead of now that a clock must have been wrong, then
--- or now: nobody knows when that was. It must not be the newest for ever.
---@param time number seconds since 1970
---@param now number
function retention.is_ahead(time, now) return time > now + ZONES end

--- For each of `given` (the newest first, each with its `time` in seconds since
--- 1970) the rules that keep it, as a list of their names, or false. `within`
--- is in seconds, before the newest of them; a number of -1 keeps all there are.
--- What is ahead of the clock stays ("ahead"), and is not counted.
---@param given { time: number }[]
---@param rules { last: integer?, hourly: integer?, daily: integer?, weekly: integer?, monthly: integer?, yearly: integer?, within: number? }
---@param now? number seconds since 1970
---@return (string[]|false)[]
function retention.judge(given, rules, now)
  now = now or os.time()
  local ahead, why = {}, {}
  while given[#ahead + 1] and retention.is_ahead(given[#ahead + 1].time, now) do
    ahead[#ahead + 1] = { "ahead" }
  end
  local list = table.move(given, #ahead + 1, #given, 1, {})
  local function because(i, name)
    why[i] = why[i] or {}
    table.insert(why[i], name)
  end
  for i, item in ipairs(list) do
    if rules.last and (rules.last < 0 or i <= rules.last) then
      because(i, "last")
    end
    if rules.within and item.time >= list[1].time - rules.within then
      because(i, "within")
    end
  end
  for _, period in ipairs(periods) do
    local count = rules[period[1]]
    if count then keep_periods(list, why, period[1], period[2], count) end
  end
  for i = 1, #list do ahead[#ahead + 1] = why[i] or false end
  return ahead
end

return retention
