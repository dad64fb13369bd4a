/*
** fs_ext4_resize: another size for ext2 to ext4. Grown by the kernel where it
** is mounted, by resize2fs where it is not; shrunk by resize2fs alone, which
** writes down what it overwrites, so that who ends it in the middle can have
** everything back (e2undo).
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vds/fs_parts.h"
#include "vds/step.h"

#define PACKAGE "e2fsprogs"
#define RESIZE_FS _IOW('f', 16, uint64_t) /* EXT4_IOC_RESIZE_FS */

/* Of the super block. */
enum { SUPER = 1024, MOUNTED_AT = 0x2C, CHECKED_AT = 0x40, NEEDS = 0x60 };
#define NEEDS_RECOVERY 0x4u


/* With smaller blocks a resize2fs that writes an undo file damages the inode it
   grows by, or gives up at what it wrote itself (e2fsprogs 1.47). */
#define UNDO_BLOCK 2048


/* Of an undo file: where it has the super block as it was, in its own blocks.
 */
enum { HEAD = 512, HEAD_SUPER = 16, HEAD_BLOCK = 32 };


static uint32_t le32(const unsigned char *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
         (uint32_t)at[3] << 24;
}


/* *due: resize2fs would not begin without a check of all of it. */
static error *look(const vds_target *t, vds_usage *u, bool *due) {
  unsigned char s[256];
  const vds_probe kind = {.fs = "ext4"};
  if (!vds_probe_usage(t->fd, &kind, u) || u->block == 0)
    return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                     "the super block of %s is damaged; check it first",
                     t->path);
  if (pread(t->fd, s, sizeof s, SUPER) != (ssize_t)sizeof s)
    return vds_errno(errno, "the super block cannot be read", t->path);
  *due = !u->clean || (le32(s + NEEDS) & NEEDS_RECOVERY) != 0 ||
         le32(s + CHECKED_AT) < le32(s + MOUNTED_AT);
  return NULL;
}


/* A program may have written to what keeps nothing. */
static error *has_size(const vds_target *t, uint64_t blocks) {
  vds_usage u;
  bool due = false;
  error *e = vds_target_settle(t);
  if (e == NULL) e = look(t, &u, &due);
  if (e == NULL && u.size / u.block != blocks)
    e = vds_error(VDS_E_IO_ERROR,
                  "%s got another size, but what is read of it has not: it "
                  "does not keep what is written",
                  t->path);
  return e;
}


/* ------------------------------------------------------------------
** How small it can be
** ---------------------------------------------------------------- */

static void hear_minimum(void *context, int which, const char *text,
                         size_t size) {
  static const char words[] = "Estimated minimum size of the filesystem: ";
  uint64_t *blocks = context;
  char line[200];
  if (which != 1) return;
  snprintf(line, sizeof line, "%.*s", (int)size, text);
  if (strncmp(line, words, sizeof words - 1) == 0)
    *blocks = strtoull(line + sizeof words - 1, NULL, 10);
}


error *vds_ext4_space(vds_call *c, vds_target *t, vds_space *s) {
  vds_usage u;
  bool due = false;
  uint64_t blocks = 0;
  error *e = look(t, &u, &due);
  if (e != NULL) return e;
  const char *const argv[] = {"resize2fs", "-P", t->path, NULL};
  const vds_tool tool = {.argv = argv,
                         .package = PACKAGE,
                         .lock = -1,
                         .said = hear_minimum,
                         .context = &blocks};
  e = vds_fs_run(c, t, &tool, NULL);
  if (e != NULL) return e;
  *s = (vds_space){
      .size = u.size, .used = u.size - u.free, .undo = u.block >= UNDO_BLOCK};
  if (blocks <= u.size / u.block) s->minimum = blocks * u.block;
  return NULL;
}


/* ------------------------------------------------------------------
** Before it is resized
** ---------------------------------------------------------------- */

typedef struct hearing {
  vds_call *c;
  vds_saying saying;
} hearing;


