---@private
-- Paths as somebody types them, and where the machine's own things are.

local place = require "saros.cli.place"

local where = {}

--- As they are seen from the root, without what says nothing.
---@param list string[]
---@return string[]
function where.absolute(list)
  local made = {}
  for i, path in ipairs(list) do
    path = place.absolute(path) .. "/"
    path = path:gsub("/+", "/"):gsub("/%./", "/"):gsub("/%./", "/")
    made[i] = path ~= "/" and path:sub(1, -2) or path
  end
  return made
end

where.here = place.here

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

--- The option of verbs for which applications hold still.
where.workflow = { "workflow", "w", value = "NAME", complete = "workflow",
  help = "with the writers of this workflow of the configuration, which opens "
    .. "them here" }

--- That workflow, with its writers open until the verb ends; nil: none.
function where.open_workflow(c)
  if not c.options.workflow then return nil end
  local workflow = c:workflow(c.options.workflow)
  local open = workflow:open_writers()
  c:defer(function() getmetatable(open).__close(open) end)
  return workflow
end

return where
