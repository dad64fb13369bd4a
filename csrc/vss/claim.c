/*
** claim: who deletes, exposes, breaks or imports a shadow claims it first, and
** who reaps claims that. All claims are bytes of one file beside the records,
** locked by an open file description: two threads of one process exclude each
** other too, and nothing is left to tidy up. A forked child closes its copy of
** the descriptor, so the claim goes with the process.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/record_parts.h"

enum { TRIES = 16, TURN_MS = 20 };

static const char file[] = ".claims";


/* The byte of a shadow: its GUID is random. Byte 0 is the reaper's. */
static off_t byte_of(const guid *g) {
  uint64_t n = 0;
  memcpy(&n, g->bytes + 8, sizeof n);
  return (off_t)(n & (UINT64_MAX >> 2)) + 1;
}


static error *cannot(const char *what, const places *p) {
  return error_of_errno(SAROS_FACADE_VSS, errno, what, p->state);
}


static bool is_still_there(int dir, int fd) {
  struct stat mine, there;
  return fstat(fd, &mine) == 0 && fstatat(dir, file, &there, 0) == 0 &&
         mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}


/* 1: taken; 0: somebody has it; -1 and *e. */
static int try(const places *p, off_t byte, int *fd, error **e) {
  int dir = places_shadows(p, e);
  if (dir < 0) return -1;
  int got = 0;
  for (int tries = 0; got == 0 && tries < TRIES; tries++) {
    *fd = fd_own(openat(dir, file,
                        O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                        0600));
    if (*fd < 0) {
      *e = cannot("cannot open the file of the claims", p);
      got = -1;
      break;
    }
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    if (fcntl(*fd, F_OFD_SETLK, &lock) != 0) {
      bool taken = errno == EAGAIN || errno == EACCES;
      if (!taken && errno == EINTR) continue;
      if (!taken) *e = cannot("cannot claim the shadow copy", p);
      got = taken ? 0 : -1;
      fd_close(fd);
      break;
    }
    got = is_still_there(dir, *fd); /* else it was replaced: once more */
    if (got == 0) fd_close(fd);
  }
  fd_close(&dir);
  return got;
}


int claim_take(const places *p, const char *id, error **e) {
  guid g;
  int fd = -1;
  fork_prepare();
  if (!guid_parse(id, &g)) {
    *e = vss_error(SAROS_E_INVALIDARG, "'%.40s' is not a GUID", id);
    return -1;
  }
  int got = try(p, byte_of(&g), &fd, e);
  if (got > 0) return fd;
  if (got == 0)
    *e = vss_error(VSS_E_PROVIDER_IN_USE,
                   "somebody else is deleting or changing the shadow copy %s "
                   "just now; try again when that is done",
                   id);
  return -1;
}


int claim_reaper(const places *p, saros_op *op, error **e) {
  int fd = -1, got;
  fork_prepare();
  while ((got = try(p, 0, &fd, e)) == 0) {
    if (shadows_stopped(op, e)) return -1;
    struct timespec turn = {.tv_nsec = TURN_MS * 1000000L};
    nanosleep(&turn, NULL);
  }
  return got > 0 ? fd : -1;
}


void claim_give(int *claim) {
  fd_close(claim);
}
