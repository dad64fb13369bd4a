# saros. `make help` says what there is; CONTRIBUTING.md says when to use it.
#
# To be set on the command line as you like:
#
#   CC, CFLAGS, CPPFLAGS, LDFLAGS   the compiler, and your flags for it
#   LUA          the interpreter that runs tests, examples and documents
#   LUA_INCDIR   where lua.h is
#   BUILD        where everything that is made goes
#   PREFIX, DESTDIR, LUADIR, LIBDIR   where `make install` puts it
#   WERROR=1     warnings are errors
#   V=1          show the commands; the test runner shows all output
#   ONLY="…"     run only the suites whose names contain one of these words

CC = gcc
CFLAGS = -O2 -g
LUA = lua5.4
LUA_ABI = 5.4
BUILD = build
PREFIX = /usr/local
LUADIR = $(PREFIX)/share/lua/$(LUA_ABI)
LIBDIR = $(PREFIX)/lib/lua/$(LUA_ABI)
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man/man1
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
INCDIR = $(PREFIX)/include
ARCDIR = $(PREFIX)/lib
INSTALL = install
FUZZ_SECONDS = 60
FUZZ_SEED = 0
# Suites at a time: they wait more than they compute.
JOBS = 3
# PART=2/3: of what takes long (asan, tsan, valgrind, analyse), the second third.
PART = 1/1

# The first that has lua.h; looked up once.
LUA_INCDIR := $(firstword $(patsubst %/lua.h,%,$(wildcard \
  /usr/include/lua$(LUA_ABI)/lua.h /usr/local/include/lua$(LUA_ABI)/lua.h \
  /usr/local/include/lua.h)) /usr/include/lua$(LUA_ABI))


# ---------------------------------------------------------------------
# Flags
# ---------------------------------------------------------------------

# What is suspicious. gcc and clang know all of these.
WARN = \
  -Wall -Wextra -Wpedantic \
  -Wconversion -Wsign-conversion \
  -Wshadow \
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
  -Wmissing-declarations -Wredundant-decls -Wnested-externs \
  -Wwrite-strings -Wcast-qual -Wpointer-arith \
  -Wundef -Wvla -Wformat=2 -Wdouble-promotion \
  -Werror=implicit-function-declaration $(if $(WERROR),-Werror)

# The language, and what the sources ask of libc (pidfd, memfd, …).
STD = -std=c11 -D_GNU_SOURCE
# Inside the house saros_* are ordinary functions, not calls through a table.
STATIC = -DSAROS_STATIC
HOUSE = $(STATIC) -Icsrc
# Nothing is exported that does not say so.
HIDE = -fvisibility=hidden

# Everything is position independent: the same objects make the module and
# the archive, and a host may link the archive into a shared object.
FLAGS = $(STD) $(HOUSE) $(if $(TEST),-DSAROS_TEST) $(WARN) -fPIC $(HIDE) \
  -pthread $(ROOM) $(CPPFLAGS) $(CFLAGS)

# nodelete: lua_close unloads C modules, our threads may still run in them.
# now: every name is resolved when it is loaded, not in the middle of a freeze.
MODULE_LD = -shared -pthread -Wl,-z,nodelete -Wl,-z,now $(CFLAGS) $(LDFLAGS)

Q = $(if $(V),,@)
# say(what,file)
say = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(2)')
MAKEFLAGS += --no-print-directory


# ---------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------

