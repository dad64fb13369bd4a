-- The options that restic's users know, one by one from Lua; what stands in for
-- them in the environment; and what is said of those that are wrong. That they
-- do the right thing to the byte is for the suites in C.
local volumes = require "spec.volumes" -- first: before there are threads
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local saros = helper.saros

if shared.missing then
  describe("options of a repository", function() pending(shared.missing) end)
  return
end

local repository = shared.repository

-- What is in the newest version, below src.
local function content(p)
  local r = assert(p.repo:ls():wait())
  return shared.names(r.items, p.src)
end

local function backup(p, options)
  options.paths = options.paths or p.src
  return assert(p.repo:backup(options):wait())
end

describe("a backup's option", function()
  it("tags, host and time are the version's", function()
    shared.with(function(p)
      p.put("a", "one")
      backup(p, { tags = { "t1", "t2" }, host = "h", time = 86400.5 })
      backup(p, { tags = "t3", time = "2026-03-01T12:00:00+05:30" })
      local v = p.repo:versions()
      assert.same({ "t1", "t2" }, v[1].tags)
      assert.equal("h", v[1].hostname)
      assert.matches("^1970%-01%-02T", v[1].time)
      assert.same({ "t3" }, v[2].tags)
      assert.matches("2026%-03%-01T", v[2].time)
      assert.equal(1, #p.repo:versions { tags = "t3" })
      assert.equal(1, #p.repo:versions { host = "h", tags = { "t1", "t2" } })
      assert.equal(0, #p.repo:versions { tags = { "t1", "t3" } })
      assert.equal(2, #p.repo:versions { paths = p.src })
    end)
  end)

  it("parent and force say what it is compared with", function()
    shared.with(function(p)
      p.put("a", "one")
      local first = backup(p, {})
      local second = backup(p, {})
      assert.equal(first.id, second.parent)
      assert.equal(1, second.files_unmodified)
      local third = backup(p, { parent = first.id:sub(1, 10) })
      assert.equal(first.id, third.parent)
      local fourth = backup(p, { force = true })
      assert.is_nil(fourth.parent)
      assert.equal(1, fourth.files_new)
      assert.equal(0, fourth.data_blobs)
    end)
  end)

  it("exclude and its kin leave out", function()
    shared.with(function(p)
      p.put("a.txt", "one")
      p.put("b.TMP", "two")
      p.put("cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55")
      p.put("cache/c", "three")
      p.put("no/.nobackup", "")
      p.put("no/d", "four")
      p.put("large", ("x"):rep(5000))
      outside.write(p.root .. "/patterns", "# some\n*.txt\n")
      local function has(options, expected)
        backup(p, options)
        assert.equal(expected, content(p))
      end
      local rest = "cache cache/CACHEDIR.TAG cache/c"
      has({}, "a.txt b.TMP " .. rest .. " large no no/.nobackup no/d")
      has({ exclude = { "*.txt", "no" } }, "b.TMP " .. rest .. " large")
      has({ exclude = "*.tmp", exclude_if_present = ".nobackup" },
        "a.txt b.TMP " .. rest .. " large no no/.nobackup")
      has({ iexclude = "*.tmp", exclude_caches = true },
        "a.txt cache cache/CACHEDIR.TAG large no no/.nobackup no/d")
      has({ exclude_file = p.root .. "/patterns", exclude_larger_than = "4K" },
        "b.TMP " .. rest .. " no no/.nobackup no/d")
      has({ exclude_larger_than = 4999, iexclude_file = { p.root
        .. "/patterns" } }, "b.TMP " .. rest .. " no no/.nobackup no/d")
    end)
  end)

  it("one_file_system stays on it", function()
    shared.with(function(p)
      local v <close>, why = volumes.make("ext4", 16)
      if not v then return pending(tostring(why)) end
      outside.write(v.path .. "/other", "elsewhere")
      local text, good = volumes.run("mkdir '%s/at'; mount --bind '%s' '%s/at'",
        p.src, v.path, p.src)
      assert(good, text)
      local _ <close> = setmetatable({}, { __close = function()
        volumes.run("umount '%s/at'", p.src)
      end })
      p.put("a", "one")
      backup(p, {})
      assert.matches("at/other", content(p))
      backup(p, { one_file_system = true })
      assert.equal("a at", content(p))
    end)
  end)

  it("skip_if_unchanged writes no version", function()
    -- The directories above are a part of a version, and others work in /tmp.
    local pipe = assert(io.popen "mktemp -d /saros-spec-XXXXXX 2>/dev/null")
    local place = pipe:read "l"
    pipe:close()
    if not place then
      return pending "only root can make a directory that nobody works beside"
    end
    local _ <close> = setmetatable({}, { __close = function()
      os.execute("rm -rf '" .. place .. "'")
    end })
    shared.with(function(p)
      p.src = place
      p.put("a", "one")
      local first = backup(p, { skip_if_unchanged = true })
      local second = backup(p, { skip_if_unchanged = true })
      assert.is_true(first.id ~= nil and not first.skipped)
      assert.is_true(second.id == nil and second.skipped)
      assert.matches("^no version: nothing has changed", tostring(second))
      assert.equal(1, #p.repo:versions())
      p.put("a", "another")
      assert.is_string(backup(p, { skip_if_unchanged = true }).id)
    end)
  end)

  it("whole writes no version when something of that cannot be read",
    function()
      if outside.run("id", "-u") ~= "0\n" then
        return pending "only root can make a file that root cannot read"
      end
      shared.with(function(p)
        p.put("a", "one")
        p.put("b", "two")
        local text, good = volumes.run("mount --bind /proc/self/mem '%s/b'",
          p.src)
        assert(good, text)
        local _ <close> = setmetatable({}, { __close = function()
          volumes.run("umount '%s/b'", p.src)
        end })
        for _, path in ipairs { p.src, p.src .. "/b", p.src .. "/b/c", "/" } do
          local r = backup(p, { whole = path })
          assert.is_nil(r.id)
          assert.is_true(r.torn)
          assert.is_false(r.skipped)
          assert.equal(p.src .. "/b", r.errors[1].path)
          assert.matches("no version: what must be whole", tostring(r))
        end
        assert.equal(0, #p.repo:versions())
        local r = backup(p, { whole = { p.src .. "/a", p.src .. "/bb" } })
        assert.is_string(r.id)
        assert.is_false(r.torn)
        assert.equal(1, r.failed)
      end)
    end)

  it("dry_run stores nothing", function()
    shared.with(function(p)
      shared.fill(p)
      local r = backup(p, { dry_run = true })
      assert.equal(3, r.files_new)
      assert.is_nil(r.id)
      assert.is_false(r.skipped)
      assert.equal(0, #p.repo:versions())
      assert.equal(0, assert(p.repo:stats():wait()).packs)
    end)
  end)

  it("compression, pack_size and the rest are understood", function()
    shared.with(function(p)
      local sizes = {}
      for _, level in ipairs { "off", "fastest", "auto", "better", "max" } do
        p.put("a", (level .. " the same again\n"):rep(100000))
        sizes[level] = backup(p, { compression = level }).bytes_packed
      end
      assert.is_true(sizes.off > 1400000 and sizes.fastest < 100000
        and sizes.max < 100000)
      local r = backup(p, { pack_size = "4M", read_concurrency = 4,
        limit_upload = "1G", ignore_ctime = true, ignore_inode = true,
        with_atime = true })
      assert.equal(1, r.files)
      assert(p.repo:check { read_data = true }:wait())
      r = assert(p.repo:ls { long = true }:wait())
      assert.is_string(r.items[#r.items].atime)
    end)
  end)
end)

describe("a restore's option", function()
  local function restored(p, options)
    local out = p.root .. "/out"
    options.target, options.version = out, "latest:" .. p.src
    local r = assert(p.repo:restore(options):wait())
    local pipe = assert(io.popen(("cd '%s' && find . -mindepth 1 | LC_ALL=C "
      .. "sort | tr '\\n' ' '"):format(out)))
    local names = pipe:read "a":gsub("%./", ""):gsub(" $", "")
    pipe:close()
    return r, names, out
  end

  it("include and exclude choose", function()
    shared.with(function(p)
      p.put("a.txt", "one")
      p.put("B.TXT", "two")
      p.put("d/c.txt", "three")
      backup(p, {})
      local function has(options, expected)
        local _, names, out = restored(p, options)
        assert.equal(expected, names)
        os.execute("rm -rf '" .. out .. "'")
      end
      has({}, "B.TXT a.txt d d/c.txt")
      has({ include = "*.txt" }, "a.txt d d/c.txt")
      has({ iinclude = { "b.txt" } }, "B.TXT")
      has({ exclude = "d" }, "B.TXT a.txt")
      has({ iexclude = { "*.TXT" } }, "d")
    end)
  end)

  it("overwrite, delete and dry_run say what becomes of what is there",
    function()
      shared.with(function(p)
        p.put("a", "new one")
        backup(p, { })
        local _, _, out = restored(p, {})
        local a = out .. "/a"
        local function there(text, time)
          outside.write(a, text)
          os.execute(("touch -d '%s' '%s'"):format(time, a))
        end
        there("old one", "1999-01-01")
        assert.equal(1, restored(p, { overwrite = "never" }).skipped)
        assert.equal("old one", outside.content(a))
        local r = restored(p, { dry_run = true })
        assert.same({ "replace" }, { r.items[1].action })
        assert.equal("old one", outside.content(a))
        restored(p, { overwrite = "if-newer" })
        assert.equal("new one", outside.content(a))
        there("newer 1", "2039-01-01")
        assert.equal(1, restored(p, { overwrite = "if-newer" }).skipped)
        restored(p, { overwrite = "if-changed" })
        assert.equal("new one", outside.content(a))
        there("NEW ONE", "2000-01-01")
        restored(p, { verify = true, sparse = true })
        assert.equal("new one", outside.content(a))
        outside.write(out .. "/extra", "x")
        r = restored(p, { delete = true })
        assert.equal(1, r.removed)
        assert.is_nil(outside.content(out .. "/extra"))
      end)
    end)

  it("by an ordinary user is whole, and says whose it is now", function()
    local pipe = assert(io.popen "id -u")
    local uid = pipe:read "n"
    pipe:close()
    if uid ~= 0 then
      return pending "only root can make what is somebody else's"
    end
    if not outside.installed "setpriv" then
      return pending "setpriv (util-linux) is not installed"
    end
    shared.with(function(p)
      p.put("a", "one")
      backup(p, {})
      assert(os.execute(("chmod -R a+rX '%s'; mkdir -m 777 '%s/out'")
        :format(p.root, p.root)))
      local said, how, status = outside.run("setpriv", "--reuid", "65534",
        "--regid", "65534", "--clear-groups", outside.lua, "-e", ([[
          package.path, package.cpath = %q, %q
          local repository = require "saros.repository"
          local repo = repository.open { location = %q, password = %q,
            no_lock = true }
          local op = repo:restore { target = %q }
          local r = assert(op:wait())
          print(op:status().name, #r.errors, r.not_given_away > 0, r)
        ]]):format(outside.lua_path, outside.lua_cpath, p.root .. "/r",
          shared.PASSWORD, p.root .. "/out/it"))
      if said:find "cannot open" or said:find "not found" then
        return pending("nobody may not read this tree: " .. said)
      end
      assert.same({ "exit", 0 }, { how, status }, said)
      assert.matches("^S_OK\t0\ttrue\tversion .*\n  %d+ were somebody else's, and "
        .. "are yours now: only root can give files to others\n$", said)
      -- For root it is something else: there it would have been possible.
      local r, err = p.repo:restore { target = p.root .. "/mine" }:wait()
      assert(r, tostring(err))
      assert.equal(0, r.not_given_away)
    end)
  end)
end)

describe("forget", function()
  it("keeps by each rule, in the version's own time zone", function()
    shared.with(function(p)
      p.put("a", "one")
      for _, time in ipairs { "2026-05-01T17:50:00Z", "2026-05-01T18:00:00Z",
        "2026-05-01T19:00:00Z" }
      do
        backup(p, { time = time, tags = "x", host = "here" })
      end
      local function kept(rules)
        rules.dry_run, rules.host = true, rules.host or "here"
        local r = assert(p.repo:forget(rules):wait())
        assert.is_true(r.dry_run)
        local minutes = {}
        for i, v in ipairs(r.groups[1].keep) do
          minutes[i] = v.time:match "T%d+:(%d+)"
          assert.is_true(#v.reasons > 0)
        end
        table.sort(minutes)
        return table.concat(minutes, " ")
      end
      assert.equal("00", kept { keep_last = 1, keep_tags = { "y" } })
      assert.equal("00 00", kept { keep_last = 2 })
      assert.equal("00 00 50", kept { keep_last = "unlimited" })
      assert.equal("00 00 50", kept { keep_hourly = 5 })
      for _, rule in ipairs { "daily", "weekly", "monthly", "yearly" } do
        assert.equal("00", kept { ["keep_" .. rule] = 1 })
      end
      assert.equal("00", kept { keep_within = "1h" })
      assert.equal("00 00 50", kept { keep_within = "2h" })
      assert.equal("00 00 50", kept { keep_within_hourly = "2h" })
      assert.equal("00 00 50", kept { keep_tags = { "x" } })
      assert.equal("00 00 50", kept { keep_tags = { { "x" } } })
      -- Elsewhere the last of them is of another day. (Else the second one of
      -- two that are asked for is the oldest.)
      local said, _, status = outside.run("env", "TZ=XXX-05:30", outside.lua,
        "-e", ([[
          package.path, package.cpath = %q, %q
          local repository = require "saros.repository"
          local repo = repository.open { location = %q, password = %q }
          for _, time in ipairs { 50, 60, 120 } do
            assert(repo:backup { paths = %q, host = "there",
              time = 1777654800 + 60 * time }:wait())
          end]]):format(outside.lua_path, outside.lua_cpath, p.root .. "/r",
          shared.PASSWORD, p.src))
      assert.equal(0, status, said)
      local own = p.repo:versions { host = "there" }
      assert.matches("^2026%-05%-01T23:20:00%+05:30$", own[1].time)
      assert.matches("^2026%-05%-02T00:30:00%+05:30$", own[3].time)
      assert.equal("30 30", kept { keep_daily = 2, host = "there" })
      if p.repo:versions { host = "here" }[1].time:sub(-1) == "Z" then
        assert.equal("00 50", kept { keep_daily = 2 })
      end
      local r = assert(p.repo:forget { ids = p.repo:versions()[1].id:sub(1, 12)
        }:wait())
      assert.equal(1, #r.removed)
      assert.equal(5, #p.repo:versions())
      r = assert(p.repo:forget { keep_last = 1, group_by = { "tags" },
        prune = { max_unused = 0 } }:wait())
      assert.equal(3, #r.removed)
      assert.equal(2, #r.groups)
      assert.is_table(r.prune)
      assert(p.repo:check { read_data = "100%" }:wait())
    end)
  end)
end)

describe("the environment", function()
  -- A script in a process of its own, where only `env` is set.
  local function script(p, env, text)
    local argv = { "env", "-i", "PATH=" .. os.getenv "PATH", "HOME=" .. p.root }
    for _, name in ipairs { "LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS" } do
      local value = os.getenv(name) -- a sanitizer's runtime, if there is one
      if value then argv[#argv + 1] = name .. "=" .. value end
    end
    for name, value in pairs(env) do argv[#argv + 1] = name .. "=" .. value end
    for _, word in ipairs { outside.lua, "-e", ([[
      package.path, package.cpath = %q, %q
      local repository = require "saros.repository"
      ]]):format(outside.lua_path, outside.lua_cpath) .. text }
    do
      argv[#argv + 1] = word
    end
    return outside.run(table.unpack(argv))
  end

  local OPEN = [[
    local ok, repo = pcall(repository.open)
    print(ok and repo:location() or repo.name .. ": " .. repo.message)]]

  it("says where it is, and the password in all three ways", function()
    shared.with(function(p)
      local at = p.root .. "/r"
      outside.write(p.root .. "/password", shared.PASSWORD .. "\n")
      outside.write(p.root .. "/location", at .. "\n")
      local ways = {
        { RESTIC_PASSWORD = shared.PASSWORD },
        { RESTIC_PASSWORD_FILE = p.root .. "/password" },
        { RESTIC_PASSWORD_COMMAND = "cat " .. p.root .. "/password" },
      }
      for _, env in ipairs(ways) do
        env.RESTIC_REPOSITORY = at
        assert.equal(at .. "\n", (script(p, env, OPEN)))
      end
      ways[1].RESTIC_REPOSITORY = nil
      ways[1].RESTIC_REPOSITORY_FILE = p.root .. "/location"
      assert.equal(at .. "\n", (script(p, ways[1], OPEN)))
      ways[1].RESTIC_PASSWORD = "another"
      assert.matches("^SAROS_E_WRONG_PASSWORD: ", (script(p, ways[1], OPEN)))
      assert.matches("RESTIC_PASSWORD_FILE and RESTIC_PASSWORD_COMMAND are "
        .. "both set", (script(p, { RESTIC_REPOSITORY = at,
          RESTIC_PASSWORD_FILE = "x", RESTIC_PASSWORD_COMMAND = "y" }, OPEN)))
      assert.matches("set RESTIC_REPOSITORY", (script(p, {}, OPEN)))
      assert.matches("RESTIC_PASSWORD", (script(p, { RESTIC_REPOSITORY = at },
        OPEN)))
      assert.equal(at .. "\n", (script(p, { RESTIC_REPOSITORY = at, MINE =
        shared.PASSWORD }, [[
          print(repository.open { password = { env = "MINE" } }:location())]])))
    end)
  end)

  it("has the host, and loses against what is given", function()
    shared.with(function(p)
      p.put("a", "one")
      local env = { RESTIC_REPOSITORY = p.root .. "/r", RESTIC_HOST = "envhost",
        RESTIC_PASSWORD = shared.PASSWORD }
      local text = ([[
        local repo = repository.open()
        assert(repo:backup { paths = %q, host = %%s }:wait())]]):format(p.src)
      local said, _, status = script(p, env, text:format "nil")
      assert.equal(0, status, said)
      script(p, env, text:format "'given'")
      local v = p.repo:versions()
      assert.same({ "envhost", "given" }, { v[1].hostname, v[2].hostname })
    end)
  end)

  it("has the keys of S3, which go to nobody in the clear", function()
    if not outside.installed "python3" then
      return pending "python3 is not installed"
    end
    shared.with(function(p)
      -- A server that notes who asks, and has nothing.
      local server <close> = outside.start("python3", "-u", "-c", [[
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked", self.headers.get("Authorization"),
              self.headers.get("X-Amz-Security-Token"), flush=True)
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_PUT = do_GET
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 0), H)
print("port", s.server_port, flush=True)
s.serve_forever()]])
      server:expect "port "
      local port = server:expect "\n"
      local said = script(p, {
        RESTIC_REPOSITORY = ("s3:http://127.0.0.1:%s/bucket"):format(port),
        RESTIC_PASSWORD = shared.PASSWORD, AWS_ACCESS_KEY_ID = "AKIDENV",
        AWS_SECRET_ACCESS_KEY = "the-secret-of-aws",
        AWS_SESSION_TOKEN = "a-token", AWS_DEFAULT_REGION = "eu-north-7",
      }, OPEN)
      assert.matches("there is no repository in", said)
      server:expect "asked AWS4-HMAC-SHA256 Credential=AKIDENV/"
      assert.matches("/eu%-north%-7/s3/aws4_request", server:expect "a-token")
      assert.is_nil(said:find("the-secret-of-aws", 1, true))
      assert.is_nil(server.output:find("the-secret-of-aws", 1, true))
    end)
  end)
end)

describe("what is wrong is told", function()
  it("with the option's name, and what there is", function()
    shared.with(function(p)
      local repo = p.repo
      local function wrong(pattern, f)
        local err = shared.raised(f)
        assert.is_string(err)
        assert.matches("^spec/repository_options_spec.lua:%d+: ", err)
        assert.matches(pattern, err, 1, true)
      end
      wrong("repo:backup has no option 'excludes'; 'exclude' perhaps? It takes "
        .. "compression, dry_run, exclude, ", function()
          local _ = repo:backup { paths = "/", excludes = "*" }
        end)
      wrong("repo:backup: option 'compression': \"auto\", \"off\", \"fastest\","
        .. " \"better\" or \"max\" expected, got \"zip\"", function()
          local _ = repo:backup { paths = "/", compression = "zip" }
        end)
      wrong("option 'tags'[2]: string expected, got number", function()
        local _ = repo:backup { paths = "/", tags = { "a", 1 } }
      end)
      wrong("option 'tags': a list of texts expected, with nothing called 'x'",
        function() local _ = repo:backup { paths = "/", tags = { x = 1 } } end)
      wrong("option 'exclude': a text or a list of texts expected, got number",
        function() local _ = repo:backup { paths = "/", exclude = 1 } end)
      wrong("option 'read_concurrency': whole number expected, got 1.5",
        function()
          local _ = repo:backup { paths = "/", read_concurrency = 1.5 }
        end)
      wrong("say what to back up: paths = { \"/srv\" }",
        function() local _ = repo:backup() end)
      wrong("repo:backup: a table of options expected, got string",
        function() local _ = repo:backup "/srv" end)
      wrong("option 'target' is missing: the directory to restore to",
        function() local _ = repo:restore { version = "latest" } end)
      wrong("option 'overwrite': \"always\", \"if-changed\", \"if-newer\" or "
        .. "\"never\" expected, got \"yes\"", function()
          local _ = repo:restore { target = "/x", overwrite = "yes" }
        end)
      wrong("repo:find: option 'type': \"file\", \"dir\", ", function()
        local _ = repo:find { pattern = "*", type = "folder" }
      end)
      wrong("option 'from' is missing",
        function() local _ = repo:diff { to = "latest" } end)
      wrong("option 'to': this is no open file", function()
        local f = assert(io.open "/dev/null")
        f:close()
        local _ = repo:dump { path = "/", to = f }
      end)
      wrong("option 'version' needs mode = \"restore-size\"",
        function() local _ = repo:stats { version = "latest" } end)
      wrong("option 'target': a text without NUL bytes expected", function()
        local _ = repo:restore { target = p.root .. "/x\0y" }
      end)
      wrong("option 'paths'[2]: a text without NUL bytes expected", function()
        local _ = repo:backup { paths = { p.root, "\0" } }
      end)
      wrong("a descriptor must be open", function()
        local _ = repo:dump { to = 1 << 32 | 1 }
      end)
      wrong("has no option 'q'. It takes",
        function() local _ = repo:forget { q = 7 } end)
      wrong("repo:forget has no option 'keep_dayly'; 'keep_daily' perhaps?",
        function() local _ = repo:forget { keep_dayly = 7 } end)
      wrong("repo:forget (prune) has no option 'dry'", function()
        local _ = repo:forget { keep_last = 1, prune = { dry = true } }
      end)
      wrong("repository.open: option 'connections': whole number expected",
        function() repository.open { connections = 1.5 } end)
      wrong("repo:versions has no option 'tag'; 'tags' perhaps?",
        function() repo:versions { tag = "x" } end)
      wrong("option 'password' is missing",
        function() local _ = repo:add_key {} end)
      assert.equal(0, #saros.list() + #repo:locks())
    end)
  end)

  it("also when only the work can tell", function()
    shared.with(function(p)
      p.put("a", "one")
      backup(p, {})
      local repo = p.repo
      local function fails(op, pattern)
        local r, err = op:wait()
        assert.is_nil(r)
        assert.matches(pattern, err.message, 1, true)
      end
      fails(repo:backup { paths = "/", pack_size = "1M" },
        "pack_size: from 4 MiB to 128 MiB")
      fails(repo:backup { paths = "/", time = "noon" },
        "time: seconds since 1970, or a text as")
      fails(repo:backup { paths = "/", exclude_file = p.root .. "/none" },
        p.root .. "/none")
      fails(repo:backup { paths = "/", parent = "zz" }, "no version 'zz'")
      fails(repo:check { read_data = "half" }, "true, \"10%\", \"1/5\"")
      fails(repo:restore { target = p.root .. "/x", version = "ffff" },
        "no version ffff")
      fails(repo:ls { path = "/nowhere" }, "there is no /nowhere")
      fails(repo:ls { host = "nobody" }, "repo:versions lists those")
      fails(repo:find { pattern = "*", version = "ffff" }, "no version ffff")
      fails(repo:forget { keep_within = "soon" }, "1y5m7d2h")
      fails(repo:prune { max_unused = "some" }, "\"5%\", \"unlimited\"")
      local err = shared.raised(function()
        repository.open { location = p.root .. "/r", limit_upload = "fast" }
      end)
      assert.matches("limit_upload: bytes a second expected", err.message)
      err = shared.raised(function()
        repository.open { location = p.root .. "/r", password = "x",
          object_lock = { mode = "COMPLIANCE", days = 7 } }
      end)
      assert.matches("object_lock: only an S3 server", err.message)
      err = shared.raised(function()
        repository.open { location = p.root .. "/r",
          password = { file = p.root .. "/none" } }
      end)
      assert.matches(p.root .. "/none", err.message, 1, true)
    end)
  end)
end)
