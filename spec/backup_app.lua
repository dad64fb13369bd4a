--- What the specs of the backup application share: a repository, directories
--- for data and state, a SQLite database with a writer.

local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"
local vss_case = require "spec.vss"

local saros = helper.saros
local app = { saros = saros, outside = outside, shared = shared }

local there, client = pcall(require, "saros.client.sqlite")
app.client = there and client or nil

--- Why none of it can be had here, or nil.
app.missing = shared.missing or not there
  and "saros.client.sqlite was left out of this build" or nil

if not app.missing then
  app.wsb = require "saros.wsb"
  app.sqlite = require "saros.writers.sqlite"
  app.catalogue = require "saros.wsb.catalogue"
end

--- A database with so many rows.
function app.database(path, rows)
  local db <close> = client.open { path = path, create = true }
  assert(db:exec(("CREATE TABLE t (n INTEGER PRIMARY KEY); WITH RECURSIVE "
    .. "c(n) AS (VALUES(1) UNION ALL SELECT n+1 FROM c WHERE n<%d) INSERT INTO "
    .. "t SELECT n FROM c"):format(rows)):wait())
end

--- How many rows a database has that is nobody else's; nil and why.
function app.rows(path)
  local db <close> = client.open { path = path }
  local rows, err = db:query "SELECT count(*) AS n FROM t":wait()
  return rows and rows[1].n, err
end

function app.execute(path, sql)
  local db <close> = client.open { path = path }
  assert(db:exec(sql):wait())
end

--- f(t): t.root, t.repo, t.data (a directory), t.state, t.location; and
--- t.backup{…}, which has data, repo and state already.
function app.with(f, options)
  return shared.with(function(p)
    local t = { root = p.root, repo = p.repo, data = p.root .. "/data",
      state = p.root .. "/state", location = p.root .. "/r", p = p }
    assert(os.execute(("cd %s && mkdir -m 700 state && mkdir data scratch")
      :format(p.root)))
    t.scratch = p.root .. "/scratch"
    assert(os.execute("chmod 755 " .. p.root))
    function t.begin(more)
      local o = { repository = t.repo, paths = { t.data }, provider = "copy",
        state_dir = t.state, scratch = t.scratch }
      for name, item in pairs(more or {}) do o[name] = item end
      if o.provider == "" then o.provider = nil end
      return app.wsb.backup(o)
    end
    function t.backup(more) return assert(t.begin(more):wait()) end
    function t.items(more)
      local o = { repository = t.repo }
      for name, item in pairs(more or {}) do o[name] = item end
      return assert(app.wsb.items(o):wait())
    end
    function t.restic(...)
      return outside.run("env", "RESTIC_PASSWORD=" .. shared.PASSWORD,
        "restic", "--no-cache", "-q", "-r", t.location, ...)
    end
    --- A file of a version.
    function t.dump(version, path)
      local pieces = {}
      assert(t.repo:dump { version = version, path = path,
        to = function(piece) pieces[#pieces + 1] = piece end }:wait())
      return table.concat(pieces)
    end
    --- A version that somebody else made up: `manifest` in it, and these
    --- files; `more`: beside what is in t.root/forged already.
    function t.forge(manifest, sources, more)
      local at = t.root .. "/forged"
      if not more then
        assert(os.execute(("rm -rf '%s' && mkdir '%s'"):format(at, at)))
      end
      outside.write(at .. "/manifest.json", type(manifest) == "string"
        and manifest or helper.core.json_write(manifest))
      sources[#sources + 1] = { path = at, origin = { path = "/.saros" } }
      return assert(t.repo:backup { sources = sources }:wait()).id
    end
    return f(t)
  end, options)
end

app.id = vss_case.id

--- A writer of a class of the spec's own.
app.writer = vss_case.writer

--- The one component of this name.
function app.component(v, name)
  for _, c in ipairs(v.components) do
    if c.name == name then return c end
  end
  error("there is no component " .. name, 2)
end

return app
