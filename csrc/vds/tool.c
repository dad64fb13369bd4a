/*
** tool: programs, run to their end. No SIGCHLD and no waitpid(-1): a pidfd says
** when one has ended, and its group is killed before it is reaped.
*/
#include "vds/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vds/step.h"

#define KEPT 600             /* of what it said on standard error */
#define PIECE 512            /* of what it says, at most at once */
#define LOOK_MS 100          /* between two looks at a cancel */
#define PAUSE_MS 20          /* between two pieces of what it says */
#define PATIENCE 5000000000u /* ns, between asking it to end and killing it */

typedef struct running {
  vds_call *c;
  const vds_tool *tool;
  pid_t pid;
  int pidfd;    /* or -1: an old kernel, valgrind, a container that forbids it;
                   then it is asked for its status */
  int pipes[2]; /* our ends of its output and its errors; -1: at its end */
  char piece[2][PIECE];
  size_t size[2];
  char last[KEPT + 1]; /* of its errors */
  size_t last_size;
  bool asked;
  uint64_t deadline;
} running;


/* ------------------------------------------------------------------
** Starting
** ---------------------------------------------------------------- */

/* PATH of a service, or of who used `su`, often lacks the directories that such
   programs are in; nothing else is ever looked for there. */
static bool find(const char *name, char path[200]) {
  static const char *const directories[] = {"/usr/local/sbin", "/usr/sbin",
                                            "/sbin",           "/usr/local/bin",
                                            "/usr/bin",        "/bin"};
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
    snprintf(path, 200, "%s/%.100s", directories[i], name);
    if (access(path, X_OK) == 0) return true;
  }
  return false;
}


bool vds_tool_is_here(const char *name) {
  char path[200];
  return find(name, path);
}


error *vds_tool_missing(const char *name, const char *package) {
  if (vds_tool_is_here(name)) return NULL;
  return vds_error(code_of_errno(ENOENT),
                   "there is no %s here: install it (Debian: apt-get install "
                   "%s)",
                   name, package);
}


/* Its words in English, its numbers with a point. mke2fs asks nothing and
   e2fsck needs no terminal. */
static char **environment(void) {
  size_t count = 0, n = 0;
  while (environ != NULL && environ[count] != NULL) count++;
  char **list = mem_zero((count + 2) * sizeof *list);
  for (size_t i = 0; list != NULL && i < count; i++)
    if (strncmp(environ[i], "LC_ALL=", 7) != 0) list[n++] = environ[i];
  static char ours[] = "LC_ALL=C";
  if (list != NULL) list[n] = ours;
  return list;
}


static int set_files(posix_spawn_file_actions_t *f, const running *r,
                     const int theirs[2]) {
  int lock = r->tool->lock;
  int number = lock >= 0 ? posix_spawn_file_actions_adddup2(f, lock, 0)
                         : posix_spawn_file_actions_addopen(f, 0, "/dev/null",
                                                            O_RDONLY, 0);
  for (int i = 0; number == 0 && i < 2; i++)
    number = posix_spawn_file_actions_adddup2(f, theirs[i], i + 1);
  if (number == 0) number = posix_spawn_file_actions_addclosefrom_np(f, 3);
  return number;
}


static int set_attributes(posix_spawnattr_t *a) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(a, &none);
  posix_spawnattr_setsigdefault(a, &all);
  posix_spawnattr_setpgroup(a, 0);
  return posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK |
                                         POSIX_SPAWN_SETSIGDEF |
                                         POSIX_SPAWN_SETPGROUP);
}


/* exec does not change what it is given, only C's types say it might. */
static int start(running *r, const char *path, const int theirs[2]) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  char **env = environment();
  if (env == NULL) return ENOMEM;
  int number = posix_spawn_file_actions_init(&files);
  if (number == 0) {
    number = posix_spawnattr_init(&how);
    if (number == 0) {
      number = set_files(&files, r, theirs);
      if (number == 0) number = set_attributes(&how);
      if (number == 0)
        number = posix_spawn(&r->pid, path, &files, &how,
                             (char *const *)(uintptr_t)r->tool->argv, env);
      posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
  }
  mem_free(env);
  return number;
}


