---@private
-- What a run and a plan look like at the prompt, and to print().

local text = require "saros.text"

local safe, size, some = text.safe, text.size, text.some

local print_out = {}

local words <const> = { application = "application-consistent",
  crash = "crash-consistent", none = "of no one instant" }

local function target_line(t)
  if not t.version then
    return ("  %s: FAILED: %s"):format(safe(t.location),
      safe(t.error and t.error.message or t.error or "?"))
  end
  local line = ("  %s: version %s"):format(safe(t.location),
    safe(t.version:sub(1, 8)))
  if t.bytes_added then
    line = ("%s, %s added"):format(line, size(t.bytes_added))
  end
  if t.resumed then line = line .. ", of the run that was interrupted" end
  if t.verified then line = line .. ", verified" end
  if (t.removed or 0) > 0 then
    line = ("%s, %s forgotten"):format(line, some(t.removed, "version"))
  end
  if t.pruned then line = line .. ", pruned" end
  if (t.failed or 0) > 0 then
    line = ("%s, %s could not be read"):format(line, some(t.failed, "file"))
  end
  if t.error then
    line = line .. "\n    " .. safe(t.error.message or t.error)
  end
  return line
end

-- Several lines in one of the list.
local function indented(said)
  return (text.lines(said):gsub("\n", "\n    "))
end

local function run_text(run)
  local line = ("%s: %s"):format(safe(run.name), run.state)
  if run.consistency then
    line = line .. ", " .. (words[run.consistency] or safe(run.consistency))
  end
  if run.held then line = ("%s, held %.3f s"):format(line, run.held) end
  local lines = { line }
  for _, t in ipairs(run.targets) do lines[#lines + 1] = target_line(t) end
  if run.drill then
    local why = run.drill.message
    for _, said in ipairs(run.warnings) do
      if said == why then why = nil end -- it comes below
    end
    lines[#lines + 1] = ("  drill: %s%s"):format(run.drill.state,
      why and ": " .. indented(why) or "")
  end
  for _, said in ipairs(run.warnings) do
    lines[#lines + 1] = "  " .. indented(said)
  end
  return table.concat(lines, "\n")
end

local function plan_text(plan)
  local lines = { ("%s would"):format(safe(plan.name)) }
  for _, step in ipairs(plan.steps) do
    lines[#lines + 1] = "  " .. safe(step)
  end
  for _, said in ipairs(plan.warnings) do
    lines[#lines + 1] = "  BUT " .. safe(said)
  end
  return table.concat(lines, "\n")
end

print_out.run = run_text
print_out.plan = { __name = "saros.workflow.plan", __tostring = plan_text }

return print_out
