-- A queue of transfers that is killed in the middle, and goes on.
--
--   lua5.4 examples/transfer.lua                    a hundred files from a small
--                                                   server of its own, as a show
--   lua5.4 examples/transfer.lua DIRECTORY URL…     these; kill it when you like
--   lua5.4 examples/transfer.lua DIRECTORY          and let it go on
--
-- The queue is DIRECTORY/.queue.db. Nothing that is there is fetched again, and
-- a file has its name when all of it is right.

package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path

local saros = require "saros"
local place = require "demo.place"

local there, bits = pcall(require, "saros.bits")
if not there then
  print "saros was built without OpenSSL, SQLite or curl"
  os.exit(77)
end

-- ------------------------------------------------------------------
-- How far it is: a line that is written again on a terminal, and one for each
-- tenth elsewhere
-- ------------------------------------------------------------------

local is_terminal = os.execute "test -t 1"
local WIDTH = 32

local function show(s, bytes)
  local part = s.total and s.total > 0 and s.bytes / s.total
    or s.files_done / math.max(s.files, 1)
  local text = ("%3d %%  %5.1f MiB  %3d of %d files"):format(part * 100 // 1,
    s.bytes / 1048576, s.files_done, s.files)
  if is_terminal then
    local full = part * WIDTH // 1
    io.write(("\r\27[K%s%s %s  %5.1f MiB/s  %s"):format(
      ("█"):rep(full), ("░"):rep(WIDTH - full), text, bytes / 1048576,
      s.state))
    io.flush()
  end
  return text, part
end

-- Until it is over, or `stop` says so.
local function watch(job, stop)
  local tenth, rate = -1, 0
  local before = job:status().bytes
  while true do
    local over = job:done() -- first: what is shown then is the end of it
    local s = job:status()
    rate = rate * 0.9 + (s.bytes - before) * 20 * 0.1
    before = s.bytes
    local text, part = show(s, rate)
    if not is_terminal and part * 10 // 1 > tenth then
      tenth = part * 10 // 1
      print(text)
      io.flush()
    end
    if (stop and stop(s)) or over then break end
    job:wait(0.05)
  end
  if is_terminal then print() end
end

-- ------------------------------------------------------------------
-- A directory, and what shall be in it
-- ------------------------------------------------------------------

-- It may be as somebody has left it who was killed, in the middle of anything.
-- One that fails stays in the queue, and is tried again the next time.
local function finish(job, options)
  local s = job:status()
  if s.files == 0 then return job:cancel() end
  if s.state == "error" or s.state == "suspended" then job:resume() end
  if not options.quiet then watch(job, options.stop) end
  local r, err = job:wait()
  if r then return job:complete() end
  io.stderr:write(tostring(err), "\n")
end

local function fetch(directory, urls, options)
  local q <close> = bits.manager { path = directory .. "/.queue.db",
    limit_download = options.limit }
  if q.warning then print(q.warning) end
  if not q:is_owner() then error(tostring(q), 0) end -- and says who is
  if #urls > 0 then
    local files = {}
    for i, url in ipairs(urls) do
      local name = url:match "^%a+://[^?#]*/([^/?#]+)" or "index.html"
      files[i] = { url = url, path = directory .. "/" .. name }
    end
    local job = q:create_job { name = "transfer.lua", overwrite = true,
      retry_delay = 5 }
    local ok, err = pcall(job.add_files, job, files)
    if not ok then
      job:cancel()
      error(err, 0)
    end
    job:resume()
  end
  local all = true
  for _, job in ipairs(q:jobs()) do all = finish(job, options) and all end
  return all
end

if arg[1] and arg[1] ~= "--show" then
  os.exit(saros.run(fetch, arg[1], { table.unpack(arg, 2) }, {}) ~= nil, true)
end

-- ------------------------------------------------------------------
-- The show
-- ------------------------------------------------------------------

local COUNT, SIZE, LIMIT = 100, 65536, "4M"

-- The one who is killed: it does that itself, so that it is in the middle.
if arg[1] == "--show" then
  local base, directory = arg[2], arg[3]
  local urls = {}
  for i = 1, COUNT do urls[i] = base .. i end
  fetch(directory, urls, { limit = LIMIT, stop = function(s)
    if s.bytes < 0.4 * COUNT * SIZE then return end
    if is_terminal then print() end
    print "kill -9"
    io.flush()
    os.execute "kill -9 $PPID"
  end })
  error "it was not killed"
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

if not os.execute "command -v python3 >/dev/null" then
  print "there is no python3 for the server"
  os.exit(77)
end

place.main(function()
  local scratch <close> = place.scratch()
  local directory = scratch.path .. "/files"
  place.run("mkdir", directory)
  -- It ends with us.
  local server = saros.process { argv = { "sh", "-c",
    "sleep 1000000 | exec python3 \"$1/demo/files.py\" \"$2\" \"$3\"", "sh",
    place.examples, tostring(COUNT), tostring(SIZE) }, stdout = "lines" }
  local base = ("http://127.0.0.1:%s/"):format(server:lines()())

  print(("%d files of %d KiB, at most %s a second"):format(COUNT, SIZE // 1024,
    LIMIT))
  local child = saros.process { argv = { place.lua, arg[0], "--show", base,
    directory }, stdout = "inherit", stderr = "inherit" }
  local _, err = child:wait()
  assert(err and err.code == saros.code.SAROS_E_SIGNAL, tostring(err))
  assert(not exists(directory .. "/1")) -- none has its name yet

  print "another process opens the queue, and it goes on"
  assert(fetch(directory, {}, { limit = LIMIT }))

  -- What it was worth.
  assert(fetch(directory, { base .. "sums", base .. "sent" }, { quiet = true }))
  place.run("sh", "-c", 'cd "$1" && sha256sum --quiet -c sums', "sh", directory)
  local sent <close> = assert(io.open(directory .. "/sent"))
  print(("all %d are what they were; %.1f MiB were sent for %.1f MiB"):format(
    COUNT, sent:read "n" / 1048576, COUNT * SIZE / 1048576))
  server:cancel()
  server:wait()
end)
