-- Whatever is told to somebody to type exists: verbs, their options and
-- functions that are named in messages, in help, in comments and in documents.
local outside = require "spec.outside"
require "spec.helper"

local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"

-- What is said there: of documents all of it; of sources what is in quotes or
-- in a comment, with texts and comments that go on in the next line in one.
local function said(path)
  local text = assert(outside.content(path))
  if path:find "%.md$" then return text end
  if path:find "%.lua$" then
    text = text:gsub('"%s*%.%.%s*"', "")
    return (text:gsub("\n%s*%-%-+", "\n"))
  end
  return (text:gsub('"%s*"', ""):gsub("\n%s*%*%*", "\n"))
end

local all = {}
for path in outside.run("sh", "-c", "find lua csrc examples README.md "
  .. "CONTRIBUTING.md -name '*.lua' -o -name '*.[ch]' -o -name '*.md'")
  :gmatch "[^\n]+"
do
  all[path] = said(path)
end

-- ------------------------------------------------------------------
-- Command lines
-- ------------------------------------------------------------------

local function known_options(name)
  local known = {}
  for _, group in ipairs(options.groups(verbs.load(name))) do
    for _, option in ipairs(group[2]) do
      known["--" .. option[1]] = true
      if option[2] then known["-" .. option[2]] = true end
    end
  end
  return known
end

local known_of = {}
for _, name in ipairs(verbs.names) do known_of[name] = known_options(name) end

-- Of one command: what of it does not exist, or nil.
local function wrong(command)
  local name, rest = command:match "^saros%s+(%-*%l[%l-]*)(.*)$"
  if not name or name == "--help" or name == "--version" then return nil end
  if not known_of[name] then return "saros " .. name end
  rest = rest:gsub("%s%-%-%s.*", ""):gsub("%b''", "''"):gsub('%b""', '""')
  for option in rest:gmatch "%s(%-%-?%a[%w-]*)" do
    if not known_of[name][option] then
      return ("saros %s %s"):format(name, option)
    end
  end
  return nil
end

-- In a line of a shell there may be several; their ends are as it knows them.
local function commands(line, found)
  for part in line:gmatch "[^|;&()<>]+" do
    local command = part:match "%f[%w](saros%s+%-*%l.*)"
    if command and part:find "^%s*[%w_={} $/.-]*saros%s" then
      found[#found + 1] = command
    end
  end
end

-- What stands between `two of them`, which are in one paragraph.
local function quoted(text)
  local found = {}
  text = text:gsub("\n```.-\n```", "\n")
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n%s*\n" do
    for code in paragraph:gmatch "`([^`]+)`" do
      found[#found + 1] = (code:gsub("%s+", " "))
    end
  end
  return found
end

-- In `code`, in 'quotes', after a $, and in the examples of a verb. What is meant
-- to be wrong is told so.
local function command_lines(path, text)
  local found = {}
  for _, line in ipairs(quoted(text)) do commands(line, found) end
  for line in text:gmatch "[^%w]'(saros %l[^'\n]*)'" do commands(line, found) end
  for line in text:gmatch "\n%$ ([^\n]+)" do
    if not line:find "saros bakup" then commands(line, found) end
  end
  if path:find "cli/" then
    for line in text:gmatch '{ "(saros [^"]+)"' do commands(line, found) end
  end
  return found
end

-- ------------------------------------------------------------------
-- Functions
-- ------------------------------------------------------------------

-- Those that are defined anywhere, in Lua or for it.
local defined = {}
for path, text in pairs(all) do
  if path:find "^lua/" or path:find "^csrc/" then
    for name in text:gmatch "function [%w_.]*[.:]([%w_]+)" do
      defined[name] = true
    end
    for name in text:gmatch "([%w_]+) = function" do defined[name] = true end
    for name in text:gmatch '{"([%w_]+)",' do defined[name] = true end
  end
end

-- What is called by something of ours: `vss.reap()`, `repo:check {`.
local ours <const> = { saros = true, vss = true, wsb = true, vds = true,
  bits = true, repository = true, repo = true, session = true, set = true,
  op = true, workflow = true, record = true, timeline = true, job = true }

-- A module has what it has; for what an object has, a definition will do.
local function exists(of, name)
  local there, module = pcall(require, of == "saros" and of or "saros." .. of)
  if there and type(module) == "table" and module[name] ~= nil then
    return true
  end
  return defined[name]
end

local function functions(text)
  local found = {}
  for _, code in ipairs(quoted(text)) do
    for of, name in code:gmatch "%f[%w]([%w_]+)[.:]([%w_]+)%s*[({]" do
      if ours[of] then found[#found + 1] = { of, name } end
    end
  end
  return found
end

-- ------------------------------------------------------------------

describe("what is named", function()
  it("is found", function()
    local n, m = 0, 0
    for path, text in pairs(all) do
      n, m = n + #command_lines(path, text), m + #functions(text)
    end
    assert.is_true(n > 150, n)
    assert.is_true(m > 30, m)
    assert.equal("saros unlok", wrong "saros unlok --repo /x")
    assert.equal("saros backup --kepp", wrong "saros backup /etc --kepp")
    assert.is_nil(wrong "saros hold /srv -- tar --create /srv")
  end)

  it("is a verb, and an option of it", function()
    local bad = {}
    for path, text in pairs(all) do
      for _, command in ipairs(command_lines(path, text)) do
        local what = wrong(command)
        if what then bad[#bad + 1] = path .. ": " .. what end
      end
    end
    table.sort(bad)
    assert.equal("", table.concat(bad, "\n"))
  end)

  it("is an option, where the command line names one alone", function()
    local any, bad = {}, {}
    for _, known in pairs(known_of) do
      for option in pairs(known) do any[option] = true end
    end
    for path, text in pairs(all) do
      if path:find "^lua/saros/cli" then
        for option in text:gmatch "[%s(](%-%-%l[%w-]+)%f[^%w-]" do
          if not any[option] and option ~= "--now" then -- systemctl's
            bad[#bad + 1] = path .. ": " .. option
          end
        end
      end
    end
    table.sort(bad)
    assert.equal("", table.concat(bad, "\n"))
  end)

  it("is a function", function()
    local bad = {}
    for path, text in pairs(all) do
      for _, name in ipairs(functions(text)) do
        if not exists(name[1], name[2]) then
          bad[#bad + 1] = ("%s: %s.%s"):format(path, name[1], name[2])
        end
      end
    end
    table.sort(bad)
    assert.equal("", table.concat(bad, "\n"))
  end)
end)
