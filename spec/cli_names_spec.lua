-- Names of hosts, tags and files that would move a cursor, turn a line round or
-- end it: whatever shows them shows what they are made of.
local helper = require "spec.helper"
local matrix = require "spec.cli_matrix"
local outside = require "spec.outside"

if matrix.missing then
  describe("hostile names", function() pending(matrix.missing) end)
  return
end

-- (A tag has no comma.)
local NAMES <const> = { "x\27[2J\27]0;pwned\7y", "left\u{202E}thgir\u{61C}",
  "line\nsaros: all is well\r", "\xff\xfe\xc0\xaf", "<b>&\"'\u{9b}2J",
  ("n"):rep(255) }

local raw <const> = { "\27", "\7", "\r", "\u{202E}", "\u{61C}", "\u{9b}",
  "\nsaros: all" }

local LINES <const> = { "versions {repo}", "ls latest {repo}",
  "find * {repo}", "diff {first} latest {repo}", "status --all-hosts {repo}",
  "check {repo}", "restore latest --target {root}/to/out {repo}",
  "report {repo} --out {root}/to/page.html", "report --chrome",
  "forget --keep-last 100 --dry-run {repo}" }

describe("hostile names", function()
  it("are shown by nobody as they are", function()
    local wrong = {}
    helper.task(function()
      local s <close> = matrix.scene()
      for _, name in ipairs(NAMES) do
        outside.write(s.root .. "/src/" .. name, "x\n")
        local r = matrix.run(s, matrix.words(s,
          "backup {root}/src --shadow never --no-init --force {repo}"), {
          wrap = function(argv)
            table.move({ "--host", name, "--tag", name }, 1, 4, #argv + 1, argv)
            return argv
          end })
        assert(r.code == 0 or r.code == 2, r.err)
      end
      for _, line in ipairs(LINES) do
        for _, json in ipairs { false, true } do
          local words = matrix.words(s, line)
          if json then table.insert(words, 2, "--json") end
          local r = matrix.run(s, words)
          local function say(what)
            wrong[#wrong + 1] = ("%s%s: %s\n%s"):format(line,
              json and " --json" or "", what, r.err:sub(1, 300))
          end
          if r.code ~= 0 then say("ended with " .. r.code) end
          matrix.look({ verb = words[1], plain = line:find "chrome" }, r, json, say)
          for _, what in ipairs(raw) do
            -- For programs a text is the text that it is.
            local out = json and "" or r.out
            if out:find(what, 1, true) or r.err:find(what, 1, true) then
              say(("writes %q as it is"):format(what))
            end
          end
        end
      end
      local page = assert(outside.content(s.root .. "/to/page.html"))
      for _, what in ipairs(raw) do
        if page:find(what, 1, true) then
          wrong[#wrong + 1] = ("the page has %q"):format(what)
        end
      end
      if page:find("<b>&\"", 1, true) then wrong[#wrong + 1] = "markup" end
    end)
    assert.equal("", table.concat(wrong, "\n"))
  end)

  teardown(matrix.close)
end)