static void hear_check(void *context, int which, const char *text,
                       size_t size) {
  hearing *h = context;
  int at = which == 1 ? vds_saying_e2fsck(&h->saying, text, size) : -1;
  if (at >= 0) vds_progress(h->c, (uint64_t)at, 1000);
}


/* -p mends what is safe to mend (a journal that is not read yet), and gives up
   at anything that somebody should decide about. */
static error *preen(vds_call *c, vds_target *t, bool to_its_end, int lock) {
  int status = 0;
  hearing h = {.c = c};
  const char *const argv[] = {"e2fsck", "-f", "-p", "-C", "1", t->path, NULL};
  const vds_tool tool = {.argv = argv,
                         .package = PACKAGE,
                         .lock = lock,
                         .ignore_cancel = to_its_end,
                         .good = 1u | 1u << 1 | 1u << 2 | 1u << 4,
                         .said = hear_check,
                         .context = &h};
  error *e = vds_fs_run(c, t, &tool, &status);
  if (e == NULL && status >= 4)
    e = vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                  "%s has errors that have to be decided about: check it with "
                  "repair first",
                  t->path);
  return e;
}


error *vds_ext4_ready(vds_call *c, vds_target *t, bool all, int lock) {
  vds_usage u;
  bool due = false;
  error *e = look(t, &u, &due);
  if (e == NULL && (due || all)) e = preen(c, t, false, lock);
  return e;
}


/* ------------------------------------------------------------------
** Larger
** ---------------------------------------------------------------- */

static void hear_resize(void *context, int which, const char *text,
                        size_t size) {
  hearing *h = context;
  int at = which == 1 ? vds_saying_resize2fs(&h->saying, text, size) : -1;
  if (at >= 0) vds_progress(h->c, (uint64_t)at, 1000);
}


static error *grow_online(const vds_target *t, int mount, uint64_t blocks) {
  if (ioctl(mount, RESIZE_FS, &blocks) == 0) return NULL;
  if (errno == EPERM)
    return vds_error(VDS_E_ACCESS_DENIED,
                     "%s cannot grow while it is mounted: that needs "
                     "CAP_SYS_RESOURCE. Unmounted it can, without",
                     t->path);
  return vds_errno(errno, "the file system does not grow", t->path);
}


error *vds_ext4_grow(vds_call *c, vds_target *t, int mount, uint64_t size,
                     int lock) {
  char blocks[32];
  vds_usage u;
  bool due = false;
  error *e = look(t, &u, &due);
  if (e != NULL) return e;
  if (mount >= 0) return grow_online(t, mount, size / u.block);
  hearing h = {.c = c};
  snprintf(blocks, sizeof blocks, "%llu", (unsigned long long)size / u.block);
  const char *const argv[] = {"resize2fs", "-p", t->path, blocks, NULL};
  const vds_tool tool = {.argv = argv,
                         .package = PACKAGE,
                         .lock = lock,
                         .ignore_cancel = true,
                         .said = hear_resize,
                         .context = &h};
  e = vds_fs_run(c, t, &tool, NULL);
  return e == NULL ? has_size(t, size / u.block) : e;
}


/* ------------------------------------------------------------------
** Smaller, and back
** ---------------------------------------------------------------- */

error *vds_ext4_shrink(vds_call *c, vds_target *t, int mount, uint64_t size,
                       const char *undo, int lock) {
  char blocks[32];
  vds_usage u;
  bool due = false;
  (void)mount;
  error *e = look(t, &u, &due);
  if (e != NULL) return e;
  hearing h = {.c = c};
  snprintf(blocks, sizeof blocks, "%llu", (unsigned long long)size / u.block);
  const char *argv[8] = {"resize2fs", "-p"};
  size_t n = 2;
  if (undo != NULL) {
    argv[n++] = "-z";
    argv[n++] = undo;
  }
  argv[n++] = t->path;
  argv[n] = blocks;
  const vds_tool tool = {.argv = argv,
                         .package = PACKAGE,
                         .lock = lock,
                         .ignore_cancel = undo == NULL,
                         .said = hear_resize,
                         .context = &h};
  e = vds_fs_run(c, t, &tool, NULL);
  return e == NULL ? has_size(t, size / u.block) : e;
}


