--- What the specs of drills share: an application of their own, whose server is
--- a shell script, and versions of it with whatever a spec wants to go wrong.

local catalogue = require "saros.wsb.catalogue"
local outside = require "spec.outside"
local repository = require "spec.repository"

local saros = require "saros"
local core = require "saros.core"
local kind = require "saros.writers.kind"

local shared = { id = "5a705000-0000-4000-8000-0000000d1177" }

-- What the files say is done: "fail check" and the like.
local function asked(c, place, step)
  local file <close> = assert(io.open(assert(place:at(c.files[1] .. "/data"))))
  local text = file:read "a"
  if text:find("fail " .. step, 1, true) then
    local failure = core.failure("wsb",
      saros.code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED,
      "the data say fail " .. step)
    failure.problems = { "one", "two" }
    failure.untried = text:find("untried", 1, true) ~= nil or nil
    return nil, failure
  elseif text:find("hang in " .. step, 1, true) then
    saros.sleep(1000):wait()
  end
  return true
end

--- The word that its processes have on their command line.
shared.word = ("1000.%d"):format(os.getenv "SAROS_DRILL_WORD"
  or math.random(0) >> 2)

local SERVER <const> = [[mkdir -p run; sleep %s & echo >run/ready; wait]]

local function start(c, place, apart)
  local ok, err = asked(c, place, "start")
  if not ok then return nil, err end
  local op = apart.run { argv = { "sh", "-c", SERVER:format(shared.word) } }
  local guard <close> = setmetatable({}, { __close = function(self)
    if not self.done then op:close() end
  end })
  core.report { phase = "starting" }
  while not place:at "/run/ready" do
    saros.sleep(0.002):wait()
    assert(not op:done(), "the server ended")
  end
  guard.done = true
  return {
    db = { file = place:at(c.files[1] .. "/data"), place = place,
      server = op },
    dump = function(what)
      return { argv = { "cat", c.files[1]:sub(2) .. "/" .. what.table } }
    end,
    close = function() op:close() end,
  }
end

kind.define { name = "drilled", id = shared.id, start = start,
  settle = function(c, place) return asked(c, place, "settle") end,
  check = function(c, place) return asked(c, place, "check") end }

--- Numbers of its processes.
function shared.running()
  local pipe <close> = assert(io.popen "ls /proc")
  local found = {}
  for pid in pipe:read "a":gmatch "%d+" do
    local line = outside.content("/proc/" .. pid .. "/cmdline")
    if line and line:find(shared.word, 1, true) then
      found[#found + 1] = pid
    end
  end
  return found
end

local GUID <const> = "00000000-0000-4000-8000-%012x"
local number = 0

--- Stores a version by hand: `sources` as repo:backup has them, `components` as
--- a manifest has them, of which what is left out is filled in. Its id, and its
--- guid.
function shared.store(p, sources, components)
  number = number + 1
  local guid, paths = GUID:format(number), {}
  for n, c in ipairs(components) do
    local whole = { n = n, logical_path = "", recoverable = true,
      consistency = "application" }
    for field, item in pairs(c) do whole[field] = item end
    components[n] = whole
  end
  for i, source in ipairs(sources) do
    paths[i] = source.origin and source.origin.path or source.path
  end
  assert(os.execute(("mkdir -p '%s/saros'"):format(p.root)))
  outside.write(p.root .. "/saros/manifest.json", core.json_write {
    saros = 1, id = guid, created = "2026-01-01T00:00:00Z", host = "spec",
    type = "copy", consistency = "application", paths = paths,
    components = components })
  local all = table.move(sources, 1, #sources, 1, {})
  all[#all + 1] = { path = p.root .. "/saros", origin = { path = "/.saros" } }
  return assert(p.repo:backup { sources = all, force = true,
    tags = { "saros", "saros-id:" .. guid } }:wait()).id, guid
end

--- The same with a component of ours for each of `texts` (by name: what is in
--- its file `data`).
function shared.version(p, texts, more)
  local names, components = {}, {}
  for name in pairs(texts) do names[#names + 1] = name end
  table.sort(names)
  for n, name in ipairs(names) do
    p.put(name .. "/data", texts[name])
    p.put(name .. "/orders", "orders of " .. name .. "\n")
    local c = { kind = "drilled", name = name,
      writer = { id = shared.id, instance = GUID:format(n), name = "spec" },
      files = { "/srv/drilled/" .. name } }
    for field, item in pairs(more or {}) do c[field] = item end
    components[n] = c
  end
  os.execute(("chown -R 65534:65534 '%s'"):format(p.src))
  return shared.store(p, { { path = p.src,
    origin = { path = "/srv/drilled" } } }, components)
end

local SCRIPT <const> = [[
  package.path, package.cpath = %q, %q
  local core = require "saros.core"
  local report = core.report
  core.report = function(t)
    if t.phase then print("phase " .. t.phase) io.stdout:flush() end
    return report(t)
  end
  local repository = require "saros.repository"
  local saros = require "saros"
  require "spec.drill"
  local repo = assert(repository.open { location = %q, password = %q,
    durable = false, no_lock = true })
  print(saros.drill { repository = repo, scratch = %q, verify = function()
    core.report { phase = "verifying" }
    saros.sleep(1000):wait()
  end }:wait())]]

--- A drill in a process of its own, which says each "phase " as it begins, and
--- stays in "verifying".
function shared.elsewhere(p)
  return outside.start("env", "SAROS_DRILL_WORD=" .. shared.word:match "%d+$",
    outside.lua, "-e", SCRIPT:format(outside.lua_path, outside.lua_cpath,
      p.root .. "/r", repository.PASSWORD, p.scratch))
end

--- A repository and a scratch directory: `f(p)`, with p.scratch.
function shared.with(f)
  return repository.with(function(p)
    p.scratch = p.root .. "/scratch"
    assert(os.execute(("chmod 755 '%s' && mkdir -m 755 '%s'"):format(p.root,
      p.scratch)))
    --- What is in the scratch directory, and which processes are there.
    function p.left()
      local pipe <close> = assert(io.popen("ls -A '" .. p.scratch .. "'"))
      return pipe:read "a" .. table.concat(shared.running(), " ")
    end
    return f(p)
  end, { no_lock = true }) -- a lock is settled for a while; nobody prunes here
end

--- A drill of the last version.
function shared.drill(p, more)
  local o = { repository = p.repo, scratch = p.scratch }
  for name, item in pairs(more or {}) do o[name] = item end
  return saros.drill(o)
end

--- Of the version's only component: what the catalogue has, as another program
--- would read it.
function shared.known(p, version)
  return catalogue.read(p.repo, version).components[1]
end

--- A drill that fails: its error, and what the program was warned of.
function shared.failing(p, more)
  local err
  local said = require "spec.helper".warnings(function()
    local ok
    ok, err = shared.drill(p, more):wait()
    assert(ok == nil, "it passed")
  end)
  assert(p.left() == "", "it left something: " .. p.left())
  return err, type(said) == "table" and table.concat(said, "\n")
    or tostring(said)
end

return shared
