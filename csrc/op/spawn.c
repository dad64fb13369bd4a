/*
** Starting a child: see spawn.h. What is ours is never 0, 1 or 2, also in a
** host that has closed them (fd_own sees to that): so the dup2 of one end
** overwrites no other that is still needed.
*/
#include "op/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/fork.h"
#include "op/spawn_parts.h"

#ifdef SAROS_TEST
_Atomic int spawn_lost;
void (*_Atomic spawn_hook)(const spawn *s);
#endif

void spawn_init(spawn *s) {
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 3; i++) s->theirs[i] = s->ours[i] = -1;
  s->pidfd = -1;
  s->line = LIFELINE_NONE;
  s->lent.fd = -1;
}

static void words_free(char **words) {
  for (size_t i = 0; words != NULL && words[i] != NULL; i++) mem_free(words[i]);
  mem_free(words);
}

static char **words_copy(const char *const *words) {
  size_t count = 0;
  while (words[count] != NULL) count++;
  char **copy = mem_zero((count + 1) * sizeof *copy);
  for (size_t i = 0; copy != NULL && i < count; i++) {
    copy[i] = mem_text(words[i]);
    if (copy[i] == NULL) {
      words_free(copy);
      return NULL;
    }
  }
  return copy;
}

void spawn_free(spawn *s) {
  words_free(s->argv);
  words_free(s->env);
  mem_free(s->path);
  mem_free(s->cwd);
  for (int i = 0; i < 3; i++) {
    fd_close(&s->theirs[i]);
    fd_close(&s->ours[i]);
  }
  fd_close(&s->pidfd);
  fd_close(&s->lent.fd);
  lifeline_given(&s->line);
  lifeline_cut(&s->line);
  error_unref(s->why);
}

/* The environment and PATH are read here and not on the worker: the host may
   be calling setenv by then. */
bool spawn_words(spawn *s, const char *const *argv, const char *const *env,
                 const char *cwd) {
  static const char *const none[] = {NULL};
  const char *path = getenv("PATH");
  if (env == NULL) env = (const char *const *)environ;
  s->argv = words_copy(argv);
  s->env = words_copy(env != NULL ? env : none);
  s->path = mem_text(path != NULL ? path : "/bin:/usr/bin");
  s->cwd = mem_text(cwd);
  return s->argv != NULL && s->env != NULL && s->path != NULL &&
         (s->cwd != NULL) == (cwd != NULL);
}


/* ------------------------------------------------------------------
** Descriptors
** ---------------------------------------------------------------- */

static bool make_pipe(int fds[2]) {
  if (fd_pipe(fds) != 0) return false;
  if (fds[0] >= 0 && fds[1] >= 0) return true;
  int saved = errno;
  fd_close(&fds[0]);
  fd_close(&fds[1]);
  errno = saved;
  return false;
}

int spawn_pipe(spawn *s, int to) {
  int fds[2];
  if (!make_pipe(fds)) return -1;
  int theirs = to == STDIN_FILENO ? 0 : 1;
  s->ends[to] = SPAWN_GIVEN;
  s->theirs[to] = fds[theirs];
  return fds[1 - theirs];
}

int spawn_inherit(spawn *s, int to, int from) {
  s->ends[to] = SPAWN_GIVEN;
  s->theirs[to] = fd_own(fcntl(from, F_DUPFD_CLOEXEC, 3));
  if (s->theirs[to] >= 0) return 0;
  s->ends[to] = SPAWN_NULL;
  return errno == EBADF ? 0 : errno;
}

static int open_null(int to) {
  int how = to == STDIN_FILENO ? O_RDONLY : O_WRONLY;
  return fd_own(open("/dev/null", how | O_CLOEXEC));
}

/* 0 or errno; *what is what could not be had. */
static int make_ends(spawn *s, const char **what) {
  for (int i = 0; i < 3; i++) {
    *what = "a pipe";
    if (s->ends[i] == SPAWN_PIPE) {
      s->ours[i] = spawn_pipe(s, i);
      if (s->ours[i] < 0 || fcntl(s->ours[i], F_SETFL, O_NONBLOCK) != 0)
        return errno;
    } else if (s->ends[i] == SPAWN_NULL) {
      *what = "/dev/null";
      s->theirs[i] = open_null(i);
      if (s->theirs[i] < 0) return errno;
    }
  }
  return 0;
}


/* ------------------------------------------------------------------
** What to say when it did not start
** ---------------------------------------------------------------- */