/* Ends from 3 on, so that none of the child's first three is written over
   before it was copied. */
static int high_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  for (int i = 0; i < 2; i++) {
    if (ends[i] > 2) continue;
    int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
    int number = errno;
    close(ends[i]);
    ends[i] = high;
    if (high >= 0) continue;
    close(ends[1 - i]);
    return number;
  }
  return 0;
}


static int begin(running *r, const char *path) {
  int out[2], err[2];
  int number = high_pipe(out);
  if (number != 0) return number;
  number = high_pipe(err);
  if (number == 0) {
    const int theirs[2] = {out[1], err[1]};
    number = start(r, path, theirs);
    close(err[1]);
    r->pipes[1] = err[0];
  }
  close(out[1]);
  r->pipes[0] = out[0];
  if (number != 0) return number;
  for (int i = 0; i < 2; i++) fcntl(r->pipes[i], F_SETFL, O_NONBLOCK);
  /* It is not reaped yet, unless the host does that behind our back. */
  r->pidfd = pidfd_open(r->pid, 0);
  return 0;
}


/* ------------------------------------------------------------------
** What it says
** ---------------------------------------------------------------- */

static void say(running *r, int which) {
  if (r->size[which] > 0 && r->tool->said != NULL)
    r->tool->said(r->tool->context, which + 1, r->piece[which], r->size[which]);
  r->size[which] = 0;
}


static void keep_last(running *r, const char *text, size_t size) {
  if (size > KEPT) {
    text += size - KEPT;
    size = KEPT;
  }
  size_t over = r->last_size + size > KEPT ? r->last_size + size - KEPT : 0;
  memmove(r->last, r->last + over, r->last_size - over);
  r->last_size -= over;
  memcpy(r->last + r->last_size, text, size);
  r->last_size += size;
}


/* Progress is written over itself: by a return, or by backspaces. */
static void take(running *r, int which, const char *text, size_t size) {
  for (size_t i = 0; i < size; i++) {
    bool end = text[i] == '\n' || text[i] == '\r' || text[i] == '\b';
    if (end || r->size[which] == PIECE) say(r, which);
    if (!end) r->piece[which][r->size[which]++] = text[i];
  }
  if (which == 1) keep_last(r, text, size);
}


static void read_some(running *r, int which) {
  char chunk[4096];
  for (;;) {
    ssize_t n = read(r->pipes[which], chunk, sizeof chunk);
    if (n > 0) take(r, which, chunk, (size_t)n);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    bool more = n < 0 && errno == EAGAIN;
    /* What is not a whole line may be a bar that grows. */
    if (!more || !r->tool->lines) say(r, which);
    if (more) return;
    close(r->pipes[which]);
    r->pipes[which] = -1;
    return;
  }
}


/* ------------------------------------------------------------------
** Its end
** ---------------------------------------------------------------- */

