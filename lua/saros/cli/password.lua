---@private
-- The password file that saros makes itself when nobody has one.

local core = require "saros.core"

local password = {}

--- The directory of the configuration: the machine's for root, else the user's.
function password.directory()
  local given = os.getenv "XDG_CONFIG_HOME"
  local home = os.getenv "HOME"
  if require "saros.cli.user".is_root() then return "/etc/saros" end
  if given and given:sub(1, 1) == "/" then return given .. "/saros" end
  return (home or "") .. "/.config/saros"
end

function password.file() return password.directory() .. "/password" end

-- 32 letters of 32: 160 bits.
local function random()
  local file <close> = assert(io.open("/dev/urandom", "rb"))
  local bytes = file:read(32)
  assert(bytes and #bytes == 32, "/dev/urandom gave too little")
  local letters = "abcdefghijkmnpqrstuvwxyz23456789"
  return (bytes:gsub(".", function(b)
    local at = b:byte() % 32 + 1
    return letters:sub(at, at)
  end))
end

-- Makes the directories above a file that are not there.
local function make_directories(path)
  local missing = {}
  local folder = path:match "^(.*)/[^/]*$"
  while folder and folder ~= "" do
    local is = assert(core.entries { { "follow", folder } }:wait())[1]
    if is then break end
    table.insert(missing, 1, { "make", folder })
    folder = folder:match "^(.*)/[^/]*$"
  end
  if #missing > 0 then assert(core.entries(missing):wait()) end
end

password.make_directories = make_directories

--- Makes one, where there must be none: its path.
function password.make(path)
  make_directories(path)
  assert(core.entries { { "store", path, random() .. "\n" } }:wait())
  return path
end

return password
