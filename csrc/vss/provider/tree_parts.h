/*
** tree_parts: what the parts of a tree's shadow know of each other. Private to
** tree*.c.
**
**   tree.c         a shadow's life: plan, prepare, commit, finish, forget
**   tree_pass.c    one pass over the source
**   tree_entry.c   what a pass does with one entry
**   tree_seen.c    what passes remember
**   tree_place.c   where it is made, and taking it away
**   tree_tell.c    what the shadow lacks, as warnings
**   tree_pieces.c  files that take long to clone
*/
#ifndef SAROS_VSS_PROVIDER_TREE_PARTS_H
#define SAROS_VSS_PROVIDER_TREE_PARTS_H

#include "op/copy_parts.h"
#include "vss/provider/tree.h"

#define TREE_ROOT "root"
#define TREE_LINKS "links"

typedef struct tree tree;

/* ------------------------------------------------------------------
** tree_seen.c
** ---------------------------------------------------------------- */

typedef struct seen_slot {
  uint64_t key, print;
} seen_slot;

/* From where an entry is to what it was: two numbers, no names. Both are
   keyed hashes, so that nobody can make a change that looks like none. */
typedef struct seen {
  seen_slot *slots; /* a power of two, at most 3/4 full; key 0 is free */
  size_t room, count;
  uint64_t secret[2];
  pthread_mutex_t lock;
} seen;

bool seen_init(seen *s); /* false: no random numbers */
void seen_free(seen *s);
uint64_t seen_key(const seen *s, uint64_t above, const char *name);
/* All that changes when the entry does. Never 0, and without these bits: */
#define SEEN_UNREAD 1u /* it could not be read then */
#define SEEN_PLAIN 2u  /* it could not be given all that it has */
#define SEEN_BITS 3u
uint64_t seen_print(const seen *s, const struct stat *st);
/* A print of 0 is never what is there. What finds no room is not remembered,
   and so made again by the next pass. */
void seen_put(seen *s, uint64_t key, uint64_t print);
uint64_t seen_get(seen *s, uint64_t key); /* 0: not seen */

#ifdef SAROS_TEST
extern _Atomic size_t seen_most; /* slots; 0: as many as there may be */
#endif

/* ------------------------------------------------------------------
** tree_tell.c
** ---------------------------------------------------------------- */

typedef enum lack {
  LACK_UNREAD,  /* could not be read, and is not in the shadow */
  LACK_MOUNT,   /* something else is mounted there */
  LACK_TORN,    /* in the shadow, but changed while copied under the hold */
  LACK_SPECIAL, /* a device and the like that could not be made */
  LACK_PLAIN,   /* lacks owner, attributes or the like */
  LACKS
} lack;

typedef struct lacking {
  uint64_t count;
  value *paths;   /* the first of them */
  value *reasons; /* of each, or null */
} lacking;

/* Any thread. `number` is an errno, or 0. */
void lack_add(tree *t, lack what, const walk_dir *d, const char *name,
              int number);
/* Into the shadow's warnings, and (torn, unread) into keep, where shadows.c has
   them from. */
bool lack_tell(tree *t);
void lack_free(tree *t);

/* ------------------------------------------------------------------
** A tree
** ---------------------------------------------------------------- */

struct tree {
  copy c; /* of op/copy: the two sides, the links, the first failure */
  shadow *s;
  saros_op *op; /* with a reference, so that commit can be cancelled too */
  char *single; /* the name of a single file, or NULL */
  int source;   /* the directory, or that of the single file */
  int target;   /* the root of the copy */
  identity source_id, place_id, above_id; /* above: the place's directory */
  char *source_path;                      /* that of `source` */
  seen seen;
  unsigned pass;
  bool held;    /* the last pass: nobody writes, and time counts */
  bool blind;   /* this file system does not tell all changes */
  bool strayed; /* a live pass lost its way, because directories moved */
  struct timespec sure; /* changed since then: not to be trusted */
  counter copied, changed;
  counter need, entries; /* as counted: bytes on disk, names */
  lacking lacks[LACKS];
  device_hold *hold;
};

#define tree_of(c) ((tree *)(c)->manner_self)

/* tree_pass.c: NULL or what went wrong. */
error *pass_count(tree *t);
error *pass_run(tree *t, bool held);
/* Whether nothing can have happened unseen since st was read. */
bool pass_sure(const tree *t, const struct stat *st);
bool pass_seen(tree *t, const walk_dir *d, const char *name, uint64_t key,
               uint64_t print);

/* tree_entry.c */
void entry_make(crew *w, worker *me, walk_dir *d, const char *name,
                unsigned char type);
/* The name is free in the copy then; false when it failed. */
bool entry_clear(crew *w, walk_dir *d, const char *name);
extern const copy_manner tree_manner;

/* tree_place.c */
error *tree_open(tree *t);  /* the source */
error *tree_make(tree *t);  /* the place and the root in it */
error *tree_room(tree *t);  /* whether there is enough; after pass_count */
error *tree_clean(tree *t); /* the links go */
error *tree_lock(tree *t);  /* read-only for everybody, where that can be */

/* tree_pieces.c: warns of this one when it is in too many. Any worker. */
void pieces_look(tree *t, const file_end *end);
#ifdef SAROS_TEST
extern _Atomic unsigned pieces_many; /* 0: as many as are many */
#endif

/* What a test does at this point. */
#ifdef SAROS_TEST
void tree_at(tree *t, const char *where);
#else
#define tree_at(t, where) ((void)0)
#endif

/* tree.c: why the pass did not go on. No room is no room. */
error *tree_error(tree *t);

#endif
