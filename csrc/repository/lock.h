/*
** Locks: files that say who uses the repository. Whoever adds to it holds a
** shared one, whoever takes away from it an exclusive one, and both see to it
** that theirs is refreshed. The rules are restic's, so that its processes and
** ours keep off each other. On top of them our locks say more about their
** owner than restic's, so that one whose owner has died can be told from one
** that is held; and what writes to the repository asks its lock first.
**
** By file: lock.c takes and lets go, lock_refresh.c keeps it fresh, lock_file.c
** reads and writes it, lock_owner.c knows who lives.
*/
#ifndef SAROS_REPOSITORY_LOCK_H
#define SAROS_REPOSITORY_LOCK_H

#include "repository/store.h"
#include "repository/tools.h"

typedef struct repo_lock repo_lock;

/* What taking one needs. It stays until the lock is let go. */
typedef struct repo_locker {
  repo_store *store;
  repo_tools *tools;
  uint64_t retry_ms; /* how long to wait for others */
  bool cleans;       /* dead ones go, also those that are in nobody's way */
  /* Told once, when it begins to wait, what for. May be NULL. */
  void (*waits)(void *context, const char *why);
  void *context;
} repo_locker;

/* SAROS_E_LOCKED says who holds it, where, and since when. */
error *repo_lock_take(const repo_locker *k, bool exclusive,
                      const repo_stop *stop, repo_lock **lock);
/* Also when it could not be removed: the error says so. NULL is let go, too. */
error *repo_lock_release(repo_lock *l);
bool repo_lock_is_exclusive(const repo_lock *l);
/* For it the shared lock of one who has died was removed: what that one was
   storing may be there, and in no index file. */
bool repo_lock_inherits(const repo_lock *l);

/* To be asked before anything is changed: NULL when it is certainly held. One
   that could not be refreshed in time is tried to be saved here; when that
   fails it is lost, and stays so. */
error *repo_lock_assure(repo_lock *l, const repo_stop *stop);
/* The same, and it was seen to be there no longer than so long ago, which is
   to be asked before others come to rely on what is done: who has removed it in
   the meantime may have removed more. */
error *repo_lock_prove(repo_lock *l, uint64_t most_ms, const repo_stop *stop);
/* It was lost: whatever goes on under it should end. */
bool repo_lock_is_lost(const repo_lock *l);
/* A store that assures the lock before everything that it changes. */
repo_store *repo_store_guard(repo_store *inner, repo_lock *l);

/* Everybody's: a list of maps {id, exclusive, pid, hostname, username, time,
   since, stale, dead}; of one that cannot be read {id, error}. */
value *repo_lock_list(repo_store *store, repo_tools *tools,
                      const repo_stop *stop, error **e);
/* Removes those that are stale, or all of them. */
error *repo_lock_clear(repo_store *store, repo_tools *tools, bool all,
                       const repo_stop *stop, uint64_t *removed);

/* All in milliseconds. Constants, except to tests. */
typedef struct repo_lock_times {
  uint64_t settle;      /* between writing it and looking again */
  uint64_t refresh;     /* every so often */
  uint64_t late;        /* not refreshed for so long: do not rely on it */
  uint64_t stale;       /* … and others need not mind it any more */
  uint64_t retry_least; /* waiting for others: from so long, */
  uint64_t retry_most;  /* doubled, up to so long */
  uint64_t unreadable;  /* once, twice, four times: then it is no lock */
} repo_lock_times;
#ifdef SAROS_TEST
extern repo_lock_times repo_lock_time;
#else
extern const repo_lock_times repo_lock_time;
#endif

#endif
