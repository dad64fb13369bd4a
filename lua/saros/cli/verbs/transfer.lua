---@private
local arguments = require "saros.arguments"
local shown = require "saros.text"
local where = require "saros.cli.where"

local function bits_of(c)
  local ok, bits = pcall(require, "saros.bits")
  if ok then return bits end
  c:fail(14, "nothing can be transferred: saros.bits is not in this build "
    .. "(OpenSSL, curl and SQLite)")
end

local function queue_path(c)
  if c.options.queue then return where.absolute { c.options.queue }[1] end
  return require "saros.core".directory("state", where.state(c))
    .. "/transfers.db"
end

local function queue_of(c, observe)
  local q = bits_of(c).manager { path = queue_path(c), observe = observe,
    limit_download = c.options.limit, limit_upload = c.options.limit }
  c:defer(function() q:close() end)
  if q.warning then c:warn(shown.safe(tostring(q.warning))) end
  if not observe and not q:is_owner() then
    c:fail(11, "another process works on this queue: %s; 'saros transfer list' "
      .. "looks at it", shown.safe(tostring(q:status().owned_by or "?")))
  end
  return q
end

local function record_of(s)
  return { id = s.id, name = s.name, state = s.job_state or s.state,
    bytes = s.bytes, total = s.total, files = s.files,
    files_done = s.files_done, error = s.error and s.error.message or nil,
    retry_in = s.retry_in }
end

-- ------------------------------------------------------------------
-- To their ends
-- ------------------------------------------------------------------

-- Why it waits, to be tried again: that may be for days.
local function follow(c, job, run)
  local told
  for _ in run:progress() do
    local s = job:status()
    local why = s.job_state == "transient_error" and s.error
      and s.error.message
    if why and why ~= told then
      c:warn(("%s: %s"):format(shown.safe(s.name or "job"), shown.safe(why)))
    end
    told = why or told
  end
end

-- It is shown while it runs. Interrupted, it stays in the queue as it is.
local function see_out(c, job)
  local run = job:run()
  local item = run and c.shows:add(run, shown.safe(job:status().name or "job"))
  local _ <close> = setmetatable({}, { __close = function()
    if item then c.shows:remove(item) end
  end })
  if run then follow(c, job, run) end
  local r, err = job:wait()
  if not r then return nil, err end
  local s = job:status()
  local code = job:complete()
  c:emit("transferred", { id = s.id, name = s.name, bytes = r.bytes,
    files = r.files, code = code })
  c:say(("%s: %s"):format(shown.safe(s.name or s.id:sub(1, 8)), tostring(r)))
  return r
end

-- Several side by side: what one is waited for, the others go on.
local function see_all(c, jobs)
  local failed, bytes, files = 0, 0, 0
  for _, job in ipairs(jobs) do
    local r, err = see_out(c, job)
    if r then
      bytes, files = bytes + r.bytes, files + r.files
    else
      if err.cancelled and job:status().job_state ~= "cancelled" then
        error(err, 0)
      end
      failed = failed + 1
      local s = job:status()
      c:emit("failure", record_of(s))
      c:warn(("%s: %s; 'saros transfer resume %s' tries again"):format(
        shown.safe(s.name or "job"), shown.safe(err.message), s.id:sub(1, 8)))
    end
  end
  c:emit("summary", { transferred = #jobs - failed, failed = failed,
    bytes = bytes, files = files })
  if failed == 0 then return 0 end
  return failed < #jobs and 3 or 1
end

local function headers_of(c)
  local list = {}
  for i, text in ipairs(c.options.header or {}) do
    local name, value = text:match "^([^:%s]+):%s*(.*)$"
    if not name then
      c:usage("--header: 'NAME: VALUE' expected, got %q", shown.safe(text))
    end
    list[i] = { name = name, value = value, secret = true }
  end
  return #list > 0 and list or nil
end

local function new_job(c, q, kind, url, path)
  local o = c.options
  local job = q:create_job { type = kind, name = o.name
    or path:match "[^/]+$" or "transfer", priority = o.priority,
    headers = headers_of(c), cacert = o.cacert, proxy = o.proxy,
    retry_delay = o.retry_delay, overwrite = o.overwrite }
  local ok, err = pcall(job.add_file, job, { url = url, path = path,
    sha256 = o.sha256 })
  if ok then return job:resume() end
  job:cancel()
  error(err, 0)
end

local function name_of(url)
  return url:gsub("[?#].*$", ""):match "//[^/]+/.-([^/]+)$"
end

local words = {}

function words.get(c, url, path)
  if not url then c:usage "saros transfer get URL [FILE]" end
  local name = name_of(url)
  path = path or name
  if not path then
    c:usage("%s names no file: saros transfer get URL FILE", shown.safe(url))
  end
  local absolute = where.absolute { path }[1]
  if path:sub(-1) == "/" and name then absolute = absolute .. "/" .. name end
  local q = queue_of(c)
  local job = new_job(c, q, "download", url, absolute)
  if c.options.queue_only then
    job:suspend()
    c:emit("summary", record_of(job:status()))
    c:out(job.id:sub(1, 8))
    return 0
  end
  return see_all(c, { job })
end

