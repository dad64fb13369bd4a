---@private
-- Where the program was started.

local place = {}

local here

--- The current directory, by the name that the shell has for it if that is one.
function place.here()
  if here then return here end
  local core = require "saros.core"
  local pwd = os.getenv "PWD"
  if pwd and pwd:sub(1, 1) == "/" and not (pwd .. "/"):find "/%.%.?/" then
    local is = core.entries { { "follow", pwd }, { "follow", "." } }:wait()
    if is and is[1] and is[2] and is[1].id == is[2].id then
      here = pwd
      return here
    end
  end
  here = assert(core.entries { { "look", "/proc/self/cwd" } }:wait())[1].target
  return here
end

--- A path from the root, by its text. An empty one would be the directory that
--- one is in.
function place.absolute(path)
  if path == "" then
    error(require "saros.cli.errors".ending(2, "a path is empty: of a variable "
      .. "that is not set, perhaps"), 0)
  end
  if path:sub(1, 1) == "/" then return path end
  local from = place.here()
  if path == "." then return from end
  return (from == "/" and "" or from) .. "/" .. path:gsub("^%./+", "")
end

return place
