---@private
-- The restore plan: a text beside each version that a person follows with stock
-- restic, a shell and the database's own tools. It names nothing that is only
-- here, and no password.

local files = require "saros.wsb.files"
local shown = require "saros.text"

local quote = files.quote

local plan = {}

-- Names in a prose that others wrote: without what moves a cursor.
local function safe(text) return shown.safe(text or "-") end

local function add(lines, ...)
  lines[#lines + 1] = select("#", ...) == 1 and (...) or string.format(...)
end

local HEAD <const> = [[
Text to read; lines with four spaces in front are commands for a shell (sh), as
root, to be run in order in one shell, each after the one before it went well.
What is needed is restic and the tools of the databases.

    set -eu
    PATH=$PATH:/usr/sbin:/sbin
    umask 022

1. The repository, and where to restore to
------------------------------------------

restic finds the repository by RESTIC_REPOSITORY and its password by
RESTIC_PASSWORD_FILE (or RESTIC_PASSWORD_COMMAND): set them. STAGE is an empty
directory with room for all of it, on the file system on which it shall lie in
the end, if that can be had. ROOT is where it shall lie: leave ROOT empty to
bring everything to its original place, or name a directory to have it below
that. What runs at the original place must be stopped before. What is there is
kept: its name gets the end that is in BEFORE.

    : "${RESTIC_REPOSITORY:?the repository}" "${STAGE:?an empty directory}"
    test -d "$STAGE" && test -z "$(ls -A "$STAGE")"
    ROOT=${ROOT-}
    BEFORE=.before-$(date -u +%Y%m%dT%H%M%SZ)-$$

2. The files
------------

]]

local function files_of(lines, m)
  add(lines, "The version is found by its tag. If that was taken away, set "
    .. "VERSION to the id of")
  add(lines, "the version that this text is from (restic snapshots).")
  add(lines, "")
  add(lines, "    VERSION=${VERSION:-latest --tag saros-id:%s}", m.id)
  add(lines, "    restic restore $VERSION --target \"$STAGE\"")
  add(lines, "")
  local late = false
  for _, c in ipairs(m.components) do late = late or c.late end
  if late and m.late then
    add(lines, "What belongs to it and was known only when its files had been "
      .. "read is in a version")
    add(lines, "of its own, made at the same time. Components that need it are "
      .. "worth nothing")
    add(lines, "without it.")
    add(lines, "")
    add(lines, "    LATE=${LATE:-latest --tag saros-late:%s}", m.id)
    add(lines, "    restic restore $LATE --target \"$STAGE\"")
    add(lines, "")
  end
end

-- What goes over the files of a component.
local function additions_of(lines, m, c)
  local n = 0
  for _, one in ipairs(c.additions) do
    n = n + 1
    local to = "\"$STAGE\"" .. quote(one.to)
    add(lines, "    mkdir -p %s", to)
    add(lines, "    cp -a --remove-destination \"$STAGE\"%s/. %s/",
      quote("/.saros/" .. one.from), to)
  end
  if c.late and m.late then
    -- What will be in there is not known yet: the late part says where to.
    add(lines, "    sh \"$STAGE\"%s \"$STAGE\"",
      quote(("%s/%s/lay-%d.sh"):format(m.late, m.id, c.n)))
    n = n + 1
  end
  if n > 0 then add(lines, "") end
end

-- Each of its files comes to its place, and what was there aside.
local function place(lines, c)
  local absent = {}
  for _, path in ipairs(c.absent or {}) do absent[path] = true end
  for _, path in ipairs(files.outermost(c.files)) do
    local to = "\"$ROOT\"" .. quote(path)
    add(lines, "    if [ -e %s ] || [ -L %s ]; then mv -T %s %s\"$BEFORE\"; fi",
      to, to, to, to)
    if not absent[path] then
      add(lines, "    mkdir -p \"$ROOT\"%s", quote(files.parent(path)))
      add(lines, "    mv -T \"$STAGE\"%s %s", quote(path), to)
    end
  end
  add(lines, "")
end

local function at(_, path) return "\"$ROOT\"" .. quote(path) end

local function steps_of(lines, c, k, owner)
  local said = k and k.plan and k.plan(c, { root = "$ROOT", at = at,
    quote = quote, owner = owner })
  for _, line in ipairs(said or {
    "There is nothing more to do for saros: start the application, and look at "
      .. "its own",
    "words.",
  }) do
    -- What is no command never becomes one.
    local command = line:find "^    " ~= nil
    add(lines, command and line:gsub("\n", "\n    ") or safe(line))
  end
  add(lines, "")
end

local function heading(lines, text)
  add(lines, text)
  add(lines, ("-"):rep(#text))
  add(lines, "")
end

--- The text. `known(c)` is the kind of a component, or nil; `owner(c)` "uid:gid"
--- of its files, or nil.
---@return string
function plan.text(m, known, owner)
  local lines = {}
  heading(lines, "How to restore this version by hand")
  add(lines, "It was made on %s at %s (%s, %s). Its id: %s", safe(m.host),
    safe(m.created), m.type, m.consistency, m.id)
  add(lines, "")
  add(lines, (HEAD:gsub("\n$", "")))
  files_of(lines, m)
  local number = 2
  for _, c in ipairs(m.components) do
    number = number + 1
    heading(lines, ("%d. %s: %s"):format(number, safe(c.writer.name),
      safe(c.name)))
    if c.recoverable == false then
      add(lines, "This one is NOT to be relied on: %s", safe(c.why))
      add(lines, "What there is of it lies in STAGE.")
      add(lines, "")
    else
      additions_of(lines, m, c)
      place(lines, c)
      steps_of(lines, c, known(c), owner(c))
    end
  end
  heading(lines, ("%d. All else"):format(number + 1))
  add(lines, "What is left in STAGE are the other files that were backed up: "
    .. "they were of these")
  add(lines, "paths.")
  add(lines, "")
  for _, path in ipairs(m.paths) do add(lines, "  %s", safe(path)) end
  return table.concat(lines, "\n") .. "\n"
end

return plan
