---@private
-- What was typed before, in a file that only its owner may read. What begins
-- with a blank, or speaks of a password, is remembered by the session and not
-- by the file.

local core = require "saros.core"

local history = {}
history.__index = history

local MOST <const> = 2000 -- lines that are kept

local function written(line)
  return (line:gsub("[\\\n\r]", { ["\\"] = "\\\\", ["\n"] = "\\n",
    ["\r"] = "\\r" }))
end

local function meant(line)
  return (line:gsub("\\(.)", { n = "\n", r = "\r", ["\\"] = "\\" }))
end

local function is_secret(line)
  local text = line:lower()
  return line:find "^%s" ~= nil or text:find("password", 1, true) ~= nil
    or text:find("passphrase", 1, true) ~= nil
    or text:find("secret", 1, true) ~= nil
    -- Of an address: postgres://user:word@host
    or text:find "://[^/%s]*:[^/%s]*@" ~= nil
end

-- The newest of a file that has become long, in its place.
local function shorten(self)
  local path = self.path .. ".new"
  os.remove(path)
  local file <close> = core.private_file(path)
  if not file then return end
  for _, line in ipairs(self.lines) do file:write(written(line), "\n") end
  if file:flush() then os.rename(path, self.path) end
end

--- Reads it. Without a directory nothing is kept.
---@param path? string
function history.open(path)
  local self = setmetatable({ lines = {}, path = path }, history)
  local file <close> = path and io.open(path)
  if not file then return self end
  local count = 0
  for line in file:lines() do
    count = count + 1
    self.lines[#self.lines + 1] = meant(line)
  end
  if count > MOST then
    self.lines = table.move(self.lines, count - MOST + 1, count, 1, {})
    if count > MOST + MOST // 2 then shorten(self) end
  end
  return self
end

--- One more.
function history:add(line)
  if not line:find "%S" or line == self.lines[#self.lines] then return end
  self.lines[#self.lines + 1] = line
  if not self.path or is_secret(line) then return end
  local file <close> = core.private_file(self.path) or io.open(self.path, "a")
  if file then file:write(written(line), "\n") end
end

return history
