/*
** What the files of the local store share: local.c finds and reads,
** local_save.c writes, local_sync.c makes durable.
*/
#ifndef SAROS_REPOSITORY_LOCAL_PARTS_H
#define SAROS_REPOSITORY_LOCAL_PARTS_H

#include <pthread.h>
#include <sys/stat.h>

#include "repository/store.h"

typedef struct local {
  repo_store store;
  char *location, *path; /* as it was given; absolute */
  bool durable;
  /* Innermost: taken with nothing below it. Guards what follows. */
  pthread_mutex_t lock;
  int root; /* the directory; -1: not opened yet, then never changed */
  unsigned busy;
  saros_device *hold; /* while it is */
  _Atomic bool plain; /* no unnamed files there: temporary names instead */
/* Folders whose names are durable: data/00 to data/ff; those of the root. */
#define REPO_LOCAL_SURE 257
  _Atomic bool sure[REPO_LOCAL_SURE];
} local;

/* The directory of the repository, opened when it is first needed. It must be
   the one that is at its path still: what was mounted there may be gone, and
   an empty directory in its place. */
error *repo_local_root(local *l, int *root);
/* Where a file is, below the root: "data/01/01be…". */
#define REPO_LOCAL_PATH 96
void repo_local_name(repo_file kind, const repo_id *id,
                     char name[REPO_LOCAL_PATH]);
/* "cannot <what> <file> in <path>: …", and what to do. */
error *repo_local_error(const local *l, int number, const char *what,
                        repo_file kind, const repo_id *id);
/* With which permissions files and folders are made: as the config has them. */
void repo_local_modes(int root, mode_t *file, mode_t *folder);

/* local_save.c */
error *repo_local_create(repo_store *s);
error *repo_local_save(repo_store *s, repo_file kind, const repo_id *id,
                       const repo_piece *pieces, size_t count, bool replace,
                       const repo_stop *stop);

/* local_sync.c. Each is 0 or an errno. */
int repo_local_sync(bool durable, int fd);
int repo_local_sync_folder(int root, const char *name); /* absent: 0 */
int repo_local_sync_parent(const char *path);
/* "index", "data/01": makes what is missing of it, durably. */
int repo_local_make_folder(bool durable, int root, const char *path,
                           mode_t mode);
/* Of one that is there: its name is durable, too. Asked once for each. */
int repo_local_be_sure(local *l, int root, const char *path);
error *repo_local_settle(repo_store *s, const repo_stop *stop);

#ifdef SAROS_TEST
extern _Atomic bool repo_local_plain; /* as if there were no unnamed files */
extern _Atomic int repo_local_fault;  /* errno of the next write or fsync */
int repo_local_fails(void);
/* Told of every file and folder that is synced; `all`: its file system. */
extern void (*_Atomic repo_local_synced)(int fd, bool all);
#else
#define repo_local_fails() 0
#endif

#endif
