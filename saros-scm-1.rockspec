rockspec_format = "3.0"
package = "saros"
version = "scm-1"

-- The checkout that this file lies in: `luarocks make` fetches nothing.
source = { url = "git+file://." }

description = {
  summary = "Long operations that somebody waits for",
  detailed = [[
    A Volume Shadow Copy Service for Linux, with the backup application, the
    volume service and the transfer queue that belong around it. All are long
    operations: state machines in C that a Lua coroutine can wait for.
  ]],
  license = "MIT",
  labels = { "async", "backup", "snapshot", "linux" },
}

supported_platforms = { "linux" }

dependencies = { "lua >= 5.4, < 5.6" }

test = { type = "busted", flags = { "-o", "spec/output.lua" } }

-- "make" and not "builtin": builtin has no field for linker flags (nodelete),
-- builds every object without hidden visibility and header dependencies, and
-- cannot leave out a module whose library is missing. The Makefile has all
-- that, and the list of modules cannot fall behind the files.
build = {
  type = "make",
  build_target = "module",
  install_target = "install-lua",
  install = { bin = { "lua/bin/saros" } },
  variables = {
    BUILD = "build/rock",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
  },
}
