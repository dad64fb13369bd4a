--- What the specs of the command line share: the program itself, as somebody
--- calls it who has no configuration.

local outside = require "spec.outside"
local saros = require "saros"

local cli = {}

local build = os.getenv "SAROS_BUILD" or os.getenv "PWD" .. "/build"

--- Where it is.
cli.program = build .. "/bin/saros"

-- Nothing of who runs the specs is in it.
local env = { RESTIC_REPOSITORY = false, RESTIC_REPOSITORY_FILE = false,
  RESTIC_PASSWORD = false, RESTIC_PASSWORD_FILE = false, COLUMNS = false,
  RESTIC_PASSWORD_COMMAND = false, SAROS_CONFIG = "/dev/null", NO_COLOR = false,
  XDG_CONFIG_HOME = "/dev/null", JOURNAL_STREAM = false, TERM = "xterm",
  RESTIC_HOST = false }

--- Runs it: { code, out, err }. `more` is for saros.process.
function cli.run(argv, more)
  -- Records of runs are not the machine's.
  if not (more and more.env and more.env.SAROS_STATE_DIR ~= nil) then
    local root <close> = cli.scratch()
    local o = { env = { SAROS_STATE_DIR = root.path } }
    for name, value in pairs(more or {}) do
      if name ~= "env" then o[name] = value end
    end
    for name, value in pairs(more and more.env or {}) do o.env[name] = value end
    return cli.run(argv, o)
  end
  local o = { argv = { cli.program, table.unpack(argv) }, env = {},
    any_status = true, limit = 16 << 20 }
  for name, value in pairs(env) do o.env[name] = value end
  for name, value in pairs(more or {}) do
    if name == "env" then
      for key, item in pairs(value) do o.env[key] = item end
    else
      o[name] = value
    end
  end
  local op <close> = saros.process(o)
  local r, err = op:wait(outside.patience)
  assert(r, err and err.message)
  return { code = r.status, out = r.stdout, err = r.stderr }
end

--- Runs it, and it has to end with this code.
function cli.ends(code, argv, more)
  local r = cli.run(argv, more)
  if r.code ~= code then
    error(("it ended with %s and not %d:\n%s%s"):format(tostring(r.code), code,
      r.out or "", r.err or ""), 2)
  end
  return r
end

--- A directory of a spec's own, which goes when the block is left.
function cli.scratch()
  local volumes = require "spec.volumes"
  local path = volumes.scratch()
  return setmetatable({ path = path }, { __close = function()
    volumes.unmount(path)
    os.execute(("rm -rf '%s'"):format(path))
  end })
end

return cli
