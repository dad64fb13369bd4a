-- Long calls on a repository while they run: how far they are, how they are
-- cancelled at any moment with nothing lost, what could not be read, and what
-- all of it looks like at the prompt.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local saros, system = helper.saros, outside.system
local code = saros.code

if shared.missing then
  describe("work on a repository", function() pending(shared.missing) end)
  return
end

-- A backup that cannot end before `finish` is called: a pipe is read in it.
local function held_backup(p, more)
  local reader, writer = system.pipe()
  local o = { sources = { p.src, { name = "gate", stream = reader } } }
  for name, item in pairs(more or {}) do o[name] = item end
  local op = p.repo:backup(o)
  system.close(reader) -- it has its own
  return op, function(text)
    if text then assert(system.write(writer, text)) end
    system.close(writer)
  end
end

local function until_status(op, f)
  for status in op:progress() do
    if f(status) then return status end
    if op:done() then error("it has ended: " .. tostring(op), 2) end
  end
end

describe("progress", function()
  it("has bytes, files and the path", function()
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held_backup(p)
      local s = until_status(op, function(s) return s.path end)
      assert.equal("running", s.state)
      assert.equal("backing up", s.phase)
      assert.is_true(s.path == "/gate" or s.path:sub(1, #p.src) == p.src, s.path)
      assert.is_true(math.type(s.files) == "integer")
      assert.is_true(s.done >= 0 and s.percent < 100)
      assert.matches("^repository.backup: pending", tostring(op))
      finish "it is"
      local r = assert(op:wait())
      s = op:status()
      helper.contains({ state = "succeeded", percent = 100, failed = 0,
        files = r.files, done = r.bytes }, s)
      assert.equal(4, r.files)
      assert.equal(1200015, r.bytes)
    end)
  end)

  it("of the others, too, and never goes back", function()
    shared.with(function(p)
      shared.fill(p)
      assert(p.repo:backup { paths = { p.src } }:wait())
      for _, op in ipairs {
        p.repo:restore { target = p.root .. "/out" },
        p.repo:check { read_data = true },
        p.repo:dump { path = p.src .. "/large", to = p.root .. "/large" },
      } do
        local done, percent = 0, 0
        for s in op:progress() do
          assert.is_true((s.done or 0) >= done and s.percent >= percent)
          done, percent = s.done or done, s.percent
        end
        assert(op:wait())
        assert.equal(100, percent)
        assert.is_true(done >= 1200000, tostring(op))
      end
      local op = p.repo:restore { target = p.root .. "/again" }
      local r = assert(op:wait())
      helper.contains({ done = r.bytes, total = r.bytes, files = r.files },
        op:status())
      assert.matches("^" .. p.src, op:status().path)
    end)
  end)
end)

describe("what cannot be read", function()
  it("is listed, each by itself, and the rest is there", function()
    shared.with(function(p)
      shared.fill(p)
      local none = { p.root .. "/none", p.root .. "/neither" }
      local op = p.repo:backup { paths = { none[1], p.src, none[2] } }
      local r = assert(op:wait())
      assert.equal(code.SAROS_S_PARTIAL, (op:query()))
      assert.equal("SAROS_S_PARTIAL", op:status().name)
      assert.equal(2, op:status().failed)
      assert.equal(2, r.failed)
      local seen = {}
      for _, e in ipairs(r.errors) do
        seen[e.path] = e.errno
        assert.is_string(e.message)
        assert.is_true(math.type(e.code) == "integer")
      end
      assert.same({ [none[1]] = 2, [none[2]] = 2 }, seen)
      assert.equal(3, r.files)
      assert.matches("2 items could not be read.*neither: ", tostring(r))
    end)
  end)

  it("is no version when it is all there was", function()
    shared.with(function(p)
      local r, err = p.repo:backup { paths = { p.root .. "/none" } }:wait()
      assert.is_nil(r)
      assert.matches("nothing could be read", err.message)
      assert.matches("No such file", err.message)
      assert.equal(0, #p.repo:versions())
    end)
  end)
end)

describe("what is there already", function()
  it("a restore gives nobody what has another name elsewhere", function()
    if io.popen "id -u":read "l" ~= "0" then return pending "only root gives" end
    shared.with(function(p)
      p.put("a", "same")
      assert(os.execute(("cd '%s' && ln a b && chown 65534 a && chmod 666 a")
        :format(p.src)))
      assert(p.repo:backup { paths = p.src }:wait())
      local o = { target = p.root .. "/out", version = "latest:" .. p.src }
      assert(p.repo:restore(o):wait())
      assert.equal(2, assert(p.repo:restore(o):wait()).unchanged)
      assert(os.execute(("cd '%s' && printf same >victim && chmod 600 victim "
        .. "&& ln -f victim out/a"):format(p.root)))
      local r = assert(p.repo:restore(o):wait())
      assert.equal(0, #r.errors)
      assert(os.execute(("cd '%s' && test \"$(stat -c %%u:%%a:%%h victim)\" "
        .. "= 0:600:1 && test out/a -ef out/b"):format(p.root)))
    end)
  end)

  it("a restore with an empty list of patterns is whole", function()
    shared.with(function(p)
      shared.fill(p)
      assert(p.repo:backup { paths = p.src }:wait())
      assert.equal(3, assert(p.repo:restore { target = p.root .. "/out",
        include = {}, exclude = {} }:wait()).files)
    end)
  end)

  it("a dump leaves what is no file what it is", function()
    shared.with(function(p)
      p.put("a", "one")
      assert(p.repo:backup { paths = p.src }:wait())
      local function to(name)
        return p.repo:dump { path = p.src .. "/a", to = p.root .. name }:wait()
      end
      assert(os.execute(("cd '%s' && mkfifo fifo && echo old >file && "
        .. "ln -s file link && mkdir folder"):format(p.root)))
      assert(to "/link")
      assert(os.execute(("test -L '%s/link'"):format(p.root)))
      assert.equal("one", io.open(p.root .. "/file"):read "a")
      local ok, err = to "/folder"
      assert.is_nil(ok)
      assert.matches("this is a directory", err.message)
      ok, err = to "/fifo"
      assert.is_nil(ok)
      assert.matches("nobody reads from the fifo", err.message)
      local reader <close> = assert(io.open(p.root .. "/fifo", "r+"))
      assert(to "/fifo")
      assert.equal("one", reader:read(3))
      assert(os.execute(("test -p '%s/fifo'"):format(p.root)))
    end)
  end)
end)

describe("cancelling", function()
  it("a backup in the middle leaves no version, and loses nothing", function()
    shared.with(function(p)
      shared.fill(p)
      local op, finish = held_backup(p)
      until_status(op, function(s) return s.path end)
      assert.equal(0, op:cancel())
      local r, err = op:wait()
      assert.is_nil(r)
      assert.is_true(err.cancelled)
      assert.equal("cancelled", op:status().state)
      assert.is_nil(op:status().cleanup)
      finish()
      assert.equal(0, #p.repo:versions())
      assert.equal(0, #p.repo:locks())
      assert(p.repo:check { read_data = true }:wait())
      r = assert(p.repo:backup { paths = { p.src } }:wait())
      assert.equal(3, r.files_new)
      -- What the cancelled one had stored already is not stored once more.
      assert(p.repo:check { read_data = true }:wait())
      assert.equal(0, assert(p.repo:prune { dry_run = true,
        max_unused = 0 }:wait()).packs_missing)
    end)
  end)

  -- Each at its n-th move, until there are no more: at all of them when there
  -- is time. (Locks take theirs to settle.)
  local long = os.getenv "SAROS_LONG"
  local function at_each_move(begin, after)
    local n = 0
    while true do
      n = n + (long and 1 or n // 2 + 1)
      local op, moves = begin(n), 0
      for _ in op:progress() do
        moves = moves + 1
        if moves == n then op:cancel() end
      end
      local r, err = op:wait()
      assert.is_true(r ~= nil or err.cancelled, tostring(err))
      after(n, r)
      if moves < n then return end
    end
  end

  it("a backup at each move", function()
    shared.with(function(p)
      shared.fill(p)
      local kept = 0
      at_each_move(function(n)
        p.put("new" .. n, "the " .. n .. "th")
        return p.repo:backup { paths = { p.src } }
      end, function(_, r)
        kept = kept + (r and 1 or 0)
        assert.equal(kept, #p.repo:versions())
        assert.equal(0, #p.repo:locks())
      end)
      assert.is_true(kept >= 1)
      assert(p.repo:check { read_data = true }:wait())
      local r = assert(p.repo:restore { target = p.root .. "/out" }:wait())
      assert.equal(0, #r.errors)
      assert(os.execute(("diff -r '%s' '%s/out%s'"):format(p.src, p.root,
        p.src)))
    end)
  end)

  it("a restore, and beginning it again", function()
    shared.with(function(p)
      shared.fill(p)
      assert(p.repo:backup { paths = { p.src } }:wait())
      local out = p.root .. "/out"
      at_each_move(function() return p.repo:restore { target = out } end,
        function() assert.equal(0, #p.repo:locks()) end)
      assert(os.execute(("diff -r '%s' '%s%s'"):format(p.src, out, p.src)))
      -- Nothing half restored is left beside it.
      local pipe = assert(io.popen(("find '%s' -type f | wc -l"):format(out)))
      assert.equal(3, pipe:read "n")
      pipe:close()
    end)
  end)

  it("check, forget and prune", function()
    shared.with(function(p)
      shared.fill(p)
      for i = 1, 4 do
        p.put("a", "one" .. i)
        assert(p.repo:backup { paths = { p.src } }:wait())
      end
      at_each_move(function() return p.repo:check { read_data = true } end,
        function() assert.equal(0, #p.repo:locks()) end)
      at_each_move(function(n)
        return p.repo:forget { keep_last = math.max(1, 4 - n), prune = true }
      end, function()
        assert.equal(0, #p.repo:locks())
        assert(p.repo:check { read_data = true }:wait())
        assert.is_true(#p.repo:versions() >= 1)
      end)
      assert(p.repo:restore { target = p.root .. "/out" }:wait())
      assert(os.execute(("diff -r '%s' '%s/out%s'"):format(p.src, p.root,
        p.src)))
    end)
  end)

  it("a dump that nobody reads", function()
    shared.with(function(p)
      shared.fill(p)
      assert(p.repo:backup { paths = { p.src } }:wait())
      local reader, writer = system.pipe()
      local op = p.repo:dump { path = p.src .. "/large", to = writer }
      system.close(writer)
      until_status(op, function(s) return s.phase == "dumping" end)
      op:cancel()
      assert.is_true(select(2, op:wait()).cancelled)
      system.close(reader)
      assert.equal(0, #p.repo:locks())
    end)
  end)

  it("happens when a block is left", function()
    shared.with(function(p)
      shared.fill(p)
      local finish
      do
        local op <close>, f = held_backup(p)
        finish = f
        until_status(op, function(s) return s.phase == "backing up" end)
      end
      finish()
      assert.equal(0, #p.repo:versions())
      assert.equal(0, #p.repo:locks())
    end)
  end)
end)

describe("at the prompt", function()
  it("results show themselves, and stay what they are", function()
    shared.with(function(p)
      shared.fill(p)
      local repo = p.repo
      assert.equal("no versions", tostring(repo:versions()))
      assert.equal("nobody has it locked", tostring(repo:locks()))
      assert.matches("^%*%x%x%x%x%x%x%x%x  %d+", tostring(repo:keys()))
      local r = assert(repo:backup { paths = p.src, tags = "nightly",
        host = "web1" }:wait())
      assert.matches("^version %x%x%x%x%x%x%x%x: 3 files, 1.1 MiB\n"
        .. "  3 new, 0 changed, 0 as before; ", tostring(r))
      assert.same({}, r.errors)
      local versions = repo:versions()
      local line = ("^%s  %%d+%%-%%d+%%-%%d+ [%%d:]+ %%S+  web1  %s  "
        .. "%%[nightly%%]$"):format(r.id:sub(1, 8), p.src:gsub("%p", "%%%0"))
      assert.matches(line, tostring(versions))
      assert.matches(line, tostring(versions[1]))
      p.put("a", "another")
      assert(repo:backup { paths = p.src, host = "web1" }:wait())
      assert.equal("M  " .. p.src .. "/a", tostring(assert(repo:diff {
        from = r.id, to = "latest" }:wait())):match "^[^\n]*")
      assert.matches("^nothing is damaged: 2 versions, ",
        tostring(assert(repo:check():wait())))
      assert.matches("file +3 B  " .. p.src:gsub("%p", "%%%0") .. "/a\n",
        tostring(assert(repo:ls { version = r.id }:wait())))
      assert.matches("^%x+  file +1.1 MiB  .*/large",
        tostring(assert(repo:find { pattern = "large" }:wait())))
      assert.equal("nothing",
        tostring(assert(repo:find { pattern = "none" }:wait())))
      assert.matches("^2 versions, .* packs", tostring(assert(
        repo:stats():wait())))
      assert.matches("^1 version, 3 files, ", tostring(assert(repo:stats {
        mode = "restore-size", version = "latest" }:wait())))
      local out = p.root .. "/out"
      assert.matches("^version %x+ in " .. out:gsub("%p", "%%%0")
        .. ": 3 files, 1.1 MiB$",
        tostring(assert(repo:restore { target = out }:wait())))
      assert.matches("%(a dry run%)\n  keep    %S+/a\n", tostring(assert(repo:restore {
        target = out, dry_run = true }:wait())))
      assert.matches("3 were there already", tostring(assert(repo:restore {
        target = out }:wait())))
      assert.matches("keep .*%(last snapshot%)\n  remove .*would be removed",
        tostring(assert(repo:forget { keep_last = 1, dry_run = true }:wait())))
      assert.matches("1 version removed\n.* freed", tostring(assert(
        repo:forget { keep_last = 1, prune = true }:wait())))
      assert.matches("^0 packs of %d", tostring(assert(repo:prune():wait())))
      assert.equal("7 B written", tostring(assert(repo:dump {
        path = p.src .. "/a", to = p.root .. "/a" }:wait())))
      assert.matches("^no version: a dry run: 3 files", tostring(assert(
        repo:backup { paths = p.src, dry_run = true }:wait())))
    end)
  end)

  it("nothing of a repository moves the cursor", function()
    shared.with(function(p)
      p.put("a\27[2Jb", "x")
      local r = assert(p.repo:backup { paths = p.src, host = "ho\27[1mst",
        tags = { "t\194\155a\n" } }:wait())
      assert.matches("ho\\x1b[1mst", tostring(p.repo:versions()), 1, true)
      for _, text in ipairs { tostring(p.repo:versions()), tostring(r),
        tostring(assert(p.repo:ls():wait())),
        tostring(assert(p.repo:forget { keep_last = 1 }:wait())),
      } do
        assert.is_nil(text:find "[\0-\9\11-\31\127]")
        assert.is_nil(text:find "\194[\128-\159]")
      end
    end)
  end)
end)