/* Who was killed before he wrote down what he would overwrite has overwritten
   nothing: then there is no file, or one whose head is not written yet. What
   cannot be read is no such file. */
static error *has_begun(const char *undo, bool *begun) {
  char head[HEAD]; /* written at once */
  int fd = open(undo, O_RDONLY | O_CLOEXEC);
  *begun = false;
  if (fd < 0 && errno == ENOENT) return NULL;
  ssize_t n = fd >= 0 ? pread(fd, head, sizeof head, 0) : -1;
  error *e =
      n < 0 ? vds_errno(errno, "the undo file cannot be read", undo) : NULL;
  if (fd >= 0) close(fd);
  *begun = n == (ssize_t)sizeof head && memcmp(head, "E2UNDO02", 8) == 0;
  return e;
}


bool vds_ext4_was_mounted(int fd, const char *undo) {
  unsigned char head[HEAD], was[4], is[4];
  int file = open(undo, O_RDONLY | O_CLOEXEC);
  bool known = file >= 0 && pread(file, head, HEAD, 0) == HEAD &&
               memcmp(head, "E2UNDO02", 8) == 0;
  if (known) {
    off_t at = (off_t)le32(head + HEAD_SUPER) * le32(head + HEAD_BLOCK);
    known = pread(file, was, 4, at + MOUNTED_AT) == 4 &&
            pread(fd, is, 4, SUPER + MOUNTED_AT) == 4;
  }
  if (file >= 0) close(file);
  return known && memcmp(was, is, 4) != 0;
}


typedef struct undoing {
  bool failed, damaged;
} undoing;


static bool has(const char *text, size_t size, const char *words) {
  return memmem(text, size, words, strlen(words)) != NULL;
}


/* It goes on behind what it could not write, and calls that a success. */
static void hear_undo(void *context, int which, const char *text, size_t size) {
  undoing *u = context;
  (void)which;
  if (has(text, size, "IO error during replay")) u->failed = true;
  if (has(text, size, "orrupt") || has(text, size, "short read"))
    u->damaged = true;
}


/* e2undo is made to take a file whose super block was written meanwhile (-f):
   that it is this file system's is known by its uuid. */
static error *undo_by(vds_call *c, vds_target *t, const char *undo, bool really,
                      int lock) {
  undoing u = {0};
  const char *const argv[] = {"e2undo", really ? "-f" : "-fn", undo, t->path,
                              NULL};
  const vds_tool tool = {.argv = argv,
                         .package = PACKAGE,
                         .lock = lock,
                         .ignore_cancel = true,
                         .said = hear_undo,
                         .context = &u};
  error *e = vds_fs_run(c, t, &tool, NULL);
  if (e == NULL && u.failed)
    return vds_error(VDS_E_IO_ERROR,
                     "not everything that was overwritten on %s could be "
                     "written back",
                     t->path);
  if (e == NULL || !u.damaged) return e;
  return error_because(
      vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                "what would be written back to %s is not whole, so nothing is; "
                "check it with repair",
                t->path),
      e);
}


/* So made it also writes back what by its checksums is none. The file is not
   synced before each block is overwritten, which would last longer than the
   work, so a loss of power may leave that: all of it is looked at before
   anything is written. */
static error *write_back(vds_call *c, vds_target *t, const char *undo,
                         int lock) {
  error *e = undo_by(c, t, undo, false, lock);
  vds_step("shrink: undo file looked at");
  if (e == NULL) e = undo_by(c, t, undo, true, lock);
  if (e == NULL) e = vds_target_settle(t); /* the check looks at the device */
  vds_step("shrink: undone");
  return e;
}


/* The check has the last word. */
error *vds_ext4_unshrink(vds_call *c, vds_target *t, const char *undo,
                         int lock) {
  bool begun = false;
  error *e = has_begun(undo, &begun);
  if (e == NULL && begun) e = write_back(c, t, undo, lock);
  if (e == NULL) e = preen(c, t, true, lock);
  vds_step("shrink: checked after that");
  return e;
}
