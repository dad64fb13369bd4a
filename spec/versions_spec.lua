-- What outlives the program that wrote it. The fixtures are of earlier programs
-- (spec/fixtures/versions): this one must read each of them for ever. What is of
-- a later one it refuses, says who wrote it, and leaves it as it is.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local core = require "saros.core"
local code = saros.code

local ROOT <const> = os.execute "test $(id -u) = 0"
local FIXTURES <const> = "spec/fixtures/versions/"

-- Of each version there has been the files that it wrote.
local versions = {}
do
  local pipe <close> = io.popen("ls " .. FIXTURES)
  for name in pipe:lines() do
    if name:find "^%d+$" then versions[#versions + 1] = FIXTURES .. name end
  end
end

local function fixture(at, name)
  return (assert(outside.content(at .. "/" .. name), name .. " is not there"))
end

-- The same, of a program of the year 2099.
local function future(text, field)
  local n, m
  text, n = text:gsub(('("%s": ?)%%d+'):format(field or "version"), "%199")
  text, m = text:gsub('("program": ?)"[^"]*"', '%1"saros 9.9\\u001b[2J"')
  assert(n > 0 and n == m)
  return text
end

local function id_of(text) return (text:match '"id": ?"([%x-]+)"') end

local function says_who(text)
  text = tostring(text):gsub("\\+", "\\") -- the log escapes once more
  assert.is_nil(text:find "\27")
  assert.is_truthy(text:find("newer saros (saros 9.9\\x1b[2J)", 1, true), text)
  assert.is_truthy(text:find("its version is 99", 1, true), text)
  assert.is_truthy(text:find("Use that program", 1, true), text)
end

-- What was logged while f ran, in one text.
local function logged(f)
  local lines = {}
  saros.config { log = function(r) lines[#lines + 1] = r.text or "" end }
  local _ <close> = setmetatable({}, { __close = function()
    saros.config { log = false }
  end })
  f()
  helper.settle()
  return table.concat(lines, "\n")
end

local function with_state(f)
  outside.directory(function(d)
    local s = { root = d, dir = d .. "/s" }
    function s.put(name, text)
      local path = s.dir .. "/" .. name
      assert(os.execute(("mkdir -p -m 700 '%s'"):format(path:match "^(.*)/")))
      outside.write(path, text)
      return path
    end
    function s.reap() return saros.vss.reap { state_dir = s.dir }:wait() end
    -- The directories as saros makes them.
    assert(s.reap())
    f(s)
  end)
end

-- A writer of a protocol to come, which has forgotten the first one.
local WRITER <const> = [[
import json, os, socket, sys
path, id = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
os.chmod(path, 0o600)
s.listen()
print("listening")
while True:
    c, _ = s.accept()
    c.sendall((json.dumps({"saros": "writer", "version": 99, "id": id,
      "instance": id, "name": "app"}) + "\n").encode())
    f = c.makefile()
    f.readline()
    f.readline()
    c.close()
    f.close()
]]

describe("what is kept", function()
  it("has fixtures of every version there was", function()
    assert.is_true(#versions >= 1)
  end)

  for _, at in ipairs(versions) do
    describe("by " .. at:match "[^/]+$" .. ":", function()
      it("a backup's document is read", function()
        with_state(function(s)
          local c <close> = saros.vss.components { state_dir = s.dir }
          c:initialize_for_restore(fixture(at, "document.json"))
        end)
      end)

      it("a dead one's shadow is reaped", function()
        with_state(function(s)
          local text = fixture(at, "shadow.json")
          local path = s.put("state/shadows/" .. id_of(text)
            .. ".json", text)
          local r = assert(s.reap())
          assert.is_nil(outside.content(path), core.json_write(r))
        end)
      end)

      it("a dead one's record of what is frozen is settled", function()
        with_state(function(s)
          local path = s.put("run/frozen/0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d21.json",
            fixture(at, "frozen.json"))
          assert(s.reap())
          assert.is_nil(outside.content(path))
        end)
      end)

      it("a dead one's disk is seen to", function()
        local there, vds = pcall(require, "saros.vds")
        if not there or not ROOT then pending "needs saros.vds, and root" return end
        with_state(function(s)
          local text = fixture(at, "attached.json")
          local path = s.put("state/vds/" .. id_of(text) .. ".json",
            text)
          assert(vds.reap { state_dir = s.dir }:wait())
          assert.is_nil(outside.content(path))
        end)
      end)

      it("a queue is opened, with all that is in it", function()
        local there, bits = pcall(require, "saros.bits")
        if not there then pending "needs saros.bits" return end
        outside.directory(function(d)
          assert(os.execute(("cp %s/queue.db %s/q.db && chmod 600 %s/q.db")
            :format(at, d, d)))
          local q <close> = bits.manager { path = d .. "/q.db" }
          local jobs = q:jobs()
          assert.equal(1, #jobs)
          assert.equal(1, #jobs[1]:files())
        end)
      end)

      it("a queue of an older form keeps its jobs", function()
        local there, bits = pcall(require, "saros.bits")
        if not there or not outside.installed "sqlite3" then
          pending "needs saros.bits and sqlite3" return
        end
        outside.directory(function(d)
          assert(os.execute(("cp %s/queue.db %s/q.db && chmod 600 %s/q.db && "
            .. "sqlite3 %s/q.db 'PRAGMA user_version = 0; ALTER TABLE files "
            .. "ADD COLUMN odd'"):format(at, d, d, d)))
          local q <close> = bits.manager { path = d .. "/q.db" }
          assert.equal(1, #q:jobs())
          assert.equal(1, #q:jobs()[1]:files())
        end)
      end)

      it("a manifest is read", function()
        local manifest = require "saros.wsb.manifest"
        local text = fixture(at, "manifest.json")
        local m = manifest.read(text, core.json_read(text).paths)
        assert.equal(1, #m.components)
        assert.equal("web1", m.host)
      end)

      it("what was learned, and who prunes, is JSON with a version", function()
        for _, name in ipairs { "learned.json", "owner.json" } do
          local t = assert(core.json_read(fixture(at, name)))
          assert.equal("integer", math.type(t.saros))
          assert.equal("string", type(t.program))
        end
      end)

      it("a run's record is read", function()
        with_state(function(s)
          local path = s.put("run.jsonl", fixture(at, "run.jsonl"))
          local r = require "saros.record".read(path)
          assert.is_truthy(r)
        end)
      end)
    end)
  end
end)

describe("what a newer program has kept", function()
  local at = versions[#versions]

  it("as a document is refused", function()
    with_state(function(s)
      local c <close> = saros.vss.components { state_dir = s.dir }
      local ok, err = pcall(c.initialize_for_restore, c,
        future(fixture(at, "document.json")))
      assert.is_false(ok)
      says_who(err)
    end)
  end)

  it("of a shadow stays, and is told", function()
    with_state(function(s)
      local text = future(fixture(at, "shadow.json"))
      local path = s.put("state/shadows/" .. id_of(text) .. ".json",
        text)
      local r, err
      local said = logged(function() r, err = s.reap() end)
      assert.equal(text, outside.content(path))
      says_who(said .. core.json_write(r or {}) .. tostring(err))
    end)
  end)

  it("of what is frozen stays, and is told", function()
    with_state(function(s)
      local text = future(fixture(at, "frozen.json"))
      local path = s.put("run/frozen/0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d21.json",
        text)
      local said = logged(function() assert(s.reap()) end)
      assert.equal(text, outside.content(path))
      says_who(said)
      assert.is_truthy(said:find("fsfreeze --unfreeze", 1, true), said)
    end)
  end)

  it("of a disk stays, and is told", function()
    local there, vds = pcall(require, "saros.vds")
    if not there or not ROOT then pending "needs saros.vds, and root" return end
    with_state(function(s)
      local text = future(fixture(at, "attached.json"))
      local path = s.put("state/vds/" .. id_of(text) .. ".json", text)
      local said = logged(function() vds.reap { state_dir = s.dir }:wait() end)
      assert.equal(text, outside.content(path))
      says_who(said)
    end)
  end)

  it("as a queue is refused, and not one byte of it changed", function()
    local there, bits = pcall(require, "saros.bits")
    if not there or not outside.installed "sqlite3" then
      pending "needs saros.bits and sqlite3" return
    end
    outside.directory(function(d)
      assert(os.execute(("cp %s/queue.db %s/q.db && chmod 600 %s/q.db && sqlite3 "
        .. "%s/q.db 'PRAGMA user_version = 99'"):format(at, d, d, d)))
      local before = outside.content(d .. "/q.db")
      local ok, err = pcall(bits.manager, { path = d .. "/q.db" })
      assert.is_false(ok)
      assert.matches("newer saros %(its version is 99", tostring(err))
      assert.equal(before, outside.content(d .. "/q.db"))
    end)
  end)

  it("speaks to writers is told when it hangs up", function()
    if not outside.installed "python3" then pending "needs python3" return end
    with_state(function(s)
      local id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d29"
      assert(os.execute(("mkdir -p -m 700 %s/run/writers"):format(s.dir)))
      local w <close> = outside.start("python3", "-u", "-c", WRITER,
        s.dir .. "/run/writers/" .. id .. ".sock", id)
      w:expect "listening"
      assert(os.execute("mkdir " .. s.root .. "/data"))
      local set <close> = assert(saros.vss.shadow { state_dir = s.dir,
        provider = "copy", paths = { s.root .. "/data" } }:wait())
      assert.equal(1, #set.left_out)
      local why = core.json_write(set.left_out[1])
      assert.is_truthy(why:find("not to speak version 1 of the protocol any "
        .. "more: its own is 99", 1, true), why)
    end)
  end)

  it("as a manifest is refused", function()
    local manifest = require "saros.wsb.manifest"
    local ok, err = pcall(manifest.read, future(fixture(at, "manifest.json"),
      "saros"), {})
    assert.is_false(ok)
    assert.equal(code.SAROS_E_REFUSED, err.code)
    says_who(err)
  end)

  it("of what was learned is refused, and not lost", function()
    local shared = require "spec.repository"
    if shared.missing then pending(shared.missing) return end
    local catalogue = require "saros.wsb.catalogue"
    shared.with(function(p)
      p.put("learned.json", future(fixture(at, "learned.json"), "saros"))
      assert(p.repo:backup { tags = { "saros-learned" }, host = "saros",
        sources = { { path = p.src, origin = { path = "/.saros-learned" } } } }
        :wait())
      local before = #p.repo:versions()
      local ok, err = pcall(saros.run, catalogue.learn, p.repo,
        "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d21",
        { component = 1, drill = { ok = true } })
      assert.is_false(ok)
      says_who(err)
      assert.equal(before, #p.repo:versions())
    end)
  end)

  it("of a run is refused", function()
    with_state(function(s)
      local text = fixture(at, "run.jsonl"):gsub('"saros_record":1',
        '"saros_record":99')
      local path = s.put("run.jsonl", text)
      local ok, err = pcall(require "saros.record".read, path)
      assert.is_false(ok)
      assert.matches("newer saros", tostring(err))
      assert.equal(text, outside.content(path))
    end)
  end)
end)
