-- The repository in the plain `lua5.4 -i`: Ctrl-C ends a wait and not the backup.
-- (That its chapter holds is another suite's: document_chapters.)
local outside = require "spec.outside"
local shared = require "spec.repository"

if shared.missing then
  describe("the repository at the REPL", function() pending(shared.missing) end)
  return
end

local PROMPT = "READY> "

describe("the repository at the REPL", function()
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
