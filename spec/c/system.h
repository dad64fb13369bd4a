/*
** What specs ask of the system: processes, terminals, sockets. Every wait has
** a limit, so that a spec fails where it would hang. Part of testmod.
*/
#ifndef SAROS_SPEC_SYSTEM_H
#define SAROS_SPEC_SYSTEM_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int system_failed(lua_State *L, const char *what) {
  return luaL_error(L, "%s: %s", what, strerror(errno));
}

/* The list at index 1 as an argument vector; Lua keeps it. */
static char **system_argv(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = luaL_len(L, 1);
  char **argv = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *argv, 0);
  for (lua_Integer i = 0; i < n; i++) {
    lua_geti(L, 1, i + 1);
    argv[i] = (char *)(uintptr_t)luaL_checkstring(L, -1);
    lua_pop(L, 1); /* the list keeps it */
  }
  argv[n] = NULL;
  return argv;
}

static _Noreturn void system_exec(char **argv) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  alarm(0);
  execvp(argv[0], argv);
  _exit(127);
}

/* spawn{ argv… } --> pid, fd of both its outputs. In a group of its own. */
static int system_spawn(lua_State *L) {
  char **argv = system_argv(L);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return system_failed(L, "pipe");
  pid_t pid = fork();
  if (pid < 0) return system_failed(L, "fork");
  if (pid == 0) {
    int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    dup2(null, 0);
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    system_exec(argv);
  }
  setpgid(pid, pid); /* whoever comes first */
  close(ends[1]);
  lua_pushinteger(L, pid);
  lua_pushinteger(L, ends[0]);
  return 2;
}

/* terminal{ argv… } --> pid, fd of the terminal's other side. */
static int system_terminal(lua_State *L) {
  char **argv = system_argv(L);
  struct winsize size = {.ws_row = 40, .ws_col = 200};
  int fd;
  pid_t pid = forkpty(&fd, NULL, NULL, &size);
  if (pid < 0) return system_failed(L, "forkpty");
  if (pid == 0) system_exec(argv);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  lua_pushinteger(L, pid);
  lua_pushinteger(L, fd);
  return 2;
}

/* read(fd, ms) --> bytes, "" at the end; nil when there was nothing. */
static int system_read(lua_State *L) {
  char bytes[4096];
  struct pollfd ask = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
  int r;
  do {
    r = poll(&ask, 1, (int)luaL_checkinteger(L, 2));
  } while (r < 0 && errno == EINTR);
  if (r <= 0) return 0;
  ssize_t n = read(ask.fd, bytes, sizeof bytes);
  lua_pushlstring(L, bytes, n > 0 ? (size_t)n : 0); /* EIO: no terminal left */
  return 1;
}

static int system_write(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 2, &size);
  ssize_t n = write((int)luaL_checkinteger(L, 1), text, size);
  lua_pushboolean(L, n == (ssize_t)size);
  return 1;
}

static int system_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

/* wait(pid, ms) --> "exit" or "signal", number; nil when it still runs. It
   looks now and then: valgrind knows no pidfd. */
static int system_wait(lua_State *L) {
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  lua_Integer ms = luaL_checkinteger(L, 2);
  int status = 0;
  pid_t r;
  while ((r = waitpid(pid, &status, WNOHANG)) == 0 && ms-- > 0) usleep(1000);
  if (r == 0) return 0;
  if (r != pid) return system_failed(L, "waitpid");
  bool signalled = WIFSIGNALED(status);
  lua_pushstring(L, signalled ? "signal" : "exit");
  lua_pushinteger(L, signalled ? WTERMSIG(status) : WEXITSTATUS(status));
  return 2;
}

static int system_kill(lua_State *L) {
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  if (pid == 0 || pid == -1) return luaL_error(L, "not that one");
  lua_pushboolean(L, kill(pid, (int)luaL_checkinteger(L, 2)) == 0);
  return 1;
}

/* fork() --> pid, or 0 in the child, which does not keep the deadline. */
static int system_fork(lua_State *L) {
  pid_t pid = fork();
  if (pid < 0) return system_failed(L, "fork");
  lua_pushinteger(L, pid);
  return 1;
}

/* exit(code): at once, past everything. */
static int system_exit(lua_State *L) {
  _exit((int)luaL_checkinteger(L, 1));
}

static int system_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

/* adopt(): what our children leave behind becomes ours, and is seen. */
static int system_adopt(lua_State *L) {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return system_failed(L, "prctl");
  return 0;
}

/* pipe() --> fd to read, fd to write */
static int system_pipe(lua_State *L) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return system_failed(L, "pipe");
  lua_pushinteger(L, ends[0]);
  lua_pushinteger(L, ends[1]);
  return 2;
}

/* talk(path, text) --> what the server at that socket answers until it closes;
   nil and the reason. */
static int system_talk(lua_State *L) {
  size_t size;
  const char *path = luaL_checkstring(L, 1);
  const char *text = luaL_checklstring(L, 2, &size);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  struct timeval limit = {.tv_sec = 60};
  if (strlen(path) >= sizeof to.sun_path)
    return luaL_error(L, "a path too long for a socket");
  strcpy(to.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
      send(fd, text, size, MSG_NOSIGNAL) != (ssize_t)size) {
    close(fd);
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
  }
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (;;) {
    ssize_t n = read(fd, luaL_prepbuffer(&b), LUAL_BUFFERSIZE);
    if (n <= 0) break;
    luaL_addsize(&b, (size_t)n);
  }
  close(fd);
  luaL_pushresult(&b);
  return 1;
}

/* A mount namespace of our own, for what is mounted by us, by our threads and
   by the programs we start: it ends with the last of us. Only before there are
   threads, which would stay outside. --> true, or nil and why not. */
static int system_private_mounts(lua_State *L) {
  DIR *threads = opendir("/proc/self/task");
  int count = 0;
  const char *why = NULL;
  while (threads != NULL && readdir(threads) != NULL) count++;
  if (threads != NULL) closedir(threads);
  if (count != 3) /* with "." and ".." */
    why = "there are threads already";
  else if (geteuid() != 0)
    why = "only root may mount";
  else if (unshare(CLONE_NEWNS) != 0 ||
           mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
    why = strerror(errno);
  if (why == NULL) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

static const luaL_Reg system_functions[] = {
    {"spawn", system_spawn},
    {"terminal", system_terminal},
    {"read", system_read},
    {"write", system_write},
    {"close", system_close},
    {"wait", system_wait},
    {"kill", system_kill},
    {"fork", system_fork},
    {"exit", system_exit},
    {"pid", system_pid},
    {"adopt", system_adopt},
    {"pipe", system_pipe},
    {"talk", system_talk},
    {"private_mounts", system_private_mounts},
    {NULL, NULL}};

#endif
