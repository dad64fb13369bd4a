---@private
-- How a message leaves: each way by itself, within its time, tried again where
-- that may help. What comes of it is told, never raised.

local core = require "saros.core"
local E = require "saros.code"
local secrets = require "saros.secrets"
local surely = require "saros.surely"

local deliver = {}

local TIMEOUT <const> = 60

local function finish(op)
  local mine <close> = op
  local result, err = mine:wait()
  if result == nil then error(err, 0) end
  return result
end

local function fail(...)
  return error(core.failure("saros", E.E_FAIL, string.format(...)), 0)
end

-- Nothing that opens a repository goes to a program that only tells.
local function without_secrets(env)
  for _, name in ipairs(secrets.variables) do env[name] = false end
  return env
end


-- ------------------------------------------------------------------
-- A URL
-- ------------------------------------------------------------------

local function url_of(given)
  if type(given) == "string" then return given end
  if given.env then
    return os.getenv(given.env)
      or fail("the environment has no %s, which the URL is in", given.env)
  end
  local file <close>, why = io.open(given.file)
  if not file then fail("the URL cannot be read: %s", why) end
  return (file:read "a":gsub("%s+$", ""))
end

--- Where a URL leads, without what is secret in it.
local function origin(url)
  return url:match "^(%a[%w+.-]*://[^/?#]*)":gsub("//.*@", "//") .. "/…"
end

local function scratch(state_dir)
  local path = ("%s/notify.%d-%s"):format(core.directory("run", state_dir),
    core.owner().pid, core.guid():sub(1, 8))
  return path, setmetatable({}, {
    __call = function() finish(core.entries { { "make", path } }) end,
    __close = function() surely.remove(path) end,
  })
end

-- What a process left that was killed in the middle.
local function sweep(state_dir)
  local folder = core.directory("run", state_dir)
  for _, name in ipairs(finish(core.entries { { "names", folder } })[1]) do
    local pid = name:match "^notify%.(%d+)%-%x+$"
    local lives = pid and io.open("/proc/" .. pid .. "/stat")
    if lives then lives:close() end
    if pid and not lives then
      surely.remove(folder .. "/" .. name)
    end
  end
end

local function put(path, text)
  local file <close>, why = core.private_file(path)
  local ok = file
  if ok then ok, why = file:write(text) end
  if ok then ok, why = file:flush() end -- a full disk is seen only there
  if not ok then fail("%s", why or path) end
end

-- The queue of transfers knows how often, and what may be tried again at all.
local function by_url(message, to, state_dir)
  local there, bits = pcall(require, "saros.bits")
  if not there then
    fail("this saros was built without transfers (saros.bits), so no URL can "
      .. "be told; use a command: %s", tostring(bits):match "^[^\n]*")
  end
  if to.no_url then error(to.no_url, 0) end
  local url = to.secret_url
  if not url:find "^https?://[^/]" then
    fail "the URL to tell is none of http or https"
  end
  local seconds = to.timeout or TIMEOUT
  sweep(state_dir)
  local path, make <close> = scratch(state_dir)
  make()
  put(path .. "/body", core.json_write(message))
  local headers = { ["Content-Type"] = "application/json" }
  for name, value in pairs(to.headers or {}) do headers[name] = value end
  local q <close> = bits.manager { path = path .. "/queue.db" }
  local job = q:create_job { type = "upload", name = "notification",
    method = "POST", headers = headers, cacert = to.cacert, retry_delay = 5,
    no_progress_timeout = seconds, connect_timeout = math.min(seconds, 15),
    stall_timeout = math.min(seconds, 30), durability = "none" }
  job:add_file { url = url, path = path .. "/body" }
  job:resume()
  local ok, err = job:wait(seconds)
  if ok then return job:complete() end
  if err.timeout then
    local said = job:error()
    fail("%s took no message within %g s%s", origin(url), seconds,
      said and ": " .. said.message or "")
  end
  fail("%s took no message: %s", origin(url), err.message)
end


-- ------------------------------------------------------------------
-- A command, a mail
-- ------------------------------------------------------------------

-- A child that may fail is a child: its output is what went wrong.
local function run(options, what)
  options.stdout, options.stderr = "capture", "stdout"
  options.any_status, options.limit = true, 65536
  local op <close> = core.process(options)
  local r, err = op:wait()
  if not r then fail("%s: %s", what, err.message) end
  if r.status ~= 0 then
    fail("%s ended with status %d: %s", what, r.status,
      (r.stdout:sub(1, 400):gsub("%s+$", "")))
  end
