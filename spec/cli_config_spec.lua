-- The configuration of the command line: what it may say, and that nothing in
-- it can do anything else, or hang, or hide where it is wrong.
local cli = require "spec.cli"
local outside = require "spec.outside"
local volumes = require "spec.volumes"
require "spec.helper"

local CONFIG <const> = "conf.lua"

-- What `saros versions` says with such a configuration.
local function told(text, code, env)
  local root <close> = cli.scratch()
  outside.write(root.path .. "/" .. CONFIG, text)
  local more = { cwd = root.path, env = { HOME = root.path } }
  for name, value in pairs(env or {}) do more.env[name] = value end
  return cli.ends(code, { "versions", "--config", CONFIG }, more).err
end

local function wrong(text, line, what)
  local said = told(text, 2)
  assert.is_truthy(said:find(("saros: versions: %s:%d: "):format(CONFIG, line), 1,
    true), said)
  assert.is_truthy(said:find(what, 1, true), said)
  assert.is_nil(said:find("traceback", 1, true), said)
end

describe("a configuration", function()
  it("says where the repository is, and who knows the password", function()
    local said = told('repository = "/nowhere/at/all"\n'
      .. 'password = { file = "/nowhere" }\nlocal x = ("a"):rep(3)\n'
      .. 'metrics = "/tmp/" .. x\nmax_age = "26h"\n', 10)
    assert.matches("no repository in /nowhere/at/all", said)
    assert.matches("no repository in /of/env",
      told('repository = env "WHERE"', 10, { WHERE = "/of/env" }))
    assert.matches("no repository in /otherwise",
      told('repository = env("NOT_SET_AT_ALL", "/otherwise")', 10))
    assert.matches("which repository", told("", 2))
  end)

  it("names the line of a mistake", function()
    wrong('\n\nrepository = (', 3, "unexpected symbol")
    wrong('\nrepostory = "/x"', 2, "nothing called 'repostory'; 'repository' perhaps?")
    wrong('repository = 5', 1, 'a location, such as "/mnt/x" expected, got number')
    wrong('\npassword = 5', 2, 'password: where it is')
    wrong('\nprint "x"', 2, "there is no 'print' here")
    wrong('workflw "x" {}', 1, "'workflow' perhaps?")
    wrong('workflow "x" (5)', 1, "a table expected")
    wrong('workflow "x" {}\nworkflow "x" {}', 2, "there is a workflow \"x\" already, in line 1")
    wrong('\nerror "on purpose"', 2, "on purpose")
    wrong('repository = env "NOT_SET_AT_ALL"', 1, "the environment has no NOT_SET_AT_ALL")
    wrong('local t = nil\nt.x = 1', 2, "attempt to index")
    wrong('\nmax_age = "26x"', 2, 'max_age: a time such as "26h"')
    wrong('\nnotify = { url = "nowhere" }', 2, "notify: option 'url': http://")
    wrong('\nnotify = { mial = "root" }', 2, "'mail' perhaps?")
  end)

  it("can do nothing else", function()
    for _, name in ipairs { "io", "os", "require", "load", "loadstring", "dofile",
      "loadfile", "debug", "package", "setmetatable", "getmetatable", "rawset",
      "rawget", "coroutine", "collectgarbage", "print", "_G", "pcall", "xpcall",
      "warn", "arg" }
    do
      wrong("\nlocal x = " .. name, 2, ("there is no '%s' here"):format(name))
    end
    wrong('local x = ("x"):gsub("x", "y")', 1, "'gsub'")
    wrong('local x = ("x"):dump()', 1, "'dump'")
    wrong('_ENV.io = 1', 1, "nothing called 'io'")
    -- Not even to what others see: the methods of all texts are as before.
    local said = told('string.format = nil string.rep = nil table.concat = nil\n'
      .. 'math.max = nil\nrepository = "/nowhere"', 10)
    assert.matches("no repository in /nowhere", said)
    wrong("\27Lua", 1, "") -- no bytecode
  end)

  it("cannot hang, nor eat the memory", function()
    wrong("\n\nwhile true do end", 3, "takes too long")
    wrong("local i = 0\nrepeat i = i + 1 until false", 2, "takes too long")
    wrong("local s = 'x'\nwhile true do s = s .. s end", 2, "too much memory")
    wrong("\nlocal x = ('x'):rep(1 << 40)", 2, "too")
    wrong("\nlocal x = ('x'):rep(1 << 30)", 2, "too much memory")
    wrong("local t = {}\nfor i = 1, 1e12 do\n  t[i] = {}\nend", 3, "too much memory")
    wrong("local function f()\n  return 1 + f()\nend\nf()", 2, "too much memory")
    wrong("local t = {}\nfor i = 1, 1e7 do t[i % 100 + 1] = ('x'):rep(1000) end", 2,
      "takes too long")
    wrong("local x = table.concat({ ('x'):rep(5000000) }, '')\n"
      .. "local y = x .. x .. x", 2, "too much memory")
    wrong("local x = ('%99999d'):format(1)", 1, "invalid")
    wrong("table.sort({ 3, 2, 1, 5, 4 }, function(a, b) while true do end end)", 1,
      "takes too long")
    wrong(("("):rep(100000), 1, "")
    -- One step each, of a C function.
    wrong("local n = #('x'):rep(2, ',') + #(''):rep(1 << 62) + #(''):rep(9, '')\n"
      .. "error(n)", 2, "3")
    wrong("\nlocal a, b = ('x'):rep(3000000), ('x'):rep(3000000)\n"
      .. "for i = 1, 1e6 do local _ = a == b end", 3, "takes too long")
    wrong("local t = {}\nfor i = 1, 300000 do t[i] = i end\n"
      .. "for i = 1, 1e6 do table.insert(t, 1, table.remove(t, 1)) end", 3,
      "takes too long")
  end)

  it("finds no way to what is outside", function()
    wrong("local t = {}\nt.__index = t setmetatable(t, t)", 2, "'setmetatable'")
    wrong("local x = (''):rep(1, {})", 1, "bad argument")
    wrong("local x = ('x').format.__index", 1, "attempt to index")
    wrong("local x = ('%s'):format(env)\nx.y = 1", 2, "attempt to index")
    wrong("string.rep = nil\nlocal x = ('x'):gsub('x', 'y')", 2, "'gsub'")
    wrong("local x = string.find('a', 'b')", 1, "'find'")
    wrong("local x = ('a'):rep(30):match(('a*'):rep(30) .. 'b')", 1, "'match'")
    wrong("local x = string.format('%s', { __tostring = 1 }) .. {}", 1, "attempt")
    wrong("for _ in pairs(string) do for i = 1, 1e9 do end end", 1, "too long")
    wrong("local t = {} for i = 1, 200 do t = { t } end\nerror(t)", 2, "")
    wrong("goto x\n::x:: goto x", 2, "takes too long")
    wrong("local t = table.pack(table.unpack({}, 1, 1e7))", 1, "too many")
    wrong("local x = math.maxinteger // 0", 1, "divide by zero")
    wrong("return error(nil)", 1, "")
    wrong("table.concat({ {} })", 1, "invalid value")
  end)

  it("may begin and end its lines in any way", function()
    assert.matches("no repository in /nowhere",
      told("\xef\xbb\xbfrepository = '/nowhere'\n", 10))
    assert.matches("no repository in /nowhere",
      told("-- x\r\nrepository = '/nowhere'\r\nmax_age = '1d'\r\n", 10))
    assert.matches("no repository in /nowhere",
      told("#!/usr/bin/saros\nrepository = '/nowhere'", 10))
    wrong("\r\n\r\nx = 1\r\n", 3, "nothing called 'x'")
    wrong("repository = '/nowhere'\0", 1, "")
    wrong("\0\0\0", 1, "")
    wrong("-- \xff\xfe\n\xff = 1", 2, "")
  end)

  it("is a file, and of a size that somebody has written", function()
    local root <close> = cli.scratch()
    local function says(code, what, path)
      local r = cli.ends(code, { "versions", "--config", root.path .. "/" .. path })
      assert.is_truthy(r.err:find(what, 1, true), r.err)
    end
    volumes.run("cd '%s' && mkfifo fifo && truncate -s 100M large && ln -s loop "
      .. "loop && ln -s fifo to-fifo && ln -s none dangling && mkdir -p of/d && "
      .. "echo 'repository = \"/nowhere\"' >of/real && ln -s of/real good", root.path)
    says(2, "is no file", "fifo")
    says(2, "is no file", "to-fifo")
    says(2, "is no file", "of/d")
    says(2, "too large", "large")
    says(2, "no", "loop")
    says(2, "there is no", "dangling")
    says(2, "there is no", "of/real/below")
    says(10, "no repository in /nowhere", "good")
    assert.matches("is no file", cli.ends(2, { "versions", "--config",
      "/dev/zero" }).err)
    -- What a link names is looked at, with the directory that it is in.
    if volumes.run "id -u" ~= "0\n" then return end
    volumes.run("chmod 777 '%s/of'", root.path)
    says(2, "others may write", "good")
    volumes.run("chmod 755 '%s/of'; chmod 666 '%s/of/real'", root.path, root.path)
    says(2, "others may write", "good")
  end)

  it("is no file of others", function()
    if volumes.run "id -u" ~= "0\n" then return pending "only root has others" end
    local root <close> = cli.scratch()
    local path = root.path .. "/" .. CONFIG
    outside.write(path, 'repository = "/nowhere"')
    local function says(what)
      assert.is_truthy(cli.ends(2, { "versions", "--config", path }).err:find(what,
        1, true))
    end
    cli.ends(10, { "versions", "--config", path })
    volumes.run("chmod 666 '%s'", path)
    says "others may write"
    volumes.run("chmod 644 '%s'; chown 65534 '%s'", path, path)
    says "belongs to user 65534"
    volumes.run("chown 0 '%s'; chmod 777 '%s'", path, root.path)
    says "(its directory)"
    volumes.run("chmod 1777 '%s'", root.path)
    cli.ends(10, { "versions", "--config", path })
  end)

  it("may be called anything, and not be there", function()
    assert.matches("there is no /no\\x1bwhere", cli.ends(2, { "versions",
      "--config", "/no\27where" }).err)
    assert.matches("is no file", cli.ends(2, { "versions", "--config", "/tmp" }).err)
    local root <close> = cli.scratch()
    outside.write(root.path .. "/bad\27[2J.lua", "\nx = 1")
    local r = cli.ends(2, { "versions", "--config", root.path .. "/bad\27[2J.lua" })
    assert.is_nil(r.err:find "\27")
    assert.matches("bad\\x1b%[2J%.lua:2: ", r.err)
  end)

  it("is found where it is looked for", function()
    if volumes.run "id -u" ~= "0\n" or not outside.installed "setpriv" then
      return pending "only root can be somebody else"
    end
    local root <close> = cli.scratch()
    volumes.run("chmod 755 '%s' && mkdir -p '%s/c/saros' && chown -R 65534 '%s/c'",
      root.path, root.path, root.path)
    outside.write(root.path .. "/c/saros/config.lua", 'repository = "/of/user"')
    volumes.run("chown 65534 '%s/c/saros/config.lua'", root.path)
    local text = volumes.run("cd / && env -u SAROS_CONFIG -u RESTIC_REPOSITORY "
      .. "XDG_CONFIG_HOME='%s/c' setpriv --reuid 65534 --regid 65534 "
      .. "--clear-groups '%s' versions", root.path, cli.program)
    if text:find("Permission denied", 1, true) then
      return pending "nobody may not run it here"
    end
    assert.matches("no repository in /of/user", text)
  end)
end)

