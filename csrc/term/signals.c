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
static atomic_bool resized; /* is in the pipe: one tells as much as many */
static void (*_Atomic on_interrupt)(void);

static void on_signal(int number) {
  int before = errno;
  unsigned char byte = (unsigned char)number;
  if (number != SIGWINCH && atomic_fetch_add(&unread, 1) >= PATIENCE) {
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
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
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
  if (byte == SIGWINCH)
    atomic_store(&resized, false);
  else
    atomic_fetch_sub(&unread, 1);
  *number = byte;
  return true;
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

bool term_is_interrupted(void) {
  unsigned char byte;
  if (atomic_load(&unread) > 0) return true;
  while (ends[0] >= 0 && read(ends[0], &byte, 1) == 1) {
    if (byte == SIGWINCH) {
      atomic_store(&resized, false);
      continue;
    }
    /* It came just now: back to the others. */
    return write(ends[1], &byte, 1) == 1;
  }
  return false;
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
