/*
** Signals become bytes in a pipe, which is waited for beside the port: so that
** they are looked at where Lua can do something about them.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "term/term.h"

enum { PATIENCE = 2 /* how many may come that nobody asks for */ };

static int ends[2] = {-1, -1};
static atomic_int unread;
static atomic_bool resized;  /* is in the pipe: one tells as much as many */
static atomic_bool stopping; /* the same of Ctrl-Z */
static void (*_Atomic on_interrupt)(void);

static void on_signal(int number) {
  int before = errno;
  unsigned char byte = (unsigned char)number;
  if (number == SIGTSTP && atomic_exchange(&stopping, true)) {
    signal(number, SIG_DFL); /* nobody looks: as it is elsewhere */
    raise(number);
    return;
  }
  if (number != SIGWINCH && number != SIGTSTP &&
      atomic_fetch_add(&unread, 1) >= PATIENCE) {
    term_restore();
    signal(number, SIG_DFL);
    raise(number);
  }
  void (*call)(void) = atomic_load(&on_interrupt);
  if (number == SIGINT && call != NULL) call();
  if (number == SIGWINCH && atomic_exchange(&resized, true)) return;
  if (write(ends[1], &byte, 1) < 0) errno = before;
  errno = before;
}

/* A number that the caller has closed would be the pipe's, and be read as the
   input: it is nothing's. What is written to it fails as before. */
static int keep_standard(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
      return errno;
  return 0;
}

int term_take_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
  if (ends[0] >= 0) return 0;
  int closed = keep_standard();
  if (closed != 0) return closed;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return errno;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction a = {.sa_handler = on_signal}, is;
    sigemptyset(&a.sa_mask);
    /* Who was started with nohup is not meant. */
    if (sigaction(numbers[i], NULL, &is) == 0 && is.sa_handler == SIG_IGN)
      continue;
    if (sigaction(numbers[i], &a, NULL) != 0) return errno;
  }
  struct sigaction ignored = {.sa_handler = SIG_IGN};
  return sigaction(SIGPIPE, &ignored, NULL) == 0 ? 0 : errno;
}

static bool take_one(int *number) {
  unsigned char byte;
  if (ends[0] < 0 || read(ends[0], &byte, 1) != 1) return false;
  switch (byte) {
    case SIGWINCH: atomic_store(&resized, false); break;
    case SIGTSTP: atomic_store(&stopping, false); break;
    default: atomic_fetch_sub(&unread, 1);
  }
  *number = byte;
  return true;
}

void term_suspend(void) {
  struct sigaction ours = {.sa_handler = on_signal};
  sigemptyset(&ours.sa_mask);
  term_restore();
  signal(SIGTSTP, SIG_DFL);
  raise(SIGTSTP); /* it returns when somebody goes on with us */
  sigaction(SIGTSTP, &ours, NULL);
  term_change_again();
}

void term_on_interrupt(void (*call)(void)) {
  atomic_store(&on_interrupt, call);
}

bool term_is_pending(void) {
  return atomic_load(&unread) > 0;
}

int term_signal_fd(void) {
  return ends[0];
}

int term_interruption(void) {
  int number;
  if (atomic_load(&unread) > 0) return EINTR;
  while (take_one(&number)) {
    unsigned char byte = (unsigned char)number;
    if (number == SIGTSTP) return ERESTART;
    if (number == SIGWINCH) continue;
    /* It came just now: back to the others. */
    atomic_fetch_add(&unread, 1);
    if (write(ends[1], &byte, 1) == 1) return EINTR;
  }
  return 0;
}

bool term_is_ours(int fd) {
  pid_t group = tcgetpgrp(fd);
  return group < 0 || group == getpgrp();
}

term_event term_wait(int fd, int input, int ms, int *number) {
  struct pollfd ask[3] = {{.fd = ends[0], .events = POLLIN},
                          {.fd = fd, .events = POLLIN},
                          {.fd = input, .events = POLLIN}};
  int r = poll(ask, 3, ms);
  if (take_one(number)) return TERM_SIGNAL;
  if (r > 0 && ask[1].revents != 0) return TERM_READY;
  return r > 0 && ask[2].revents != 0 ? TERM_INPUT : TERM_TIME;
}
