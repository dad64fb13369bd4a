/*
** A repository that is open: its store, key, config, index and locks. It lives
** as long as somebody has a reference; what works on it holds it (a lock), and
** any number of threads and operations may at the same time.
**
** By file: repo.c opens and makes, repo_hold.c lends locks, repo_load.c reads
** all files of a kind, side by side.
*/
#ifndef SAROS_REPOSITORY_REPO_H
#define SAROS_REPOSITORY_REPO_H

#include "repository/config.h"
#include "repository/index.h"
#include "repository/key.h"
#include "repository/lock.h"
#include "repository/snapshot.h"
#include "repository/tools.h"

typedef struct repo repo;

/* A map, as a script gives it: location, password (repo_password_value), key
   (a hint), no_lock, retry_lock (seconds), version, and what the store knows
   (repo_store_open). What is missing comes from the environment: as restic
   does it RESTIC_REPOSITORY, RESTIC_REPOSITORY_FILE, RESTIC_PASSWORD…,
   RESTIC_KEY_HINT, AWS_…. Touches nothing. */
repo *repo_new(const value *options, error **e);
repo *repo_ref(repo *r);
void repo_unref(repo *r);
/* Made by the parent of a fork: it must not be used here. */
bool repo_is_inherited(const repo *r);
const char *repo_location(const repo *r); /* without secrets */

/* One of them, once, before all else. */
error *repo_open(repo *r, const repo_stop *stop);
error *repo_create(repo *r, const repo_stop *stop);
/* Nothing begins any more: SAROS_E_CLOSED. What has begun goes on. */
void repo_close(repo *r);
/* NULL: it is open. */
error *repo_check_open(repo *r);

/* Of one that is open; they last as long as it does. */
repo_store *repo_store_of(repo *r); /* for reading; to write, see repo_hold */
repo_tools *repo_tools_of(repo *r);
const repo_config *repo_config_of(const repo *r);
const repo_key *repo_key_of(const repo *r);
/* Which key file it was opened with; repo_set_key when that was changed. */
repo_id repo_key_id(repo *r);
void repo_set_key(repo *r, const repo_id *id);

/* ------------------------------------------------------------------
** Locks
** ---------------------------------------------------------------- */

typedef enum repo_use {
  REPO_READS,     /* a shared lock; none with no_lock, or where none can be */
  REPO_ADDS,      /* a shared lock */
  REPO_REMOVES,   /* an exclusive one */
  REPO_MAKES_ROOM /* the same; none as long as there is no room for it */
} repo_use;

/* What works on a repository has one. Its members are for reading. */
typedef struct repo_hold {
  repo_stop stop;    /* to be given to all that is called under it */
  repo_store *store; /* refuses to write when the lock was lost */
  repo *r;
  repo_use use;
  const repo_stop *outer;
  uint64_t retry_ms; /* how long it waits for others */
  repo_lock *lock;   /* NULL: none */
  bool has_index;
  bool inherits; /* one who added has died: its packs may be nameless */
  bool owes;     /* there was no room for its lock */
} repo_hold;

/* Waits for others as the repository was told to (retry_lock), also for those
   of this process. `waits` is told what for, and may be NULL. */
error *repo_hold_take(repo *r, repo_use use, const repo_stop *stop,
                      void (*waits)(void *context, const char *why),
                      void *context, repo_hold **h);
/* The same with a patience of its own. */
error *repo_hold_take_within(repo *r, repo_use use, uint64_t retry_ms,
                             const repo_stop *stop,
                             void (*waits)(void *context, const char *why),
                             void *context, repo_hold **h);
/* retry_lock (seconds) of these options, if they have it. */
error *repo_read_retry(const value *options, uint64_t *ms);
/* Of one that owes its lock, after something was removed: takes it. What owes
   one may remove what was decided on, and read: whoever comes would be just as
   unable to lock. An error that repo_is_full says yes to: still no room. */
error *repo_hold_catch_up(repo_hold *h);
bool repo_is_full(const error *e);
/* `e`: how what was done under it ended, NULL if well; returned, or instead of
   SAROS_E_CANCELLED that the lock was lost. What could not be undone is told
   by `cleanup`, which may be NULL. */
error *repo_hold_end(repo_hold *h, error *e,
                     void (*cleanup)(void *context, const char *what),
                     void *context);

/* ------------------------------------------------------------------
** All files of a kind
** ---------------------------------------------------------------- */

/* Called on several threads at once, with what is in a file. */
typedef error *(*repo_each_file)(void *context, const repo_id *id,
                                 const char *plain, size_t size);
/* Those that `wanted` (NULL: all) says yes to. One that vanishes meanwhile is
   passed over, unless `alone`: nobody else may take away then, so that the
   store said what is not true. The first error ends it. */
error *repo_load_all(repo *r, repo_file kind, size_t most, bool alone,
                     bool (*wanted)(void *context, const repo_id *id),
                     repo_each_file each, void *context, const repo_stop *stop);

#define REPO_INDEX_FILE_MOST ((size_t)1 << 30)
#define REPO_SNAPSHOT_FILE_MOST ((size_t)64 << 20)

/* The index, with all index files that are there now. Under a hold, which keeps
   it: what is known of packs that are gone may be in it otherwise. */
error *repo_index_of(repo_hold *h, repo_index **x);
/* A new index file was stored, and what it says is in the index already. */
error *repo_index_stored(repo *r, const repo_id *file);
/* Index files were removed, and packs: it is loaded anew the next time. */
void repo_index_forget(repo *r);

/* By time, the oldest first. A NULL at the end of the list; freed by
   repo_versions_free. */
error *repo_versions(repo *r, repo_snapshot ***list, size_t *count,
                     const repo_stop *stop);
/* Under a hold: whoever has an exclusive lock is told of one that is listed and
   cannot be found. */
error *repo_versions_of(repo_hold *h, repo_snapshot ***list, size_t *count);
void repo_versions_free(repo_snapshot **list);

#endif
