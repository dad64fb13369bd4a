/*
** What a terminal shows: how large it is, how wide a text, and writing to it.
*/
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "term/term.h"

bool term_size(int fd, int *columns, int *rows) {
  struct winsize size;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return false;
  *columns = size.ws_col;
  *rows = size.ws_row;
  return true;
}

/* Texts are UTF-8 in every locale; libc knows widths in the current one. */
static locale_t utf8(void) {
  static locale_t known;
  if (known == (locale_t)0)
    known = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  return known;
}

/* Walks until `columns` are full: the bytes that fit, and their columns. */
static size_t walk(const char *text, size_t size, size_t columns,
                   size_t *taken) {
  locale_t ours = utf8();
  locale_t before = ours != (locale_t)0 ? uselocale(ours) : (locale_t)0;
  mbstate_t state;
  size_t at = 0, used = 0;
  memset(&state, 0, sizeof state);
  while (at < size) {
    wchar_t c;
    size_t n = mbrtowc(&c, text + at, size - at, &state);
    int width = 1;
    if (n == 0 || n > size - at) { /* NUL, or no text */
      n = 1;
      memset(&state, 0, sizeof state);
    } else {
      width = wcwidth(c);
      if (width < 0) width = 1;
    }
    if (used + (size_t)width > columns) break;
    used += (size_t)width;
    at += n;
  }
  if (before != (locale_t)0) uselocale(before);
  *taken = used;
  return at;
}

size_t term_columns(const char *text, size_t size) {
  size_t used;
  walk(text, size, (size_t)-1 / 2, &used);
  return used;
}

size_t term_fit(const char *text, size_t size, size_t columns) {
  size_t used;
  return walk(text, size, columns, &used);
}

int term_write(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, bytes, size);
    if (n >= 0) {
      bytes += n;
      size -= (size_t)n;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      struct pollfd ask = {.fd = fd, .events = POLLOUT};
      poll(&ask, 1, 1000); /* somebody else made it so */
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}
