/*
** A question, and the line that is the answer.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "term/term.h"

/* Reads one line; the terminal edits it. A byte at a time: what is typed ahead
   belongs to the next. */
static int read_line(int fd, char *line, size_t size) {
  size_t n = 0;
  for (;;) {
    struct pollfd ask[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = term_signal_fd(), .events = POLLIN}};
    char c;
    if (poll(ask, 2, -1) < 0 && errno != EINTR) return errno;
    int other = term_interruption();
    if (other != 0) return other;
    if (ask[0].revents == 0) continue;
    ssize_t r = read(fd, &c, 1);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) return errno;
    if (r == 0) return ENODATA;
    if (c == '\n') break;
    if (n + 1 >= size) return EMSGSIZE;
    line[n++] = c;
  }
  line[n] = '\0';
  return 0;
}

static int ask_once(int fd, const char *question, bool hidden, char *line,
                    size_t size) {
  struct termios before, quiet;
  bool changed = hidden && tcgetattr(fd, &before) == 0;
  if (changed) {
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL;
    changed = tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  int r = term_write(fd, question, strlen(question));
  if (r == 0) r = read_line(fd, line, size);
  if (changed) tcsetattr(fd, TCSAFLUSH, &before);
  if (r != 0) {
    explicit_bzero(line, size);
    term_write(fd, "\n", 1);
  }
  return r;
}

/* Who stops us meanwhile has the terminal as it was. */
int term_ask(const char *question, bool hidden, char *line, size_t size) {
  int r, fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return ENXIO;
  while ((r = ask_once(fd, question, hidden, line, size)) == ERESTART)
    term_suspend();
  close(fd);
  return r;
}
