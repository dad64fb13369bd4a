/*
** The terminal, lent to a child: see terminal.h.
*/
#include "op/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "op/fork.h"

void terminal_find(terminal *t) {
  t->fd = fd_own(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (t->fd < 0) return;
  if (tcgetpgrp(t->fd) != getpgrp())
    fd_close(&t->fd);
  else
    t->has_modes = tcgetattr(t->fd, &t->modes) == 0;
}

/* A shell that has put us into the background has the terminal, and a job of
   its own may. The child's group is the child's, or nobody's any more. */
static bool is_free(int fd, pid_t child) {
  pid_t group = tcgetpgrp(fd);
  if (group <= 0 || group == child || group == getpgrp()) return true;
  return kill(-group, 0) < 0 && errno == ESRCH;
}

void terminal_take_back(terminal *t, pid_t child) {
  if (t->fd < 0) return;
  if (is_free(t->fd, child)) {
    tcsetpgrp(t->fd, getpgrp());
    if (t->has_modes) tcsetattr(t->fd, TCSANOW, &t->modes);
  }
  fd_close(&t->fd);
}
