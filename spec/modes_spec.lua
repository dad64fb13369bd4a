-- Who may read what the command line writes, as examples/security.md has it,
-- whatever the umask is of who runs it.
local cli = require "spec.cli"
local helper = require "spec.helper"
local outside = require "spec.outside"
local repository = require "spec.repository"
local volumes = require "spec.volumes"

-- What the table says: { pattern, mode }, in its order.
local function table_of(text)
  local rows = {}
  for names, mode in text:gmatch "\n| (`[^|]*) | (%d+) |" do
    for name in names:gmatch "`([^`]+)`" do
      if name:sub(1, 1) ~= "~" then
        rows[#rows + 1] = { name = name, mode = mode, pattern = "^"
          .. name:gsub("%p", "%%%0"):gsub("%%%*", ".*") .. "$" }
      end
    end
  end
  return rows
end

-- Where the table's places are in a scene.
local PLACES <const> = { ["/etc/saros"] = "conf/saros",
  ["/var/lib/saros"] = "state/state", ["/run/saros"] = "state/run",
  REPOSITORY = "repository", REPORT = "report", METRICS = "metrics/saros.prom",
  UNITS = "units", TARGET = "target", DUMP = "dump" }

local CONF <const> = [[
metrics = "%s/metrics/saros.prom"
workflow "nightly" { sources = { "%s/src" }, provider = "copy" }
]]

-- All that there is of it, as the table names it: { mode, name }.
local function entries_of(root)
  local list = {}
  local text = volumes.run("cd '%s' && find %s", root, "conf/saros state/* "
    .. "repository report metrics/* units target dump -printf '%m %y %p\\n'")
  for mode, kind, path in text:gmatch "(%d+) (%a) ([^\n]+)" do
    for name, place in pairs(PLACES) do
      if (path .. "/"):sub(1, #place + 1) == place .. "/" then
        list[#list + 1] = { mode, name .. path:sub(#place + 1)
          .. (kind == "d" and "/" or "") }
      end
    end
  end
  return list
end

local function judged(rows, root, seen)
  local wrong = {}
  for _, entry in ipairs(entries_of(root)) do
    local mode, name = table.unpack(entry)
    local found
    for _, row in ipairs(rows) do
      -- The first, of those of its kind: directories have a slash.
      if name:find(row.pattern) and (name:sub(-1) == "/")
        == (row.name:sub(-1) == "/") and not found
      then
        found = row
      end
    end
    local inner = name:find "^TARGET/." and name ~= "TARGET/.saros/"
    if found then seen[found.name] = true end
    if not inner and not (found and found.mode == mode) then
      wrong[#wrong + 1] = ("%s has %s and not %s"):format(name, mode,
        found and found.mode or "a row")
    end
  end
  return wrong
end

local function scene(mask, f)
  local d <close> = cli.scratch()
  local root = d.path
  outside.write(root .. "/password", repository.PASSWORD .. "\n")
  assert(os.execute(("cd '%s' && mkdir -m 755 src metrics && echo one >src/a "
    .. "&& chmod 644 src/a"):format(root)))
  local env = { SAROS_STATE_DIR = root .. "/state", HOME = root,
    XDG_CONFIG_HOME = root .. "/conf", SAROS_CONFIG = false }
  local function run(...)
    return cli.ends(0, {}, { env = env, cwd = root, argv = { "sh", "-c",
      "umask " .. mask .. '; exec "$0" "$@"', cli.program, ... } })
  end
  run("init", "--repo", root .. "/repository")
  local conf = root .. "/conf/saros/config.lua"
  local file <close> = assert(io.open(conf, "a"))
  assert(file:write(CONF:format(root, root)))
  assert(file:flush())
  run("backup", root .. "/src", "--shadow", "copy")
  run("run", "nightly")
  run("restore", "latest", "--target", root .. "/target")
  run("report", "--out", root .. "/report")
  run("systemd", "nightly", "--install", "--directory", root .. "/units",
    "--program", "/usr/bin/saros")
  run("transfer", "get", "http://127.0.0.1:9/x", root .. "/x", "--queue-only")
  run("dump", "latest", root .. "/src/a", "--to", root .. "/dump")
  f(root, run)
end

describe("what is written", function()
  local rows = table_of(outside.content "examples/security.md")
  local seen = {}

  for _, mask in ipairs { "000", "022", "077" } do
    it("has the modes that are promised, under umask " .. mask, function()
      helper.task(function()
        scene(mask, function(root, run)
          assert.equal("", table.concat(judged(rows, root, seen), "\n"))
          -- What is restored is as it was, or as the option says.
          assert.equal("644\n", (volumes.run("stat -c %%a '%s/target%s/src/a'",
            root, root)))
          run("report", "--out", root .. "/report", "--mode", "644")
          assert.equal("644\n", (volumes.run("stat -c %%a '%s/report'", root)))
        end)
      end)
    end)
  end

  it("is all that the table has", function()
    assert.is_true(#rows > 20)
    for _, row in ipairs(rows) do
      assert.is_true(seen[row.name] or false, row.name .. " was never made")
    end
  end)
end)
