/*
** What the files of repo share.
*/
#ifndef SAROS_REPOSITORY_REPO_PARTS_H
#define SAROS_REPOSITORY_REPO_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "repository/repo.h"

typedef enum repo_state { REPO_NEW, REPO_OPEN, REPO_CLOSED } repo_state;

struct repo {
  _Atomic unsigned refs;
  unsigned generation;
  char *location;
  value *options;        /* of the store: wiped when it has them */
  value *password_value; /* wiped when it was used */
  bool no_lock, has_hint;
  repo_id hint;
  uint64_t retry_ms;
  unsigned version;  /* of a new one */
  _Atomic int state; /* repo_state */
  /* Since it was opened, and not changed then: */
  repo_store *store;
  repo_key *key; /* secret memory */
  repo_config config;
  repo_tools *tools;
  /* Outermost. No call of a store, and no lock's, is made with it held. */
  pthread_mutex_t lock;
  pthread_cond_t moved;
  repo_id key_id;
  /* Locks: of one file all that share it have a part. */
  repo_lock *shared;
  unsigned sharers;
  bool taking, exclusive;
  /* The index, and which files are in it. */
  repo_index *index;
  repo_id *files;
  size_t file_count, file_room;
  unsigned index_users;   /* holds that have it, and a lock */
  unsigned index_readers; /* … and none: some may have an older one */
  repo_index **outdated;
  size_t outdated_count, outdated_room;
  bool loading, stale;
};

/* A hold has no need of its index any more. */
void repo_index_end(repo_hold *h);

/* A text of the options, or of the environment; NULL: neither. */
const char *repo_option(const value *options, const char *name,
                        const char *variable);
/* The options of a store, from the map and from AWS_…. */
value *repo_store_options(const value *options, error **e);

#endif