/* Whether it is still our child, and (*ended) waits to be reaped. */
static bool look_at_it(const running *r, bool *ended) {
  siginfo_t end = {0};
  bool there =
      waitid(P_PID, (id_t)r->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0;
  *ended = !there || end.si_pid != 0;
  return there;
}


/* The number of the group is the child's, which is not reaped yet: nobody else
   can have it. */
static void signal_group(const running *r, int number) {
  bool ended;
  if (r->pidfd >= 0 || look_at_it(r, &ended)) kill(-r->pid, number);
}


static bool has_ended(const running *r, bool told) {
  bool ended = told;
  if (r->pidfd < 0) look_at_it(r, &ended);
  return ended;
}


static void stop_it(running *r) {
  error *e = NULL;
  if (!r->asked) {
    if (r->tool->ignore_cancel || !vds_stopped(r->c, &e)) return;
    error_unref(e);
    r->asked = true;
    r->deadline = vds_clock() + PATIENCE;
    vds_undoing(r->c, r->tool->argv[0]);
    signal_group(r, SIGTERM);
  } else if (vds_clock() >= r->deadline) {
    signal_group(r, SIGKILL);
    r->deadline = UINT64_MAX;
  }
}


/* What it left running may hold its pipes open: that is not waited for. One
   that says how far it is does so in words of a few bytes, and would have us on
   its processor for each: after one it is only waited for its end, a while. */
static void await(running *r) {
  for (bool heard = false;;) {
    struct pollfd fds[3] = {{r->pidfd, POLLIN, 0},
                            {r->pipes[0], POLLIN, 0},
                            {r->pipes[1], POLLIN, 0}};
    bool pause = heard && r->pidfd >= 0;
    poll(fds, pause ? 1 : 3, pause ? PAUSE_MS : LOOK_MS);
    heard = false;
    for (int i = 0; i < 2; i++) {
      if (r->pipes[i] < 0 || fds[i + 1].revents == 0) continue;
      read_some(r, i);
      heard = true;
    }
    vds_step("tool: looked");
    if (has_ended(r, (fds[0].revents & POLLIN) != 0)) break;
    stop_it(r);
  }
  for (int i = 0; i < 2; i++)
    if (r->pipes[i] >= 0) read_some(r, i);
}


static siginfo_t reap(const running *r) {
  siginfo_t end = {0};
  signal_group(r, SIGKILL); /* what it started and left */
  while (waitid(P_PID, (id_t)r->pid, &end, WEXITED) != 0) {
    if (errno == EINTR) continue;
    end.si_pid = 0;
    break;
  }
  return end;
}


/* Its last words as one line. */
static error *failure(const running *r, uint32_t code, const char *how) {
  buffer b = BUFFER_EMPTY;
  size_t size = r->last_size;
  while (size > 0 && strchr("\n ", r->last[size - 1]) != NULL) size--;
  buffer_format(&b, "%s %s", r->tool->argv[0], how);
  if (size > 0) buffer_text(&b, ": ");
  for (size_t i = 0; i < size; i++)
    if (r->last[i] == '\n')
      buffer_text(&b, "; ");
    else
      text_escape(&b, r->last + i, 1);
  error *e = b.failed ? error_no_memory() : vds_error(code, "%s", b.data);
  buffer_free(&b);
  return e;
}


static error *judge(const running *r, const siginfo_t *end, int *status) {
  char how[80];
  if (r->asked)
    return vds_error(VDS_E_OPERATION_CANCELED, "%s was cancelled",
                     r->tool->argv[0]);
  if (end->si_pid == 0)
    return failure(r, SAROS_E_STOLEN,
                   "ended, but somebody else in this process took its status");
  if (end->si_code != CLD_EXITED) {
    snprintf(how, sizeof how, "was killed by signal %d", end->si_status);
    return failure(r, SAROS_E_SIGNAL, how);
  }
  if (status != NULL) *status = end->si_status;
  unsigned good = r->tool->good != 0 ? r->tool->good : 1u;
  if (end->si_status < 32 && (good >> end->si_status & 1u) != 0) return NULL;
  snprintf(how, sizeof how, "failed with %d", end->si_status);
  return failure(r, SAROS_E_EXIT, how);
}


error *vds_tool_run(vds_call *c, const vds_tool *tool, int *status) {
  char path[200];
  error *e = NULL;
  running *r = mem_zero(sizeof *r);
  if (r == NULL) return error_no_memory();
  *r = (running){.c = c, .tool = tool, .pidfd = -1, .pipes = {-1, -1}};
  if (!tool->ignore_cancel) vds_stopped(c, &e);
  if (e == NULL && !find(tool->argv[0], path)) {
    e = vds_tool_missing(tool->argv[0], tool->package);
  } else if (e == NULL) {
    int number = begin(r, path);
    if (number != 0) {
      e = vds_errno(number, "a program cannot be started", path);
    } else {
      await(r);
      siginfo_t end = reap(r);
      e = judge(r, &end, status);
    }
  }
  for (int i = 0; i < 2; i++)
    if (r->pipes[i] >= 0) close(r->pipes[i]);
  if (r->pidfd >= 0) close(r->pidfd);
  mem_free(r);
  return e;
}
