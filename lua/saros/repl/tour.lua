---@private
-- Two minutes: a shadow, a backup, what is lost, and how it comes back. All of
-- it in a directory of its own, which is gone afterwards, however it ended.

local saros = require "saros"
local shown = require "saros.text"
local surely = require "saros.surely"

local tour = {}

local steps <const> = {
  { [[
A program keeps a ledger, and it is being written to. A copy of a file that
changes meanwhile is neither what was nor what is; a shadow copy holds one
instant. (Here it is made by copying, which works everywhere; on btrfs or LVM
it costs nothing, and databases hold still for it.)]],
    [[local set = await vss.shadow { paths = { tour.files }, provider = "copy",
  state_dir = tour.state }]] },
  { [[
The program goes on. The shadow does not.]],
    [[io.open(tour.files .. "/ledger", "a"):write("later\n"):close()]] },
  { [[
A repository keeps versions, encrypted, in the format of restic.]],
    [[local repo = repository.init { location = tour.repo,
  password = "tour" }]] },
  { [[
A version of the shadow: read from the shadow, stored as what it is of.]],
    [[await repo:backup { sources = { set } }]] },
  { [[
Then something goes wrong.]],
    [[os.remove(tour.files .. "/ledger")]] },
  { [[
And comes back, as it was at that instant.]],
    [[await repo:restore { version = "latest", target = tour.back }]] },
  { [[
It is all there, and what was written later is not.]],
    [[io.open(tour.back .. tour.files .. "/ledger"):read "a"]] },
  { [[
Whether that will work on the day it is needed, somebody should ask before.]],
    [[await repo:check { read_data = true }]] },
}

local LAST <const> = [[
That was it; what it made is gone. The same from a shell:

  saros backup /srv --repo /mnt/x
  saros restore latest --repo /mnt/x --target /scratch

'saros init' writes a configuration, :help says what there is here.]]

-- The directory, with files in it.
local function prepared()
  local at, err = surely.directory((os.getenv "TMPDIR" or "/tmp")
    .. "/saros-tour.")
  if not at then return nil, err end
  local places = { at = at, files = at .. "/files", state = at .. "/state",
    repo = at .. "/repo", back = at .. "/back" }
  local ready, cancelled
  ready, err, cancelled = surely.wait(saros.process { argv = { "mkdir", "-m",
    "700", places.files, places.state } })
  if ready and not cancelled then
    local file <close> = assert(io.open(places.files .. "/ledger", "w"))
    for day = 1, 3 do file:write("day ", day, "\n") end
    return places
  end
  surely.remove(at)
  if cancelled then error(cancelled, 0) end
  return nil, err
end

local function cleaned(session, places)
  for _, name in ipairs { "repo", "set" } do
    local value = session.locals:get(name)
    if value ~= nil then pcall(function() value:close() end) end
    session.locals.boxes[name] = nil
  end
  session.env.tour = nil
  surely.remove(places.at)
end

-- Whether the step was done; false: enough.
local function ask(session, code)
  while true do
    local text = session:read()
    if not text or text:find "^%s*:%s*q" then return false end
    if not text:find "%S" then text = code end
    session:take(text)
    if session.over then return false end
    if text:gsub("%s+", " ") == code:gsub("%s+", " ") then return true end
    session:write("(Enter runs the step, :quit ends the tour)")
  end
end

--- Takes somebody through it.
---@param session saros.repl
function tour.run(session)
  if session.env.tour then return session:complain "this is the tour" end
  local places, err = prepared()
  if not places then return session:complain(err) end
  local _ <close> = setmetatable({}, { __close = function()
    cleaned(session, places)
  end })
  session.env.tour = places
  local function say(text)
    local wrap = require "saros.cli.help".wrap
    session:write(table.concat(wrap(text, "", session.c.width - 1), "\n"))
  end
  say(("Everything lies in %s, and goes with the tour. Enter runs what is "
    .. "shown; what else you type is run as well.")
    :format(shown.safe(places.at)))
  for i, step in ipairs(steps) do
    say(("\n%d/%d  %s"):format(i, #steps, step[1]))
    session:write("\n  " .. step[2] .. "\n")
    if not ask(session, step[2]) then return end
  end
  say("\n" .. LAST)
end

return tour
