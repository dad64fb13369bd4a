/*
** fs_vfat: made by mkfs.vfat, which writes its signature first: one whose maker
** was killed looks whole, and is not believed before its tables were looked at.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vds/fs_parts.h"


enum { AHEAD = 1 << 20, AHEAD_MOST = 8 << 20 };

/* It writes a sector at a time, and for each page of its two tables the kernel
   reads first what it was: so it is read before, all at once. */
static void ask_ahead(const vds_target *t) {
  uint64_t size = t->is.size / 512 + AHEAD / 16;
  if (size > AHEAD_MOST) size = AHEAD_MOST;
  for (uint64_t at = 0; at < size; at += AHEAD)
    posix_fadvise(t->fd, (off_t)at,
                  (off_t)(size - at < AHEAD ? size - at : AHEAD),
                  POSIX_FADV_WILLNEED);
}


/* A block is what FAT calls a cluster. */
static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  char sectors[16], id[GUID_TEXT];
  size_t size = 0;
  for (const char *s = o->uuid; *s != '\0'; s++)
    if (*s != '-') id[size++] = *s;
  id[size] = '\0';
  const char *argv[16] = {"mkfs.vfat", "-I", "-i", id};
  size_t n = 4;
  if (o->label != NULL && *o->label != '\0') {
    argv[n++] = "-n";
    argv[n++] = o->label;
  }
  if (o->block > 0) {
    snprintf(sectors, sizeof sectors, "%u", o->block / 512);
    argv[n++] = "-s";
    argv[n++] = sectors;
  }
  argv[n++] = t->path;
  argv[n] = NULL;
  ask_ahead(t);
  const vds_tool tool = {
      .argv = argv, .package = vds_fs_vfat.package, .lock = o->lock};
  return vds_tool_run(c, &tool, NULL);
}


/* ------------------------------------------------------------------
** Whether it is whole
** ---------------------------------------------------------------- */

enum { PIECE = 1 << 12, ENTRY = 32 };

/* In bytes, from the beginning of the device. */
typedef struct fat {
  int fd;
  uint64_t table, size, root, root_size;
  unsigned tables, reserved; /* bytes of a table that mean no cluster */
  unsigned char media;
  bool dirty; /* mounted, and not unmounted since */
  int failed; /* what could not be read says nothing about it */
} fat;


static unsigned le16(const unsigned char *at) {
  return at[0] | (unsigned)at[1] << 8;
}


static uint64_t le32(const unsigned char *at) {
  return le16(at) | (uint64_t)le16(at + 2) << 16;
}


/* False also where it ends early. */
static bool get(fat *f, void *bytes, size_t size, uint64_t at) {
  ssize_t n = pread(f->fd, bytes, size, (off_t)at);
  if (n < 0) f->failed = errno;
  return n == (ssize_t)size;
}


static bool read_fat(fat *f, uint64_t from) {
  unsigned char b[512];
  if (!get(f, b, sizeof b, from)) return false;
  unsigned sector = le16(b + 11), entries = le16(b + 17);
  bool large = le16(b + 22) == 0; /* FAT32 */
  uint64_t sectors = large ? le32(b + 36) : le16(b + 22);
  if (sector < 512 || sector > 4096 || b[13] == 0 || b[16] == 0 ||
      sectors == 0 || (large ? le32(b + 44) < 2 : entries == 0))
    return false;
  bool small = memcmp(b + 54, "FAT12", 5) == 0;
  f->table = from + (uint64_t)le16(b + 14) * sector;
  f->size = sectors * sector;
  f->tables = b[16];
  f->media = b[21];
  f->reserved = large ? 12 : small ? 3 : 4;
  f->dirty = (b[large ? 65 : 37] & 1) != 0;
  f->root = f->table + f->tables * f->size;
  if (large) f->root += (le32(b + 44) - 2) * b[13] * sector;
  f->root_size = large ? (uint64_t)b[13] * sector : (uint64_t)entries * ENTRY;
  return true;
}


/* The tables are written one after the other. *used: a cluster is taken. */
static bool tables_agree(fat *f, bool *used) {
  unsigned char one[PIECE], two[PIECE];
  bool good = true;
  *used = false;
  for (uint64_t at = 0; good && at < f->size; at += PIECE) {
    size_t n = f->size - at < PIECE ? (size_t)(f->size - at) : PIECE;
    good = get(f, one, n, f->table + at);
    if (good && at == 0) good = one[0] == f->media && one[1] == 0xFF;
    for (size_t i = at == 0 ? f->reserved : 0; good && i < n && !*used; i++)
      *used = one[i] != 0;
    for (unsigned k = 1; good && k < f->tables; k++)
      good = get(f, two, n, f->table + k * f->size + at) &&
             memcmp(one, two, n) == 0;
  }
  return good;
}


/* It is written last. Of a new one it has a label at most; what was there
   before has files. */
static bool root_is_new(fat *f) {
  unsigned char e[ENTRY];
  for (uint64_t at = 0; at < f->root_size; at += ENTRY) {
    if (!get(f, e, ENTRY, f->root + at)) return false;
    if (e[0] == 0) return true;
    if (e[0] != 0xE5 && (e[11] & 0xC8) != 0x08) return false;
  }
  return true;
}


/* What somebody has put there since is his, whatever its maker's end was. */
static error *is_whole(int fd, uint64_t from, bool *whole) {
  fat f = {.fd = fd};
  bool used;
  *whole = read_fat(&f, from) &&
           (f.dirty || (tables_agree(&f, &used) && (used || root_is_new(&f))));
  if (f.failed == 0) return NULL;
  return vds_errno(f.failed, "a half-made vfat cannot be looked at", NULL);
}


const vds_fs vds_fs_vfat = {
    .name = "vfat",
    .package = "dosfstools",
    .maker = "mkfs.vfat",
    .label_most = 11,
    .label_not = "*?.,;:/\\|+=<>[]\"",
    .least = 64 << 10,
    .most = (UINT64_C(2) << 40) - 512,
    .block_least = 512,
    .block_most = 64 << 10,
    .format = format,
    .check = vds_vfat_check,
    .label = vds_vfat_label,
    .is_whole = is_whole,
};
