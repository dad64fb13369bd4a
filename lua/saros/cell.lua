--- Cells: a program that was restored is started where it can do no harm. It
--- has no network but one of its own, sees no other process, and can write to
--- nothing but its place. It has no rights, and is the owner of the files there.
---
--- What a cell keeps from it: TCP, abstract sockets, sockets that are files
--- (those that are known when it starts), System V and POSIX memory, signals,
--- devices, everything that is inherited. What it does not: it can read what its
--- user can, but for what is named in `hide`; named pipes and the sockets of
--- containers are to be named there, too; it can use the processor and the memory
--- of this machine; and the kernel is the same.

local core = require "saros.core"
local E = require "saros.code"
local arguments = require "saros.arguments"
local beside = require "saros.beside"

---@class saros.cell
local cell = {}

local function where() return beside "cell" end

local kinds <const> = { place = "table|string", argv = "table", env = "table",
  hide = "list", cwd = "string", owner = "table", stop = { "TERM", "INT",
  "QUIT" }, stdin = "bytes|userdata", stdout = "string", stderr = "string",
  timeout = "number", grace = "number", limit = "integer",
  any_status = "boolean", name = "string" }

local passed <const> = { "stdin", "stdout", "stderr", "timeout", "grace",
  "limit", "any_status", "name" }

-- Nothing of ours, which may lead to production.
local function environment(own, root)
  local env = { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
    .. "/sbin:/bin", LANG = "C.UTF-8", HOME = root }
  for name, item in pairs(own or {}) do env[name] = item or nil end
  return env
end

---@class saros.cell.options
---@field place saros.place|string the one directory it can write to
---@field argv string[]
---@field env? table<string, string> all of its environment, but PATH, LANG and HOME
---@field hide? string[] directories and files that it does not see
---@field cwd? string the place
---@field owner? { uid: integer, gid: integer } who it is: the place's owner
---@field stop? "TERM"|"INT"|"QUIT" what it is sent when the operation is cancelled ("TERM")
---@field stdin? string
---@field stdout? string as of `saros.process`
---@field stderr? string
---@field timeout? number
---@field grace? number
---@field limit? integer
---@field any_status? boolean
---@field name? string

--- Starts a program in a cell: an operation as `saros.process` has them. Where
--- there can be no cell the program is not started, and the operation fails with
--- the step that could not be taken. Nothing in there outlives the operation, or
--- us, however that ends.
---
--- ```lua
--- local server <close> = cell.run { place = place, hide = { "/srv/pg" },
---   argv = { "redis-server", "--port", "0", "--unixsocket",
---     place.root .. "/run/redis.sock" } }
--- ```
---@param options saros.cell.options
---@return saros.operation
function cell.run(options)
  local what <const> = "cell.run"
  local given = arguments.check(what, options, kinds)
  arguments.need(what, given, "argv", "a program and its arguments")
  arguments.need(what, given, "place", "a directory")
  local is_path = type(given.place) == "string"
  local root = is_path and given.place or given.place.root
  local owner = given.owner or not is_path and given.place.owner
    or error(what .. ": option 'owner' is missing: { uid =, gid = }", 2)
  local argv = { where(), ("--uid=%d"):format(owner.uid),
    ("--gid=%d"):format(owner.gid), "--write=" .. root,
    "--cwd=" .. (given.cwd or root), "--stop=" .. (given.stop or "TERM") }
  for _, path in ipairs(given.hide or {}) do
    argv[#argv + 1] = "--hide=" .. path
  end
  argv[#argv + 1] = "--"
  table.move(given.argv, 1, #given.argv, #argv + 1, argv)
  local o = { argv = argv, clear_env = true,
    env = environment(given.env, root) }
  for _, name in ipairs(passed) do o[name] = given[name] end
  return core.process(o)
end

local known, reason

--- Why there can be no cell here, or nil. It is tried once, which takes a moment.
---@return saros.error?
function cell.why()
  if known then return reason end
  local try <close> = core.process { argv = { where(), "--uid=65534",
    "--gid=65534", "--", "true" }, clear_env = true,
    env = environment(nil, "/") }
  local ok, err = try:wait()
  if not ok and err.cancelled then error(err, 0) end
  known = true
  if not ok then
    reason = core.failure("saros", E.E_ACCESSDENIED, "nothing can be started "
      .. "apart from everything else here: " .. err.message)
  end
  return reason
end

return cell
