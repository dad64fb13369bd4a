--- Every verb of the command line, each in a scene of its own: a repository with
--- a few versions, a database in one of them, state, a configuration. A fault
--- changes the scene, or the way in which the verb is run, and says what the verb
--- is to make of it. What is always so (nothing of Lua's in what it says, no
--- password, no lock left, the next run is sound) is looked at after every cell.
---
--- ```lua
--- matrix.judge(matrix.table { name = "no repository", code = 10, … })
--- ```

local app = require "spec.backup_app"
local cli = require "spec.cli"
local outside = require "spec.outside"
local shared = require "spec.repository"
local volumes = require "spec.volumes"
local verbs = require "saros.cli.verbs"

local core = require "saros.core"
local errors = require "saros.cli.errors"
local saros = require "saros"

local matrix = { program = cli.program, PASSWORD = "Xq7-vault-9f3e-Zk2", NOBODY = 65534,
  missing = app.missing, long = os.getenv "SAROS_LONG" ~= nil }

if os.getenv "SAROS_SANITIZER" then
  matrix.missing = "a sanitizer has no time for every verb"
elseif not os.execute "test $(id -u) = 0" then
  matrix.missing = "only root has faults of every kind"
end

-- ------------------------------------------------------------------
-- The rows
-- ------------------------------------------------------------------

-- {repo} names the repository and its password, {root} the scene, {had} what
-- versions have of src. `repo`: it opens that; `locks`: "shared" or "exclusive";
-- `writes`: what it cannot do without (repository, target, state), `scratch`:
-- and where it needs room; `free`: it needs nothing at all; `records`: it notes
-- what it did; `prose`: not with --json; `once`: the code of the second run,
-- where that is another; `stays`: it leaves shadows; `stop`: it goes on until it
-- is told to end.
local rows = {
  backup = {
    { "backup {root}/src --shadow never --no-init {repo}", repo = true, locks = "shared",
      writes = "repository", records = true },
    { "backup {root}/src --shadow copy --no-init {repo}", repo = true, locks = "shared",
      writes = "repository state", records = true },
  },
  restore = { { "restore latest --target {root}/to/out {repo}", repo = true,
    locks = "shared", writes = "target", records = true } },
  versions = { { "versions {repo}", repo = true } },
  ls = { { "ls latest {repo}", repo = true, locks = "shared" } },
  find = { { "find a {repo}", repo = true, locks = "shared" } },
  diff = { { "diff {first} latest {repo}", repo = true, locks = "shared" } },
  dump = { { "dump {had}/a {repo}", repo = true, locks = "shared",
    raw = true, prose = true } },
  mount = { { "mount {root}/at {repo}", repo = true, locks = "shared",
    stop = "INT" } },
  forget = { { "forget --keep-last 1 {repo}", repo = true, locks = "exclusive",
    writes = "repository" } },
  prune = { { "prune {repo}", repo = true, locks = "exclusive",
    records = true } },
  check = { { "check --read-data {repo}", repo = true,
    locks = "exclusive" } },
  drill = { { "drill --scratch {root}/tmp {repo}", repo = true,
    locks = "shared", writes = "state", scratch = true, records = true } },
  items = { { "items {repo}", repo = true, locks = "shared" } },
  recover = { { "recover --component app.db --target {root}/to/out {repo}",
    repo = true, locks = "shared", writes = "target state", scratch = true,
    records = true } },
  status = {
    { "status --max-age 26h --config {root}/conf.lua", monitors = true },
    { "status --all-hosts {repo}", repo = true, monitors = true },
  },
  report = {
    { "report --out {root}/to/page.html", writes = "target" },
    { "report --out {root}/to/page.html {repo}", writes = "target", repo = true },
  },
  doctor = { { "doctor --quick --scratch {root}/tmp", slow = true,
    scratch = true, looks = true } },
  writers = { { "writers" } },
  volumes = { { "volumes {root}/src", free = true } },
  hold = { { "hold {root}/src --provider copy -- cat {}/a", writes = "state",
    records = true, holds = true, raw = true } },
  shadows = {
    { "shadows" },
    { "shadows take {root}/src --provider copy --no-writers",
      writes = "state", stays = true },
    { "shadows prune --keep-last 1" },
    { "shadows reap" },
  },
  transfer = {
    { "transfer" },
    { "transfer get http://127.0.0.1:9/x {root}/to/out --queue-only",
      writes = "state", bits = true },
  },
  purge = { { "purge --scratch {root}/tmp", free = true } },
  init = {
    { "init --repo {root}/to/new --config {root}/to/new.lua -p {root}/password",
      once = 10, writes = "target" },
    { "init --print", free = true, prose = true },
  },
  run = { { "run nightly --config {root}/conf.lua", writes = "repository state",
    repo = true, locks = "shared", records = true, configured = true } },
  systemd = { { "systemd nightly --config {root}/conf.lua --install "
    .. "--directory {root}/to/out --program /usr/bin/saros", writes = "target" } },
  unlock = { { "unlock {repo}", repo = true, later = true } },
  repl = { { "repl", plain = true, free = true, later = true } },
  help = { { "help exit-codes", plain = true, free = true } },
}

