/*
** record: what is appended to one. The record of what goes with its owner need
** not be brought to the disk when it changes, but must be read whole after the
** power went: the old one or the new one. So the new one is put behind the old
** one, in the same file, which costs no wait for the disk; whoever reads takes
** the last one that is whole. What a power cut leaves of the end of a file is a
** part of what was written, or zeros, or nothing.
**
** Between them is a byte that JSON has only escaped, and that programs which
** read one JSON text after the other know (RFC 7464).
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/record_parts.h"

/* How much was written before fd, which was opened for appending; 0 when
   nothing may be put behind it. */
static off_t size_before(int fd, size_t more) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
      st.st_nlink != 1 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return 0;
  bool fits = st.st_size > 0 && more < RECORD_SIZE_MOST &&
              st.st_size <= (off_t)(RECORD_SIZE_MOST - more);
  return fits ? st.st_size : 0;
}


/* At once, so that who reads sees all of it or takes the one before. */
bool record_append(int dir, const char *file, const char *text, size_t size) {
  int fd = fd_own(openat(
      dir, file, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd < 0) return false;
  off_t before = size_before(fd, size);
  ssize_t n = -1;
  if (before > 0) do
      n = write(fd, text, size);
    while (n < 0 && errno == EINTR);
  bool whole = n == (ssize_t)size;
  if (n > 0 && !whole && ftruncate(fd, before) != 0)
    log_write(LOG_DEBUG, "vss", "the end of the record %s stays cut off", file);
  fd_close(&fd);
  return whole;
}


/* Where the last one begins; NULL: there is one alone. */
static const char *last_mark(const char *text, size_t size) {
  while (size-- > 0)
    if (text[size] == RECORD_MARK) return text + size;
  return NULL;
}


value *record_parse_last(const char *text, size_t size, const char *id,
                         error **e) {
  const char *mark;
  while ((mark = last_mark(text, size)) != NULL) {
    size_t at = (size_t)(mark - text) + 1;
    error *why = NULL;
    value *record = record_parse(text + at, size - at, id, &why);
    if (record != NULL) return record;
    if (why->code != SAROS_E_DAMAGED) {
      *e = why;
      return NULL;
    }
    error_unref(why);
    size = at - 1;
  }
  const char *zeros = size > 0 ? memchr(text, '\0', size) : NULL;
  if (zeros != NULL) size = (size_t)(zeros - text);
  return record_parse(text, size, id, e);
}
