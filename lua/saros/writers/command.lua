--- A writer that is a program of yours, for what saros does not know: it holds
--- still by `command`, is checked by `check` on a copy of the shadow, and is told
--- of a restore by `pre_restore` and `post_restore`. In a container, too.
---
--- ```lua
--- local command = require "saros.writers.command"
--- local w <close> = command.writer { id = ID, name = "ledger",
---   command = { "podman", "exec", "-i", "ledger", "/usr/local/bin/hold" },
---   map = { ["/var/lib/ledger"] = "/srv/volumes/ledger" },
---   components = { { type = "database", name = "main",
---     files = { "/var/lib/ledger" } } },
---   check = { "ledger-check" },
---   pre_restore = { "podman", "stop", "ledger" },
---   post_restore = { "podman", "start", "ledger" } }
--- ```
---
--- `command` is called as `vss.command_writer` says: `freeze` prints "frozen" and
--- lets go when its standard input ends. What it cannot promise: that the program
--- does what it says. One that is killed lets go only if what it held goes with
--- it, which of a program in a container nobody here can see.

local core = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local kind = require "saros.writers.kind"
local vss = require "saros.vss"

---@class saros.writers.command
local command = {}

local known <const> = { id = "string", name = "string", check = "table",
  settle = "table", pre_restore = "table", post_restore = "table",
  order = "number", env = "table" }

local of_writer <const> = { command = "table", map = "table",
  components = "table", cwd = "string", level = "string",
  freeze_timeout = "number", usage = "string", source = "string",
  guard = "string", restore_method = "string", instance = "string",
  metadata = "table", listen = "boolean", state_dir = "string" }

--- What a writer takes, and what that is.
command.options = {}
for _, list in ipairs { known, of_writer } do
  for name, item in pairs(list) do command.options[name] = item end
end

local function words(what, name, argv)
  if argv == nil then return end
  for i, word in ipairs(argv) do
    if type(word) ~= "string" or word:find("\0", 1, true) then
      error(("%s: option '%s'[%d]: string expected"):format(what, name, i), 3)
    end
  end
  if not argv[1] then
    error(("%s: option '%s': a program expected"):format(what, name), 3)
  end
end


-- ------------------------------------------------------------------
-- Containers
-- ------------------------------------------------------------------

-- The end of standard input is all that makes it let go: who execs into a
-- container has to pass that on, and not by a terminal.
local function check_exec(what, argv)
  local engine = (argv[1] or ""):match "[^/]*$"
  if engine ~= "podman" and engine ~= "docker" or argv[2] ~= "exec" then
    return
  end
  local interactive, terminal = false, false
  for i = 3, #argv do
    local word = argv[i]
    if word:sub(1, 1) ~= "-" then break end
    local short = word:match "^%-(%a+)$" or ""
    interactive = interactive or word == "--interactive"
      or short:find "i" ~= nil
    terminal = terminal or word == "--tty" or short:find "t" ~= nil
  end
  if not interactive or terminal then
    error(("%s: option 'command': %s exec needs -i, and no -t: the end of its "
      .. "standard input is what makes the program let go"):format(what,
      engine), 3)
  end
end

