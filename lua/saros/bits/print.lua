---@private
-- What queues, jobs and files look like at the prompt, and to print(). URLs come
-- from C as they may be shown; what else somebody else has named is made safe
-- for a terminal here.

local floor = require "saros.core"
local shown = require "saros.text"

local safe, size, some = shown.safe, shown.size, shown.some

local print_out = {}

local MOST = 20 -- lines of one kind

local function shows(name, to_text)
  return { __name = "saros.bits." .. name, __tostring = to_text }
end

local function lines_of(list, nothing, of_item)
  if #list == 0 then return nothing end
  local lines = {}
  for i = 1, math.min(#list, MOST) do lines[i] = of_item(list[i]) end
  if #list > MOST then
    lines[#lines + 1] = ("… and %d more"):format(#list - MOST)
  end
  return table.concat(lines, "\n")
end

--- "41%", or how much it is of nobody knows what.
local function part(done, total)
  if not total or total < done then return size(done) end
  if total == 0 then return "0 B" end
  return ("%d%% of %s"):format(done * 100 // total, size(total))
end

--- "transferring 41% of 3.0 MiB, 12 of 100 files"
function print_out.progress(s)
  local text = (s.state:gsub("_", " "))
  if s.files == 0 then return text .. ", no files" end
  return ("%s %s, %d of %s"):format(text, part(s.bytes, s.total),
    s.files_done, some(s.files, "file"))
end

--- "1a2b3c4d "name": transferring …"
function print_out.job_line(s)
  local name = s.name and s.name ~= "" and (' "%s"'):format(safe(s.name)) or ""
  return ("%s%s: %s"):format(s.id:sub(1, 8), name, print_out.progress(s))
end

local of_failure = shows("job.error", function(e)
  return safe(e.message or e.name or "?")
end)

--- The same, and what is wrong with it.
function print_out.job(s)
  local lines = { print_out.job_line(s) }
  if s.error then lines[2] = "  " .. of_failure.__tostring(s.error) end
  if s.retry_in then
    local said = (lines[2] or " "):gsub("; it is tried again$", "")
    lines[2] = ("%s%s again in %d s"):format(said, said:match "[%w)]$" and ";"
      or "", math.ceil(s.retry_in))
  end
  return table.concat(lines, "\n")
end

local of_status = shows("job.status", print_out.job)

function print_out.status(s)
  if s.error then setmetatable(s.error, of_failure) end
  return setmetatable(s, of_status)
end

local function file_line(f)
  return ("%3d  %-12s %12s  %s"):format(f.number, f.state,
    part(f.bytes, f.total), safe(f.path))
end

local of_file = shows("file", file_line)

local of_files = shows("files", function(list)
  return lines_of(list, "no files", file_line)
end)

function print_out.files(list)
  for _, file in ipairs(list) do setmetatable(file, of_file) end
  return setmetatable(list, of_files)
end

local of_jobs = shows("jobs", function(list)
  return lines_of(list, "no jobs", function(job)
    return (tostring(job):gsub("^saros%.bits%.job: ", ""))
  end)
end)

local of_groups = shows("groups", function(list)
  return lines_of(list, "no groups", function(group)
    return (tostring(group):gsub("^saros%.bits%.group: ", ""))
  end)
end)

function print_out.groups(list) return setmetatable(list, of_groups) end

local of_event = shows("event", function(e)
  if e.what == "missed" then
    return ("missed: %s came too fast"):format(some(e.missed, "event"))
  end
  local job = e.job and tostring(e.job):gsub("^saros%.bits%.job: ", "")
    or e.id:sub(1, 8)
  return ("%s: %s%s"):format(e.what, e.file and ("file %d of "):format(e.file)
    or "", job)
end)

function print_out.event(e) return setmetatable(e, of_event) end

function print_out.jobs(list) return setmetatable(list, of_jobs) end

local of_manager = shows("manager.status", function(s)
  local lines = { ("%s: %s"):format(safe(s.path), some(s.jobs, "job")) }
  local function line(format, ...) lines[#lines + 1] = format:format(...) end
  if s.owned_by then line("  it is owned by %s", safe(s.owned_by)) end
  if s.broken then line("  it cannot be written: %s", safe(s.broken)) end
  if (s.active or 0) > 0 or (s.waiting or 0) > 0 then
    line("  %s under way, %d waiting", some(s.active or 0, "transfer"),
      s.waiting or 0)
  end
  if s.settings and s.settings.active == false then
    line("  nothing is transferred: it was set to active = false")
  end
  for _, gate in ipairs(s.gates or {}) do
    line("  %s is %s for %d s", safe(gate.host:gsub("/", "://", 1)),
      gate.offline and "out of reach, and left alone" or "left alone",
      gate["until"])
  end
  for _, way in ipairs { "down", "up" } do
    local limit = s[way]
    if limit then line("  %sload at most %s/s", way, size(limit)) end
  end
  return table.concat(lines, "\n")
end)

function print_out.manager(s) return setmetatable(s, of_manager) end

local of_result = shows("result", function(r)
  return ("%s, %s"):format(some(r.files, "file"), size(r.bytes))
end)

floor.dress("bits.job", of_result)

function print_out.result(r) return setmetatable(r, of_result) end

return print_out
