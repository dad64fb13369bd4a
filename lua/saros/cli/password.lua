---@private
-- The password files that saros makes itself when nobody has one, and its notes
-- of where repositories were made: who finds nothing at such a place has a disk
-- that is not mounted, and wants no new one.

local core = require "saros.core"
local place = require "saros.cli.place"

local password = {}

--- The directory of the configuration: the machine's for root, else the user's.
function password.directory()
  local given = os.getenv "XDG_CONFIG_HOME"
  local home = os.getenv "HOME"
  if given and given:sub(1, 1) == "/" then return given .. "/saros" end
  if require "saros.cli.user".is_root() then return "/etc/saros" end
  return (home or "") .. "/.config/saros"
end

-- A name that says where it is, and is of no other place.
local function slug(location)
  if not location:find "^%a%w+:" then
    location = place.absolute(location)
    location = (location .. "/"):gsub("/%./", "/"):gsub("//+", "/")
      :gsub("(.)/$", "%1")
  end
  local hash = require "saros.text".hash(location)
  local text = location:gsub("//[^/@]*@", "//"):gsub("[^%w]+", "-")
    :gsub("^%-", ""):sub(-40)
  return text .. "-" .. hash:sub(-8)
end

local function path_of(location, ending)
  return ("%s/repositories/%s.%s"):format(password.directory(),
    slug(location), ending)
end

--- Where that of a repository is, if saros has made it.
function password.file(location) return path_of(location, "password") end

--- What tells that there was a repository; nil: nothing does.
function password.note(location)
  for _, ending in ipairs { "password", "known" } do
    local path = path_of(location, ending)
    local is = core.entries { { "look", path } }:wait()
    if is and is[1] then return path end
  end
end

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
function password.make(location)
  local path = password.file(location)
  make_directories(path)
  assert(core.entries { { "store", path, random() .. "\n" } }:wait())
  return path
end

--- Notes that there is a repository with somebody's own password. It does not
--- matter when that cannot be written.
function password.know(location)
  if location:find "^%a%w+:" or password.note(location) then return end
  local path = path_of(location, "known")
  local good, err = pcall(function()
    make_directories(path)
    assert(core.entries { { "store", path, "a repository that saros has "
      .. "written to; without this file it takes the place for a new one\n" }
      }:wait())
  end)
  if not good and type(err) == "table" and err.cancelled then error(err, 0) end
end

return password
