---@private
-- What belongs to a component besides its files: what its writer adds to them,
-- some of it only when they have been read. That, and what was seen only then,
-- is stored in a version of its own.

local core = require "saros.core"
local components = require "saros.wsb.components"
local files = require "saros.wsb.files"
local format = require "saros.format"
local manifest = require "saros.wsb.manifest"

local late = {}

local finish = files.finish

-- What was copied already, by component.
local added = setmetatable({}, { __mode = "k" })

--- Another one of the same component, for another repository: what was copied
--- for the one is there for the other.
function late.twin(c, other)
  if added[c] then added[other] = { table.unpack(added[c]) } end
end

local function contains(additions, one)
  if type(one) ~= "table" then return false end
  for _, other in ipairs(additions) do
    if other.path == one.path and other.to == one.to then return true end
  end
  return false
end

-- Where it belongs, in the version: below one of the component's files.
-- What it is called there is not always where it is.
local function checked(c, one)
  if type(one) ~= "table" or not files.is_path(one.path)
    or not files.is_path(one.to)
  then
    files.fail("E_INVALIDARG", "the writer of %s adds something that is not "
      .. "{ path = DIRECTORY, to = DIRECTORY }", c.name)
  end
  local to = files.real({ one.to })[one.to]
  for _, candidate in ipairs { to, one.to } do
    for _, file in ipairs(c.files) do
      if files.within(candidate, file) then return files.plain(candidate) end
    end
  end
  files.fail("E_INVALIDARG", "the writer of %s adds something to %s, which is "
    .. "none of its files", c.name, one.to)
end

-- Links in there are not followed, and are no files of a database.
local function copy(c, from, to)
  local odd = files.run("find", from, "!", "-type", "f", "!", "-type", "d",
    "-print", "-quit")
  if odd ~= "" then
    files.fail("SAROS_E_REFUSED", "the writer of %s adds %s, which is neither "
      .. "a file nor a directory", c.name, odd:gsub("\n$", ""))
  end
  finish(core.copy { from = from, to = to })
end

