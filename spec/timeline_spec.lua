--- The report: what it says, to whom, and what no name can do in it.

local saros = require "spec.helper".saros
local outside = require "spec.outside"
local records = require "spec.timeline"
local html = require "spec.timeline_page"

local core = require "saros.core"
local record = require "saros.record"
local timeline = require "saros.timeline"

local NOW <const> = 1795443746

local function page_of(root, options)
  local o = { state_dir = root }
  for name, item in pairs(options or {}) do o[name] = item end
  return assert(timeline.html(o):wait()).text
end

local function with(nights, f)
  return outside.directory(function(root)
    os.execute(("chmod 700 '%s'"):format(root))
    for _, night in ipairs(nights) do records.write(root, night) end
    return f(root)
  end)
end

-- What a person reads, in order.
local function visible(page)
  return (page:match "<main.*</main>":gsub("<[^>]*>", " ")
    :gsub("&#39;", "'"):gsub("&quot;", '"'):gsub("&lt;", "<")
    :gsub("&gt;", ">"):gsub("&amp;", "&"):gsub("%s+", " "))
end

local function data_of(list)
  return assert(core.json_read(html.all(list, "script")[1].text))
end

describe("a page", function()
  it("says first what failed, because of what, and what to do", function()
    with({ records.good(NOW - 90000), records.full(NOW) }, function(root)
      local page = page_of(root)
      html.check(page)
      local text = visible(page)
      local at = 1
      for _, part in ipairs { "nightly failed", "on web1", "target /mnt/a",
        "has no room left for this backup", "ERROR_DISK_FULL",
        "No space left on device", "What to do.", "saros forget --prune",
        "Can be restored:", "46006b7f in /mnt/a", "The log",
        "error: /mnt/a: No space left on device", "What was done when",
        "Who was held", "Versions", "Runs" } do
        local first = text:find(part, at, true)
        assert(first, ("%q is not there after %s"):format(part,
          text:sub(at, at + 400)))
        at = first
      end
      -- The failure is told once: its parent failed because of it.
      assert.equal(1, #html.all(html.elements(page), "section", "wrong"))
    end)
  end)

  it("shows the run that needs somebody before a newer one", function()
    with({ records.full(NOW - 7200), records.good(NOW - 60, { night = {
      name = "photos" } }) }, function(root)
      local list = html.check(page_of(root))
      assert.equal("nightly failed", html.all(list, "h1")[1].text)
      local board = html.all(list, "ul", "board")[1]
      assert.truthy(board.text:find "nightly.*failed.*never succeeded.*photos.*succeeded")
    end)
  end)

  it("shows a backup before a restore that is newer", function()
    local restored = { wall = NOW - 60, kind = "restore", ops = {}, ended = 5,
      result = {} }
    with({ records.good(NOW - 7200), restored }, function(root)
      local list = html.check(page_of(root))
      assert.equal("nightly succeeded", html.all(list, "h1")[1].text)
      restored.err, restored.wall = { message = "one\ntwo" }, NOW - 30
      records.write(root, restored)
      list = html.check(page_of(root))
      assert.equal("restore failed", html.all(list, "h1")[1].text)
      assert(visible(page_of(root)):find("one; two", 1, true))
    end)
  end)

  it("counts from when a writer was asked, as the run does", function()
    local night = records.good(NOW)
    night.result.held = 0.0215
    with({ night }, function(root)
      -- What is drawn begins when the first was asked; how long is told as it is
      -- everywhere.
      local page = page_of(root)
      local held = data_of(html.check(page)).runs[1].held
      assert.near(38.2, held.to - held.from, 0.05)
      local span = require "saros.timeline.words".span
      assert(page:find("<dt>Held</dt><dd>" .. span(21.5) .. "<", 1, true))
      assert(page:find('<td class="n">' .. span(21.5) .. "<", 1, true))
    end)
  end)

  it("has a table behind each drawing", function()
    with({ records.good(NOW) }, function(root)
      local page = page_of(root)
      local list = html.check(page)
      local text = visible(page)
      for _, name in ipairs { "pg_amcheck", "integrity_check", "drill postgres 15-main",
        "volume /var/lib/postgresql", "application", "99.7 %" } do
        assert(text:find(name, 1, true), name)
      end
      local rows = 0
      for _, t in ipairs(html.all(list, "table")) do
        if t.text:find("Operations of", 1, true) then
          for _, e in ipairs(list) do
            local up = e.above and e.above.above
            if e.tag == "tr" and up == t then rows = rows + 1 end
          end
        end
      end
      assert.equal(25 + 1, rows)
      -- The drawing has the same.
      local data = data_of(list)
      assert.equal(25, #data.runs[1].ops)
      assert.equal(9, #data.runs[1].lanes)
      assert.equal(5, #data.runs[1].held.rows)
      assert.equal(2, #data.runs[1].lines)
    end)
  end)

  it("knows a run that was killed, and one that goes on", function()
    local killed = records.good(NOW)
    killed.ended = nil
    killed.ops[13][4], killed.ops[14][4] = nil, nil
    with({ killed }, function(root)
      local path = record.list { state_dir = root }[1].path
      -- Of this process, which lives.
      assert.truthy(visible(page_of(root)):find("nightly is running", 1, true))
      local text = outside.content(path)
      outside.write(path, (text:gsub('"start"[^,}]*', '"start":1', 1)))
      assert.equal("interrupted", record.list { state_dir = root }[1].state)
      local page = page_of(root)
      html.check(page)
      assert.truthy(visible(page):find("nightly was interrupted.*killed, or the machine"))
    end)
  end)

  it("keeps what failed in sight, among however many", function()
    local nights = { records.full(NOW) }
    for i = 1, 12 do
      nights[#nights + 1] = records.good(NOW - 1000 * i, { night = { name = "n" .. i } })
    end
    nights[5].result.partial = true
    with(nights, function(root)
      local page = page_of(root)
      html.check(page)
      local before = page:match "<main.-<h1>"
      local _, rows = before:gsub("<li>", "")
      assert.equal(13, rows)
      local _, open_rows = before:match "^(.-)<details":gsub("<li>", "")
      assert.equal(4, open_rows)
      assert.truthy(before:find "nightly.*failed.*n4.*partial.*<details.-9 more<")
    end)
  end)

  it("says of what the clock was put back behind that it is ahead", function()
    with({ records.good(NOW + 86400) }, function(root)
      local text = visible(page_of(root))
      assert.truthy(text:find("ahead of the clock", 1, true))
      assert.is_nil(text:find("a moment ago", 1, true))
    end)
  end)

  it("says of a part what was stored all the same", function()
    local night = records.good(NOW)
    night.result.partial = true
    with({ night }, function(root)
      assert.truthy(visible(page_of(root)):find
        "did only part.*left out.*Was stored all the same: 46006b7f in /mnt/a")
    end)
  end)

  it("says of a retried operation that it failed, without alarm", function()
    local night = records.good(NOW)
    night.ops[26] = { "target:/mnt/a", "backup", 31100, 40000, parent = 13,
      err = records.failure(saros.code.ERROR_DISK_FULL, "no room, at first") }
    with({ night }, function(root)
      local page = page_of(root)
      local list = html.check(page)
      assert.equal("nightly succeeded", html.all(list, "h1")[1].text)
      assert.truthy(visible(page):find "1 operation failed on the way")
    end)
  end)

  it("is made where there is no run yet", function()
    with({}, function(root)
      local page = page_of(root)
      html.check(page)
      assert.truthy(visible(page):find("There is no run yet", 1, true))
      assert.is_nil(page:find("<h2>Runs", 1, true))
    end)
  end)

  it("lists drills, of their own and of workflows", function()
    local night = records.good(NOW)
    night.result.drill = { state = "failed", seconds = 12, version = "46006b7f",
      error = { message = "relation orders is empty" } }
    with({ night, { wall = NOW - 86400, name = "weekly", kind = "drill",
      ended = 5000, ops = {}, result = { version = "aabbccdd" } } }, function(root)
      local page = page_of(root)
      html.check(page)
      local text = visible(page)
      assert.truthy(text:find("Drills.*nightly failed.*46006b7f.*relation orders is empty"))
      assert.truthy(text:find("weekly succeeded.*aabbccdd"))
    end)
  end)

  it("comes to its name at once, for its owner alone", function()
    with({ records.good(NOW) }, function(root)
      local out = root .. "/report.html"
      local r = assert(timeline.html { state_dir = root, out = out }:wait())
      assert.equal(#outside.content(out), r.bytes)
      assert.truthy(outside.run("stat", "-c", "%a", out):find "^600")
      local ok, err = timeline.html { state_dir = root,
        out = root .. "/nowhere/report.html" }:wait()
      assert.is_nil(ok)
      assert.truthy(err.message:find "nowhere")
    end)
  end)

  it("refuses options that there are not", function()
    local ok, err = pcall(timeline.html, { stat_dir = "/x" })
    assert.is_false(ok)
    assert.truthy(err:find "state_dir' perhaps")
    assert.is_false(pcall(timeline.html, { mode = "rw" }))
  end)

  it("has advice only for codes that there are", function()
    for name in pairs(require "saros.timeline.advice") do
      assert(math.type(saros.code[name]) == "integer", name)
    end
  end)
end)

-- What somebody can call a file, a database, a host.
local HOSTILE <const> = { "</script><script>document.title='gone'</script>",
  "<img src=x onerror=\"document.title='gone'\">", "]]><!--", "-->",
  "a\"b'c&d<e>f", "\27[2J\27]0;gone\7", "line\nline\r\0nul",
  "left\u{202E}thgir\u{202C}", "\u{2066}apart\u{2069}\u{200F}",
  "break\u{2028}break\u{2029}", "\xFF\xFE not UTF-8 \xC3(", "\xED\xA0\x80",
  "\u{9B}31m", "%s%n%d", "{{x}}${y}`z`", ("long "):rep(2000), "",
  "javascript:alert(1)", "</style><style>*{display:none}", "&lt;b&gt;",
  "שלום", "👻" }

local function hostile_night(name)
  local err = records.failure(saros.code.E_FAIL, "it said " .. name,
    records.failure(saros.code.E_ACCESSDENIED, name))
  local plain = name:gsub("%z", "") -- options have none
  return { wall = NOW, name = plain, kind = "workflow", host = plain,
    ended = 5000, err = err, log = { { 100, "warning", name } },
    held = records.held(1000, { { name, 0, 5 } }, { { name, 1, 3 } }),
    ops = { { "step", plain, 10, 4000, err = err },
      { "writer:" .. plain, plain, 20, 3000, parent = 1, err = err,
        samples = { { 100, 10 }, { 1000, 99 } } },
      { plain, plain, 30, 40 }, { "drill:" .. plain, plain, 50, 60 } },
    result = { consistency = name, held = 0.004, versions = { { location = name,
      id = name, bytes_added = 1, bytes_stored = 1, bytes = 10 } },
      drill = { state = name, version = name, error = { message = name } } } }
end

describe("a hostile name", function()
  it("is a text, wherever it stands", function()
    for _, name in ipairs(HOSTILE) do
      with({ hostile_night(name) }, function(root)
        local page = page_of(root)
        local list = html.check(page)
        for _, bad in ipairs { "\27", "\0", "\r", "\u{202E}", "\u{2066}",
          "\u{200F}", "\u{2028}", "\u{9B}" } do
          assert(not page:find(bad, 1, true), ("%q brings %q in"):format(name, bad))
        end
        assert.equal(4, #data_of(list).runs[1].ops)
        local trace = assert(timeline.chrome { state_dir = root }:wait()).text
        assert.truthy(core.json_read(trace))
      end)
    end
  end)

  it("leaves letters that are read from the right as they are", function()
    with({ hostile_night "שלום" }, function(root)
      assert.truthy(page_of(root):find("<bdi>שלום</bdi>", 1, true))
    end)
  end)
end)

describe("a record that is damaged", function()
  local function written(root, text)
    local dir = record.begin { kind = "x", state_dir = root }
    dir:done()
    outside.write(dir.path, text)
    return dir.path
  end

  it("is shown as far as it goes, or named", function()
    with({}, function(root)
      local whole
      do
        local path = records.write(root, records.full(NOW))
        whole = outside.content(path)
        os.remove(path)
      end
      local head = whole:match "^[^\n]*\n"
      local cases = { whole:sub(1, -40), head, whole:gsub("\n", "", 5), "", "{}\n",
        whole:gsub('"saros_record":1', '"saros_record":99'),
        head .. '{"op":1,"lane":5,"name":{},"at":"x"}\n',
        head .. '{"op":1,"lane":"step","name":"a","at":5}\n{"op":1,"ended":-3,"state":"odd"}\n',
        head .. '{"op":"x","parent":"x","lane":"step","name":"a","at":1e300}\n',
        head .. '{"op":1,"parent":1,"lane":"step","name":"a","at":1}\n'
          .. '{"op":1,"ended":2,"state":"failed","error":"x"}\n',
        head .. '{"held":{"from":5,"to":1}}\n{"held":{"from":"a"}}\n{"held":7}\n{"log":7}\n',
        head .. '{"ended":"x","state":7,"result":{"versions":7,"drill":7,"held":"x"}}\n',
        head .. '{"ended":1,"state":"succeeded","result":{"versions":[7,{}],"drill":[7,{}]}}\n',
      }
      for i, text in ipairs(cases) do
        local path = written(root, text)
        local ok, page = pcall(page_of, root)
        assert(ok, ("%d: %s"):format(i, tostring(page)))
        html.check(page)
        page = page_of(root, { records = { path } })
        html.check(page)
        os.remove(path)
      end
    end)
  end)

  it("never stops the page, whichever bytes are wrong", function()
    with({}, function(root)
      local path = records.write(root, records.full(NOW))
      local whole = outside.content(path)
      math.randomseed(20261123)
      for round = 1, os.getenv "SAROS_LONG" and 2000 or 60 do
        local bytes = { whole:byte(1, #whole) }
        for _ = 1, math.random(1, 30) do
          bytes[math.random(#bytes)] = math.random(0, 255)
        end
        local parts = {}
        for i = 1, #bytes, 4000 do
          parts[#parts + 1] = string.char(table.unpack(bytes, i, math.min(i + 3999, #bytes)))
        end
        outside.write(path, table.concat(parts))
        local ok, page = pcall(page_of, root)
        assert(ok, ("round %d: %s"):format(round, tostring(page)))
        html.check(page)
      end
    end)
  end)
end)

describe("a trace", function()
  it("has an end for each beginning, and a name for each lane", function()
    with({ records.full(NOW), records.good(NOW - 90000) }, function(root)
      local r = assert(timeline.chrome { state_dir = root }:wait())
      assert.equal(2, r.runs)
      local trace = assert(core.json_read(r.text))
      local open, threads, held, counters = {}, {}, 0, 0
      for _, e in ipairs(trace.traceEvents) do
        assert(math.type(e.pid) == "integer" and math.type(e.tid) == "integer")
        if e.ph == "M" and e.name == "thread_name" then
          threads[e.pid .. "." .. e.tid] = e.args.name
        elseif e.ph == "b" then
          assert(not open[e.id])
          open[e.id] = e
        elseif e.ph == "e" then
          assert(open[e.id].ts <= e.ts and open[e.id].name == e.name)
          assert(threads[e.pid .. "." .. e.tid])
          open[e.id] = nil
        elseif e.ph == "X" then
          held = held + 1
          assert(e.dur >= 0)
        elseif e.ph == "C" then
          counters = counters + 1
        end
      end
      assert.is_nil(next(open))
      assert.equal(10, held)
      assert(counters > 100)
    end)
  end)
end)
