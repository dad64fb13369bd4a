/*
** What a driver does while it carries out a question: it waits, and says what
** went wrong.
*/
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/talk_parts.h"

int64_t talk_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Only the thread changes `current`. */
static bool is_stopped(const talk *t) {
  return saros_op_cancelled(t->current->op);
}

int talk_wait(talk *t, int fd, short events, int64_t until, bool heed) {
  for (;;) {
    struct pollfd p[2] = {{.fd = fd, .events = events},
                          {.fd = t->wake, .events = POLLIN}};
    if (heed && is_stopped(t)) return TALK_STOPPED;
    int64_t left = until - talk_now();
    if (left <= 0) return TALK_LATE;
    int ms = left < 3600000 ? (int)left : 3600000;
    int n = poll(p, 2, ms);
    if (n > 0 && p[1].revents != 0) talk_drain(t);
    if (n > 0 && p[0].revents != 0)
      return (p[0].revents & events) != 0 ? p[0].revents & events : events;
  }
}

int64_t talk_patience(talk *t) {
  pthread_mutex_lock(&t->lock);
  bool hurries = t->hurries;
  pthread_mutex_unlock(&t->lock);
  return talk_now() + (hurries ? TALK_LEAVE_MS : TALK_CANCEL_MS);
}

void talk_socket(talk *t, int fd) {
  struct stat is;
  pthread_mutex_lock(&t->lock);
  if (fd != t->fd && fd >= 0) {
    if (fstat(fd, &is) != 0) {
      fd = -1;
    } else {
      t->device = is.st_dev;
      t->inode = is.st_ino;
      fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
  }
  t->fd = fd;
  pthread_mutex_unlock(&t->lock);
}

void talk_fail(const talk *t, talk_trouble *trouble, uint32_t code,
               const char *format, ...) {
  va_list args;
  if (trouble->code != 0) return;
  trouble->code = code;
  int size =
      snprintf(trouble->text, sizeof trouble->text, "%.300s: ", t->label);
  if (size < 0) return;
  va_start(args, format);
  vsnprintf(trouble->text + size, sizeof trouble->text - (size_t)size, format,
            args);
  va_end(args);
}

void talk_words(char *to, size_t size, const char *from, const char *secret) {
  size_t hidden = secret != NULL ? strlen(secret) : 0, at = 0;
  while (*from != '\0' && at + 5 < size) {
    if (hidden > 0 && strncmp(from, secret, hidden) == 0) {
      memcpy(to + at, "***", 3);
      at += 3;
      from += hidden;
      continue;
    }
    unsigned char c = (unsigned char)*from++;
    to[at++] = c < ' ' || c == 0x7F ? ' ' : (char)c;
  }
  if (*from != '\0') /* cut: not in the middle of a character */
    while (at > 0 && ((unsigned char)to[at - 1] & 0xC0) == 0x80) at--;
  if (*from != '\0' && at > 0 && ((unsigned char)to[at - 1] & 0x80) != 0) at--;
  while (at > 0 && to[at - 1] == ' ') at--;
  to[at] = '\0';
}
