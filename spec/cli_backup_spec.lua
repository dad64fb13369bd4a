-- Backups by the command line: all the way there and back, and what it says
-- and returns when something is in the way.
local cli = require "spec.cli"
local outside = require "spec.outside"
local shared = require "spec.repository"
local volumes = require "spec.volumes"
local helper = require "spec.helper"
local writers = require "spec.vss"

local saros = helper.saros

if shared.missing then
  describe("a backup by the command line", function() pending(shared.missing) end)
  return
end

-- A place with src in it, a cheap repository, its password, and ways to call
-- the program: p.saros(code, …), p.with(code, …) with the repository named.
local function with(f)
  local root <close> = cli.scratch()
  local p = { root = root.path, src = root.path .. "/src" }
  assert(os.execute(("cd '%s' && mkdir src home && printf x >password")
    :format(p.root)))
  shared.cheap_at(p.root .. "/r", "x")
  function p.put(name, text) outside.write(p.src .. "/" .. name, text) end
  function p.options(env)
    local all = { HOME = p.root .. "/home", XDG_CONFIG_HOME = p.root .. "/home",
      SAROS_STATE_DIR = p.root .. "/home/state" }
    for name, value in pairs(env or {}) do all[name] = value end
    return { cwd = p.root, env = all }
  end
  function p.saros(code, ...) return cli.ends(code, { ... }, p.options()) end
  function p.with(code, verb, ...)
    return cli.ends(code, { verb, "--repo", p.root .. "/r", "--password-file",
      p.root .. "/password", ... }, p.options())
  end
  p.put("a", "one")
  assert(os.execute(("mkdir '%s/d'"):format(p.src)))
  p.put("d/b", ("two "):rep(1000))
  return f(p)
end

-- For a shell: nothing of who runs the specs.
local IN <const> = "cd '%s' && XDG_CONFIG_HOME=/dev/null SAROS_STATE_DIR=$PWD "
  .. "&& export XDG_CONFIG_HOME SAROS_STATE_DIR && "

local function same(one, two)
  local text = volumes.run("diff -r '%s' '%s'", one, two)
  assert.equal("", text)
end

