/*
** What is on disk before it is done: one small JSON file for each device that
** was attached and for each operation that must not be forgotten half-way,
** <state>/vds/<id>.json. Written whole beside it, synced, renamed; removed when
** there is nothing left to remember. Owners are named by boot, process number
** and start time: numbers come again.
**
** A record is a map: version = 1, id, kind, owner, and by kind
**   vdisk    path, file_device, file_inode, device ("7:3"), seq, persistent,
**            read_only                                         attach.c
**   format   object (identity), path, fs, uuid, state, file?   format.c
**   shrink   object, fs, size_before, size, undo? (a file), step   resize.c
**   extend   object, fs, size_before, size, step               resize.c
**   table    object, path, file_device, file_inode, changes { at, before,
**            after } (base64), state? ("failed")              table_write.c
**   plex     object, fs, verb, step, member …               plex_parts.h
** Paths are bytes: vds_with_path keeps them ("path", "path_b64").
*/
#ifndef SAROS_VDS_RECORD_H
#define SAROS_VDS_RECORD_H

#include "vds/vds.h"

/* The directory, made when missing and checked (options.state_dir may be
   NULL). Allocated, or NULL and *e. */
char *vds_records_at(const char *state_dir, error **e);
/* A new map with id, kind and us as owner; or NULL. */
value *vds_record_new(const char *kind);
error *vds_record_save(const char *at, const value *record);
/* The same in two halves: now it is seen by all, and stays whoever is killed;
   a loss of power it survives when both descriptors, its file's and its
   directory's, have been synced, in this order. Before that it may be torn, and
   then counts as none: so it must not take the place of one that still says
   something true. The descriptors are the caller's, to be closed. */
error *vds_record_put(const char *at, const value *record, int fds[2]);
/* All of them; what is damaged is set aside (*.damaged), and what a newer
   version wrote left out, each with a line in the log. NULL and *e: also when
   one of them cannot be read now. */
value *vds_record_list(const char *at, error **e);
/* One of a list as it is now: its owner may have gone on after the list was
   read. When he is dead it is the last word. NULL: it went, or *e. */
value *vds_record_again(const char *at, const value *record, error **e);
error *vds_record_remove(const char *at, const value *record);
/* The same for who can bear to meet it again: it may come back when power is
   lost within the next seconds. */
error *vds_record_drop(const char *at, const value *record);
const char *vds_record_text(const value *record, const char *name); /* "" */
/* The bytes of a path that was kept. Allocated, or NULL. */
char *vds_record_path(const value *record, const char *name);
/* The file of that name in it, by file_device and file_inode, opened as `how`
   says (O_RDWR, O_PATH). *fd -1 without an error: it is gone, or another one
   has its name; an error: that cannot be told now. */
error *vds_record_open(const value *record, const char *name, int how, int *fd);

/* owner.c. Alive also when that cannot be told. */
bool vds_owner_put(value *map);
bool vds_owner_is_alive(const value *map);
bool vds_owner_is_of_this_boot(const value *map);

/* Keeps others off <id> while its work runs, tools included, which inherit it
   as their standard input and may outlive us: a fd, or -1 and *e
   (SAROS_E_LOCKED: somebody is at it). Closing it gives it back. */
int vds_record_lock(const char *at, const value *record, error **e);

#endif
