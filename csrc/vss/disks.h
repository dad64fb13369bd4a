/*
** Block devices, as /sys tells of them: what a partition is a part of, what
** file a loop device shows, what disks a btrfs is made of. By number, never
** by a name that somebody could have moved.
*/
#ifndef SAROS_VSS_DISKS_H
#define SAROS_VSS_DISKS_H

#include <limits.h>
#include <sys/types.h>

#include "base/base.h"

/* The text of /sys/dev/block/<disk>/<name> without its last newline. False:
   there is none. */
bool disk_about(dev_t disk, const char *name, char text[PATH_MAX]);
/* The disk that a partition is on; the device itself when it is none. Where
   it begins and how long it is, in bytes (0, 0: all of it). */
dev_t disk_whole(dev_t device, uint64_t *start, uint64_t *size);
/* The file behind a loop device, as the kernel names it today. False: it is
   no loop device, has no file, or that has a name that is too long. */
bool disk_loop_file(dev_t disk, char path[PATH_MAX]);
/* Opens the node of a block device, looked up by number and checked. The fd,
   or -1 and errno. */
int disk_open(dev_t disk, int flags);
/* The path of that node, checked; allocated, NULL and errno. */
char *disk_name(dev_t disk);
/* The first disk of the btrfs that this fd is on (0: cannot be told), and
   how many it has. */
dev_t disk_of_btrfs(int fd, unsigned *count);
/* st_dev of the file behind a loop device, asked of the device itself. 0 when
   that may not be asked. */
dev_t disk_loop_origin(dev_t disk);
/* Loop devices between this device and a real disk. */
unsigned disk_loops_below(dev_t device);

#endif
