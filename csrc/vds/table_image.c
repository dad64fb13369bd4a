/*
** table_image: what a disk has of tables, in memory, read by libfdisk.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/probe.h"
#include "vds/table_parts.h"

enum {
  EDGE = 1 << 20, /* of the beginning and of the end */
  PAGE = 4096,
  LOGICALS_MOST = 128,
  GPT_SECTORS = 34 /* protective MBR, header, 128 entries */
};


/* ------------------------------------------------------------------
** Copying
** ---------------------------------------------------------------- */

static error *look(int fd, vds_table *t) {
  struct stat st;
  int sector = 512;
  if (fstat(fd, &st) != 0)
    return vds_errno(errno, "the disk cannot be looked at", NULL);
  t->size = (uint64_t)st.st_size;
  if (S_ISBLK(st.st_mode) && (ioctl(fd, BLKGETSIZE64, &t->size) != 0 ||
                              ioctl(fd, BLKSSZGET, &sector) != 0))
    return vds_errno(errno, "the disk does not tell its size", NULL);
  if (sector < 512 || sector > PAGE || (sector & (sector - 1)) != 0)
    return vds_error(VDS_E_NOT_SUPPORTED, "its sectors have %d bytes", sector);
  t->sector = (unsigned)sector;
  t->size -= t->size % t->sector;
  if (t->size > INT64_MAX) t->size = INT64_MAX - PAGE;
  return NULL;
}


static bool has(const vds_table *t, uint64_t at) {
  for (size_t i = 0; i < t->copied; i++)
    if (at >= t->copies[i].from && at < t->copies[i].to) return true;
  return false;
}


