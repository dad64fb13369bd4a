--- What the specs of Redis share: a server that is started on a shadow, as a
--- drill does it.

local helper = require "spec.helper"
local kind = require "saros.writers.kind"
local place = require "saros.place"

local case = {}

--- What the writer has said of its first component: its name, and that.
function case.component(set, w)
  local said = set:said(w.instance).components
  local name = next(said)
  return name, said[name]
end

--- Starts a server on a copy of the shadow of this server's data, and calls
--- f(db, running).
function case.on_copy(set, w, r, f)
  local name, said = case.component(set, w)
  local c = { name = name, type = "database", files = { r.data }, said = said }
  local k = assert(kind.of "redis")
  return helper.task(function()
    local p <close> = place.of_shadow { paths = c.files,
      at = function(path) return set[r.data].path .. path:sub(#r.data + 1) end }
    for _, one in ipairs(said.additions or {}) do
      assert(os.execute(("cp -a '%s/.' '%s'"):format(one.path, p:at(one.to))))
    end
    assert(k.settle(c, p))
    local running <close> = assert(k.start(c, p))
    return f(running.db, running)
  end)
end

--- The answer itself, which may be nil.
function case.get(db, ...)
  local op = db:command(...)
  assert(op:wait())
  return (op:result())
end

return case
