/*
** What the files of the local store share: local.c finds and reads,
** local_save.c writes.
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

#ifdef SAROS_TEST
extern _Atomic bool repo_local_plain; /* as if there were no unnamed files */
extern _Atomic int repo_local_fault;  /* errno of the next write or fsync */
#endif

#endif
