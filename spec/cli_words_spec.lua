-- Every verb with wrong words, made from its table and a seed: options that are
-- nearly there, values that nobody means well, too many of everything. It ends
-- with a code that is documented, says what is wrong in a line that does nothing
-- to a terminal, and has written nothing.
local cli = require "spec.cli"
local helper = require "spec.helper"
local matrix = require "spec.cli_matrix"
local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"
local volumes = require "spec.volumes"

local LONG <const> = os.getenv "SAROS_LONG" ~= nil
local SEED <const> = math.tointeger(tonumber(os.getenv "SAROS_SEED"))
  or LONG and os.time() or 20261123

local HOSTILE <const> = "x\27[2J\u{202E}'\"$(touch pwned)`touch pwned`;touch pwned\n"
  .. "\xff\r\8"

local state = SEED
local function random(n)
  state = state * 6364136223846793005 + 1442695040888963407
  return 1 + (state >> 33) % n
end

-- What no type takes.
local wrong_values <const> = { "", "x", "-1", "-", "--", "1e999", "nan", "0x",
  ("9"):rep(400), ("a"):rep(100000), "1 2", "7 days", "1h-", "12:60", HOSTILE,
  "\xff\xfe", "\27]0;x\7", "%s%n%99999d", "1\u{2028}2" }

-- And what a text may be, and be refused for later.
local texts <const> = { "", "-", "--", "../..", HOSTILE, ("a"):rep(100000),
  ("../"):rep(2000), "2026-02-30", "25:61", "\xff", "*", "nan", "-1",
  ("9"):rep(400) }

local function each_option(verb, f)
  for _, group in ipairs(options.groups(verb)) do
    for _, option in ipairs(group[2]) do f(option) end
  end
end

