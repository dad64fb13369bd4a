/*
** restore_verify: files are read back, and each of their parts must be the blob
** that it was made of.
*/
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "repository/restore_parts.h"

bool repo_verify_part(crew_mate *m, int fd, const plan_blob *b,
                      uint64_t offset) {
  size_t size = b->plain_length ? b->plain_length : b->length - REPO_SEAL;
  size_t got = 0;
  repo_id id;
  if (!repo_space_ensure(&m->text, size)) return false;
  while (got < size) {
    ssize_t n =
        pread(fd, m->text.data + got, size - got, (off_t)(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    got += (size_t)n;
  }
  repo_id_of(&id, m->text.data, size);
  return repo_id_equal(&id, &b->id);
}

static error *verify(restore *r, crew_mate *m, const item *it, int fd) {
  struct stat st;
  uint64_t offset = 0;
  if (fstat(fd, &st) != 0)
    return repo_place_error("it cannot be read back", errno);
  if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != it->size)
    return repo_error(SAROS_E_CHANGED,
                      "it is not as long as it was when it was restored: "
                      "somebody has written to it");
  for (uint32_t k = it->use; k < it->use + it->uses; k++) {
    const plan_blob *b = &r->blobs_of[r->uses[k] & ~USE_HAS];
    if (!repo_restore_goes_on(r)) return NULL;
    if (!repo_verify_part(m, fd, b, offset))
      return repo_error(SAROS_E_DAMAGED,
                        "from byte %llu on it is not what was written: "
                        "somebody has changed it since, or the disk is failing",
                        (unsigned long long)offset);
    offset += b->plain_length ? b->plain_length : b->length - REPO_SEAL;
  }
  return NULL;
}

void repo_verify_item(restore *r, crew_mate *m, uint32_t i) {
  const item *it = &r->items[i];
  bool mine = it->state == ITEM_DONE || it->state == ITEM_SAME;
  if (it->type != REPO_NODE_FILE || it->link != NO_ITEM || !mine) return;
  int dir = repo_place_open(m, it->folder);
  int fd = dir >= 0 ? openat(dir, it->name,
                             O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
                    : -1;
  error *e = fd >= 0 ? verify(r, m, it, fd)
                     : repo_place_error("it cannot be read back", errno);
  if (fd >= 0) close(fd);
  if (e != NULL) repo_restore_failed(r, i, e);
}