describe("a workflow of it", function()
  local function ran(text, code, ...)
    local root <close> = cli.scratch()
    outside.write(root.path .. "/" .. CONFIG, text)
    return cli.ends(code, { "run", "--config", root.path .. "/" .. CONFIG, ... },
      { cwd = root.path, env = { HOME = root.path } }).err
  end

  it("is named, or the one that was meant", function()
    assert.matches("no workflow 'nightli'; 'nightly' perhaps",
      ran('workflow "nightly" {}', 4, "nightli"))
    assert.matches("the configuration has none", ran("", 4, "nightly"))
  end)

  it("is wrong in the line of its option", function()
    if not pcall(require, "saros.workflow") then return pending "there is none" end
    local said = ran('\nworkflow "nightly" {\n  sources = { "/etc" },\n'
      .. '  to = { "/nowhere" },\n  keeep = { daily = 7 },\n}', 2, "nightly")
    assert.matches("conf.lua:5: workflow \"nightly\": .*'keeep'", said)
    assert.matches("'keep' perhaps", said)
    for _, slip in ipairs { { 'keep = { weekly = "x" }', "keep.weekly: a number" },
      { 'verify = "101%"', "verify: true, a share" },
      { 'password = { fil = "/x" }', "'file' perhaps" },
      { 'timeout = { backup = 0 }', "timeout.backup: more than 0" },
    } do
      said = ran('\nworkflow "nightly" {\n  sources = { "/etc" },\n'
        .. '  to = { "/nowhere" },\n  ' .. slip[1] .. ',\n}', 2, "nightly")
      assert.matches("conf.lua:5: workflow \"nightly\": ", said)
      assert.truthy(said:find(slip[2], 1, true), said)
    end
  end)
end)

