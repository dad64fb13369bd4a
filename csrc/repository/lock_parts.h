/*
** What the files of locks share.
*/
#ifndef SAROS_REPOSITORY_LOCK_PARTS_H
#define SAROS_REPOSITORY_LOCK_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "repository/lock.h"

/* Who holds a lock. The upper half is restic's; the lower is ours, passed over
   by restic, and absent (boot is "") in its locks. */
typedef struct repo_owner {
  char *hostname, *username; /* allocated */
  int64_t pid;
  uint32_t uid, gid;
  char boot[37];    /* of the kernel */
  char machine[33]; /* made of /etc/machine-id, which is nobody's business */
  uint64_t pids;    /* the namespace its pid is in */
  uint64_t started; /* the process, in ticks after boot */
} repo_owner;

typedef struct repo_lock_file {
  repo_id id;
  repo_owner owner;
  struct timespec time, since; /* refreshed; taken (since.tv_sec 0: unknown) */
  int32_t zone;
  bool exclusive;
} repo_lock_file;

#define REPO_LOCK_FILE_MOST ((size_t)64 << 10)

/* lock_file.c: strict and bounded, the text may be hostile. */
error *repo_lock_file_read(repo_lock_file *f, const char *json, size_t size);
void repo_lock_file_write(const repo_lock_file *f, buffer *json);
void repo_lock_file_clear(repo_lock_file *f);
/* "PID 12 on host …" and since when. */
void repo_lock_file_describe(const repo_lock_file *f, buffer *b);
value *repo_lock_file_value(const repo_lock_file *f, const repo_owner *here);
/* How long ago it was refreshed; 0 when that is in the future. */
uint64_t repo_lock_file_age(const repo_lock_file *f);

/* lock_owner.c */
error *repo_owner_here(repo_owner *o);
void repo_owner_clear(repo_owner *o);
/* It is proved that it is not there any more. */
bool repo_lock_file_is_dead(const repo_lock_file *f, const repo_owner *here);
/* As restic judges: nobody need mind it. */
bool repo_lock_file_is_stale(const repo_lock_file *f, const repo_owner *here);

struct repo_lock {
  repo_locker k;
  repo_stop stop; /* of its own thread: asked says `ends` */
  repo_lock_file mine;
  unsigned generation; /* of the process that took it */
  pthread_t thread;
  bool has_thread;
  /* Taken with no lock of the store's or of files' held. */
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool asked;   /* refresh it now, and say how that went */
  repo_id left; /* an older file of it that could not be removed */
  bool has_left;
  _Atomic bool inherits; /* since it was taken */
  _Atomic bool ends, lost;
  _Atomic bool gone;      /* … because somebody has removed it */
  _Atomic uint64_t fresh; /* when it was refreshed: repo_clock */
};

/* lock.c */
error *repo_lock_write(repo_lock *l, repo_id *id, const repo_stop *stop);

/* lock_refresh.c */
error *repo_lock_keep(repo_lock *l); /* begins */
void repo_lock_leave(repo_lock *l);  /* no more */

#endif
