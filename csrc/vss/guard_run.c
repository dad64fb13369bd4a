/*
** Starting the guard. Its program is in here as bytes and is run from a sealed
** memory file; where that is not permitted, SAROS_GUARD names a copy of it on
** disk.
**
** It is not made with fork, which would run the host's handlers, nor with
** posix_spawn, which wants a path (and so /proc) where we have a descriptor:
** a child that borrows our memory until it has become the guard.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/guard_parts.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* since 6.3 */
#endif

#ifdef GUARD_IMAGE
__asm__(
    ".pushsection .rodata\n"
    ".balign 16\n"
    "saros_guard_image:\n"
    ".incbin \"" GUARD_IMAGE
    "\"\n"
    "saros_guard_image_end:\n"
    ".popsection\n");
extern const char image[] __asm__("saros_guard_image")
    __attribute__((visibility("hidden")));
extern const char image_end[] __asm__("saros_guard_image_end")
    __attribute__((visibility("hidden")));
#define IMAGE_SIZE ((size_t)(image_end - image))
#else /* a tool that reads the source, and builds nothing */
static const char image[] = "";
#define IMAGE_SIZE ((size_t)0)
#endif


/* ------------------------------------------------------------------
** Its program
** ---------------------------------------------------------------- */

static int make_memory_file(void) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create("saros-guard", flags | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("saros-guard", flags);
  return fd_own(fd);
}

static int fill(int fd) {
  size_t done = 0;
  while (done < IMAGE_SIZE) {
    ssize_t n = write(fd, image + done, IMAGE_SIZE - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    done += (size_t)n;
  }
  const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return fcntl(fd, F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

/* -1 and errno. */
static int program_in_memory(void) {
  if (IMAGE_SIZE == 0) {
    errno = ENOENT;
    return -1;
  }
  int fd = make_memory_file();
  if (fd < 0) return -1;
  int r = fill(fd);
  if (r == 0) return fd;
  fd_close(&fd);
  errno = r;
  return -1;
}


/* ------------------------------------------------------------------
** The child
** ---------------------------------------------------------------- */

typedef struct child {
  const int *fds; /* all above `count`: none is overwritten by another */
  size_t count;
  int program; /* or -1: */
  const char *path;
  int failed; /* errno of exec */
} child;

/* What a sanitizer notes down where a function begins and ends would be noted
   for the thread that waits, and this one never ends. */
#ifndef __has_attribute
#define __has_attribute(name) 0
#endif
#if __has_attribute(disable_sanitizer_instrumentation)
#define BARE                                         \
  __attribute__((noinline, no_sanitize("undefined"), \
                 disable_sanitizer_instrumentation))
#else
#define BARE                                                                 \
  __attribute__((noinline, no_sanitize("undefined"), no_sanitize("address"), \
                 no_sanitize("thread")))
#endif

/* ThreadSanitizer puts a function of its own before clone, which takes every
   child for one with a memory of its own. This is libc's, by its other name. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if __has_feature(thread_sanitizer)
int __clone(int (*begin)(void *), void *stack, int flags, void *argument, ...);
#define clone __clone
#endif

/* Our memory, somebody else's process: nothing but system calls. All signals
   are blocked, and stay so until the guard ignores them. A session of its own,
   already here: whoever kills our group must not find it. */
BARE static int become_guard(void *argument) {
  child *c = argument;
  static char name[] = "saros-guard";
  char *const argv[] = {name, NULL}, *const env[] = {NULL};
  syscall(SYS_setsid);
  long r = 0;
  for (size_t i = 0; i < c->count && r >= 0; i++)
    r = syscall(SYS_dup3, c->fds[i], (int)i, 0);
  if (r >= 0 && c->program >= 0)
    syscall(SYS_execveat, c->program, "", argv, env, AT_EMPTY_PATH);
  else if (r >= 0)
    syscall(SYS_execve, c->path, argv, env);
  c->failed = errno;
  syscall(SYS_exit_group, 127);
  return 127;
}

/* The status is not ours to lose: somebody may have taken it already. */
static void reap(int pidfd) {
  siginfo_t info;
  while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) != 0 && errno == EINTR) {}
}

/* 0 or errno. */
static int start(child *c, pid_t *pid, int *pidfd) {
  _Alignas(64) char stack[32768];
  sigset_t all, old;
  int fd = -1;
  c->failed = 0;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int r = clone(become_guard, stack + sizeof stack,
                CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, c, &fd);
  int number = r < 0 ? errno : c->failed;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (r < 0) return number;
  *pid = r;
  *pidfd = fd_own(fd);
  if (*pidfd < 0 && number == 0) number = EMFILE;
  if (number != 0 && *pidfd >= 0) reap(*pidfd);
  if (number != 0) fd_close(pidfd);
  return number;
}


/* ------------------------------------------------------------------
** Both
** ---------------------------------------------------------------- */

static error *refused(int from_memory, const char *path, int from_path) {
  if (path == NULL)
    return vss_error(SAROS_E_REFUSED,
                     "nothing may be frozen, because no guard can be started "
                     "that would thaw it after a crash: running its program "
                     "from memory: %s; let SAROS_GUARD name a copy of it on "
                     "disk",
                     strerrordesc_np(from_memory));
  return error_at(
      vss_error(SAROS_E_REFUSED,
                "nothing may be frozen, because no guard can be started that "
                "would thaw it after a crash: from memory: %s; the program "
                "that SAROS_GUARD names: %s",
                strerrordesc_np(from_memory), strerrordesc_np(from_path)),
      path);
}

static error *run_either(child *c, pid_t *pid, int *pidfd) {
  int from_memory = 0, from_path = 0;
  int fd = program_in_memory();
  if (fd >= 0) {
    c->program = fd_own(fcntl(fd, F_DUPFD_CLOEXEC, (int)c->count + 1));
    from_memory = c->program < 0 ? errno : start(c, pid, pidfd);
    fd_close(&c->program);
    fd_close(&fd);
  } else {
    from_memory = errno;
  }
  if (from_memory == 0) return NULL;
  const char *path = secure_getenv("SAROS_GUARD");
  if (path != NULL && *path != '/') path = NULL;
  if (path != NULL) {
    c->program = -1;
    c->path = path;
    from_path = start(c, pid, pidfd);
    if (from_path == 0) return NULL;
  }
  return refused(from_memory, path, from_path);
}

error *guard_run(const int *fds, size_t count, pid_t *pid, int *pidfd) {
  int high[GUARD_FIRST + GUARD_MOST];
  child c = {.fds = high, .count = count, .program = -1};
  size_t made = 0;
  error *e = NULL;
  while (made < count) {
    high[made] = fd_own(fcntl(fds[made], F_DUPFD_CLOEXEC, (int)count + 1));
    if (high[made] < 0) break;
    made++;
  }
  if (made < count)
    e = error_of_errno(SAROS_FACADE_VSS, errno,
                       "cannot give the guard its descriptors", NULL);
  else
    e = run_either(&c, pid, pidfd);
  while (made > 0) fd_close(&high[--made]);
  return e;
}
