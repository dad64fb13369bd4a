/*
** What Lua has not got and every part of the workflow needs: JSON, exactly,
** identities that are nobody else's, clocks, where things are kept, messages to
** sockets.
*/
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/path.h"
#include "lua/handle.h"
#include "op/datagram.h"
#include "op/engine.h"
#include "vss/bytes.h"
#include "vss/record.h"

/* json_read(text) --> value, or nil and an error. A null is left out. */
static int json_read_function(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  error *e = NULL;
  value *v = json_read(text, size, NULL, &e);
  if (v == NULL) {
    luaL_pushfail(L);
    failure_push(L, e, 0);
    return 2;
  }
  convert_push_plain_and_free(L, bytes_in(v));
  return 1;
}

/* json_write(value [, indented]) --> text. What is no UTF-8 goes beside its
   text as base64, and json_read joins the two. */
static int json_write_function(lua_State *L) {
  luaL_checkany(L, 1);
  json_style style = lua_toboolean(L, 2) ? JSON_INDENTED : JSON_COMPACT;
  value *v = convert_take(L, 1, "json_write");
  buffer text = BUFFER_EMPTY;
  bool deep = false;
  const value *outside = bytes_out(v, &deep);
  if (outside != NULL)
    json_write(&text, outside, style);
  else
    text.failed = true;
  if (outside != v) value_free((value *)(uintptr_t)outside);
  value_free(v);
  if (deep) {
    buffer_free(&text);
    return luaL_error(L, "json_write is nested too deeply");
  }
  convert_push_and_free_buffer(L, &text);
  return 1;
}

/* guid() --> a new one */
static int guid_function(lua_State *L) {
  guid g;
  char text[GUID_TEXT];
  if (!guid_make(&g)) return luaL_error(L, "the kernel has no random bytes");
  guid_format(&g, text);
  lua_pushstring(L, text);
  return 1;
}

/* datagram(path, text [, large]) --> true, or nil and an error. */
static int datagram_function(lua_State *L) {
  size_t size;
  const char *path = luaL_checkstring(L, 1);
  const char *text = luaL_checklstring(L, 2, &size);
  int r = datagram_send(path, text, size, lua_toboolean(L, 3));
  if (r != 0) {
    luaL_pushfail(L);
    failure_push(L,
                 error_of_errno(SAROS_FACADE_SAROS, r,
                                "nobody took a message to this socket", path),
                 0);
    return 2;
  }
  lua_pushboolean(L, true);
  return 1;
}

/* is_operation(value): of any facade, open. */
static int is_operation_function(lua_State *L) {
  lua_pushboolean(L, handle_test(L, 1) != NULL);
  return 1;
}

/* is_failure(value): an error object, as a failed operation has one. */
static int is_failure_function(lua_State *L) {
  lua_pushboolean(L, failure_is(L, 1));
  return 1;
}

static double seconds_of(clockid_t clock) {
  struct timespec t = {0};
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* clocks() --> seconds since 1970, and on the clock that nobody sets (which is
   the engine's, and that of a set's times) */
static int clocks_function(lua_State *L) {
  lua_pushnumber(L, seconds_of(CLOCK_REALTIME));
  lua_pushnumber(L, (lua_Number)engine_clock() / 1e9);
  return 2;
}

/* owner() --> a table that names this process, also after its end */
static int owner_function(lua_State *L) {
  value *map = value_map();
  if (map != NULL && !owner_put(map)) {
    value_free(map);
    map = NULL;
  }
  convert_push_plain_and_free(L, map);
  lua_getfield(L, -1, "owner");
  return 1;
}

/* owner_lives(owner): also true when that cannot be told */
static int owner_lives_function(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_createtable(L, 0, 1);
  lua_insert(L, 1);
  lua_setfield(L, 1, "owner");
  value *map = convert_take(L, 1, "owner_lives");
  bool lives = owner_is_alive(map);
  value_free(map);
  lua_pushboolean(L, lives);
  return 1;
}

/* directory("state" or "run", base or nil, make or nil) --> its path; made, and
   nobody else's to write to; or raises why not. Nil: it is not there, and was
   not to be made (false) */
static int directory_function(lua_State *L) {
  static const char *const kinds[] = {"state", "run", NULL};
  int kind = luaL_checkoption(L, 1, NULL, kinds);
  const char *base = luaL_optstring(L, 2, NULL);
  error *e = NULL;
  bool look = lua_isboolean(L, 3) && !lua_toboolean(L, 3);
  char *path = (look ? path_directory_there : path_directory)(
      kind == 0 ? PATH_STATE : PATH_RUNTIME, base, &e);
  if (path == NULL && e == NULL) return 0;
  if (path == NULL) {
    failure_push(L, e, 0);
    return lua_error(L);
  }
  buffer text = BUFFER_EMPTY;
  buffer_text(&text, path);
  mem_free(path);
  convert_push_and_free_buffer(L, &text);
  return 1;
}

static int close_file(lua_State *L) {
  luaL_Stream *file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  return luaL_fileresult(L, fclose(file->f) == 0, NULL);
}

/* A closed file of Lua's on the stack, until there is one. */
static luaL_Stream *new_file(lua_State *L) {
  luaL_Stream *file = lua_newuserdatauv(L, sizeof *file, 0);
  file->closef = NULL;
  luaL_setmetatable(L, LUA_FILEHANDLE);
  return file;
}

static int put_file(lua_State *L, luaL_Stream *file, int fd, const char *path) {
  file->f = fdopen(fd, "a");
  if (file->f == NULL) {
    int number = errno;
    close(fd);
    errno = number;
    return luaL_fileresult(L, 0, path);
  }
  file->closef = close_file;
  return 1;
}

/* private_file(path) --> a file of Lua's that was not there, for its owner
   alone: what is written goes to its end, and no child inherits it; or nil, a
   text and errno, as io.open has them */
static int private_file_function(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_Stream *file = new_file(L);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return luaL_fileresult(L, 0, path);
  return put_file(L, file, fd, path);
}

/* claimed_file(path) --> a file of Lua's that nobody else can claim until it is
   closed, or its process has ended, however that was; it stays. Or nil, a text
   and errno: that is EWOULDBLOCK (11) when somebody has it */
static int claimed_file_function(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  luaL_Stream *file = new_file(L);
  int fd =
      open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return luaL_fileresult(L, 0, path);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    int number = errno;
    close(fd);
    errno = number;
    return luaL_fileresult(L, 0, path);
  }
  return put_file(L, file, fd, path);
}

const luaL_Reg plain_functions[] = {{"json_read", json_read_function},
                                    {"json_write", json_write_function},
                                    {"guid", guid_function},
                                    {"datagram", datagram_function},
                                    {"is_operation", is_operation_function},
                                    {"is_failure", is_failure_function},
                                    {"clocks", clocks_function},
                                    {"owner", owner_function},
                                    {"owner_lives", owner_lives_function},
                                    {"directory", directory_function},
                                    {"private_file", private_file_function},
                                    {"claimed_file", claimed_file_function},
                                    {NULL, NULL}};
