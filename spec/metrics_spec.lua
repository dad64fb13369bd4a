--- Figures for Prometheus: what they are, and that whoever reads their file sees
--- all of them or those before.

local saros = require "spec.helper".saros
local outside = require "spec.outside"
local records = require "spec.timeline"

local metrics = require "saros.metrics"
local record = require "saros.record"

local NOW <const> = 1795443746

local function with(nights, f)
  return outside.directory(function(root)
    os.execute(("chmod 700 '%s'"):format(root))
    for _, night in ipairs(nights) do records.write(root, night) end
    return f(root)
  end)
end

-- Reads the text as Prometheus does, strictly: { [name] = { [labels] = value } }.
local function parsed(text)
  assert(text == "" or text:sub(-1) == "\n", "the last line has no end")
  assert(utf8.len(text))
  local families, now, types = {}, nil, {}
  for line in text:gmatch "([^\n]*)\n" do
    local name, rest = line:match "^# HELP ([%a_:][%w_:]*) (.+)$"
    if name then
      assert(not families[name], name .. " is there twice")
      families[name], now = {}, name
      assert(#rest > 5)
    elseif line:find "^# TYPE" then
      local of, kind = line:match "^# TYPE ([%w_:]+) (%l+)$"
      assert(of == now and next(families[now]) == nil, line)
      assert(kind == "gauge" or kind == "counter")
      assert((kind == "counter") == (now:find "_total$" ~= nil), line)
      types[of] = kind
    else
      local of, labels, value = line:match "^([%a_:][%w_:]*){(.*)} (%S+)$"
      assert(of == now and types[of], "a sample outside its family: " .. line)
      assert(tonumber(value), line)
      local left, list = labels, {}
      repeat
        local label, word, after = left:match '^([%a_][%w_]*)=(%b"")(.*)$'
        -- %b ends at the first quote, which an escape may be before.
        while word and word:match '(\\*)"$' and #word:match '(\\*)"$' % 2 == 1 do
          local more, rest2 = after:match '^([^"]*")(.*)$'
          assert(more, line)
          word, after = word .. more, rest2
        end
        assert(label, line)
        local plain = word:sub(2, -2):gsub('\\[\\"n]', "")
        assert(not plain:find '[\\"]', line)
        assert(not list[label], line)
        list[label] = word:sub(2, -2)
        left = after:gsub("^,", "")
      until left == ""
      assert(families[of][labels] == nil, "twice: " .. line)
      families[of][labels] = tonumber(value)
    end
  end
  return families
end

local NIGHTLY <const> = 'name="nightly",kind="workflow"'

describe("the figures", function()
  it("are those of the records", function()
    with({ records.good(NOW - 172800), records.full(NOW - 86400),
      records.good(NOW - 7200), records.full(NOW - 3600),
      { wall = NOW - 9000, name = "weekly", kind = "drill", ended = 5000, ops = {},
        result = {} } }, function(root)
      local f = parsed(metrics.text(record.list { state_dir = root },
        { now = NOW, locks = { ["/mnt/a"] = 42 } }))
      assert.equal(NOW - 7200 + 214, f.saros_last_success_timestamp_seconds[NIGHTLY])
      assert.equal(NOW - 3600 + 61.3, f.saros_last_run_timestamp_seconds[NIGHTLY])
      assert.equal(0, f.saros_last_success[NIGHTLY])
      assert.equal(0, f.saros_running[NIGHTLY])
      assert.equal(61.3, f.saros_duration_seconds[NIGHTLY])
      assert.equal(0.0378, f.saros_held_seconds[NIGHTLY])
      assert.equal(4, f.saros_runs_total[NIGHTLY])
      assert.equal(2, f.saros_failures_total[NIGHTLY])
      assert.equal(184000000, f.saros_bytes_added['name="nightly",location="/mnt/a"'])
      assert.equal(110400000, f.saros_bytes_stored['name="nightly",location="/mnt/a"'])
      assert.equal(NOW - 9000, f.saros_last_drill_timestamp_seconds['name="weekly"'])
      assert.equal(1, f.saros_last_drill_success['name="weekly"'])
      assert.equal(42, f.saros_lock_age_seconds['location="/mnt/a"'])
    end)
  end)

  it("know a workflow's own drill", function()
    local night = records.good(NOW - 100)
    night.result.drill = { state = "failed" }
    with({ night }, function(root)
      local f = parsed(metrics.text(record.list { state_dir = root }))
      assert.equal(0, f.saros_last_drill_success['name="nightly"'])
    end)
  end)

  it("hold what a stranger calls a thing", function()
    for _, name in ipairs { 'a"b', "a\\", "a\\\"b\\\\", "a\nb{}", "\xFF\27[2J",
      "x} 5", "\u{202E}" } do
      with({ { wall = NOW, name = name, ended = 5, ops = {}, result = { versions = {
        { location = name, id = name, bytes_added = 5 } } } } }, function(root)
        local f = parsed(metrics.text(record.list { state_dir = root },
          { locks = { [name] = 1 } }))
        assert.truthy(next(f.saros_last_success))
        assert.truthy(next(f.saros_bytes_added))
      end)
    end
  end)

  it("count on when records are gone, and nothing twice", function()
    with({ records.full(NOW - 172800), records.full(NOW - 86400),
      records.good(NOW - 3600) }, function(root)
      local function count(before)
        local text = metrics.text(record.list { state_dir = root }, { before = before })
        local f = parsed(text)
        return text, f.saros_runs_total[NIGHTLY], f.saros_failures_total[NIGHTLY]
      end
      local text, runs, failures = count()
      assert.same({ 3, 2 }, { runs, failures })
      text, runs, failures = count(text)
      assert.same({ 3, 2 }, { runs, failures })
      assert.equal(1, record.prune { state_dir = root, keep = 1 })
      records.write(root, records.full(NOW - 60))
      text, runs, failures = count(text)
      assert.same({ 4, 3 }, { runs, failures })
      assert.truthy(text:find("saros_last_success_timestamp_seconds", 1, true))
    end)
  end)

  it("are none where there is no record", function()
    assert.equal("", metrics.text {})
    assert.is_false(pcall(metrics.text, {}, { befor = "x" }))
  end)
end)

local FOREVER <const> = [[
  package.path, package.cpath = %q, %q
  local metrics = require "saros.metrics"
  while true do
    assert(metrics.write(%q, { state_dir = %q }):wait())
    io.stdout:write "." io.stdout:flush()
  end
]]

local READER <const> = [[
  local seen = {}
  for i = 1, 3000 do
    local file = assert(io.open(%q))
    local text = file:read "a"
    file:close()
    assert(text:find "^# HELP" and text:find "saros_last_drill_success{.*} 1\n$", text)
    seen[#text] = true
  end
  print "whole"
]]

describe("the file", function()
  local nights = { records.good(NOW - 3600), { wall = NOW - 9000, name = "weekly",
    kind = "drill", ended = 5000, ops = {}, result = {} } }

  local function forever(root, path)
    return outside.start(outside.lua, "-e", FOREVER:format(package.path,
      package.cpath, path, root))
  end

  it("is for all to read, and whole", function()
    with(nights, function(root)
      local path = root .. "/saros.prom"
      local r = assert(metrics.write(path, { state_dir = root }):wait())
      assert.equal(2, r.records)
      parsed(outside.content(path))
      assert.truthy(outside.run("stat", "-c", "%a", path):find "^644")
      assert(metrics.write(path, { state_dir = root, mode = "600" }):wait())
      assert.truthy(outside.run("stat", "-c", "%a", path):find "^600")
      assert.is_false(pcall(metrics.write, 5))
    end)
  end)

  it("is never seen in part", function()
    with(nights, function(root)
      local path = root .. "/saros.prom"
      assert(metrics.write(path, { state_dir = root }):wait())
      local writer <close> = forever(root, path)
      writer:expect "."
      local said = outside.run(outside.lua, "-e", READER:format(path))
      assert.equal("whole\n", said)
      assert.truthy(writer)
    end)
  end)

  it("is whole whenever its writer is killed, and nothing stays", function()
    with(nights, function(root)
      local path = root .. "/saros.prom"
      for round = 1, os.getenv "SAROS_LONG" and 100 or 10 do
        do
          local writer <close> = forever(root, path)
          for _ = 1, 1 + round % 4 do writer:expect "." end
        end -- killed, in the middle of another
        parsed(outside.content(path))
      end
      assert(metrics.write(path, { state_dir = root }):wait())
      local list = outside.run("ls", "-A", root)
      assert.is_nil(list:find("saros-new", 1, true), list)
    end)
  end)

  it("is as it was when the disk is full", function()
    if not outside.run("id", "-u"):find "^0" then
      pending "only root can make a small disk to fill"
      return
    end
    with(nights, function(root)
      local disk = root .. "/disk"
      assert(os.execute(("mkdir '%s' && mount -t tmpfs -o size=32k none '%s'")
        :format(disk, disk)))
      local _ <close> = setmetatable({}, { __close = function()
        os.execute(("umount '%s'"):format(disk))
      end })
      local path = disk .. "/saros.prom"
      assert(metrics.write(path, { state_dir = root }):wait())
      local before = outside.content(path)
      os.execute(("cat /dev/zero >'%s/rest' 2>/dev/null"):format(disk))
      records.write(root, records.full(NOW))
      local ok, err = metrics.write(path, { state_dir = root }):wait()
      assert.is_nil(ok)
      assert.equal(saros.code.ERROR_DISK_FULL, err.code)
      assert.truthy(err.message:find "is as it was")
      assert.equal(before, outside.content(path))
      assert.equal("rest\nsaros.prom\n", (outside.run("ls", "-A", disk)))
      os.remove(disk .. "/rest")
      assert(metrics.write(path, { state_dir = root }):wait())
      assert.not_equal(before, outside.content(path))
    end)
  end)
end)
