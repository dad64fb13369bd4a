/*
** See tool.h. No SIGCHLD and no waitpid(-1): a pidfd says when it has ended.
*/
#include "vss/provider/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/engine.h"

#define KEPT ((size_t)1 << 20) /* of what it prints */
#define LOOK_MS 100            /* between two looks at a cancel */
#define PATIENCE_S 10u         /* between asking it to stop and killing it */

static const char *const directories[] = {"/usr/local/sbin", "/usr/sbin",
                                          "/sbin",           "/usr/local/bin",
                                          "/usr/bin",        "/bin"};

/* PATH of a service or of `su` often lacks the directories that such programs
   are in; nothing else is ever looked for there. Allocated. */
static char *find(const char *name) {
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
    char *path = path_join(directories[i], name);
    if (path == NULL || access(path, X_OK) == 0) return path;
    mem_free(path);
  }
  return NULL;
}

bool tool_is_there(const char *name) {
  char *path = find(name);
  mem_free(path);
  return path != NULL;
}


/* ------------------------------------------------------------------
** Starting
** ---------------------------------------------------------------- */

typedef struct tool {
  const tool_call *call;
  pid_t pid;
  int pidfd;
  int pipes[2]; /* our ends of its output and its errors; -1: at its end */
  buffer text[2];
  bool asked, cancelled, late;
  uint64_t deadline;
} tool;

/* Their messages in English, their numbers with a point; and LVM says nothing
   about descriptors that it did not expect. */
static char **environment(void) {
  static const char *const ours[] = {"LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1"};
  size_t count = 0;
  while (environ != NULL && environ[count] != NULL) count++;
  char **list = mem_zero((count + 3) * sizeof *list);
  size_t n = 0;
  for (size_t i = 0; list != NULL && i < count; i++)
    if (strncmp(environ[i], "LC_ALL=", 7) != 0) list[n++] = environ[i];
  for (size_t i = 0; list != NULL && i < 2; i++)
    list[n++] = (char *)(uintptr_t)ours[i];
  return list;
}

/* Its input is the lock, an empty file, or nothing. 0 or an errno. */
static int spawn_it(tool *t, const char *path, const int theirs[2],
                    char **env) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  if (posix_spawn_file_actions_init(&files) != 0) return ENOMEM;
  if (posix_spawnattr_init(&how) != 0) {
    posix_spawn_file_actions_destroy(&files);
    return ENOMEM;
  }
  int r = t->call->lock >= 0
              ? posix_spawn_file_actions_adddup2(&files, t->call->lock, 0)
              : posix_spawn_file_actions_addopen(&files, 0, "/dev/null",
                                                 O_RDONLY, 0);
  if (r == 0) r = posix_spawn_file_actions_adddup2(&files, theirs[0], 1);
  if (r == 0) r = posix_spawn_file_actions_adddup2(&files, theirs[1], 2);
  if (r == 0) r = posix_spawn_file_actions_addclosefrom_np(&files, 3);
  if (r == 0) r = posix_spawnattr_setsigmask(&how, &none);
  if (r == 0) r = posix_spawnattr_setsigdefault(&how, &all);
  if (r == 0) r = posix_spawnattr_setpgroup(&how, 0);
  if (r == 0)
    r = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK |
                                           POSIX_SPAWN_SETSIGDEF |
                                           POSIX_SPAWN_SETPGROUP);
  if (r == 0)
    r = posix_spawn(&t->pid, path, &files, &how,
                    (char *const *)(uintptr_t)t->call->argv, env);
  posix_spawnattr_destroy(&how);
  posix_spawn_file_actions_destroy(&files);
  return r;
}

/* Descriptors from 3 on, so that none of the child's first three is written
   over before it was copied. */
static int high_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  for (int i = 0; i < 2; i++) {
    if (ends[i] > 2) continue;
    int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
    int number = errno;
    close(ends[i]);
    ends[i] = high;
    if (high < 0) {
      close(ends[1 - i]);
      return number;
    }
  }
  return 0;
}

static int begin(tool *t, const char *path) {
  int out[2], err[2];
  int r = high_pipe(out);
  if (r != 0) return r;
  r = high_pipe(err);
  if (r == 0) {
    char **env = environment();
    const int theirs[2] = {out[1], err[1]};
    r = env != NULL ? spawn_it(t, path, theirs, env) : ENOMEM;
    mem_free(env);
    close(err[1]);
    t->pipes[1] = err[0];
  }
  close(out[1]);
  t->pipes[0] = out[0];
  if (r != 0) return r;
  for (int i = 0; i < 2; i++) fcntl(t->pipes[i], F_SETFL, O_NONBLOCK);
  /* It is not reaped yet, unless the host does that behind our back. */
  t->pidfd = pidfd_open(t->pid, 0);
  return 0;
}


/* ------------------------------------------------------------------
** Waiting
** ---------------------------------------------------------------- */