--- Copies what a writer adds below `root`, as "additions/<n>/<m>", and adds it to
--- the list. What is in there already is not copied again.
function late.add(c, said, root, list)
  local additions = said.additions
  if c.recoverable == false or type(additions) ~= "table" then return end
  for _, one in ipairs(additions) do
    if not contains(added[c] or {}, one) then
      local to = checked(c, one)
      local from = ("additions/%d/%d"):format(c.n, #list + 1)
      files.run("mkdir", "-p", "--", files.parent(root .. "/" .. from))
      copy(c, one.path, root .. "/" .. from)
      list[#list + 1] = { from = from, to = to }
      added[c] = added[c] or {}
      added[c][#added[c] + 1] = one
    end
  end
end

-- What a writer adds now, of which no version says that it is to come: where this
-- process ends before it is stored, nobody knows that it is missing.
local function unannounced(c, said)
  if c.late or c.recoverable == false or type(said.additions) ~= "table" then
    return nil
  end
  for _, one in ipairs(said.additions) do
    if not contains(added[c] or {}, one) then
      return type(one) == "table" and tostring(one.path) or tostring(one)
    end
  end
  return nil
end

-- What of a component is in the shadow and not in the version, its own excludes
-- apart; nil: nothing.
local function missing(o, c, set, id)
  local own = components.excludes { c }
  local stored = {}
  for _, path in ipairs(c.files) do
    local op <close> = o.repository:ls { version = id, path = path }
    local ls = op:wait()
    for _, node in ipairs(ls and ls.items or {}) do
      stored[files.unquoted(node.path)] = true
    end
  end
  for _, path in ipairs(c.files) do
    for top, snapshot in pairs(set) do
      if files.within(path, top) then
        local here = files.join(snapshot.path,
          path:sub(#(top == "/" and "" or top) + 1))
        local op <close> = core.process { any_status = true, limit = 64 << 20,
          argv = { "find", here, "(", "-type", "f", "-o", "-type", "d", "-o",
            "-type", "l", ")", "-print0" } }
        for found in finish(op).stdout:gmatch "([^\0]+)\0" do
          local at = path .. found:sub(#here + 1)
          local out = false
          for _, pattern in ipairs(own) do
            out = out or files.matches(pattern, at)
          end
          if not out and not stored[at] then return at end
        end
      end
    end
  end
  return nil
end

-- Why a component lacks something that could not be read, or nil.
local function unread(c, r)
  for _, e in ipairs(r.errors or {}) do
    for _, path in ipairs(type(e.path) == "string" and c.files or {}) do
      if files.within(e.path, path) or files.within(path, e.path) then
        return ("%s could not be read: %s"):format(e.path, tostring(e.message))
      end
    end
  end
end

--- Some of what must be whole could not be read: bars whose it is, or all when
--- that is not known any more. False: there is none left.
function late.torn(m, r)
  local any = false
  for _, c in ipairs(m.components) do
    local why = c.recoverable and unread(c, r)
    if why then c.recoverable, c.why, any = false, why, true end
  end
  for _, c in ipairs(not any and m.components or {}) do
    if c.recoverable then
      c.recoverable, c.why, any = false, "so much could not be read that "
        .. "nobody knows whether all of it is there", true
    end
  end
  return any
end

-- What the restore plan runs: nobody knew what it would be.
local function script(c, directory, list)
  local lines = { "# What belongs over the files of " .. files.quote(c.name) }
  for _, one in ipairs(list) do
    local to = "\"$1\"" .. files.quote(one.to)
    lines[#lines + 1] = ("mkdir -p %s"):format(to)
    lines[#lines + 1] = ("cp -a --remove-destination \"$1\"%s/. %s/")
      :format(files.quote(directory .. "/" .. one.from), to)
  end
  return "set -eu\n" .. table.concat(lines, "\n") .. "\n"
end

--- After the files were read: what a pattern of the backup took out of them bars
--- components.
function late.see(o, m, set, r)
  if #o.exclude == 0 then return end
  for _, c in ipairs(m.components) do
    local gone = c.recoverable and missing(o, c, set, r.id)
    if gone then
      c.recoverable, c.seen = false, true
      c.why = gone .. " was left out, by a pattern of the backup"
    end
  end
end

--- After that, when the writers know: stores what came of that.
--- Returns the id of the version with it; nil: there was nothing.
function late.store(o, m, set, r)
  if #m.components == 0 then return nil end
  local wanted, list = false, {}
  local place <close> = require "saros.place".new { scratch = o.scratch }
  local at = ("%s/%s"):format(place.root, m.id)
  files.run("mkdir", "--", at)
  local directory = m.late .. "/" .. m.id
  for _, c in ipairs(m.components) do
    local all = set:said(c.writer.instance)
    local said = components.said_of(all, c.name)
    local before, adds = c.recoverable or c.seen or false, {}
    c.seen = nil
    local surprise = unannounced(c, said)
    if surprise then
      c.recoverable, c.why = false, ("its writer added %s when its files had "
        .. "been stored, and had not said before that something was to come "
        .. "(pending)"):format(surprise)
    end
    late.add(c, said, at, adds)
    if c.late then components.hear(c, all) end
    if c.recoverable and said.pending == true then
      c.recoverable, c.why = false, "its writer never said what belongs to it"
    end
    if c.live and c.recoverable and c.consistency == "none"
      and c.type == "database"
    then
      c.recoverable, c.why = false, "its files were read while they changed, "
        .. "and its writer says nothing that would mend that"
    end
    c.said.additions = nil
    files.write(("%s/lay-%d.sh"):format(at, c.n), script(c, directory, adds))
    wanted = wanted or c.late or #adds > 0 or before ~= c.recoverable
    list[#list + 1] = { n = c.n, recoverable = c.recoverable, why = c.why,
      consistency = c.consistency, position = c.position, said = c.said,
      additions = adds }
    for _, one in ipairs(adds) do
      c.additions[#c.additions + 1] = one
    end
  end
  m.consistency = manifest.reached(m)
  if not wanted then return nil end
  files.write(at .. "/late.json", core.json_write(format.stamp({ id = m.id,
    components = list }, format.late), true))
  core.report { phase = "late", done = 95, total = 100 }
  local tags = { "saros-late:" .. m.id }
  local version
  for _, v in ipairs(o.repository:versions()) do
    if v.id == r.id then version = v end
  end
  return finish(o.repository:backup { host = o.host,
    time = version and version.time, force = true,
    tags = table.move(o.tags, 1, #o.tags, #tags + 1, tags),
    sources = { { path = place.root, origin = { path = m.late } } } }).id
end

return late
