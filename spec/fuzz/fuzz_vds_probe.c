/*
** What is on a disk, from its first bytes: file systems, tables, and how much
** is free. A disk is a file of any bytes here.
*/
#include <sys/mman.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/probe.h"

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static vds_slot slots[VDS_PARTITIONS_MOST];
  vds_probe p;
  vds_usage u;
  size_t count = 0;
  const off_t whole = 4 << 20;
  int fd = memfd_create("disk", MFD_CLOEXEC);
  if (fd < 0) return 0;
  if (ftruncate(fd, whole) == 0 &&
      pwrite(fd, data, size < (size_t)whole ? size : (size_t)whole, 0) >= 0) {
    error *e = vds_probe_fd(fd, &p);
    if (e == NULL && vds_probe_usage(fd, &p, &u) && u.free > u.size)
      __builtin_trap();
    error_unref(e);
    error_unref(vds_blkpg_table(fd, slots, &count));
    for (size_t i = 0; i < count; i++)
      if (slots[i].size == 0 || slots[i].start > (uint64_t)whole ||
          slots[i].size > (uint64_t)whole - slots[i].start)
        __builtin_trap();
  }
  close(fd);
  return 0;
}
