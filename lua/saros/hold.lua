--- Lends shadows to another program: it runs while there are shadows of some
--- paths, and their writers are told how it ended. They hold still for the
--- shadows alone, and not while the program runs.
---
--- ```lua
--- local hold = require "saros.hold"
--- local r = assert(hold.start { paths = { "/srv" },
---   argv = { "restic", "backup", "{}" } }:wait())
--- print(r.status)
--- ```

local core = require "saros.core"
local arguments = require "saros.arguments"
local beside = require "saros.beside"
local vss = require "saros.vss"

---@class saros.hold
local hold = {}

local WHAT <const> = "hold.start"

-- ------------------------------------------------------------------
-- Which words are shadows
-- ------------------------------------------------------------------

-- What stands in braces: a list of paths, or nil when it means nothing to us.
local function meant(name, paths, set)
  if name == "" then
    local all = {}
    for i, path in ipairs(paths) do all[i] = set[path].path end
    return all
  end
  local number = math.tointeger(name)
  local path = number and paths[number] or name
  for _, one in ipairs(paths) do
    if one == path then return { set[path].path } end
  end
end

-- Adds a word of the command. `{}` by itself becomes as many words as there are
-- shadows; within a word there must be one.
local function add(argv, word, paths, set)
  if word == "{}" then
    local all = meant("", paths, set)
    table.move(all, 1, #all, #argv + 1, argv)
    return
  end
  argv[#argv + 1] = word:gsub("(%b{})", function(braces)
    local name = braces:sub(2, -2)
    -- {{}} is {}
    if name:find "^%b{}$" then return name end
    local found = meant(name, paths, set)
    return found and found[1]
  end)
end

--- The command with the shadows' paths in it. Raises nothing: what means
--- nothing stays as it is.
---@param command string[]
---@param paths string[]
---@param set table<string, { path: string }>
---@return string[]
function hold.words(command, paths, set)
  local argv = {}
  for _, word in ipairs(command) do add(argv, word, paths, set) end
  return argv
end

-- Whether a word cannot be meant so: nil, or why.
local function wrong(word, paths)
  if word ~= "{}" and #paths > 1 then
    for braces in word:gmatch "%b{}" do
      if braces == "{}" then
        return ("%q: there are %d paths, and {} in a word is one of them: say "
          .. "{1}, {2}, … there"):format(word, #paths)
      end
    end
  end
  for braces in word:gmatch "%b{}" do
    local number = math.tointeger(braces:sub(2, -2))
    if number and not paths[number] then
      return ("%q: there is no path number %d, only %d (where {%d} is meant "
        .. "for the command: {{%d}})"):format(word, number, #paths, number,
        number)
    end
  end
end

local function environment(paths, set, given)
  local env = {}
  for name, text in pairs(given or {}) do env[name] = text end
  for i, path in ipairs(paths) do
    env["SAROS_SHADOW_" .. i] = set[path].path
    env["SAROS_ORIGINAL_" .. i] = path
  end
  env.SAROS_SHADOWS, env.SAROS_SET = tostring(#paths), set.id
  return env
end


-- ------------------------------------------------------------------
-- In place
-- ------------------------------------------------------------------

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end

-- The outer ones first, by where they really are.
local function outermost(paths)
  local real, list = finish(core.real_paths(paths)), {}
  local depth = {}
  for i, path in ipairs(paths) do
    list[i] = path
    local _, slashes = (real[i] or path):gsub("/+[^/]", "")
    depth[path] = slashes
  end
  table.sort(list, function(a, b)
    return depth[a] < depth[b] or depth[a] == depth[b] and a < b
  end)
  return list
end

local function over(argv, o, set)
  local words = { beside "over", "--cwd=" .. o.cwd }
  for _, path in ipairs(outermost(o.paths)) do
    table.move({ "--lay", set[path].path, path }, 1, 3, #words + 1, words)
  end
  words[#words + 1] = "--"
  return table.move(argv, 1, #argv, #words + 1, words)
end


-- ------------------------------------------------------------------
-- The task
-- ------------------------------------------------------------------

local function shadow(o)
  local op <close> = vss.shadow { paths = o.paths, provider = o.provider,
    writers = o.writers, type = o.type, timeouts = o.timeouts,
    state_dir = o.state_dir, on_veto = o.on_veto }
  if o.on_shadow then o.on_shadow(op) end
  for s in op:progress() do
    core.report { done = s.percent, total = 100, phase = s.phase or "shadow" }
  end
  local set, err = op:wait()
  if not set then
    err.before = true -- no program has run
    error(err, 0)
  end
  return set
end

-- As a shell has them: 127 for what is not there, 126 for what cannot be run.
local function not_started(err)
  if not err.errno or err.cancelled then error(err, 0) end
  return { status = err.errno == 2 and 127 or 126, error = err }
end

local function run(o)
  local set <close> = shadow(o)
  if o.on_set then o.on_set(set) end
  local argv = o.in_place and over(o.argv, o, set)
    or hold.words(o.argv, o.paths, set)
  core.report { done = 99, total = 100, phase = "command" }
  local op <close> = core.process { argv = argv, cwd = o.cwd,
    env = environment(o.paths, set, o.env), stdin = o.stdin or "inherit",
    stdout = o.stdout or "inherit", stderr = o.stderr or "inherit",
    foreground = o.foreground, grace = o.grace, any_status = true }
  if o.on_command then o.on_command(op) end
  local result, err = op:wait()
  local r = result or not_started(err)
  r.set, r.held, r.skew = set.id, set.held, set.skew
  r.left_out, r.succeeded = set.left_out, r.status == 0
  core.report { done = 99, total = 100, phase = "complete" }
  local told, trouble = set:backup_complete(r.succeeded):wait()
  if not told then r.untold = trouble end
  return r
end

local kinds <const> = { paths = "list", argv = "table", in_place = "boolean",
  provider = "string|table", writers = "table", type = "string",
  timeouts = "table", on_veto = "string", state_dir = "string", cwd = "string",
  env = "table", stdin = "string", stdout = "string", stderr = "string",
  foreground = "boolean", grace = "number", on_shadow = "function",
  on_set = "function", on_command = "function", name = "string" }

---@class saros.hold.options
---@field paths string|string[] absolute
---@field argv string[] the program and its words. `{}` becomes the shadows' paths (within a word, the only one's), `{1}` the first one's, `{/srv}` that of /srv, `{{}}` is `{}`; nothing does with `in_place`
---@field in_place? boolean the shadows lie over the originals, for this program alone (root)
---@field provider? string|table<string, string> of the shadows: one for all, or by path
---@field writers? saros.vss.choice
---@field type? string "copy" (the default), "full"
---@field timeouts? table of the session of vss
---@field on_veto? "fail"|"ignore"
---@field state_dir? string of the session of vss
---@field cwd? string where it runs; with `in_place` it is entered over the shadows
---@field env? table<string, string|false> changes to its environment, as of `saros.process`; SAROS_SHADOW_1 and SAROS_ORIGINAL_1 (2, …), SAROS_SHADOWS and SAROS_SET are in there
---@field stdin? string as of `saros.process` ("inherit")
---@field stdout? string
---@field stderr? string
---@field foreground? boolean it has the terminal
---@field grace? number seconds between TERM and KILL when it is cancelled
---@field on_shadow? fun(op: saros.operation) the operation that takes the shadows
---@field on_set? fun(set: saros.vss.set) they are there: the writers go on
---@field on_command? fun(op: saros.operation) the program's operation
---@field name? string of the operation

-- Raises in the line of who has called what calls this.
local function checked(options, level)
  local o = arguments.check(WHAT, options, kinds, level + 1)
  arguments.need(WHAT, o, "paths", "of what there are to be shadows", level + 1)
  arguments.need(WHAT, o, "argv", "a program and its arguments", level + 1)
  for i, word in ipairs(o.argv) do
    local why = type(word) ~= "string" and "a text expected"
      or not o.in_place and wrong(word, o.paths)
    if why then
      error(("%s: option 'argv'[%d]: %s"):format(WHAT, i, why), level)
    end
  end
  if #o.argv == 0 then error(WHAT .. ": option 'argv' is empty", level) end
  if o.in_place then
    arguments.need(WHAT, o, "cwd", "where it runs, an absolute path", level + 1)
  end
  return o
end

--- Takes shadows, runs a program, and lets the shadows go. Cancelled, it ends the
--- program with its group, and the writers are told that nothing came of it.
---@param options saros.hold.options
---@return saros.operation op its result: `{ status, signal, succeeded, set, held, skew, left_out, untold }`; it fails when there were no shadows (`err.before`)
function hold.start(options)
  local o = checked(options, 3)
  return core.spawn_as("saros.hold", o.name, run, o)
end

--- Why a word of a command cannot be meant, where there are these paths; or nil.
---@param command string[]
---@param paths string[]
---@return string?
function hold.misfit(command, paths)
  for _, word in ipairs(command) do
    local why = wrong(word, paths)
    if why then return why end
  end
end

return hold
