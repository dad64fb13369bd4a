/*
** The terminal, lent to a child: see terminal.h.
*/
#include "op/terminal.h"

#include <fcntl.h>
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

void terminal_take_back(terminal *t) {
  if (t->fd < 0) return;
  tcsetpgrp(t->fd, getpgrp());
  if (t->has_modes) tcsetattr(t->fd, TCSANOW, &t->modes);
  fd_close(&t->fd);
}
