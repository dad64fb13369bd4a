--- The freeze protocol, searched wholly by spin: see spec/model/freeze.pml. A
--- model proves nothing if it looks in the wrong place: so every safeguard is
--- taken away in turn, and then the search must find a fault.

local model = "spec/model/freeze.pml"

local function has(tool)
  return os.execute("command -v " .. tool .. " >/dev/null 2>&1") == true
end

--- The number of faults that a whole search finds, and how many states it saw.
local function search(defines)
  local dir = os.tmpname()
  os.remove(dir)
  local command = ([[mkdir %q && cd %q && cp %q/%s . &&
    spin -a %s freeze.pml >spin.log 2>&1 &&
    cc -O2 -w -DSAFETY -o pan pan.c 2>&1 && ./pan -m100000 2>&1]])
    :format(dir, dir, os.getenv "PWD", model, defines)
  local pipe = assert(io.popen(command))
  local said = pipe:read "a"
  pipe:close()
  os.execute(("rm -rf %q"):format(dir))
  assert.is_nil(said:find("max search depth too small", 1, true))
  return tonumber(said:match "errors: (%d+)") or error(said),
    tonumber(said:match "(%d+) states, stored")
end

describe("the model of the freeze", function()
  if not (has "spin" and has "cc") then
    pending "needs spin and a C compiler"
    return
  end

  it("leaves nothing frozen, in every order, killed at any instant", function()
    local errors, states = search ""
    assert.equal(0, errors)
    assert.is_true(states > 10000)
  end)

  for _, without in ipairs {
    "-DNO_GUARD", "-DNO_MARK", "-DNO_SECOND_LOOK", "-DNO_END_OF_FILE",
    "-DNO_VOID", "-DNO_WAIT -DNO_LATE_THAW",
  } do
    it("finds the fault with " .. without, function()
      assert.equal(1, (search(without)))
    end)
  end
end)
