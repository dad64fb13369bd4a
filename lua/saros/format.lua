---@private
-- What is kept outlives the program that wrote it: each form of it has a version,
-- a whole number, and says which program wrote it. A newer program reads what an
-- older one wrote; an older one refuses what it does not know, says who wrote
-- that, and leaves it as it is.

local core = require "saros.core"
local E = require "saros.code"
local shown = require "saros.text"

local format = {
  program = "saros scm",
  -- Of what is in a repository.
  manifest = 1, late = 1, learned = 1, prune_owner = 1,
  -- Of a recovery that is under way.
  exchange = 1,
  -- Of what somebody was told, and of a run's record.
  told = 1, record = 1,
}

--- The table with its version, and who wrote it.
function format.stamp(t, version)
  t.saros, t.program = version, format.program
  return t
end

--- Nil when it says no version above `known`; else an error that says who wrote
--- it. `what`: "the manifest of version X".
function format.newer(what, t, known)
  local version <const> = type(t) == "table" and t.saros
  if math.type(version) ~= "integer" or version <= known then return nil end
  local program = type(t.program) == "string" and #t.program <= 60
    and (" (%s)"):format(shown.safe(t.program)) or ""
  return core.failure("saros", E.SAROS_E_REFUSED, ("%s was written by a newer "
    .. "saros%s: its version is %d, and this one (%s) knows %d. Use that "
    .. "program; nothing of it was changed"):format(what, program, version,
    format.program, known))
end

return format
