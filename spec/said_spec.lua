-- What writers say beyond yes: kept in the set, in the session, in the document.
-- (What is fit to be kept is proved in spec/c/test_said.c.)
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.vss"

local saros, vss = helper.saros, shared.vss
local code = saros.code

local function shadow(d, options)
  local o = { paths = { d.a }, provider = "copy", state_dir = d.state }
  for name, item in pairs(options or {}) do o[name] = item end
  return vss.shadow(o)
end

local function says(...)
  local answers = table.pack(...)
  return function() return table.unpack(answers, 1, answers.n) end
end

local nested = {}
do
  local at = nested
  for _ = 1, 20 do at.a = {} at = at.a end
end

describe("what a writer says", function()
  it("is in the set, and grows until the backup is complete", function()
    local d <close> = shared.directory()
    local w <close> = shared.writer(1, {
      prepare_backup = says { server = "App 1", state = "prepared" },
      freeze = says { state = "frozen", components = { main = { position = "7",
        list = { 1, 2.5, true } } } },
      thaw = says(true),
      post_snapshot = says(nil),
      backup_complete = says { state = "done" } })
    local silent <close> = shared.writer(2)
    local set <close> = assert(shadow(d):wait())
    local by = {}
    for _, one in ipairs(set.writers) do by[one.name] = one end
    assert.equal(w.instance, by.app1.instance)
    assert.same({ server = "App 1", state = "frozen",
      components = { main = { position = "7", list = { 1, 2.5, true } } } },
      by.app1.said)
    assert.is_nil(by.app2.said)
    assert.same(by.app1.said, set:said(w.instance))
    assert.same(by.app1.said, set:said "app1")
    assert.is_nil(set:said(silent.id))
    assert(set:backup_complete():wait())
    assert.equal("done", set:said(w.instance).state)
    assert.equal("App 1", set:said(w.instance).server)
    assert.equal("frozen", by.app1.said.state)
  end)

  it("is in the document, for a restore by somebody else", function()
    local d <close> = shared.directory()
    local document
    do
      local _ <close> = shared.writer(1, { freeze = says { position = "0/16" } })
      local set <close> = assert(shadow(d):wait())
      document = set:save()
    end
    local output, _, status = helper.script(([[
      local vss = require "saros.vss"
      local s <close> = vss.components { state_dir = %q }
      s:initialize_for_restore(%q)
      print(s:said "app1".position, s:said(%q).position)
      print(pcall(s.said, s, "nobody"))
    ]]):format(d.state, document, shared.id(1)))
    assert.equal(0, status, output)
    assert.match("^0/16\t0/16\nfalse\t.*there is no writer \"nobody\"", output)
  end)

  it("belongs to a session that is open and not at work", function()
    local s <close> = vss.components()
    local ok, err = pcall(s.said, s, "app1")
    assert.is_false(ok)
    assert.equal(code.VSS_E_BAD_STATE, err.code)
    assert.has_error(function() s:said() end)
  end)

  local wrong = {
    { "a list", { 1, 2 }, "no map" },
    { "more than 64 KiB", { text = ("x"):rep(70000) }, "64 KiB" },
    { "what is nested too deeply", nested, "16 deep" },
    { "a text that is none", { text = "\xff" }, "not UTF%-8" },
    { "a number that is none", { x = 0 / 0 }, "a number that is none" },
    { "a function", { f = print }, "plain data" },
    { "an error", helper.core.failure("saros", 0x80004005, "it is in use"),
      "it is in use" },
    { "another's class", { __class = "saros.vds.disk" }, "__" },
  }
  for _, case in ipairs(wrong) do
    local what, said, message = table.unpack(case)
    it("is a veto when it is " .. what, function()
      local d <close> = shared.directory()
      local w <close>, log = shared.writer(1, { freeze = says(said) })
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
      assert.match("app1", err.message)
      assert.match(message, err.message)
      assert.match("abort", table.concat(log, " "))
      assert.is_true(w:is_open())
      assert.equal("", d.left())
    end)
  end

  it("is a veto when all of it is too much, and what was said stays", function()
    local d <close> = shared.directory()
    local much = ("x"):rep(40000)
    local _ <close> = shared.writer(1, { freeze = says { a = much },
      post_snapshot = says { b = much } })
    local set <close> = assert(shadow(d):wait()) -- after the thaw it marks him
    assert.same({ a = much }, set.writers[1].said)
    assert.equal(code.VSS_E_WRITERERROR_NONRETRYABLE, set.writers[1].failure)
    assert.equal(vss.state.failed_at_post_snapshot, set.writers[1].state)
  end)

  it("comes from commands that print an object", function()
    local d <close> = shared.directory()
    outside.write(d.root .. "/script", [[#!/bin/sh
case "$1" in
prepare-backup) echo '  {"server":"tape 1"}' ;;
prepare-snapshot) echo 'chatter, and no object' ;;
freeze) echo frozen; cat >/dev/null ;;
post-snapshot) echo "$MORE" ;;
esac
]])
    assert(os.execute("chmod 755 " .. d.root .. "/script"))
    for more, good in pairs { ['{"position":7}'] = true, ['{"position":'] = false,
      ['{"a":"$(head -c 200000 /dev/zero)"'] = false } do
      local _ <close> = vss.command_writer { id = shared.id(1), name = "tape",
        command = { d.root .. "/script" }, env = { MORE = more },
        components = { { type = "filegroup", name = "all", files = { d.a } } } }
      local set <close> = assert(shadow(d):wait())
      assert.same({ server = "tape 1", position = good and 7 or nil },
        set.writers[1].said)
      assert.equal(good, set.writers[1].failure == 0)
    end
  end)

  it("comes from another process", function()
    local d <close> = shared.directory()
    outside.write(d.root .. "/writer.lua", ([[
      local saros = require "saros"
      saros.run(function()
        local w <close> = saros.vss.writer { id = %q, name = "other",
          listen = true, state_dir = %q,
          freeze = function() return { pid = "far", list = {} } end,
          post_snapshot = function() return { text = ("x"):rep(70000) } end }
        io.write "ready\n"
        io.flush()
        saros.sleep(600):wait()
      end)
    ]]):format(shared.id(7), d.state))
    local p <close> = outside.start("env", "LUA_PATH=" .. outside.lua_path,
      "LUA_CPATH=" .. outside.lua_cpath, outside.lua, d.root .. "/writer.lua")
    p:expect "ready\n"
    local set <close> = assert(shadow(d):wait())
    assert.same({ pid = "far", list = {} }, set:said "other")
    assert.equal(vss.state.failed_at_post_snapshot, set.writers[1].state)
  end)
