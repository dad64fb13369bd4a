/*
** Preloaded: a wall clock that is so many seconds off, by SAROS_TEST_CLOCK, or
** by the text of the file that SAROS_TEST_CLOCK_FILE names, which may change
** while a program runs. What counts time since the machine was started goes on.
*/
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long shift(void) {
  const char *path = getenv("SAROS_TEST_CLOCK_FILE");
  const char *text = getenv("SAROS_TEST_CLOCK");
  char read_text[32];
  if (path != NULL) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, read_text, sizeof read_text - 1);
    if (fd >= 0) close(fd);
    read_text[size > 0 ? size : 0] = '\0';
    text = read_text;
  }
  return text == NULL ? 0 : strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *t) {
  int r = (int)syscall(SYS_clock_gettime, id, t);
  if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    t->tv_sec += (time_t)shift();
  return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *t) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t != NULL) *t = now.tv_sec;
  return now.tv_sec;
}
