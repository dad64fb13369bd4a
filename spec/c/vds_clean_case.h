/*
** What the suites about clean share: a virtual disk with a GPT, an ext2 and a
** raw partition, attached, and what is on it afterwards.
*/
#ifndef SAROS_SPEC_VDS_CLEAN_CASE_H
#define SAROS_SPEC_VDS_CLEAN_CASE_H

#include "vds/clean.h"
#include "vds/refuse.h"
#include "vds_case.h"

enum { MIB = 1 << 20, SIZE = 24 * MIB };

/* A virtual disk with a GPT, an ext4 and a raw partition, attached. */
static const char *disk_path;
static char node[80], part[2][100];
static vds_identity who;
static char object[400]; /* what a call takes for it */

static inline void identify(const answer *a) {
  CHECK_INT(a->code, 0);
  CHECK(vds_identity_get(a->output, &who));
  snprintf(node, sizeof node, "%s", text_of(a->output, "path"));
  for (int i = 0; i < 2; i++)
    snprintf(part[i], sizeof part[i], "%sp%d", node, i + 1);
  snprintf(object, sizeof object,
           "{'major':%u,'minor':%u,'disk_major':%u,'disk_minor':%u,'seq':%llu,"
           "'size':%llu,'number':0}",
           major(who.dev), minor(who.dev), major(who.dev), minor(who.dev),
           (unsigned long long)who.seq, (unsigned long long)who.size);
}

static inline bool attach_disk(void) {
  answer a = ask("attach", "{'path':'%s'}", disk_path);
  identify(&a);
  forget(&a);
  return true;
}

/* One is made; the others are copies of what is not zero in it. */
static inline void copy_disk(const char *from) {
  static char bytes[MIB];
  int in = open(from, O_RDONLY | O_CLOEXEC);
  int out = open(disk_path, O_RDWR | O_CLOEXEC);
  for (off_t at = 0; pread(in, bytes, MIB, at) == MIB; at += MIB)
    if (bytes[0] != 0 || memcmp(bytes, bytes + 1, MIB - 1) != 0)
      CHECK_INT(pwrite(out, bytes, MIB, at), MIB);
  close(in);
  close(out);
}

static inline bool new_disk(unsigned megabytes) {
  static char first[300]; /* of SIZE */
  disk_path = make_image(megabytes);
  if (megabytes == SIZE / MIB && first[0] != '\0') {
    copy_disk(first);
    return attach_disk();
  }
  bool good = volumes_run(
                  "printf 'label: gpt\\n,8M\\n,8M\\n' | sfdisk -q '%s' "
                  ">/dev/null 2>&1",
                  disk_path) == 0 &&
              attach_disk() &&
              volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", part[0]) == 0;
  if (!good || megabytes != SIZE / MIB) return good;
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", disk_path), 0);
  snprintf(first, sizeof first, "%s", disk_path);
  return new_disk(megabytes);
}

#define NEED_DISK(megabytes) \
  NEED_DISKS();              \
  if (!new_disk(megabytes)) SKIP("needs sfdisk and mke2fs: fdisk, e2fsprogs")

static inline void end_disk(void) {
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", disk_path), 0);
}

static inline answer clean(const char *more) {
  return ask("clean", "{'object':%s%s}", object, more);
}

static inline saros_op *begin_clean(const char *more) {
  return begin("clean", "{'object':%s%s}", object, more);
}

static inline char *bytes_of(const char *path, off_t from, size_t size) {
  char *bytes = calloc(1, size);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK_INT(pread(fd, bytes, size, from), size);
  close(fd);
  return bytes;
}

static inline bool is_zero(const char *path, off_t from, size_t size) {
  char *bytes = bytes_of(path, from, size);
  bool zero = bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
  free(bytes);
  return zero;
}

static inline const char *found_on(const char *path) {
  static char text[64];
  answer a = ask("volume", "{'path':'%s'}", path);
  snprintf(text, sizeof text, "%s", text_of(a.output, "fs"));
  forget(&a);
  return text;
}

/* What its first answer of status().cleanup says. */
static inline bool left_over(saros_op *op, const char *what) {
  value *status = op_status(op);
  const value *list = value_get(status, "cleanup");
  bool said = list != NULL && list->count > 0 &&
              strstr(value_chars(list->as.items[0], ""), what) != NULL;
  value_free(status);
  return said;
}

static inline int partitions(void) {
  return (access(part[0], F_OK) == 0) + (access(part[1], F_OK) == 0);
}

#endif