/* What a person can do about it. */
static const char *advice(const spawn *s, int number) {
  bool in_path = strchr(s->argv[0], '/') == NULL;
  switch (number) {
    case ENOENT:
      return in_path ? "no program of that name is in PATH; install it, or "
                       "give its full path"
                     : "there is no such file, or the interpreter it names is "
                       "missing; check the path";
    case ENOTDIR: return "a part of its path is not a directory";
    case EACCES:
      return "it may not be executed; check its mode (chmod +x), the "
             "directories above it, and that the file system is not noexec";
    case EPERM: return "the system does not permit it";
    case ENOEXEC:
      return "it is neither a program for this machine nor a script that "
             "begins with #!";
    case E2BIG: return "its arguments and environment are too long";
    case ETXTBSY: return "somebody is writing to its file; try again";
    case EAGAIN: return "there are too many processes; raise ulimit -u";
    case EMFILE:
    case ENFILE: return "there are too many open files; raise ulimit -n";
    case ENOMEM: return "there is not enough memory";
    default: return strerrordesc_np(number);
  }
}

static error *failure(const spawn *s, int number, const char *what) {
  const char *why = what == NULL || number == EMFILE || number == ENFILE
                        ? advice(s, number)
                        : strerrordesc_np(number);
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "cannot start ");
  text_escape(&b, s->argv[0], strlen(s->argv[0]));
  buffer_text(&b, ": ");
  if (what != NULL) {
    text_escape(&b, what, strlen(what));
    buffer_text(&b, ": ");
  }
  buffer_text(&b, why != NULL ? why : "unknown error");
  error *e = b.failed ? error_no_memory()
                      : error_make(SAROS_FACADE_SAROS, code_of_errno(number),
                                   "%s", b.data);
  buffer_free(&b);
  if (e == error_no_memory()) return e;
  e->number = number; /* nobody else has seen it yet */
  e->path = mem_text(s->argv[0]);
  return e;
}

/* The kernel's answer does not say whether it was the program or the
   directory that was not there. */
static error *start_failure(const spawn *s, int number) {
  if (s->cwd == NULL) return failure(s, number, NULL);
  int fd = open(s->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int wrong = fd < 0 ? errno : 0;
  if (fd >= 0 && faccessat(fd, ".", X_OK, AT_EACCESS) != 0) wrong = errno;
  if (fd >= 0) close(fd);
  if (wrong == 0) return failure(s, number, NULL);
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "its working directory ");
  buffer_text(&b, s->cwd);
  error *e = b.failed ? error_no_memory() : failure(s, wrong, b.data);
  buffer_free(&b);
  return e;
}


/* ------------------------------------------------------------------
** Starting
** ---------------------------------------------------------------- */

/* The names to try, as spawn_child wants them: with the PATH that was copied.
   An empty part of it is the directory the child runs in. 0 or errno. */
static int list_files(const spawn *s, buffer *files) {
  const char *name = s->argv[0];
  if (name[0] == '\0') return ENOENT;
  bool given = strchr(name, '/') != NULL;
  for (const char *at = given ? "" : s->path;; at++) {
    size_t size = strcspn(at, ":");
    buffer_put(files, at, size);
    if (size > 0) buffer_byte(files, '/');
    buffer_put(files, name, strlen(name) + 1);
    at += size;
    if (*at == '\0') break;
  }
  buffer_byte(files, '\0');
  return files->failed ? ENOMEM : 0;
}

/* A child dies with the thread that made it. */
static int start(spawn *s) {
  buffer files = BUFFER_EMPTY;
  int r = list_files(s, &files);
  if (r == 0) {
    s->maker = pool_stay();
    r = spawn_child(s, files.data, &s->pid);
  }
  buffer_free(&files);
  return r;
}

static int hold(pid_t pid) {
#ifdef SAROS_TEST
  if (spawn_lost) {
    waitpid(pid, NULL, 0);
    errno = ESRCH;
    return -1;
  }
#endif
  return fd_own(pidfd_open(pid, 0));
}

/* A child that nobody can hold must not live on. When it is gone already,
   the one who took its status may also have freed its number. */
static void hold_child(spawn *s) {
  s->pidfd = hold(s->pid);
  if (s->pidfd >= 0 || errno == ESRCH) return;
  int number = errno;
  kill(-s->pid, SIGKILL);
  while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {}
  s->pid = 0;
  s->why = failure(s, number, "a descriptor of its process");
}

void spawn_run(spawn *s) {
  const char *what;
  int r = make_ends(s, &what);
  if (r == 0) {
    what = "a socket";
    r = s->outlives ? 0 : lifeline_make(&s->line);
  }
  if (r != 0) {
    s->why = failure(s, r, what);
  } else {
    if (s->foreground) terminal_find(&s->lent);
    r = start(s);
    if (r != 0) s->why = start_failure(s, r);
  }
  for (int i = 0; i < 3; i++) fd_close(&s->theirs[i]);
  lifeline_given(&s->line);
  if (s->pid != 0) hold_child(s);
  if (s->pid == 0) spawn_over(s);
#ifdef SAROS_TEST
  void (*hook)(const spawn *) = spawn_hook;
  if (hook != NULL) hook(s);
#endif
}

void spawn_over(spawn *s) {
  terminal_take_back(&s->lent, s->pid);
  if (s->maker != NULL) pool_go(s->maker);
  s->maker = NULL;
  lifeline_cut(&s->line);
}
