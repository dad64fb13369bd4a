/*
** What the tests of records and shadows need: a scratch directory with places
** in it, records that are right, and a provider whose shadows are directories
** that can be counted, refused, held up, and killed over.
**
** All runs in a child process with mounts of its own: however it ends, its
** mounts end with it; then the parent removes the scratch directory.
*/
#ifndef SAROS_RECORD_CASE_H
#define SAROS_RECORD_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gate.h"
#include "vss/place.h"
#include "vss/record_parts.h"

static char scratch[200];
static bool has_mounts; /* root, in a mount namespace of our own */

/* A path in the scratch directory, good for the next few calls. */
static inline const char *in(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline const char *in(const char *format, ...) {
  static _Thread_local char ring[16][700];
  static _Thread_local int turn;
  char *text = ring[turn++ % 16];
  int n = snprintf(text, 200, "%s/", scratch);
  va_list args;
  va_start(args, format);
  vsnprintf(text + n, 500, format, args);
  va_end(args);
  return text;
}

static inline void wipe(const char *path) {
  pid_t child = fork();
  if (child == 0) {
    execlp("rm", "rm", "-rf", "--one-file-system", path, (char *)NULL);
    _exit(127);
  }
  waitpid(child, NULL, 0);
}

static inline int record_main(int argc, char **argv, void (*all)(void)) {
  const char *tmp = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%.150s/saros-record-test-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(scratch) == NULL) return 2;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* its mounts go with it */
    has_mounts = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
                 mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
    gate_begin(argc, argv);
    umask(022);
    all();
    exit(check_end());
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  wipe(scratch);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  printf("the tests died of signal %d\n", WTERMSIG(status));
  return 1;
}

/* Unexpected errors are shown; returns the code, 0 for none. */
static inline uint32_t code_of(error *e, uint32_t expected) {
  uint32_t code = e != NULL ? e->code : 0;
  if (code != expected) printf("error: %s\n", e != NULL ? e->message : "none");
  error_unref(e);
  return code;
}
#define CHECK_CODE(e, expected) CHECK_INT(code_of(e, expected), expected)

/* Fresh places, in a directory of their own; closed by shut. */
static inline places *open_places(void) {
  static unsigned number;
  error *e = NULL;
  places *p = places_open(in("at%u", ++number), &e);
  if (p == NULL) printf("no places: %s\n", e->message);
  CHECK(p != NULL);
  return p;
}

static inline bool there(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

static inline bool put_file(const char *path, const void *data, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool good = fd >= 0 && write(fd, data, size) == (ssize_t)size;
  if (fd >= 0) close(fd);
  return good;
}

static inline const char *file_of(const places *p, const char *id) {
  static _Thread_local char path[900];
  snprintf(path, sizeof path, "%s/shadows/%s.json", p->state, id);
  return path;
}


/* ------------------------------------------------------------------
** Children
** ---------------------------------------------------------------- */

/* Runs in a child; its exit status (a signal: 1000 and more). */
static inline int in_child(int (*run)(void *), void *with) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(run(with));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Runs in a child that is killed at its n-th step into or out of the kernel.
   True when it had ended by itself before. */
static inline bool killed_at(unsigned n, int (*run)(void *), void *with) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(run(with));
  }
  int status = 0;
  while (waitpid(child, &status, 0) == child && WIFSTOPPED(status) && n-- > 0) {
    int sig = WSTOPSIG(status);
    if (sig == SIGSTOP || sig == SIGTRAP) sig = 0;
    ptrace(PTRACE_SYSCALL, child, NULL, (void *)(intptr_t)sig);
  }
  if (WIFEXITED(status)) {
    CHECK_INT(WEXITSTATUS(status), 0);
    return true;
  }
  kill(child, SIGKILL);
  while (waitpid(child, &status, 0) == child && !WIFSIGNALED(status)) continue;
  return false;
}

static inline bool can_step(void) {
  const char *tool = getenv("SAROS_SANITIZER");
  return tool == NULL || strcmp(tool, "valgrind") != 0;
}

/* A process that lives until it is told to end. */
typedef struct stranger {
  pid_t pid;
  int end;
} stranger;

static inline void stranger_end(stranger *s) {
  close(s->end);
  while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) continue;
}

