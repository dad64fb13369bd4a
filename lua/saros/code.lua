--- Result codes: numbers as unsigned 32-bit integers, by name; and their
--- names, per facade, because VSS and VDS gave the same numbers to different
--- things.
---
--- ```lua
--- saros.code.VSS_S_ASYNC_PENDING          --> 0x00042309
--- saros.code.name("vss", 0x80042409)      --> "VSS_E_WRITER_STATUS_NOT_AVAILABLE"
--- saros.code.name("vds", 0x80042409)      --> "VDS_E_OPERATION_PENDING"
--- ```

local core = require "saros.core"

---@class saros.code
---@field [string] integer the number of a code, by its name
local code = {}

--- The name of a code as a facade has it, and a sentence about it.
---@param facade "saros"|"vss"|"wsb"|"vds"|"bits"
---@param number integer
---@return string name `"0x80041234"` when the facade has none
---@return string? text what it means
function code.name(facade, number)
  return core.code_name(facade, number)
end

--- Whether bit 31 is set. No test for "ended": VDS's pending code is a
--- failure code, VSS's cancelled code a success code.
---@param number integer
---@return boolean
function code.failed(number)
  return number & 0x80000000 ~= 0
end

return setmetatable(code, {
  __index = function(_, name)
    if type(name) ~= "string" then return nil end
    local number = core.code_value(name)
    if not number and name:find "^%u[%u%d]*_" then
      error(("there is no result code '%s'"):format(name), 2)
    end
    return number
  end,
})
