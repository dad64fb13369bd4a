-- saros.place: writable copies of what lies in shadows, and who takes them away.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local place = require "saros.place"
local system = outside.system

local ROOT <const> = os.execute "test $(id -u) = 0"

local function sh(command, ...)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command:format(...)))
  return pipe:read "a"
end

-- A directory with a scratch directory and a shadow of /srv/app in it.
local function with_shadow(f)
  outside.directory(function(d)
    sh([[cd %s && umask 022; mkdir scratch shadow shadow/data shadow/data/sub && chmod 755 .
      echo one >shadow/data/one; echo two >shadow/data/sub/two
      ln -s /etc/passwd shadow/data/link; echo log >shadow/db.log]], d)
    f(d, function(path)
      return path:find "^/srv/app/" and d .. "/shadow" .. path:sub(9) or nil
    end)
  end)
end

describe("a place of a shadow", function()
  it("has the files below it where they were", function()
    with_shadow(function(d, at)
      local p <close> = place.of_shadow { at = at, scratch = d .. "/scratch",
        paths = { "/srv/app/data", "/srv/app/data/sub", "/srv/app/db.log",
          "/srv/app/not-there" } }
      assert.equal("one\n", outside.content(p:at "/srv/app/data/one"))
      assert.equal("two\n", outside.content(p:at "/srv/app/data/sub/two"))
      assert.equal(p.root .. "/srv/app/data", p:at "/srv/app/data/")
      assert.is_nil(p:at "/srv/app/not-there")
      assert.is_nil(p:at "/srv/app/../app/data")
      assert.is_nil(p:at "srv/app/data")
      assert.equal("/etc/passwd\n", sh("readlink %s/srv/app/data/link", p.root))
      -- It is a copy.
      outside.write(p:at "/srv/app/data/one", "other")
      assert.equal("one\n", outside.content(d .. "/shadow/data/one"))
      p:close()
      p:close()
      assert.equal("", sh("ls -A %s/scratch", d))
    end)
  end)

  it("puts another volume's files where that was mounted", function()
    with_shadow(function(d, at)
      sh("mkdir %s/other && echo three >%s/other/three", d, d)
      local p <close> = place.of_shadow { scratch = d .. "/scratch",
        paths = { "/srv/app/data", "/srv/app/data/empty" },
        at = function(path)
          return path == "/srv/app/data/empty" and d .. "/other" or at(path)
        end }
      assert.equal("three\n", outside.content(p:at "/srv/app/data/empty/three"))
      assert.equal("one\n", outside.content(p:at "/srv/app/data/one"))
    end)
  end)

  it("belongs to whom the files belong to", function()
    if not ROOT then return pending "needs root" end
    with_shadow(function(d, at)
      sh("chown -R 65534:65533 %s/shadow/data", d)
      local p <close> = place.of_shadow { at = at, scratch = d .. "/scratch",
        paths = { "/srv/app/data" } }
      assert.same({ uid = 65534, gid = 65533 }, p.owner)
      local said, _, code = outside.run("setpriv", "--reuid=65534",
        "--regid=65533", "--clear-groups", "sh", "-c", ([[cat %s &&
          touch %s/new]]):format(p:at "/srv/app/data/one",
          p.root .. "/srv/app"))
      assert.equal("one\n", said)
      assert.equal(0, code)
      assert.equal("700\n", sh("stat -c %%a %s", p.root))
    end)
  end)

  it("is as open as it has to be, whatever the umask is", function()
    with_shadow(function(d)
      sh("chmod 755 %s/scratch", d)
      outside.write(d .. "/f.lua", ([[
        require "saros"
        local p <close> = require "saros.place".of_shadow {
          scratch = %q, paths = { "/srv/app/data" },
          at = function() return %q end }
        os.execute(("stat -c %%%%a %%s/.. %%s %%s/srv %%s/srv/app"):format(
          p.root, p.root, p.root, p.root))]]):format(d .. "/scratch",
        d .. "/shadow/data"))
      for _, mask in ipairs { "000", "022", "027", "077" } do
        local said, _, status = outside.run("sh", "-c", "umask " .. mask
          .. "; LUA_PATH=$1 LUA_CPATH=$2 exec $3 $4", "sh", outside.lua_path,
          outside.lua_cpath, outside.lua, d .. "/f.lua")
        assert.equal(0, status, said)
        assert.equal("711\n700\n700\n700\n", said, mask)
      end
    end)
  end)

  it("is not made where the owner cannot come to it", function()
    if not ROOT then return pending "needs root" end
    with_shadow(function(d, at)
      sh("chmod 700 %s/scratch", d)
      local ok, err = pcall(place.of_shadow, { at = at,
        scratch = d .. "/scratch", paths = { "/srv/app/data" } })
      assert.is_false(ok)
      assert.truthy(err.message:find("scratch: the owner of", 1, true))
      assert.equal("", sh("ls -A %s/scratch", d))
    end)
  end)

  it("is not made of nothing", function()
    with_shadow(function(d, at)
      for _, paths in ipairs { { "/srv/app/x" }, { "/else" }, { "../x" }, {} } do
        local ok, err = pcall(place.of_shadow, { at = at,
          scratch = d .. "/scratch", paths = paths })
        assert.is_false(ok)
        assert.equal("string", type(err.message))
      end
      assert.equal("", sh("ls -A %s/scratch", d))
    end)
  end)

  it("leaves nothing when it is cancelled", function()
    with_shadow(function(d, at)
      sh("cd %s/shadow/data && for i in $(seq 300); do echo >$i; done", d)
      for turns = 1, 40, 3 do
        local op <close> = saros.spawn(function()
          local _ <close> = place.of_shadow { at = at,
            scratch = d .. "/scratch", paths = { "/srv/app/data" } }
          saros.sleep(60):wait()
        end)
        for _ = 1, turns do saros.step(0.001) end
        op:cancel()
        op:wait()
        assert.equal("", sh("ls -A %s/scratch", d))
      end
    end)
  end)
end)

