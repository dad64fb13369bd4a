---@private
-- A shadow of a database that a process of its own writes to all the time, and
-- what has to hold then. In the spec itself; or as a script, for what is to be
-- mounted in a namespace of its own:
--
--   unshare -m lua5.4 spec/sqlite_busy.lua DIRECTORY MODE    needs root
--
-- makes XFS in a file there, and on it ext4 in a file, and has the shadow of a
-- database on that taken by the provider `image`.

local saros = require "saros"
local outside = require "spec.outside"
local client = require "saros.client.sqlite"
local sqlite = require "saros.writers.sqlite"
local vss = require "saros.vss"

local busy = {}

-- Inserts 1, 2, 3, … and notes each before and after.
local script = [[
  local sqlite = require "saros.client.sqlite"
  local path, notes = arg[1], assert(io.open(arg[2], "w"))
  notes:setvbuf "line"
  local db = sqlite.open { path = path, busy_timeout = 1000 }
  local n = 0
  while true do
    n = n + 1
    notes:write("try ", n, "\n")
    assert(db:exec("INSERT INTO t VALUES (?, ?)", n, ("x"):rep(n * 37 % 3000)):wait())
    notes:write("done ", n, "\n")
  end
]]

--- An empty database in this journal mode.
function busy.make(path, mode)
  local db <close> = client.open { path = path, create = true }
  local rows = assert(db:query("PRAGMA journal_mode = " .. mode):wait())
  assert(rows[1].journal_mode == mode)
  assert(db:exec "CREATE TABLE t (n INTEGER PRIMARY KEY, x)":wait())
end

--- Starts who writes to it; ends with the block. `said(word)`: how far he is.
function busy.start(path, notes)
  local place = notes .. ".lua"
  outside.write(place, script)
  local p = outside.start(outside.lua, place, path, notes)
  local w = { pid = p.pid }
  function w.said(word)
    local last = 0
    for n in (outside.content(notes) or ""):gmatch(word .. " (%d+)\n") do
      last = tonumber(n)
    end
    return last
  end
  function w.until_said(word, n)
    outside.eventually(("%s %d"):format(word, n), function()
      return w.said(word) >= n
    end)
  end
  return setmetatable(w, { __close = function() p:__close() end })
end

--- How many rows there are; fails if they are not 1, 2, 3, …
function busy.rows(path, options)
  local o = { path = path }
  for name, item in pairs(options or {}) do o[name] = item end
  local db <close> = client.open(o)
  local r = assert(db:query
    "SELECT count(*) AS rows, ifnull(max(n), 0) AS last FROM t":wait())[1]
  assert(r.rows == r.last, ("%d rows, but the last is %d"):format(r.rows, r.last))
  return r.rows
end

-- A writer that is told after those of databases that they hold, and before
-- them that they need not hold any more.
local function witness(handlers)
  handlers.id = "5a705000-0000-4000-8000-00000000b054"
  handlers.name, handlers.level = "witness", "system"
  return vss.writer(handlers)
end

--- Takes the shadow of the directory and looks at everything. Returns how many
--- rows there were, and what it could take.
function busy.shadow(directory, state, provider, mode)
  local path, notes = directory .. "/app.db", state .. "/notes"
  busy.make(path, mode)
  local app <close> = busy.start(path, notes)
  app.until_said("done", 20)
  local committed, held, still
  local _ <close> = sqlite.writer { databases = { path } }
  local _ <close> = witness {
    freeze = function()
      committed = app.said "done"
      held = busy.rows(path, { readonly = true })
      app.until_said("try", held + 1)
      -- This process opens and closes the files, as whoever copies them does.
      for _, suffix in ipairs { "", "-wal", "-shm", "-journal" } do
        local file = io.open(path .. suffix)
        if file then file:close() end
      end
      saros.sleep(0.1):wait()
    end,
    thaw = function()
      still = busy.rows(path, { readonly = true })
      assert(app.said "try" == held + 1, "it has gone on to the next")
    end,
  }
  local set <close> = assert(vss.shadow { paths = { directory },
    provider = provider, state_dir = state }:wait())
  local shadow = set[directory].path .. "/app.db"
  assert(set[directory].provider == provider)

  assert(committed <= held and held <= committed + 1,
    ("%d rows, but %d were said to be committed"):format(held, committed))
  assert(still == held, ("%d rows grew to %d"):format(held, still))
  local journal = outside.content(shadow .. "-journal")
  assert(journal == nil or journal == "" or journal:find "^\0\0\0\0\0\0\0\0",
    "there is a hot journal in the shadow")
  assert(sqlite.check(shadow, { scratch = state }):wait())
  -- What is in it, read where it may be written to.
  local copy = state .. "/copy.db"
  for _, suffix in ipairs { "", "-wal" } do
    local file <close> = io.open(shadow .. suffix)
    if file then
      assert(saros.copy { from = shadow .. suffix, to = copy .. suffix }:wait())
    end
  end
  assert(busy.rows(copy) == held,
    ("%d rows in the shadow, not %d"):format(busy.rows(copy), held))
  -- Whoever had to wait has lost nothing.
  app.until_said("done", held + 20)
  assert(busy.rows(path) >= held + 20)
  return held, set.held
end


-- ------------------------------------------------------------------
-- As a script
-- ------------------------------------------------------------------

local function sh(text, ...)
  local r, err = saros.process { argv = { "sh", "-ec",
    "PATH=$PATH:/usr/sbin:/sbin; " .. text:format(...) } }:wait()
  if r then return r.stdout end
  print("missing: " .. tostring(err))
  os.exit(77, true)
end

local function main(directory, mode)
  -- A device made by mount goes with the mount, and that with the namespace.
  sh("mount --make-rprivate /; cd '%s'; mkdir xfs ext4; mkdir -m 700 state",
    directory)
  sh([[cd '%s'
    truncate -s 1500M xfs.img; mkfs.xfs -q -m reflink=1 xfs.img
    mount -o loop xfs.img xfs
    truncate -s 300M xfs/ext4.img; mkfs.ext4 -q -F xfs/ext4.img
    mount -o loop xfs/ext4.img ext4]], directory)
  local path = directory .. "/ext4"
  local rows, held = busy.shadow(path, directory .. "/state", "image", mode)
  print(("passed: %d rows, held %.3f s"):format(rows, held))
end

if arg and (arg[0] or ""):find "sqlite_busy.lua$" then main(arg[1], arg[2]) end

return busy
