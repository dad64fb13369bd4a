/*
** What is on disk: one JSON file for each shadow, written before it is made
** and gone after it is taken away, and the lock of the one creation at a time.
** Where a shadow goes with its owner the file may have several records, one
** after the other: the last whole one counts (record_tail.c).
*/
#ifndef SAROS_VSS_RECORD_H
#define SAROS_VSS_RECORD_H

#include <time.h>

#include "vss/provider.h"

/* Where a session keeps things; made when missing, checked, never somebody
   else's (SAROS_E_ACCESSDENIED with the reason). */
typedef struct places {
  char *state;   /* …/shadows/<id>.json below it */
  char *runtime; /* lock, writers/, frozen/ */
  char *writers; /* sockets */
} places;

/* `state_dir` (may be NULL: the system's or the user's) moves all of it.
   Blocking. NULL and *e. */
places *places_open(const char *state_dir, error **e);
places *places_ref(places *p);
void places_unref(places *p);

/* Who made it: boot id, pid, start time of the process. */
bool owner_put(value *map);            /* ours, into map.owner; false: memory */
bool owner_is_alive(const value *map); /* also true when that cannot be told */
bool owner_is_us(const value *map);

/* A record is a map:
     version = 1, id, set, count (members of the set), state ("preparing",
     "created", "deleting"), provider, keep, attributes, original (path),
     original_volume, path, device, created (RFC 3339), created_100ns (since
     1601), machine, owner, persistent, exposed?, consistency, held, skew,
     warnings, document?, surfaced_boot? (in which it was made readable),
     loosening? (its set is being broken up) …
   In memory its strings are bytes, names of any kind; the file has them as
   text and base64 (bytes.h). Owner and times are put by owner_put and
   record_stamp. All blocking, durable (file and directory synced), atomic. */
bool record_stamp(value *record, const struct timespec *when); /* NULL: now */
/* The text of a time, RFC 3339 with offset; its 100 ns since 1601 returned. */
int64_t record_time(const struct timespec *when, char text[40]);
/* Refused is what could not be read again, VSS_E_INSUFFICIENT_STORAGE is a
   full disk: then the one before it is still there whole. */
error *record_save(const places *p, const value *record);
/* VSS_E_OBJECT_NOT_FOUND; SAROS_E_DAMAGED and what to do when it is no record
   of ours. Bounded in size and depth. */
value *record_load(const places *p, const char *id, error **e);
/* All that can be read, sorted by creation; damaged ones are set aside with
   a log line (renamed *.damaged) and do not stop the rest. */
value *record_list(const places *p, error **e);
error *record_remove(const places *p, const char *id);
/* The same for the record of what goes with its owner, without waiting for the
   disk: after a crash of the machine the one before may still be there, whole,
   and is reaped just so. */
error *record_save_loose(const places *p, const value *record);
error *record_remove_loose(const places *p, const char *id);

/* The one creation at a time: held by a process, gone with it, also when it
   forked. NULL and VSS_E_SNAPSHOT_SET_IN_PROGRESS, naming who holds it. */
typedef struct set_lock set_lock;
set_lock *set_lock_take(const places *p, error **e);
void set_lock_give(set_lock *l); /* harmless in a forked child */

/* shadows*.c: shadows as things that exist, by their records. Blocking; `op`
   may be NULL everywhere. */

/* Those that persist are made readable again where they are not, because their
   mount or device went: what is asked for by its id or the id of its set
   whenever that is so, all others after a restart of the machine. Where that
   fails `missing` says why. */

/* The properties of those that are complete, oldest first; `set` NULL: of all.
   What is not there any more as it was made has `missing`, and why. */
error *shadows_query(const places *p, const char *set, saros_op *op,
                     value **list);
/* Those of one. VSS_E_OBJECT_NOT_FOUND also while it is being made. */
error *shadows_find(const places *p, const char *id, saros_op *op,
                    value **properties);
/* Properties as a script sees them, of a record: { id, set, count, path,
   original, original_volume, device, provider, provider_id, attributes,
   persistent, created, created_100ns, machine, exposed, consistency, worth,
   held, skew, warnings, owner, status } and what VSS_SNAPSHOT_PROP calls them.
 */
value *shadows_properties(const value *record);
/* Deletes one after the other, stops at the first error: *deleted, and the id
   of the one that was not (or 36 zeros and dashes). Live owners' non-
   persistent ones (but our own) and exposed ones only with `force`, else
   VSS_E_VOLUME_IN_USE. Of two at once one gets VSS_E_PROVIDER_IN_USE or
   VSS_E_OBJECT_NOT_FOUND. One that is still being made is not found. */
error *shadows_delete(const places *p, const char *id, bool whole_set,
                      bool force, saros_op *op, unsigned *deleted,
                      char not_deleted[37]);
/* What dead owners left: file systems thawed, half-made and auto-release
   shadows destroyed, deletions that broke off finished; what persists and what
   was exposed is readable again after a restart. *report: a map of lists {
   shadows = { { id, set, provider, original } … }, thawed = { sentence … },
   surfaced = { { id, set, provider, original, path } … }, exposed = { path …
   }, failed = { { id, message } … } }; also given when it was cancelled. */
error *shadows_reap(const places *p, saros_op *op, value **report);
/* A read-only bind mount at `at` (an empty directory, made when missing) of a
   persistent one, else VSS_E_UNSUPPORTED_CONTEXT. */
error *shadows_expose(const places *p, const char *id, const char *at);
error *shadows_unexpose(const places *p, const char *id);
/* Turns a set into plain data: the records go, what was made stays. *paths:
   a list of { id, original, path, device?, stays? }, the last where `path` is a
   mount that ends with the machine: what there is then. `writable`: what was
   made may be written to, and can lie elsewhere then. Where that failed for
   one, those before it may be writable already, and none has gone: to be called
   again. */
error *shadows_break(const places *p, const char *set, bool writable,
                     value **paths);
/* Rolls the original back to a persistent one; meanwhile nobody else can delete
   or change that, and no set is made. SAROS_E_NOTIMPL: its provider cannot.
   VSS_E_VOLUME_IN_USE: somebody has something of the original open (with
   `force` he goes on with what was), or it is mounted by itself, which no force
   undoes. */
error *shadows_revert(const places *p, const char *id, bool force,
                      saros_op *op);
/* Takes a set over from its saved document (as record_list gives its records):
   once; the owner becomes this process. *code: 0, or
   VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED. What has no record here any more is taken
   only when it lies, read-only, in a directory of ours that is called after it,
   and its provider verifies that it is there as it was made. */
error *shadows_import(const places *p, const value *records, uint32_t *code);

#endif
