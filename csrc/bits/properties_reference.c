/*
** Where a secret is: "env:NAME" or "file:/path". It is read when it is set, and
** whenever the queue is opened; the queue itself has only the reference.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/job_parts.h"

#define SECRET_MOST 65536

bool bits_reference_is(const char *text) {
  return (strncmp(text, "env:", 4) == 0 && text[4] != '\0') ||
         strncmp(text, "file:/", 6) == 0;
}

void bits_secret_free(char *text) {
  if (text != NULL) http_wipe(text, strlen(text));
  mem_free(text);
}

static error *too_long(const char *reference) {
  return bits_fail(BG_E_PASSWORD_TOO_LARGE,
                   "what %s has is longer than a secret may be", reference);
}

static char *from_environment(const char *reference, error **e) {
  const char *text = getenv(reference + 4);
  if (text == NULL) {
    *e = bits_fail(SAROS_E_INVALIDARG,
                   "%s: the environment has no such variable", reference);
    return NULL;
  }
  if (strlen(text) > SECRET_MOST) {
    *e = too_long(reference);
    return NULL;
  }
  char *copy = mem_text(text);
  if (copy == NULL) *e = error_no_memory();
  return copy;
}

/* 0 or errno; into `room`, all of it. */
static int read_all(int fd, char *room, size_t *size) {
  *size = 0;
  while (*size <= SECRET_MOST) {
    ssize_t n = read(fd, room + *size, SECRET_MOST + 1 - *size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return 0;
    *size += (size_t)n;
  }
  return EFBIG;
}

static int read_fd(int fd, char *room, size_t *size) {
  struct stat s;
  if (fstat(fd, &s) != 0) return errno;
  if (!S_ISREG(s.st_mode)) return EINVAL; /* it would be waited for */
  return read_all(fd, room, size);
}

static int read_path(const char *path, char *room, size_t *size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return errno;
  int number = read_fd(fd, room, size);
  close(fd);
  return number;
}

static char *from_file(const char *reference, error **e) {
  const char *path = reference + strlen("file:");
  char *room = mem_alloc(SECRET_MOST + 2);
  if (room == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  size_t size = 0;
  int number = read_path(path, room, &size);
  if (number != 0)
    *e = number == EFBIG
             ? too_long(reference)
             : error_of_errno(SAROS_FACADE_BITS, number,
                              "the file that a secret is read from", path);
  while (size > 0 && (room[size - 1] == '\n' || room[size - 1] == '\r')) size--;
  char *text = NULL;
  if (*e == NULL) {
    text = mem_bytes(room, size);
    if (text == NULL) *e = error_no_memory();
  }
  http_wipe(room, SECRET_MOST + 2);
  mem_free(room);
  return text;
}

char *bits_reference_read(const char *reference, error **e) {
  *e = NULL;
  return reference[0] == 'e' ? from_environment(reference, e)
                             : from_file(reference, e);
}
