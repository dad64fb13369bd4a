---@private
-- Units as they are installed, and how they go. What somebody else has put
-- beside ours stays.

local core = require "saros.core"

local units = {}

local function run(...)
  local op <close> = core.process { argv = { ... }, stdout = "capture",
    stderr = "stdout", any_status = true, timeout = 120 }
  local result, err = op:wait()
  if result then return result.stdout or "", result.status end
  if err.cancelled then error(err, 0) end
  return err.message, -1
end

--- Where they lie; `own`: of a user.
function units.directory(own)
  if not own then return "/etc/systemd/system" end
  local config = os.getenv "XDG_CONFIG_HOME"
  if not config or config:sub(1, 1) ~= "/" then
    config = (os.getenv "HOME" or "") .. "/.config"
  end
  return config .. "/systemd/user"
end

--- The workflows that have some there, in order.
---@return string[]
function units.names(directory)
  local list, seen = {}, {}
  local text, status = run("find", directory, "-mindepth", "2", "-maxdepth",
    "2", "-path", directory .. "/saros@*.d/saros.conf")
  for path in (status == 0 and text or ""):gmatch "[^\n]+" do
    local one = path:match "/saros@([^/]+)%.service%.d/[^/]*$"
      or path:match "/saros@([^/]+)%.timer%.d/[^/]*$"
    if one and not seen[one] then
      seen[one] = true
      list[#list + 1] = one
    end
  end
  table.sort(list)
  return list
end

-- Whether what it says was heard is the manager's business: where there is none,
-- there is nothing that runs.
local function manager(own, ...)
  return run("systemctl", own and "--user" or "--system", ...)
end

--- Takes away those of a workflow; with the last one, what all had shared. The
--- manager is told, when the directory is one that it reads (`told`). Raises.
---@param o { directory: string, name: string, own: boolean?, told: boolean? }
---@return string[] removed
function units.remove(o)
  local instance <const>, list = o.directory .. "/saros@" .. o.name, {}
  if o.told then
    manager(o.own, "disable", "--now", "--quiet", ("saros@%s.timer")
      :format(o.name))
  end
  local function drop(path, directory)
    local text, status = run("sh", "-c", [[test -e "$1" || exit 9
      rm -f -- "$1" && { [ -z "$2" ] || rmdir -- "$2" 2>/dev/null || :; }]],
      "sh", path, directory or "")
    if status == 0 then list[#list + 1] = path end
    if status ~= 0 and status ~= 9 then error(text, 0) end
  end
  for _, kind in ipairs { "service", "timer" } do
    local directory = ("%s.%s.d"):format(instance, kind)
    drop(directory .. "/saros.conf", directory)
  end
  if #list > 0 and #units.names(o.directory) == 0 then
    drop(o.directory .. "/saros@.service")
    drop(o.directory .. "/saros@.timer")
  end
  if o.told then manager(o.own, "daemon-reload") end
  return list
end

return units