/* It first runs `run`, then waits. */
static inline stranger stranger_new(int (*run)(void *), void *with) {
  int end[2], ready[2];
  char byte = 0;
  if (pipe2(end, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0) abort();
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    close(end[1]);
    close(ready[0]);
    int r = run != NULL ? run(with) : 0;
    if (write(ready[1], "x", 1) != 1) _exit(2);
    while (read(end[0], &byte, 1) < 0 && errno == EINTR) continue;
    _exit(r);
  }
  close(end[0]);
  close(ready[1]);
  CHECK_INT(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  return (stranger){child, end[1]};
}


/* ------------------------------------------------------------------
** The provider of the tests
** ---------------------------------------------------------------- */

/* In memory that children share. */
typedef struct watched {
  _Atomic int destroyed, verified, loosened;
  _Atomic int kill_in_destroy; /* the process dies halfway */
} watched;

static watched *seen_;
static _Atomic bool hold_destroy; /* of this process: waits while it is set */
static _Atomic int inside_destroy;
static char refuse_destroy[64]; /* the name of the directory that refuses */

static inline error *case_destroy(const value *keep, saros_op *op) {
  (void)op;
  const char *dir = value_chars(value_get(keep, "dir"), "");
  char content[700];
  atomic_fetch_add(&inside_destroy, 1);
  GATE_UNTIL(!atomic_load(&hold_destroy));
  if (refuse_destroy[0] != '\0' && strstr(dir, refuse_destroy) != NULL) {
    atomic_fetch_sub(&inside_destroy, 1);
    return vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR, "it refuses");
  }
  snprintf(content, sizeof content, "%s/content", dir);
  unlink(content);
  if (atomic_load(&seen_->kill_in_destroy)) kill(getpid(), SIGKILL);
  if (rmdir(dir) == 0) atomic_fetch_add(&seen_->destroyed, 1);
  atomic_fetch_sub(&inside_destroy, 1);
  return NULL;
}

static inline error *case_verify(const value *keep) {
  struct stat st;
  atomic_fetch_add(&seen_->verified, 1);
  if (stat(value_chars(value_get(keep, "dir"), ""), &st) == 0 &&
      (int64_t)st.st_ino == value_integer(value_get(keep, "ino"), -1))
    return NULL;
  return vss_error(VSS_E_OBJECT_NOT_FOUND, "somebody took it away");
}

static inline error *case_loosen(const value *keep, char **path) {
  *path = NULL;
  atomic_fetch_add(&seen_->loosened, 1);
  return chmod(value_chars(value_get(keep, "dir"), ""), 0700) == 0
             ? NULL
             : vss_error(SAROS_E_FAIL, "chmod");
}

static const provider case_provider = {
    .name = "case",
    .id = "5e7f8a52-5b60-4f1a-9f4e-06a1a7c1d0c1",
    .worth = "a directory",
    .rank = -1,
    .destroy = case_destroy,
    .verify = case_verify,
    .loosen = case_loosen};
/* One that can do next to nothing. */
static const provider case_poor = {.name = "poor",
                                   .id = "5e7f8a52-5b60-4f1a-9f4e-06a1a7c1d0c2",
                                   .rank = -1,
                                   .destroy = case_destroy};
static const provider *const case_providers[] = {&case_provider, &case_poor,
                                                 NULL};

static inline void use_provider(void) {
  if (seen_ == NULL)
    seen_ = mmap(NULL, sizeof *seen_, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  memset(seen_, 0, sizeof *seen_);
#ifdef SAROS_TEST
  shadows_test_providers = case_providers;
#endif
}


/* ------------------------------------------------------------------
** Records
** ---------------------------------------------------------------- */

static inline void new_id(char id[GUID_TEXT]) {
  guid g;
  if (!guid_make(&g)) abort();
  guid_format(&g, id);
}

/* A right one, of this process, not persistent, state "created", with its
   directory; not saved. `set` may be NULL. */
static inline value *record_new(const char *set) {
  char id[GUID_TEXT], other[GUID_TEXT], dir[700];
  struct stat st;
  new_id(id);
  new_id(other);
  snprintf(dir, sizeof dir, "%s", in("%s", id));
  mkdir(dir, 0700);
  put_file(in("%s/content", id), "old", 3);
  stat(dir, &st);
  value *r = value_map(), *keep = value_map();
  shadow s = {.place = dir, .keep = keep};
  bool good = place_plan(&s, scratch) == NULL &&
              record_put_text(keep, "dir", dir) &&
              value_put(keep, "ino", value_int((int64_t)st.st_ino));
  good = good && value_put(r, "version", value_int(1)) &&
         record_put_text(r, "id", id) &&
         record_put_text(r, "set", set != NULL ? set : other) &&
         value_put(r, "count", value_int(1)) &&
         record_put_text(r, "state", "created") &&
         record_put_text(r, "provider", "case") && value_put(r, "keep", keep) &&
         value_put(r, "attributes", value_int(0)) &&
         record_put_text(r, "original", "/srv/data") &&
         record_put_text(r, "original_volume", "/srv") &&
         record_put_text(r, "path", dir) &&
         record_put_text(r, "machine", "here") &&
         record_put_text(r, "consistency", "application") &&
         value_put(r, "held", value_real(0.25)) &&
         value_put(r, "persistent", value_bool(false)) &&
         record_stamp(r, NULL) && owner_put(r);
  if (!good) abort();
  return r;
}

static inline void make_persistent(value *r) {
  value_put(r, "persistent", value_bool(true));
  value_put(r, "attributes",
            value_int(VSS_ATTR_PERSISTENT | VSS_ATTR_NO_AUTO_RELEASE));
}

/* Of a process that is no more. */
static inline void make_orphan(value *r) {
  value *owner = value_copy(value_get(r, "owner"));
  value_put(owner, "boot", value_text("00000000-0000-4000-8000-000000000000"));
  value_put(r, "owner", owner);
}

static inline const char *id_of(const value *r) {
  return record_text(r, "id");
}

static inline bool is_made(const value *r) {
  return there(record_text(value_get(r, "keep"), "dir"));
}

#endif
