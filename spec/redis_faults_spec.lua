-- saros.writers.redis with a server that dies, hangs, is full or somebody
-- else's at the worst moment: the shadow fails with the reason, and within its
-- limit the server is written to again.
local volumes = require "spec.volumes"
local helper = require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.redis"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local system = outside.system
local code = saros.code
local client = require "saros.client.redis"
local redis = require "saros.writers.redis"

if server.missing then
  describe("saros.writers.redis", function() pending(server.missing) end)
  return
end

local function shadow(d, r, more)
  local o = { paths = { r.data }, provider = "copy", state_dir = d.state }
  for name, item in pairs(more or {}) do o[name] = item end
  return vss.shadow(o)
end

-- One that is told when everybody holds still, and after that.
local function witness(events)
  events.id, events.name, events.level = shared.id(9), "witness", "system"
  return vss.writer(events)
end

-- Why there is no shadow: the first reason.
local function refused(d, r, more)
  local set, err = shadow(d, r, more):wait()
  assert.is_nil(set)
  assert.equal("", d.left())
  while err.cause do err = err.cause end
  return err
end

-- Somebody else's write, now or not within these seconds.
local function writes(r, seconds)
  local c <close> = client.open { socket = r.socket }
  local op = c:command("SET", "other", "x")
  return (op:wait(seconds or outside.patience)) == "OK"
end