end)

-- A peer that consents to everything, and says at freeze what it is given.
local LIAR = [[
import json, os, socket, sys
path, said = sys.argv[1], sys.argv[2]
said = {"number": "7", "list": "[{}]", "deep": '{"a":' * 19 + "1" + "}" * 19,
        "large": '{"a":"' + "x" * 70000 + '"}',
        "larger": '{"a":"' + "x" * 140000 + '"}',
        "many": '{"a":[' + "0," * 12000 + "0]}",
        "class": '{"__class":"saros.vds.disk"}'}[said]
s = socket.socket(socket.AF_UNIX)
s.bind(path + ".new")
s.listen(4)
os.rename(path + ".new", path)
print("ready", flush=True)
while True:
    c, _ = s.accept()
    f = c.makefile("rw")
    f.write('{"saros":"writer","version":1,"id":"%s"}\n' % sys.argv[3])
    f.flush()
    for line in f:
        m = json.loads(line)
        if "event" not in m:
            continue
        a = '{"n":%d,"ok":true' % m["n"]
        if m["event"] == "identify":
            a += ',"metadata":{"name":"liar"}'
        if m["event"] == "freeze":
            a += ',"said":' + said
        f.write(a + "}\n")
        f.flush()
]]

describe("a peer that says what is not fit", function()
  for what, message in pairs { number = "no map", list = "no map",
    deep = "16 deep", large = "64 KiB", larger = "longer than 128 KiB",
    many = "10,000 values", class = "__" } do
    it("vetoes: " .. what, function()
      local d <close> = shared.directory()
      outside.write(d.root .. "/liar.py", LIAR)
      assert(os.execute(("mkdir -p -m 700 %s/run/writers"):format(d.state)))
      local id, directory = shared.id(9), d.state .. "/run/writers"
      local p <close> = outside.start("python3", d.root .. "/liar.py",
        directory .. "/" .. id .. ".sock", what, id)
      p:expect "ready\n"
      local set, err = shadow(d):wait()
      assert.is_nil(set)
      assert.equal(code.VSS_E_UNEXPECTED_WRITER_ERROR, err.code)
      assert.match(message, err.message)
      assert.equal("", d.left())
    end)
  end
end)
