--- What the specs of vss share: a directory of their own for state and data,
--- writers that note what they hear, and whether anything is left.

local helper = require "spec.helper"
local saros = helper.saros
local vss = require "saros.vss"

local shared = { vss = vss }

shared.events = { "identify", "prepare_backup", "prepare_snapshot", "freeze",
  "thaw", "post_snapshot", "abort", "backup_complete", "backup_shutdown",
  "pre_restore", "post_restore" }

--- A GUID that tells one writer from another.
function shared.id(n)
  return ("5a705000-0000-4000-8000-%012d"):format(n)
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read "a"
  pipe:close()
  return text
end

--- A directory with `state` and `data/a`, `data/b` in it; `close` removes it.
---@param within? string where it is made
function shared.directory(within)
  local root = output(("mktemp -d %s/saros-spec-XXXXXX"):format(within
    or "/tmp")):gsub("\n", "")
  assert(root:find "^/.*/saros%-spec%-")
  os.execute(("cd %s && mkdir -m 700 state && mkdir -p data/a data/b && "
    .. "echo one >data/a/file && echo two >data/b/file"):format(root))
  local d = { root = root, state = root .. "/state", a = root .. "/data/a",
    b = root .. "/data/b" }
  function d.read(path)
    local file = io.open(path)
    if not file then return nil end
    local text = file:read "a"
    file:close()
    return text
  end
  --- What is left of shadows: records, and what they were made of.
  function d.left()
    return output(("cd %s && find . -path '*/shadows/*.json'; "
      .. "find . -mindepth 3 -path './state/*/data/*'; "
      .. "find . -path '*/.saros*/*'"):format(root))
  end
  return setmetatable(d, { __close = function()
    os.execute("rm -rf --one-file-system " .. root)
  end })
end

--- A writer that notes its events in `log` (which it returns, too) before it
--- does what `more` says.
function shared.writer(n, more, log)
  log = log or {}
  local o = { id = shared.id(n), name = "app" .. n }
  for name, item in pairs(more or {}) do o[name] = item end
  for _, name in ipairs(shared.events) do
    local f = o[name]
    o[name] = function(e)
      log[#log + 1] = (more and more.tag or "") .. name
      if f then return f(e) end
    end
  end
  o.tag = nil
  return vss.writer(o), log
end

--- A session with a set of one path, ready for do_snapshot_set.
function shared.ready(d, options)
  options = options or {}
  options.state_dir = d.state
  local s = vss.components(options)
  s:initialize_for_backup()
  s:set_backup_state { type = "copy" }
  assert(s:gather_writer_metadata():wait())
  s:start_snapshot_set()
  local id = s:add_to_snapshot_set(d.a, "copy")
  assert(s:prepare_for_backup():wait())
  return s, id
end

--- The same as the beginning of a script of its own: `s` has taken its set.
function shared.script(d)
  return ([[
    saros = require "saros"
    s = saros.vss.components { state_dir = %q }
    s:initialize_for_backup()
    s:set_backup_state { type = "copy" }
    assert(s:gather_writer_metadata():wait())
    s:start_snapshot_set()
    id = s:add_to_snapshot_set(%q, "copy")
    assert(s:prepare_for_backup():wait())
    assert(s:do_snapshot_set():wait())
  ]]):format(d.state, d.a)
end

--- Turns the loop until `f` says yes: the spec's own deadline ends it else.
function shared.until_true(f)
  while not f() do saros.sleep(0.005):wait() end
end

return shared