describe("a place of a tree", function()
  it("refuses links on the way to a file", function()
    outside.directory(function(d)
      sh([[cd %s && mkdir -p tree/srv/app other/app && ln -s %s/other tree/link
        echo x >tree/srv/app/db; echo x >other/app/db]], d, d)
      local p = place.of_tree { root = d .. "/tree", paths = { "/srv/app/db" } }
      assert.equal(d .. "/tree/srv/app/db", p:at "/srv/app/db")
      p:close()
      assert.truthy(p:at "/srv/app/db") -- it was not ours to remove
      local ok, err = pcall(place.of_tree, { root = d .. "/tree",
        paths = { "/link/app/db" } })
      assert.is_false(ok)
      assert.equal(saros.code.SAROS_E_REFUSED, err.code)
      assert.truthy(err.message:find("link: on the way", 1, true))
    end)
  end)
end)

describe("a place", function()
  it("has no file of an application that is a link", function()
    outside.directory(function(d)
      sh([[cd %s && umask 022 && mkdir -p tree/srv other shadow/srv scratch && chmod 755 .
        echo x >other/db
        for at in tree shadow; do
          ln -s %s/other/db $at/srv/db; ln -s %s/other $at/srv/dir
          ln -s nowhere $at/srv/none; done]], d, d, d)
      for _, path in ipairs { "/srv/db", "/srv/dir", "/srv/dir/" } do
        for _, make in ipairs {
          function()
            return place.of_tree { root = d .. "/tree", paths = { path } }
          end,
          function()
            return place.of_shadow { scratch = d .. "/scratch",
              paths = { path }, at = function(p) return d .. "/shadow" .. p end }
          end } do
          local ok, err = pcall(make)
          assert.is_false(ok)
          assert.equal(saros.code.SAROS_E_REFUSED, err.code)
          assert.truthy(err.message:find("symbolic link", 1, true))
        end
      end
      -- Also one that leads nowhere yet, beside a file that is there.
      sh("echo x >%s/tree/srv/file", d)
      local ok, err = pcall(place.of_tree, { root = d .. "/tree",
        paths = { "/srv/file", "/srv/none" } })
      assert.is_false(ok)
      assert.truthy(err.message:find("symbolic link", 1, true))
      assert.equal("", sh("ls -A %s/scratch", d))
      assert.equal("x\n", sh("cat %s/other/db", d))
    end)
  end)
end)

describe("a cancel", function()
  it("that comes while a place is taken away leaves nothing of it", function()
    outside.directory(function(d)
      -- Its rm tells that it has begun, and waits.
      sh([[cd %s; mkdir bin scratch; mkfifo begun on; chmod 755 .
        printf '#!/bin/sh\necho >%s/begun; read -r x <%s/on; exec %s "$@"\n' \
          >bin/rm; chmod 755 bin/rm]], d, d, d, sh("command -v rm"):match "%S+")
      local said, how, code = outside.run("env", ("PATH=%s/bin:%s"):format(d,
        os.getenv "PATH"), outside.lua, "-e", ([[
        local saros, d = require "saros", %q
        local place = require "saros.place"
        local t = saros.spawn(function()
          local p <close> = place.new { scratch = d .. "/scratch" }
          io.open(p.root .. "/file", "w"):close()
        end)
        saros.run(function()
          saros.process { argv = { "cat", d .. "/begun" } }:wait()
          t:cancel()
          saros.process { argv = { "sh", "-c", "echo >$0/on", d } }:wait()
          local _, err = t:wait()
          print(err.cancelled)
        end)]]):format(d))
      assert.same({ "true\n", "exit", 0 }, { said, how, code })
      assert.equal("", sh("ls -A %s/scratch", d))
    end)
  end)
end)

describe("what a dead owner left", function()
  local script = [[
    local place = require "saros.place"
    local p = place.new { scratch = %q }
    io.open(p.root .. "/file", "w"):close()
    print("root " .. p.root)
    io.read()]]

  it("is taken away by the next one, and what lives stays", function()
    outside.directory(function(d)
      local dead <close> = outside.start(outside.lua, "-e", script:format(d))
      dead:expect "root "
      dead:expect "\n"
      local alive <close> = outside.terminal(outside.lua, "-e",
        script:format(d))
      alive:expect "root "
      local kept = alive:expect "\n":gsub("\r", "")
      system.kill(dead.pid, 9)
      dead:finish()
      sh("mkdir %s/saros-p.other %s/saros-p.1.1.00000000.1.1", d, d)
      local p <close> = place.new { scratch = d }
      local left = sh("ls -d %s/*/p %s/saros-p.*[0-9a-z]", d, d)
      assert.truthy(left:find(kept, 1, true))
      assert.truthy(left:find(p.root, 1, true))
      assert.truthy(left:find "saros%-p%.other\n")
      assert.is_nil(left:find "saros%-p%.1%.1%.") -- of another boot
      local _, lines = sh("ls %s", d):gsub("\n", "")
      assert.equal(3, lines)
    end)
  end)

  it("is not taken away by its own process, or by a child of it", function()
    outside.directory(function(d)
      local a <close> = place.new { scratch = d }
      local b <close> = place.new { scratch = d }
      assert.equal(0, place.sweep(d))
      assert.truthy(outside.content "/proc/self/stat")
      assert.is_true(a.root ~= b.root)
      assert.equal("2\n", sh("ls %s | wc -l", d))
    end)
  end)
end)
