/*
** Preloaded: a program that is about to give a lock of a repository back waits
** until somebody opens the pipe SAROS_TEST_GATE, and is met with its lock.
*/
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int unlinkat(int folder, const char *name, int flags) {
  const char *gate = getenv("SAROS_TEST_GATE");
  if (gate != NULL && strncmp(name, "locks/", 6) == 0) {
    int fd = open(gate, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) close(fd);
  }
  return (int)syscall(SYS_unlinkat, folder, name, flags);
}