function words.put(c, path, url)
  if not url then c:usage "saros transfer put FILE URL" end
  local q = queue_of(c)
  local job = new_job(c, q, "upload", url, where.absolute { path }[1])
  return see_all(c, { job })
end

function words.list(c)
  local path = queue_path(c)
  local there <close> = io.open(path)
  local jobs = there and queue_of(c, true):jobs() or {}
  local rows = {}
  for i, job in ipairs(jobs) do
    local s = job:status()
    c:emit("job", record_of(s))
    local share = (s.total or 0) > 0 and ("%d%% of %s"):format(
      s.bytes * 100 // s.total, shown.size(s.total)) or shown.size(s.bytes or 0)
    rows[i] = { job.id:sub(1, 8), (s.job_state or s.state):gsub("_", " "),
      share, ("%d/%d"):format(s.files_done, s.files), s.name or "",
      s.error and s.error.message or "" }
  end
  c:table(rows, { { "JOB" }, { "STATE" }, { "DONE", right = true },
    { "FILES", right = true }, { "NAME", cut = true }, { "ERROR" } })
  c:emit("summary", { jobs = #jobs })
  if #jobs == 0 then c:say "no jobs" end
end

local function chosen(c, q, ids)
  if #ids == 0 then return q:jobs() end
  local list = {}
  for i, id in ipairs(ids) do
    list[i] = q:job(id) or c:fail(4, "there is no job %s", shown.safe(id))
  end
  return list
end

function words.resume(c, ...)
  local q, list = queue_of(c), {}
  for _, job in ipairs(chosen(c, q, { ... })) do
    local state = job:status().job_state
    if state == "suspended" or state == "error" then job:resume() end
    list[#list + 1] = job
  end
  if #list == 0 then
    c:say "no jobs"
    c:emit("summary", { transferred = 0, failed = 0, bytes = 0, files = 0 })
    return 0
  end
  return see_all(c, list)
end

local function each(verb, done)
  return function(c, ...)
    local ids = { ... }
    if #ids == 0 then c:usage("which? saros transfer %s JOB…", verb) end
    local q = queue_of(c)
    for _, job in ipairs(chosen(c, q, ids)) do
      local id = job.id
      job[verb](job)
      c:emit(done, { id = id })
      c:say(done, " ", id:sub(1, 8))
    end
    c:emit("summary", { jobs = #ids })
  end
end

words.cancel = each("cancel", "cancelled")
words.suspend = each("suspend", "suspended")

local most <const> = { get = 2, put = 2, list = 0 }

local function run(c)
  local word = c.arguments[1] or "list"
  local f = words[word]
  if not f then
    local names = {}
    for name in pairs(words) do names[#names + 1] = name end
    c:usage("'%s' is nothing to do with transfers%s", shown.safe(word),
      arguments.nearest(word, names))
  end
  if most[word] and #c.arguments - 1 > most[word] then
    c:usage("too many arguments, from %q on",
      shown.safe(c.arguments[most[word] + 2]))
  end
  return f(c, table.unpack(c.arguments, 2))
end

return {
  name = "transfer",
  usage = "[list | get | put | resume | suspend | cancel] …",
  help = [[
  list                  the jobs that are not done
  get URL [FILE]        fetch a file
  put FILE URL          send one
  resume [JOB…]         go on with these, or with all
  suspend JOB…          stop these, to be resumed
  cancel JOB…           give these up

A queue of downloads and uploads that lies on the disk: interrupted, killed or
restarted, 'resume' goes on where it was, if what is there has provably not
changed. A file has its name when all of it is there and right. A job is named
by its id or the beginning of that.

A URL is stored as it is, readable by you alone; what is said with --header is
kept in memory, and to be said again with what is resumed.]],
  examples = {
    { "saros transfer get https://example.org/disk.img /srv/disk.img",
      "to its end; Ctrl-C leaves it in the queue" },
    { "saros transfer get URL --sha256 9f86d081… --limit 2M",
      "held against a sum, slowly" },
    { "saros transfer resume", "whatever is not done" },
    { "saros transfer list --json", "for a program" },
  },
  options = {
    { "queue", value = "FILE", complete = "file",
      help = "another queue than the usual one" },
    { "queue-only", help = "get: put it into the queue, to be resumed later" },
    { "sha256", value = "HEX", help = "what it has to be" },
    { "limit", value = "SIZE", type = "size",
      help = "bytes a second, of all together" },
    { "header", value = "TEXT", list = true,
      help = "'NAME: VALUE', not written down" },
    { "name", value = "TEXT", help = "what it is called" },
    { "priority", value = "HOW", choices = { "foreground", "high", "normal",
      "low" }, help = "who comes first" },
    { "retry-delay", value = "SECONDS", type = "number",
      help = "how long to wait after a failure that may pass" },
    { "overwrite", help = "replace a file that is there" },
    { "cacert", value = "FILE", complete = "file",
      help = "the certificates to trust" },
    { "proxy", value = "URL", help = "by which way" },
    where.state_dir,
  },
  arguments = { names = "WORD", complete = "file", words = {
    "list", "get", "put", "resume", "suspend", "cancel" } },
  run = run,
}
