--- What the specs of the workflow share: two repositories whose keys cost
--- nothing, a state of their own, something to back up.

local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"
local app = require "spec.backup_app"

local saros = helper.saros
local case = { saros = saros, app = app, outside = outside, shared = shared }

--- Why none of it can be had here, or nil.
case.missing = app.missing

--- f(t): t.root, t.data (with a file in it), t.state, t.a and t.b (locations),
--- t.workflow{…} (which has what a spec does not say), t.run{…} (run, and what
--- it came to), t.versions(location).
function case.with(f, options)
  options = options or {}
  return outside.directory(function(root)
    local t = { root = root, data = options.data or root .. "/data",
      state = root .. "/state", scratch = root .. "/scratch", a = root .. "/a",
      b = root .. "/b" }
    assert(os.execute(("cd %s && chmod 755 . && mkdir -m 700 state && "
      .. "mkdir scratch && mkdir -p %s && echo one >%s/file"):format(root,
      t.data, t.data)))
    shared.cheap_at(t.a, shared.PASSWORD)
    shared.cheap_at(t.b, shared.PASSWORD)
    t.password = root .. "/password"
    outside.write(t.password, shared.PASSWORD .. "\n")
    function t.options(more)
      local o = { name = "nightly", sources = { t.data }, to = { t.a, t.b },
        password = { file = t.password }, provider = "copy",
        state_dir = t.state, scratch = t.scratch, host = "here" }
      for name, item in pairs(more or {}) do o[name] = item or nil end
      return o
    end
    function t.workflow(more) return saros.workflow(t.options(more)) end
    --- Results as `wait` has them.
    function t.run(more, how) return t.workflow(more):run(how):wait() end
    --- The versions of applications in there; those that go with them apart.
    function t.versions(location)
      local repo <close> = shared.repository.open { location = location,
        password = shared.PASSWORD }
      local list = {}
      for _, v in ipairs(repo:versions()) do
        for _, tag in ipairs(v.tags or {}) do
          if tag:find "^saros%-id:" then list[#list + 1] = v end
        end
      end
      return list
    end
    --- What is left of shadows, and of places.
    function t.left()
      return (outside.run("sh", "-c", [[cd "$1" && find . -path \
        '*/shadows/*.json'; find state -path '*/data/*' -mindepth 2
        find . -path '*/.saros-shadows/*'; find scratch -mindepth 1]], "sh",
        root))
    end
    return f(t)
  end)
end

return case
