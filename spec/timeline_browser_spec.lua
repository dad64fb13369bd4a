--- The report in a real browser, without a screen: what its script draws, the
--- keyboard, what its policy forbids, and how long ten thousand operations take
--- (which gates nothing).

local outside = require "spec.outside"
local records = require "spec.timeline"
local html = require "spec.timeline_page"

require "spec.helper"
local timeline = require "saros.timeline"

local NOW <const> = os.time()

local browser
for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
  if outside.installed(name) then browser = browser or name end
end

local missing = not browser and "there is no chromium here, which shows the report"
  or os.getenv "SAROS_SANITIZER" and "a browser hangs with a preloaded sanitizer"
if missing then
  describe("a page in a browser", function() pending(missing) end)
  return
end

-- Loads a page and returns what it has become, and what the browser said.
local function load(root, page, ...)
  outside.write(root .. "/page.html", page)
  local args = { browser, "--headless", "--no-sandbox", "--disable-gpu",
    "--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0",
    "--user-data-dir=" .. root .. "/browser", "--virtual-time-budget=4000", ... }
  args[#args + 1] = "--dump-dom"
  args[#args + 1] = "file://" .. root .. "/page.html"
  local said, how, status = outside.run(table.unpack(args))
  assert(how == "exit" and status == 0, said)
  local at = said:find("<!DOCTYPE html>", 1, true)
    or error("no page came: " .. said:sub(-1000))
  return said:sub(at), said
end

local function page_of(root)
  return assert(timeline.html { state_dir = root }:wait()).text
end

-- The page with a script of ours at its end, which may run.
local function with_script(page, text)
  local nonce = assert(page:match "script%-src 'nonce%-(%x+)'")
  local at = #page - #"</body>\n</html>\n"
  return page:sub(1, at) .. ('<script nonce="%s">%s</script>'):format(nonce, text)
    .. page:sub(at + 1)
end

local function with(nights, f)
  return outside.directory(function(root)
    os.execute(("chmod 700 '%s'"):format(root))
    for _, night in ipairs(nights) do records.write(root, night) end
    return f(root)
  end)
end

local function quiet(said)
  local at = said:find("CONSOLE", 1, true)
  if at then error("the console says: " .. said:sub(at, at + 400), 2) end
end

describe("a page in a browser", function()
  it("draws, and is gone through with the keys", function()
    with({ records.full(NOW - 3000), records.good(NOW - 90000) }, function(root)
      local dom, said = load(root, with_script(page_of(root), [[
        const svg = document.querySelector(".figure svg");
        const said = document.querySelector(".said");
        const list = [];
        const press = (key) => {
          svg.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
          list.push(key + "=" + said.textContent.replace(/[\u2068\u2069]/g, ""));
        };
        svg.focus();
        list.push("focus=" + (document.activeElement === svg));
        for (const k of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "Home",
          "End", "ArrowUp"]) press(k);
        const grid = () => svg.querySelectorAll(".tick")[1].textContent;
        list.push("all=" + grid());
        for (let i = 0; i < 4; i++) press("+");
        list.push("near=" + grid());
        press("Escape");
        list.push("back=" + grid());
        document.getElementById("theme").click();
        list.push("theme=" + document.documentElement.dataset.theme);
        const p = document.createElement("p");
        p.id = "found";
        p.textContent = list.join("|");
        document.body.append(p);]]))
      quiet(said)
      local found = dom:match '<p id="found">(.-)</p>'
      assert(found, dom:sub(-2000))
      local function has(text) assert(found:find(text, 1, true), text .. " in " .. found) end
      has "focus=true"
      has "ArrowRight=shadow · step succeeded · from 120 ms, for 2.8 s"
      has "ArrowRight=check · step succeeded"
      has "ArrowRight=backup · step failed"
      has "ArrowDown=pg_amcheck · writer postgres 15-main succeeded"
      has "Home=shadow"
      has "End=backup · target"
      has "all=0:10"
      has "back=0:10"
      has "theme=light"
      assert.is_nil(found:find("near=0:10", 1, true))
      for _, class in ipairs { "op b0", "op b1", "op b2", "band", "lens", "hw",
        "hv", "line l0", "whole", "added", "past failed" } do
        assert(dom:find('class="' .. class .. '"', 1, true), class .. " is not drawn")
      end
      for _, text in ipairs { 'role="application"', 'aria-live="polite"', "data-ready=" } do
        assert(dom:find(text, 1, true), text)
      end
    end)
  end)

  it("has tables that the keys reach where they are wider than a phone", function()
    with({ records.full(NOW - 3000), records.good(NOW - 90000) }, function(root)
      local page = with_script(page_of(root), [[
        const all = [...document.querySelectorAll(".scroll")];
        document.querySelectorAll("details").forEach((d) => { d.open = true; });
        setTimeout(() => {
          const p = document.createElement("p");
          p.id = "found";
          const wide = all.filter((s) => s.scrollWidth > s.clientWidth + 1);
          const named = all.filter((s) => s.tabIndex === 0 &&
            s.getAttribute("role") === "region" && s.getAttribute("aria-label"));
          p.textContent = wide.length + " " + named.length + " " +
            wide.every((s) => named.includes(s)) + " " +
            (document.documentElement.scrollWidth <= innerWidth);
          document.body.append(p);
        }, 200);]])
      local dom, said = load(root, page, "--window-size=500,900")
      quiet(said)
      local wide, named, same, fits =
        dom:match '<p id="found">(%d+) (%d+) (%a+) (%a+)</p>'
      assert(wide and tonumber(wide) > 0, dom:sub(-600))
      assert.same({ wide, "true", "true" }, { named, same, fits })
    end)
  end)

  it("runs no script but its own, and asks nobody", function()
    local evil = "</script><script>document.title='gone'</script>"
    local night = records.full(NOW - 3000)
    night.name, night.host = evil, "<img src=x onerror=\"document.title='gone'\">"
    night.ops[14][1] = "target:" .. evil
    with({ night }, function(root)
      local page = page_of(root)
      html.check(page)
      -- If somebody got a script in all the same, it would not run.
      local at = #page - #"</body>\n</html>\n"
      local dom, said = load(root, page:sub(1, at)
        .. "<script>document.title='gone'</script><img src='x.png'>" .. page:sub(at + 1))
      assert.is_nil(dom:find("<title>gone", 1, true))
      assert.truthy(dom:find 'data%-ready="%d+"')
      -- That is all there was to complain of.
      local complaints = select(2, said:sub(1, #said - #dom):gsub("CONSOLE", ""))
      assert.equal(2, complaints, said:sub(1, 3000))
      assert.truthy(said:find("Content Security Policy", 1, true))
    end)
  end)

  it("can be read without any script", function()
    with({ records.full(NOW - 3000) }, function(root)
      local dom = load(root, (page_of(root):gsub("script%-src 'nonce%-%x+'",
        "script-src 'none'")))
      assert.is_nil(dom:find 'data%-ready')
      assert.truthy(dom:find("No space left on device", 1, true))
      assert.truthy(dom:find("All 15 operations as a table", 1, true))
    end)
  end)

  it("fits a phone", function()
    with({ records.full(NOW - 3000) }, function(root)
      local dom = load(root, with_script(page_of(root), [[
        document.body.dataset.wide = document.documentElement.scrollWidth + " of "
          + innerWidth;]]), "--window-size=500,900")
      local wide, of = dom:match 'data%-wide="(%d+) of (%d+)"'
      assert(tonumber(wide) <= tonumber(of), wide .. " of " .. of)
    end)
  end)

  it("opens ten thousand operations", function()
    local night = { wall = NOW - 9000, name = "big", host = "web1",
      ended = 3600000, ops = {}, result = {} }
    math.randomseed(7)
    for i = 1, 10000 do
      local lane = ({ "step", "writer:pg", "volume:/srv", "target:/a", "transfer:x" })[i % 5 + 1]
      local at = math.random(0, 3500000)
      night.ops[i] = { i % 7 == 0 and "volume:/srv/" .. i % 90 or lane,
        "operation " .. i, at, at + math.random(50, 60000),
        err = i % 500 == 0 and "went wrong" or nil }
    end
    with({ night }, function(root)
      local before = os.clock()
      local page = page_of(root)
      local made = os.clock() - before
      local dom, said = load(root, page)
      quiet(said)
      local ready = assert(dom:match 'data%-ready="(%d+)"')
      print(("10000 operations: made in %.2f s (CPU), %.1f MB, drawn %s ms after the "
        .. "navigation"):format(made, #page / 1e6, ready))
      local bars = 0
      for d in dom:gmatch 'd="([^"]*)" class="op' do
        bars = bars + select(2, d:gsub("M", ""))
      end
      assert(bars > 3000, bars .. " bars")
    end)
  end)
end)