describe("a Redis that fails", function()
  it("is not there", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local w <close> = redis.writer { socket = r.socket }
    r:stop()
    local set, err = shadow(d, r, { writers = { require = { redis.id } } }):wait()
    assert.is_nil(set)
    assert.is_truthy(err)
    r:go_on()
    assert(shadow(d, r, { writers = { require = { redis.id } } }):wait()):close()
    w:close()
  end)

  it("dies at the freeze", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket }
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function() r:kill() end }
    local err = refused(d, r)
    assert.equal(code.SAROS_E_CLOSED, err.code)
  end)

  it("hangs at the freeze", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket, freeze_timeout = 1 }
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function() r:freeze() end }
    local err = refused(d, r)
    assert.is_truthy(err.message)
    r:go()
    assert.is_true(writes(r))
  end)

  it("has thrown us out before the freeze", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket, freeze_timeout = 600 }
    do
      local _ <close> = vss.writer { id = shared.id(8), name = "before",
        level = "front_end", freeze = function()
          r:cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        end }
      assert.equal(code.SAROS_E_CLOSED, refused(d, r).code)
      assert.is_true(writes(r))
    end
    assert(shadow(d, r):wait()):close()
  end)

  it("does not let us in any more since it was asked who it is", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket }
    local _ <close> = witness { prepare_backup = function()
      r:cli("CONFIG", "SET", "requirepass", "secret")
    end }
    assert.match("NOAUTH", refused(d, r).message)
    r.auth = { "-a", "secret" }
    assert.equal("OK", r:cli("SET", "other", "x"))
  end)

  it("is full before the freeze", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket }
    local full <close> = client.open { socket = r.socket }
    assert(full:command "PING":wait())
    do
      local _ <close> = witness { prepare_backup = function()
        assert(full:command("CONFIG", "SET", "maxclients", 1):wait())
      end }
      assert.match("max number of clients", refused(d, r).message)
    end
    assert(full:command("CONFIG", "SET", "maxclients", 100):wait())
    assert.is_true(writes(r))
    assert(shadow(d, r):wait()):close()
  end)

  it("dies while it is held", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket }
    local _ <close> = witness { freeze = function() r:kill() end }
    assert.is_truthy(refused(d, r))
  end)

  it("hangs at the thaw, and goes on by itself", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket, freeze_timeout = 2 }
    local _ <close> = witness { freeze = function() r:freeze() end }
    assert.is_truthy(refused(d, r))
    r:go()
    assert.is_true(writes(r))
  end)

  it("was started anew meanwhile", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = { appendonly = "yes" } }
    local _ <close> = redis.writer { socket = r.socket }
    do
      local _ <close> = witness { freeze = function()
        r:kill()
        r:go_on()
      end }
      assert.match("was started anew while it should hold still",
        refused(d, r).message)
    end
    do
      local _ <close> = vss.writer { id = shared.id(8), name = "before",
        level = "front_end", freeze = function()
          r:kill()
          r:go_on()
        end }
      assert.equal(code.SAROS_E_CLOSED, refused(d, r).code)
    end
    assert.is_true(writes(r))
  end)

  it("does not let us in", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = { requirepass = "secret" },
      auth = { "-a", "secret" } }
    local _ <close> = redis.writer { socket = r.socket }
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:gather_writer_metadata():wait()
    local set, err = shadow(d, r, { writers = { require = { redis.id } } }):wait()
    assert.is_nil(set)
    while err.cause do err = err.cause end
    assert.match("NOAUTH", err.message)
  end)

  it("is full when it is to be let go: it goes on by itself", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket, freeze_timeout = 5 }
    local full <close> = client.open { socket = r.socket }
    local _ <close> = witness { freeze = function()
      assert(full:command("CONFIG", "SET", "maxclients", 1):wait())
      full:command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"):wait()
    end }
    local err = refused(d, r)
    assert.match("max number of clients", err.message)
    assert(full:command("CONFIG", "SET", "maxclients", 100):wait())
    assert.is_true(writes(r))
  end)

  it("loses its socket while it is held, and is let go by another", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket, freeze_timeout = 600 }
    local _ <close> = witness { freeze = function()
      r:cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    end }
    local set <close> = assert(shadow(d, r):wait())
    assert.is_truthy(set)
    assert.is_true(writes(r))
  end)

  it("went on before the shadow was complete", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local _ <close> = redis.writer { socket = r.socket }
    do -- somebody ends the pause, and writes
      local _ <close> = witness { freeze = function()
        r:cli("CLIENT", "UNPAUSE")
        assert.equal("OK", r:cli("SET", "k", "v"))
      end }
      local err = refused(d, r)
      assert.match("written to while it should hold still", err.message)
      assert.equal(code.SAROS_E_CHANGED, err.code)
    end
    do -- with a dump that is done by then
      local _ <close> = witness { freeze = function()
        outside.eventually("the dump is done", function()
          return r:info "rdb_bgsave_in_progress" == "0"
        end)
        r:cli("CLIENT", "UNPAUSE")
        r:cli("SET", "k", "v")
      end }
      assert.match("written to while", refused(d, r).message)
    end
    do -- and with another one, which counts from zero again
      local _ <close> = witness { freeze = function()
        outside.eventually("the dump is done", function()
          return r:info "rdb_bgsave_in_progress" == "0"
        end)
        r:cli("CLIENT", "UNPAUSE")
        r:cli("SET", "k", "v")
        assert.equal("OK", r:cli "SAVE")
        assert.equal("0", r:info "rdb_changes_since_last_save")
      end }
      assert.match("written to while", refused(d, r).message)
    end
  end)

  -- A log of its own, of one instant: nobody waits for a dump of somebody else,
  -- which begins before the freeze and ends before the thaw.
  it("is not believed for a dump of somebody else", function()
    if volumes.missing then pending(volumes.missing) return end
    local v <close>, why = volumes.make("btrfs", 256)
    if not v then pending(why) return end
    assert(os.execute(("chmod 755 '%s/..'"):format(v.path)))
    local d <close> = shared.directory()
    local r <close> = server.start { at = v.path .. "/r", config = {
      appendonly = "yes", ["enable-debug-command"] = "yes",
      ["rdb-key-save-delay"] = "10000" } }
    r:cli("DEBUG", "POPULATE", "100")
    -- A child that stands still, and goes on when it is told to.
    local function child()
      local pipe <close> = io.popen(("cat /proc/%d/task/*/children"):format(
        r.pid))
      return math.tointeger(pipe:read "n" or 0)
    end
    local function stopped()
      r:cli("SET", "k", "before the dump")
      r:cli "BGSAVE"
      local pid = child()
      if pid == 0 then return false end
      system.kill(pid, 19)
      return r:info "rdb_bgsave_in_progress" == "1"
    end
    local _ <close> = redis.writer { socket = r.socket }
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function()
        outside.eventually("a dump is begun", stopped)
        r:cli("SET", "k", "after it began")
      end }
    local function in_the_hold(f)
      return witness { freeze = function()
        assert.equal("1", r:info "rdb_bgsave_in_progress")
        f()
        system.kill(child(), 18)
        outside.eventually("the dump is done", function()
          return r:info "rdb_bgsave_in_progress" == "0"
        end)
        assert.equal("ok", r:info "rdb_last_bgsave_status")
      end }
    end
    do
      local _ <close> = in_the_hold(function() end)
      assert(shadow(d, r, { provider = "btrfs" }):wait()):close()
    end
    do
      local _ <close> = in_the_hold(function()
        r:cli("CLIENT", "UNPAUSE")
        assert.equal("OK", r:cli("SET", "k", "torn"))
      end)
      assert.match("written to while",
        refused(d, r, { provider = "btrfs" }).message)
    end
    r:__close()
  end)

  it("is written to by its master", function()
    local d <close> = shared.directory()
    local port = 20000 + system.pid() % 12000 -- which the kernel gives nobody
    local master <close> = server.start { config = { port = port,
      bind = "127.0.0.1", ["repl-diskless-sync-delay"] = "0" } }
    local r <close> = server.start { config = {
      replicaof = "127.0.0.1 " .. port } }
    outside.eventually("it follows", function()
      return r:info "master_link_status" == "up"
    end)
    master:cli("SET", "k", "then")
    outside.eventually("it has that", function()
      return r:cli("GET", "k") == "then"
    end)
    local w <close> = redis.writer { socket = r.socket }
    do
      local set <close> = assert(shadow(d, r):wait())
      local _, said = next(set:said(w.instance).components)
      assert.equal("a replica", said.note)
    end
    local seen
    local _ <close> = witness { freeze = function()
      master:cli("SET", "k", "later")
      -- What the master sends is applied, or waits: either is right, if told.
      for _ = 1, 100 do
        seen = seen or r:cli("GET", "k") == "later"
        if seen then break end
      end
    end }
    local set, err = shadow(d, r):wait()
    if set then
      set:close()
      assert.is_falsy(seen)
    else -- it may also come after we have looked
      while err.cause do err = err.cause end
      assert.match("it is a replica, and its master goes on", err.message)
    end
  end)

  it("is loading", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = {
      ["enable-debug-command"] = "yes" } }
    r:cli("DEBUG", "POPULATE", "1000")
    r:cli "SAVE"
    r:kill()
    outside.write(r.config, outside.content(r.config)
      .. "key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
    local _ <close> = redis.writer { socket = r.socket }
    r:go_on(false)
    outside.eventually("it loads", function()
      return r:cli("GET", "k"):find "^LOADING"
    end)
    assert.match("is loading its data; try again", refused(d, r).message)
  end)

  it("rewrites its log: that is waited for", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = { appendonly = "yes",
      ["rdb-key-save-delay"] = "200", ["enable-debug-command"] = "yes" } }
    r:cli("DEBUG", "POPULATE", "2000")
    r:cli("BGREWRITEAOF")
    assert.equal("1", r:info "aof_rewrite_in_progress")
    local during
    local _ <close> = redis.writer { socket = r.socket }
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function()
        during = r:info "aof_rewrite_in_progress"
      end }
    local set <close> = assert(shadow(d, r):wait())
    assert.is_truthy(set)
    assert.equal("0", during)
  end)

  it("begins to rewrite its log just before it is held", function()
    local d <close> = shared.directory()
    local r <close> = server.start { config = { appendonly = "yes",
      ["rdb-key-save-delay"] = "200", ["enable-debug-command"] = "yes" } }
    r:cli("DEBUG", "POPULATE", "2000")
    local w <close> = redis.writer { socket = r.socket }
    local _ <close> = vss.writer { id = shared.id(8), name = "before",
      level = "front_end", freeze = function()
        r:cli("CONFIG", "SET", "rdb-key-save-delay", "100")
        r:cli("BGREWRITEAOF")
      end }
    local set <close> = assert(shadow(d, r):wait())
    local _, said = next(set:said(w.instance).components)
    assert.equal(2000, said.keys["0"].keys)
  end)

  it("has no room for its dump", function()
    if volumes.missing then pending(volumes.missing) return end
    local v <close>, why = volumes.make("ext4", 16)
    if not v then pending(why) return end
    assert(os.execute(("chmod 755 '%s/..'"):format(v.path)))
    local d <close> = shared.directory()
    local r <close> = server.start { at = v.path .. "/r", config = {
      ["enable-debug-command"] = "yes" } }
    r:cli("SET", "small", "x")
    r:cli "SAVE"
    local w <close> = redis.writer { socket = r.socket }
    outside.run("dd", "if=/dev/zero", "of=" .. v.path .. "/filler", "bs=64k")
    for i = 1, 50 do r:cli("SET", "k" .. i, ("x"):rep(20000)) end
    local s <close> = vss.components { state_dir = d.state }
    s:initialize_for_backup()
    s:set_backup_state { type = "copy" }
    assert(s:gather_writer_metadata():wait())
    s:start_snapshot_set()
    s:add_to_snapshot_set(r.data, "copy")
    assert(s:prepare_for_backup():wait())
    assert(s:do_snapshot_set():wait())
    -- The shadow is there, and is none of this server.
    assert(s:gather_writer_status():wait())
    local status = s:writer_status()[1]
    assert.equal("failed_at_post_snapshot", vss.state[status.state])
    assert.is_nil((s:said(w.instance) or {}).components)
    s:close()
    -- The next one knows it before anybody waits.
    assert.match("its dump failed", refused(d, r).message)
    assert.equal("OK", r:cli("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"))
    assert.is_true(writes(r))
    r:__close()
  end)

  -- A host of its own that holds it until there is this file.
  local function host(d, r, go_on)
    local p = outside.start(outside.lua, "-e", ([[
      local saros = require "saros"
      local vss = require "saros.vss"
      local w = require "saros.writers.redis".writer { socket = %q,
        freeze_timeout = 5 }
      local other = vss.writer { id = %q, name = "x", level = "system",
        freeze = function()
          print "held"
          io.stdout:flush()
          repeat saros.sleep(0.01):wait() until io.open(%q)
        end }
      local set, err = vss.shadow { paths = { %q }, provider = "copy",
        state_dir = %q }:wait()
      while err and err.cause do err = err.cause end
      print(set and "made" or err.message)
    ]]):format(r.socket, shared.id(9), go_on, r.data, d.state))
    p:expect "held"
    assert.is_false(writes(r, 0.2))
    return p
  end

  it("is written to again when we are killed while it is held", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local p <close> = host(d, r, d.root .. "/never")
    system.kill(p.pid, 9)
    assert.is_true(writes(r))
    -- No setting is another one.
    assert.equal("100", r:setting "auto-aof-rewrite-percentage")
  end)

  it("is written to again when we stand still while it is held", function()
    local d <close> = shared.directory()
    local r <close> = server.start()
    local p <close> = host(d, r, d.root .. "/go_on")
    system.kill(p.pid, 19)
    assert.is_true(writes(r))
    outside.write(d.root .. "/go_on", "")
    system.kill(p.pid, 18)
    local said = p:finish()
    -- The one or the other of the two that know.
    assert.is_truthy(said:find "was to be held for %d s at most"
      or said:find "there may have been writes before it was complete"
      or said:find "written to while it should hold still", said)
  end)
end)
