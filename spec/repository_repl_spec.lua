-- The repository in the plain `lua5.4 -i`: what the README says works, and
-- Ctrl-C ends a wait and not the backup.
local outside = require "spec.outside"
local shared = require "spec.repository"

if shared.missing then
  describe("the repository at the REPL", function() pending(shared.missing) end)
  return
end

local PROMPT = "READY> "

-- The lines of the chapter that a reader types, with places of ours.
local function lines_of_readme(root)
  local text = assert(outside.content "README.md")
  local chapter = assert(text:match "\n## Back up\n(.-)\n## ")
  local typed = { shell = {}, lua = {} }
  local places = { ['"/backup"'] = ("%q"):format(root .. "/backup"),
    ['"/srv"'] = ("%q"):format(root .. "/srv"),
    ['"/srv/www"'] = ("%q"):format(root .. "/srv/www"),
    ['"latest:/srv/www"'] = ("%q"):format("latest:" .. root .. "/srv/www"),
    ['"/scratch"'] = ("%q"):format(root .. "/scratch") }
  for mark, line in chapter:gmatch "\n    ([$>]) ([^\n]*)" do
    local list = mark == "$" and typed.shell or typed.lua
    list[#list + 1] = line:gsub('"[^"]*"', places)
  end
  return typed
end

describe("the repository at the REPL", function()
  it("does what the README says", function()
    outside.directory(function(root)
      assert(os.execute(("mkdir -p '%s/srv/www' && echo hello "
        .. ">'%s/srv/www/index.html'"):format(root, root)))
      local typed = lines_of_readme(root)
      assert.is_true(#typed.shell == 2 and #typed.lua >= 8)
      assert.matches("^lua5.4 %-i", typed.shell[2])
      outside.write(root .. "/lines", table.concat(typed.lua, "\n") .. "\n")
      local said, how, status = outside.run("sh", "-c", ([[
        export HOME='%s' TERM=dumb INPUTRC=/dev/null
        %s
        exec %s -i -e '_PROMPT = "\n%s"' <'%s/lines' 2>&1]]):format(root,
        typed.shell[1], outside.lua, PROMPT, root))
      assert.same({ "exit", 0 }, { how, status }, said)
      assert.is_nil(said:find "stack traceback", said)
      assert.is_nil(said:find "nil%s", said)
      assert.matches("\nrepository.backup: ", said)
      assert.matches("\nversion %x%x%x%x%x%x%x%x: 1 file, 6 B\n", said)
      assert.matches("\n%x%x%x%x%x%x%x%x  %d+.*  %[manual%]\n", said)
      assert.matches("\nversion %x+ in .*/scratch: 1 file, 6 B\n", said)
      assert.matches("\nnothing is damaged: 1 version, ", said)
      assert.equal("hello\n", outside.content(root .. "/scratch/index.html"))
    end)
  end)

  it("Ctrl-C ends a wait, and the backup goes on", function()
    outside.directory(function(root)
      assert(os.execute(("mkfifo '%s/gate'"):format(root)))
      local p <close> = outside.terminal("env", "TERM=dumb",
        "INPUTRC=/dev/null", "SAROS_SPEC=" .. root, outside.lua, "-i", "-e",
        ("_PROMPT = %q"):format(PROMPT), "-l", "saros", "-l", "testmod")
      p:expect(PROMPT)
      local function enter(line)
        p:write(line .. "\n")
        p:expect(line)
        p:expect "\n"
        return (p:expect(PROMPT):gsub("\r", ""))
      end
      enter "at = os.getenv 'SAROS_SPEC'"
      enter "repository = require 'saros.repository'"
      enter "o = { location = at .. '/r', password = 'x' }"
      enter "o.durable = false"
      enter "repo = repository.init(o)"
      assert.matches("^saros.repository: " .. root:gsub("%p", "%%%0")
        .. "/r\n$", enter "repo")
      enter "r, w = testmod.system.pipe()"
      enter "gate = { name = 'gate', stream = r }"
      enter "op = repo:backup { sources = { gate } }"
      p:write "print('wai' .. 'ting') op:wait()\n"
      p:expect "\nwaiting\r\n"
      p:write "\3"
      p:expect "interrupted!"
      p:expect(PROMPT)
      assert.matches("^repository.backup: pending", enter "op")
      assert.equal("no versions\n", enter "repo:versions()")
      enter "testmod.system.write(w, 'it is')"
      enter "testmod.system.close(w)"
      assert.matches("^version %x+: 1 file, 5 B\n", enter "op:wait()")
      assert.matches("^%x+  .*  /gate\n$", enter "repo:versions()")
      -- A misuse is told in a line that says what there is.
      assert.matches("repo:restore has no option 'tagret'; 'target' perhaps",
        enter "repo:restore { tagret = '/x' }")
      p:write "os.exit(9, true)\n"
      local _, how, code = p:finish()
      assert.same({ "exit", 9 }, { how, code })
    end)
  end)
end)
