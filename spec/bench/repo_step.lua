-- One step of a backup's life, in a process of its own; repository.lua starts
-- it.   lua5.4 spec/bench/repo_step.lua STEP REPOSITORY [DIRECTORY]

local repository = require "saros.repository"

local step, location, path = table.unpack(arg)
local options = { location = location, password = { text = "bench" } }

local steps = {}

-- What every step begins with: the key, and a lock. There is nothing to check.
function steps.open(repo) assert(repo:check {}:wait()) end

function steps.backup(repo)
  local r = assert(repo:backup { paths = { path } }:wait())
  assert(#r.errors == 0, "not all could be read")
end

function steps.restore(repo)
  local r = assert(repo:restore { target = path }:wait())
  assert(#r.errors == 0, "not all could be restored")
end

function steps.check(repo)
  local r = assert(repo:check { read_data = true }:wait())
  assert(r.damaged == nil or r.damaged == 0, "it is damaged")
end

if step == "init" then
  repository.init(options):close()
else
  local repo <close> = repository.open(options)
  steps[step](repo)
end
