--- What the specs of the repository share: one that is made for a spec, with
--- something to back up beside it, and is gone afterwards.

local outside = require "spec.outside"

local there, repository = pcall(require, "saros.repository")

local shared = { repository = there and repository or nil,
  missing = not there and "saros.repository was left out of this build: "
    .. tostring(repository):match "^[^\n]*" or nil }

shared.PASSWORD = "correct horse battery"

-- Empty ones by their passwords; each is another repository.
local cheap = { x = "x", y = "y", [shared.PASSWORD] = "long",
  ["Xq7-vault-9f3e-Zk2"] = "secret" }

-- PUTs its files.
local PUT = [[
import os, sys, urllib.request as u
opener = u.build_opener(u.ProxyHandler({}))
to, root = sys.argv[1:]
for name in ["keys/" + k for k in os.listdir(root + "/keys")] + ["config"]:
    with open(root + "/" + name, "rb") as f:
        opener.open(u.Request(to + name, f.read(), method="PUT")).read()
]]

--- An empty repository whose key costs nothing, for specs that are not about
--- keys: one as it should be takes half a second each time it is made or
--- opened, on purpose. In a directory that does not exist yet:
function shared.cheap_at(location, password)
  assert(os.execute(("cd 'spec/fixtures/cheap/%s' && umask 077 && mkdir -p "
    .. "'%s/data' '%s/index' '%s/locks' '%s/snapshots' && cp -R config keys "
    .. "'%s' && chmod -R go= '%s'"):format(cheap[password], location, location,
    location, location, location, location)))
end

--- On a server of a spec's, below a URL that ends with a slash.
function shared.cheap_put(to, password)
  local said, how, status = outside.run("python3", "-c", PUT, to,
    "spec/fixtures/cheap/" .. cheap[password])
  assert(how == "exit" and status == 0, said)
end

--- In a directory, opened with these options.
function shared.cheap(options)
  shared.cheap_at(options.location, options.password)
  return repository.open(options)
end

--- A directory with `src` in it and an open repository: `f(p)`, where p has
--- `root`, `src`, `repo`, and put(name, text), which writes below src.
function shared.with(f, options)
  return outside.directory(function(root)
    local o = { location = root .. "/r", password = shared.PASSWORD,
      durable = false }
    for name, item in pairs(options or {}) do o[name] = item end
    assert(os.execute(("mkdir '%s/src'"):format(root)))
    local p = { root = root, src = root .. "/src" }
    function p.put(name, text)
      local folder = name:match "^(.*)/"
      if folder then
        assert(os.execute(("mkdir -p '%s/%s'"):format(p.src, folder)))
      end
      outside.write(p.src .. "/" .. name, text)
    end
    local repo <close> = shared.cheap(o)
    p.repo = repo
    return f(p)
  end)
end

--- A few files: three of them, of which one is large.
function shared.fill(p)
  p.put("a", "one")
  p.put("d/b", "two two")
  local bytes = {}
  for i = 1, 300000 do bytes[i] = string.pack("<I4", i * 2654435761 & 0xFFFFFFFF) end
  p.put("large", table.concat(bytes))
end

--- The paths of nodes, without what comes before `from`, in one text.
function shared.names(items, from)
  local names = {}
  for _, item in ipairs(items) do
    local path = item.path
    if from and path:sub(1, #from) == from then
      names[#names + 1] = path:sub(#from + 2)
    elseif not from then
      names[#names + 1] = path
    end
  end
  table.sort(names)
  return (table.concat(names, " "):gsub("^ ", ""))
end

--- What f raises.
function shared.raised(f)
  local ok, err = pcall(f)
  if ok then error("nothing was raised", 2) end
  return err
end

return shared
