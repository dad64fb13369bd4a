/*
** Datagrams over Unix sockets. The socket lives for one message: who listens
** may have been started anew since the last one.
*/
#include "op/datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "op/fork.h"

/* How long somebody may take who does not read. */
#define PATIENCE_SECONDS 1

static int address(const char *path, struct sockaddr_un *a, socklen_t *size) {
  size_t n = strlen(path);
  *a = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (n < 2 || (path[0] != '/' && path[0] != '@')) return EINVAL;
  if (n >= sizeof a->sun_path) return ENAMETOOLONG;
  memcpy(a->sun_path, path, n);
  if (path[0] == '@') a->sun_path[0] = '\0';
  /* In the abstract space each byte counts, so there is no NUL behind it. */
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
                      (path[0] == '/'));
  return 0;
}

static int open_to(const char *path, int *out) {
  struct sockaddr_un a;
  socklen_t size;
  const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
  int r = address(path, &a, &size);
  if (r != 0) return r;
  int fd = fd_own(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd < 0) return errno;
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while ((r = connect(fd, (struct sockaddr *)&a, size)) != 0 && errno == EINTR)
    ;
  if (r != 0) {
    r = errno;
    fd_close(&fd);
    return r;
  }
  *out = fd;
  return 0;
}

static int send_data(int fd, const char *data, size_t size) {
  ssize_t n;
  while ((n = send(fd, data, size, MSG_NOSIGNAL)) < 0 && errno == EINTR)
    ;
  return n < 0 ? errno : 0;
}

/* Nobody can change it any more: who gets it may map it. */
static int make_file(const char *data, size_t size, int *out) {
  int fd =
      fd_own(memfd_create("saros-message", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (fd < 0) return errno;
  int r = 0;
  while (r == 0 && size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno != EINTR) r = errno;
    if (n <= 0) continue;
    data += n;
    size -= (size_t)n;
  }
  if (r == 0 &&
      fcntl(fd, F_ADD_SEALS,
            F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    r = errno;
  if (r != 0) fd_close(&fd);
  *out = fd;
  return r;
}

static int send_file(int fd, int file) {
  union {
    char room[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {{0}};
  struct msghdr m = {.msg_control = control.room,
                     .msg_controllen = sizeof control.room};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &file, sizeof file);
  ssize_t n;
  while ((n = sendmsg(fd, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR)
    ;
  return n < 0 ? errno : 0;
}

int datagram_send(const char *path, const char *data, size_t size, bool large) {
  int fd = -1, file = -1;
  int r = open_to(path, &fd);
  if (r != 0) return r;
  r = send_data(fd, data, size);
  if (large && (r == EMSGSIZE || r == ENOBUFS)) {
    r = make_file(data, size, &file);
    if (r == 0) r = send_file(fd, file);
    fd_close(&file);
  }
  fd_close(&fd);
  return r;
}
