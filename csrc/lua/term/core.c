/*
** saros.term as Lua sees it: for the command line alone.
*/
#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/term/interrupt.h"
#include "lua/term/limit.h"
#include "lua/term/warn.h"
#include "term/term.h"

/* nil, message, errno */
static int failed(lua_State *L, int why) {
  luaL_pushfail(L);
  lua_pushstring(L, strerror(why));
  lua_pushinteger(L, why);
  return 3;
}

static int fd_at(lua_State *L, int index) {
  lua_Integer fd = luaL_checkinteger(L, index);
  luaL_argcheck(L, fd >= -1 && fd <= INT_MAX, index, "a descriptor expected");
  return (int)fd;
}

/* isatty(fd) */
static int isatty_function(lua_State *L) {
  lua_pushboolean(L, isatty(fd_at(L, 1)));
  return 1;
}

/* is_pipe(fd): whether a program reads what is written there */
static int is_pipe_function(lua_State *L) {
  struct stat s;
  lua_pushboolean(L, fstat(fd_at(L, 1), &s) == 0 &&
                         (S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode)));
  return 1;
}

/* size(fd) --> columns, rows; nil when it has none */
static int size_function(lua_State *L) {
  int columns, rows;
  if (!term_size(fd_at(L, 1), &columns, &rows)) return 0;
  lua_pushinteger(L, columns);
  lua_pushinteger(L, rows);
  return 2;
}

/* signals(): they are told by wait from now on. */
static int signals_function(lua_State *L) {
  int why = term_take_signals();
  if (why != 0) return failed(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

/* suspend(): the program stops, until somebody goes on with it. */
static int suspend_function(lua_State *L) {
  (void)L;
  term_suspend();
  return 0;
}

/* is_ours(fd): whether we run in the foreground of a terminal */
static int is_ours_function(lua_State *L) {
  lua_pushboolean(L, term_is_ours(fd_at(L, 1)));
  return 1;
}

static const char *name_of(int number) {
  switch (number) {
    case SIGINT: return "INT";
    case SIGTERM: return "TERM";
    case SIGHUP: return "HUP";
    case SIGTSTP: return "TSTP";
    default: return "WINCH";
  }
}

/* wait(fd or -1, seconds or nil, input) --> "ready", "input", "time", or a
   signal's name */
static int wait_function(lua_State *L) {
  int number = 0;
  lua_Number seconds = luaL_optnumber(L, 2, -1);
  int ms = seconds < 0 ? -1 : seconds > 1e6 ? 1000000000 : (int)(seconds * 1e3);
  int input = lua_isnoneornil(L, 3) ? -1 : fd_at(L, 3);
  switch (term_wait(fd_at(L, 1), input, ms, &number)) {
    case TERM_SIGNAL: lua_pushstring(L, name_of(number)); break;
    case TERM_READY: lua_pushliteral(L, "ready"); break;
    case TERM_INPUT: lua_pushliteral(L, "input"); break;
    default: lua_pushliteral(L, "time"); break;
  }
  return 1;
}

/* columns(text) --> how many it takes */
static int columns_function(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  lua_pushinteger(L, (lua_Integer)term_columns(text, size));
  return 1;
}

/* fit(text, columns) --> the beginning of it that takes no more */
static int fit_function(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  lua_Integer columns = luaL_checkinteger(L, 2);
  lua_pushlstring(L, text,
                  term_fit(text, size, columns > 0 ? (size_t)columns : 0));
  return 1;
}

/* write(fd, text) --> true, or nil, message, errno */
static int write_function(lua_State *L) {
  size_t size;
  int fd = fd_at(L, 1);
  const char *text = luaL_checklstring(L, 2, &size);
  int why = term_write(fd, text, size);
  if (why != 0) return failed(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

/* keys(fd, on) --> true, or nil, message, errno */
static int keys_function(lua_State *L) {
  int why = term_keys(fd_at(L, 1), lua_toboolean(L, 2));
  if (why != 0) return failed(L, why);
  lua_pushboolean(L, 1);
  return 1;
}

/* read(fd) --> what there is, "" at the end; or nil, message, errno */
static int read_function(lua_State *L) {
  char bytes[4096];
  ssize_t n = read(fd_at(L, 1), bytes, sizeof bytes);
  if (n < 0) return failed(L, errno);
  lua_pushlstring(L, bytes, (size_t)n);
  return 1;
}

/* list(path) --> the names in a directory, those of directories with a / at
   their end; nil, message, errno */
static int list_function(lua_State *L) {
  DIR *dir = opendir(luaL_checkstring(L, 1));
  struct dirent *e;
  lua_Integer n = 0;
  if (dir == NULL) return failed(L, errno);
  lua_newtable(L);
  while ((e = readdir(dir)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    bool is = e->d_type == DT_DIR;
    struct stat s;
    if (e->d_type == DT_LNK || e->d_type == DT_UNKNOWN)
      is = fstatat(dirfd(dir), e->d_name, &s, 0) == 0 && S_ISDIR(s.st_mode);
    lua_pushfstring(L, "%s%s", e->d_name, is ? "/" : "");
    lua_rawseti(L, -2, ++n);
  }
  closedir(dir);
  return 1;
}

/* ask(question, hidden) --> line, or nil, message, errno */
static int ask_function(lua_State *L) {
  char line[4096];
  const char *question = luaL_checkstring(L, 1);
  int why = term_ask(question, lua_toboolean(L, 2), line, sizeof line);
  if (why != 0) return failed(L, why);
  lua_pushstring(L, line);
  explicit_bzero(line, sizeof line);
  return 1;
}

__attribute__((visibility("default"))) int luaopen_saros_term(lua_State *L);

int luaopen_saros_term(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"isatty", isatty_function},   {"is_pipe", is_pipe_function},
      {"size", size_function},       {"signals", signals_function},
      {"wait", wait_function},       {"suspend", suspend_function},
      {"is_ours", is_ours_function}, {"columns", columns_function},
      {"fit", fit_function},         {"write", write_function},
      {"ask", ask_function},         {"limited", limited_function},
      {"keys", keys_function},       {"read", read_function},
      {"list", list_function},       {"interruptible", interruptible_function},
      {"warned", warned_function},   {NULL, NULL}};
  luaL_checkversion(L);
  luaL_newlib(L, functions);
  lua_pushinteger(L, EPIPE);
  lua_setfield(L, -2, "EPIPE");
  lua_pushinteger(L, EINTR);
  lua_setfield(L, -2, "EINTR");
  return 1;
}
