-- What a workflow is at, on a terminal: a line for each lane, how long somebody
-- holds still, and what is shown where there is no room for all of them.

local case = require "spec.workflow_case"
local cli = require "spec.cli"
local outside = case.outside
local term = require "saros.term"
local vss_case = require "spec.vss"

if case.missing then
  describe("lanes", function() pending(case.missing) end)
  return
end

-- A workflow in a file. Its writer holds still until there is t.root/go, and the
-- hooks of its targets wait for t.root/NAME.
local function write(t, names, more)
  local to = {}
  for i, name in ipairs(names) do
    to[i] = ("{ location = %q, before = wait(%q) }"):format(t.root .. "/"
      .. name, t.root .. "/go-" .. i)
    require "spec.repository".cheap_at(t.root .. "/" .. name, "x")
  end
  outside.write(t.root .. "/x", "x\n")
  outside.write(t.root .. "/f.lua", ([[
    local saros = require "saros"
    local function wait(path)
      return function()
        while not io.open(path) do saros.sleep(0.02):wait() end
      end
    end
    return saros.workflow { name = "nightly", sources = { %q }, to = { %s },
      password = { file = %q }, provider = "copy", state_dir = %q,
      scratch = %q, writers = { function()
        return saros.vss.writer { id = %q, name = "app", freeze_timeout = 37,
          identify = function() return { components = { { name = "c",
            type = "database", files = { %q } } } } end,
          freeze = wait(%q) }
      end } }]]):format(t.data, table.concat(to, ", "), t.root .. "/x", t.state,
    t.scratch, vss_case.id(1), t.data, t.root .. "/go"))
  return "stty cols %d rows %d; exec env -u COLUMNS HOME=%s SAROS_STATE_DIR=%s "
    .. "XDG_CONFIG_HOME=/dev/null SAROS_CONFIG=/dev/null TERM=xterm %s %s run "
    .. t.root .. "/f.lua", more or ""
end

local function on_terminal(t, names, columns, rows, env)
  local line = write(t, names)
  return outside.terminal("sh", "-c", line:format(columns, rows, t.root, t.state,
    env or "", cli.program))
end

