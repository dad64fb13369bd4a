-- The command line: that every verb is there and explains itself, and what it
-- says to who calls it wrongly.
local cli = require "spec.cli"
local verbs = require "saros.cli.verbs"
local core = require "spec.helper".core
local options = require "saros.cli.options"

local function files_of_verbs()
  local pipe <close> = assert(io.popen "ls lua/saros/cli/verbs")
  local names = {}
  for line in pipe:lines() do
    names[#names + 1] = line:match "^(.*)%.lua$":gsub("_", "-")
  end
  table.sort(names)
  return names
end

describe("the table of the verbs", function()
  it("has exactly those that there are files of", function()
    local names = table.move(verbs.names, 1, #verbs.names, 1, {})
    table.sort(names)
    assert.same(files_of_verbs(), names)
  end)

  it("has their names", function()
    for _, name in ipairs(verbs.names) do
      local verb = verbs.load(name)
      assert.equal(name, verb.name)
      assert.is_true(#verbs.summary[name] <= 60, name)
      assert.is_function(verb.run or verb.plain, name)
      assert.is_true(#(verb.examples or {}) > 0, name .. " has no examples")
    end
  end)
end)

describe("help", function()
  it("lists all verbs, in 80 columns", function()
    local all = cli.ends(0, { "--help" }).out
    assert.equal(all, cli.ends(0, { "help" }).out)
    for _, name in ipairs(verbs.names) do
      assert.is_truthy(all:find("\n  " .. name .. " ", 1, true), name)
    end
    for line in all:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 80, line) end
  end)

  it("is there for every verb and topic", function()
    for _, name in ipairs(verbs.names) do
      local text = cli.ends(0, { name, "--help" }).out
      assert.equal(text, cli.ends(0, { "help", name }).out)
      assert.is_truthy(text:find("Usage: saros " .. name, 1, true), name)
      assert.is_truthy(text:find("\nExamples:\n  saros " .. name, 1, true), name)
      for line in text:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= 80, line)
      end
    end
    for _, topic in ipairs { "exit-codes", "json", "configuration" } do
      assert.is_true(#cli.ends(0, { "help", topic }).out > 200)
    end
    assert.matches("perhaps", cli.ends(2, { "help", "exit-code" }).err)
  end)

  it("has examples that are right calls, as a shell reads them", function()
    for _, name in ipairs(verbs.names) do
      for _, example in ipairs(verbs.load(name).examples) do
        -- Of what is piped to it, or from it, nothing is begun.
        local call = example[1]:gsub("^.*| saros ", "saros "):gsub(" | .*$", "")
        if call:sub(1, 6) ~= "saros " then goto another end
        local pipe <close> = assert(io.popen(
          "saros() { printf '%s\\0' \"$@\"; }; " .. call))
        local words = {}
        for word in pipe:read "a":gmatch "([^\0]*)\0" do words[#words + 1] = word end
        assert.equal(name, table.remove(words, 1), example[1])
        local given, wrong = options.parse(verbs.load(name), words)
        assert.is_truthy(given, example[1] .. ": " .. tostring(wrong))
        ::another::
      end
    end
  end)

  it("is for programs, too", function()
    for _, words in ipairs { { "ls", "--help", "--json" }, { "help", "--json", "ls" } } do
      local record = assert(core.json_read(cli.ends(0, words).out))
      assert.same({ 1, "help" }, { record.saros, record.type })
      assert.matches("^Usage: saros ls", record.text)
    end
  end)

  it("needs no terminal, no engine and no repository", function()
    local r = cli.ends(0, { "versions", "--help" }, { env = { TERM = false,
      HOME = false }, stdin = "" })
    assert.equal("", r.err)
  end)
end)

describe("a wrong call", function()
  it("says what to do when nothing is said", function()
    local r = cli.ends(2, {})
    assert.matches("saros backup", r.err)
    assert.equal("", r.out)
  end)

  it("names the verb that was meant", function()
    assert.matches("no verb 'versons'; 'versions' perhaps",
      cli.ends(2, { "versons" }).err)
    local record = assert(core.json_read(cli.ends(2, { "versons", "--json" }).out))
    assert.same({ "error", 2 }, { record.type, record.exit_code })
    assert.matches("no verb or topic 'jsn'; 'json' perhaps",
      core.json_read(cli.ends(2, { "help", "--json", "jsn" }).out).message)
    assert.matches("no verb 'x\\x1b%[2J'", cli.ends(2, { "x\27[2J" }).err)
    assert.matches("no option %-%-jsn before the verb", cli.ends(2, { "--jsn" }).err)
  end)

  it("names the option that was meant, of every verb", function()
    for _, name in ipairs(verbs.names) do
      local code = verbs.load(name).misuse or 2 -- status has monitoring's
      local r = cli.ends(code, { name, "--hlep" })
      assert.matches("no option %-%-hlep; '%-%-help' perhaps", r.err, 1, name)
      assert.matches("saros " .. name:gsub("%-", "%%-") .. " %-%-help", r.err)
      -- Wherever it stands, a program is told.
      for _, words in ipairs { { "--json", "--\27[31mx" },
        { "--\27[31mx", "--json" } }
      do
        r = cli.ends(code, { name, table.unpack(words) })
        assert.is_nil(r.out:find "\27")
        assert.equal("", r.err)
        local record = assert(core.json_read(r.out))
        assert.same({ 1, "error", code }, { record.saros, record.type,
          record.exit_code })
        assert.is_truthy(record.message:find("there is no option", 1, true))
      end
    end
  end)

  it("says which value is missing, or is none", function()
    assert.matches("%-%-last: N is missing", cli.ends(2, { "versions", "--last" }).err)
    assert.matches("%-%-last: a whole number expected, got \"x\"",
      cli.ends(2, { "versions", "--last=x" }).err)
    assert.matches("%-%-json takes no value",
      cli.ends(2, { "versions", "--json=1" }).err)
    assert.matches("nothing to be named here: \"x\"",
      cli.ends(2, { "versions", "x" }).err)
  end)
end)

describe("Ctrl-C while it is loaded", function()
  -- As the interpreter does it: a hook that raises, here at this instruction.
  local HOOK <const> = [[debug.sethook(function()
    debug.sethook()
    error("interrupted!", 2)
  end, "", %d)]]

  it("ends it without a word", function()
    -- What comes first is to set that hook, and to call what hears it.
    for _, at in ipairs { 8, 12, 20, 35, 60, 100, 200, 400 } do
      local r = cli.ends(130, { "help" }, { env = { LUA_INIT = HOOK:format(at) } })
      assert.same({ "", "" }, { r.out, r.err }, at)
    end
  end)
end)