-- A name with a letter too many, too few, or another one.
local function misspelt(name)
  local at = random(#name)
  local way = random(3)
  local letter = string.char(96 + random(26))
  if way == 1 then return name:sub(1, at) .. letter .. name:sub(at + 1) end
  return name:sub(1, at - 1) .. (way == 2 and "" or letter) .. name:sub(at + 1)
end

local function is_known(verb, name)
  local known
  each_option(verb, function(o) known = known or o[1] == name end)
  return known
end

describe("the words of a verb", function()
  -- nil where there is nothing wrong with what is said of them.
  local function of(verb, argv)
    local good, given, why = pcall(options.parse, verb, argv)
    if not good then return "raises " .. tostring(given):sub(1, 200) end
    if given then return nil, true end
    if type(why) ~= "string" or #why > 500 then return "is long" end
    if why:find "%c" or not utf8.len(why) then return "is no line" end
    return nil, false, why
  end

  it("are refused when they are wrong, in a line", function()
    local wrong, count = {}, 0
    local function say(verb, argv, what)
      wrong[#wrong + 1] = ("%s %s: %s (seed %d)"):format(verb.name,
        table.concat(argv, " "):sub(1, 80), what, SEED)
    end
    local function refused(verb, argv, hint)
      count = count + 1
      local what, good, why = of(verb, argv)
      if what or good then return say(verb, argv, what or "is taken") end
      if hint and not why:find(hint, 1, true) then say(verb, argv, why) end
    end
    for _, name in ipairs(verbs.names) do
      local verb = verbs.load(name)
      each_option(verb, function(o)
        local long = "--" .. o[1]
        for _ = 1, LONG and 20 or 3 do
          local other = misspelt(o[1])
          if other ~= "" and not is_known(verb, other) then
            refused(verb, { "--" .. other }, "there is no option")
          end
        end
        if not o.value then
          refused(verb, { long .. "=" .. texts[random(#texts)] }, long)
        else
          refused(verb, { long }, long .. ": " .. o.value .. " is missing")
          for _, value in ipairs(wrong_values) do
            local count_of = (o.type == "integer" or o.type == "count")
              and value:find "^%-1$"
            if (o.type or o.choices) and not count_of then
              refused(verb, { long .. "=" .. value }, long)
            elseif not count_of then
              count = count + 1
              local what = of(verb, { long .. "=" .. value })
              if what then say(verb, { long, value }, what) end
            end
          end
        end
      end)
      refused(verb, { "--" .. HOSTILE }, "there is no option")
      refused(verb, { "--" .. ("a"):rep(100000) }, "there is no option")
      refused(verb, { "-\27" }, "there is no option")
      local max = verb.arguments and verb.arguments.max
        or not verb.arguments and 0
      if max then
        local many = {}
        for i = 1, max + 1 do many[i] = HOSTILE end
        refused(verb, many)
        refused(verb, { "--", table.unpack(many) })
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.is_true(count > 2000)
  end)
end)

-- ------------------------------------------------------------------
-- The program itself
-- ------------------------------------------------------------------

local HINT <const> = 6000 -- bytes, with the names of what there is

-- A wrong line of a verb: its words, and whether it is wrong whatever it means.
local function line_of(verb)
  local list = {}
  each_option(verb, function(o)
    if o[1] ~= "help" and o[1] ~= "json" and o[1] ~= "quiet" then
      list[#list + 1] = o
    end
  end)
  local way = random(4)
  local o = list[random(#list)]
  if way == 1 then
    local other = misspelt(o[1])
    if not is_known(verb, other) and other ~= "" then
      return { "--" .. other }, true
    end
  end
  if o.value and o[1] ~= "retry-lock" and o[1] ~= "password-command" then
    local from = (o.type or o.choices) and wrong_values or texts
    local value = from[random(#from)]
    local words = { "--" .. o[1] .. "=" .. value }
    -- Twice, the second one is what counts.
    if way == 2 then table.insert(words, 1, words[1]) end
    return words, (o.type or o.choices) and value ~= "-1"
  end
  return { "--" .. o[1] .. "=" .. HOSTILE }, not o.value
end

-- What waits for somebody, or for ever, and what looks at all of the machine.
local skipped <const> = { repl = true, hold = true, mount = true }

describe("every verb", function()
  if matrix.missing then return pending(matrix.missing) end

  it("withstands wrong words", function()
    local d <close> = cli.scratch()
    local root, wrong, lines = d.path, {}, {}
    assert(os.execute(("mkdir '%s/w' '%s/sure' '%s/state'"):format(root,
      root, root)))
    local rows = {}
    for _, row in ipairs(matrix.rows) do rows[row.verb] = rows[row.verb] or row end
    for _, name in ipairs(verbs.names) do
      for _ = 1, LONG and 40 or 5 do
        if not skipped[name] then
          local words, sure = line_of(verbs.load(name))
          local json = random(2) == 1
          lines[#lines + 1] = { name, words, sure, json }
        end
      end
    end
    local function judge(line)
      local name, words, sure, json = table.unpack(line)
      local argv = { name, table.unpack(words) }
      if json then table.insert(argv, 2, "--json") end
      local r = cli.run(argv, { cwd = root .. (sure and "/sure" or "/w"), stdin = "", env = {
        SAROS_STATE_DIR = root .. "/state", HOME = root .. "/w",
        XDG_CONFIG_HOME = false } })
      local function say(what)
        wrong[#wrong + 1] = ("%s %q (seed %d): %s\n%s%s"):format(name,
          table.concat(words, " "):sub(1, 100), SEED, what, r.out:sub(1, 500),
          r.err:sub(1, 500))
      end
      if sure and r.code ~= (verbs.load(name).misuse or 2) then say("ended with " .. tostring(r.code)) end
      matrix.look(rows[name], r, json, say)
      if #r.err > HINT and r.code ~= 0 then say "says it at length" end
      if r.code == 2 and not json and r.err == "" then say "says nothing" end
    end
    helper.task(function()
      local at, tasks = 0, {}
      for i = 1, 4 do
        tasks[i] = helper.saros.spawn(function()
          while at < #lines do
            at = at + 1
            judge(lines[at])
          end
        end)
      end
      for _, task in ipairs(tasks) do assert(task:wait()) end
    end)
    local made = volumes.run("find '%s' -name pwned; find '%s/sure' -mindepth 1",
      root, root)
    if made ~= "" then wrong[#wrong + 1] = "there is now " .. made end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)