-- What was drawn at once, each time: lists of lines; without the ^C that the
-- terminal shows itself, wherever that came between.
local function frames(text)
  local list, now = {}, {}
  text = text:gsub("%^C", "")
  for line, after in text:gmatch "([^\r\n]*)\27%[K()" do
    now[#now + 1] = line:match "([^\r\n]*)$":gsub("\27%[[%d;]*[A-Za-z]", "")
    if text:sub(after, after + 2) == "\27[J" then
      list[#list + 1], now = now, {}
    end
  end
  return list
end

-- Waits until something is drawn of which f says true.
local function until_drawn(process, f)
  local seen = 0
  while true do
    local list = frames(process.output)
    for i = seen + 1, #list do
      local found = f(list[i])
      if found then return found, list end
    end
    seen = #list
    assert(process:read(outside.patience), "it ended:\n" .. process.output)
  end
end

local function go(t, name) outside.write(t.root .. "/" .. name, "") end

describe("a workflow on a terminal", function()
  it("has a line for each lane, and one for all of it", function()
    case.with(function(t)
      local process <close> = on_terminal(t, { "one", "two" }, 80, 24)
      until_drawn(process, function(lines)
        return #lines == 3 and lines[1]:find "^%s+1%% nightly  "
          and lines[2]:find "/one before  " and lines[3]:find "/two before  "
      end)
      -- One has gone on: it has no line.
      go(t, "go-1")
      until_drawn(process, function(lines)
        return #lines == 2 and lines[2]:find "/two before"
      end)
      go(t, "go-2")
      go(t, "go")
      local text, how, code = process:finish()
      assert.equal("exit", how)
      assert.equal(0, code, text)
      -- All is taken away, and what it came to is there.
      assert.is_truthy(text:find("\27[J", 1, true))
      assert.matches("nightly: succeeded", text)
    end)
  end)

  it("shows how long somebody holds still, of how long he may", function()
    case.with(function(t)
      local process <close> = on_terminal(t, { "one" }, 80, 24)
      go(t, "go-1")
      local function held(lines)
        for _, line in ipairs(lines) do
          local seconds = line:match "shadow  held ([%d.]+) of 37 s"
          if seconds then return tonumber(seconds) end
        end
      end
      local first = until_drawn(process, held)
      until_drawn(process, function(lines) -- it counts
        local now = held(lines)
        return now and now > first
      end)
      go(t, "go")
      local text, _, code = process:finish()
      assert.equal(0, code, text)
    end)
  end)

  it("counts what there are no rows for", function()
    case.with(function(t)
      local names = { "a", "b", "c", "d", "e", "f" }
      local process <close> = on_terminal(t, names, 40, 5)
      until_drawn(process, function(lines)
        return #lines == 4 and lines[4] == "  … 4 more"
      end)
      -- On a larger one there is room.
      assert(os.execute(("stty cols 20 rows 10 </proc/%d/fd/2"):format(
        process.pid)))
      until_drawn(process, function(lines) return #lines == 7 end)
      for i = 1, #names do go(t, "go-" .. i) end
      go(t, "go")
      local text, _, code = process:finish()
      assert.equal(0, code, text)
      local narrow = false
      for _, lines in ipairs(frames(text)) do
        for _, line in ipairs(lines) do
          assert.is_true(term.columns(line) < 40, line)
          narrow = narrow or term.columns(line) < 20
        end
        assert.is_true(#lines <= 9)
      end
      assert.is_true(narrow)
    end)
  end)

  it("shows names that are hostile, or wide, as far as they fit", function()
    case.with(function(t)
      local process <close> = on_terminal(t, { "漢字漢字漢字漢字漢字漢字漢字",
        "x\27[2Jx" }, 40, 24, "NO_COLOR=1")
      until_drawn(process, function(lines)
        return #lines == 3 and lines[2]:find "字 before"
      end)
      process:write "\3"
      process:expect "interrupted: undoing what was begun"
      local text, _, code = process:finish()
      assert.equal(130, code, text)
      assert.is_nil(text:find("\27[2J", 1, true))
      assert.is_nil(text:find "\27%[%d*m")
      for _, lines in ipairs(frames(text)) do
        for _, line in ipairs(lines) do
          assert.is_true(term.columns(line) < 40, line)
          assert.is_truthy(utf8.len(line), line)
        end
      end
    end)
  end)
end)

describe("a workflow without a terminal", function()
  it("says of each lane what it says of itself", function()
    case.with(function(t)
      write(t, { "one", "two" })
      local fifo = t.root .. "/out"
      assert(os.execute("mkfifo " .. fifo))
      local op <close> = case.saros.process { argv = { "sh", "-c",
        'exec "$0" run --json "$1" >"$2"', cli.program, t.root .. "/f.lua",
        fifo }, env = { SAROS_STATE_DIR = t.state, SAROS_CONFIG = "/dev/null",
        XDG_CONFIG_HOME = "/dev/null" }, any_status = true }
      local out <close> = assert(io.open(fifo))
      local seen = {}
      for line in out:lines() do
        local record = require "saros.core".json_read(line)
        if record.type == "progress" then
          seen[record.label] = record
          if seen[t.root .. "/one before"] and seen[t.root .. "/two before"] then
            go(t, "go-1")
            go(t, "go-2")
          end
          if seen.shadow and seen.shadow.held_most then go(t, "go") end
        end
      end
      assert.equal(0, op:wait(outside.patience).status)
      assert.equal("nightly", seen.nightly.label)
      assert.equal("target:" .. t.root .. "/one",
        seen[t.root .. "/one before"].lane)
      assert.equal(37, seen.shadow.held_most // 1 | 0)
      assert.is_true(seen.shadow.held > 0)
    end)
  end)
end)
