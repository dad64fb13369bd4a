--- What the specs of the SQLite writer share.

local outside = require "spec.outside"
local shared = require "spec.vss"

local vss = shared.vss
local case = {}

--- A shadow of a directory's `a`.
function case.shadow(d, more)
  local o = { paths = { d.a }, provider = "copy", state_dir = d.state }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss.shadow(o)
end

--- One that is told when the databases are held still.
function case.witness(freeze)
  return vss.writer { id = shared.id(9), name = "witness", level = "system",
    freeze = freeze }
end

--- Somebody else who writes, now or not at all.
function case.insert(path, seconds)
  local r = outside.run(outside.lua, "-e", ([[
    local sqlite = require "saros.client.sqlite"
    local db <close> = sqlite.open { path = %q, busy_timeout = %g }
    local ok, err = db:exec "INSERT INTO t (x) VALUES (1)":wait()
    print(ok and "written" or err.name)]]):format(path, seconds))
  return (r:gsub("\n$", ""))
end

return case