static void read_some(tool *t, int i) {
  char chunk[4096];
  for (;;) {
    ssize_t n = read(t->pipes[i], chunk, sizeof chunk);
    if (n > 0) {
      if (t->text[i].size + (size_t)n <= KEPT)
        buffer_put(&t->text[i], chunk, (size_t)n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    close(t->pipes[i]);
    t->pipes[i] = -1;
    return;
  }
}

/* First it is asked, once; what does not listen is killed. */
static void stop_it(tool *t) {
  uint64_t now = engine_clock();
  if (!t->asked) {
    if (!t->cancelled && now < t->deadline) return;
    t->late = !t->cancelled;
    t->asked = true;
    t->deadline = now + PATIENCE_S * 1000000000u;
    if (t->pidfd >= 0) pidfd_send_signal(t->pidfd, SIGTERM, NULL, 0);
  } else if (now >= t->deadline && t->pidfd >= 0) {
    pidfd_send_signal(t->pidfd, SIGKILL, NULL, 0);
    t->deadline = UINT64_MAX;
  }
}

/* Until it has ended. What it left running may hold its pipes open: that is
   not waited for. */
static void await(tool *t) {
  for (;;) {
    struct pollfd fds[3] = {{t->pidfd, POLLIN, 0},
                            {t->pipes[0], POLLIN, 0},
                            {t->pipes[1], POLLIN, 0}};
    poll(fds, 3, LOOK_MS);
    for (int i = 0; i < 2; i++)
      if (t->pipes[i] >= 0 && fds[i + 1].revents != 0) read_some(t, i);
    if (t->pidfd < 0 || (fds[0].revents & POLLIN) != 0) break;
    if (t->call->op != NULL && saros_op_cancelled(t->call->op))
      t->cancelled = true;
    stop_it(t);
  }
  for (int i = 0; i < 2; i++)
    if (t->pipes[i] >= 0) read_some(t, i);
}

static void put_words(buffer *b, const char *const *argv) {
  for (size_t i = 0; argv[i] != NULL; i++) {
    if (i > 0) buffer_byte(b, ' ');
    text_escape(b, argv[i], strlen(argv[i]));
  }
}

/* The sentence, and what it said itself. */
static error *failure(tool *t, uint32_t code, const char *how) {
  buffer b = BUFFER_EMPTY;
  put_words(&b, t->call->argv);
  buffer_format(&b, " %s", how);
  const buffer *said = &t->text[1];
  size_t size = said->size;
  while (size > 0 &&
         (said->data[size - 1] == '\n' || said->data[size - 1] == ' '))
    size--;
  size_t at = size > 600 ? size - 600 : 0;
  if (size > 0) {
    buffer_text(&b, ": ");
    for (size_t i = at; i < size; i++) /* its lines as one */
      if (said->data[i] == '\n')
        buffer_text(&b, ";");
      else
        text_escape(&b, said->data + i, 1);
  }
  error *e = b.failed ? error_no_memory() : vss_error(code, "%s", b.data);
  buffer_free(&b);
  return e;
}

static error *outcome(tool *t, const siginfo_t *end) {
  char how[80];
  if (t->cancelled && t->asked)
    return vss_error(SAROS_E_CANCELLED, "%s was cancelled", t->call->argv[0]);
  if (t->late) {
    snprintf(how, sizeof how, "took longer than %u s", t->call->seconds);
    return failure(t, SAROS_E_TIMEOUT, how);
  }
  if (end->si_pid == 0)
    return failure(t, SAROS_E_STOLEN,
                   "ended, but somebody else in this process took its status");
  if (end->si_code != CLD_EXITED) {
    snprintf(how, sizeof how, "was killed by signal %d", end->si_status);
    return failure(t, SAROS_E_SIGNAL, how);
  }
  if (end->si_status == 0) return t->text[0].failed ? error_no_memory() : NULL;
  snprintf(how, sizeof how, "failed with %d", end->si_status);
  return failure(t, SAROS_E_EXIT, how);
}

error *tool_run(const tool_call *call, char **out) {
  tool t = {.call = call, .pidfd = -1, .pipes = {-1, -1}};
  siginfo_t end = {0};
  if (out != NULL) *out = NULL;
  char *path = find(call->argv[0]);
  if (path == NULL)
    return vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                     "there is no program %s here; install it", call->argv[0]);
  t.deadline = engine_clock() + call->seconds * UINT64_C(1000000000);
  int r = begin(&t, path);
  mem_free(path);
  error *e = NULL;
  if (r != 0) {
    e = error_of_errno(SAROS_FACADE_VSS, r, "cannot start a program",
                       call->argv[0]);
  } else {
    await(&t);
    int options = WEXITED;
    while (waitid(P_PID, (id_t)t.pid, &end, options) != 0 && errno == EINTR)
      continue;
    e = outcome(&t, &end);
  }
  if (e == NULL && out != NULL) {
    buffer_byte(&t.text[0], '\0');
    *out = buffer_take(&t.text[0]);
    if (*out == NULL) e = error_no_memory();
  }
  for (int i = 0; i < 2; i++) {
    if (t.pipes[i] >= 0) close(t.pipes[i]);
    buffer_free(&t.text[i]);
  }
  if (t.pidfd >= 0) close(t.pidfd);
  return e;
}


/* ------------------------------------------------------------------
** The lock
** ---------------------------------------------------------------- */

error *tool_lock(int directory, const char *name, unsigned seconds, int *lock) {
  uint64_t until = engine_clock() + seconds * UINT64_C(1000000000);
  *lock =
      openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (*lock < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot make a lock", name);
  while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK && engine_clock() < until) {
      usleep(20000);
      continue;
    }
    error *e =
        errno == EWOULDBLOCK
            ? vss_error(SAROS_E_LOCKED,
                        "a program that makes or removes this shadow copy "
                        "still runs; try again when it has ended")
            : error_of_errno(SAROS_FACADE_VSS, errno, "cannot lock", name);
    close(*lock);
    *lock = -1;
    return e;
  }
  return NULL;
}
