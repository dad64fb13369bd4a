/*
** Files in many pieces. A file that is written to at random and cloned often
** ends up in tens of thousands, and every clone has to take each in hand:
** measured, some 20 microseconds a piece on btrfs and 40 on XFS.
*/
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "vss/provider/tree_parts.h"

#define MANY 10000u
#define LOOKED_AT ((off_t)32 << 20) /* smaller ones cannot have so many */

#ifdef SAROS_TEST
_Atomic unsigned pieces_many;
#endif

static unsigned many(void) {
#ifdef SAROS_TEST
  unsigned n = atomic_load(&pieces_many);
  if (n != 0) return n;
#endif
  return MANY;
}

/* The number alone: nothing is asked about each. */
static unsigned pieces_of(int fd) {
  struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET};
  return ioctl(fd, FS_IOC_FIEMAP, &map) == 0 ? map.fm_mapped_extents : 0;
}

static double seconds_for(int fd, unsigned pieces) {
  struct statfs fs;
  bool btrfs =
      fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == BTRFS_SUPER_MAGIC;
  return pieces * (btrfs ? 20e-6 : 40e-6);
}

void pieces_look(tree *t, const file_end *end) {
  if (t->pass != 1 || end->was->st_size < LOOKED_AT) return;
  unsigned pieces = pieces_of(end->from);
  if (pieces < many()) return;
  buffer b = BUFFER_EMPTY;
  buffer_byte(&b, '"');
  copy_path(&t->c, &b, end->d, end->name, COPY_SOURCE);
  buffer_format(&b,
                "\" is in %u pieces: to clone it takes about %.1f s, under the "
                "hold too when it has just changed; a copy of it in its place "
                "(cp --reflink=never) would be in few",
                pieces, seconds_for(end->from, pieces));
  value *text = b.failed ? NULL : value_string(b.data, b.size);
  buffer_free(&b);
  pthread_mutex_lock(&t->c.lock);
  bool good = value_add(t->s->warnings, text);
  pthread_mutex_unlock(&t->c.lock);
  if (!good) copy_fail(&t->c, error_no_memory());
}
