/*
** Inside of the mirrors: what adding, removing and replacing a device have in
** common, and what reap does, too. What must be known to go on or to go back is
** in the record "plex": verb (add, remove, repair), fs (its id), step
** ("forward" or "back"), data, meta (profiles before), to_data, to_meta, before
** (the uuids of its members), device and uuid of the member in question, member
** (the identity of its device), path.
*/
#ifndef SAROS_VDS_PLEX_PARTS_H
#define SAROS_VDS_PLEX_PARTS_H

#include "vds/btrfs.h"
#include "vds/plex.h"
#include "vds/probe.h"
#include "vds/record.h"

/* Of every device that it has. */
typedef struct vds_plex_locks {
  vds_target items[VDS_BTRFS_MOST];
  size_t count;
} vds_plex_locks;

typedef struct vds_plex {
  vds_call *c;
  vds_btrfs fs;
  vds_identity one; /* options.object */
  vds_identity two; /* options.other */
  vds_target object;
  vds_plex_locks locks; /* while it works */
  vds_target other;     /* a new member: exclusively, until it is one */
  vds_probe had;        /* what was on it */
  bool cleared;
  char *at; /* of records */
  value *record;
  bool saved;
  uint64_t data, meta, to_data, to_meta;
  unsigned copies; /* now */
} vds_plex;

/* plex_lock.c. Keeps other processes off all of its devices, with the patience
   of vds_target_open: VDS_E_ANOTHER_CALL_IN_PROGRESS. To be unlocked also after
   an error. */
error *vds_plex_lock(vds_plex_locks *l, const vds_btrfs *b);
/* For one that has gone. */
void vds_plex_unlock_one(vds_plex_locks *l, dev_t dev);
void vds_plex_unlock(vds_plex_locks *l);
/* For this call and this process: the claims of all members. */
error *vds_plex_claim(vds_call *c, const vds_btrfs *b);

/* How many copies a profile has: 1 to 4; 0: it is kept otherwise (raid5 …). */
unsigned vds_plex_copies(uint64_t profile);
/* What data and metadata get for so many copies on so many devices. */
void vds_plex_profiles(unsigned copies, size_t devices, uint64_t *data,
                       uint64_t *meta);

/* Bytes that a device needs for chunks to be moved there and back, in a file
   system that grows by `more` bytes. */
uint64_t vds_plex_chunks(const vds_btrfs *b, uint64_t more);
/* Whether every device but one has them: VDS_E_NOT_ENOUGH_SPACE. The kernel
   gives a file system up, read-only, when it finds no room for a chunk in the
   middle of moving one. */
error *vds_plex_room(const vds_btrfs *b, const vds_btrfs_member *except,
                     uint64_t more);

/* Reads both objects, finds the file system, judges the volume, claims and
   locks. False in *go: it was a plan that says no. vds_plex_done is called in
   any case. */
error *vds_plex_begin(vds_call *c, vds_plex *p, bool *go);
/* For a new member: judged, opened exclusively. False in *go: a plan. */
error *vds_plex_admit(vds_plex *p, bool *go);
/* Nothing of what was on it is left; it can be added now. */
error *vds_plex_clear(vds_plex *p);
/* Writes the record, which says all that is known by now. */
error *vds_plex_record(vds_plex *p, const char *verb,
                       const vds_btrfs_member *member);
/* From now on the member is who comes next. */
error *vds_plex_newcomer(vds_plex *p);
error *vds_plex_going(const char *at, value *record, const char *step);
/* What the new one was is told, if it was something. */
void vds_plex_lost(vds_plex *p);
/* It has ended well: the record is forgotten, the output made. */
error *vds_plex_whole(vds_plex *p);
/* It was undone: the record is forgotten, unless there is something left. */
void vds_plex_undone(vds_plex *p, error *e);
void vds_plex_done(vds_plex *p);

/* The member that the record is about, or NULL: it is none (any more). */
const vds_btrfs_member *vds_plex_member(const vds_btrfs *b,
                                        const value *record);
uint64_t vds_plex_number(const value *record, const char *name);
/* Converted back, and without the new device. */
error *vds_plex_undo_add(vds_call *c, vds_btrfs *b, const value *record);
/* Converted, and without the old device. `undoing` as in balance.h. */
error *vds_plex_remove(vds_call *c, vds_btrfs *b, const value *record,
                       const char *undoing);

#endif