describe("the record of a run", function()
  if not pcall(require, "saros.repository") then
    return pending "there is no repository without its module"
  end

  it("is where everything of saros is", function()
    local root <close> = cli.scratch()
    local function options(more)
      return ('{ sources = { "/etc/hostname" }, to = { "%s/none" }, '
        .. 'password = "x"%s }'):format(root.path, more)
    end
    local function records(where, ...)
      cli.ends(10, { "run", ... }, { cwd = root.path,
        env = { SAROS_STATE_DIR = root.path .. "/env", HOME = root.path } })
      local names = volumes.run("ls '%s/%s/state/runs' && rm -r '%s/%s'",
        root.path, where, root.path, where)
      assert.matches("^%d+T%d+Z%-%x+%.jsonl\n$", names)
    end
    local own = (', state_dir = "%s/own"'):format(root.path)
    outside.write(root.path .. "/f.lua", "return require 'saros'.workflow "
      .. options ', name = "x"')
    records("env", "f.lua")
    records("said", "--state-dir", root.path .. "/said", "f.lua")
    outside.write(root.path .. "/g.lua", "return require 'saros'.workflow "
      .. options(', name = "x"' .. own))
    records("own", "g.lua")
    outside.write(root.path .. "/c.lua", ('state_dir = "%s/config"\n'
      .. 'workflow "x" %s workflow "y" %s'):format(root.path, options "",
        options(own)))
    records("env", "--config", "c.lua", "x")
    records("own", "--config", "c.lua", "y")
  end)
end)