end

local function by_command(message, to)
  run({ argv = to.command, stdin = message.text,
    timeout = to.timeout or TIMEOUT, env = without_secrets {
      SAROS_EVENT = message.event, SAROS_NAME = message.name,
      SAROS_HOST = message.host, SAROS_RUN = message.run,
      SAROS_STATE = message.state, SAROS_SUBJECT = message.subject } },
    to.command[1])
end

local DIGITS <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
  .. "0123456789+/"

local function base64(text)
  local parts = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    local function digit(shift)
      local at = (n >> shift & 63) + 1
      return DIGITS:sub(at, at)
    end
    parts[#parts + 1] = digit(18) .. digit(12) .. (b and digit(6) or "=")
      .. (c and digit(0) or "=")
  end
  return table.concat(parts)
end

-- A header has words of at most 75 characters, none of which cuts a character.
local function encoded(text)
  local parts, piece = {}, ""
  for _, code in utf8.codes(text) do
    local c = utf8.char(code)
    if #piece + #c > 39 then
      parts[#parts + 1] = piece
      piece = ""
    end
    piece = piece .. c
  end
  parts[#parts + 1] = piece
  for i, part in ipairs(parts) do
    parts[i] = "=?UTF-8?B?" .. base64(part) .. "?="
  end
  return table.concat(parts, "\r\n ")
end

-- No line of a mail may be longer than 998 bytes; some programs take fewer.
local LONGEST <const> = 900

-- A body as somebody reads it who looks into the spool. Bytes of UTF-8 go
-- through every program that delivers, long lines do not.
local function body_of(text)
  for line in text:gmatch "[^\n]+" do
    if #line > LONGEST then
      return "base64", (base64(text):gsub(("."):rep(76), "%0\r\n"))
    end
  end
  return text:find "[\x80-\xFF]" and "8bit" or "7bit",
    (text:gsub("\n", "\r\n"))
end

local function letter(message, to)
  local how, body = body_of(message.text)
  local lines = { "To: " .. table.concat(to.mail, ", "),
    "Subject: " .. (message.subject:find "[\x80-\xFF]"
      and encoded(message.subject) or message.subject:sub(1, 900)),
    "Date: " .. os.date "!%a, %d %b %Y %H:%M:%S +0000",
    "Auto-Submitted: auto-generated", "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=UTF-8",
    "Content-Transfer-Encoding: " .. how, "", body, "" }
  if to.from then table.insert(lines, 1, "From: " .. to.from) end
  return table.concat(lines, "\r\n")
end

-- The addresses are in the letter, not among the arguments of the program.
local function by_mail(message, to)
  local program = to.sendmail or "/usr/sbin/sendmail"
  local there <close> = io.open(program, "rb")
  if not there then
    fail("there is no %s here; install a mail transfer agent, or use a URL or "
      .. "a command", program)
  end
  run({ argv = { program, "-t", "-i" }, stdin = letter(message, to):gsub(
    "\r\n", "\n"), timeout = to.timeout or TIMEOUT,
    env = without_secrets {} }, program)
end

local ways <const> = { { "url", by_url }, { "command", by_command },
  { "mail", by_mail } }

--- { told = { url = true }, failed = { { to, message } } }
function deliver.all(message, to, o)
  local told, failed = {}, {}
  for _, way in ipairs(ways) do
    local name, send = way[1], way[2]
    if to[name] and not (o.skip and o.skip[name]) then
      core.report { phase = name }
      local ok, err = pcall(send, message, to, o.state_dir)
      if ok then
        told[name] = true
      elseif type(err) == "table" and err.cancelled then
        error(err, 0)
      else
        local text = type(err) == "table" and err.message or tostring(err)
        failed[#failed + 1] = { to = name,
          message = secrets.scrub(text, secrets.of_url(to.secret_url)) }
      end
    end
  end
  return { told = told, failed = failed }
end

--- The URL that is in a file or the environment, before it can be in a text.
function deliver.resolve(to)
  if not to.url then return to end
  local copy = {}
  for name, item in pairs(to) do copy[name] = item end
  local ok, url = pcall(url_of, to.url)
  if ok then copy.secret_url = url else copy.no_url = url end
  return copy
end

return deliver