-- A new one comes last: who is tried with what stays as it was.
matrix.rows = {}
for _, later in ipairs { false, true } do
  for _, name in ipairs(verbs.names) do
    for i, row in ipairs(rows[name] or {}) do
      if (row.later or false) == later then
        row.verb, row.line = name, row[1]
        row.name = i == 1 and name or name .. " " .. i
        matrix.rows[#matrix.rows + 1] = row
      end
    end
  end
end

--- Verbs that nobody has thought of here.
function matrix.forgotten()
  local list = {}
  for _, name in ipairs(verbs.names) do
    if not rows[name] then list[#list + 1] = name end
  end
  return list
end

-- ------------------------------------------------------------------
-- The scene
-- ------------------------------------------------------------------

local CONF <const> = [[
repository = %s
password = { file = %s }
state_dir = %s
workflow "nightly" { sources = { %s }, provider = "copy", keep = { last = 2 },
  patience = 0 }
]]

-- As Lua reads it, also where it is no text.
local function literal(text)
  return '"' .. text:gsub('[%c"\\\x80-\xff]', function(c)
    return ("\\%03d"):format(c:byte())
  end) .. '"'
end

local quoted = function(text) return "'" .. text:gsub("'", "'\\''") .. "'" end
matrix.quoted = quoted

local function sh(text, ...)
  local said, good = volumes.run("%s", text:format(...))
  assert(good, said)
  return said
end

local base, template -- where they are; what all of them are made from

local function env_of(s)
  return { HOME = s.root .. "/home", XDG_CONFIG_HOME = s.root .. "/home",
    SAROS_STATE_DIR = s.root .. "/state", TMPDIR = s.root .. "/tmp",
    SAROS_CONFIG = "/dev/null", SAROS_SCENE = s.mark, XDG_RUNTIME_DIR = false,
    RESTIC_REPOSITORY = false, RESTIC_REPOSITORY_FILE = false,
    RESTIC_PASSWORD = false, RESTIC_PASSWORD_FILE = false, COLUMNS = false,
    RESTIC_PASSWORD_COMMAND = false, NO_COLOR = false, JOURNAL_STREAM = false,
    TERM = "dumb", RESTIC_HOST = false, LANG = "C.UTF-8",
    PWD = s.root }
end

--- Its configuration, and its environment.
function matrix.configure(s)
  outside.write(s.root .. "/conf.lua", CONF:format(literal(s.root .. "/r"),
    literal(s.root .. "/password"), literal(s.root .. "/state"),
    literal(s.root .. "/src")))
  s.env = env_of(s)
end

local function make_template()
  base = volumes.scratch() .. "/m"
  -- Where no disk is waited for.
  sh("chmod 755 '%s/..' 2>/dev/null; mkdir '%s'; mount -t tmpfs -o "
    .. "size=512M,mode=755 scenes '%s'", base, base, base)
  local t = { root = base .. "/template", mark = base }
  sh("cd '%s' && chmod 755 .. && mkdir -m 755 template && cd template && "
    .. "mkdir -m 755 tmp && mkdir -m 700 state "
    .. "home at && mkdir -m 755 to && mkdir -p src/d && echo one >src/a && "
    .. "seq 2000 >src/d/b && printf '%s\n' >password && chmod 600 password",
    base, matrix.PASSWORD)
  local r = t.root .. "/r"
  shared.cheap_at(r, matrix.PASSWORD)
  local repo <close> = shared.repository.open { location = r,
    password = matrix.PASSWORD }
  local function store()
    return assert(repo:backup { sources = { t.root .. "/src" },
      host = "here" }:wait()).id
  end
  t.first = store():sub(1, 8)
  matrix.configure(t)
  local ran = matrix.run(t, { "run", "nightly", "--config",
    t.root .. "/conf.lua" })
  assert(ran.code == 0, ran.err)
  local data = t.root .. "/data"
  sh("mkdir '%s'", data)
  app.database(data .. "/app.db", 10)
  local writer <close> = app.sqlite.writer { databases = {
    data .. "/app.db" } }
  assert(app.wsb.backup { repository = repo, paths = { data },
    provider = "copy", state_dir = t.root .. "/state",
    scratch = t.root .. "/tmp" }:wait())
  assert(writer)
  sh("echo two >>'%s/src/a'", t.root)
  store()
  return t
end

local made = 0
local making -- by whoever came first; the others wait for it

local function ready()
  if template then return end
  making = making or saros.spawn(make_template)
  template = assert(making:wait())
end

--- A scene of its own; `name` is that of its directory.
function matrix.scene(name)
  ready()
  made = made + 1
  local s = { number = made, mark = ("%s-%d"):format(base, made),
    first = template.first, had = template.root .. "/src" }
  s.root = ("%s/%d%s"):format(base, made, name or "")
  sh("cp -a --reflink=auto %s %s", quoted(template.root), quoted(s.root))
  matrix.configure(s)
  return setmetatable(s, { __close = function()
    volumes.run("%s", ("umount -R -l %s/* 2>/dev/null; rm -rf %s"):format(
      quoted(s.root), quoted(s.root)))
  end })
end

--- The words of a line in a scene.
function matrix.words(s, line)
  local words = {}
  for word in line:gmatch "%S+" do
    if word == "{repo}" then
      words[#words + 1], words[#words + 2] = "--repo", s.root .. "/r"
      for _, w in ipairs(s.password or { "--password-file",
        s.root .. "/password" }) do
        words[#words + 1] = w
      end
    else
      words[#words + 1] = (word:gsub("{(%a+)}", s))
    end
  end
  return words
end

--- Runs it there, in a task: { code, out, err }. `how`: env, wrap (a function of
--- the argv), and what else saros.process has.
function matrix.run(s, argv, how)
  how = how or {}
  local all = { cli.program, table.unpack(argv) }
  if how.wrap then all = how.wrap(all, s) end
  local o = { argv = all, cwd = s.root, env = {}, any_status = true,
    limit = 16 << 20, timeout = outside.patience }
  for key, value in pairs(s.env) do o.env[key] = value end
  for key, value in pairs(how.env or {}) do o.env[key] = value end
  for key, value in pairs(how.process or {}) do o[key] = value end
  local op <close> = saros.process(o)
  if how.meanwhile then how.meanwhile(op, s) end
  local r, err = op:wait()
  if not r then return { code = -1, out = "", err = err.message } end
  local code = r.status
  if r.signal then code = 128 + r.signal end
  return { code = code, out = r.stdout or "", err = r.stderr or "" }
end

-- What goes on until it is told: it is told when it is there.
local function stopped(row, how)
  if not row.stop then return how end
  local more = {}
  for key, value in pairs(how or {}) do more[key] = value end
  local function told(argv, s)
    local said = quoted(s.root .. "/at")
    return { "sh", "-c", ('"$@" & p=$!; i=0; while kill -0 $p 2>/dev/null && '
      .. "[ $i -lt 600 ] && ! mountpoint -q %s; do sleep 0.02; i=$((i+1)); "
      .. "done; kill -INT $p 2>/dev/null; wait $p"):format(said), "sh",
      table.unpack(argv) }
  end
  -- A terminal would not wait for who runs there.
  local function wrapped(argv, s)
    return how and how.wrap and how.wrap(argv, s) or argv
  end
  function more.wrap(argv, s)
    if how and how.terminal then return wrapped(told(argv, s), s) end
    return told(wrapped(argv, s), s)
  end
  return more
end

--- Runs a row's line in its scene.
function matrix.row(s, row, how, more)
  local words = matrix.words(s, row.line)
  -- Before a command, or the words of a file's.
  if more then
    for i, word in ipairs(more) do table.insert(words, 1 + i, word) end
  end
  return matrix.run(s, words, stopped(row, how))
end

-- ------------------------------------------------------------------
-- What is always so
-- ------------------------------------------------------------------

local documented = { [0] = true }
for _, code in ipairs(errors.codes) do documented[code[1]] = true end

--- Whether a verb may end so at all.
function matrix.is_documented(row, code, cut)
  if code == 130 or code == 141 then return true end
  if code > 128 then return cut or false end -- a signal has ended it
  if row.monitors then return code >= 0 and code <= 3 end
  if row.holds and code >= 125 and code <= 127 then return true end
  return documented[code] or false
end

local never <const> = { "traceback", "attempt to ", "bad argument",
  "stack overflow", "assertion failed", "nil value", "table: 0x", "userdata: 0x",
  "function: 0x", matrix.PASSWORD }

-- What is said to people, and to programs.
local function look_at_text(text, raw, say)
  for _, what in ipairs(never) do
    if text:find(what, 1, true) then say(("says %q"):format(what)) end
  end
  -- (The first pattern tries a long word once from each of its letters.)
  local at = text:find "%.lua:%d+:"
  local place = at and text:sub(math.max(at - 200, 1)):match "[%w_/]+%.lua:%d+:"
  if place and not place:find "conf%.lua" and not place:find "new%.lua" then
    say("says where in Lua: " .. place)
  end
  if raw then return end
  if text:find "[%z\1-\8\11-\31\127]" then say "has a control byte" end
  if not utf8.len(text) then say "is not UTF-8" end
end

--- Looks at what was said: calls `say` for each thing that is wrong.
function matrix.look(row, r, json, say, cut)
  if not matrix.is_documented(row, r.code, cut) then
    say(("ends with %d, which is nowhere documented"):format(r.code))
  end
  look_at_text(r.err, false, function(what) say("stderr " .. what) end)
  look_at_text(r.out, row.raw and not json, function(what) say("stdout " .. what) end)
  if row.plain or json == nil then return end
  if not json then
    local failed = r.code ~= 0 and r.code ~= 141
    if failed and r.err == "" and not row.monitors and not row.looks then
      say "fails, and says nothing"
    end
    return
  end
  local last
  if r.out ~= "" and r.out:sub(-1) ~= "\n" then say "has half a line" end
  for line in r.out:gmatch "[^\n]+" do
    last = core.json_read(line)
    if type(last) ~= "table" or last.saros ~= 1 or type(last.type) ~= "string" then
      return say("has a line that is none: " .. line)
    end
  end
  -- As its command ended, hold ends.
  if row.holds and last and last.status == r.code then return end
  local bad = r.code ~= 0 and r.code ~= 3 and r.code ~= 141 and r.code ~= 130
    and not row.monitors and not row.looks and not (cut and r.code > 128)
  if bad and not (last and last.type == "error") then
    say "has no error at its end"
  elseif bad and last.exit_code ~= r.code and not row.holds then
    say(("has an error of %s"):format(tostring(last.exit_code)))
  end
end

local function mounted(s)
  for line in io.lines "/proc/self/mountinfo" do
    if line:find(s.root .. "/at", 1, true) then return line end
  end
end

--- What must not be there when it has ended.
function matrix.left(s, say, row)
  local text = volumes.run("%s", ([[cd %s && { find r/locks -type f
    find r -name '*tmp*' -o -name '*.part'; find tmp -mindepth 1
    find state -path '*/shadows/*.json'; find . -path '*/.saros-shadows/*'
    grep -hF -- "$PWD/" /sys/block/loop*/loop/backing_file
    } 2>/dev/null]]):format(quoted(s.root)))
  for line in text:gmatch "[^\n]+" do
    if not (row and row.stays and line:find("/shadows/", 1, true)) then
      say("left " .. line)
    end
  end
  local mount = mounted(s)
  if mount then say("left a mount: " .. mount) end
end

-- Processes with this in their environment, which may still be about to end: what
-- they are, if they go on.
local function lasting(pattern)
  local left
  for i = 1, outside.patience * 20 do
    left = volumes.run("%s", ("grep -lzs '^SAROS_SCENE=%s' /proc/[0-9]*/environ | "
      .. "while read -r f; do tr '\\0' ' ' <${f%%environ}cmdline; echo; done")
      :format(pattern))
    if left == "" then return left end
    if i > 1 then saros.sleep(0.05):wait() end
  end
  return left
end

--- Processes that know of any scene and do not end.
function matrix.alive() return base and lasting(base) or "" end

-- ------------------------------------------------------------------
-- The table
-- ------------------------------------------------------------------

--- Cells that were looked at.
matrix.count = 0

--- Of how many verbs one is tried with a fault.
matrix.share = 3

-- Which codes are right: a number, a list of them, or a function of the row.
local function is_wanted(want, code)
  if type(want) == "table" then
    for _, one in ipairs(want) do if one == code then return true end end
    return false
  end
  return want == code
end

local function shown(want)
  return type(want) == "table" and table.concat(want, " or ") or tostring(want)
end

--- That the next run, with nothing in its way, is sound, and so is what it is
--- about. Of verbs that only look, when there is time.
function matrix.sound(s, row, say)
  if not matrix.long and not row.writes and not row.locks then return end
  -- What was killed has a helper that unmounts.
  for _ = 1, row.stop and outside.patience * 20 or 0 do
    if not mounted(s) then break end
    saros.sleep(0.05):wait()
  end
  local r = matrix.row(s, row)
  if r.code ~= 0 and r.code ~= row.once then
    return say(("the next run ended with %d: %s"):format(r.code, r.err))
  end
  if not row.repo or not (row.writes or ""):find "repository"
    and row.locks ~= "exclusive" and not matrix.long
  then
    return
  end
  r = matrix.run(s, matrix.words(s, "check {repo}"))
  if r.code ~= 0 then say("the repository is damaged: " .. r.out .. r.err) end
end

--- One cell: a list of what is wrong with it.
function matrix.cell(row, fault, json)
  local wrong = {}
  matrix.count = matrix.count + 1
  local s <close> = matrix.scene(fault.root)
  local r
  local function say(what)
    wrong[#wrong + 1] = ("%s%s, %s: %s"):format(row.name, json and " --json" or "",
      fault.name, what)
  end
  if fault.change then fault.change(s, row) end
  r = matrix.row(s, row, fault.how, json and { "--json" } or nil)
  local want = fault.code
  if type(want) == "function" then want = want(row, s) end
  if row.codes and row.codes[fault.name] then want = row.codes[fault.name] end
  if matrix.trace then matrix.trace(row, fault, json, r, want) end
  if want ~= nil and not is_wanted(want, r.code) then
    say(("it ended with %d and not %s:\n%s%s"):format(r.code, shown(want), r.out,
      r.err))
  end
  local heard = fault.unheard and { code = r.code, out = "", err = "" } or r
  -- What is lost on its way has no end.
  if not fault.dumb then
    matrix.look(row, heard, not fault.unheard and (json or false) or nil, say,
      fault.cut)
  end
  if fault.look then fault.look(s, row, r, say) end
  if fault.undo then fault.undo(s, row) end
  local leaves = fault.leaves
  if type(leaves) == "function" then leaves = leaves(row) end
  if not leaves then matrix.left(s, say, row) end
  local spoils = fault.spoils
  if type(spoils) == "function" then spoils = spoils(row) end
  if not spoils then matrix.sound(s, row, say) end
  return wrong
end

--- A row of the table: this fault with every verb that it concerns, several at a
--- time; what was wrong, as one text.
function matrix.of(fault, side)
  local list, wrong = {}, {}
  for i, row in ipairs(matrix.rows) do
    -- Each fault with some of the verbs, all of them when there is time.
    local now = matrix.long or fault.always
      or (i + #fault.name) % matrix.share == 0
    if (not fault.concerns or fault.concerns(row))
      and (matrix.only and row.name:find(matrix.only)
        or not matrix.only and now)
    then
      local prose = row.plain or row.prose
      if matrix.long and not prose then
        list[#list + 1] = { row, false }
        list[#list + 1] = { row, true }
      else
        list[#list + 1] = { row, (i + #fault.name) // matrix.share % 2 == 0
          and not prose }
      end
    end
  end
  local at = 0
  local function work()
    while at < #list do
      at = at + 1
      local row, json = table.unpack(list[at])
      for _, text in ipairs(matrix.cell(row, fault, json)) do
        wrong[#wrong + 1] = text
      end
    end
  end
  local tasks = {}
  for i = 1, side or 8 do tasks[i] = saros.spawn(work) end
  for _, task in ipairs(tasks) do assert(task:wait()) end
  local alive = matrix.alive()
  if alive ~= "" then wrong[#wrong + 1] = fault.name .. " left " .. alive end
  return table.concat(wrong, "\n")
end

--- Takes all of it away.
function matrix.close()
  if not base then return end
  volumes.run("umount -l '%s'; rm -rf '%s'", base, base:match "^(.*)/")
  base, template, making = nil, nil, nil
end

return matrix