# The floors that know nothing of Lua, and the one that does.
FLOORS = base op vss vss/provider wsb
C_SOURCES := csrc/api.c csrc/bits/status.c csrc/vds/status.c \
  $(sort $(wildcard $(FLOORS:%=csrc/%/*.c)))
LUA_C_SOURCES := $(sort $(wildcard csrc/lua/*.c))
LUA_FILES := $(sort $(shell find lua -name '*.lua' 2>/dev/null))
C_TESTS = $(filter-out $(if $(REPO),,spec/c/test_repo_%) \
  $(if $(BITS),,spec/c/test_bits_%) $(if $(VDS),,spec/c/test_vds_%), \
  $(sort $(wildcard spec/c/test_*.c)))
FUZZERS = $(filter-out $(if $(REPO),,spec/fuzz/fuzz_repo_%) \
  $(if $(BITS),,spec/fuzz/fuzz_bits_%) $(if $(VDS),,spec/fuzz/fuzz_vds_%), \
  $(sort $(wildcard spec/fuzz/fuzz_*.c)))
C_EXAMPLES := $(sort $(wildcard examples/*.c))
C_FORMATTED = $(sort $(shell find csrc spec examples -name '*.[ch]'))

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
C_OBJECTS := $(call object,$(C_SOURCES))
LUA_C_OBJECTS := $(call object,$(LUA_C_SOURCES))

# The clients are modules of their own, which have the engine through saros.h.
# A library that is missing leaves out its module, not the build.
SQLITE := $(shell printf '\043include <sqlite3.h>\n' | \
  $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo yes)
SQLITE_SOURCES = csrc/client/sqlite.c csrc/client/sqlite_carry.c \
  csrc/client/sqlite_perform.c
SQLITE_OBJECTS := $(call object,$(SQLITE_SOURCES))
SQLITE_LUA := $(call object,csrc/lua/client/sqlite.c)
SQLITE_HOLD_OBJECT := $(call object,csrc/client/sqlite_hold.c)

# Those that talk to a server, too: each is csrc/client/NAME*.c, with the one
# file csrc/lua/client/NAME.c, what it shares with others, and a library.
there = $(shell printf '\043include <$(1)>\n' | \
  $(CC) $(CPPFLAGS) $(2) -E - >/dev/null 2>&1 && echo yes)
postgres_FLAGS := -isystem $(firstword $(wildcard /usr/include/postgresql \
  /usr/include/pgsql /usr/local/include) /usr/include)
postgres_LIBS = -lpq
postgres_SHARED = csrc/client/talk.c csrc/client/talk_wait.c
postgres_LUA_SHARED = csrc/lua/client/connection.c csrc/lua/client/option.c
mariadb_FLAGS := -isystem $(firstword $(wildcard /usr/include/mariadb \
  /usr/include/mysql /usr/local/include/mariadb) /usr/include)
mariadb_LIBS = -lmariadb
mariadb_SHARED = csrc/client/talk.c csrc/client/talk_wait.c \
  csrc/client/password.c
mariadb_LUA_SHARED = $(postgres_LUA_SHARED)
redis_SHARED = csrc/client/password.c
redis_LUA_SHARED = csrc/lua/client/option.c
POSTGRES := $(call there,libpq-fe.h,$(postgres_FLAGS))
MARIADB := $(call there,mysql.h,$(mariadb_FLAGS))
TALKERS := $(foreach c,$(if $(POSTGRES),postgres) $(if $(MARIADB),mariadb) \
  redis,$(if $(wildcard csrc/lua/client/$(c).c),$(c)))
talker_sources = $(sort $(wildcard csrc/client/$(1)*.c)) $($(1)_SHARED)
talker_lua = csrc/lua/client/$(1).c $($(1)_LUA_SHARED)
TALKER_SOURCES := $(sort $(foreach c,$(TALKERS),$(call talker_sources,$(c))))
TALKER_LUA_SOURCES := $(sort $(foreach c,$(TALKERS),$(call talker_lua,$(c))))
TALKER_OBJECTS := $(call object,$(TALKER_SOURCES))
TALKER_LUA := $(call object,$(TALKER_LUA_SOURCES))
TALKER_FLAGS = $(foreach c,$(TALKERS),$($(c)_FLAGS))

CLIENT_SOURCES = $(if $(SQLITE),$(SQLITE_SOURCES) csrc/client/sqlite_hold.c) \
  $(TALKER_SOURCES)
CLIENT_LUA_SOURCES = $(if $(SQLITE),csrc/lua/client/sqlite.c) \
  $(TALKER_LUA_SOURCES)

# What was restored is started in a cell: a program, and libc alone.
CELL_SOURCES := $(sort $(wildcard csrc/cell/*.c))
CELL_OBJECTS := $(call object,$(CELL_SOURCES))

# What runs a program for which shadows lie over their originals: the same.
OVER_SOURCES := csrc/over/over.c
OVER_OBJECTS := $(call object,$(OVER_SOURCES))

# The repository is one, too, with everything below it.
REPO_LIBS = -lcrypto -lzstd -lcurl
REPO := $(shell printf '\043include <openssl/evp.h>\n\043include <zstd.h>\n\043include <curl/curl.h>\n' | \
  $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo yes)
REPO_SOURCES := $(sort $(wildcard csrc/repository/*.c csrc/repository/*/*.c \
  csrc/http/*.c))
REPO_OBJECTS := $(call object,$(REPO_SOURCES))
REPO_LUA_SOURCES := $(sort $(wildcard csrc/lua/repository/*.c \
  csrc/lua/value/*.c))
REPO_LUA := $(call object,$(REPO_LUA_SOURCES))
BASE_OBJECTS := $(call object,$(sort $(wildcard csrc/base/*.c)))

# So are transfers: with a libcurl thread of their own, and SQLite. What answers
# for an operation (status.c) is in the core.
BITS_LIBS = -lcrypto -lcurl -lsqlite3
BITS := $(shell printf '\043include <openssl/evp.h>\n\043include <sqlite3.h>\n\043include <curl/curl.h>\n' | \
  $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo yes)
BITS_OWN_SOURCES := $(filter-out csrc/bits/status.c,$(sort $(wildcard \
  csrc/bits/*.c)))
HTTP_SOURCES := $(sort $(wildcard csrc/http/*.c))
BITS_OWN := $(call object,$(BITS_OWN_SOURCES))
BITS_OBJECTS := $(BITS_OWN) $(call object,$(HTTP_SOURCES))
BITS_LUA_SOURCES := $(sort $(wildcard csrc/lua/bits/*.c \
  csrc/lua/value/*.c))
BITS_LUA := $(call object,$(BITS_LUA_SOURCES))

# The terminal, of the command line alone: libc, and no engine.
TERM_SOURCES := $(sort $(wildcard csrc/term/*.c))
TERM_LUA_SOURCES := $(sort $(wildcard csrc/lua/term/*.c))
TERM_OBJECTS := $(call object,$(TERM_SOURCES) $(TERM_LUA_SOURCES))

# And disks.
VDS_LIBS = -lfdisk -lblkid -lmount
VDS := $(shell printf '\043include <libfdisk/libfdisk.h>\n\043include <blkid/blkid.h>\n\043include <libmount/libmount.h>\n' | \
  $(CC) $(CPPFLAGS) -E - >/dev/null 2>&1 && echo yes)
VDS_SOURCES := $(filter-out csrc/vds/status.c,$(sort $(wildcard \
  csrc/vds/*.c)))
VDS_OBJECTS := $(call object,$(VDS_SOURCES))
VDS_LUA_SOURCES := $(sort $(wildcard csrc/lua/vds/*.c \
  csrc/lua/value/*.c))
VDS_LUA := $(call object,$(VDS_LUA_SOURCES))

MODULE = $(BUILD)/saros/core.so
REPO_MODULE = $(if $(REPO),$(if $(REPO_LUA_SOURCES),$(BUILD)/saros/repository/core.so))
SQLITE_MODULE = $(BUILD)/saros/client/sqlite.so
SQLITE_HOLD = $(BUILD)/saros/client/sqlite-hold
CLIENTS = $(if $(SQLITE),$(SQLITE_MODULE) $(SQLITE_HOLD)) \
  $(TALKERS:%=$(BUILD)/saros/client/%.so)
CELL = $(BUILD)/saros/cell
OVER = $(BUILD)/saros/over
BITS_MODULE = $(if $(BITS),$(if $(BITS_LUA_SOURCES),$(BUILD)/saros/bits/core.so))
VDS_MODULE = $(if $(VDS),$(BUILD)/saros/vds/core.so)
TERM_MODULE = $(BUILD)/saros/term.so
PROGRAM = $(BUILD)/bin/saros
MANUAL = $(BUILD)/doc/saros.1 $(BUILD)/doc/saros.bash $(BUILD)/doc/saros.zsh \
  $(BUILD)/doc/saros.fish
ARCHIVE = $(BUILD)/libsaros.a
TESTMOD = $(if $(wildcard spec/c/testmod.c),$(BUILD)/spec/testmod.so)
TEST_PROGRAMS = $(C_TESTS:spec/c/%.c=$(BUILD)/spec/%)
CORPUS_PROGRAMS = $(FUZZERS:spec/fuzz/%.c=$(BUILD)/spec/%)
EXAMPLE_PROGRAMS = $(C_EXAMPLES:%.c=$(BUILD)/%)

all: module $(ARCHIVE)  ## build the module and the archive (the default)
module: $(MODULE) $(CELL) $(OVER) $(CLIENTS) $(REPO_MODULE) $(BITS_MODULE) \
  $(VDS_MODULE) $(TERM_MODULE) $(PROGRAM) $(MANUAL)
	$(if $(VDS),,@echo "  LEFT OUT: saros.vds, there is no libfdisk, libblkid \
	or libmount to build with here (Debian: libfdisk-dev, libblkid-dev, \
	libmount-dev)")
	$(if $(BITS),,@echo "  LEFT OUT: saros.bits, there is no OpenSSL, curl or \
	SQLite to build with here (Debian: libssl-dev, libcurl4-openssl-dev, \
	libsqlite3-dev)")
	$(if $(REPO),,@echo "  LEFT OUT: saros.repository, there is no \
	OpenSSL, zstd or curl to build with here (Debian: libssl-dev, libzstd-dev, \
	libcurl4-openssl-dev)")
	$(if $(SQLITE),,@echo "  LEFT OUT: saros.client.sqlite, there is no \
	sqlite3.h here (Debian: libsqlite3-dev)")
	$(if $(POSTGRES),,@echo "  LEFT OUT: saros.client.postgres, there is no \
	libpq-fe.h here (Debian: libpq-dev)")
	$(if $(MARIADB),,@echo "  LEFT OUT: saros.client.mariadb, there is no \
	mysql.h of MariaDB here (Debian: libmariadb-dev)")

# What only `make test` needs: C programs, the module they test with, hosts.
programs: c-programs fuzz-programs
	@:
c-programs: $(TEST_PROGRAMS)
fuzz-programs: $(CORPUS_PROGRAMS)
PRELOADED_BY_SPECS = $(BUILD)/spec/clock.so $(BUILD)/spec/gate.so
extras: $(TESTMOD) $(PRELOADED_BY_SPECS) $(EXAMPLE_PROGRAMS)
	@:


# ---------------------------------------------------------------------
# Compiling
# ---------------------------------------------------------------------

# note(text,name): $(BUILD)/<name> holds <text> and is new when <text> is. So
# other flags, another compiler or another list of sources rebuild what they
# concern, and nothing else does.
note = mkdir -p $(BUILD); printf '%s\n' '$(subst ','\'',$(1))' | \
  cmp -s - $(BUILD)/$(2) || printf '%s\n' '$(subst ','\'',$(1))' >$(BUILD)/$(2)

$(BUILD)/flags: FORCE
	@$(call note,$(CC) $(FLAGS) $(MODULE_LD) $(LUA_INCDIR),flags)
$(BUILD)/sources: FORCE
	@$(call note,$(C_SOURCES) $(LUA_C_SOURCES) $(REPO_SOURCES) $(BITS_OWN_SOURCES) \
	  $(BITS_LUA_SOURCES) $(VDS_SOURCES) $(VDS_LUA_SOURCES) $(CLIENT_SOURCES) \
	  $(CLIENT_LUA_SOURCES) $(TERM_SOURCES) $(TERM_LUA_SOURCES),sources)

# -MMD -MP: the compiler writes down which headers an object depends on.
$(BUILD)/obj/%.o: %.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(FLAGS) -MMD -MP -c -o $@ $<

# The guard is a program of its own, carried inside the library as bytes: where
# we know how to call the kernel without libc it needs none. The flags of the
# rest are not for it, least of all a sanitizer.
GUARD = $(BUILD)/saros-guard
GUARD_SOURCE = csrc/vss/guard/guard_main.c
GUARD_MACHINE := $(filter x86_64% aarch64%,$(shell $(CC) -dumpmachine))
GUARD_FLAGS = $(STD) -Icsrc $(WARN) -O2 -fno-pie -static -s \
  -Wl,--build-id=none,-z,noexecstack \
  $(if $(GUARD_MACHINE),-DGUARD_ALONE -ffreestanding -nostdlib \
    -fno-stack-protector -fno-asynchronous-unwind-tables \
    -mgeneral-regs-only $(if $(filter x86_64%,$(GUARD_MACHINE)), \
      -fcf-protection=none -Wl$(comma)-z$(comma)max-page-size=4096))
comma = ,

$(GUARD): $(GUARD_SOURCE) csrc/vss/guard/talk.h Makefile $(BUILD)/flags
	$(call say,GUARD,$@)
	$(Q)$(CC) $(GUARD_FLAGS) -o $@ $<

$(BUILD)/obj/csrc/vss/guard_run.o: private ROOM = -DGUARD_IMAGE='"$(GUARD)"'
$(BUILD)/obj/csrc/vss/guard_run.o: $(GUARD)

# The only room that sees lua.h. As a system header: its warnings are not ours.
$(LUA_C_OBJECTS): private ROOM = -isystem $(LUA_INCDIR)

# No -llua: the host has Lua already, and a second copy would be another Lua.
$(MODULE): $(C_OBJECTS) $(LUA_C_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^)

# The clients see the engine as strangers do: through its table.
$(SQLITE_OBJECTS) $(SQLITE_LUA): private STATIC =
$(SQLITE_LUA): private ROOM = -isystem $(LUA_INCDIR)

$(SQLITE_MODULE): $(SQLITE_OBJECTS) $(SQLITE_LUA)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^) -lsqlite3

$(TALKER_OBJECTS) $(TALKER_LUA): private STATIC =
$(TALKER_OBJECTS): private ROOM = $(TALKER_FLAGS)
$(TALKER_LUA): private ROOM = -isystem $(LUA_INCDIR) $(TALKER_FLAGS)

# talker(name)
define talker
$$(BUILD)/saros/client/$(1).so: $$(call object,$$(call talker_sources,$(1)) \
    $$(call talker_lua,$(1))) $$(BUILD)/sources
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(MODULE_LD) -o $$@ $$(filter %.o,$$^) $$($(1)_LIBS)
endef
$(foreach c,$(TALKERS),$(eval $(call talker,$(c))))

# Holds databases still, in a process of its own.
$(SQLITE_HOLD): $(SQLITE_HOLD_OBJECT)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lsqlite3

$(CELL): $(CELL_OBJECTS)
$(OVER): $(OVER_OBJECTS)
$(CELL) $(OVER):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(REPO_OBJECTS) $(REPO_LUA): private STATIC =
$(REPO_LUA): private ROOM = -isystem $(LUA_INCDIR)

# What base is to the core it is to this one: a part of it.
$(BUILD)/saros/repository/core.so: $(REPO_OBJECTS) $(REPO_LUA) $(BASE_OBJECTS) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^) $(REPO_LIBS)

$(TERM_OBJECTS): private STATIC =
$(call object,$(TERM_LUA_SOURCES)): private ROOM = -isystem $(LUA_INCDIR)

$(TERM_MODULE): $(TERM_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^)

# program(modules in Lua, modules in C): the program, which looks there first.
program = sed -e '1s|.*|\#!/usr/bin/env $(LUA)|' \
  -e '2a \  local lua, c = "$(1)", "$(2)"' \
  -e '2a \  package.path = lua .. "/?.lua;" .. lua .. "/?/init.lua;" .. package.path' \
  -e '2a \  package.cpath = c .. "/?.so;" .. package.cpath' lua/bin/saros

# From the checkout.
$(PROGRAM): lua/bin/saros Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LUA,$@)
	$(Q)$(call program,$(CURDIR)/lua,$(abspath $(BUILD))) >$@.new
	$(Q)chmod 755 $@.new && mv $@.new $@

# What it is, from the tables of its verbs. (A sanitizer's modules go into an
# interpreter that has its runtime.)
PRELOADED = $(if $(findstring fsanitize=address,$(CFLAGS)), \
  LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
  ASAN_OPTIONS=detect_leaks=0)
$(MANUAL): $(filter lua/saros/cli/%,$(LUA_FILES)) lua/saros/arguments.lua
	@mkdir -p $(@D)
	$(call say,LUA,$@)
	$(Q)$(PRELOADED) LUA_PATH='lua/?.lua;lua/?/init.lua;;' \
	  LUA_CPATH='$(BUILD)/?.so;;' $(LUA) $(if $(filter %.1,$@), \
	  lua/saros/cli/manual.lua man, \
	  lua/saros/cli/completion.lua $(subst .,,$(suffix $@))) >$@.new
	$(Q)mv $@.new $@
# (The verbs ask for modules in C when they are read.)
$(MANUAL): $(MODULE) $(TERM_MODULE)

$(BITS_OWN) $(BITS_LUA): private STATIC =
$(BITS_LUA): private ROOM = -isystem $(LUA_INCDIR)

$(BUILD)/saros/bits/core.so: $(BITS_OBJECTS) $(BITS_LUA) $(BASE_OBJECTS) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^) $(BITS_LIBS)

$(VDS_OBJECTS) $(VDS_LUA): private STATIC =
$(VDS_LUA): private ROOM = -isystem $(LUA_INCDIR)

# Of what is asked for, only what something is taken from.
$(BUILD)/saros/vds/core.so: $(VDS_OBJECTS) $(VDS_LUA) $(BASE_OBJECTS) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(MODULE_LD) -o $@ $(filter %.o,$^) -Wl,--as-needed $(VDS_LIBS)

# One relocatable object in which only saros_* is global: a host's own `json_`
# or `buffer_` cannot collide with ours, and no part of it can be left out (the
# ELF note of op/only.c finds its claim by a distance inside this object).
$(ARCHIVE): $(C_OBJECTS) $(BUILD)/sources
	$(call say,AR,$@)
	$(Q)$(CC) -r -nostdlib -o $(BUILD)/saros.o $(filter %.o,$^)
	$(Q)objcopy --wildcard --keep-global-symbol='saros_*' $(BUILD)/saros.o
	$(Q)rm -f $@
	$(Q)ar rcs $@ $(BUILD)/saros.o

# Test programs see everything (no archive, no hiding), but no Lua.
$(BUILD)/spec/test_%: $(BUILD)/obj/spec/c/test_%.o $(C_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm

# But those that are about Lua have the Lua room and Lua itself.
$(BUILD)/obj/spec/c/test_lua_%.o: private ROOM = -isystem $(LUA_INCDIR)
$(BUILD)/spec/test_lua_%: $(BUILD)/obj/spec/c/test_lua_%.o $(C_OBJECTS) \
    $(LUA_C_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm $(LUA_LIB)

# Those that are about a client have its objects, and its library.
$(BUILD)/obj/spec/c/test_client_%.o: private ROOM = \
  $(if $(SQLITE),-DHAS_SQLITE) $(TALKERS:%=-DHAS_%) $(TALKER_FLAGS)
$(BUILD)/spec/test_client_%: $(BUILD)/obj/spec/c/test_client_%.o \
    $(C_OBJECTS) $(if $(SQLITE),$(SQLITE_OBJECTS)) $(TALKER_OBJECTS) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm \
	  $(if $(SQLITE),-lsqlite3) $(foreach c,$(TALKERS),$($(c)_LIBS))

# Feeds a fuzz target files.
FUZZ_MAIN = $(BUILD)/obj/spec/fuzz/main.o

# Those about the repository have its objects, and its libraries.
$(BUILD)/obj/spec/c/test_repo_%.o: private STATIC =
$(BUILD)/spec/test_repo_%: $(BUILD)/obj/spec/c/test_repo_%.o $(C_OBJECTS) \
    $(REPO_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm \
	  $(REPO_LIBS)
$(BUILD)/obj/spec/fuzz/fuzz_repo_%.o: private STATIC =
$(BUILD)/spec/fuzz_repo_%: $(BUILD)/obj/spec/fuzz/fuzz_repo_%.o $(C_OBJECTS) \
    $(REPO_OBJECTS) $(if $(FUZZING),,$(FUZZ_MAIN)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) \
	  $(LDFLAGS) -o $@ $(filter %.o,$^) -lm $(REPO_LIBS)

# And about transfers. What a try tells its manager it tells some of the tests.
BITS_TOLD := bits_file_know bits_file_mark bits_file_size bits_file_commit \
  bits_device_enter bits_device_leave bits_part_sync
$(BUILD)/spec/test_bits_fet% $(BUILD)/spec/test_bits_fin%: private WRAP = \
  $(patsubst %,-Wl$(comma)--wrap=%,$(BITS_TOLD))
# And file systems are as one of them says.
$(BUILD)/spec/test_bits_finish_disk: private WRAP = \
  $(patsubst %,-Wl$(comma)--wrap=%,$(BITS_TOLD) renameat2 linkat unlinkat \
    fdatasync syncfs fsync sync_file_range)
$(patsubst %,$(BUILD)/spec/test_bits_%,send s3 s3_orphan s3_servers): \
  private WRAP = \
  $(patsubst %,-Wl$(comma)--wrap=%,bits_file_mark bits_file_size \
    bits_file_upload bits_file_commit bits_keeper_orphan)
$(BUILD)/obj/spec/c/test_bits_%.o: private STATIC =
$(BUILD)/spec/test_bits_%: $(BUILD)/obj/spec/c/test_bits_%.o $(C_OBJECTS) \
    $(BITS_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) $(WRAP) -o $@ $(filter %.o,$^) -lm \
	  $(BITS_LIBS)
$(BUILD)/obj/spec/fuzz/fuzz_bits_%.o: private STATIC =
$(BUILD)/spec/fuzz_bits_%: $(BUILD)/obj/spec/fuzz/fuzz_bits_%.o $(C_OBJECTS) \
    $(BITS_OBJECTS) $(if $(FUZZING),,$(FUZZ_MAIN)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) \
	  $(LDFLAGS) -o $@ $(filter %.o,$^) -lm $(BITS_LIBS)

$(BUILD)/obj/spec/fuzz/fuzz_client_%.o: private STATIC =
$(BUILD)/spec/fuzz_client_%: $(BUILD)/obj/spec/fuzz/fuzz_client_%.o \
    $(C_OBJECTS) $(TALKER_OBJECTS) $(if $(FUZZING),,$(FUZZ_MAIN)) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) \
	  $(LDFLAGS) -o $@ $(filter %.o,$^) -lm $(foreach c,$(TALKERS),$($(c)_LIBS))

$(BUILD)/obj/spec/c/test_vds_%.o: private STATIC =
$(BUILD)/spec/test_vds_%: $(BUILD)/obj/spec/c/test_vds_%.o $(C_OBJECTS) \
    $(VDS_OBJECTS) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm \
	  $(VDS_LIBS)
$(BUILD)/obj/spec/fuzz/fuzz_vds_%.o: private STATIC =
$(BUILD)/spec/fuzz_vds_%: $(BUILD)/obj/spec/fuzz/fuzz_vds_%.o $(C_OBJECTS) \
    $(VDS_OBJECTS) $(if $(FUZZING),,$(FUZZ_MAIN)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) \
	  $(LDFLAGS) -o $@ $(filter %.o,$^) -lm $(VDS_LIBS)

# A fuzz target as a plain program.
$(BUILD)/obj/spec/fuzz/%.o: private ROOM = $(if $(FUZZING),,-DFUZZ_MAIN)
$(BUILD)/spec/fuzz_%: $(BUILD)/obj/spec/fuzz/fuzz_%.o $(C_OBJECTS) \
    $(if $(FUZZING),,$(FUZZ_MAIN)) $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(if $(FUZZING),-fsanitize=fuzzer) \
	  $(LDFLAGS) -o $@ $(filter %.o,$^) -lm

# Somebody else's Lua module: it has saros.h and nothing else of ours. (The
# prototype of a luaopen_ stands nowhere.)
$(BUILD)/spec/testmod.so: spec/c/testmod.c spec/c/system.h \
  spec/c/foreign.h csrc/saros.h Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) -Wno-missing-prototypes \
	  -Wno-missing-declarations -Icsrc -isystem $(LUA_INCDIR) $(CPPFLAGS) \
	  $(CFLAGS) -fPIC -pthread -shared -Wl,-z,nodelete $(LDFLAGS) -o $@ $<

# What valgrind needs to know of forks.
$(BUILD)/spec/heirs.so: spec/c/heirs.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) -fPIC -pthread -shared \
	  $(LDFLAGS) -o $@ $<

# A wall clock that is wrong, and who waits with a lock.
$(PRELOADED_BY_SPECS): $(BUILD)/spec/%.so: spec/c/%.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) -fPIC -shared $(LDFLAGS) \
	  -o $@ $<

# What a round trip between two threads costs before any library.
$(BUILD)/spec/floor: spec/bench/floor.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) -pthread $(LDFLAGS) -o $@ $<

# What a shadow copy costs without a library, and real file systems for it.
$(BUILD)/spec/shadow_floor: spec/bench/shadow_floor.c spec/c/volumes.h \
    spec/c/check.h Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) -Wno-unused-function $(CPPFLAGS) $(CFLAGS) \
	  -pthread $(LDFLAGS) -o $@ $<

# What downloads cost without saros, and nginx for who is compared.
$(BUILD)/spec/bits_floor: spec/bench/bits_floor.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -lcurl

# What cutting, hashing and looking up cost, form by form; and what a backup is
# made of.
REPO_BENCH = $(if $(REPO),$(addprefix $(BUILD)/spec/repo_,floor stages cheap \
  limits data))
$(BUILD)/obj/spec/bench/repo_%.o: private STATIC =
$(addprefix $(BUILD)/spec/repo_,floor stages cheap): $(BUILD)/spec/repo_%: \
    $(BUILD)/obj/spec/bench/repo_%.o $(C_OBJECTS) $(REPO_OBJECTS) \
    $(BUILD)/sources
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) -lm \
	  $(REPO_LIBS)

# What to back up, and how quickly that can be done at all: nothing of ours.
$(addprefix $(BUILD)/spec/repo_,limits data): $(BUILD)/spec/repo_%: \
    $(BUILD)/obj/spec/bench/repo_%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LDFLAGS) -o $@ $^ $(REPO_LIBS)

# Hosts. One that defines SAROS_STATIC links the archive, one that includes
# Lua links Lua (shared, so that the module finds it in the program).
LUA_LIB = -llua$(LUA_ABI)
has = $(if $(shell grep -lE '$(1)' $(2)),$(3))
$(BUILD)/examples/%: examples/%.c csrc/saros.h $(ARCHIVE) Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(STD) $(WARN) -Icsrc -isystem $(LUA_INCDIR) $(CPPFLAGS) \
	  $(CFLAGS) -pthread $(LDFLAGS) -o $@ $< \
	  $(call has,define +SAROS_STATIC,$<,$(ARCHIVE)) \
	  $(call has,include +[<"](lua|lauxlib)[.]h,$<,$(LUA_LIB))

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)


# ---------------------------------------------------------------------
# What the products promise
# ---------------------------------------------------------------------

check: check-symbols check-needed $(if $(SQLITE),check-sqlite) \
  $(TALKERS:%=check-%) \
  $(if $(REPO_MODULE),check-repository) $(if $(BITS_MODULE),check-bits) \
  $(if $(VDS_MODULE),check-vds) check-term  ## the exports and needs of what was built

# The module exports its entry and nothing else, and asks of its host only Lua;
# the archive defines saros_* and nothing else.
check-symbols: $(MODULE) $(ARCHIVE)
	@names=$$(nm -D --defined-only $(MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_core || \
	  { echo "$(MODULE) exports: $$names" >&2; exit 1; }
	@names=$$(nm -D --undefined-only $(MODULE) | \
	  awk '$$1 == "U" && $$2 !~ /@GLIBC_/ && $$2 !~ /^luaL?_/ {print $$2}'); \
	test -z "$$names" || \
	  { echo "$(MODULE) asks its host for: $$names" >&2; exit 1; }
	@names=$$(nm -g --defined-only $(ARCHIVE) | \
	  awk 'NF == 3 && $$3 !~ /^saros_/ {print $$3}'); \
	test -z "$$names" || \
	  { echo "$(ARCHIVE) defines: $$names" >&2; exit 1; }
	@echo "symbols: only luaopen_saros_core, only saros_*"

# libc alone, so that it loads in a chroot and in any host.
check-needed: $(MODULE) $(CELL) $(OVER)
	@needed=$$(readelf -d $(MODULE) | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); \
	others=$$(echo "$$needed" | grep -vxE 'libc\.so\.6|ld-linux.*' || :); \
	test -z "$$others" || \
	  { echo "$(MODULE) needs: $$others" >&2; exit 1; }; \
	for f in $(CELL) $(OVER); do \
	others=$$(readelf -d $$f | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
	  grep -vxE 'libc\.so\.6|ld-linux.*' || :); \
	test -z "$$others" || \
	  { echo "$$f needs: $$others" >&2; exit 1; }; done; \
	readelf -d $(MODULE) | grep -q NODELETE || \
	  { echo "$(MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "needed: libc alone"

# The same of a client: its library and libc, and of its host only Lua and the
# library's names.
check-sqlite: $(SQLITE_MODULE) $(SQLITE_HOLD)
	@names=$$(nm -D --defined-only $(SQLITE_MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_client_sqlite || \
	  { echo "$(SQLITE_MODULE) exports: $$names" >&2; exit 1; }
	@names=$$(nm -D --undefined-only $(SQLITE_MODULE) | awk '$$1 == "U" && \
	  $$2 !~ /@GLIBC_/ && $$2 !~ /^(luaL?|sqlite3)_/ {print $$2}'); \
	test -z "$$names" || \
	  { echo "$(SQLITE_MODULE) asks its host for: $$names" >&2; exit 1; }
	@for f in $^; do \
	  others=$$(readelf -d $$f | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
	    grep -vxE 'libc\.so\.6|ld-linux.*|libsqlite3\.so\.0' || :); \
	  test -z "$$others" || { echo "$$f needs: $$others" >&2; exit 1; }; done; \
	readelf -d $(SQLITE_MODULE) | grep -q NODELETE || \
	  { echo "$(SQLITE_MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.client.sqlite: only luaopen_…, libc and libsqlite3 alone"

# Of those that talk.
postgres_NEEDS = |libpq\.so\.5
postgres_ASKS = |PQ[a-zA-Z]+
mariadb_NEEDS = |libmariadb\.so\.3
mariadb_ASKS = |(mysql|mariadb)_[a-z_]+
$(TALKERS:%=check-%): check-%: $(BUILD)/saros/client/%.so
	@names=$$(nm -D --defined-only $< | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_client_$* || \
	  { echo "$< exports: $$names" >&2; exit 1; }
	@names=$$(nm -D --undefined-only $< | awk '$$1 == "U" && \
	  $$2 !~ /@GLIBC_/ {sub(/@.*/, "", $$2); print $$2}' | \
	  grep -vxE 'luaL?_.*$($*_ASKS)' || :); \
	test -z "$$names" || { echo "$< asks its host for: $$names" >&2; exit 1; }
	@others=$$(readelf -d $< | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
	    grep -vxE 'libc\.so\.6|ld-linux.*$($*_NEEDS)' || :); \
	test -z "$$others" || { echo "$< needs: $$others" >&2; exit 1; }; \
	readelf -d $< | grep -q NODELETE || \
	  { echo "$< is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.client.$*: only luaopen_…, libc$(if $($*_LIBS), \
	  and$($*_LIBS:-l%= lib%)) alone"

# And of the repository.
check-repository: $(REPO_MODULE)
	@names=$$(nm -D --defined-only $(REPO_MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_repository_core || \
	  { echo "$(REPO_MODULE) exports: $$names" >&2; exit 1; }
	@needed=$$(readelf -d $(REPO_MODULE) | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); \
	others=$$(echo "$$needed" | grep -vxE \
	  'libc\.so\.6|ld-linux.*|lib(crypto|zstd|curl)\.so\.[0-9]+' || :); \
	test -z "$$others" || \
	  { echo "$(REPO_MODULE) needs: $$others" >&2; exit 1; }; \
	readelf -d $(REPO_MODULE) | grep -q NODELETE || \
	  { echo "$(REPO_MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.repository: only luaopen_…; libc, libcrypto, libzstd, libcurl"

# And of transfers.
check-bits: $(BITS_MODULE)
	@names=$$(nm -D --defined-only $(BITS_MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_bits_core || \
	  { echo "$(BITS_MODULE) exports: $$names" >&2; exit 1; }
	@needed=$$(readelf -d $(BITS_MODULE) | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); \
	others=$$(echo "$$needed" | grep -vxE \
	  'libc\.so\.6|ld-linux.*|lib(crypto|sqlite3|curl)\.so\.[0-9]+' || :); \
	test -z "$$others" || \
	  { echo "$(BITS_MODULE) needs: $$others" >&2; exit 1; }; \
	readelf -d $(BITS_MODULE) | grep -q NODELETE || \
	  { echo "$(BITS_MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.bits: only luaopen_…; libc, libcrypto, libsqlite3, libcurl"

# And of disks.
check-vds: $(VDS_MODULE)
	@names=$$(nm -D --defined-only $(VDS_MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_vds_core || \
	  { echo "$(VDS_MODULE) exports: $$names" >&2; exit 1; }
	@needed=$$(readelf -d $(VDS_MODULE) | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); \
	others=$$(echo "$$needed" | grep -vxE \
	  'libc\.so\.6|ld-linux.*|lib(fdisk|blkid|mount)\.so\.[0-9]+' || :); \
	test -z "$$others" || \
	  { echo "$(VDS_MODULE) needs: $$others" >&2; exit 1; }; \
	readelf -d $(VDS_MODULE) | grep -q NODELETE || \
	  { echo "$(VDS_MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.vds: only luaopen_…; libc, libfdisk, libblkid, libmount"

# And of the terminal.
check-term: $(TERM_MODULE)
	@names=$$(nm -D --defined-only $(TERM_MODULE) | awk '{print $$3}'); \
	test "$$names" = luaopen_saros_term || \
	  { echo "$(TERM_MODULE) exports: $$names" >&2; exit 1; }
	@others=$$(readelf -d $(TERM_MODULE) | \
	  sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | \
	  grep -vxE 'libc\.so\.6|ld-linux.*' || :); \
	test -z "$$others" || \
	  { echo "$(TERM_MODULE) needs: $$others" >&2; exit 1; }; \
	readelf -d $(TERM_MODULE) | grep -q NODELETE || \
	  { echo "$(TERM_MODULE) is not linked with -z nodelete" >&2; exit 1; }
	@echo "saros.term: only luaopen_…, libc alone"


# ---------------------------------------------------------------------
# Tests
# ---------------------------------------------------------------------

RUN = LUA='$(LUA)' V='$(V)' ONLY='$(ONLY)' spec/run -j $(if $(V),1,$(JOBS))

test:  ## install what the tests need, build, run every suite
	@spec/deps build test -- lint tsan fuzz valgrind analyse rock
	@$(MAKE) try

test-long: export SAROS_LONG = 1
test-long: deps-vm test  ## the same with long storms and a guest (SAROS_LONG=1)
deps-vm:
	@spec/deps build -- vm

test-build:  ## only build what the tests run, with -DSAROS_TEST
	@$(MAKE) BUILD=$(BUILD)/test TEST=1 all programs

try:  ## the same without a look at packages: make try ONLY="timer json"
	@$(MAKE) all extras check
	@$(MAKE) test-build
	@$(RUN) -b $(BUILD) -p $(BUILD)/test c fuzz lua examples

SANITIZED = -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all

# gcc, because its runtime is a library of its own that an uninstrumented
# lua5.4 can preload.
asan:  ## all suites under AddressSanitizer and UBSan; PART=1/2: half
	@spec/deps build test
	@$(MAKE) BUILD=$(BUILD)/asan TEST=1 CC=gcc \
	  CFLAGS='$(SANITIZED) -fsanitize=address,undefined' all programs extras
	@PART=$(PART) UBSAN_OPTIONS=print_stacktrace=1 SAROS_SANITIZER=address $(RUN) \
	  -b $(BUILD)/asan -t 3 -l "$$(gcc -print-file-name=libasan.so)" c fuzz lua

# clang's runtime knows C11 fences and atomics best. setarch -R: a kernel with
# much address randomisation puts mappings where the runtime keeps its shadow.
tsan:  ## the C suites under ThreadSanitizer; PART=1/2: half of them
	@spec/deps build tsan
	@$(MAKE) BUILD=$(BUILD)/tsan TEST=1 CC=clang \
	  CFLAGS='$(SANITIZED) -fsanitize=thread' c-programs
	@PART=$(PART) TSAN_OPTIONS='second_deadlock_stack=1 die_after_fork=0 report_thread_leaks=0' \
	  SAROS_SANITIZER=thread $(RUN) -b $(BUILD)/tsan -t 5 \
	  -w "setarch $$(uname -m) -R" c

# It is slow: of the Lua suites it runs those that ask for it, with a line that
# begins "-- also under valgrind".
VALGRIND_LUA = $(shell grep -rl --include='*_spec.lua' \
  '^-- also under valgrind' spec | LC_ALL=C sort)
VALGRIND = LD_PRELOAD=$(abspath $(BUILD))/spec/heirs.so \
  valgrind -q --error-exitcode=99 --leak-check=full \
  --errors-for-leak-kinds=definite --child-silent-after-fork=yes \
  --suppressions=spec/valgrind.supp
valgrind:  ## C suites and some Lua ones under valgrind, quick; PART=1/2: half
	@spec/deps build test valgrind
	@$(MAKE) all extras test-build $(BUILD)/spec/heirs.so
	@PART=$(PART) SAROS_QUICK=1 SAROS_SANITIZER=valgrind $(RUN) -b $(BUILD) \
	  -p $(BUILD)/test -t 2 -w '$(VALGRIND)' c $(VALGRIND_LUA)

# Every target for FUZZ_SECONDS, from FUZZ_SEED (0: another one each time).
# What it learns goes to $(BUILD)/fuzz/corpus;
# `make fuzz-keep` takes from there what reaches new code into spec/fuzz/corpus.
FUZZ_BUILD = $(MAKE) BUILD=$(BUILD)/fuzz TEST=1 FUZZING=1 CC=clang \
  CFLAGS='$(SANITIZED) -fsanitize=fuzzer-no-link,address,undefined' fuzz-programs
fuzz:  ## the fuzz targets, FUZZ_SECONDS (60) each
	@spec/deps build fuzz
	+@$(FUZZ_BUILD)
	@spec/fuzz/run -b $(BUILD)/fuzz -s $(FUZZ_SECONDS) -r $(FUZZ_SEED) $(ONLY)
fuzz-keep:  ## keep what fuzzing found worth keeping
	+@$(FUZZ_BUILD)
	@spec/fuzz/run -b $(BUILD)/fuzz -k $(ONLY)


# ---------------------------------------------------------------------
# Tools
# ---------------------------------------------------------------------

lint:  ## clang-format and luacheck, and whether the rockspec still holds
	@spec/deps lint
	@clang-format --dry-run -Werror $(C_FORMATTED) || \
	  { echo "lint: make format mends that" >&2; exit 1; }
	@$(if $(LUA_FILES),luacheck -q lua spec examples *.rockspec,:)
	@$(LUA) spec/rock.lua
	@echo "lint: clean"

format:  ## let clang-format have its way
	@clang-format -i $(C_FORMATTED)

# (cppcheck believes of every call through a pointer, and a store is a table of
# them, that it returns what its arguments point to.)
# Slow and opinionated, therefore apart from lint. What they look for is in
# .clang-tidy; a finding that is wrong is silenced where it is, with a reason.
ANALYSED = $(STD) $(HOUSE) -DSAROS_TEST -isystem $(LUA_INCDIR)
CPPCHECK = cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr -Icsrc \
  --enable=warning,performance,portability -D_GNU_SOURCE
# (An error that a function returns by a pointer to it is taken for a pointer to
# what it was given.)
# To look at all files takes longer than all of the suites: see PART.
part = $(shell printf '%s\n' $(1) | \
  awk -v p=$(PART) '{split(p, of, "/")} NR % of[2] == of[1] % of[2]')
TIDY = clang-tidy --quiet --warnings-as-errors='*'
analyse:  ## cppcheck and clang-tidy
	@spec/deps lint analyse
	@$(CPPCHECK) -DSAROS_STATIC $(C_SOURCES) $(LUA_C_SOURCES) $(CELL_SOURCES) \
	  $(OVER_SOURCES)
	@$(if $(CLIENT_SOURCES),$(CPPCHECK) $(CLIENT_SOURCES) $(CLIENT_LUA_SOURCES))
	@$(CPPCHECK) $(TERM_SOURCES) $(TERM_LUA_SOURCES)
	@$(if $(REPO),$(CPPCHECK) --suppress=returnDanglingLifetime \
	  $(REPO_SOURCES) $(REPO_LUA_SOURCES))
	@$(TIDY) $(call part,$(C_SOURCES) $(LUA_C_SOURCES) $(CELL_SOURCES) \
	  $(OVER_SOURCES)) \
	  -- $(ANALYSED)
	@$(if $(BITS),$(CPPCHECK) --suppress=returnDanglingLifetime \
	  $(BITS_OWN_SOURCES) $(BITS_LUA_SOURCES))
	@$(if $(VDS),$(CPPCHECK) --suppress=returnDanglingLifetime \
	  $(VDS_SOURCES) $(VDS_LUA_SOURCES))
	@$(if $(CLIENT_SOURCES)$(REPO),$(TIDY) $(call part, \
	  $(CLIENT_SOURCES) $(CLIENT_LUA_SOURCES) \
	  $(if $(BITS),$(BITS_OWN_SOURCES) $(BITS_LUA_SOURCES)) \
	  $(if $(VDS),$(VDS_SOURCES) $(VDS_LUA_SOURCES)) \
	  $(TERM_SOURCES) $(TERM_LUA_SOURCES) \
	  $(if $(REPO),$(REPO_SOURCES) $(REPO_LUA_SOURCES))) -- \
	  $(filter-out $(STATIC),$(ANALYSED)) $(TALKER_FLAGS))
	@echo "analyse: $(if $(filter 1/1,$(PART)),clean,part $(PART) is clean)"

docs:  ## the reference, as one page: build/docs/index.html
	@$(MAKE) module
	@LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/?.so;;' \
	  $(LUA) spec/docs.lua -o $(BUILD)/docs/index.html lua/saros

BENCH = LUA_PATH='lua/?.lua;lua/?/init.lua;;' \
  LUA_CPATH='$(BUILD)/?.so;$(BUILD)/spec/?.so;;'
bench:  ## compare with peers; the figures are ratios, and gate nothing
	@spec/deps build -- bench
	@$(MAKE) all extras $(BUILD)/spec/floor $(BUILD)/spec/shadow_floor \
	  $(REPO_BENCH) $(if $(BITS_MODULE),$(BUILD)/spec/bits_floor)
	@$(BENCH) SAROS_FLOOR='$(BUILD)/spec/floor' $(LUA) spec/bench/run.lua $(ROUNDS)
	@$(BENCH) SAROS_FLOOR='$(BUILD)/spec/shadow_floor' \
	  $(BUILD)/spec/shadow_floor volumes $(LUA) spec/bench/shadow.lua $(ROUNDS)
	@SAROS_BUILD='$(BUILD)' $(BENCH) $(LUA) spec/bench/databases.lua $(ROUNDS)
	@SAROS_BUILD='$(abspath $(BUILD))' $(BENCH) $(LUA) spec/bench/cli.lua $(ROUNDS)
	@$(if $(REPO),$(BUILD)/spec/repo_floor $(ROUNDS))
	@$(if $(REPO),$(BENCH) SAROS_BENCH_PROGRAMS='$(BUILD)/spec' \
	  $(BUILD)/spec/repo_limits scratch $(firstword $(wildcard /dev/shm) /tmp) \
	  $(LUA) spec/bench/repository.lua $(ROUNDS))
	@$(if $(VDS_MODULE),$(BENCH) $(LUA) spec/bench/vds.lua $(ROUNDS))
	@$(if $(VDS_MODULE),$(BENCH) $(LUA) spec/bench/vds_work.lua $(ROUNDS))
	@$(if $(VDS_MODULE),$(BENCH) $(LUA) spec/bench/vds_format.lua $(ROUNDS))
	@$(if $(BITS_MODULE),$(BENCH) SAROS_BENCH_PROGRAMS='$(BUILD)/spec' \
	  $(BUILD)/spec/bits_floor scratch $(firstword $(wildcard /dev/shm) /tmp) \
	  $(LUA) spec/bench/bits.lua $(ROUNDS))

demo:  ## install what it needs, build, and show a backup from end to end
	@spec/deps build demo
	@$(MAKE) module
	@SAROS_BUILD='$(abspath $(BUILD))' LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/?.so;;' \
	  $(LUA) examples/demo.lua

deps:  ## install whatever is missing for any target here
	@spec/deps build test tsan fuzz valgrind lint analyse rock


# ---------------------------------------------------------------------
# Installing
# ---------------------------------------------------------------------

install: install-lua  ## to PREFIX (/usr/local), below DESTDIR if that is set
	@$(MAKE) $(ARCHIVE)
	@mkdir -p $(DESTDIR)$(BINDIR)
	$(call program,$(LUADIR),$(LIBDIR)) >$(DESTDIR)$(BINDIR)/saros
	chmod 755 $(DESTDIR)$(BINDIR)/saros
	$(INSTALL) -D -m 644 $(BUILD)/doc/saros.1 $(DESTDIR)$(MANDIR)/saros.1
	$(INSTALL) -D -m 644 $(BUILD)/doc/saros.bash $(DESTDIR)$(BASHDIR)/saros
	$(INSTALL) -D -m 644 $(BUILD)/doc/saros.zsh $(DESTDIR)$(ZSHDIR)/_saros
	$(INSTALL) -D -m 644 $(BUILD)/doc/saros.fish $(DESTDIR)$(FISHDIR)/saros.fish
	$(INSTALL) -D -m 644 csrc/saros.h $(DESTDIR)$(INCDIR)/saros.h
	$(INSTALL) -D -m 644 $(ARCHIVE) $(DESTDIR)$(ARCDIR)/libsaros.a

# What LuaRocks wants of it: no C host, no header.
install-lua: module
	$(INSTALL) -D -m 755 $(MODULE) $(DESTDIR)$(LIBDIR)/saros/core.so
	$(INSTALL) -D -m 755 $(CELL) $(DESTDIR)$(LIBDIR)/saros/cell
	$(INSTALL) -D -m 755 $(TERM_MODULE) $(DESTDIR)$(LIBDIR)/saros/term.so
	$(INSTALL) -D -m 755 $(OVER) $(DESTDIR)$(LIBDIR)/saros/over
	$(Q)$(foreach f,$(CLIENTS),$(INSTALL) -D -m 755 $(f) \
	  $(DESTDIR)$(LIBDIR)/saros/client/$(notdir $(f)) &&) :
	$(Q)$(foreach f,$(REPO_MODULE),$(INSTALL) -D -m 755 $(f) \
	  $(DESTDIR)$(LIBDIR)/saros/repository/$(notdir $(f)) &&) :
	$(Q)$(foreach f,$(BITS_MODULE),$(INSTALL) -D -m 755 $(f) \
	  $(DESTDIR)$(LIBDIR)/saros/bits/$(notdir $(f)) &&) :
	$(Q)$(foreach f,$(VDS_MODULE),$(INSTALL) -D -m 755 $(f) \
	  $(DESTDIR)$(LIBDIR)/saros/vds/$(notdir $(f)) &&) :
	$(Q)$(foreach f,$(LUA_FILES),$(INSTALL) -D -m 644 $(f) \
	  $(DESTDIR)$(LUADIR)/$(f:lua/%=%) &&) :

# Our own folders go when they are empty; what somebody else put there stays.
uninstall:  ## take away exactly what `make install` put there
	rm -f $(DESTDIR)$(INCDIR)/saros.h $(DESTDIR)$(ARCDIR)/libsaros.a \
	  $(DESTDIR)$(BINDIR)/saros $(DESTDIR)$(MANDIR)/saros.1 \
	  $(DESTDIR)$(BASHDIR)/saros $(DESTDIR)$(LIBDIR)/saros/term.so \
	  $(DESTDIR)$(ZSHDIR)/_saros $(DESTDIR)$(FISHDIR)/saros.fish \
	  $(DESTDIR)$(LIBDIR)/saros/core.so $(DESTDIR)$(LIBDIR)/saros/cell \
	  $(DESTDIR)$(LIBDIR)/saros/over \
	  $(patsubst %,$(DESTDIR)$(LIBDIR)/saros/client/%,sqlite.so sqlite-hold \
	    postgres.so mariadb.so redis.so) \
	  $(DESTDIR)$(LIBDIR)/saros/repository/core.so \
	  $(DESTDIR)$(LIBDIR)/saros/bits/core.so \
	  $(DESTDIR)$(LIBDIR)/saros/vds/core.so \
	  $(DESTDIR)$(LIBDIR)/saros/repository/core.so \
	  $(DESTDIR)$(LIBDIR)/saros/bits/core.so \
	  $(LUA_FILES:lua/%=$(DESTDIR)$(LUADIR)/%)
	@for d in $(DESTDIR)$(LIBDIR)/saros $(DESTDIR)$(LUADIR)/saros; do \
	  test ! -d $$d || find $$d -depth -type d -empty -delete; done

clean:  ## remove everything that was built
	rm -rf $(BUILD)

help:  ## this list
	@awk -F ':.*##  *' '/^[a-z-]+:.*## / \
	  { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

FORCE:
.PHONY: all module programs c-programs fuzz-programs extras check check-symbols check-needed check-sqlite $(TALKERS:%=check-%) check-repository check-bits check-vds check-term test test-long deps-vm \
  test-build try asan tsan valgrind fuzz fuzz-keep lint format analyse docs \
  bench demo deps install install-lua uninstall clean help FORCE
# An object is kept although only a rule in between made it.
.SECONDARY:
.DELETE_ON_ERROR:
.DEFAULT_GOAL = all