/* Whole pages, as the image is made of. */
static error *copy(int fd, vds_table *t, uint64_t from, uint64_t to) {
  char page[PAGE];
  from -= from % PAGE;
  if (to > t->size) to = t->size;
  if (from >= to || t->copied == VDS_COPIES_MOST) return NULL;
  for (uint64_t at = from; at < to;) {
    size_t want = to - at < PAGE ? (size_t)(to - at) : PAGE;
    ssize_t n = pread(fd, page, want, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return vds_errno(n < 0 ? errno : EIO, "the table cannot be read", NULL);
    if (pwrite(t->image, page, (size_t)n, (off_t)at) != n)
      return vds_errno(errno, "there is no memory for the table", NULL);
    at += (uint64_t)n;
  }
  t->copies[t->copied].from = from;
  t->copies[t->copied++].to = to;
  return NULL;
}


static error *copy_sector(int fd, vds_table *t, uint64_t at) {
  if (at >= t->size || has(t, at)) return NULL;
  return copy(fd, t, at, at - at % PAGE + PAGE);
}


static uint64_t le(const unsigned char *at, unsigned bytes) {
  uint64_t n = 0;
  while (bytes-- > 0) n = n << 8 | at[bytes];
  return n;
}


static bool sector_at(const vds_table *t, uint64_t at, unsigned char *bytes) {
  return at < t->size && pread(t->image, bytes, 512, (off_t)at) == (ssize_t)512;
}


/* The link to the next logical partition, in sectors; 0: there is none. */
static uint64_t link_in(const unsigned char *s) {
  if (s[510] != 0x55 || s[511] != 0xAA) return 0;
  for (const unsigned char *p = s + 446; p < s + 510; p += 16)
    if (p[4] == 0x05 || p[4] == 0x0F || p[4] == 0x85) return le(p + 8, 4);
  return 0;
}


/* The chain of logical partitions, wherever it goes: a ring of it ends, too. */
static error *copy_chain(int fd, vds_table *t) {
  unsigned char s[512];
  error *e = NULL;
  if (!sector_at(t, 0, s)) return NULL;
  uint64_t first = link_in(s), next = first;
  for (int i = 0; e == NULL && next != 0 && i < LOGICALS_MOST; i++) {
    uint64_t at = next * t->sector;
    e = copy_sector(fd, t, at);
    if (e != NULL || !sector_at(t, at, s)) break;
    uint64_t step = link_in(s);
    next = step != 0 ? first + step : 0;
  }
  return e;
}


/* The other header of a GPT whose disk has grown, and its entries before it. */
static error *copy_alternate(int fd, vds_table *t) {
  unsigned char s[512];
  uint64_t sectors = t->size / t->sector;
  if (!sector_at(t, t->sector, s) || memcmp(s, "EFI PART", 8) != 0) return NULL;
  uint64_t lba = le(s + 32, 8);
  if (lba >= sectors) return NULL;
  error *e = copy_sector(fd, t, lba * t->sector);
  if (e != NULL || !sector_at(t, lba * t->sector, s)) return e;
  uint64_t entries = le(s + 72, 8);
  if (entries >= lba || lba - entries >= GPT_SECTORS) return NULL;
  for (; e == NULL && entries < lba; entries++)
    e = copy_sector(fd, t, entries * t->sector);
  return e;
}


/* What the disk's own pages remember may be old: partitions have theirs. */
error *vds_table_copy(int fd, vds_table *t) {
  *t = VDS_TABLE_NONE;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  error *e = look(fd, t);
  if (e != NULL) return e;
  if (t->size < (uint64_t)t->sector * 4)
    return vds_error(VDS_E_VOLUME_TOO_SMALL,
                     "%llu bytes are too few for a partition table",
                     (unsigned long long)t->size);
  t->image = memfd_create("saros-table", MFD_CLOEXEC);
  if (t->image < 0 || ftruncate(t->image, (off_t)t->size) != 0)
    return vds_errno(errno, "there is no memory for the table", NULL);
  uint64_t tail = t->size > 2 * (uint64_t)EDGE ? t->size - EDGE : EDGE;
  e = copy(fd, t, 0, EDGE);
  if (e == NULL) e = copy(fd, t, tail, t->size);
  if (e == NULL) e = copy_chain(fd, t);
  if (e == NULL) e = copy_alternate(fd, t);
  return e;
}


void vds_table_free(vds_table *t) {
  if (t->fdisk != NULL) {
    fdisk_deassign_device(t->fdisk, 1);
    fdisk_unref_context(t->fdisk);
  }
  if (t->image >= 0) close(t->image);
  t->fdisk = NULL;
  t->image = -1;
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* No dialogs: a question is answered with "no answer", a complaint is kept. */
static int asked(struct fdisk_context *fdisk, struct fdisk_ask *ask,
                 void *context) {
  vds_table *t = context;
  (void)fdisk;
  int type = fdisk_ask_get_type(ask);
  if (type != FDISK_ASKTYPE_WARN && type != FDISK_ASKTYPE_WARNX)
    return type == FDISK_ASKTYPE_INFO ? 0 : -EINVAL;
  const char *text = fdisk_ask_print_get_mesg(ask);
  /* A disk that has grown is no damaged one. */
  if (text != NULL && strstr(text, "will be corrected by write") != NULL)
    return 0;
  if (t->said[0] == '\0' && text != NULL)
    snprintf(t->said, sizeof t->said, "%s", text);
  return 0;
}


error *vds_table_error(const vds_table *t, uint32_t code, const char *what,
                       int number) {
  if (number == -ENOMEM) return error_no_memory();
  return vds_error(code, "%s%s%s", what, t->said[0] != '\0' ? ": " : "",
                   t->said[0] != '\0' ? t->said : "");
}


static error *begin(vds_table *t, bool read_only) {
  t->fdisk = fdisk_new_context();
  if (t->fdisk == NULL) return error_no_memory();
  fdisk_set_ask(t->fdisk, asked, t);
  fdisk_disable_dialogs(t->fdisk, 1);
  fdisk_enable_wipe(t->fdisk, 0);
  fdisk_save_user_sector_size(t->fdisk, t->sector, t->sector);
  int r = fdisk_assign_device_by_fd(t->fdisk, t->image, "the disk", read_only);
  if (r == 0) return NULL;
  return vds_table_error(t, VDS_E_CORRUPT_PARTITION_INFO,
                         "the table cannot be read", r);
}


static error *not_ours(const vds_probe *p) {
  if (strcmp(p->table, "PMBR") == 0)
    return vds_error(VDS_E_CORRUPT_PARTITION_INFO,
                     "the disk had a GPT, of which neither copy is whole; "
                     "initialize or clean it, or mend it with gdisk");
  return vds_error(VDS_E_PARTITION_STYLE_MISMATCH,
                   "the disk has a table of the kind '%s'; only GPT and MBR "
                   "can be worked with",
                   p->table);
}


/* Both headers of a GPT are looked for where no protective MBR says that there
   is one: it is no empty disk. */
static bool remains(const vds_table *t) {
  unsigned char s[512];
  uint64_t last = t->size - t->sector;
  return (sector_at(t, t->sector, s) && memcmp(s, "EFI PART", 8) == 0) ||
         (sector_at(t, last, s) && memcmp(s, "EFI PART", 8) == 0);
}


static error *agree(vds_table *t, const vds_probe *p) {
  bool gpt = fdisk_is_label(t->fdisk, GPT), mbr = fdisk_is_label(t->fdisk, DOS);
  if (p->table[0] == '\0') {
    t->style[0] = '\0';
    if (!remains(t)) return NULL;
    return vds_error(VDS_E_CORRUPT_PARTITION_INFO,
                     "the disk had a GPT, and its first sector is lost; "
                     "initialize or clean it, or mend it with gdisk");
  }
  bool same = strcmp(p->table, "gpt") == 0   ? gpt
              : strcmp(p->table, "dos") == 0 ? mbr
                                             : false;
  if (strcmp(p->table, "dos") == 0 && gpt)
    return vds_error(VDS_E_PARTITION_STYLE_MISMATCH,
                     "the disk has both an MBR and a GPT");
  snprintf(t->style, sizeof t->style, "%s",
           strcmp(p->table, "dos") == 0 ? "mbr" : p->table);
  if (!same) return not_ours(p);
  if (gpt && fdisk_gpt_is_hybrid(t->fdisk))
    return vds_error(VDS_E_PARTITION_STYLE_MISMATCH,
                     "the disk has a hybrid table, GPT and MBR, of which only "
                     "one would be changed");
  return NULL;
}


error *vds_table_read(int fd, vds_table *t, bool read_only) {
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_probe_fd(fd, p);
  if (e == NULL) e = begin(t, read_only);
  if (e == NULL) e = agree(t, p);
  mem_free(p);
  return e;
}


/* ------------------------------------------------------------------
** Making and storing
** ---------------------------------------------------------------- */

static error *blank(vds_table *t, uint64_t from, uint64_t to) {
  static const char zeros[PAGE];
  for (uint64_t at = from; at < to && at < t->size; at += t->sector)
    if (pwrite(t->image, zeros, t->sector, (off_t)at) != (ssize_t)t->sector)
      return vds_errno(errno, "there is no memory for the table", NULL);
  return NULL;
}


error *vds_table_make(vds_table *t, const char *style, const char *id) {
  uint64_t edge = (uint64_t)GPT_SECTORS * t->sector;
  bool gpt = strcmp(style, "gpt") == 0;
  if (gpt && t->size < 2 * edge)
    return vds_error(VDS_E_VOLUME_TOO_SMALL, "%llu bytes are too few for a GPT",
                     (unsigned long long)t->size);
  error *e = blank(t, 0, edge);
  if (e == NULL && t->size > 2 * edge)
    e = blank(t, t->size - edge + t->sector, t->size);
  if (e == NULL) e = begin(t, false);
  if (e != NULL) return e;
  int r = fdisk_create_disklabel(t->fdisk, gpt ? "gpt" : "dos");
  if (r == 0 && id != NULL &&
      fdisk_set_disklabel_id_from_string(t->fdisk, id) != 0)
    return vds_error(SAROS_E_INVALIDARG,
                     "table_uuid: '%.60s' is no id of a table", id);
  if (r != 0)
    return vds_table_error(t, VDS_E_INTERNAL_ERROR, "the table cannot be made",
                           r);
  snprintf(t->style, sizeof t->style, "%s", style);
  return NULL;
}


error *vds_table_store(vds_table *t) {
  int r = fdisk_write_disklabel(t->fdisk);
  if (r != 0)
    return vds_table_error(t, VDS_E_CORRUPT_PARTITION_INFO,
                           "the table cannot be written so", r);
  /* Data where the disk was not read: entries that lie far from its edges. */
  for (off_t at = 0; (at = lseek(t->image, at, SEEK_DATA)) >= 0; at += PAGE) {
    if (has(t, (uint64_t)at)) continue;
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "the table keeps its entries in the middle of the disk");
  }
  return NULL;
}
