/*
** The first moments of a child, until it is its program.
**
** posix_spawn does all of this but one thing: it cannot bind the child to us.
** A host may be killed, may call _exit or execve; nothing of ours runs then,
** and a child would go on for ever. So it asks the kernel for a KILL at the
** death of its parent (PR_SET_PDEATHSIG). To that belongs:
**
** - The parent is the thread that made it, not the process. So a worker that
**   has children stays (pool_stay), and threads of a host make none.
** - It is the child's alone: what that has started itself does not inherit it.
** - The kernel forgets it when the child becomes a set-uid program or one with
**   capabilities.
**
** For those two there is the lifeline of its group. Who has left the group and
** is not the child itself has chosen to outlive us.
**
** The child lives in our memory until then, while our thread is suspended (the
** others are not), as that of posix_spawn does: it takes no lock, asks for no
** memory, and every signal is blocked, so that no handler of the host runs in
** it. It asks the kernel itself for everything: what libc, or a sanitizer in
** between, remembers of that (which descriptor is open) would be wrong for us.
*/
#include "op/spawn_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Enough for a lazy binding that saves all there is of registers. */
#define STACK ((size_t)64 << 10)
#define SIGSET_SIZE ((size_t)_NSIG / 8) /* the kernel's */

#ifndef __has_attribute
#define __has_attribute(name) 0
#endif
#ifndef __has_feature
#define __has_feature(name) 0
#endif

/* What a sanitizer notes down at a function's begin and end would be noted
   in the state of the thread that waits, and it never ends. */
#if __has_attribute(disable_sanitizer_instrumentation)
#define BARE                                         \
  __attribute__((noinline, no_sanitize("undefined"), \
                 disable_sanitizer_instrumentation))
#else
#define BARE                                                                 \
  __attribute__((noinline, no_sanitize("undefined"), no_sanitize("address"), \
                 no_sanitize("thread")))
#endif

/* ThreadSanitizer has a clone of its own, which takes every child for a fork
   with a memory of its own and lets go of its locks in both. */
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
int __clone(int (*run)(void *), void *stack, int flags, void *argument, ...);
#define clone __clone
#endif

typedef struct birth {
  const spawn *s;
  const char *files;
  pid_t host;
  int number; /* why it did not become its program: written by the child */
} birth;

/* Every signal is as it was when the machine was new: what the host ignores
   (SIGPIPE, often) a program does not expect to be ignored. Not sigaction: it
   refuses two that are glibc's own. */
BARE static void default_signals(void) {
  static const char zero[64]; /* a struct of the kernel's: SIG_DFL, no flags */
  for (int i = 1; i < _NSIG; i++)
    syscall(SYS_rt_sigaction, i, zero, NULL, SIGSET_SIZE);
}

BARE static void unblock_signals(void) {
  static const sigset_t none;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, SIGSET_SIZE);
}

/* Its group is the one that reads from the terminal, and that a key
   interrupts. One that is stopped by a key nobody would let go on: the shell
   that does so sees us alone. */
BARE static void have_terminal(int fd) {
  const struct {
    void (*handler)(int);
    char zero[56];
  } ignore = {SIG_IGN, {0}};
  int group = (int)syscall(SYS_getpid);
  syscall(SYS_ioctl, fd, TIOCSPGRP, &group);
  syscall(SYS_rt_sigaction, SIGTSTP, &ignore, NULL, SIGSET_SIZE);
}

/* A group of its own, which dies with the host, and so does the child wherever
   it goes. False when the host was faster. */
BARE static bool depend(const birth *b) {
  syscall(SYS_setpgid, 0, 0);
  if (b->s->line.theirs >= 0)
    syscall(SYS_fcntl, b->s->line.theirs, F_SETOWN, -syscall(SYS_getpid));
  if (b->s->lent.fd >= 0) have_terminal(b->s->lent.fd);
  if (b->s->outlives) return true; /* it has something to undo */
  syscall(SYS_prctl, PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L);
  return syscall(SYS_getppid) == b->host;
}

BARE static bool place(const spawn *s) {
  for (int i = 0; i < 3; i++) {
    int from = s->ends[i] == SPAWN_SAME ? STDOUT_FILENO : s->theirs[i];
    if (syscall(SYS_dup3, from, i, 0) < 0) return false;
  }
  return s->cwd == NULL || syscall(SYS_chdir, s->cwd) == 0;
}

/* Of those that are the host's, not all are close-on-exec. */
BARE static void close_others(void) {
  struct rlimit64 limit = {0, 0};
  if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0) return;
  /* Before Linux 5.9. What is above a limit that was lowered stays. */
  syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
  for (int fd = 3; (rlim64_t)fd < limit.rlim_cur; fd++) syscall(SYS_close, fd);
}

/* What execvp takes as "not here, look further". */
BARE static bool look_further(int number) {
  return number == ENOENT || number == ENOTDIR || number == EACCES ||
         number == ESTALE || number == ENODEV || number == ETIMEDOUT;
}

/* Returns why not. */
BARE static int become(const birth *b) {
  int number = ENOENT;
  bool denied = false;
  for (const char *file = b->files; *file != '\0';) {
    syscall(SYS_execve, file, b->s->argv, b->s->env);
    number = errno;
    denied |= number == EACCES;
    if (!look_further(number)) return number;
    while (*file++ != '\0') {}
  }
  return denied ? EACCES : number;
}

BARE static int child(void *argument) {
  birth *b = argument;
  default_signals();
  if (!depend(b)) {
    b->number = ESRCH; /* nobody reads it */
  } else if (place(b->s)) {
    close_others();
    unblock_signals();
    b->number = become(b);
  } else {
    b->number = errno;
  }
  syscall(SYS_exit_group, 127);
  return 127; /* never */
}

/* With a fence of a page below. */
static char *make_stack(size_t fence) {
  char *stack = mmap(NULL, fence + STACK, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return NULL;
  mprotect(stack, fence, PROT_NONE);
  return stack;
}

int spawn_child(const spawn *s, const char *files, pid_t *pid) {
  birth b = {.s = s, .files = files, .host = getpid()};
  sigset_t all, before;
  size_t fence = (size_t)sysconf(_SC_PAGESIZE);
  char *stack = make_stack(fence);
  *pid = 0;
  if (stack == NULL) return ENOMEM;
  /* Not sigfillset, which leaves out two that are glibc's own. */
  memset(&all, 0xFF, sizeof all);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGSET_SIZE);
  int id =
      clone(child, stack + fence + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
  int r = id < 0 ? errno : b.number;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGSET_SIZE);
  munmap(stack, fence + STACK);
  if (r == 0) *pid = id;
  if (id > 0 && r != 0)
    while (waitpid(id, NULL, 0) < 0 && errno == EINTR) {}
  return r;
}
