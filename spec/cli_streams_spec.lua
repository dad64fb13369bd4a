-- Every verb whose input, outputs, terminal or environment are not what one would
-- think of, and below a directory whose name is no text.
local matrix = require "spec.cli_matrix"
local volumes = require "spec.volumes"
require "spec.helper"

if matrix.missing then
  describe("every verb", function() pending(matrix.missing) end)
  return
end

-- There are many of these, and none of them is about one verb.
matrix.share = 5

local function with(script)
  return { wrap = function(argv)
    return { "sh", "-c", script, "sh", table.unpack(argv) }
  end }
end

-- A pipe that nobody reads, before anything is written to it.
local function broken(stream)
  return { wrap = function(argv)
    return { "perl", "-e", ("pipe(R, W); close R; open(%s, '>&', W) or die; "
      .. "close W; exec { $ARGV[0] } @ARGV"):format(stream), "--",
      table.unpack(argv) }
  end }
end

-- As it ends when all is well; hold has what its command makes of it, whose
-- output is the errors' with --json.
local function well(row) return row.holds and { 0, 1, 141 } or 0 end

local function lost(row)
  if row.holds then return { 0, 1, 141 } end
  return { 0, 1 }
end

local faults = {
  { name = "a pipe that nobody reads", how = broken "STDOUT", unheard = true,
    code = { 0, 141 } },
  { name = "errors that nobody reads", how = broken "STDERR", code = well },
  { name = "no input", how = with 'exec "$@" <&-', code = 0 },
  { name = "no output", how = with 'exec "$@" >&-', code = lost, dumb = true },
  { name = "no error output", how = with 'exec "$@" 2>&-', code = well },
  { name = "nothing open at all", how = with 'exec "$@" <&- >&- 2>&-',
    code = lost, dumb = true },
  { name = "an output on a full disk", how = with 'exec "$@" >/dev/full',
    code = lost, dumb = true },
  { name = "errors on a full disk", how = with 'exec "$@" 2>/dev/full',
    code = well },
  { name = "an input that never ends", how = with 'exec "$@" </dev/zero',
    code = function(row) return row.verb == "repl" and 1 or 0 end },
  { name = "no terminal to ask on", how = with 'exec setsid -w "$@" </dev/null',
    code = 0 },
  { name = "no environment", code = 0, how = { wrap = function(argv, s)
    return { "env", "-i", "PATH=/usr/bin:/bin:/usr/sbin:/sbin",
      "SAROS_CONFIG=/dev/null", "SAROS_STATE_DIR=" .. s.env.SAROS_STATE_DIR,
      "XDG_CONFIG_HOME=" .. s.env.XDG_CONFIG_HOME, "SAROS_SCENE=" .. s.mark,
      "TMPDIR=" .. s.env.TMPDIR, table.unpack(argv) }
  end } },
  { name = "an environment of nonsense", code = 0, how = { env = {
    LANG = "x\xff\27[2J", LC_ALL = "nowhere", TZ = ":/dev/full", COLUMNS = "-9e9",
    TERM = "\27[2J", NO_COLOR = "\xff", HOME = "", PWD = "/nowhere/../\27" } } },
  { name = "few descriptors", how = with 'ulimit -n 40; exec "$@"',
    code = well },
  { name = "a directory that is gone", code = function(row)
      return row.holds and 127 or 0 -- where its command would be
    end, how = {
    wrap = function(argv, s)
      return { "sh", "-c", 'mkdir gone && cd gone && rmdir "$0" && exec "$@"',
        s.root .. "/gone", table.unpack(argv) }
    end } },
}

-- ------------------------------------------------------------------
-- Terminals
-- ------------------------------------------------------------------

-- What draws and takes away, as screen does it.
local function plain(text)
  return (text:gsub("\r", ""):gsub("\27%[%??[%d;]*[ACDJKhlm]", ""))
end

local function terminal(how)
  return { terminal = true, env = { TERM = "xterm" }, wrap = function(argv)
    local words = {}
    for i, word in ipairs(argv) do words[i] = matrix.quoted(word) end
    -- A prompt waits for somebody who types.
    local typed = argv[2] == "repl" and "echo :quit | " or "exec "
    return { "sh", "-c", typed .. 'script -qec "$0" /dev/null',
      (how:gsub("RUN", function() return table.concat(words, " ") end)) }
  end }
end

local function drawn(_, row, r, say)
  if row.raw then return end
  local text = plain(r.out)
  if text:find "[%z\1-\8\11-\31\127]" then
    say(("draws a control byte: %q"):format(text))
  end
  for _, what in ipairs { "traceback", "attempt to ", "bad argument" } do
    if text:find(what, 1, true) then say("says " .. text) end
  end
end

for _, columns in ipairs { 1, 20 } do
  faults[#faults + 1] = { name = ("a terminal of %d columns"):format(columns),
    how = terminal(("stty cols %d rows 2; exec RUN"):format(columns)),
    unheard = true, look = drawn, code = 0 }
end
faults[#faults + 1] = { name = "a terminal that changes its size",
  how = terminal [[RUN & p=$!; while kill -0 $p 2>/dev/null; do
    stty cols 1 rows 1; stty cols 300 rows 90; stty cols 20; sleep 0.01; done
    wait $p]],
  unheard = true, look = drawn, code = 0 }

-- ------------------------------------------------------------------
-- Names
-- ------------------------------------------------------------------

for what, name in pairs {
  ["is for a shell"] = " '\"`touch pwned`$(touch pwned);touch pwned&#*?%s\\",
  ["moves a cursor"] = "\27[2J\27]0;x\7\r\8\u{202E}x\n\tlast line",
  ["is no UTF-8"] = "\xff\xfe\xc0\xaf",
  ["is as long as can be"] = ("n"):rep(200),
} do
  -- What is stored as applications see it has names in lines.
  local function refused(row)
    return name:find "\n" and (row.verb == "recover" or row.verb == "run")
  end
  faults[#faults + 1] = { name = "a directory whose name " .. what, root = name,
    spoils = refused, code = function(row)
      if refused(row) then return 2 end
      -- A unit is text, in lines.
      return row.verb == "systemd" and what ~= "is as long as can be" and { 0, 2 }
        or 0
    end, look = function(s, _, _, say)
      local found = volumes.run("%s", ("find %s -name pwned 2>/dev/null"):format(
        matrix.quoted(s.root:match "^(.*/m)/")))
      if found ~= "" then say "ran what a name says" end
    end }
end

describe("every verb", function()
  for _, fault in ipairs(faults) do
    it("withstands " .. fault.name, function()
      assert.equal("", matrix.of(fault))
    end)
  end
  teardown(matrix.close)
end)
