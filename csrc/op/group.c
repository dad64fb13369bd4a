/*
** A child and its group: see group.h.
*/
#include "op/group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/fork.h"

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* Linux 6.9 */
#endif

#ifdef SAROS_TEST
_Atomic int group_old_kernel;
#endif

/* 0 or errno. */
static int send(int pidfd, int signal, unsigned flags) {
#ifdef SAROS_TEST
  if (flags != 0 && group_old_kernel) return EINVAL;
#endif
  long r = syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, flags);
  return r == 0 ? 0 : errno;
}

/* By its number, which is the group's for as long as the leader is ours to
   reap, and perhaps a stranger's after that. */
static int send_by_number(pid_t pid, int pidfd, int signal) {
  siginfo_t info;
  if (signal != 0 && child_look(pidfd, &info) == CHILD_STOLEN) return ESRCH;
  return kill(-pid, signal) == 0 ? 0 : errno;
}

int group_signal(pid_t pid, int pidfd, int signal) {
  /* Nobody has held it: what is there may be another one's. */
  if (pidfd < 0) return signal == 0 && kill(-pid, 0) == 0 ? 0 : ESRCH;
  int r = send(pidfd, signal, PIDFD_SIGNAL_PROCESS_GROUP);
  if (r == EINVAL || r == ENOSYS) {
    if (signal < 0 || signal >= NSIG) return EINVAL;
    r = send_by_number(pid, pidfd, signal);
  }
  /* A leader may leave its group for another. */
  if (r == ESRCH && signal != 0) r = send(pidfd, signal, 0);
  return r;
}

child_end child_look(int pidfd, siginfo_t *info) {
  int r;
  memset(info, 0, sizeof *info);
  do r = waitid(P_PIDFD, (id_t)pidfd, info, WEXITED | WNOWAIT | WNOHANG);
  while (r != 0 && errno == EINTR);
  if (r != 0) return CHILD_STOLEN;
  return info->si_pid != 0 ? CHILD_ENDED : CHILD_LIVES;
}

void child_reap(int pidfd) {
  siginfo_t info;
  while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) != 0 &&
         errno == EINTR) {}
}

/* "4711 (a name) S 1 4700 …": whether it runs, and in this group. */
static bool runs_in_group(const char *stat, pid_t group) {
  const char *at = strrchr(stat, ')'); /* a name may hold anything */
  char state;
  long parent, of;
  if (at == NULL || sscanf(at + 1, " %c %ld %ld", &state, &parent, &of) != 3)
    return false;
  return of == (long)group && state != 'Z' && state != 'X';
}

static bool read_stat(int proc, const char *pid, char *text, size_t size) {
  char name[64];
  snprintf(name, sizeof name, "%.20s/stat", pid);
  int fd = fd_own(openat(proc, name, O_RDONLY | O_CLOEXEC));
  ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
  fd_close(&fd);
  if (n > 0) text[n] = '\0';
  return n > 0;
}

bool group_lives(pid_t pid) {
  char text[512];
  bool found = false;
  int fd = fd_own(open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR *proc = fd >= 0 ? fdopendir(fd) : NULL;
  if (proc == NULL) {
    fd_close(&fd);
    return false; /* nobody can tell */
  }
  for (struct dirent *d; !found && (d = readdir(proc)) != NULL;)
    if (d->d_name[0] >= '1' && d->d_name[0] <= '9')
      found = read_stat(fd, d->d_name, text, sizeof text) &&
              runs_in_group(text, pid);
  fd_disown(fd);
  closedir(proc);
  return found;
}
