-- spec/deps, which `make demo` and `make test` begin with, on machines that lack
-- something: it says what, and lets nobody begin what cannot end well.
local outside = require "spec.outside"
require "spec.helper"

-- Runs it where there are only these programs (and a shell's own); `lacks` is a
-- pattern of packages that are not installed, nil where nobody knows any.
local function deps(programs, lacks, ...)
  local words = table.concat({ ... }, " ")
  return outside.directory(function(at)
    for _, name in ipairs { "sh", "id", "sort", "mktemp", "rm", "tail",
      table.unpack(programs) }
    do
      assert(os.execute(("ln -s \"$(command -v %s)\" '%s/%s'"):format(name, at,
        name)), name)
    end
    if lacks then
      outside.write(at .. "/dpkg-query", ("#!/bin/sh\ncase \"$*\" in %s) exit 1;;"
        .. " esac\necho 'ii '\n"):format(lacks))
      assert(os.execute(("chmod 755 '%s/dpkg-query'"):format(at)))
    end
    local said, how, code = outside.run("/bin/sh", "-c", ("unset CC LUA "
      .. "LUA_INCDIR; PATH='%s' exec sh spec/deps %s"):format(at, words))
    return said, how .. code
  end)
end

describe("what is missing", function()
  it("is named, where nothing can be installed", function()
    local said, code = deps({}, "*zstd*|*python3*", "build demo")
    assert.equal("exit1", code)
    assert.equal("Missing packages. As root:  apt-get install libzstd-dev "
      .. "python3\n", said)
  end)

  it("is no hindrance when it is only liked", function()
    local said, code = deps({}, "*zstd*", "build")
    assert.equal("exit0", code)
    assert.matches("apt%-get install libzstd%-dev\n", said)
    said, code = deps({}, "none", "build demo")
    assert.equal("exit0", code)
    assert.equal("", said)
  end)

  it("is a compiler, on another distribution", function()
    local said, code = deps({ "ld", "lua5.4" }, nil, "build demo")
    assert.equal("exit1", code)
    assert.matches("^not found: gcc\n", said)
    assert.matches("liblua5.4%-dev", said)
    said, code = deps({ "gcc", "ld", "lua5.4" }, nil, "build demo")
    assert.equal("exit0", code, said)
    assert.equal("", said)
  end)
end)
