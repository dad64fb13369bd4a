/*
** The mount table of this process's namespace, as the kernel tells it in
** /proc/self/mountinfo: read whole, and every name decoded.
*/
#ifndef SAROS_VSS_MOUNTS_H
#define SAROS_VSS_MOUNTS_H

#include <sys/types.h>

#include "base/base.h"

typedef struct mount_entry {
  uint64_t id;
  dev_t dev;     /* of the file system; of btrfs an anonymous one */
  char *root;    /* the part of the file system that is mounted: "/", "/sub" */
  char *point;   /* where, absolute */
  char *options; /* of the mount, then of the file system */
  char *type;
  char *source; /* "/dev/loop0"; a name, and not to be believed */
} mount_entry;

typedef struct mount_table {
  mount_entry *items; /* in the kernel's order: what is mounted over another
                         thing comes after it */
  size_t count;
} mount_table;

/* Blocking. NULL and *e. */
mount_table *mount_table_read(error **e);
void mount_table_free(mount_table *t);
const mount_entry *mount_table_find(const mount_table *t, uint64_t id);
/* The mount that an open file (also with O_PATH) came through. 0 or an
   errno. */
int mount_id_of(int fd, uint64_t *id);
/* The same from a text, for tests and fuzzers. */
mount_table *mount_table_parse(char *text, size_t size);

#endif
