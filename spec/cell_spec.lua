-- saros.cell and saros.place: what is started from a copy reaches nothing else.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local cell = require "saros.cell"
local place = require "saros.place"
local system = outside.system

local ROOT <const> = os.execute "test $(id -u) = 0"

if not ROOT then
  describe("saros.cell", function()
    pending "needs root"
  end)
  return
end

local NOBODY <const> = { uid = 65534, gid = 65534 }

local function sh(command)
  local pipe <close> = assert(io.popen("exec 2>&1; " .. command))
  return pipe:read "a"
end

local function new_place(owner) return place.new { owner = owner or NOBODY } end

-- What a script says in a cell, both streams.
local function inside(p, script, more)
  local o = { place = p, argv = { "bash", "-c", script }, stderr = "stdout",
    any_status = true }
  for name, item in pairs(more or {}) do o[name] = item end
  return assert(cell.run(o):wait()).stdout
end

-- The numbers of the processes that have this word on their command line.
local function having(word)
  local found = {}
  for pid in sh "ls /proc":gmatch "%d+" do
    local line = outside.content("/proc/" .. pid .. "/cmdline")
    if line and line:find(word, 1, true) then found[#found + 1] = pid end
  end
  return found
end

local function until_gone(word)
  while #having(word) > 0 do saros.sleep(0.005):wait() end
end

local function until_there(path)
  while not outside.content(path) do saros.sleep(0.005):wait() end
end

-- Somebody of production: listens in every way there is, and says "port N".
local LISTENER <const> = [[
import socket, sys, select
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen()
b = socket.socket(socket.AF_UNIX); b.bind("\0" + sys.argv[1]); b.listen()
c = socket.socket(socket.AF_UNIX); c.bind(sys.argv[2]); c.listen()
print("port %d" % a.getsockname()[1], flush=True)
while True:
  for s in select.select([a, b, c], [], [])[0]:
    s.accept()
    print("somebody", flush=True)
]]

-- Tries all of them; one word each.
local CALLER <const> = [[
import socket, sys
for family, to in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))),
    (socket.AF_UNIX, "\0" + sys.argv[2]), (socket.AF_UNIX, sys.argv[3])):
  try:
    socket.socket(family).connect(to)
    print("reached")
  except OSError as e:
    print("refused")
]]

