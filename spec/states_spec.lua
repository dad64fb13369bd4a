-- Several states and threads in one program (spec/c/states.c): three states in
-- a row, a thousand short ones, one that two threads enter, two copies of the
-- module.
local outside = require "spec.outside"

describe("several Lua states", function()
  it("live and die in one process", function()
    outside.directory(function(dir)
      local said, how, code = outside.run("sh", "-c",
        ("${CC:-cc} -std=c11 -D_GNU_SOURCE -g -Wall -Wextra -pthread -Ispec/c spec/c/states.c "
          .. "-o '%s/states' $(pkg-config --cflags --libs lua5.4 2>/dev/null || "
          .. "echo -I/usr/include/lua5.4 -llua5.4)"):format(dir))
      assert.same({ "", "exit", 0 }, { said, how, code })
      assert(os.execute(("mkdir '%s/saros' && cp '%s' '%s/saros/core.so'")
        :format(dir, outside.module "saros.core", dir)))
      local p <close> = outside.start("env",
        "LUA_PATH=" .. outside.lua_path,
        "LUA_CPATH=" .. outside.lua_cpath,
        "SAROS_COPY_CPATH=" .. dir .. "/?.so", dir .. "/states")
      said, how, code = p:finish(outside.patience * 4)
      assert.same({ "exit", 0 }, { how, code }, said)
      assert.is_truthy(said:find(" passed, 0 failed, 0 skipped\n", 1, true), said)
    end)
  end)
end)
