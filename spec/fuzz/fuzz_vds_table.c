/*
** Partition tables of any bytes: described, and, where libfdisk takes one for
** good, with a partition more or less. A disk is a file here: the input is its
** beginning; its last part, when the input is long enough, its end.
*/
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vds/table_parts.h"

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WHOLE = 4 << 20, END = 33 * 512 };

/* What is told of it lies on the disk, and free parts are in order. */
static void check_extents(const value *list, bool in_order) {
  int64_t at = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const value *one = list->as.items[i];
    int64_t offset = value_integer(value_get(one, "offset"), -1);
    int64_t bytes = value_integer(value_get(one, "size"), -1);
    if (offset < 0 || bytes < 0 || offset > WHOLE || bytes > WHOLE - offset)
      __builtin_trap();
    if (in_order && offset < at) __builtin_trap();
    at = offset + bytes;
  }
}


static void describe(int fd) {
  value *disk = value_map();
  error *e = disk != NULL ? vds_table_describe(fd, disk) : NULL;
  check_extents(value_get(disk, "table"), false);
  check_extents(value_get(disk, "free"), true);
  error_unref(e);
  value_free(disk);
}


/* One partition more where there is room, or one less; then what is changed is
   within the disk, and can be taken back. */
static void change(int fd, vds_table *t) {
  vds_extent all[VDS_EXTENTS_MOST];
  vds_changes changes = {0};
  vds_written how;
  size_t n = vds_table_free_extents(t, all, VDS_EXTENTS_MOST);
  size_t number = 0;
  struct fdisk_partition *p = fdisk_new_partition();
  if (n > 0 && p != NULL) {
    fdisk_partition_partno_follow_default(p, 1);
    fdisk_partition_set_start(p, all[0].at / t->sector);
    fdisk_partition_set_size(p, all[0].size / t->sector);
    fdisk_add_partition(t->fdisk, p, &number);
  } else {
    fdisk_delete_partition(t->fdisk, 0);
  }
  fdisk_unref_partition(p);
  error *e = vds_table_store(t);
  if (e == NULL) e = vds_changes_find(fd, t, &changes);
  if (e == NULL && changes.count > 0) {
    e = vds_changes_write(fd, &changes);
    if (e == NULL) e = vds_changes_look(fd, &changes, &how);
    if (e == NULL && how != VDS_WRITTEN_ALL) __builtin_trap();
    describe(fd);
    if (e == NULL) e = vds_changes_take_back(fd, &changes);
    if (e == NULL) e = vds_changes_look(fd, &changes, &how);
    if (e == NULL && how != VDS_WRITTEN_NONE) __builtin_trap();
  }
  for (size_t i = 0; i < changes.count; i++)
    if (changes.items[i].at + changes.items[i].size > WHOLE) __builtin_trap();
  error_unref(e);
  vds_changes_free(&changes);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static vds_table t;
  size_t head = size > 2 * END ? size - END : size;
  if (head > WHOLE - END) head = WHOLE - END;
  int fd = memfd_create("disk", MFD_CLOEXEC);
  if (fd < 0) return 0;
  bool good =
      ftruncate(fd, WHOLE) == 0 && pwrite(fd, data, head, 0) == (ssize_t)head;
  if (good && size > 2 * END)
    good = pwrite(fd, data + size - END, END, WHOLE - END) == (ssize_t)END;
  if (good) {
    describe(fd);
    error *e = vds_table_copy(fd, &t);
    if (e == NULL) e = vds_table_read(fd, &t, false);
    if (e == NULL && t.style[0] != '\0') change(fd, &t);
    error_unref(e);
    vds_table_free(&t);
  }
  close(fd);
  return 0;
}