-- A path in the container, as the host has it.
local function mapped(map, path)
  local best
  for inside in pairs(map) do
    local plain = inside:gsub("(.)/+$", "%1")
    if (path == plain or path:sub(1, #plain + 1) == plain .. "/"
      or plain == "/") and (not best or #plain > #best[2])
    then
      best = { inside, plain }
    end
  end
  if not best then return nil end
  local rest = best[2] == "/" and path or path:sub(#best[2] + 1)
  return map[best[1]]:gsub("(.)/+$", "%1") .. rest
end

local function map_components(what, map, components)
  for inside, outside in pairs(map) do
    if type(inside) ~= "string" or inside:sub(1, 1) ~= "/"
      or type(outside) ~= "string" or outside:sub(1, 1) ~= "/"
    then
      error(what .. ": option 'map': { [\"/path/in/the/container\"] = "
        .. "\"/path/here\" } expected", 3)
    end
  end
  local list = {}
  for i, c in ipairs(components) do
    local copy = {}
    for name, item in pairs(c) do copy[name] = item end
    for _, name in ipairs { "files", "exclude", "mends" } do
      local paths = type(c[name]) == "table" and c[name] or {}
      if c[name] == paths then copy[name] = {} end
      for j, path in ipairs(paths) do
        local to = path:sub(1, 1) == "/" and mapped(map, path)
          or name ~= "files" and path
        if not to then
          error(("%s: option 'map' does not say where %s is on this machine")
            :format(what, path), 3)
        end
        copy[name][j] = to
      end
    end
    list[i] = copy
  end
  return list
end


-- ------------------------------------------------------------------
-- What it is asked besides
-- ------------------------------------------------------------------

-- The end of what it said last.
local function reason(r)
  local text = (r.stderr ~= "" and r.stderr or r.stdout or "")
    :gsub("%s+$", "")
  local last = text:match "[^\n]*$"
  return last ~= "" and last:sub(-1000)
    or ("%s, and it said nothing"):format(r.signal and "killed by a signal"
      or ("status %d"):format(r.status))
end

-- Runs a program with the component as one line on its standard input.
local function ask(o, argv, c, more)
  local told = { component = c.name, logical_path = c.logical_path,
    files = c.files, said = c.said }
  for name, item in pairs(more or {}) do told[name] = item end
  local env = { SAROS_COMPONENT = c.name }
  for name, text in pairs(o.env or {}) do env[name] = text end
  if more and more.root then env.SAROS_ROOT = more.root end
  local op <close> = core.process { argv = argv, env = env, any_status = true,
    stdin = core.json_write(told) .. "\n" }
  return op:wait()
end

local function untried(message)
  local failure = core.failure("wsb", E.E_FAIL, message)
  failure.untried = true
  return failure
end

-- A component on a copy that is the program's own.
local function on_place(o, argv, c, place)
  local at = {}
  for _, path in ipairs(c.files) do at[path] = place:at(path) end
  local r, err = ask(o, argv, c, { root = place.root, at = at })
  if not r then
    if not err.cancelled then err.untried = true end
    return nil, err
  end
  if r.status == 0 then return true end
  if r.status == 75 or r.status == 126 or r.status == 127 then
    return nil, untried(("%s could not be tried: %s"):format(argv[1],
      reason(r)))
  end
  return nil, core.failure("wsb",
    E.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED,
    ("%s: %s"):format(argv[1], reason(r)))
end

local function hook(o, argv)
  if not argv then return nil end
  return function(c, no_roll_forward)
    local r, err = ask(o, argv, c, { no_roll_forward = no_roll_forward })
    if not r then return nil, err end
    if r.status == 0 then return true end
    return nil, ("%s: %s"):format(argv[1], reason(r))
  end
end

local applications = {}

local function make_known(o)
  local id = o.id:lower()
  local function on(argv)
    return argv and function(c, place) return on_place(o, argv, c, place) end
  end
  kind.define { name = o.name, id = id, check = on(o.check),
    settle = on(o.settle), order = o.order }
  -- The last word counts.
  if applications[id] then applications[id]:close() end
  applications[id] = nil
  if not (o.pre_restore or o.post_restore) then return end
  local application = require "saros.wsb".application { writer = id,
    name = o.name, pre_restore = hook(o, o.pre_restore),
    post_restore = hook(o, o.post_restore) }
  if application.ignored then
    warn(("saros: what '%s' does about a restore is not known: %s"):format(
      o.name, application.ignored))
  end
  applications[id] = application
end

---@class saros.writers.command.known
---@field id string its class: a GUID, always the same one
---@field name string
---@field check? string[] a program that looks at a copy that is its own: status 0 it is whole, 75 it could not be tried, else it is not and its last line of standard error says why. Its standard input has `{ component, files, root, at = { [path] = where it is now } }`, SAROS_ROOT is `root`
---@field settle? string[] the same, before a check and after a restore: makes the files ready to be started there
---@field pre_restore? string[] a program that stops the application; a container is stopped, not paused: what it has mounted would be the old directory for it for ever
---@field post_restore? string[] … and starts it again
---@field order? number which comes first in a restore (0)
---@field env? table<string, string>

--- Makes known what is done about such components, where their writer does not
--- run: for a restore, on another machine too.
---@param options saros.writers.command.known
function command.define(options)
  local what <const> = "command.define"
  local o = arguments.check(what, options, known)
  arguments.need(what, o, "id", "a GUID", 3)
  arguments.need(what, o, "name", "what people call it", 3)
  for _, name in ipairs { "check", "settle", "pre_restore", "post_restore" } do
    words(what, name, o[name])
  end
  make_known(o)
end

---@class saros.writers.command.options: saros.writers.command.known
---@field command string[] the program and its arguments; the verb is added
---@field components? saros.vss.component[]
---@field map? table<string, string> where directories of the container lie on this machine: `components` are named as the container has them then
---@field cwd? string
---@field level? "front_end"|"back_end"|"system"
---@field freeze_timeout? number
---@field instance? string
---@field listen? boolean be found by other processes, too
---@field state_dir? string where those look

--- Subscribes a program as a writer, and makes known how its components are
--- checked and restored.
---@param options saros.writers.command.options
---@return saros.vss.writer
function command.writer(options)
  local what <const> = "command.writer"
  local kinds = {}
  for name, is in pairs(known) do kinds[name] = is end
  for name, is in pairs(of_writer) do kinds[name] = is end
  local o = arguments.check(what, options, kinds)
  for _, name in ipairs { "id", "name", "command" } do
    arguments.need(what, o, name, "see the page of saros.writers.command", 3)
  end
  for _, name in ipairs { "command", "check", "settle", "pre_restore",
    "post_restore" } do
    words(what, name, o[name])
  end
  check_exec(what, o.command)
  if o.map then
    arguments.need(what, o, "components", "with a map they are named here", 3)
    o.components = map_components(what, o.map, o.components)
  end
  local given = { id = o.id, name = o.name, env = o.env }
  for name in pairs(of_writer) do
    if name ~= "map" then given[name] = o[name] end
  end
  local writer = vss.command_writer(given)
  make_known(o)
  return writer
end

return command
