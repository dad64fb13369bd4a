/*
** A terminal whose keys are read one by one, for an editor of lines.
*/
#include <errno.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "term/term.h"

static struct termios before, keys;
static int changed = -1; /* whose that is */

void term_restore(void) {
  if (changed >= 0) tcsetattr(changed, TCSANOW, &before);
}

void term_change_again(void) {
  if (changed >= 0) tcsetattr(changed, TCSADRAIN, &keys);
}

int term_keys(int fd, bool on) {
  static bool registered;
  if (!on) {
    if (changed != fd) return 0;
    changed = -1;
    return tcsetattr(fd, TCSADRAIN, &before) == 0 ? 0 : errno;
  }
  if (changed == fd) return 0;
  if (tcgetattr(fd, &before) != 0) return errno;
  if (!registered && atexit(term_restore) == 0) registered = true;
  keys = before;
  /* Ctrl-C stays a signal, which also ends what keeps us from reading keys;
     what is written is still translated. */
  keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO | IEXTEN);
  keys.c_cc[VQUIT] = keys.c_cc[VSUSP] = _POSIX_VDISABLE;
  keys.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | ISTRIP);
  keys.c_cc[VMIN] = 1;
  keys.c_cc[VTIME] = 0;
  /* Not FLUSH: what was typed ahead is the next line's. */
  if (tcsetattr(fd, TCSADRAIN, &keys) != 0) return errno;
  changed = fd;
  return 0;
}
