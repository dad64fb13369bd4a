---@private
-- Where a MariaDB server has its files: what it says, and what it does not say
-- but is found there (links, tablespaces elsewhere).

local core = require "saros.core"
local E = require "saros.code"

local layout = {}

-- By what a start on a copy has to know.
local settings <const> = { "innodb_page_size", "innodb_data_file_path",
  "innodb_undo_tablespaces", "lower_case_table_names", "innodb_log_file_size",
  "aria_log_file_size" }
local encryption <const> = { "innodb_encrypt_tables", "innodb_encrypt_log",
  "aria_encrypt_tables", "encrypt_binlog" }
local places <const> = { "datadir", "innodb_data_home_dir",
  "innodb_log_group_home_dir", "innodb_undo_directory", "aria_log_dir_path",
  "log_bin_basename", "pid_file" }

local function asked()
  local names = {}
  for _, list in ipairs { settings, encryption, places } do
    for _, name in ipairs(list) do names[#names + 1] = ("'%s'"):format(name) end
  end
  return "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("
    .. table.concat(names, ", ") .. ")"
end

layout.sql = asked()

--- Tables that are encrypted one by one (ENCRYPTED = YES), which no variable says;
--- for who has PROCESS, and otherwise those that the account may look at.
layout.encrypted_sql = { [[SELECT NAME AS name
  FROM information_schema.INNODB_TABLESPACES_ENCRYPTION
  WHERE ENCRYPTION_SCHEME <> 0 LIMIT 1]],
  [[SELECT concat(TABLE_SCHEMA, '/', TABLE_NAME) AS name
  FROM information_schema.TABLES
  WHERE CREATE_OPTIONS REGEXP "ENCRYPTED`?='?YES" LIMIT 1]] }

--- A program, to its end: what it printed. Raises.
function layout.run(...)
  local op <close> = core.process { argv = { ... }, limit = 64 << 20 }
  local result, err = op:wait()
  if not result then error(err, 0) end
  return result.stdout
end

--- How many tables are defined in a data directory, of whatever engine: a table
--- without its definition is one that the server has never heard of. Raises.
function layout.definitions(datadir)
  return #layout.run("find", datadir .. "/", "-mindepth", "2", "-maxdepth", "2",
    "-name", "*.frm", "!", "-name", "#sql*", "-printf", ".")
end