describe("a cell", function()
  it("is to be had here", function()
    assert.is_nil(cell.why())
  end)

  it("runs a program as the owner of its place, with no rights", function()
    local p <close> = new_place()
    local said = inside(p, [[id -u; id -G; pwd; echo "$HOME/$PGHOST/$WORD"
      grep -E 'Cap|NoNew' /proc/self/status; ulimit -c]],
      { env = { WORD = "x" } })
    local first = ("65534\n65534\n%s\n%s//x\n"):format(p.root, p.root)
    assert.equal(first, said:sub(1, #first))
    for name in ("Inh Prm Eff Bnd Amb"):gmatch "%a+" do
      assert.truthy(said:find("Cap" .. name .. ":\t0000000000000000", 1, true))
    end
    assert.truthy(said:find("NoNewPrivs:\t1", 1, true))
    assert.truthy(said:find "\n0\n$")
  end)

  it("can be entered by the owner whatever our umask is", function()
    local script <const> = [[
      require "saros"
      local p <close> = require "saros.place".new { owner = { uid = 65534,
        gid = 65534 } }
      print(assert(require "saros.cell".run { place = p, argv = { "sh", "-c",
        "umask; stat -c %a /tmp /run /dev /dev/shm; ls -d ." } }:wait()).stdout)]]
    for _, mask in ipairs { "000", "022", "077" } do
      local said, _, status = outside.run("sh", "-c", "umask " .. mask
        .. "; LUA_PATH=$1 LUA_CPATH=$2 exec $3 -e \"$4\"", "sh",
        outside.lua_path, outside.lua_cpath, outside.lua, script)
      assert.equal(0, status, mask)
      assert.equal("0077\n1777\n755\n755\n1777\n.\n\n", said)
    end
  end)

  for _, owner in ipairs { NOBODY, { uid = 0, gid = 0 } } do
    it("can write to its place alone, uid " .. owner.uid, function()
      local p <close> = new_place(owner)
      outside.directory(function(d)
        os.execute(("chmod 777 %s; touch %s/file; chmod 666 %s/file")
          :format(d, d, d))
        local said = inside(p, ([[
          for f in /etc/x /usr/x /root/x /home/x /var/lib/x /var/x /sys/x \
            /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness /dev/x \
            /sys/kernel/mm/ksm/run /x %s/file %s/new
          do (echo x >$f) 2>/dev/null && echo "wrote $f"; done
          ls /dev
          mount -t tmpfs none /mnt 2>/dev/null && echo mounted
          mknod %s/disk b 7 0 2>/dev/null && echo "made a device"
          touch in_place && echo >/dev/null && echo end]])
          :format(d, d, p.root))
        assert.equal("fd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\n"
          .. "urandom\nzero\nend\n", said)
        assert.truthy(p:at "/in_place")
        assert.equal("", outside.content(d .. "/file"))
      end, "/var/lib")
    end)
  end

  it("has directories of its own for what is short-lived", function()
    local p <close> = new_place()
    outside.directory(function(d)
      local name = d:match "[^/]*$"
      local said = inside(p, ([[ls -d /tmp/%s 2>/dev/null
        for d in /tmp /run /dev/shm /var/tmp
        do echo %s >$d/%s-own && rm $d/%s-own || echo "none in $d"; done
        head -c 100000000 /dev/zero >/dev/shm/big && stat -c %%s /dev/shm/big
        ]]):format(name, name, name, name))
      assert.equal("100000000\n", said)
    end)
  end)

  it("reaches nobody who listens", function()
    local p <close> = new_place()
    outside.directory(function(d)
      local socket, name = d .. "/socket", "saros-cell-" .. system.pid()
      local listener <close> = outside.start("python3", "-c", LISTENER, name,
        socket)
      listener:expect "port "
      local port = listener:expect "\n"
      local words = { "python3", "-c", CALLER, port, name, socket }
      os.execute(("chmod 755 %s; chmod 777 %s"):format(d, socket))
      assert.equal("reached\nreached\nreached\n", (outside.run(
        table.unpack(words))))
      local r = assert(cell.run { place = p, argv = words }:wait())
      assert.equal("refused\nrefused\nrefused\n", r.stdout)
      -- Nobody but the first caller, who came before the others could.
      for _ = 1, 3 do listener:expect "somebody" end
      system.kill(listener.pid, 15)
      assert.equal("\n", (listener:finish():match "somebody(%s*)$"))
    end, "/var/lib")
  end)

  it("has a network of its own", function()
    local p <close> = new_place()
    local r = assert(cell.run { place = p, argv = { "python3", "-c", [[
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
c = socket.create_connection(s.getsockname()); print("itself")
print(*[name for _, name in socket.if_nameindex()])]] } }:wait())
    assert.equal("itself\nlo\n", r.stdout)
  end)

  it("does not see what is hidden", function()
    local p <close> = new_place()
    outside.directory(function(d)
      os.execute(("cd %s && mkdir data && echo secret >data/f && echo secret "
        .. ">file && echo open >other && ln -s data link && chmod -R a+rX .")
        :format(d))
      local said = inside(p, ("cd %s; cat data/f file link/f other; ls -A data")
        :format(d), { hide = { d .. "/link", d .. "/file", d .. "/gone" } })
      assert.is_nil(said:find "secret")
      assert.truthy(said:find "open\n$")
    end, "/var/lib")
  end)

  it("has its place where that lies in what is hidden", function()
    outside.directory(function(d)
      os.execute(("echo secret >%s/f"):format(d))
      local p <close> = place.new { scratch = d, owner = NOBODY }
      assert.equal("saros-p.\n", (inside(p, ("touch x; ls %s; cat %s/f"):format(
        d, d), { hide = { d } }):gsub("p%.%S+", "p."):gsub("cat:.*", "")))
      assert.truthy(p:at "/x")
    end, "/var/lib")
  end)

  it("sees no other process, and can signal none", function()
    local p <close> = new_place { uid = 0, gid = 0 }
    local sleeper <close> = outside.start("sleep", "1000")
    local said = inside(p, ("ls /proc | grep -c '^[0-9]'; kill -0 %d && echo "
      .. "reached; kill -9 -1; echo end"):format(sleeper.pid))
    assert.is_nil(said:find "reached")
    assert.is_true(tonumber(said:match "^%d+") <= 5)
    assert.truthy(outside.content(("/proc/%d/stat"):format(sleeper.pid))
      :find "sleep) S")
  end)

  it("gains nothing by a namespace in which it may do everything", function()
    local p <close> = new_place()
    outside.directory(function(d)
      os.execute(("echo secret >%s/file; chmod 777 %s; chmod 666 %s/file")
        :format(d, d, d))
      local said = inside(p, ([[unshare -Um --keep-caps bash -c '
        grep CapEff /proc/self/status
        umount -l %s; umount -l /proc; umount -l /run; umount -l /dev
        mount -o remount,bind,rw /; mount -o remount,bind,rw %s
        mount --bind / /mnt; mount -o remount,bind,rw /mnt
        cat %s/file /mnt%s/file
        echo x >/etc/saros-cell; echo x >/mnt%s/new; ls /mnt/dev/vda /dev/sda
        ' 2>/dev/null]]):format(d, d, d, d, d), { hide = { d } })
      assert.truthy(said:match "^CapEff:%s+0*[1-9a-f]")
      assert.is_nil(said:find "secret")
      assert.is_nil(said:find "/dev/")
      assert.equal("file\n", sh("ls " .. d))
      assert.is_nil(outside.content "/etc/saros-cell")
    end, "/var/lib")
  end)

  it("gains nothing by a program that is somebody else's", function()
    local p <close> = new_place()
    sh(("cp /usr/bin/id %s/id; chmod 6755 %s/id"):format(p.root, p.root))
    assert.equal("0\n", (outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", p.root .. "/id", "-u")))
    assert.equal("65534 65534\n", inside(p, "echo $(./id -u) $(./id -g)"))
  end)

  it("inherits nothing", function()
    local p <close> = new_place()
    local said = outside.run("bash", "-c", ([[exec 7</etc/passwd
      exec '%s' --uid=65534 --gid=65534 --write='%s' -- bash -c \
        'for f in /proc/$$/fd/*; do echo ${f##*/}; done']])
      :format(package.searchpath("saros.core", package.cpath)
        :gsub("[^/]*$", "cell"), p.root))
    assert.is_nil(said:find "7")
    assert.truthy(said:find "^0\n1\n2\n")
  end)

  it("ends with its program, whatever that has started", function()
    local p <close> = new_place()
    local word = ("1000.%d"):format(math.random(0) >> 2)
    inside(p, ("setsid sleep %s >/dev/null 2>&1 & echo $!"):format(word))
    until_gone(word)
  end)

  it("passes on what it is asked, in the program's own word", function()
    local p <close> = new_place()
    local op = cell.run { place = p, stop = "INT", argv = { "bash", "-c",
      "trap 'echo asked >said; exit' INT; touch ready; "
        .. "while :; do sleep 0.01; done" } }
    until_there(p.root .. "/ready")
    op:cancel()
    op:wait()
    assert.equal("asked\n", outside.content(p.root .. "/said"))
  end)

  it("kills what does not listen", function()
    local p <close> = new_place()
    local word = ("1000.%d"):format(math.random(0) >> 2)
    local op = cell.run { place = p, grace = 0.05, argv = { "bash", "-c",
      ("trap '' TERM INT; touch ready; while :; do sleep %s; done")
        :format(word) } }
    until_there(p.root .. "/ready")
    op:close()
    until_gone(word)
  end)

  it("is gone when its owner was killed", function()
    outside.directory(function(d)
      local word = ("1000.%d"):format(math.random(0) >> 2)
      local owner <close> = outside.start(outside.lua, "-e", ([[
        local cell, place = require "saros.cell", require "saros.place"
        local p = place.new { scratch = %q, owner = { uid = 65534, gid = 65534 } }
        local op = cell.run { place = p, argv = { "bash", "-c",
          "setsid sleep %s & touch ready; sleep %s" } }
        while not p:at "/ready" do require "saros".sleep(0.005):wait() end
        print("root " .. p.root)
        op:wait()]]):format(d, word, word))
      owner:expect "root "
      local root = owner:expect "\n"
      assert.is_true(#having(word) >= 2)
      system.kill(owner.pid, 9)
      until_gone(word)
      assert.is_nil(outside.content "/proc/mounts":find(d, 1, true))
      -- Nobody could take away the place: who comes next does.
      assert.truthy(outside.content(root .. "/ready"))
      owner:finish()
      assert.equal(1, place.sweep(d))
      assert.equal("", sh("ls -A " .. d))
    end)
  end)

  it("says which step cannot be taken", function()
    local p <close> = new_place()
    local function why(more)
      local o = { place = p, argv = { "true" } }
      for name, item in pairs(more) do o[name] = item end
      local ok, err = cell.run(o):wait()
      assert.is_nil(ok)
      return err.message
    end
    assert.truthy(why { place = "/nowhere", owner = NOBODY }
      :find("cannot find the place: /nowhere: No such file", 1, true))
    assert.truthy(why { argv = { "no-such-program" } }
      :find("cannot start no-such-program: No such file", 1, true))
    assert.truthy(why { cwd = "/root" }
      :find("cannot enter the directory: /root: Permission denied", 1, true))
    assert.truthy(why { hide = { "/" } }
      :find("cannot hide: that is everything", 1, true))
    local said, _, code = outside.run("setpriv", "--reuid=65534",
      "--regid=65534", "--clear-groups", "sh", "-c", "exec 2>&1; exec '"
      .. package.searchpath("saros.core", package.cpath):gsub("[^/]*$", "cell")
      .. "' --uid=0 --gid=0 -- true")
    assert.truthy(said:find("cannot make a cell: only root can", 1, true))
    assert.equal(125, code)
  end)

  it("wants to know where, what and who", function()
    local p <close> = new_place()
    assert.error_matches(function() cell.run { place = p } end, "'argv'")
    assert.error_matches(function() cell.run { argv = { "true" } } end,
      "'place'")
    assert.error_matches(function()
      cell.run { argv = { "true" }, place = "/srv" }
    end, "'owner'")
    assert.error_matches(function()
      cell.run { argv = { "true" }, place = p, stop = "KILL" }
    end, "'stop'")
  end)
end)
