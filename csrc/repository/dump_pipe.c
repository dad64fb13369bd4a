/*
** dump_pipe: the call that reads what comes out of a pipe, so that a script can
** be given what is dumped in pieces.
*/
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "repository/call.h"

#define PIECE ((size_t)1 << 18)

static error *failed(void) {
  return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot read from the pipe",
                        NULL);
}

/* What there is, at least a byte; nothing at the end. */
static error *read_some(repo_call *c, int fd, char *into, size_t *size) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  for (;;) {
    if (repo_stopped(&c->stop))
      return repo_error(SAROS_E_CANCELLED, "reading was cancelled");
    int n = poll(&p, 1, 50);
    if (n < 0 && errno != EINTR) return failed();
    if (n <= 0) continue;
    ssize_t got = read(fd, into, PIECE);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return failed();
    *size = (size_t)got;
    return NULL;
  }
}

error *repo_work_read_pipe(repo_call *c) {
  int fd = c->stream_count > 0 ? c->streams[0].fd : -1;
  char *into = mem_alloc(PIECE);
  size_t size = 0;
  if (into == NULL) return error_no_memory();
  error *e = read_some(c, fd, into, &size);
  if (e == NULL && (c->output = value_string(into, size)) == NULL)
    e = error_no_memory();
  mem_free(into);
  return e;
}
