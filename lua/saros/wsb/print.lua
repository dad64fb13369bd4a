---@private
-- What versions and their items look like at the prompt, and to print().

local shown = require "saros.text"

local safe, clock, some = shown.safe, shown.clock, shown.some

local print_out = {}

local words <const> = { application = "application-consistent",
  crash = "crash-consistent", none = "of no one instant" }

local function consistency(text) return words[text] or "consistency unknown" end

local function component_line(c)
  local line = ("  %s %s: %s, check %s"):format(safe(c.writer.name),
    safe(c.name), consistency(c.consistency),
    safe(c.check and c.check.state or "none"))
  if c.check and c.check.state == "untried" then
    line = line .. " (" .. safe(c.check.message) .. ")"
  end
  if c.position then line = line .. ", at " .. safe(c.position) end
  if type(c.drill) == "table" and c.drill.ok == true then
    line = line .. ", drilled"
  end
  if not c.recoverable then
    line = line .. "\n    CANNOT BE RECOVERED: " .. safe(c.why or "?")
  end
  return line
end

local function version_line(v)
  if v.error then
    return ("%s  %s"):format(safe(v.id:sub(1, 8)), safe(tostring(v.error)))
  end
  local good = 0
  for _, c in ipairs(v.components) do
    if c.recoverable then good = good + 1 end
  end
  local line = ("%s  %s  %s  %s, %s"):format(safe(v.id:sub(1, 8)),
    clock(v.time), safe(v.host or "-"), safe(v.type or "-"),
    consistency(v.consistency))
  if #v.components > 0 then
    line = ("%s, %d of %s can be recovered"):format(line, good,
      some(#v.components, "component"))
  end
  return line
end

local function whole(v)
  local lines = { version_line(v) }
  for _, c in ipairs(v.components) do lines[#lines + 1] = component_line(c) end
  for _, one in ipairs(v.added or {}) do
    lines[#lines + 1] = ("  with %s, which belongs to %s"):format(
      safe(one.path), safe(one.component))
  end
  for _, w in ipairs(v.left_out or {}) do
    lines[#lines + 1] = ("  the writer %s was left out: %s"):format(
      safe(w.name), safe(w.message))
  end
  if (v.failed or 0) > 0 then
    lines[#lines + 1] = ("  %s could not be read"):format(
      some(v.failed, "file"))
  end
  for _, e in ipairs(v.errors or {}) do
    if #lines > 40 then break end
    lines[#lines + 1] = ("  %s: %s"):format(safe(e.path), safe(e.message))
  end
  return table.concat(lines, "\n")
end

local of_version = { __name = "saros.wsb.version", __tostring = whole }
local of_line = { __name = "saros.wsb.version", __tostring = version_line }
local of_list = { __name = "saros.wsb.versions", __tostring = function(list)
  if #list == 0 then return "no versions" end
  local lines = {}
  for i, v in ipairs(list) do lines[i] = version_line(v) end
  return table.concat(lines, "\n")
end }

local function recovered(r)
  local lines = { ("%s of version %s"):format(r.dry_run
    and "This would be recovered" or "Recovered", safe(r.version:sub(1, 8))) }
  for _, one in ipairs(r.laid) do
    lines[#lines + 1] = ("  %s -> %s%s"):format(safe(one.path), safe(one.to),
      one.skipped and " (left as it is)" or "")
    if one.kept then
      lines[#lines + 1] = "    what was there: " .. safe(one.kept)
    end
  end
  for _, one in ipairs(r.found or {}) do
    lines[#lines + 1] = "  left by a recovery that was killed: "
      .. safe(one.path)
  end
  for _, text in ipairs(r.warnings or {}) do
    lines[#lines + 1] = "  " .. safe(text)
  end
  return table.concat(lines, "\n")
end

local of_recovered = { __name = "saros.wsb.recovered",
  __tostring = recovered }

function print_out.version(v) return setmetatable(v, of_version) end
function print_out.recovered(r) return setmetatable(r, of_recovered) end

function print_out.versions(list)
  for _, v in ipairs(list) do setmetatable(v, of_line) end
  return setmetatable(list, of_list)
end

return print_out
