--- What the specs of the repository share: one that is made for a spec, with
--- something to back up beside it, and is gone afterwards.

local outside = require "spec.outside"

local there, repository = pcall(require, "saros.repository")

local shared = { repository = there and repository or nil,
  missing = not there and "saros.repository was left out of this build: "
    .. tostring(repository):match "^[^\n]*" or nil }

shared.PASSWORD = "correct horse battery"

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
    local repo <close> = repository.init(o)
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
