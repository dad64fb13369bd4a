---@private
-- Paths as somebody types them, and where the machine's own things are.

local core = require "saros.core"

local where = {}

local function here()
  local op <close> = core.process { argv = { "readlink", "/proc/self/cwd" } }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return (result.stdout:gsub("\n$", ""))
end

--- As they are seen from the root.
---@param list string[]
---@return string[]
function where.absolute(list)
  local made, cwd = {}, nil
  for i, path in ipairs(list) do
    if path:sub(1, 1) ~= "/" then
      cwd = cwd or here()
      path = (cwd == "/" and "" or cwd) .. "/" .. path
    end
    path = path:gsub("/%.%f[/\0]", ""):gsub("/+", "/")
    made[i] = path ~= "/" and path:gsub("/$", "") or path
    if made[i] == "" then made[i] = "/" end
  end
  return made
end

where.here = here

--- The option of verbs that use state.
where.state_dir = { "state-dir", value = "DIR", complete = "directory",
  env = "SAROS_STATE_DIR",
  help = "where records, locks and sockets are, instead of the usual place" }

--- What was said of that: by the option, the environment, the configuration.
function where.state(c)
  local given = c.options.state_dir or os.getenv "SAROS_STATE_DIR"
  if given == nil or given == "" then given = c:config().state_dir end
  return given and where.absolute { given }[1]
end

return where
