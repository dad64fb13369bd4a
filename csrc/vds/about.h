/*
** Block devices, as /sys tells of them, without a look at the device itself: no
** disk wakes up for it. By number, never by a name that somebody could have
** moved.
*/
#ifndef SAROS_VDS_ABOUT_H
#define SAROS_VDS_ABOUT_H

#include "vds/vds.h"

typedef struct vds_about {
  dev_t dev;
  dev_t whole;     /* the disk that a partition is on, else dev */
  uint64_t size;   /* bytes */
  uint64_t start;  /* of a partition, on its disk */
  uint64_t seq;    /* counts the media that this number had; 0: not known */
  unsigned number; /* of a partition, from 1; 0: a disk */
  bool read_only, removable;
  bool bound;    /* a loop device that has a file, wherever that is */
  char name[64]; /* below /dev: "loop0p1", "mapper/…" is not here */
  /* The rest is only read for one device, not in a listing. */
  unsigned block, physical; /* bytes of a sector */
  bool rotational, autoclear;
  char model[128], serial[128]; /* "" */
  /* Last, so that many can be kept with as much of it as there is. */
  char file[4096]; /* behind a loop device, as it is called today; or "" */
} vds_about;

/* One device with everything. VDS_E_OBJECT_NOT_FOUND: it is not there. */
error *vds_about_read(dev_t dev, vds_about *a);
/* As much of it as tells it from all others: its identity (object.h), its name,
   and whether it is read-only. */
error *vds_about_brief(dev_t dev, vds_about *a);
/* All of it, allocated; NULL and *e. */
vds_about *vds_about_new(dev_t dev, error **e);
/* Every disk that has a medium, and behind each its partitions; what vanishes
   meanwhile is left out. `each` returns an error to end it with. */
error *vds_about_all(error *(*each)(void *context, const vds_about *a),
                     void *context);
/* The partitions of one disk, in the order of their numbers. */
error *vds_about_partitions(dev_t whole,
                            error *(*each)(void *context, const vds_about *a),
                            void *context);
/* Devices that this one (dm, md, bcache) stands directly on, by /sys/…/slaves.
   At most `most`; how many. */
size_t vds_about_slaves(dev_t dev, dev_t *list, size_t most);
/* The members of every btrfs that is mounted anywhere, with its id. */
void vds_about_btrfs(void (*each)(void *context, const char *id, dev_t member),
                     void *context);
/* "/dev/loop0p1": the node, looked up by number and checked, or an error. */
error *vds_about_node(dev_t dev, char path[80]);
error *vds_about_path(const vds_about *a, char path[80]);
/* about_named.c: the device of a path that a person named: a node, a link to
   one, or a directory that a file system is mounted on. */
error *vds_about_named(const char *path, dev_t *dev);

#endif
