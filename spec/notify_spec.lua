--- Who is told: of what, once, and by which way; and that whatever is wrong with
--- a way stops nobody.

local saros = require "spec.helper".saros
local outside = require "spec.outside"
local records = require "spec.timeline"
local bits = require "spec.bits"

local core = require "saros.core"
local notify = require "saros.notify"
local record = require "saros.record"

local NOW <const> = 1795443746
local SECRET <const> = "hush-T0ken-4711"

local function with(nights, f)
  return outside.directory(function(root)
    os.execute(("chmod 700 '%s'"):format(root))
    for _, night in ipairs(nights) do records.write(root, night) end
    return f(root)
  end)
end

-- A destination that appends what it is told to a file.
local function to_file(root)
  return { command = { "sh", "-c",
    'printf "%s %s\\n" "$SAROS_EVENT" "$SAROS_RUN" >>"$0/told"; cat >>"$0/text"', root } }
end

local function told(root)
  local list = {}
  for event in (outside.content(root .. "/told") or ""):gmatch "(%l+) " do
    list[#list + 1] = event
  end
  return list
end

local function check(root, more)
  local o = { name = "nightly", state_dir = root, now = NOW }
  for name, item in pairs(more or {}) do o[name] = item end
  o.to = o.to or to_file(root)
  return assert(notify.check(o):wait())
end

describe("a failure", function()
  it("is told once, with what failed and what to do", function()
    with({ records.good(NOW - 90000), records.full(NOW - 100) }, function(root)
      local list = check(root)
      assert.equal(1, #list)
      assert.equal("failed", list[1].event)
      assert.same({ command = true }, list[1].told)
      local text = outside.content(root .. "/text")
      local at = 1
      for _, part in ipairs { "nightly failed on web1", "target /mnt/a",
        "has no room left", "because: write /mnt/a", "What to do:",
        "The last success was begun", "The last lines of the log",
        "error: /mnt/a: No space left on device" } do
        local first = text:find(part, at, true)
        assert(first, part .. " is not in " .. text)
        at = first
      end
      for _ = 1, 3 do assert.same({}, check(root)) end
      assert.same({ "failed" }, told(root))
    end)
  end)

  it("is told once by two that look at once", function()
    with({ records.full(NOW - 100) }, function(root)
      local ops = {}
      for i = 1, 4 do
        ops[i] = notify.check { name = "nightly", state_dir = root, now = NOW,
          to = to_file(root) }
      end
      assert(saros.all(ops):wait())
      assert.same({ "failed" }, told(root))
    end)
  end)

  it("is another one in another run", function()
    with({ records.full(NOW - 90000) }, function(root)
      check(root)
      records.write(root, records.full(NOW - 100))
      check(root)
      check(root)
      assert.same({ "failed", "failed" }, told(root))
    end)
  end)

  it("is not told by who does not know what was told", function()
    with({ records.full(NOW - 100) }, function(root)
      check(root)
      local path = outside.run("find", root, "-name", "nightly.json"):match "[^\n]+"
      local text = outside.content(path)
      outside.write(path, (text:gsub('"saros": 1', '"saros": 99')))
      local ok, err = notify.check { name = "nightly", state_dir = root, now = NOW,
        to = to_file(root) }:wait()
      assert.is_nil(ok)
      assert.truthy(err.message:find "newer saros")
      -- What is damaged is no reason to be silent.
      for _, bad in ipairs { "", "{", "[]", '{"told":7}', '{"told":{"failed":7}}' } do
        outside.write(path, bad)
        assert.equal(1, #check(root), bad)
      end
    end)
  end)

  it("is told of a run that was killed, and of none that was stopped", function()
    local night = records.good(NOW - 100)
    night.ended = nil
    with({ night }, function(root)
      local path = record.list { state_dir = root }[1].path
      assert.same({}, check(root)) -- of this process, which lives
      outside.write(path, (outside.content(path):gsub('"start"[^,}]*', '"start":1', 1)))
      check(root)
      assert.same({ "failed" }, told(root))
      assert.truthy(outside.content(root .. "/text"):find "was interrupted")
    end)
    with({ records.good(NOW - 100, { night = { err = { cancelled = true,
      message = "stopped" } } }) }, function(root)
      assert.same({}, check(root))
    end)
  end)

  it("of a part is told as that, to who asked for it", function()
    local night = records.good(NOW - 100)
    night.result.partial = true
    with({ night }, function(root)
      assert.same({}, check(root, { on = { "failed" } }))
      check(root)
      assert.same({ "partial" }, told(root))
    end)
  end)

  it("is over once, if anybody has heard of it", function()
    with({ records.full(NOW - 90000) }, function(root)
      check(root)
      records.write(root, records.good(NOW - 1000))
      for _ = 1, 3 do check(root) end
      assert.same({ "failed", "recovered" }, told(root))
      records.write(root, records.good(NOW - 500))
      check(root)
      assert.same({ "failed", "recovered" }, told(root))
      records.write(root, records.full(NOW - 400))
      check(root)
      records.write(root, records.good(NOW - 100))
      check(root)
      check(root)
      assert.same({ "failed", "recovered", "failed", "recovered" }, told(root))
    end)
    with({ records.full(NOW - 90000), records.good(NOW - 100) }, function(root)
      assert.same({}, check(root)) -- nobody had heard
    end)
  end)
end)

describe("what did not happen", function()
  it("is late, once, until a success", function()
    with({ records.good(NOW - 100000) }, function(root)
      assert.same({}, check(root, { max_age = 200000 }))
      for _ = 1, 3 do check(root, { max_age = 93600 }) end
      assert.same({ "late" }, told(root))
      records.write(root, records.good(NOW - 300))
      check(root, { max_age = 93600 })
      check(root, { max_age = 93600 })
      assert.same({ "late", "recovered" }, told(root))
      check(root, { max_age = 93600, now = NOW + 100000 })
      assert.same({ "late", "recovered", "late" }, told(root))
    end)
  end)

  it("is late when nothing but failures came", function()
    with({ records.full(NOW - 200000) }, function(root)
      check(root, { max_age = 93600 })
      assert.same({ "failed", "late" }, told(root))
    end)
    with({ records.good(NOW - 200000), records.full(NOW - 100) }, function(root)
      check(root, { max_age = 93600 }) -- who hears of the failure knows
      assert.same({ "failed" }, told(root))
    end)
  end)

  it("is late, and has failed, also when a clock was ahead before", function()
    with({ records.good(NOW + 31536000), records.good(NOW - 100000) },
      function(root)
        for _ = 1, 2 do check(root, { max_age = 93600 }) end
        assert.same({ "late" }, told(root))
        records.write(root, records.full(NOW - 50))
        for _ = 1, 2 do check(root, { max_age = 93600 }) end
        assert.same({ "late", "failed" }, told(root))
      end)
    -- A little ahead, and of what has just ended it is known that it has.
    with({ records.good(NOW + 300), records.full(NOW - 50) }, function(root)
      assert.same({}, check(root))
      local run = record.list { state_dir = root, now = NOW }[2]
      check(root, { run = run })
      assert.same({ "failed" }, told(root))
    end)
  end)

  it("is a drill that is too old, or there never was", function()
    local drill = { wall = NOW - 700000, name = "nightly", kind = "drill",
      ended = 5000, ops = {}, result = {} }
    with({ drill, records.good(NOW - 100) }, function(root)
      assert.same({}, check(root, { drill_age = 800000 }))
      for _ = 1, 2 do check(root, { drill_age = 604800 }) end
      assert.same({ "drill" }, told(root))
    end)
    with({ records.good(NOW - 900000), records.good(NOW - 100) }, function(root)
      check(root, { drill_age = 604800 })
      assert.same({ "drill" }, told(root))
      assert.truthy(outside.content(root .. "/text"):find "No drill has ever")
    end)
  end)

  it("is a drill that failed", function()
    local night = records.good(NOW - 100)
    night.result.drill = { state = "failed", error = { message = "orders is empty" } }
    with({ night }, function(root)
      check(root)
      check(root)
      assert.same({ "drill" }, told(root))
      assert.truthy(outside.content(root .. "/text"):find "orders is empty")
    end)
  end)
end)

describe("a command", function()
  it("that fails or hangs stops nobody, and is tried again", function()
    with({ records.full(NOW - 100) }, function(root)
      local list = check(root, { to = { command = { "sh", "-c", "echo no room >&2; exit 3" } } })
      assert.truthy(list[1].failed[1].message:find "status 3: no room")
      list = check(root, { to = { command = { "sleep", "1000" }, timeout = 0.2 } })
      assert.equal("command", list[1].failed[1].to)
      list = check(root, { to = { command = { "/nowhere/tell" } } })
      assert.truthy(list[1].failed[1].message:find "/nowhere/tell")
      check(root)
      assert.same({ "failed" }, told(root))
    end)
  end)

  it("is told by one way again only when another had failed", function()
    with({ records.full(NOW - 100) }, function(root)
      local to = to_file(root)
      to.mail, to.sendmail = "root", "/nowhere/sendmail"
      local list = check(root, { to = to })
      assert.same({ command = true }, list[1].told)
      assert.truthy(list[1].failed[1].message:find "there is no /nowhere/sendmail")
      list = check(root, { to = to })
      assert.same({}, list[1].told)
      assert.equal(1, #list[1].failed)
      assert.same({ "failed" }, told(root))
    end)
  end)
end)

describe("a mail", function()
  local function sendmail(root)
    outside.write(root .. "/sendmail", '#!/bin/sh\nprintf "%s\\n" "$@" >"${0%/*}/args"\n'
      .. 'cat >"${0%/*}/mail"\n')
    os.execute(("chmod 755 '%s/sendmail'"):format(root))
    return root .. "/sendmail"
  end

  it("goes to sendmail, whatever things are called", function()
    local night = records.full(NOW - 100)
    night.name = "täglich\nBcc: everybody@example.org"
    with({ night }, function(root)
      local list = check(root, { name = night.name, to = { mail = { "root",
        "ops@example.org" }, from = "saros@example.org", sendmail = sendmail(root) } })
      assert.same({ mail = true }, list[1].told)
      assert.equal("-t\n-i\n", outside.content(root .. "/args"))
      local mail = outside.content(root .. "/mail")
      local head, body = mail:match "^(.-)\n\n(.*)$"
      assert.truthy(head:find "^From: saros@example.org\nTo: root, ops@example.org\n")
      assert.is_nil(head:find "Bcc")
      local subject = {}
      for word in head:gmatch "=%?UTF%-8%?B%?([^?]*)%?=" do subject[#subject + 1] = word end
      assert(#subject > 0)
      -- The body is for who looks into the spool.
      assert.truthy(head:find("\nContent-Transfer-Encoding: 8bit", 1, true), head)
      assert.truthy(body:find("täglich\\x0aBcc", 1, true))
      assert.truthy(body:find("No space left on device", 1, true))
      for line in head:gmatch "[^\n]*" do assert(#line <= 76, line) end
    end)
  end)

  it("is plain where it can be, and never has a line that is too long", function()
    for _, case in ipairs { { "x", "7bit" }, { "é", "8bit" },
      { ("é"):rep(600), "base64" }, { ("x"):rep(1200), "base64" } }
    do
      local night = records.good(NOW - 100)
      with({ night }, function(root)
        local to = { mail = "root", sendmail = sendmail(root) }
        local r = assert(notify.send { to = to, event = "late",
          run = record.list { state_dir = root }[1], state_dir = root,
          log = { { at = 1, level = "notice", text = case[1] } } }:wait())
        assert.same({ mail = true }, r.told)
        local mail = outside.content(root .. "/mail")
        local head, body = mail:match "^(.-)\n\n(.*)$"
        assert.equal(case[2], head:match "Transfer%-Encoding: (%S+)")
        if case[2] == "base64" then
          outside.write(root .. "/b64", body)
          body = outside.run("base64", "-d", root .. "/b64")
        end
        assert.truthy(body:find(case[1], 1, true))
        for line in mail:gmatch "[^\n]*" do assert(#line <= 998, line) end
      end)
    end
  end)

  it("has addresses that are some", function()
    for _, bad in ipairs { "a@b\nBcc: c@d", "-oQ/tmp", "", "a b" } do
      local ok, err = pcall(notify.options, { mail = bad })
      assert.is_false(ok)
      assert.truthy(err:find "is no address")
    end
    assert.is_false(pcall(notify.options, { on = { "always" } }))
    assert.is_false(pcall(notify.options, { url = {} }))
    assert.is_false(pcall(notify.options, { command = {} }))
    assert.is_false(pcall(notify.options, { urls = "x" }))
    assert.same({ "late" }, notify.options { mail = "root", on = { "late" } }.on)
  end)
end)

describe("a secret", function()
  it("is in no message, and in no other program", function()
    local night = records.full(NOW - 100)
    night.log = { { 1, "warning", "s3:https://me:" .. SECRET .. "@host/b failed" },
      { 2, "error", "GET https://h/o?X-Amz-Signature=" .. SECRET .. "&a=b" } }
    night.ops[14].err.message = "rest:https://me:" .. SECRET .. "@host:8000/ is down"
    with({ night }, function(root)
      outside.write(root .. "/check.lua", ([[
        package.path, package.cpath = %q, %q
        local list = assert(require "saros.notify".check { name = "nightly",
          state_dir = %q, now = %d, to = { command = { "sh", "-c",
          'env >%s/env; cat >%s/text' } } }:wait())
        print(list[1].told.command)]]):format(package.path, package.cpath, root, NOW,
        root, root))
      assert.equal("true\n", (outside.run("env", "RESTIC_PASSWORD=" .. SECRET,
        "AWS_SECRET_ACCESS_KEY=No space", outside.lua, root .. "/check.lua")))
      local text = outside.content(root .. "/text")
      assert.is_nil(text:find(SECRET, 1, true), text)
      assert.is_nil(text:find("No space", 1, true))
      assert.truthy(text:find("rest:https://…@host:8000/ is down", 1, true))
      local env = outside.content(root .. "/env")
      assert.is_nil(env:find(SECRET, 1, true))
      assert.truthy(env:find "SAROS_EVENT=failed")
    end)
  end)
end)

describe("a URL", function()
  if bits.missing then
    pending(bits.missing)
    return
  end

  local process, port
  setup(function()
    process = outside.start("sh", "-c", "sleep 100000 | exec python3 -u spec/http/server.py")
    port = tonumber((process:expect "\n"))
  end)
  teardown(function() process:__close() end)

  local function url(path) return ("http://127.0.0.1:%d/%s"):format(port, path) end

  local function ask(path)
    return (outside.run("python3", "-c", "import sys, urllib.request as u; "
      .. "sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())", url(path)))
  end

  local function seen(token)
    local list = {}
    for line in ask("seen/" .. token):gmatch "[^\n]+" do
      list[#list + 1] = assert(core.json_read(line))
    end
    return list
  end

  it("is told as JSON, once", function()
    with({ records.full(NOW - 100) }, function(root)
      local list = check(root, { to = { url = url "inbox/json" } })
      assert.same({ url = true }, list[1].told)
      check(root, { to = { url = url "inbox/json" } })
      local all = seen "json"
      assert.equal(1, #all)
      local m = all[1]
      assert.equal("failed", m.event)
      assert.equal("nightly", m.name)
      assert.equal("failed", m.state)
      assert.equal("saros: nightly failed on web1", m.subject)
      assert.truthy(m.text:find "What to do")
      assert.equal("ERROR_DISK_FULL", m.causes[1].name)
      assert.equal("error", m.log[#m.log].level)
    end)
  end)

  it("may be in a file, with a header that is secret", function()
    with({ records.full(NOW - 100) }, function(root)
      outside.write(root .. "/hook", url "headers/secret" .. "\n")
      outside.write(root .. "/token", "Bearer " .. SECRET)
      local list = check(root, { to = { url = { file = root .. "/nothing" } } })
      assert.truthy(list[1].failed[1].message:find "cannot be read")
      list = check(root, { to = { url = { file = root .. "/hook" },
        headers = { Authorization = { file = root .. "/token" } } } })
      assert.same({ url = true }, list[1].told)
      local head = ask "seen/secret"
      assert.truthy(head:find("Authorization: Bearer " .. SECRET, 1, true))
      assert.truthy(head:find("Content-Type: application/json", 1, true))
    end)
  end)

  it("that refuses is asked again the next time", function()
    with({ records.full(NOW - 100) }, function(root)
      local list = check(root, { to = { url = url("status/403/" .. SECRET) } })
      assert.same({}, list[1].told)
      local said = list[1].failed[1].message
      assert.is_nil(said:find(SECRET, 1, true), said)
      assert.truthy(said:find "127.0.0.1")
      assert.truthy(said:find "403")
      list = check(root, { to = { url = url "inbox/again" } })
      assert.same({ url = true }, list[1].told)
      assert.equal(1, #seen "again")
    end)
  end)

  it("that leads elsewhere is not followed, and not said", function()
    with({ records.full(NOW - 100) }, function(root)
      local where = "redirect/307/" .. SECRET .. "?/inbox/led"
      local list = check(root, { to = { url = url(where) } })
      assert.same({}, list[1].told)
      local said = list[1].failed[1].message
      assert.truthy(said:find("307: it leads elsewhere", 1, true), said)
      assert.is_nil(said:find(SECRET, 1, true), said)
      assert.equal(0, #seen "led")
    end)
  end)

  it("that cuts off is asked again at once", function()
    with({ records.full(NOW - 100) }, function(root)
      local list = check(root, { to = { url = url "givesup/cut" } })
      assert.same({ url = true }, list[1].told)
    end)
  end)

  it("that says nothing is given up in time", function()
    with({ records.full(NOW - 100) }, function(root)
      -- In which the command has to be done.
      local to = to_file(root)
      to.url, to.timeout = url "hold/slow", 3
      local list = check(root, { to = to })
      assert.same({ command = true }, list[1].told)
      assert.equal("url", list[1].failed[1].to)
      assert.truthy(list[1].failed[1].message:find "within 3 s")
    end)
  end)

  it("where nobody listens, or which is none, stops nobody", function()
    with({ records.full(NOW - 100) }, function(root)
      bits.with_closed_port(function(closed)
        local list = check(root, { to = { timeout = 1,
          url = ("http://127.0.0.1:%d/%s"):format(closed, SECRET) } })
        assert.equal("url", list[1].failed[1].to)
        assert.is_nil(list[1].failed[1].message:find(SECRET, 1, true))
      end)
      for _, bad in ipairs { "file:///etc/passwd", "nothing", "" } do
        local list = check(root, { to = { url = bad } })
        assert.truthy(list[1].failed[1].message:find "none of http")
      end
      assert.same({}, told(root))
    end)
  end)

  it("is told by the next when who told it was killed", function()
    with({ records.full(NOW - 100) }, function(root)
      outside.write(root .. "/check.lua", ([[
        package.path, package.cpath = %q, %q
        require "saros.notify".check { name = "nightly", state_dir = %q, now = %d,
          to = { url = %q } }:wait()]]):format(package.path, package.cpath, root, NOW,
        url "hold/killed"))
      do
        local p <close> = outside.start(outside.lua, root .. "/check.lua")
        ask "held/killed/1"
        assert(p)
      end
      local list = check(root, { to = { url = url "inbox/killed" } })
      assert.same({ url = true }, list[1].told)
      assert.equal(1, #seen "killed")
      local left = outside.run("find", root, "-name", "notify.*")
      assert.equal("", left)
    end)
  end)
end)

describe("a time", function()
  it("may be said in words", function()
    with({ records.good(NOW - 100000) }, function(root)
      assert.same({}, check(root, { max_age = "3d" }))
      local to = to_file(root)
      to.max_age = "26h"
      check(root, { to = to })
      assert.same({ "late" }, told(root))
    end)
    local ok, err = pcall(notify.options, { max_age = "tomorrow" })
    assert.is_false(ok)
    assert.truthy(err:find '"26h"')
  end)
end)