describe("a file that is run", function()
  it("is a workflow: what stands behind it is for that, or refused", function()
    if not pcall(require, "saros.workflow") then return pending "there is none" end
    local root <close> = cli.scratch()
    local options = { cwd = root.path, env = { HOME = root.path,
      SAROS_STATE_DIR = root.path .. "/state" } }
    outside.write(root.path .. "/f.lua", ([[
      print("given", ...)
      return require "saros".workflow { name = "x", sources = { "%s/f.lua" },
        to = { "%s/none" }, password = "x" }]]):format(root.path, root.path))
    local function says(code, ...)
      return cli.ends(code, { "run", ... }, options)
    end
    for _, more in ipairs { { "f.lua", "--dry-run" }, { "-n", "f.lua" },
      { "f.lua", "here", "-n", "--only", root.path .. "/none" } } do
      assert.matches("x would\n", says(0, table.unpack(more)).out)
    end
    assert.matches("no option %-%-dry%-rum; '%-%-dry%-run' perhaps",
      says(2, "f.lua", "--dry-rum").err)
    assert.matches("%-%-json stands before the file",
      says(2, "f.lua", "--json").err)
    assert.matches("no such target: /x", says(4, "f.lua", "-n", "--only", "/x").err)
    assert.same({}, require "saros.record".list {
      state_dir = root.path .. "/state" })
    assert.matches("given\there\t%-%-\t%-%-json\n",
      says(10, "f.lua", "here", "--", "--json").out)
  end)

  it("is a workflow of whose failure nobody could be told", function()
    if not pcall(require, "saros.workflow") then return pending "there is none" end
    local root <close> = cli.scratch()
    outside.write(root.path .. "/f.lua", ([[
      return require "saros".workflow { name = "x", sources = { "/etc/hostname" },
        to = { "%s/none" }, password = "x", notify = { command = "false" } }]])
      :format(root.path))
    assert.matches("saros: run: nobody could be told by command: false ",
      cli.ends(10, { "run", "f.lua" }, { cwd = root.path,
        env = { HOME = root.path, SAROS_STATE_DIR = root.path } }).err)
  end)

  it("is no workflow, and was not to do anything", function()
    local root <close> = cli.scratch()
    outside.write(root.path .. "/f.lua", "")
    assert.matches("it has done what it does", cli.ends(2, { "run", "-n",
      root.path .. "/f.lua" }).err)
  end)

  it("is a program", function()
    local root <close> = cli.scratch()
    local function file(text)
      outside.write(root.path .. "/f.lua", text)
      return root.path .. "/f.lua"
    end
    local r = cli.ends(0, { "run", file("print(arg[1], ...) require 'saros'"
      .. ".sleep(0.01):wait()"), "-x", "y" })
    assert.equal("-x\t-x\ty\n", r.out)
    assert.matches("f.lua:2: on purpose", cli.ends(1, { "run",
      file "\nerror 'on purpose'" }).err)
    assert.matches("f.lua:1: ", cli.ends(2, { "run", file "x x" }).err)
    cli.ends(4, { "run", root.path .. "/none.lua" })
    assert.matches("no shadow here", cli.ends(1, { "run", file
      "error(require 'saros.core'.failure('saros', 0x80004005, 'no shadow here'), 0)"
      }).err)
    -- What it returns is how it ended.
    cli.ends(0, { "run", file "return nil" })
    cli.ends(0, { "run", file "return true" })
    assert.matches("returned false", cli.ends(1, { "run", file "return false" }).err)
    assert.matches("f.lua: no room", cli.ends(1, { "run",
      file "return nil, 'no room'" }).err)
    local process = "return require 'saros'.process { argv = { '%s' } }"
    cli.ends(0, { "run", file(process:format "true") })
    assert.matches("status 1", cli.ends(1, { "run", file(process:format "false") }).err)
    assert.matches("status 1", cli.ends(1, { "run",
      file(process:format "false" .. ":wait()") }).err)
    assert.matches("in part", cli.ends(3, { "run",
      file "return { state = 'partial' }" }).err)
  end)
end)
