---@private
-- The manifest: what is known of a version when it is made, in the version
-- itself. Who reads one reads what others wrote: nothing of it is used before it
-- was looked at here.

local core = require "saros.core"
local files = require "saros.wsb.files"
local format = require "saros.format"

local manifest = {
  --- Where it lies in a version, with what belongs to it.
  DIRECTORY = "/.saros",
  LATE = "/.saros-late",
  LEARNED = "/.saros-learned",
}

local MOST <const> = 64 << 20 -- bytes

local is_path, within = files.is_path, files.within

-- Raises what is wrong with it.
local function wrong(...)
  files.fail("SAROS_E_DAMAGED", "the manifest of the version cannot be used: "
    .. "%s; its files can be restored as any others", string.format(...))
end

local function expect(is, ...) if not is then wrong(...) end end

local function text(t, name, where, optional)
  local is = type(t[name])
  expect(is == "string" or optional and is == "nil",
    "%s: '%s' is no text", where, name)
end

local function list(t, name, where, item)
  local found = t[name]
  if found == nil then found = {} end
  expect(type(found) == "table", "%s: '%s' is no list", where, name)
  for key, value in pairs(found) do
    expect(math.type(key) == "integer" and type(value) == item,
      "%s: '%s' is no list of these", where, name)
  end
  t[name] = found
  return found
end

local function set_of(paths)
  local set = {}
  for _, path in ipairs(paths) do set[path] = true end
  return set
end

--- Whether this may be one of a component's files.
function manifest.is_file(path)
  return is_path(path) and path ~= "/" and files.plain(path) == path
    and not within(path, manifest.DIRECTORY)
    and not within(path, manifest.LATE)
    and not within(path, manifest.LEARNED)
end

local function check_files(c, where, paths)
  for _, path in ipairs(list(c, "files", where, "string")) do
    expect(manifest.is_file(path), "%s: %q is no absolute path of a file, or "
      .. "no place for its files", where, path)
    expect(files.inside(path, paths) or c.recoverable == false,
      "%s: %s is outside of what was backed up", where, path)
  end
  expect(#c.files > 0 or not c.recoverable, "%s: it has no files", where)
  list(c, "exclude", where, "string")
  local own = set_of(c.files)
  for _, path in ipairs(list(c, "absent", where, "string")) do
    expect(own[path], "%s: %q is none of its files", where, path)
  end
end

--- Additions, of this component: where they come from and go to.
function manifest.check_additions(additions, c)
  local where = ("component %s"):format(tostring(c.name))
  local own = set_of(c.files)
  expect(type(additions) == "table", "%s: 'additions' is no list", where)
  for _, one in ipairs(additions) do
    expect(type(one) == "table", "%s: an addition is no table", where)
    expect(type(one.from) == "string" and one.from:find "^additions/%d+/%d+$",
      "%s: an addition comes from %q", where, tostring(one.from))
    expect(is_path(one.to) and files.inside(one.to, own),
      "%s: an addition goes to %q, which is none of its files", where,
      tostring(one.to))
  end
end

local function check_component(c, n, paths)
  expect(type(c) == "table", "component %d is no table", n)
  text(c, "name", "component " .. n)
  local where = "component " .. c.name
  expect(c.n == n, "%s: its number is not %d", where, n)
  expect(type(c.writer) == "table", "%s: no writer", where)
  for _, name in ipairs { "id", "instance", "name" } do
    text(c.writer, name, where)
  end
  for _, name in ipairs { "kind", "logical_path", "provider", "consistency",
    "position", "server", "note", "why" } do
    text(c, name, where, true)
  end
  expect(type(c.recoverable) == "boolean", "%s: recoverable or not?", where)
  c.check = type(c.check) == "table" and c.check or { state = "none" }
  c.said = type(c.said) == "table" and c.said or {}
  check_files(c, where, paths)
  c.additions = c.additions or {}
  manifest.check_additions(c.additions, c)
end

--- The consistency of all of it: as its applications say, when all were asked
--- and are consistent.
function manifest.reached(m)
  local all = #m.components > 0 and #(m.left_out or {}) == 0
  for _, c in ipairs(m.components) do
    all = all and c.consistency == "application"
  end
  return all and "application" or m.consistency
end

--- What a text says, when it is a manifest and harmless. `paths` are those of
--- the version. Raises.
function manifest.read(json, paths)
  expect(#json <= MOST, "it has %d bytes", #json)
  local m, err = core.json_read(json)
  expect(type(m) == "table", "%s", err and err.message or "it is no map")
  local newer = format.newer("the manifest of this version", m, format.manifest)
  if newer then error(newer, 0) end
  expect(m.saros == format.manifest, "it is in format %s, and this saros knows "
    .. "%d", tostring(m.saros), format.manifest)
  expect(type(m.id) == "string" and m.id:find "^%x+%-%x+%-%x+%-%x+%-%x+$",
    "it has no id")
  for _, name in ipairs { "created", "host", "type", "consistency" } do
    text(m, name, "the manifest", true)
  end
  list(m, "paths", "the manifest", "string")
  paths = set_of(paths)
  for i, c in ipairs(list(m, "components", "the manifest", "table")) do
    check_component(c, i, paths)
  end
  m.guid = m.id
  return m
end

return manifest