local function content(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

-- As it is compared: absolute, without "/./" and without "/" at the end.
local function clean(path, from)
  if path == "" then return from end
  if path:sub(1, 1) ~= "/" then path = from .. "/" .. path end
  path = path:gsub("/+", "/"):gsub("/%./", "/"):gsub("/%.$", "")
  return #path > 1 and path:gsub("/$", "") or path
end

-- Where it really is: as whoever lays it elsewhere knows it.
local function real(path)
  local op <close> = core.real_paths { path }
  local found, err = op:wait()
  if not found then error(err, 0) end
  return found[1]
end

local function is_below(path, directory)
  return (path .. "/"):sub(1, #directory + 1) == directory .. "/"
end

-- The files of the system tablespace that lie somewhere of their own.
local function system_files(text)
  local list = {}
  for one in text:gmatch "[^;]+" do
    local path = one:match "^[^:]+"
    if path and path:sub(1, 1) == "/" then list[#list + 1] = path end
  end
  return list
end

-- What in the data directory leads out of it, and what is mounted there.
local function look_into(datadir)
  local ok, text = pcall(layout.run, "find", datadir .. "/", "-maxdepth", "2",
    "(", "-type", "l", "-printf", "l %l\t%p\\0", ")", "-o", "(", "-name",
    "*.isl", "-printf", "i %p\\0", ")", "-o", "(", "-maxdepth", "2", "-type",
    "d", "-printf", "d %D\t%p\\0", ")")
  if not ok then
    if type(text) == "table" and text.cancelled then error(text, 0) end
    error(core.failure("saros", E.E_ACCESSDENIED, ("the data directory %s "
      .. "cannot be looked at from here: %s"):format(datadir,
        type(text) == "table" and text.message or tostring(text))), 0)
  end
  local elsewhere, mounted, device = {}, {}, nil
  for what, rest in text:gmatch "(%a) ([^\0]*)\0" do
    local word, path = rest:match "^(.*)\t(.*)$"
    if what == "d" then
      device = device or word -- the directory itself comes first
      if word ~= device then mounted[#mounted + 1] = clean(path, datadir) end
    elseif what == "l" then
      elsewhere[#elsewhere + 1] = clean(word, path:match "^(.*)/")
    else
      local to = content(rest)
      if to then
        elsewhere[#elsewhere + 1] = clean(to:match "^[^\r\n]*", datadir)
      end
    end
  end
  return elsewhere, mounted
end

-- Those outside, each once, and none that lies in another.
local function outermost(list, datadir)
  local kept = {}
  table.sort(list)
  for _, path in ipairs(list) do
    local inside = is_below(path, datadir)
    for _, one in ipairs(kept) do inside = inside or is_below(path, one) end
    if not inside then kept[#kept + 1] = path end
  end
  return kept
end

-- The option files it was started with; the usual ones, if it does not say.
local function config_of(pid_file)
  local pid = (content(pid_file) or ""):match "^%d+"
  local line = pid and content(("/proc/%s/cmdline"):format(pid)) or ""
  local list = { "/etc/mysql", "/etc/my.cnf", "/etc/my.cnf.d" }
  local first = line:match "^[^\0]*\0([^\0]*)" or ""
  if first == "--no-defaults" then return {} end
  local own = first:match "^%-%-defaults%-file=(/.*)"
  if own then list = { own } end
  local there = {}
  for _, path in ipairs(list) do
    local file <close> = io.open(path)
    if file then there[#there + 1] = path end
  end
  return there
end

---@class saros.writers.mariadb.layout
---@field datadir string
---@field name string as it is called
---@field outside string[] what else InnoDB and Aria need of one instant with it
---@field mounted string[] directories in it that are other file systems
---@field binlogs string? the directory of the binary logs, if that is another one
---@field config string[]
---@field server string
---@field settings table<string, string>

--- What the variables say, and the data directory.
---@param found table<string, string>
---@param version string
---@return saros.writers.mariadb.layout
function layout.of(found, version)
  local datadir = real(clean(found.datadir or "", "/"))
  local at = { datadir = datadir,
    name = clean(found.datadir or "", "/"):match "[^/]*$",
    server = "MariaDB " .. (version:match "^[%d.]+" or version),
    settings = { datadir = datadir } }
  for _, name in ipairs(settings) do at.settings[name] = found[name] end
  for _, name in ipairs(encryption) do
    if found[name] and found[name] ~= "OFF" and found[name] ~= "0" then
      at.settings.encrypted = name
    end
  end
  local elsewhere, mounted = look_into(datadir)
  at.mounted = mounted
  if #elsewhere > 0 then at.settings.links = "yes" end
  for _, name in ipairs { "innodb_data_home_dir", "innodb_log_group_home_dir",
    "innodb_undo_directory", "aria_log_dir_path" }
  do
    local path = real(clean(found[name] or "", datadir))
    if path ~= datadir then
      elsewhere[#elsewhere + 1], at.settings[name] = path, path
    end
  end
  for _, path in ipairs(system_files(found.innodb_data_file_path or "")) do
    elsewhere[#elsewhere + 1] = path
  end
  at.outside = outermost(elsewhere, datadir)
  local log = found.log_bin_basename or ""
  if log ~= "" then
    local directory = real(clean(log:match "^(.*)/" or "", datadir))
    at.settings.log_bin = directory .. "/" .. log:match "[^/]*$"
    if not is_below(directory, datadir) then at.binlogs = directory end
  end
  at.config = config_of(clean(found.pid_file or "", datadir))
  return at
end

--- What must be of one instant: nothing of it may be missing.
function layout.needed(at)
  local list = { at.datadir }
  table.move(at.outside, 1, #at.outside, #list + 1, list)
  return table.move(at.mounted, 1, #at.mounted, #list + 1, list)
end

--- The data; and what belongs to the server but not to a start on them.
function layout.components(at, name, config)
  local files = table.move(at.outside, 1, #at.outside, 2, { at.datadir })
  local list = { { type = "database", name = name, files = files } }
  if at.binlogs then
    list[#list + 1] = { type = "filegroup", name = name .. "-binlogs",
      files = { at.binlogs } }
  end
  config = config or at.config
  if #config > 0 then
    list[#list + 1] = { type = "filegroup", name = name .. "-config",
      files = config }
  end
  return list
end

--- The file systems of these paths, by their numbers.
function layout.devices(paths)
  local list = {}
  for first = 1, #paths, 500 do
    local text = layout.run("stat", "-c", "%d", "--",
      table.unpack(paths, first, math.min(first + 499, #paths)))
    for number in text:gmatch "%d+" do list[#list + 1] = number end
  end
  return list
end

return layout
