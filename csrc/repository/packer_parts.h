/*
** What the files of the packer share.
*/
#ifndef SAROS_REPOSITORY_PACKER_PARTS_H
#define SAROS_REPOSITORY_PACKER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "repository/packer.h"

#define PACKER_THREADS_MOST 16

/* A pack in one of the packer's hands. */
typedef struct slot {
  struct slot *next;
  repo_pack *pack;
  repo_blob_type type;
  bool is_short; /* stored when it is half full */
} slot;

/* Blobs that are on their way into the index: a set. */
typedef struct claims {
  struct claim *table; /* open addressing, a power of two */
  size_t count, room;
} claims;

typedef struct claim {
  repo_id id;
  uint8_t type;
  bool taken;
} claim;

/* A pack that is stored, and in no index file yet. */
typedef struct named {
  struct named *next;
  repo_id pack;
  size_t count;
  repo_blob blobs[];
} named;

struct packer {
  repo_hold *h;
  repo_index *index;
  packer_options o;
  const repo_stop *stop;
  unsigned version;
  /* Nothing is called with it held that can sleep. */
  pthread_mutex_t lock;
  pthread_cond_t moved; /* a pack is to be had, or it has failed */
  pthread_cond_t work;  /* for who stores: one is full, or it ends */
  slot *idle[2];        /* open, the fullest first */
  unsigned open[2];
  unsigned opened; /* of data, as many as are open at once */
  slot *spare[2];  /* empty */
  unsigned slots, slots_most;
  slot *full, *full_last; /* to be stored */
  unsigned waiting;       /* for a pack */
  bool ends;
  claims own;
  packer_counts counts;
  error *why; /* the first failure */
  _Atomic bool failed;
  /* The index file that is to be: */
  named *named;
  size_t named_blobs;
  uint64_t named_since;
  uint64_t paid_until; /* by the rate */
  pthread_t threads[PACKER_THREADS_MOST];
  unsigned thread_count;
};

/* packer_claims.c, with the lock held. False: it is in the set already. */
bool repo_claims_put(claims *c, repo_blob_type type, const repo_id *id,
                     bool *no_memory);
void repo_claims_drop(claims *c, repo_blob_type type, const repo_id *id);
void repo_claims_free(claims *c);

/* The first one counts. Takes it over. */
void repo_packer_fail(packer *p, error *e);
/* What it failed with, or that it was asked to end; NULL: go on. */
error *repo_packer_why(packer *p);

/* packer_store.c */
void repo_packer_store_start(packer *p);
/* With the lock held: to be stored. */
void repo_packer_store_push(packer *p, slot *s);
/* Until all of them are stored; the threads are gone then. */
void repo_packer_store_end(packer *p);
/* The index files of all that was stored. */
error *repo_packer_store_index(packer *p, size_t least);
void repo_packer_slot_free(slot *s);
/* After so long what is stored is named by an index file in any case. */
#ifdef SAROS_TEST
extern uint64_t repo_packer_index_ms;
/* A thread has a pack for a blob of data. */
extern void (*repo_packer_test)(const slot *s);
#endif

#endif
