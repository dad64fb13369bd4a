---@private
-- What the REPL shows of lists and plans.

local core = require "saros.vds.core"

local print = {}

local units = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" }

function print.size(bytes)
  local n, unit = bytes or 0, 1
  while n >= 1024 and unit < #units do n, unit = n / 1024, unit + 1 end
  return (unit == 1 and "%d %s" or "%.1f %s"):format(n, units[unit])
end

-- ------------------------------------------------------------------
-- Lists: a line each
-- ------------------------------------------------------------------

local function add(lines, object, indent)
  lines[#lines + 1] = indent .. tostring(object)
    .. (object.mounted and " at " .. object.mounted or "")
  for _, partition in ipairs(object.partitions or {}) do
    add(lines, partition, indent .. "  ")
  end
end

local list = { __name = "saros.vds.list", __tostring = function(self)
  local lines = {}
  for _, object in ipairs(self) do add(lines, object, "") end
  return #lines > 0 and table.concat(lines, "\n") or "none"
end }

function print.list(of)
  return setmetatable(of, list)
end

-- ------------------------------------------------------------------
-- Plans: whether it would be done, and what would be lost
-- ------------------------------------------------------------------

local function reasons(plan)
  if plan.allowed then return "it would be done" end
  local all = {}
  for _, danger in ipairs(plan.denied) do
    if not danger.forced then
      all[#all + 1] = danger.reason .. (danger.force
        and (" (force = { %s = true })"):format(danger.force) or "")
    end
  end
  return "it would be refused: " .. table.concat(all, "; ")
end

local function losses(plan)
  local all = {}
  for _, part in ipairs(plan.lost.partitions) do
    all[#all + 1] = ("partition %d (%s)"):format(part.number,
      print.size(part.size))
  end
  for _, fs in ipairs(plan.lost.file_systems) do
    all[#all + 1] = ("%s%s on %s"):format(fs.fs or "a file system",
      (fs.label or "") ~= "" and (" '%s'"):format(fs.label) or "", fs.path)
  end
  return #all > 0 and "what would be lost: " .. table.concat(all, ", ")
    or "nothing would be lost"
end

core.class("saros.vds.plan", { __name = "saros.vds.plan",
  __tostring = function(self)
    return reasons(self) .. "\n" .. losses(self)
  end })

return print
