#include "op/lifeline.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "op/fork.h"

#ifdef SAROS_TEST
_Atomic int lifeline_refused;
#endif

/* Our end gets theirs as a message. */
static int lay_down(const lifeline *l) {
  char byte = 0;
  union {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(&control.head), &l->theirs, sizeof(int));
  return sendmsg(l->theirs, &message, MSG_NOSIGNAL) == 1 ? 0 : errno;
}

/* Without an owner nobody gets the signal yet. */
static int set_up(lifeline *l) {
  int ends[2] = {-1, -1};
#ifdef SAROS_TEST
  if (lifeline_refused) return EPERM;
#endif
  if (fd_pair(SOCK_STREAM, ends) != 0) return errno;
  l->ours = ends[0];
  l->theirs = ends[1];
  if (l->ours < 0 || l->theirs < 0) return errno;
  if (fcntl(l->theirs, F_SETSIG, SIGKILL) != 0 ||
      fcntl(l->theirs, F_SETFL, O_ASYNC) != 0)
    return errno;
  return lay_down(l);
}

int lifeline_make(lifeline *l) {
  int r = set_up(l);
  if (r == 0) return 0;
  lifeline_given(l);
  lifeline_cut(l);
  bool want = r == EMFILE || r == ENFILE || r == ENOMEM || r == ENOBUFS;
  return want ? r : 0;
}

void lifeline_given(lifeline *l) {
  fd_close(&l->theirs);
}

void lifeline_cut(lifeline *l) {
  fd_close(&l->ours);
}
