-- Copies of a Redis whose files are of several instants, as a broken provider
-- makes them: each is found, also those that a server loads without a word.
local helper = require "spec.helper"
local outside = require "spec.outside"
local server = require "spec.servers.redis"
local shared = require "spec.vss"
local volumes = require "spec.volumes"

local missing = server.missing or volumes.missing
if missing then
  describe("copies of Redis that are torn", function() pending(missing) end)
  return
end

local saros, vss = helper.saros, shared.vss
local code = saros.code
local kind = require "saros.writers.kind"
local place = require "saros.place"
local redis = require "saros.writers.redis"

local function sh(command, ...) assert(os.execute(command:format(...))) end

describe("copies of Redis that are torn", function()
  local v, d, r, w, set, said, why

  local function idle()
    outside.eventually("its child is done", function()
      return r:info "aof_rewrite_in_progress" == "0"
        and r:info "aof_rewrite_scheduled" == "0"
    end)
  end

  local function set_all(value)
    for i = 1, 30 do r:cli("SET", "key" .. i, value:rep(20)) end
  end

  -- The same keys at all times: to count them tells nothing.
  setup(function()
    v, why = volumes.make("btrfs", 256)
    if not v then return end
    d = shared.directory()
    sh("chmod 755 '%s/..'; chmod 711 '%s'", v.path, d.root)
    r = server.start { at = v.path .. "/r", config = { appendonly = "yes" } }
    set_all "elder"
    r:cli("BGREWRITEAOF")
    idle()
    sh("cp -a '%s' '%s/old'", r.data, d.root)
    set_all "new"
    r:cli("SET", "other", ("text"):rep(50))
    r:cli("DEL", "other")
    r:cli("BGREWRITEAOF")
    idle()
    set_all "two"
    w = redis.writer { socket = r.socket }
    set = assert(vss.shadow { paths = { v.path }, provider = "btrfs",
      state_dir = d.state }:wait())
    said = set:said(w.instance).components.redis
  end)

  teardown(function()
    if set then set:close() end
    if w then w:close() end
    if r then r:__close() end
    if d then getmetatable(d).__close() end
    if v then v.close() end
  end)

  -- `change`: what a shell does in a copy of the shadow; in OLD all is older.
  local function checked(change)
    local to = d.root .. "/copy"
    sh("rm -rf '%s'; cp -a '%s%s' '%s'", to, set[v.path].path,
      r.data:sub(#v.path + 1), to)
    sh("cd '%s/appendonlydir'; OLD='%s/old/appendonlydir'; set -e; "
      .. "BASE=$(ls *.base.rdb) INCR=$(ls *.incr.aof); %s", to,
      d.root, change)
    local c = { type = "database", name = "redis", files = { r.data },
      said = said }
    return saros.spawn(function()
      local p <close> = place.of_shadow { paths = c.files, scratch = "/tmp",
        at = function() return to end }
      local k = kind.of(redis.id)
      assert(k.settle(c, p))
      return k.check(c, p)
    end):wait()
  end

  it("are those, and not the whole ones", function()
    if why then pending(why) return end
    assert.is_nil(said.additions)
    assert.is_true(said.log_size > 1000)
    assert(checked "true")
  end)

  for what, one in pairs {
    ["a log that lost its last commands"] = { "has %d+ bytes, and it had",
      "truncate -s -91 $INCR" }, -- a whole one
    ["a log that was cut in a command"] = { "the check found",
      "truncate -s -5 $INCR" },
    ["a base that is older"] = { "has %d+ bytes, and it had",
      "cp -a $OLD/*.base.rdb $BASE" },
    ["a list that is older"] = { "the check found",
      "cp -a $OLD/*.manifest ." },
    ["a list that is older, and its files"] = { "has %d+ bytes, and it had",
      "cp -a $OLD/* ." },
    ["a log without its beginning"] = { "the check found",
      "rm $BASE" },
    ["a log without its end"] = { "the check found",
      "rm $INCR" },
    ["no list"] = { "is not there: a server would start without any data",
      "rm *.manifest" },
  } do
    it("are found: " .. what, function()
      if why then pending(why) return end
      local ok, err = checked(one[2])
      assert.is_nil(ok)
      assert.is_nil(err.untried)
      assert.equal(code.WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED, err.code)
      assert.match(one[1], err.message)
    end)
  end
end)
