-- `saros repl`: on a terminal, of which the spec sees what a person would, and
-- of a pipe.
local cli = require "spec.cli"
local outside = require "spec.outside"
local screens = require "spec.screen"
require "spec.helper"

local CTRL <const> = { a = "\1", c = "\3", d = "\4", e = "\5", k = "\11",
  r = "\18", u = "\21", w = "\23", y = "\25", left = "\27[D", right = "\27[C",
  up = "\27[A", down = "\27[B", home = "\27[H", ["end"] = "\27OF",
  delete = "\27[3~" }

-- Lines of a pipe: what it said, its errors, its code.
local function piped(text, more)
  local o = { stdin = text }
  for name, value in pairs(more or {}) do o[name] = value end
  return cli.run({ "repl" }, o)
end

-- A session on a terminal; f gets what types, and what waits for a text on it.
local function session(f, o)
  o = o or {}
  local root <close> = cli.scratch()
  local columns = o.columns or 80
  local p <close> = outside.terminal("sh", "-c", ("stty cols %d rows %d; "
    .. "cd '%s'; exec env -u NO_COLOR HOME='%s' SAROS_STATE_DIR='%s' "
    .. "XDG_CONFIG_HOME=/dev/null SAROS_CONFIG=/dev/null TERM=%s '%s' repl")
    :format(columns, o.rows or 24, root.path, root.path, root.path,
    o.term or "xterm", cli.program))
  local s = { process = p, screen = screens.new(columns), seen = 0,
    root = root.path }
  function s.type(text) p:write((text:gsub("\n", "\r"))) end
  -- Until the screen shows that, and an answer of its own.
  function s.shows(text)
    while true do
      local shown = s.screen:text()
      if shown:find(text, 1, true) then return shown end
      local before = #p.output
      if not p:read(outside.patience) then
        error(("it ended, and did not show %q but:\n%s"):format(text, shown))
      end
      s.screen:feed(p.output:sub(before + 1))
    end
  end
  -- A mark that only its result shows: what came before it has been done.
  local marks = 0
  function s.done()
    marks = marks + 1
    s.type(("'mar' .. 'k%d'\n"):format(marks))
    return s.shows(('"mark%d"\n>'):format(marks))
  end
  -- A prompt below so many rows.
  local function prompted(above)
    while true do
      local rows = s.screen:rows()
      if #rows > above and rows[#rows]:match "^>>?$" then return rows end
      local before = #p.output
      assert(p:read(outside.patience), "it ended, and did not ask for more")
      s.screen:feed(p.output:sub(before + 1))
    end
  end
  -- What a line shows. Each is typed when it is asked for: what comes while
  -- another is being run is shown by the terminal, too.
  function s.enter(lines)
    s.done()
    local rows = s.screen:rows()
    local from = #rows
    for line in (lines .. "\n"):gmatch "[^\n]*\n" do
      s.type(line)
      rows = prompted(#rows)
    end
    return table.concat(rows, "\n", from, #rows - 1)
  end
  s.shows ">"
  f(s)
  if not o.over then
    s.type(CTRL.u .. ":quit\n")
    local _, how, code = p:finish()
    assert.same({ "exit", 0 }, { how, code })
  end
end

describe("lines of a pipe", function()
  it("are none where there is no input", function()
    local said, how, status = outside.run("sh", "-c",
      'exec "$1" repl <&-', "sh", cli.program)
    assert.same({ "exit", 0, "" }, { how, status, said })
  end)

  it("are run, and nothing but what they give is written", function()
    local r = piped "local x = 20\nx + 1, 'a'\nx = nil\nnil\n= x, 2\n"
    assert.same({ 0, "21  \"a\"\nnil\nnil  2\n", "" }, { r.code, r.out, r.err })
  end)

  it("belong together until they are whole", function()
    local r = piped "for i = 1, 2 do\nprint(i)\nend\nlocal t = {\n3\n}\nt[1]\n"
    assert.same({ 0, "1\n2\n3\n" }, { r.code, r.out })
    r = piped "for i = 1, 2 do\n"
    assert.equal(1, r.code)
    assert.matches("does not end", r.err)
  end)

  it("fail by the code, and go on", function()
    local r = piped "error 'on purpose'\nx = = 1\n'goes on'\n"
    assert.same({ 1, '"goes on"\n' }, { r.code, r.out })
    assert.matches("on purpose\n.*near '='", r.err)
  end)

  it("wait for operations", function()
    local r = piped [[
await saros.sleep(0.01)
local r = await saros.process { argv = { "echo", "x" } }
r.stdout
saros.sleep(0):wait()
local op = saros.copy { from = "/nowhere/at/all", to = "/nowhere/else" }
await op
]]
    assert.same({ 1, 'true\n"x\\n"\ntrue\n' .. 'nil  cannot find what is to be '
      .. 'copied, "/nowhere/at/all": No such file or directory\n' },
      { r.code, r.out })
  end)

  it("let tasks of earlier lines go on", function()
    local r = piped [[
local seen = {}
local t = saros.spawn(function() for i = 1, 3 do saros.sleep(0.01):wait() seen[i] = i end end)
await t
#seen
]]
    assert.equal("true\n3\n", r.out)
  end)

  it("show a running operation as running", function()
    local r = piped "op = saros.sleep(1000)\nop\n_:cancel()\nop:done()\n"
    assert.matches("^saros.sleep: pending\n0\n", r.out)
    assert.equal(0, r.code)
  end)

  it("end with what has begun cancelled", function()
    local root <close> = cli.scratch()
    local r = piped(("saros.spawn(function() local _ <close> = setmetatable({},"
      .. " { __close = function() io.open('%s/left', 'w'):close() end })"
      .. " saros.sleep(1000):wait() end)\nsaros.sleep(0):wait()\n")
      :format(root.path))
    assert.equal(0, r.code, r.err)
    assert.is_truthy(io.open(root.path .. "/left"))
  end)

  it("know a closed output", function()
    local _, how, code = os.execute(("yes '1' | head -n 100000 | '%s' repl "
      .. "2>/dev/null | head -n 1 >/dev/null"):format(cli.program))
    assert.same({ "exit", 0 }, { how, code })
  end)

  it("may be long, and have an end", function()
    local r = piped(("x = '%s'\n#x\n"):format(("a"):rep(5 << 20)))
    assert.same({ 0, "5242880\n" }, { r.code, r.out })
    r = piped("1\n", { argv = { "sh", "-c",
      'exec "$0" repl </dev/zero', cli.program } })
    assert.same({ 1, "a line of more than 16.0 MiB is not read\n" },
      { r.code, r.err })
  end)

  it("end as other verbs do when nobody can read what is printed", function()
    local ways = {
      { 141, "^$", { "perl", "-e", "pipe(R, W); close R; open(STDOUT, '>&', W) "
        .. "or die; close W; exec { $ARGV[0] } @ARGV", "--" } },
      { 1, "^saros: the output cannot be written: No space left",
        { "sh", "-c", 'exec "$@" >/dev/full', "sh" } },
      { 1, "^saros: the output cannot be written: Bad file",
        { "sh", "-c", 'exec "$@" >&-', "sh" } },
    }
    for _, text in ipairs { "print(1)", "1", "while true do print(1) end" } do
      for _, way in ipairs(ways) do
        local argv = { table.unpack(way[3]) }
        table.move({ cli.program, "repl" }, 1, 2, #argv + 1, argv)
        local r = piped(text, { argv = argv })
        assert.equal(way[1], r.code, text .. ": " .. r.err)
        assert.matches(way[2], r.err)
        assert.equal("", r.out)
      end
    end
  end)
end)

describe("what goes on behind the prompt", function()
  it("says once that it failed, and moves no cursor", function()
    local r = piped("saros.spawn(function() error '\\27[2J on purpose' end)\n"
      .. "saros.sleep(0):wait()\n_ = nil\ncollectgarbage()\n"
      .. "saros.sleep(0):wait()\nwarn 'something'\nsaros.sleep(0):wait()\n")
    assert.matches("nobody waited for: .*\\x1b%[2J on purpose", r.err)
    assert.matches("\nsomething\n$", r.err)
    assert.is_nil(r.err:find "\27")
  end)
end)

describe("a local", function()
  local function gives(out, text)
    local r = piped(text)
    assert.equal(out, r.out .. r.err)
  end

  it("is a variable of the next lines, and not a copy", function()
    gives("2\n2\n7\n8\n", "local n = 1 function add() n = n + 1 return n end\n"
      .. "add()\nn\nn = 7\nn\nadd()\n")
  end)

  it("of the same name is another one", function()
    gives("1\n2\n", "local x = 1 function old() return x end local x = 2\n"
      .. "old()\nx\n")
  end)

  it("of a block is not there afterwards", function()
    gives("nil\nnil\n", "do local inner = 1 end if true then local k = 2 end\n"
      .. "inner\nk\n")
  end)

  it("can be constant", function()
    local r = piped "local c <const> = 5\nlocal t <const> = { 1 }\nc\nt[1]\nc = 6\nc\n"
    assert.equal("5\n1\n5\n", r.out)
    assert.matches("assign to const variable 'c'", r.err)
  end)

  it("that is <close> is closed at the end of its line, which is said", function()
    local r = piped("local c <close> = setmetatable({}, { __close = function()"
      .. " print 'closed' end })\nc\n")
    assert.equal("closed\nnil\n", r.out)
    assert.matches("c is <close>", r.err)
  end)

  it("that was declared before an error is there", function()
    local r = piped "local a = 1 local b = error 'x'\na\nb\n"
    assert.equal("1\nnil\n", r.out)
  end)

  it("may be a function, an environment, or jumped over", function()
    gives("120\n", "local function f(n) return n < 2 and 1 or n * f(n - 1) end\n"
      .. "f(5)\n")
    gives("5\nnil\n", "local p = print\nlocal _ENV = { x = 5 }\nx\nprint\n")
    gives("nil\n", "goto out; local q = 1; ::out::\nq\n")
  end)

  it("may be one of very many", function()
    local lines = {}
    for i = 1, 500 do lines[i] = ("local v%d = %d"):format(i, i) end
    gives("501\n", table.concat(lines, "\n") .. "\nv1 + v500\n")
  end)

  it("cannot be had by what looks like one", function()
    gives("nil\n1\n", "x = 'local a = 1' -- local a = 2\na\n"
      .. "y = [[ local z\nend ]] z = 1\nz\n")
  end)
end)

describe("a value", function()
  local function shown(text, width)
    local r = piped(text .. "\n", { env = { COLUMNS = width } })
    assert.equal(0, r.code, r.err)
    return (r.out:gsub("\n$", ""))
  end

  it("is shown as Lua would have it", function()
    assert.equal('{ 1, "two", [10] = true, a = { b = {} }, ["x y"] = 1.5 }',
      shown "{ 1, 'two', a = { b = {} }, ['x y'] = 1.5, [10] = true }")
    assert.matches("^function%(a, %.%.%.%)  repl:1$",
      shown "function(a, ...) end")
  end)

  it("moves no cursor", function()
    local out = shown "{ ['\\27[2J'] = 'a\\27]0;x\\7\\xFF\\u{202E}\\n' }, 'é漢'"
    assert.is_nil(out:find "[%c\xFF]")
    assert.is_nil(out:find("\u{202E}", 1, true))
    assert.matches("é漢", out)
    assert.is_nil(shown("setmetatable({}, { __tostring = function() return "
      .. "'\\27[2J' end })"):find "\27")
    assert.matches("its __tostring failed: .*boo",
      shown "setmetatable({}, { __tostring = function() error 'boo' end })")
  end)

  it("has a limit in every direction", function()
    assert.equal("{ { { { { … } } } } }", shown "{{{{{{{}}}}}}}")
    assert.equal("{ me = { … itself } }", shown
      "(function() local t = {} t.me = t return t end)()")
    local many = shown "(function() local t = {} for i = 1, 1000 do t[i] = i end return t end)()"
    assert.matches("… 960 more", many)
    assert.matches("… %d+ more bytes", shown "('x'):rep(300000)")
    assert.matches("… %d+ more lines", shown
      "setmetatable({}, { __tostring = function() return ('x\\n'):rep(1000) end })")
  end)

  it("fits the width", function()
    local out = shown("{ alpha = 'one', beta = 'two', gamma = 'three' }", "30")
    assert.equal('{\n  alpha = "one",\n  beta = "two",\n  gamma = "three",\n}', out)
  end)

  it("of saros says what it is", function()
    assert.matches("^saros.copy: failed", shown(
      "local op = saros.copy { from = '/no', to = '/tmp/no' } op:wait()\nop"))
  end)
end)

describe("help", function()
  local function told(what)
    local r = piped("help(" .. what .. ")\n", { env = { COLUMNS = "60" } })
    for line in r.out:gmatch "[^\n]+" do
      if not line:find "%-%->" and not line:find "|" then
        assert.is_true(utf8.len(line) < 80, line)
      end
    end
    return r.out .. r.err
  end

  it("explains functions, methods, objects and names", function()
    assert.matches("saros%.copy%(options%).*one_file_system%?  boolean\n"
      .. ".*do not enter other", told "saros.copy")
    assert.matches("saros%.vss%.shadow%(options%).*provider", told "'vss.shadow'")
    assert.matches("saros%.operation:wait%(%[seconds%]%)", told "saros.sleep(0).wait")
    assert.matches("saros%.operation:cancel", told "saros.sleep(0)")
    assert.matches("saros%.repository%.open", told "'repository.open()'")
    assert.matches("saros%.vss%.shadow", told "vss")
  end)

  it("says what it does not know, and what was meant", function()
    assert.matches("'copy' perhaps", told "'coppy'")
    assert.matches("nothing is written", told "print")
    assert.is_nil(told("'\\27[2J'"):find "\27")
  end)
end)

describe("the tour", function()
  it("shows a shadow, a backup and a restore, and leaves nothing", function()
    local root <close> = cli.scratch()
    local r = piped(":tour\n" .. ("\n"):rep(8) .. "tour\nset\nrepo\n", { env = {
      TMPDIR = root.path, SAROS_STATE_DIR = root.path .. "/state" } })
    assert.same({ 0, "" }, { r.code, r.err })
    assert.matches('8/8.*nothing is damaged.*That was it.*\nnil\nnil\nnil\n$', r.out)
    assert.matches('"day 1\\nday 2\\nday 3\\n"', r.out)
    assert.equal("", (outside.run("sh", "-c",
      ("ls -d '%s'/saros-tour* 2>/dev/null || :"):format(root.path))))
  end)

  it("can be left in the middle", function()
    local root <close> = cli.scratch()
    local r = piped(":tour\n\n\n1 + 1\n\n:quit\n'after'\n", { env = {
      TMPDIR = root.path, SAROS_STATE_DIR = root.path .. "/state" } })
    assert.same({ 0, "" }, { r.code, r.err })
    assert.matches('\n2\n.*"after"\n$', r.out)
    assert.equal("", (outside.run("sh", "-c",
      ("ls -d '%s'/saros-tour* 2>/dev/null || :"):format(root.path))))
  end)
end)

describe("a line", function()
  it("is edited", function()
    session(function(s)
      assert.equal("> 'abc'\n\"abc\"", s.enter("'ac'" .. CTRL.left:rep(2) .. "b"
        .. CTRL["end"]))
      assert.equal("> 'x'\n\"x\"", s.enter("junk here" .. CTRL.a .. CTRL.k .. "'x'"))
      assert.equal("> 'kept'\n\"kept\"", s.enter("'kept' more" .. CTRL.w .. "\127"))
      assert.equal("> 12\n12", s.enter("2" .. CTRL.home .. "1" .. CTRL.e))
      assert.equal("> 'yy'\n\"yy\"", s.enter("yy" .. CTRL.u .. "'" .. CTRL.y .. "'"))
      assert.equal("> 'b'\n\"b\"", s.enter("'ab'" .. CTRL.a .. CTRL.right
        .. CTRL.delete .. CTRL.e))
      assert.equal("> 3\n3", s.enter("1 + 2\27b\27b" .. CTRL.k .. "\27d" .. CTRL.u
        .. "3"))
    end)
  end)

  it("has characters of any width", function()
    session(function(s)
      local text = "'漢字漢字漢字漢字漢字漢字漢字漢字e\u{301}x'"
      -- It does not fit: wide ones are not cut at the edge.
      s.done()
      s.type(text .. CTRL.left:rep(2) .. "\127" .. "y\n")
      local shown = s.shows "yx'"
      assert.is_nil(shown:find("e\u{301}", 1, true))
      assert.matches('"漢字漢字漢字漢字漢字漢字漢字漢字yx"', s.done()
        :gsub("\n", ""))
    end, { columns = 20 })
  end)

  it("may be longer than the terminal is high", function()
    session(function(s)
      s.type("#'" .. ("0123456789"):rep(60) .. "'" .. CTRL.a)
      s.type(CTRL.e .. "\n")
      s.shows "600"
    end, { columns = 40, rows = 6 })
  end)

  it("may be several, and is one in the history", function()
    session(function(s)
      assert.equal("> for i = 1, 2 do\n>> print(i)\n>> end\n1\n2",
        s.enter "for i = 1, 2 do\nprint(i)\nend")
      s.type(CTRL.up)
      s.shows ">> end\n"
      s.type(CTRL.up .. CTRL.a .. CTRL.k .. "print(i + 5)\n")
      s.shows "\n6\n7"
    end)
  end)

  it("may be pasted, and runs when Enter is typed", function()
    session(function(s)
      s.type "\27[200~local function f()\n\treturn 'pas' .. 'ted'\7\nend\nf()\27[201~"
      s.shows ">> f()"
      assert.is_nil(s.screen:text():find('"pasted"', 1, true))
      s.type("\n")
      s.done()
      assert.equal('> f()\n"pasted"', s.enter "f()")
    end)
  end)

  it("is forgotten with Ctrl-C", function()
    session(function(s)
      s.type "error 'never'"
      s.shows "never'"
      s.type(CTRL.c)
      assert.is_nil(s.done():find("repl:1: never", 1, true))
      s.type(CTRL.c)
      s.shows "leaves"
    end)
  end)

  it("is drawn anew when the width changes", function()
    session(function(s)
      s.type("'" .. ("w"):rep(50) .. "'")
      s.shows "w'"
      assert(os.execute(("stty cols 30 </proc/%d/fd/0"):format(s.process.pid)))
      local from = #s.process.output
      outside.eventually("it is drawn", function()
        s.process:read(outside.patience)
        return s.process.output:find("w'\27[K", from, true)
      end)
      s.screen = screens.new(30)
      s.type "\n"
      s.shows "w"
    end)
  end)

  it("keeps its place when something is printed", function()
    session(function(s)
      s.type("f = function() saros.sleep(0.2):wait() print('from' .. ' behind') end\n")
      s.type("saros.spawn(f)\n'typed"
        .. " meanwhile'")
      s.shows "from behind\n> 'typed meanwhile'"
      s.type("\n")
      s.shows '"typed meanwhile"'
    end)
  end)
end)

describe("the history", function()
  it("is kept, for its owner alone, without what is nobody's", function()
    session(function(s)
      for _, line in ipairs { "'plain'", " 'blank'", "x = 'my Password is 5'",
        "u = 'pg://me:word@host/'", "if x then\ny = [[\\n]] end" } do
        s.type(line .. "\n")
      end
      s.done()
      local path = s.root .. "/state/repl.history"
      local kept = outside.content(path)
      assert.equal("'plain'\nif x then\\ny = [[\\\\n]] end\n'mar' .. 'k1'\n", kept)
      local mode = outside.run("stat", "-c", "%a", path)
      assert.equal("600\n", mode)
      -- Another session has it.
      local other <close> = outside.terminal("sh", "-c", ("exec env HOME=/ "
        .. "SAROS_STATE_DIR='%s' TERM=xterm '%s' repl"):format(s.root, cli.program))
      other:expect "> "
      other:write(CTRL.up .. CTRL.up)
      other:expect ">> y = [[\\n]] end"
    end)
  end)

  it("is searched", function()
    session(function(s)
      s.type "'needle one'\n'hay'\n'needle two'\n"
      s.done()
      s.type(CTRL.r .. "needle")
      s.shows "(search: needle) 'needle two'"
      s.type(CTRL.r)
      s.shows "(search: needle) 'needle one'"
      s.type "zzz"
      s.shows "(nothing has: needlezzz)"
      s.type("\7" .. CTRL.r .. "hay" .. CTRL.e .. " .. 'stack'\n")
      s.shows '"haystack"'
    end)
  end)
end)

describe("Tab", function()
  it("completes names, fields, methods and options", function()
    session(function(s)
      s.type "local needle_in_hay = 7\n"
      s.type "need\t\n"
      s.shows "> needle_in_hay\n7"
      s.type "saros.get('x') == nil and saros.sle\t(0):wa\t"
      s.shows "saros.sleep(0):wa"
      s.type(CTRL.u .. "op = saros.sleep(0)\nop:pr\t")
      s.shows "> op:progress"
      s.type(CTRL.u .. "saros.copy { fr\t'/a', one\t")
      s.shows "saros.copy { from = '/a', one_file_system ="
      s.type(CTRL.u .. "op:re\t\t")
      s.shows "result  resume"
      s.type(CTRL.u .. ":to\t")
      s.shows "> :tour"
      s.type(CTRL.u)
    end)
  end)

  it("completes files in a text, whatever they are called", function()
    session(function(s)
      outside.write(s.root .. "/with \"quote\\ and é\27", "")
      assert(os.execute(("mkdir '%s/folder'"):format(s.root)))
      s.type "#'fol\t\t'\n"
      s.shows "#'folder/'\n7"
      s.type 'io.open("with\t") ~= nil\n'
      s.shows '\\"quote\\\\ and é\\x1b") ~= nil\ntrue'
      s.type "'no such fi\t"
      s.shows "'no such fi"
      s.type(CTRL.u)
    end)
  end)

  it("calls nobody's functions", function()
    session(function(s)
      s.type "t = setmetatable({}, { __index = function() os.exit(9) end })\n"
      s.done()
      s.type "t.x.y\tt:a\t"
      s.shows "t.x.yt:a"
      s.type(CTRL.u)
    end)
  end)
end)

describe("Ctrl-C", function()
  it("ends a wait, what it waits for, and what else the line began", function()
    session(function(s)
      s.type "old = saros.sleep(1000)\n"
      s.done()
      s.type("a = saros.sleep(1000) b = saros.sleep(1000) print('wai' .. 'ting') "
        .. "a:wait()\n")
      s.shows "waiting"
      s.type(CTRL.c)
      s.shows "interrupted"
      local states = s.enter "a:status().state, b:status().state, old:status().state"
      assert.matches('"cancelled"  "cancelled"  "running"', states)
    end)
  end)

  it("leaves what an earlier line has begun, and says so", function()
    session(function(s)
      -- Said by another task, when this one waits.
      s.type("old = saros.sleep(1000)\nsaros.spawn(function() saros.sleep(0)"
        .. ":wait() print('wai' .. 'ting') end) await old\n")
      s.shows "waiting"
      s.type(CTRL.c)
      s.shows "saros.sleep goes on: an earlier line began it"
      assert.matches('"running"', s.enter "old:status().state")
    end)
  end)

  it("leaves a task of an earlier line alone", function()
    session(function(s)
      s.type("n = 0 t = saros.spawn(function() while true do "
        .. "assert(saros.sleep(0.01):wait()) n = n + 1 end end)\n")
      s.type "print('wai' .. 'ting') saros.sleep(1000):wait()\n"
      s.shows "waiting"
      s.type(CTRL.c)
      s.shows "interrupted"
      assert.matches("saros.task: pending", s.enter "t")
      s.type "m = n\n"
      s.type "while n <= m do saros.sleep(0.01):wait() end print('it wen' .. 't on')\n"
      s.shows "it went on"
    end)
  end)

  it("ends what computes, blocks, or generates", function()
    session(function(s)
      for i, line in ipairs { "while true do end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do pcall(function() while true do end end) end",
        "table.sort({ 2, 1 }, function() return saros.sleep(1000):wait() end)",
        "saros.all { saros.spawn(function() saros.sleep(1000):wait() end) }:wait()",
        "saros.run(function() saros.sleep(1000):wait() end)",
        "for p in saros.sleep(1000):progress() do end",
      } do
        s.type(("print('wait' .. 'ing%d') %s\n"):format(i, line))
        s.shows(("waiting%d\n"):format(i))
        s.type(CTRL.c)
        s.done()
        local _, count = s.screen:text():gsub("interrupted", "")
        assert.equal(i, count, line)
      end
    end)
  end)

  it("ends what shows a value", function()
    session(function(s)
      s.type("t = setmetatable({}, { __tostring = function() print('wai' .. "
        .. "'ting') while true do end end })\nt\n")
      s.shows "waiting"
      s.type(CTRL.c)
      s.shows "interrupted"
    end)
  end)

  it("undoes what was begun", function()
    session(function(s)
      outside.write(s.root .. "/big", ("x"):rep(1 << 20))
      s.type(("print('wai' .. 'ting') saros.process { argv = { 'sh', '-c', "
        .. "'echo $$ >%s/pid; sleep 1000' } }:wait()\n"):format(s.root))
      s.shows "waiting"
      local pid = outside.eventually("it runs", function()
        return (outside.content(s.root .. "/pid") or ""):match "%d+"
      end)
      s.type(CTRL.c)
      s.shows "interrupted"
      assert.is_nil(io.open("/proc/" .. pid .. "/stat"))
    end)
  end)
end)

describe("a session", function()
  it("shows how far an operation is", function()
    session(function(s)
      -- Typed it looks otherwise.
      s.type "await saros.sleep(1000, { name = 'the' .. ' alarm' })\n"
      s.shows "the alarm"
      s.type(CTRL.c)
      s.shows "interrupted"
    end)
  end)

  it("ends with Ctrl-D, and with a signal, and the terminal is as it was", function()
    for _, ending in ipairs { "key", "signal" } do
      local p <close> = outside.terminal("sh", "-c", ("env HOME=/proc/nowhere "
        .. "SAROS_STATE_DIR=/proc/nowhere TERM=xterm '%s' repl; "
        .. "echo \"code $?\"; stty -a"):format(cli.program))
      p:expect "> "
      if ending == "key" then
        p:write(CTRL.d)
        p:expect "code 0"
      else
        local child = outside.run("sh", "-c",
          ("cat /proc/%d/task/*/children"):format(p.pid)):match "%d+"
        assert(os.execute("kill -TERM " .. child))
        p:expect "code 130"
      end
      local text = p:finish()
      assert.matches("[^-]icanon", text)
      assert.matches("[^-]echo ", text)
    end
  end)

  it("leaves the terminal as it was when a task leaves the program", function()
    local p <close> = outside.terminal("sh", "-c", ("env HOME=/proc/nowhere "
      .. "SAROS_STATE_DIR=/proc/nowhere TERM=xterm '%s' repl; echo \"code $?\"; "
      .. "stty -a"):format(cli.program))
    p:expect "> "
    p:write "saros.spawn(function() saros.sleep(0.2):wait() os.exit(7) end)\r"
    p:expect "code 7"
    assert.matches("[^-]icanon", (p:finish()))
  end)

  it("has a plain prompt where nothing can be drawn", function()
    session(function(s)
      s.type "1 + 1\n"
      s.shows "\n2\n>"
      s.type "for i = 5, 5 do\n"
      s.shows "\n>>"
      s.type "print(i) end\n"
      s.shows "\n5"
    end, { term = "dumb" })
  end)

  it("says what a wrong command should be", function()
    local r = piped ":halp\n:help\n"
    assert.matches(":halp; 'help' perhaps", r.err)
    assert.matches("await OP", r.out)
    assert.equal(2, cli.run({ "repl", "x" }).code)
  end)
end)
