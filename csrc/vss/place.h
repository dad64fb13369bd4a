/*
** What providers that make things on disk have in common: the directory they
** make them in, and how `keep` names it so that whoever comes later finds it,
** or finds that it is not there.
**
** A shadow's place is <somewhere>/.saros-shadows/<id>, and both are ours:
** owned by us, 0700. What lies in it is therefore out of reach of others, also
** old set-user-id programs.
*/
#ifndef SAROS_VSS_PLACE_H
#define SAROS_VSS_PLACE_H

#include "vss/provider.h"

/* "<directory>/.saros-shadows", of another user than root with the number of
   the user behind it. Allocated. */
char *place_below(const char *directory);

/* Puts the place into keep, with the file system that `sample` (a path) is on:
   for plan. */
error *place_plan(shadow *s, const char *sample);

/* Makes the place's parent, when it is missing, and the place. *fd is open on
   it. `subvolume`: the parent is made as a subvolume of btrfs, so that shadows
   of what it lies in do not hold what is in it. */
error *place_make(const shadow *s, bool subvolume, int *fd);

/* For who makes it under the hold: NULL when its parent is not there yet or is
   one that place_make would take; else the reason, while nothing is held. */
error *place_look(const shadow *s);

/* Whether plan came so far; else nothing can have been made. */
bool place_planned(const value *keep);
/* The place that keep names. NULL and *fd == -1: it is gone, for its file
   system is there and it is not. An error when another file system, or none,
   is mounted there now. */
error *place_open(const value *keep, int *fd);
/* For who is about to make something of what lies in it, since what names it
   may come from a document that somebody else wrote: NULL when what place_open
   gave is there (else VSS_E_OBJECT_NOT_FOUND), and ours and out of reach of
   others (else SAROS_E_REFUSED). */
error *place_check(const value *keep, int fd);
/* Takes it away; it must be empty. Durable. */
error *place_remove(const value *keep);

/* Paths in keep: any bytes, also through JSON. */
bool keep_put_path(value *keep, const char *name, const char *path);
/* NULL and *path (allocated), or SAROS_E_DAMAGED. */
error *keep_path(const value *keep, const char *name, char **path);
/* "<the path of that name>/<file>", allocated. */
error *keep_path_in(const value *keep, const char *name, const char *file,
                    char **path);

/* What tells a file from another one that took its name: into keep as a text,
   and whether that is still so. */
bool keep_put_file(value *keep, const char *name, int fd);
bool keep_is_file(const value *keep, const char *name, int fd);

/* An open file by a name, for calls that only know names: it is reached by
   nothing that somebody else could have moved. */
const char *fd_name(int fd, char name[40]);
/* Whether this is the root of something mounted. */
bool fd_is_mount(int fd);

/* Whether this thread may do what needs a capability (CAP_…). */
bool has_capability(unsigned capability);

/* Writes out what is dirty on fs (a directory's fd) and in file (-1: none),
   again and again until that is quick, so that what a hold must write is
   little. Cancellable in between. */
error *presync(int fs, int file, saros_op *op);
error *cancelled_error(saros_op *op); /* NULL: it is not cancelled, or NULL */

/* In test builds the n-th call from now is the process's last, so that a test
   can see what remains after a death at any point. */
#ifdef SAROS_TEST
extern _Atomic int provider_dies_at; /* 0: never */
void provider_step(void);
#else
#define provider_step() ((void)0)
#endif

#endif
