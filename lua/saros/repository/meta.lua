---@meta saros.repository
-- What is written in C (csrc/lua/repository), for the language server and the
-- reference. Never required.

---@class saros.repository.handle
local handle = {}

--- Where it is, as it was given, without secrets.
---@return string
function handle:location() end

--- Lets go of it: nothing can be asked of it any more. What was asked already
--- goes on. Also `__close`.
---@return boolean closed
function handle:close() end
