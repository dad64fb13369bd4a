---@private
local core = require "saros.core"
local place = require "saros.cli.place"
local shown = require "saros.text"

local TEXT <const> = [==[
-- The configuration of saros: 'saros help configuration' says what may stand
-- here. It is Lua, and can do nothing but say what shall be.

-- Where versions are kept: a directory, "s3:https://host/bucket/prefix" or
-- "rest:https://host:8000/". --repo says another one.
%s

-- Who knows the password. Keep a copy of it elsewhere: without it nobody can
-- read the backups. Also { command = "…" } and { env = "NAME" }.
%s

-- What 'saros run nightly' does. Each step is optional but the sources.
-- workflow "nightly" {
--   sources = { "/etc", "/home", "/srv" },
--   exclude = { "*.tmp", "/home/*/.cache" },
--   to = { repository, "/mnt/second" },
--   -- Databases hold still for the shadow copy, and are checked on it.
--   -- writers = {
--   --   postgres = { conninfo = "host=/run/postgresql user=backup" },
--   --   sqlite = { databases = { "/srv/app/app.db" } },
--   -- },
--   keep = { daily = 7, weekly = 5, monthly = 12 },
--   prune = "weekly",
--   verify = "5%%",
--   drill = "weekly",
-- }

-- Who is told of what failed, or is late.
-- notify = { mail = "root" }
-- max_age = "26h"

-- For the node exporter of Prometheus.
-- metrics = "/var/lib/prometheus/node-exporter/saros.prom"
]==]

local function line(name, value, otherwise)
  if value == nil then return "-- " .. name .. " = " .. otherwise end
  return name .. " = " .. value
end

local function text_of(location, password)
  local said
  if password and password.file then
    said = ("{ file = %q }"):format(place.absolute(password.file))
  elseif password and type(password.command) == "string" then
    said = ("{ command = %q }"):format(password.command)
  end
  return TEXT:format(
    line("repository", location and ("%q"):format(location), '"/mnt/backup"'),
    line("password", said, '{ file = "/etc/saros/password" }'))
end

-- True: from now on it says all that.
local function write(c, location, password)
  local path = c.options.config or require "saros.cli.config".places()[1]
  local there = assert(core.entries { { "look", path } }:wait())[1]
  if there then
    c:say(shown.safe(path), " is there, and stays as it is")
    return false
  end
  local files = require "saros.cli.password"
  files.make_directories(path)
  assert(core.entries { { "store", path, text_of(location, password) } }:wait())
  c:emit("configuration", { path = path })
  c:say("wrote ", shown.safe(path))
  return true
end

-- What has to be said where no configuration does.
local function said_of(c, location, password)
  local repositories = require "saros.cli.repository"
  local words = { "--repo", repositories.without_secret(location) }
  local function add(name, value)
    words[#words + 1], words[#words + 2] = name, value
  end
  if password and password.file then
    add("--password-file", place.absolute(password.file))
  elseif password and type(password.command) == "string" then
    add("--password-command", password.command)
  end
  if c.options.cacert then add("--cacert", place.absolute(c.options.cacert)) end
  return words
end

-- Where it is from anywhere.
local function settled(location)
  if location:find "^%a%w+:" then return location end
  return place.absolute(location)
end

local function run(c)
  local o = c.options
  if o.print then
    c:write(text_of(o.repo and settled(o.repo)))
    return
  end
  local location, password
  if o.repo then
    o.repo = settled(o.repo)
    local repo, where, who = require "saros.cli.repository".make(c)
    repo:close()
    location, password = where, who
  end
  local wrote = not o.no_config and write(c, location, password)
  c:emit("summary", { location = location
    and require "saros.cli.repository".shown(location) })
  if location then
    c:say ""
    local more = not wrote and said_of(c, location, password)
      or o.config and { "--config", o.config } or {}
    c:say "Now:"
    c:say_command("saros", "backup", "/etc", table.unpack(more))
  end
end

return {
  name = "init",
  usage = "[--repo LOCATION] [options]",
  help = [[
Writes a configuration with comments, if there is none: of the machine for root
(/etc/saros/config.lua), else of the user (~/.config/saros/config.lua). With
--repo it makes a repository there, and a password file beside the configuration
where no other is named. From then on neither needs to be said.

A repository is made in a directory that is empty or not there, below one that
is.]],
  examples = {
    { "saros init --repo /mnt/x",
      "a repository, its password, and a configuration that names both" },
    { "saros init", "only the configuration" },
    { "saros init --repo s3:https://s3.example.org/b --no-config -p ~/pw",
      "only the repository" },
  },
  options = {
    { "no-config", help = "write no configuration" },
    { "print", help = "write it to the output, and make nothing" },
  },
  arguments = { max = 0 },
  repository = true,
  configures = true, -- what is not there yet is made
  run = run,
}