local function records(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    list[#list + 1] = assert(helper.core.json_read(line))
    assert.equal(1, list[#list].saros)
    assert.is_string(list[#list].type)
  end
  return list
end

local function of(list, kind)
  local some = {}
  for _, r in ipairs(list) do if r.type == kind then some[#some + 1] = r end end
  return some
end

describe("a list of versions", function()
  it("has those that are somebody's, and all of them when asked", function()
    with(function(p)
      local repo <close> = shared.repository.open { location = p.root .. "/r",
        password = "x" }
      local function store(path, ...)
        local op <close> = repo:backup { tags = { ... },
          sources = { { path = p.src, origin = { path = path } } } }
        return assert(op:wait()).id:sub(1, 8)
      end
      local mine = store("/srv", "saros", "saros-id:1", "weekly")
      local note = store("/.saros-learned", "saros-learned")
      local said = p.with(0, "versions").out
      assert.matches(mine .. ".* weekly +/srv", said)
      assert.is_nil(said:find(note, 1, true))
      assert.is_nil(said:find("saros-id", 1, true))
      said = p.with(0, "versions", "--all").out
      assert.matches(mine .. ".* saros,saros%-id:1,weekly +/srv", said)
      assert.is_truthy(said:find(note, 1, true))
      assert.equal(2, #of(records(p.with(0, "versions", "--json").out),
        "version"))
    end)
  end)
end)

describe("a backup", function()
  it("goes there, and comes back", function()
    with(function(p)
      local r = p.with(0, "backup", "src", "--tag", "x")
      local id = r.out:match "^version (%x+): 2 files"
      assert.is_string(id, r.out)
      assert.is_truthy(p.with(0, "versions").out:find(id, 1, true))
      local listed = of(records(p.with(0, "versions", "--json").out), "version")
      assert.equal(1, #listed)
      assert.same({ "x" }, listed[1].tags)
      assert.same({ p.src }, listed[1].paths)
      p.with(0, "restore", id, "--target", "out")
      same(p.src, p.root .. "/out" .. p.src)
      p.with(0, "restore", "latest:" .. p.src, "--target", "again")
      same(p.src, p.root .. "/again")
      assert.equal("one", p.with(0, "dump", p.src .. "/a").out)
      assert.is_truthy(p.with(0, "ls").out:find("\n" .. p.src .. "/d/b\n", 1, true))
      p.put("a", "three")
      p.with(0, "backup", "src", "--quiet")
      assert.equal("M  " .. p.src .. "/a\n", p.with(0, "diff", id).out)
      assert.matches("/src/a\n", p.with(0, "find", "a").out)
      p.with(4, "find", "nowhere")
      p.with(4, "restore", "00000000", "--target", "none")
      assert.matches("1 version removed",
        p.with(0, "forget", "--keep-last", "1", "--prune").out)
      assert.matches("nothing is damaged", p.with(0, "check", "--read-data").out)
    end)
  end)

  it("says how it is restored, and both ways work", function()
    with(function(p)
      local said = p.with(0, "backup", p.src).err
      local ways = {}
      for line in said:gmatch "\n  ([^\n]+)" do ways[#ways + 1] = line end
      assert.equal(2, #ways)
      for i, line in ipairs(ways) do
        local name = line:match "^%S+"
        if name == "saros" or outside.installed(name) then
          local text, good = volumes.run("cd '%s' && PATH='%s':$PATH && "
            .. "XDG_CONFIG_HOME='%s' SAROS_STATE_DIR=$PWD "
            .. "&& export XDG_CONFIG_HOME SAROS_STATE_DIR && %s", p.root, cli.program:match "^(.*)/",
            p.root .. "/home", (line:gsub("/scratch", p.root .. "/way" .. i)))
          assert.is_true(good, text)
          same(p.src, p.root .. "/way" .. i .. p.src)
        end
      end
      assert.equal("", p.with(0, "backup", p.src, "--quiet").err)
    end)
  end)

  it("is of names that are not text, and shows nothing of them", function()
    with(function(p)
      local name = "bad\xff\27[2Jname\n\u{202E}x"
      p.put(name, "hostile")
      p.with(0, "backup", p.src)
      for _, verb in ipairs { "ls", "find" } do
        local r = p.with(0, verb, table.unpack(verb == "find" and { "*bad*" } or {}))
        assert.is_truthy(r.out:find("bad\\xff\\x1b[2Jname", 1, true), r.out)
        assert.is_nil(r.out:find "[\27\xff]")
        assert.is_nil(r.out:find("\u{202E}", 1, true))
      end
      local all = of(records(p.with(0, "ls", "--json").out), "file")
      local found
      for _, item in ipairs(all) do
        if item.path_b64 or item.path:find "bad" then found = item end
      end
      assert.equal(p.src .. "/" .. name, found.path)
      p.with(0, "restore", "latest:" .. p.src, "--target", "out")
      same(p.src, p.root .. "/out")
      assert.equal("hostile", p.with(0, "dump", p.src .. "/" .. name).out)
    end)
  end)

  it("of a pipe is whole or not at all", function()
    with(function(p)
      local o = p.options()
      o.stdin = "through a pipe"
      cli.ends(0, { "backup", "--stdin", "s.txt", "--repo", "r", "-p", "password" }, o)
      assert.equal("through a pipe", p.with(0, "dump", "/s.txt").out)
    end)
  end)

  it("takes no shadow where none is wanted, and fails where one must be",
    function()
      with(function(p)
        local r = p.with(0, "backup", p.src, "--shadow", "never")
        assert.is_nil(r.err:find("shadow", 1, true))
        r = p.with(0, "backup", p.src)
        if r.err:find("so there is no shadow", 1, true) then
          assert.matches("can be no shadow copy",
            p.with(1, "backup", p.src, "--shadow", "require").err)
        end
      end)
    end)

  it("reads the shadow where there can be one", function()
    if volumes.missing then return pending(volumes.missing) end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(why) end
    with(function(p)
      assert(os.execute(("cp -R '%s' '%s/src'"):format(p.src, v.path)))
      outside.write(p.root .. "/conf.lua", ("state_dir = %q"):format(p.root .. "/state"))
      local r = p.with(0, "backup", v.path .. "/src", "--config", "conf.lua",
        "--shadow", "require")
      assert.matches("shadow copy of .* %(btrfs", r.err)
      p.with(0, "restore", "latest:" .. v.path .. "/src", "--target", "out")
      same(p.src, p.root .. "/out")
      r = p.with(0, "backup", v.path .. "/src", "--config", "conf.lua")
      assert.matches("0 new, 0 changed, 2 as before", r.out)
      -- What is no part of the shadow is no part of the version.
      volumes.run("btrfs subvolume create '%s/src/inner'", v.path)
      r = p.with(0, "backup", v.path .. "/src", "--config", "conf.lua")
      assert.matches("nested subvolume [^\n]*/src/inner is not in the shadow",
        r.err)
    end)
  end)
end)

describe("a shadow", function()
  it("waits for its turn, as long as it is told", function()
    if volumes.missing then return pending(volumes.missing) end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then return pending(why) end
    with(function(p)
      outside.write(v.path .. "/file", "text")
      local line = { "env", "HOME=" .. p.root, "SAROS_STATE_DIR=" .. p.root
        .. "/home/state", "XDG_CONFIG_HOME=/dev/null", cli.program, "backup",
        v.path, "--repo", p.root .. "/r", "--password-file", p.root .. "/password",
        "--shadow", "require" }
      saros.run(function()
        local gate, held = helper.gate()
        local entered, inside = helper.gate()
        local _ <close> = writers.writer(1, { components = { {
          type = "filegroup", name = "files", files = { v.path } } },
          freeze = function()
            entered:finish(0)
            held:wait()
          end })
        local first = saros.vss.shadow { paths = { v.path },
          state_dir = p.root .. "/home/state" }
        inside:wait()
        local said, _, code = outside.run("sh", "-c", '"$@" --retry-lock 0 2>&1',
          "sh", table.unpack(line))
        assert.equal(1, code)
        assert.matches("one at a time", said)
        local p2 <close> = outside.start("sh", "-c", 'exec "$@" 2>&1', "sh",
          table.unpack(line))
        p2:expect "waits for its turn"
        gate:finish(0)
        assert(first:wait()):close()
        said, _, code = p2:finish()
        assert.equal(0, code, said)
      end)
    end)
  end)
end)

describe("a restore", function()
  it("asks where to, as a usage", function()
    with(function(p)
      assert.matches("Say --target DIRECTORY", p.with(2, "restore").err, 1, true)
    end)
  end)
end)

describe("a new repository", function()
  it("is made by init with a configuration that is not there yet", function()
    with(function(p)
      p.saros(0, "init", "--repo", "new", "--config", p.root .. "/c/new.lua")
      p.saros(0, "backup", "src", "--config", p.root .. "/c/new.lua")
      p.saros(2, "backup", "src", "--config", p.root .. "/c/none.lua")
      p.saros(2, "init", "--repo", "other", "--config", p.root .. "/src")
    end)
  end)

  it("is made by init, with a password and a configuration", function()
    with(function(p)
      local conf = p.root .. "/conf.lua"
      local r = p.saros(0, "init", "--repo", "new", "--config", conf,
        "--password-file", "password")
      assert.matches("made a NEW repository in " .. p.root:gsub("%p", "%%%0") .. "/new",
        r.err)
      assert.equal("600", (volumes.run("stat -c %%a '%s'", conf):gsub("\n", "")))
      p.saros(0, "backup", "src", "--config", conf)
      assert.matches("src", p.saros(0, "versions", "--config", conf).out)
      -- Once more changes nothing.
      local before = outside.content(conf)
      p.saros(10, "init", "--repo", "new", "--config", conf)
      assert.matches("stays as it is", p.saros(0, "init", "--config", conf).err)
      -- Where the configuration says another one, it is named; and each works.
      for i, more in ipairs { { "--config", conf }, { "--no-config" } } do
        r = p.saros(0, "init", "--repo", "new" .. i, "-p", "password",
          table.unpack(more))
        local now = r.err:match "\nNow:\n  saros (backup [^\n]+)"
        assert.truthy(now:find("--repo " .. p.root .. "/new" .. i, 1, true))
        local words = {}
        for word in now:gmatch "%S+" do words[#words + 1] = word end
        words[2] = "src"
        p.saros(0, table.unpack(words))
      end
      assert.equal(before, outside.content(conf))
    end)
  end)

  it("is opened with its own password beside a configuration's", function()
    with(function(p)
      local conf = p.root .. "/conf.lua"
      local function with_conf(code, ...)
        local words = { ... }
        table.move({ "--config", conf }, 1, 2, #words + 1, words)
        return p.saros(code, table.unpack(words))
      end
      p.saros(0, "backup", "src", "--repo", "one")
      with_conf(0, "init", "--repo", "two")
      with_conf(0, "backup", "src")
      assert.matches("src", with_conf(0, "versions", "--repo", "one").out)
      assert.matches("src", with_conf(0, "versions", "--repo", "two").out)
      -- Of the configuration's repository the configuration knows.
      local text, changed = outside.content(conf):gsub("\npassword = [^\n]*",
        "\npassword = { file = '" .. p.root .. "/password' }")
      assert.equal(1, changed)
      outside.write(conf, text)
      with_conf(12, "versions", "--repo", "two")
      with_conf(0, "versions", "--repo", "one")
    end)
  end)

  it("is made where --repo says, and never at a mistyped place", function()
    with(function(p)
      local function none(name, ...)
        local r = p.saros(10, "backup", "src", "--repo", name, ...)
        assert.equal("", r.out)
      end
      none "nowhere/typo"
      none "src"
      none "password"
      none("typo", "--no-init")
      p.saros(2, "backup", "src", "--init", "--no-init", "--repo", "typo")
      outside.write(p.root .. "/conf.lua", 'repository = "typo"')
      none("typo", "--no-init", "--config", "conf.lua")
      p.saros(10, "backup", "src", "--config", "conf.lua")
      assert.equal("conf.lua\nhome\npassword\nr\nsrc\n",
        volumes.run("ls '%s'", p.root))
      -- Nothing else is needed.
      local r = p.saros(0, "backup", "src", "--repo", "new")
      assert.matches("NEW repository", r.err)
      local file = r.err:match "password is new, in (%S+)"
      assert.equal("600", (volumes.run("stat -c %%a '%s'", file):gsub("\n", "")))
      assert.matches("password%-file " .. file:gsub("%p", "%%%0"), r.err)
      assert.is_nil(r.err:find(outside.content(file):sub(1, -2), 1, true))
      p.saros(0, "backup", "src", "--repo", p.root .. "/new/")
      assert.equal(2, #of(records(p.saros(0, "versions", "--repo", "./new",
        "--json").out), "version"))
      -- Its disk is not mounted.
      assert(os.rename(p.root .. "/new", p.root .. "/unmounted"))
      for _, how in ipairs { "-q", "--init" } do
        assert.matches("is its disk mounted", p.saros(10, "backup", "src",
          "--repo", "new", how).err)
      end
      p.saros(10, "init", "--repo", "new")
      assert(os.rename(p.root .. "/unmounted", p.root .. "/new"))
      p.saros(0, "backup", "src", "--repo", "new")
      -- The same of one with somebody's own password.
      p.with(0, "backup", "src")
      assert(os.rename(p.root .. "/r", p.root .. "/unmounted"))
      assert.matches("is its disk mounted", p.with(10, "backup", "src").err)
    end)
  end)

  it("of two that are made at once is one", function()
    with(function(p)
      local ops = {}
      for i = 1, 2 do
        local o = p.options()
        ops[i] = saros.process { argv = { cli.program, "init", "--repo", "new",
          "--no-config", "-p", "password" }, cwd = o.cwd, env = o.env,
          any_status = true }
      end
      local codes = {}
      for i, op in ipairs(ops) do codes[i] = assert(op:wait(60)).status end
      assert.is_true(codes[1] == 0 or codes[2] == 0)
      p.saros(0, "versions", "--repo", "new", "-p", "password")
    end)
  end)
end)

describe("what is in the way", function()
  it("is no run when nothing was asked for", function()
    with(function(p)
      assert.matches("Name paths", p.with(2, "backup").err)
      assert.matches("there is no record", p.saros(3, "status").out)
      p.with(0, "backup", p.src)
      assert.matches("^SAROS OK", p.saros(0, "status").out)
    end)
  end)

  it("has an exit code of its own", function()
    with(function(p)
      p.saros(10, "versions", "--repo", "nowhere", "-p", "password")
      p.saros(10, "versions", "--repo", "nowhere")
      outside.write(p.root .. "/other", "y")
      local r = p.saros(12, "versions", "--repo", "r", "-p", "other")
      assert.matches("password", r.err)
      assert.is_nil(r.err:find("\ny", 1, true))
      p.saros(12, "versions", "--repo", "r")
      assert.matches("which repository", p.saros(2, "versions").err)
      p.saros(4, "dump", "--repo", "r", "-p", "password", "/none")
      p.with(0, "backup", "src")
      p.with(4, "dump", "/none")
      p.with(4, "ls", "latest", "/none")
      p.with(4, "ls", "0123")
      -- What is not there is that, by whatever word it was named.
      p.with(4, "ls", "nosuch")
      p.with(4, "restore", "nosuch", "--target", "t")
      p.with(4, "restore", "latest:/none", "--target", "t")
      p.with(4, "backup", "src", "--parent", "0123")
      p.with(4, "report", "none.jsonl")
      -- What was said wrongly is that, by whomever it is seen.
      for option, value in pairs { ["--keep-daily"] = "x",
        ["--keep-within"] = "3x", ["--group-by"] = "x" } do
        assert.matches(option:gsub("^%-*", ""):gsub("%-", "."),
          p.with(2, "forget", "--keep-last", "1", option, value).err)
      end
      p.with(2, "check", "--read-data-subset", "8/7")
      p.with(2, "prune", "--max-unused", "x")
      p.with(2, "find", "[")
      p.with(2, "backup", "src", "--read-concurrency", "0")
      assert.matches("path is empty", p.with(2, "backup", "").err)
      for _, argv in ipairs { { "hold", "", "--", "true" },
        { "report", "--out", "" }, { "shadows", "take", "" } } do
        assert.matches("path is empty", p.saros(2, table.unpack(argv)).err)
      end
      r = p.saros(12, "versions", "--repo", "r", "-p", "other", "--json")
      local last = records(r.out)
      assert.equal("error", last[#last].type)
      assert.equal(12, last[#last].exit_code)
    end)
  end)

  it("makes the exit code 3 when it is only some", function()
    with(function(p)
      local r = p.with(3, "backup", p.src, p.root .. "/none")
      assert.matches("none", r.out)
      assert.matches("2 files", r.out)
      r = p.with(3, "backup", p.src, p.root .. "/none", "--json")
      local list = records(r.out)
      assert.equal(p.root .. "/none", of(list, "failure")[1].path)
      assert.is_true(of(list, "summary")[1].partial)
      p.with(1, "backup", p.root .. "/none")
    end)
  end)

  it("is in the record, too", function()
    with(function(p)
      local function last(kind)
        local list = require "saros.record".list {
          state_dir = p.root .. "/home/state" }
        assert.equal(kind, list[1].kind)
        return list[1].state
      end
      p.with(0, "backup", p.src)
      assert.equal("succeeded", last "backup")
      p.with(3, "backup", p.src, p.root .. "/none")
      assert.equal("partial", last "backup")
      assert(os.execute(("chmod -R u+w '%s/r/data' && find '%s/r/data' -type f "
        .. "-exec truncate -s 1 {} +"):format(p.root, p.root)))
      p.with(3, "restore", "latest", "--target", p.root .. "/back")
      assert.equal("partial", last "restore")
      p.with(3, "check", "--read-data")
      assert.equal("failed", last "check")
    end)
  end)

  it("is a lock of somebody else", function()
    with(function(p)
      local repo <close> = shared.repository.open { location = p.root .. "/r",
        password = "x" }
      local reader, writer = outside.system.pipe()
      local op <close> = repo:backup { sources = { { name = "gate",
        stream = reader } } }
      outside.system.close(reader)
      outside.eventually("it has the lock", function() return #repo:locks() > 0 end)
      local r = p.with(11, "prune")
      assert.matches("lock", r.err)
      assert.matches("lock", p.with(11, "prune", "--retry-lock", "0s").err)
      assert.matches("or 10m", p.with(2, "prune", "--retry-lock", "soon").err)
      -- Whose it is, and that it is not taken from him unasked.
      r = p.with(0, "unlock")
      assert.matches("^0 locks removed\n[^\n]+\n", r.out)
      assert.equal(1, #repo:locks())
      assert.matches("^1 lock removed\n$", p.with(0, "unlock", "--all").out)
      assert.equal(0, #repo:locks())
      outside.system.close(writer)
      op:wait()
    end)
  end)

  it("is a disk that is full", function()
    if volumes.missing then return pending(volumes.missing) end
    local v <close>, why = volumes.make("ext4", 16)
    if not v then return pending(why) end
    with(function(p)
      assert(os.execute(("head -c 40000000 /dev/urandom >'%s/large' && "
        .. "env -u LD_PRELOAD split -b 100000 '%s/large' '%s/small' && "
        .. "truncate -s 0 '%s/large'")
        :format(p.src, p.src, p.src, p.src)))
      local where = v.path .. "/r"
      p.saros(0, "init", "--repo", where, "-p", "password", "--no-config")
      local r = p.saros(1, "backup", p.src, "--repo", where, "-p", "password")
      local said, times = r.err:gsub("[Ss]pace", "")
      assert.same({ 1, nil }, { times, said:find("small", 1, true) }, r.err)
      assert.equal("", p.saros(0, "versions", "--repo", where, "-p", "password").out)
      r = cli.run({ "versions", "--help" }, { stdout = "null" })
      assert.equal(0, r.code)
    end)
  end)

  it("is an output that nobody reads", function()
    with(function(p)
      for i = 1, 3000 do p.put(("file-with-a-long-name-%05d"):format(i), "") end
      p.with(0, "backup", p.src, "-q")
      local text = volumes.run(IN .. "{ '%s' ls -r r -p password; echo $? >&2; } "
        .. "2>&1 >/dev/full", p.root, cli.program)
      assert.matches("cannot be written: No space left on device\n1\n$", text)
      text = volumes.run(IN .. "{ '%s' ls -r r -p password; echo $? >&2; } "
        .. "| head -1 >/dev/null", p.root, cli.program)
      assert.equal("141\n", text)
      -- A backup is more than what it says of itself.
      text = volumes.run(IN .. "{ '%s' backup src -r r -p password 2>&1; "
        .. "echo $? >&2; } | true", p.root, cli.program)
      assert.matches("141\n$", text)
      assert.equal(2, #of(records(p.with(0, "versions", "--json").out), "version"))
    end)
  end)

  it("is who may not read it", function()
    if not outside.installed "setpriv" or volumes.run "id -u" ~= "0\n" then
      return pending "only root can be somebody else"
    end
    with(function(p)
      local there = volumes.run("setpriv --reuid 65534 --regid 65534 "
        .. "--clear-groups '%s' --version", cli.program)
      if not there:find "^saros" then return pending "nobody may not run it here" end
      local function as_nobody(...)
        local o = p.options()
        local op = saros.process { argv = { "setpriv", "--reuid", "65534",
          "--regid", "65534", "--clear-groups", cli.program, ... },
          env = o.env, cwd = "/", any_status = true }
        return assert(op:wait(60))
      end
      outside.write(p.root .. "/open", "x")
      assert(os.execute(("chmod 755 '%s' && chmod 644 '%s/open'"):format(p.root, p.root)))
      local r = as_nobody("versions", "--repo", p.root .. "/r", "-p", p.root .. "/open")
      assert.equal(13, r.status, r.stderr)
      shared.cheap_at(p.root .. "/theirs", "x")
      assert(os.execute(("chown -R 65534 '%s/theirs'; chmod 600 '%s/d/b'")
        :format(p.root, p.src)))
      r = as_nobody("backup", p.src, "--repo", p.root .. "/theirs", "-p",
        p.root .. "/open")
      assert.equal(3, r.status, r.stderr)
      assert.matches("d/b: ", r.stdout)
      -- Who may only read has all but the lock.
      p.with(0, "backup", p.src)
      assert(os.execute(("chmod -R a+rX,go-w '%s/r'"):format(p.root)))
      local function read(...)
        return as_nobody("ls", "latest", "--repo", p.root .. "/r", "-p",
          p.root .. "/open", ...)
      end
      r = read()
      assert.equal(13, r.status, r.stderr)
      assert.matches("needs none while nobody prunes %(no_lock, %-%-no%-lock%)",
        r.stderr)
      r = read "--no-lock"
      assert.equal(0, r.status, r.stderr)
    end)
  end)

  it("is nobody else at the same time", function()
    with(function(p)
      local ops = {}
      for i = 1, 2 do
        ops[i] = saros.process { argv = { cli.program, "backup", p.src, "--repo",
          p.root .. "/r", "-p", p.root .. "/password", "--tag", "t" .. i },
          env = p.options().env, any_status = true }
      end
      for _, op in ipairs(ops) do
        local r = assert(op:wait(60))
        assert.equal(0, r.status, r.stderr)
      end
      assert.equal(2, #of(records(p.with(0, "versions", "--json").out), "version"))
      p.with(0, "check", "--read-data")
    end)
  end)
end)
